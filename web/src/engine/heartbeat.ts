// Liveness of one socket. A browser shows no protocol pings, so silence is broken by frames of our own.

import type { Clock } from './clock';

export const beat = {
  /** Silence before a ping, and after it until the link counts as dead: noticed 6 s after the last sign of life. */
  urgent_ms: 3_000,
  urgent_answer_ms: 3_000,
  /** The same when nobody looks and nothing waits. */
  idle_ms: 25_000,
  idle_answer_ms: 10_000,
  /** A timer so late means that the machine slept: answers may lie in the queue behind it. */
  asleep_ms: 2_000,
};

export interface HeartbeatOptions {
  clock: Clock;
  urgent: () => boolean;
  ping: () => void;
  dead: () => void;
  rtt: (ms: number) => void;
}

export class Heartbeat {
  private heardAt: number;
  /** When the ping went out that nothing was heard since. */
  private pingedAt: number | undefined;
  /** When the ping went out whose pong is still to come. */
  private askedAt: number | undefined;
  private cancel: () => void = () => {};
  private stopped = false;

  constructor(private readonly options: HeartbeatOptions) {
    this.heardAt = options.clock.now();
    this.ping(); // the first round trip is worth knowing at once
  }

  /** heard notes any frame from the other side: it lives. */
  heard(): void {
    this.heardAt = this.options.clock.now();
    this.pingedAt = undefined;
    this.schedule();
  }

  /** answered notes a pong: it tells the round trip. */
  answered(): void {
    if (this.askedAt !== undefined) this.options.rtt(this.options.clock.now() - this.askedAt);
    this.askedAt = undefined;
  }

  /** check asks now whether the other side lives, without waiting for the next beat. */
  check(): void {
    if (this.pingedAt === undefined) this.ping();
    else this.schedule();
  }

  /** touch sets the timer anew: what counts as urgent may have changed. */
  touch(): void {
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.cancel();
  }

  private ping(): void {
    this.pingedAt = this.askedAt = this.options.clock.now();
    this.options.ping();
    this.schedule();
  }

  private schedule(): void {
    this.cancel();
    if (this.stopped) return;
    const { clock, urgent } = this.options;
    const due =
      this.pingedAt === undefined
        ? this.heardAt + (urgent() ? beat.urgent_ms : beat.idle_ms)
        : this.pingedAt + (urgent() ? beat.urgent_answer_ms : beat.idle_answer_ms);
    this.cancel = clock.after(Math.max(0, due - clock.now()), () => this.act(due));
  }

  private act(due: number): void {
    if (this.stopped) return;
    const late_ms = this.options.clock.now() - due;
    if (this.pingedAt === undefined || late_ms > beat.asleep_ms) this.ping();
    else this.options.dead();
  }
}
