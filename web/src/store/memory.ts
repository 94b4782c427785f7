// Storage in memory: for tests, and for browsers that refuse IndexedDB. It forgets when the page closes.

import type { ConversationRow } from '../protocol/types';
import type { OutboxEntry } from '../engine/outbox';
import { sendOf } from '../engine/timeline';
import type { Row } from '../engine/timeline';
import { orderKey } from '../protocol/ids';
import type { Batch, Loaded, Storage } from './storage';

export class MemoryStorage implements Storage {
  private cursor: string | undefined;
  private rowsById = new Map<string, Row>();
  private conversations = new Map<string, ConversationRow>();
  private floors: Record<string, string> = {};
  private outbox = new Map<string, OutboxEntry>();

  load(): Promise<Loaded> {
    return Promise.resolve({
      cursor: this.cursor,
      conversations: [...this.conversations.values()],
      floors: { ...this.floors },
      outbox: [...this.outbox.values()].sort((a, b) => a.seq - b.seq),
    });
  }

  rows(conversation_id: string, before: string | undefined, limit: number): Promise<Row[]> {
    const rows = [...this.rowsById.values()]
      .filter((row) => row.conversation_id === conversation_id && (before === undefined || row.key < before))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    return Promise.resolve(rows.slice(-limit));
  }

  write(batch: Batch): Promise<void> {
    if (batch.reset) {
      this.rowsById.clear();
      this.conversations.clear();
      this.floors = {};
    }
    for (const row of batch.removedRows ?? []) this.rowsById.delete(row.id);
    for (const row of batch.rows ?? []) this.put(row);
    for (const { from, to } of batch.renamed ?? []) {
      const row = this.rowsById.get(from);
      if (row) this.put({ ...row, id: to, key: orderKey(to) });
    }
    for (const row of batch.conversations ?? []) this.conversations.set(row.id, row);
    Object.assign(this.floors, batch.floors);
    for (const client_id of batch.removedOutbox ?? []) this.outbox.delete(client_id);
    for (const entry of batch.outbox ?? []) this.outbox.set(entry.client_id, entry);
    if (batch.cursor !== undefined) this.cursor = batch.cursor;
    return Promise.resolve();
  }

  private put(row: Row): void {
    for (const other of this.rowsById.values()) if (sendOf(other) === sendOf(row)) this.rowsById.delete(other.id);
    this.rowsById.set(row.id, row);
  }

  close(): void {}

  destroy(): Promise<void> {
    return this.write({ reset: true, removedOutbox: [...this.outbox.keys()], cursor: '' });
  }
}
