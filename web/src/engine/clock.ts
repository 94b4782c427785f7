// Time and chance as values, so that tests decide both.

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls fn once after ms; the result cancels it. */
  after(ms: number, fn: () => void): () => void;
  /** A number in [0, 1). */
  random(): number;
}

export const browserClock: Clock = {
  now: () => Date.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** fullJitter gives the wait before try number attempt (0, 1, …): anything between 0 and an exponentially growing cap. */
export function fullJitter(clock: Clock, attempt: number, base_ms = 500, cap_ms = 20_000): number {
  return clock.random() * Math.min(cap_ms, base_ms * 2 ** Math.min(attempt, 16));
}

/** sleep waits by the clock. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}
