// Storage in IndexedDB: one database per user. Tabs of one user share it: each advances the cursor only together with
// the rows that it covers, so what one tab overwrites costs the other a few repeats and nothing more.

import { openDB, deleteDB } from 'idb';
import type { DBSchema, IDBPDatabase, IDBPObjectStore, IDBPTransaction, StoreNames } from 'idb';
import type { ConversationRow } from '../protocol/types';
import { combine } from '../engine/changes';
import type { Held } from '../engine/changes';
import type { OutboxEntry } from '../engine/outbox';
import type { Row } from '../engine/rows';
import { orderKey } from '../protocol/ids';
import { heldKey } from './storage';
import type { Batch, Loaded, Storage } from './storage';

interface Schema extends DBSchema {
  /** By conversation and sort key. */
  rows: { key: [string, string]; value: Row; indexes: { send: [string, string] } };
  conversations: { key: string; value: ConversationRow };
  floors: { key: string; value: string };
  /** By conversation, message and slot. */
  held: { key: [string, string, string]; value: Held };
  aliases: { key: string; value: string };
  outbox: { key: string; value: OutboxEntry };
  /** Only "cursor". */
  meta: { key: string; value: string };
}

type Stores = 'rows' | 'conversations' | 'floors' | 'held' | 'aliases' | 'outbox' | 'meta';
const stores: Stores[] = ['rows', 'conversations', 'floors', 'held', 'aliases', 'outbox', 'meta'];
/** 1: messages of two people. 2: groups, and changes of messages. */
const version = 2;

export class IndexedStorage implements Storage {
  private constructor(
    private readonly name: string,
    private readonly db: IDBPDatabase<Schema>,
  ) {}

  static async open(user_id: string): Promise<IndexedStorage> {
    const name = `meridian-${user_id}`;
    const db = await openDB<Schema>(name, version, {
      async upgrade(database, from, _to, tx) {
        if (from < 1) create(database);
        if (from < 2) await toVersion2(database, tx);
      },
      blocking(_current, _blocked, event) {
        // Another tab logs out and deletes the database, or is of a newer version: let go of it.
        (event.target as IDBDatabase).close();
      },
    });
    return new IndexedStorage(name, db);
  }

  async load(): Promise<Loaded> {
    const tx = this.db.transaction(stores, 'readonly');
    const [cursor, conversations, floorKeys, floorValues, held, aliasKeys, aliasValues, outbox] = await Promise.all([
      tx.objectStore('meta').get('cursor'),
      tx.objectStore('conversations').getAll(),
      tx.objectStore('floors').getAllKeys(),
      tx.objectStore('floors').getAll(),
      tx.objectStore('held').getAll(),
      tx.objectStore('aliases').getAllKeys(),
      tx.objectStore('aliases').getAll(),
      tx.objectStore('outbox').getAll(),
    ]);
    return {
      cursor,
      conversations,
      floors: Object.fromEntries(floorKeys.map((key, i) => [key, floorValues[i]!])),
      held,
      aliases: Object.fromEntries(aliasKeys.map((key, i) => [key, aliasValues[i]!])),
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
    if (batch.reset) for (const name of stores) if (name !== 'outbox' && name !== 'meta') work.push(store(name).clear());
    for (const row of batch.removedRows ?? []) work.push(store('rows').delete([row.conversation_id, row.key]));
    for (const row of batch.conversations ?? []) work.push(store('conversations').put(row));
    for (const [id, floor] of Object.entries(batch.floors ?? {})) work.push(store('floors').put(floor, id));
    for (const one of batch.removedHeld ?? []) work.push(store('held').delete(heldKey(one)));
    for (const one of batch.held ?? []) work.push(store('held').put(one));
    for (const [from, to] of Object.entries(batch.aliases ?? {})) work.push(store('aliases').put(to, from));
    for (const client_id of batch.removedOutbox ?? []) work.push(store('outbox').delete(client_id));
    for (const entry of batch.outbox ?? []) work.push(store('outbox').put(entry));
    if (batch.cursor !== undefined) work.push(store('meta').put(batch.cursor, 'cursor'));
    for (const row of batch.rows ?? []) await putRow(store('rows'), row);
    for (const { conversation_id, from, to } of batch.renamed ?? []) {
      const row = await store('rows').get([conversation_id, orderKey(from)]);
      const known = row && (await store('rows').get([conversation_id, orderKey(to)]));
      if (row) await putRow(store('rows'), known ? combine(row, known) : { ...row, id: to, key: orderKey(to) });
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

function create(database: IDBPDatabase<Schema>): void {
  const rows = database.createObjectStore('rows', { keyPath: ['conversation_id', 'key'] });
  rows.createIndex('send', ['sender.id', 'client_id']);
  database.createObjectStore('conversations', { keyPath: 'id' });
  database.createObjectStore('floors');
  database.createObjectStore('outbox', { keyPath: 'client_id' });
  database.createObjectStore('meta');
}

/** toVersion2 makes room for changes. All that the outbox held before were texts. */
async function toVersion2(
  database: IDBPDatabase<Schema>, tx: IDBPTransaction<Schema, StoreNames<Schema>[], 'versionchange'>,
): Promise<void> {
  database.createObjectStore('held', { keyPath: ['conversation_id', 'message_id', 'slot'] });
  database.createObjectStore('aliases');
  const outbox = tx.objectStore('outbox');
  for (const entry of await outbox.getAll()) await outbox.put({ ...entry, kind: 'send' } as OutboxEntry);
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
