// The outbox: what this person wrote and changed and the world has not yet safely got. Pure functions over a list in
// sending order.
//
// An entry leaves only when it is acknowledged at the highest level that the home zone has. Until then it is sent again
// on each new link, with the same client_id, so that a region can die with it and nothing is lost; the server makes the
// repeats one message, or one change.

import type { AckLevel, SendFrame, StoredFrame } from '../protocol/types';
import type { Change } from './changes';

interface AnyEntry {
  client_id: string;
  /** Grows with each entry of this device; the order in which they go out. */
  seq: number;
  conversation_id: string;
  /** When it was written, in milliseconds since 1970. */
  written_at: number;
  /** The level acknowledged so far. */
  level: AckLevel | 'none';
}

export interface SendEntry extends AnyEntry {
  kind: 'send';
  /** The other side of a direct conversation; a group has none. */
  peer?: string;
  text: string;
  reply_to?: string;
  /** The newest message of the conversation when this was written. */
  seen?: string;
  /** Why the server refused it for good. It then waits for the person to retry or delete it. */
  failed?: { code: string; message: string };
}

/** What a person asks for about a message. */
export type Wish = { kind: 'edit'; text: string } | { kind: 'delete' } | { kind: 'react'; emoji: string; on: boolean };

export interface ChangeEntry extends AnyEntry {
  kind: 'change';
  message_id: string;
  /** The client_id of the message where it is an own one: the change waits for that send to be safe. */
  own?: string;
  wish: Wish;
}

export type OutboxEntry = SendEntry | ChangeEntry;

export const outboxLimits = {
  /** Entries without any acknowledgement on the wire at a time; more would hit the server's rate limit. */
  window: 32,
  /** An entry that nothing was heard about on a live link goes out again after this. */
  silent_ms: 15_000,
  /** Older entries are not sent by themselves: the server may no longer know that it has them. It may tell another age. */
  age_ms: 7 * 24 * 3_600_000,
  /** How long "no such message" may mean that the region serving us has not got the message yet. */
  unknown_ms: 120_000,
};

/** failed gives the refusal of an entry; changes keep none, for they are undone. */
export function failed(entry: OutboxEntry): SendEntry['failed'] {
  return entry.kind === 'send' ? entry.failed : undefined;
}

/** waiting gives the entries that still go out by themselves, in order. */
export function waiting(outbox: readonly OutboxEntry[]): OutboxEntry[] {
  return outbox.filter((entry) => !failed(entry));
}

/**
 * framesToSend gives the frames to put on the wire now: all that `inFlight` does not hold, as far as the window allows.
 * A send names the one before it that is not yet acknowledged at the highest level, so a sender's order survives even
 * when the region that took the earlier one is gone. `idNow` gives the present id of a message.
 */
export function framesToSend(
  outbox: readonly OutboxEntry[], inFlight: ReadonlySet<string>, idNow: (message_id: string) => string = (id) => id,
): StoredFrame[] {
  const frames: StoredFrame[] = [];
  const list = waiting(outbox);
  let unanswered = list.filter((entry) => inFlight.has(entry.client_id) && entry.level === 'none').length;
  let previous: SendEntry | undefined;
  for (const [i, entry] of list.entries()) {
    const goes = !inFlight.has(entry.client_id) && (entry.kind === 'send' || isFree(entry, list.slice(0, i), list, idNow));
    if (goes) {
      if (unanswered >= outboxLimits.window) break;
      unanswered++;
      frames.push(entry.kind === 'send' ? sendFrame(entry, previous, idNow) : changeFrame(entry, idNow));
    }
    if (entry.kind === 'send') previous = entry;
  }
  return frames;
}

/**
 * isFree tells whether a change may go: its message must be safe, or another region may know it under another id; and
 * the change of the same message before it must be taken, for what a region takes later wins.
 */
