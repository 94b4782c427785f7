// Sending: from the composer into the outbox, onto the wire, and off it again when the world has it.

import { randomUUID } from '../protocol/ids';
import type { AckFrame, ErrorFrame, SendFrame } from '../protocol/types';
import type { Batch, Writer } from '../store/storage';
import { fullJitter } from './clock';
import type { Clock } from './clock';
import { applyAck } from './events';
import { expire, framesToSend, outboxLimits, refuse, remove, retry } from './outbox';
import type { OutboxEntry } from './outbox';
import type { ChatStore } from './state';

export interface SenderOptions {
  clock: Clock;
  store: ChatStore;
  writer: Writer;
  /** Puts a frame on the wire; false when there is none. */
  transmit: (frame: SendFrame) => boolean;
  /** An acknowledgement brought something that only the server can complete. */
  refetch: () => void;
}

export class Sender {
  /** What went out on the present link. */
  private inFlight = new Set<string>();
  /** What the server refused for now, and how often in a row. */
  private postponed = new Map<string, number>();
  private cancelRetry: (() => void) | undefined;
  private cancelWatch: (() => void) | undefined;

  constructor(private readonly options: SenderOptions) {}

  /** send queues a text. It is on the disk before it is on the wire. */
  async send(conversation_id: string, peer: string, text: string): Promise<void> {
    const { store, clock, writer } = this.options;
    const { conversations, timelines } = store.getState();
    const seen = timelines[conversation_id]?.rows.at(-1)?.id ?? conversations[conversation_id]?.last_message?.id;
    const entry: OutboxEntry = {
      client_id: randomUUID(),
      seq: this.nextSeq(),
      conversation_id,
      peer,
      text,
      ...(seen ? { seen } : {}),
      written_at: clock.now(),
      level: 'none',
    };
    this.set([...store.getState().outbox, entry]);
    await writer.add({ outbox: [entry] });
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
    this.cancelRetry?.();
    this.cancelRetry = undefined;
    const { store, clock, writer } = this.options;
    const before = store.getState().outbox;
    const after = expire(before, clock.now(), age_ms);
    const changed = after.filter((entry, i) => entry !== before[i]);
    if (changed.length > 0) {
      this.set(after);
      void writer.add({ outbox: changed });
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

  /** failed acts on an error frame about a send; false when it is about something else. */
  failed(frame: ErrorFrame): boolean {
    const { store } = this.options;
    const entry = store.getState().outbox.find(({ client_id }) => client_id === frame.re);
    if (!entry) return false;
    if (frame.retryable) {
      this.postpone(entry.client_id, frame.retry_after_ms ?? 0);
      return true;
    }
    this.inFlight.delete(entry.client_id);
    // Also what one region took and the next one refuses: only the person can decide then.
    this.set(refuse(store.getState().outbox, entry.client_id, frame.code, frame.message));
    this.persist(entry.client_id);
    return true;
  }

  /** pump puts on the wire what may go. */
  private pump(): void {
    for (const frame of framesToSend(this.options.store.getState().outbox, this.inFlight)) {
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
    this.cancelRetry?.();
    this.cancelRetry = clock.after(Math.max(floor_ms, 100 + fullJitter(clock, tries)), () => {
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
