// Sending: from the person into the outbox, onto the wire, and off it again when the world has it. Texts and changes of
// messages go the same way.

import { randomUUID } from '../protocol/ids';
import type { AckFrame, ErrorFrame, StoredFrame } from '../protocol/types';
import type { Batch, Writer } from '../store/storage';
import { fullJitter } from './clock';
import type { Clock } from './clock';
import { applyAck } from './events';
import { expire, framesToSend, outboxLimits, refuse, remove, retry, superseded } from './outbox';
import type { ChangeEntry, OutboxEntry, SendEntry, Wish } from './outbox';
import type { ChatStore } from './state';
import { resolve } from './timeline';
import type { Row } from './rows';

export interface SenderOptions {
  clock: Clock;
  store: ChatStore;
  writer: Writer;
  /** Puts a frame on the wire; false when there is none. */
  transmit: (frame: StoredFrame) => boolean;
  /** An acknowledgement brought something that only the server can complete. */
  refetch: () => void;
}

/** What a person reads, before the server's reason, when a change is undone. */
const undone: Record<Wish['kind'], string> = {
  edit: 'Your edit was not taken:',
  delete: 'The message was not deleted:',
  react: 'Your reaction was not taken:',
};

export class Sender {
  /** What went out on the present link. */
  private inFlight = new Set<string>();
  /** What the server refused for now, and how often in a row. */
  private postponed = new Map<string, number>();
  private cancelRetry: (() => void) | undefined;
  /** Nothing that was refused goes out again before, for a server said so. */
  private notBefore = 0;
  private cancelWatch: (() => void) | undefined;

  constructor(private readonly options: SenderOptions) {}

  /** send queues a text. It is on the disk before it is on the wire. */
  async send(conversation_id: string, text: string, reply_to?: string): Promise<void> {
    const { store, clock, writer } = this.options;
    const { conversations, timelines } = store.getState();
    const conversation = conversations[conversation_id];
    const seen = timelines[conversation_id]?.rows.at(-1)?.id ?? conversation?.last_message?.id;
    const entry: SendEntry = {
      kind: 'send',
      client_id: randomUUID(),
      seq: this.nextSeq(),
      conversation_id,
      ...(conversation?.kind === 'direct' ? { peer: conversation.peer.username } : {}),
      text,
      ...(reply_to ? { reply_to } : {}),
      ...(seen ? { seen } : {}),
      written_at: clock.now(),
      level: 'none',
    };
    this.set([...store.getState().outbox, entry]);
    await writer.add({ outbox: [entry] });
    this.pump();
  }

  /** change queues what becomes of a message. It shows at once, and is undone when the server refuses it for good. */
  async change(row: Row, wish: Wish): Promise<void> {
    const { store, clock, writer } = this.options;
    const { outbox, me } = store.getState();
    const entry: ChangeEntry = {
      kind: 'change',
      client_id: randomUUID(),
      seq: this.nextSeq(),
      conversation_id: row.conversation_id,
      message_id: row.id,
      ...(row.sender.id === me?.user_id ? { own: row.client_id } : {}),
      wish,
      written_at: clock.now(),
      level: 'none',
    };
    const needless = superseded(outbox, row.id, wish, this.inFlight);
    this.set([...outbox.filter((other) => !needless.some((one) => one === other)), entry]);
    await writer.add({ outbox: [entry], removedOutbox: needless.map(({ client_id }) => client_id) });
    this.pump();
  }

  retry(client_id: string): void {
    const seq = this.nextSeq();
    this.set(retry(this.options.store.getState().outbox, client_id, seq, this.options.clock.now()));
    this.persist(client_id);
    this.inFlight.delete(client_id);
    this.pump();
  }

  remove(client_id: string): void {
    this.set(remove(this.options.store.getState().outbox, client_id));
    void this.options.writer.add({ removedOutbox: [client_id] });
  }

