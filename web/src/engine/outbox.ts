// The outbox: what this person wrote and the world has not yet safely got. Pure functions over a list in sending order.
//
// An entry leaves only when it is acknowledged at the highest level that the home zone has. Until then it is sent again
// on each new link, with the same client_id, so that a region can die with it and nothing is lost; the server makes the
// repeats one message.

import type { AckLevel, SendFrame } from '../protocol/types';

export interface OutboxEntry {
  client_id: string;
  /** Grows with each send of this device; the order in which entries go out. */
  seq: number;
  conversation_id: string;
  peer: string;
  text: string;
  /** The newest message of the conversation when this was written. */
  seen?: string;
  /** When it was written, in milliseconds since 1970. */
  written_at: number;
  /** The level acknowledged so far. */
  level: AckLevel | 'none';
  /** Why the server refused it for good. It then waits for the person to retry or delete it. */
  failed?: { code: string; message: string };
}

export const outboxLimits = {
  /** Sends without any acknowledgement on the wire at a time; more would hit the server's rate limit. */
  window: 32,
  /** A send that nothing was heard about on a live link goes out again after this. */
  silent_ms: 15_000,
  /** Older entries are not sent by themselves: the server may no longer know that it has them. It may tell another age. */
  age_ms: 7 * 24 * 3_600_000,
};

/** waiting gives the entries that still go out by themselves, in order. */
export function waiting(outbox: readonly OutboxEntry[]): OutboxEntry[] {
  return outbox.filter((entry) => !entry.failed);
}

/**
 * framesToSend gives the frames to put on the wire now: all that `inFlight` does not hold, as far as the window allows.
 * Each names the entry before it that is not yet acknowledged at the highest level, so a sender's order survives even
 * when the region that took the earlier one is gone.
 */
export function framesToSend(outbox: readonly OutboxEntry[], inFlight: ReadonlySet<string>): SendFrame[] {
  const frames: SendFrame[] = [];
  let unanswered = outbox.filter((entry) => inFlight.has(entry.client_id) && entry.level === 'none').length;
  let previous: OutboxEntry | undefined;
  for (const entry of waiting(outbox)) {
    if (!inFlight.has(entry.client_id)) {
      if (unanswered >= outboxLimits.window) break;
      unanswered++;
      frames.push({
        t: 'send',
        client_id: entry.client_id,
        ...(previous ? { after: previous.client_id } : {}),
        to: { user: entry.peer },
        body: { text: entry.text },
        ...(entry.seen ? { seen: entry.seen } : {}),
      });
    }
    previous = entry;
  }
  return frames;
}

/** acknowledge notes a level, and drops the entry once that is the highest there is. */
export function acknowledge(
  outbox: readonly OutboxEntry[],
  client_id: string,
  level: AckLevel,
  max_level: AckLevel,
): OutboxEntry[] {
  const done = level === 'zone' || level === max_level;
  return outbox.flatMap((entry) => {
    if (entry.client_id !== client_id) return [entry];
    if (done) return [];
    const { failed: _, ...rest } = entry;
    return [{ ...rest, level }];
  });
}

/** refuse marks an entry as failed for good. */
export function refuse(outbox: readonly OutboxEntry[], client_id: string, code: string, message: string): OutboxEntry[] {
  return outbox.map((entry) => (entry.client_id === client_id ? { ...entry, failed: { code, message } } : entry));
}

/** expire fails what is too old to be sent without asking. */
export function expire(outbox: readonly OutboxEntry[], now: number, age_ms = outboxLimits.age_ms): OutboxEntry[] {
  return outbox.map((entry) =>
    !entry.failed && entry.level === 'none' && now - entry.written_at > age_ms
      ? { ...entry, failed: { code: 'too_old', message: 'Written long ago. Send it now?' } }
      : entry,
  );
}

/** retry puts a failed entry back at the end of the line: what was sent after it has long gone out. */
export function retry(outbox: readonly OutboxEntry[], client_id: string, seq: number, now: number): OutboxEntry[] {
  const entry = outbox.find((candidate) => candidate.client_id === client_id);
  if (!entry?.failed) return [...outbox];
  const { failed: _, ...rest } = entry;
  return [...outbox.filter((other) => other !== entry), { ...rest, seq, written_at: now }];
}

export function remove(outbox: readonly OutboxEntry[], client_id: string): OutboxEntry[] {
  return outbox.filter((entry) => entry.client_id !== client_id);
}