function isFree(entry: ChangeEntry, before: OutboxEntry[], all: OutboxEntry[], idNow: (id: string) => string): boolean {
  if (entry.own !== undefined && all.some((other) => other.kind === 'send' && other.client_id === entry.own)) return false;
  const id = idNow(entry.message_id);
  return !before.some((other) => other.kind === 'change' && other.level === 'none' && idNow(other.message_id) === id);
}

function sendFrame(entry: SendEntry, previous: SendEntry | undefined, idNow: (id: string) => string): SendFrame {
  return {
    t: 'send',
    client_id: entry.client_id,
    ...(previous ? { after: previous.client_id } : {}),
    to: entry.peer === undefined ? { conversation: entry.conversation_id } : { user: entry.peer },
    body: { text: entry.text },
    ...(entry.reply_to ? { reply_to: idNow(entry.reply_to) } : {}),
    ...(entry.seen ? { seen: entry.seen } : {}),
  };
}

function changeFrame(entry: ChangeEntry, idNow: (id: string) => string): StoredFrame {
  const { client_id, conversation_id, wish } = entry;
  const target = { client_id, conversation_id, message_id: idNow(entry.message_id) };
  switch (wish.kind) {
    case 'edit':
      return { t: 'edit', ...target, body: { text: wish.text } };
    case 'delete':
      return { t: 'delete', ...target };
    case 'react':
      return { t: 'react', ...target, emoji: wish.emoji, on: wish.on };
  }
}

/** changeOfEntry gives what an entry does to its message once it is taken. */
export function changeOfEntry(entry: ChangeEntry, user: string, at: string): Change {
  const { conversation_id, message_id, wish } = entry;
  return { conversation_id, message_id, at, ...(wish.kind === 'react' ? { ...wish, user } : wish) };
}

/**
 * superseded gives the entries that a new wish about the same message makes needless, among those that no region has
 * seen: the earlier word about the same thing, and every word about a message that goes.
 */
export function superseded(outbox: readonly OutboxEntry[], message_id: string, wish: Wish, seen: ReadonlySet<string>): ChangeEntry[] {
  return outbox.filter((entry): entry is ChangeEntry => {
    if (entry.kind !== 'change' || entry.message_id !== message_id || entry.level !== 'none' || seen.has(entry.client_id)) return false;
    if (wish.kind === 'delete') return true;
    return entry.wish.kind === wish.kind && (wish.kind !== 'react' || (entry.wish.kind === 'react' && entry.wish.emoji === wish.emoji));
  });
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
    if (entry.kind === 'change') return [{ ...entry, level }];
    const { failed: _, ...rest } = entry;
    return [{ ...rest, level }];
  });
}

/** refuse marks a send as failed for good. */
export function refuse(outbox: readonly OutboxEntry[], client_id: string, code: string, message: string): OutboxEntry[] {
  return outbox.map((entry) => (entry.client_id === client_id && entry.kind === 'send' ? { ...entry, failed: { code, message } } : entry));
}

/** expire fails the sends that are too old to go without asking, and drops changes of that age. */
export function expire(outbox: readonly OutboxEntry[], now: number, age_ms = outboxLimits.age_ms): OutboxEntry[] {
  return outbox.flatMap((entry) => {
    if (failed(entry) || entry.level !== 'none' || now - entry.written_at <= age_ms) return [entry];
    if (entry.kind === 'change') return [];
    return [{ ...entry, failed: { code: 'too_old', message: 'Written long ago. Send it now?' } }];
  });
}

/** retry puts a failed send back at the end of the line: what was sent after it has long gone out. */
export function retry(outbox: readonly OutboxEntry[], client_id: string, seq: number, now: number): OutboxEntry[] {
  const entry = outbox.find((candidate) => candidate.client_id === client_id);
  if (entry?.kind !== 'send' || !entry.failed) return [...outbox];
  const { failed: _, ...rest } = entry;
  return [...outbox.filter((other) => other !== entry), { ...rest, seq, written_at: now }];
}

export function remove(outbox: readonly OutboxEntry[], client_id: string): OutboxEntry[] {
  return outbox.filter((entry) => entry.client_id !== client_id);
}