  /** restart sends everything again that is not yet safe: there is a new link, perhaps to another region. */
  restart(age_ms?: number): void {
    this.inFlight.clear();
    this.postponed.clear();
    this.notBefore = 0;
    this.cancelRetry?.();
    this.cancelRetry = undefined;
    const { store, clock, writer } = this.options;
    const before = store.getState().outbox;
    const after = expire(before, clock.now(), age_ms);
    const changed = after.filter((entry) => !before.includes(entry));
    const dropped = before.filter(({ client_id }) => !after.some((entry) => entry.client_id === client_id));
    if (changed.length + dropped.length > 0) {
      this.set(after);
      void writer.add({ outbox: changed, removedOutbox: dropped.map(({ client_id }) => client_id) });
    }
    this.pump();
  }

  stop(): void {
    this.cancelRetry?.();
    this.cancelWatch?.();
  }

  acknowledged(frame: AckFrame): void {
    const effect = applyAck(this.options.store.getState(), frame);
    this.options.store.setState(effect.state);
    this.write(effect.batch);
    this.postponed.delete(frame.client_id);
    if (effect.refetch) this.options.refetch();
    this.pump();
  }

  /** failed acts on an error frame about an entry; false when it is about something else. */
  failed(frame: ErrorFrame): boolean {
    const { store } = this.options;
    const entry = store.getState().outbox.find(({ client_id }) => client_id === frame.re);
    if (!entry) return false;
    if (frame.retryable || this.isEarly(entry, frame.code)) {
      this.postpone(entry.client_id, frame.retry_after_ms ?? 0);
      return true;
    }
    this.inFlight.delete(entry.client_id);
    if (entry.kind === 'change') {
      this.remove(entry.client_id);
      store.setState({ notice: `${undone[entry.wish.kind]} ${frame.message}` });
      this.pump();
      return true;
    }
    // Also what one region took and the next one refuses: only the person can decide then.
    this.set(refuse(store.getState().outbox, entry.client_id, frame.code, frame.message));
    this.persist(entry.client_id);
    return true;
  }

  /** isEarly tells whether a region may only not yet know the message that is to change, for it was written in another. */
  private isEarly(entry: OutboxEntry, code: string): boolean {
    return entry.kind === 'change' && code === 'unknown_message' && this.options.clock.now() - entry.written_at < outboxLimits.unknown_ms;
  }

  /** pump puts on the wire what may go. */
  private pump(): void {
    const { outbox, aliases } = this.options.store.getState();
    for (const frame of framesToSend(outbox, this.inFlight, (id) => resolve(aliases, id))) {
      if (!this.options.transmit(frame)) return;
      this.inFlight.add(frame.client_id);
    }
    this.watch();
  }

  /** postpone sends an entry again later. All that wait go out together, for their order is one chain. */
  private postpone(client_id: string, floor_ms: number): void {
    const { clock } = this.options;
    const tries = this.postponed.get(client_id) ?? 0;
    this.postponed.set(client_id, tries + 1);
    this.notBefore = Math.max(this.notBefore, clock.now() + floor_ms);
    this.cancelRetry?.();
    this.cancelRetry = clock.after(Math.max(this.notBefore - clock.now(), 100 + fullJitter(clock, tries)), () => {
      for (const waiting of this.postponed.keys()) this.inFlight.delete(waiting);
      this.pump();
    });
  }

  /** watch sends again what a live link never said anything about. */
  private watch(): void {
    this.cancelWatch?.();
    const silent = (): OutboxEntry[] =>
      this.options.store.getState().outbox.filter((e) => e.level === 'none' && this.inFlight.has(e.client_id));
    if (silent().length === 0) return;
    this.cancelWatch = this.options.clock.after(outboxLimits.silent_ms, () => {
      for (const entry of silent()) this.inFlight.delete(entry.client_id);
      this.pump();
    });
  }

  private nextSeq(): number {
    return 1 + Math.max(0, ...this.options.store.getState().outbox.map(({ seq }) => seq));
  }

  private set(outbox: readonly OutboxEntry[]): void {
    this.options.store.setState({ outbox });
  }

  private persist(client_id: string): void {
    const entry = this.options.store.getState().outbox.find((candidate) => candidate.client_id === client_id);
    if (entry) this.write({ outbox: [entry] });
  }

  private write(batch: Batch): void {
    void this.options.writer.add(batch);
  }
}
