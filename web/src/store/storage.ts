// What the client keeps on the device, as a contract. A batch is written whole or not at all: the cursor never says more
// than the rows beside it.

import type { ConversationRow } from '../protocol/types';
import type { Held } from '../engine/changes';
import type { OutboxEntry } from '../engine/outbox';
import type { Row } from '../engine/rows';
import type { Aliases } from '../engine/timeline';

export interface Batch {
  /** Set first: forget everything about messages and conversations, but keep the outbox. */
  reset?: boolean;
  cursor?: string;
  rows?: Row[];
  removedRows?: Row[];
  /** Rows that another id won for; those not stored are ignored. Done after the rows. */
  renamed?: { conversation_id: string; from: string; to: string }[];
  conversations?: ConversationRow[];
  /** Changes whose messages are not here yet. One replaces what its slot of the same message held. */
  held?: Held[];
  removedHeld?: Held[];
  /** Ids that lost → ids that took their place. */
  aliases?: Aliases;
  /** Conversation id → the oldest message id from which on all is stored. */
  floors?: Record<string, string>;
  outbox?: OutboxEntry[];
  removedOutbox?: string[];
}

export interface Loaded {
  cursor: string | undefined;
  conversations: ConversationRow[];
  floors: Record<string, string>;
  held: Held[];
  aliases: Aliases;
  /** In sending order. */
  outbox: OutboxEntry[];
}

export interface Storage {
  load(): Promise<Loaded>;
  /** The newest rows of a conversation before a sort key, oldest first. */
  rows(conversation_id: string, before: string | undefined, limit: number): Promise<Row[]>;
  /** A row replaces the stored one of the same send (sender and client_id), whatever its id. */
  write(batch: Batch): Promise<void>;
  close(): void;
  /** Deletes everything, for a log-out. */
  destroy(): Promise<void>;
}

/** Writer puts batches together and writes them one after the other, in the order they came. */
export class Writer {
  private waiting: Batch | undefined;
  private running: Promise<void> | undefined;

  constructor(
    private readonly storage: Storage,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** add resolves when the batch is on the disk, or could not be written. */
  add(batch: Batch): Promise<void> {
    this.waiting = this.waiting ? join(this.waiting, batch) : batch;
    this.running ??= this.run();
    return this.running;
  }

  private async run(): Promise<void> {
    // Frames of one burst share a transaction.
    await Promise.resolve();
    while (this.waiting) {
      const batch = this.waiting;
      this.waiting = undefined;
      try {
        await this.storage.write(batch);
      } catch (error) {
        this.onError(error);
      }
    }
    this.running = undefined;
  }
}

/** join gives one batch with the effect of a, then b. */
export function join(a: Batch, b: Batch): Batch {
  if (b.reset) return { ...b, ...joinOutbox(a, b) };
  const rows = new Map([...(a.rows ?? []), ...(b.rows ?? [])].map((row) => [row.id, row]));
  const removed = new Map((a.removedRows ?? []).map((row) => [row.id, row]));
  for (const row of b.rows ?? []) removed.delete(row.id);
  for (const row of b.removedRows ?? []) {
    removed.set(row.id, row);
    rows.delete(row.id);
  }
  const conversations = new Map([...(a.conversations ?? []), ...(b.conversations ?? [])].map((row) => [row.id, row]));
  const cursor = b.cursor ?? a.cursor;
  return {
    ...(a.reset ? { reset: true } : {}),
    ...(cursor === undefined ? {} : { cursor }),
    rows: [...rows.values()],
    removedRows: [...removed.values()],
    renamed: [...(a.renamed ?? []), ...(b.renamed ?? [])],
    conversations: [...conversations.values()],
    floors: { ...a.floors, ...b.floors },
    aliases: { ...a.aliases, ...b.aliases },
    ...joinHeld(a, b),
    ...joinOutbox(a, b),
  };
}

/** heldKey names what a held change is about. */
export function heldKey({ conversation_id, message_id, slot }: Held): [string, string, string] {
  return [conversation_id, message_id, slot];
}

function joinHeld(a: Batch, b: Batch): Pick<Batch, 'held' | 'removedHeld'> {
  const key = (one: Held) => heldKey(one).join(' ');
  const held = new Map([...(a.held ?? []), ...(b.held ?? [])].map((one) => [key(one), one]));
  const removed = new Map((a.removedHeld ?? []).map((one) => [key(one), one]));
  for (const one of b.held ?? []) removed.delete(key(one));
  for (const one of b.removedHeld ?? []) {
    removed.set(key(one), one);
    held.delete(key(one));
  }
  return { held: [...held.values()], removedHeld: [...removed.values()] };
}

function joinOutbox(a: Batch, b: Batch): Pick<Batch, 'outbox' | 'removedOutbox'> {
  const outbox = new Map([...(a.outbox ?? []), ...(b.outbox ?? [])].map((entry) => [entry.client_id, entry]));
  const removed = new Set(a.removedOutbox ?? []);
  for (const entry of b.outbox ?? []) removed.delete(entry.client_id);
  for (const client_id of b.removedOutbox ?? []) {
    removed.add(client_id);
    outbox.delete(client_id);
  }
  return { outbox: [...outbox.values()], removedOutbox: [...removed] };
}
