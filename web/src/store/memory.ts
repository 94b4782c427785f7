// Storage in memory: for tests, and for browsers that refuse IndexedDB. It forgets when the page closes.

import type { ConversationRow } from '../protocol/types';
import type { Held } from '../engine/changes';
import { combine } from '../engine/changes';
import type { OutboxEntry } from '../engine/outbox';
import { sendOf } from '../engine/rows';
import type { Row } from '../engine/rows';
import type { Aliases } from '../engine/timeline';
import { orderKey } from '../protocol/ids';
import { heldKey } from './storage';
import type { Batch, Loaded, Storage } from './storage';

export class MemoryStorage implements Storage {
  private cursor: string | undefined;
  private rowsById = new Map<string, Row>();
  private conversations = new Map<string, ConversationRow>();
  private floors: Record<string, string> = {};
  private held = new Map<string, Held>();
  private aliases: Aliases = {};
  private outbox = new Map<string, OutboxEntry>();

  load(): Promise<Loaded> {
    return Promise.resolve({
      cursor: this.cursor,
      conversations: [...this.conversations.values()],
      floors: { ...this.floors },
      held: [...this.held.values()],
      aliases: this.aliases,
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
      this.held.clear();
      this.aliases = {};
    }
    for (const row of batch.removedRows ?? []) this.rowsById.delete(row.id);
    for (const row of batch.rows ?? []) this.put(row);
    for (const { from, to } of batch.renamed ?? []) {
      const row = this.rowsById.get(from);
      const known = this.rowsById.get(to);
      if (row) this.put(known ? combine(row, known) : { ...row, id: to, key: orderKey(to) });
    }
    for (const one of batch.removedHeld ?? []) this.held.delete(heldKey(one).join(' '));
    for (const one of batch.held ?? []) this.held.set(heldKey(one).join(' '), one);
    this.aliases = { ...this.aliases, ...batch.aliases };
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
