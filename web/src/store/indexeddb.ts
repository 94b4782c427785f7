// Storage in IndexedDB: one database per user. Tabs of one user share it: each advances the cursor only together with
// the rows that it covers, so what one tab overwrites costs the other a few repeats and nothing more.

import { openDB, deleteDB } from 'idb';
import type { DBSchema, IDBPDatabase, IDBPObjectStore } from 'idb';
import type { ConversationRow } from '../protocol/types';
import type { OutboxEntry } from '../engine/outbox';
import type { Row } from '../engine/timeline';
import { orderKey } from '../protocol/ids';
import type { Batch, Loaded, Storage } from './storage';

interface Schema extends DBSchema {
  /** By conversation and sort key. */
  rows: { key: [string, string]; value: Row; indexes: { send: [string, string] } };
  conversations: { key: string; value: ConversationRow };
  floors: { key: string; value: string };
  outbox: { key: string; value: OutboxEntry };
  /** Only "cursor". */
  meta: { key: string; value: string };
}

type Stores = 'rows' | 'conversations' | 'floors' | 'outbox' | 'meta';
const stores: Stores[] = ['rows', 'conversations', 'floors', 'outbox', 'meta'];
const version = 1;

export class IndexedStorage implements Storage {
  private constructor(
    private readonly name: string,
    private readonly db: IDBPDatabase<Schema>,
  ) {}

  static async open(user_id: string): Promise<IndexedStorage> {
    const name = `meridian-${user_id}`;
    const db = await openDB<Schema>(name, version, {
      upgrade(database) {
        const rows = database.createObjectStore('rows', { keyPath: ['conversation_id', 'key'] });
        rows.createIndex('send', ['sender.id', 'client_id']);
        database.createObjectStore('conversations', { keyPath: 'id' });
        database.createObjectStore('floors');
        database.createObjectStore('outbox', { keyPath: 'client_id' });
        database.createObjectStore('meta');
      },
      blocking(_current, _blocked, event) {
        // Another tab logs out and deletes the database: let go of it.
        (event.target as IDBDatabase).close();
      },
    });
    return new IndexedStorage(name, db);
  }

  async load(): Promise<Loaded> {
    const tx = this.db.transaction(['conversations', 'floors', 'outbox', 'meta'], 'readonly');
    const [cursor, conversations, floorKeys, floorValues, outbox] = await Promise.all([
      tx.objectStore('meta').get('cursor'),
      tx.objectStore('conversations').getAll(),
      tx.objectStore('floors').getAllKeys(),
      tx.objectStore('floors').getAll(),
      tx.objectStore('outbox').getAll(),
    ]);
    return {
      cursor,
      conversations,
      floors: Object.fromEntries(floorKeys.map((key, i) => [key, floorValues[i]!])),
      outbox: outbox.sort((a, b) => a.seq - b.seq),
    };
  }

  async rows(conversation_id: string, before: string | undefined, limit: number): Promise<Row[]> {
    // "~" sorts behind every hexadecimal digit.
    const range = IDBKeyRange.bound([conversation_id, ''], [conversation_id, before ?? '~'], false, true);
    const rows: Row[] = [];
    let cursor = await this.db.transaction('rows').store.openCursor(range, 'prev');
    while (cursor && rows.length < limit) {
      rows.push(cursor.value);
      cursor = await cursor.continue();
    }
    return rows.reverse();
  }

  async write(batch: Batch): Promise<void> {
    const tx = this.db.transaction(stores, 'readwrite');
    const store = <Name extends Stores>(name: Name) => tx.objectStore(name);
    const work: Promise<unknown>[] = [];
    if (batch.reset) work.push(store('rows').clear(), store('conversations').clear(), store('floors').clear());
    for (const row of batch.removedRows ?? []) work.push(store('rows').delete([row.conversation_id, row.key]));
    for (const row of batch.conversations ?? []) work.push(store('conversations').put(row));
    for (const [id, floor] of Object.entries(batch.floors ?? {})) work.push(store('floors').put(floor, id));
    for (const client_id of batch.removedOutbox ?? []) work.push(store('outbox').delete(client_id));
    for (const entry of batch.outbox ?? []) work.push(store('outbox').put(entry));
    if (batch.cursor !== undefined) work.push(store('meta').put(batch.cursor, 'cursor'));
    for (const row of batch.rows ?? []) await putRow(store('rows'), row);
    for (const { conversation_id, from, to } of batch.renamed ?? []) {
      const row = await store('rows').get([conversation_id, orderKey(from)]);
      if (row) await putRow(store('rows'), { ...row, id: to, key: orderKey(to) });
    }
    await Promise.all([...work, tx.done]);
  }

  close(): void {
    this.db.close();
  }

  async destroy(): Promise<void> {
    this.db.close();
    await deleteDB(this.name);
  }
}

type RowStore = IDBPObjectStore<Schema, Stores[], 'rows', 'readwrite'>;

/** putRow stores a row in place of the one that the same send had. */
async function putRow(rows: RowStore, row: Row): Promise<void> {
  const index = rows.index('send');
  for (const key of await index.getAllKeys([row.sender.id, row.client_id])) {
    if (key[0] !== row.conversation_id || key[1] !== row.key) await rows.delete(key);
  }
  await rows.put(row);
}
