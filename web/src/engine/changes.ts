// What becomes of a message after it was sent: edits, its deletion, reactions, and a region's refusal to keep it. Pure.
//
// Changes come in any order, more than once, and before their message. Each has one slot of a message, and the newest of
// a slot wins, so the order does not matter; a deletion is never taken back.

import type { DeletedFrame, EditedFrame, FailedFrame, Message, ReactedFrame, Reaction } from '../protocol/types';
import { toRow } from './rows';
import type { Row, Turn } from './rows';

interface Target {
  conversation_id: string;
  /** The id that the change names; it may be an alias. */
  message_id: string;
  at: string;
}

export type Change =
  | (Target & { kind: 'edit'; text: string })
  | (Target & { kind: 'delete' })
  | (Target & { kind: 'react'; user: string; emoji: string; on: boolean })
  | (Target & { kind: 'refuse'; region: string; reason: string });

/** Held is a change whose message is not here yet. */
export type Held = Change & { slot: string };

export const changeLimits = {
  /** Changes of a conversation kept for messages not here; the oldest go first. What the server lists has them in it. */
  held_max: 2_000,
};

/** changeOf reads an event about a message. */
export function changeOf(frame: EditedFrame | DeletedFrame | ReactedFrame | FailedFrame): Change {
  const { conversation_id, message_id } = frame;
  switch (frame.t) {
    case 'edit':
      return { kind: 'edit', conversation_id, message_id, at: frame.at, text: frame.body.text };
    case 'delete':
      return { kind: 'delete', conversation_id, message_id, at: frame.at };
    case 'react':
      return { kind: 'react', conversation_id, message_id, at: frame.at, user: frame.user, emoji: frame.emoji, on: frame.on };
    case 'failed':
      return { kind: 'refuse', conversation_id, message_id, at: '', region: frame.region, reason: frame.message };
  }
}

/** slotOf names what of a message a change is about. */
export function slotOf(change: Change): string {
  if (change.kind === 'react') return `react ${change.user} ${change.emoji}`;
  return change.kind === 'refuse' ? `refuse ${change.region}` : change.kind;
}

/** applyChange gives the changed row, or the same one when it knows better. */
export function applyChange(row: Row, change: Change): Row {
  switch (change.kind) {
    case 'edit':
      if (row.deleted || isOlder(change.at, row.edited_at)) return row;
      if (change.at === row.edited_at && change.text === row.body.text) return row;
      return { ...row, body: { text: change.text }, edited_at: change.at };
    case 'delete':
      return row.deleted ? row : gone(row);
    case 'react':
      return row.deleted ? row : turned(row, change.user, change.emoji, { at: change.at, on: change.on });
    case 'refuse':
      if (row.refusals?.some(({ region }) => region === change.region)) return row;
      return { ...row, refusals: [...(row.refusals ?? []), { region: change.region, reason: change.reason }] };
  }
}

/**
 * combine takes another copy of a known message in, such as a page of history. A page says no times of reactions: what
 * an event said about one stands, and what only the page knows is added.
 */
export function combine(known: Row, message: Message & Pick<Row, 'turns' | 'refusals'>): Row {
  const { turns = {}, ...copy } = message;
  const refusals = known.refusals ?? message.refusals;
  let row: Row = { ...toRow(copy), ...(known.turns ? { turns: known.turns } : {}), ...(refusals ? { refusals } : {}) };
  if (known.deleted || message.deleted) return gone(row);
  if (known.edited_at !== undefined && !isOlder(known.edited_at, message.edited_at)) {
    row.body = known.body;
    row.edited_at = known.edited_at;
  }
  let reactions = known.reactions ?? [];
  for (const { emoji, users } of message.reactions ?? []) {
    for (const user of users) if (!known.turns?.[turnKey(user, emoji)]) reactions = withReaction(reactions, user, emoji, true);
  }
  row = withReactions(row, reactions);
  for (const [key, turn] of Object.entries(turns)) {
    const [user, emoji] = [key.slice(0, key.indexOf(' ')), key.slice(key.indexOf(' ') + 1)];
    row = turned(row, user, emoji, turn);
  }
  return row;
}

/** sameContent tells whether two copies of a message show the same. */
export function sameContent(a: Row, b: Row): boolean {
  return (
    a.id === b.id && a.deleted === b.deleted && a.edited_at === b.edited_at && a.body.text === b.body.text &&
    a.turns === b.turns && a.refusals === b.refusals && JSON.stringify(a.reactions ?? []) === JSON.stringify(b.reactions ?? [])
  );
}

/** hold keeps changes for later: one for each slot, the newest. */
export function hold(held: readonly Held[], changes: readonly Change[]): Held[] {
  const bySlot = new Map(held.map((one) => [`${one.message_id} ${one.slot}`, one]));
  for (const change of changes) {
    const slot = slotOf(change);
    const key = `${change.message_id} ${slot}`;
    const known = bySlot.get(key);
    if (!known || !isOlder(change.at, known.at)) bySlot.set(key, { ...change, slot });
  }
  return [...bySlot.values()];
}

/**
 * isOlder compares times of changes; nothing is older than a missing one. Of two in one millisecond the later to arrive
 * wins: within a region that is the order in which they were made.
 */
function isOlder(at: string, than: string | undefined): boolean {
  return than !== undefined && Date.parse(at) < Date.parse(than);
}

function gone(row: Row): Row {
  const { edited_at: _, reactions: _reactions, turns: _turns, ...rest } = row;
  return { ...rest, body: { text: '' }, deleted: true };
}

function turnKey(user: string, emoji: string): string {
  return `${user} ${emoji}`;
}

function turned(row: Row, user: string, emoji: string, turn: Turn): Row {
  const key = turnKey(user, emoji);
  const known = row.turns?.[key];
  if (known && (isOlder(turn.at, known.at) || (turn.at === known.at && turn.on === known.on))) return row;
  return withReactions({ ...row, turns: { ...row.turns, [key]: turn } }, withReaction(row.reactions ?? [], user, emoji, turn.on));
}

function withReactions(row: Row, reactions: readonly Reaction[]): Row {
  const { reactions: _, ...rest } = row;
  return reactions.length === 0 ? rest : { ...rest, reactions };
}

/** withReaction adds a person to an emoji, or takes the person off it. */
export function withReaction(reactions: readonly Reaction[], user: string, emoji: string, on: boolean): readonly Reaction[] {
  const known = reactions.find((reaction) => reaction.emoji === emoji);
  if (Boolean(known?.users.includes(user)) === on) return reactions;
  if (!known) return [...reactions, { emoji, users: [user] }];
  const users = on ? [...known.users, user] : known.users.filter((other) => other !== user);
  return reactions.flatMap((reaction) => (reaction !== known ? [reaction] : users.length === 0 ? [] : [{ emoji, users }]));
}
