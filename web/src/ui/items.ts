// From stored rows and the outbox to what the list shows. Pure.

import { applyChange } from '../engine/changes';
import { changeOfEntry } from '../engine/outbox';
import type { ChangeEntry, OutboxEntry, SendEntry } from '../engine/outbox';
import { sendOf } from '../engine/rows';
import type { Row } from '../engine/rows';
import type { Step } from '../engine/steps';
import { resolve } from '../engine/timeline';
import type { Aliases } from '../engine/timeline';
import { atOrBefore, orderKey } from '../protocol/ids';
import type { ConversationRow, GroupRow } from '../protocol/types';
import { dayOf } from './format';
import { isMember, mayManage, textOf } from './names';
import type { Names } from './names';
import { notesOf } from './notes';
import type { Note } from './notes';

export type SendState = 'pending' | 'sent' | 'safe' | 'delivered' | 'read' | 'failed';

/** Chip is one emoji under a message. */
export interface Chip {
  emoji: string;
  mine: boolean;
  names: string[];
}

/** Quote is what stands above an answer. Its text is missing while the quoted message is not loaded. */
export interface Quote {
  id: string;
  author?: string;
  text?: string;
}

export interface Item {
  /** Stays the same while a message goes from the outbox to its final id. */
  key: string;
  /** Undefined while no region has given one. */
  id: string | undefined;
  client_id: string;
  author: string;
  mine: boolean;
  text: string;
  at: number;
  /** Others' messages are "received". */
  state: SendState | 'received';
  failure?: string;
  edited: boolean;
  deleted: boolean;
  reactions: Chip[];
  reply?: Quote;
  /** What regions said that refused the message after another one had taken it. */
  refusals: string[];
  /** Who in the group has read up to here and no further. */
  seenBy: string[];
  /** What the person may do with it. */
  may: { answer: boolean; edit: boolean; delete: boolean };
  /** First and last of a run by one author: they share one bubble group. */
  first: boolean;
  last: boolean;
  /** Set where a new day begins above the message. */
  day?: number;
  /** The first message not yet read when the conversation was opened. */
  unread: boolean;
  /** Set in a line that is no message but tells what happened to the group: `text` says it. */
  note?: true;
}

/** What an item has that no region knows. */
const bare = {
  edited: false,
  deleted: false,
  reactions: [],
  refusals: [],
  seenBy: [],
  may: { answer: false, edit: false, delete: false },
  first: true,
  last: true,
  unread: false,
};

/** Messages of one author closer than this stand together. */
const group_ms = 5 * 60_000;

/** A change that is shown before any region took it is newer than all that is known. */
const latest = '9999-12-31T23:59:59.999Z';

export interface ItemsInput {
  rows: readonly Row[];
  outbox: readonly OutboxEntry[];
  conversation: ConversationRow;
  me: { user_id: string; username: string };
  unreadFrom: string | undefined;
  aliases: Aliases;
  names: Names;
  /** Whether the beginning of the conversation is among the rows: what happened before others shows with those. */
  complete: boolean;
}

export function buildItems(input: ItemsInput): Item[] {
  const { outbox, conversation, me, aliases } = input;
  const entries = outbox.filter((entry) => entry.conversation_id === conversation.id);
  const sends = entries.filter((entry) => entry.kind === 'send');
  const rows = inAdvance(input.rows, entries.filter((entry) => entry.kind === 'change'), me.user_id, aliases);
  const byId = new Map(rows.map((row) => [row.id, row]));
  const bySend = new Map(sends.map((entry) => [`${me.user_id}/${entry.client_id}`, entry]));
  const items: Item[] = rows.map((row) => {
    const send = sendOf(row);
    const entry = bySend.get(send);
    bySend.delete(send);
    return rowItem(row, entry, input, quoteOf(row.reply_to, byId, input));
  });
  if (conversation.kind === 'group') noteReaders(items, rows, conversation, input);
  const all = withNotes(items, input);
  for (const entry of sends) {
    if (bySend.has(`${me.user_id}/${entry.client_id}`)) all.push(outboxItem(entry, me, quoteOf(entry.reply_to, byId, input)));
  }
  return group(all);
}

/** withNotes puts what happened to the group between the messages, at its time. */
function withNotes(messages: Item[], { conversation, complete, me }: ItemsInput): Item[] {
  const steps = conversation.kind === 'group' ? (conversation.steps ?? []) : [];
  const from = complete ? -Infinity : (messages[0]?.at ?? Infinity);
  const items: Item[] = [];
  let next = 0;
  const tell = (until: number): void => {
    const due: Step[] = [];
    for (; next < steps.length && Date.parse(steps[next]!.at) < until; next++) if (Date.parse(steps[next]!.at) >= from) due.push(steps[next]!);
    items.push(...notesOf(due, me.user_id).map(noteItem));
  };
  for (const message of messages) {
    tell(message.at);
    items.push(message);
  }
  tell(Infinity);
  return items;
}

function noteItem({ key, at, text }: Note): Item {
  return {
    ...bare,
    key,
    id: undefined,
    client_id: key,
    author: '',
    mine: false,
    text,
    at,
    state: 'received',
    note: true,
  };
}

/** inAdvance shows what the person asked for before a region has taken it. */
function inAdvance(rows: readonly Row[], changes: readonly ChangeEntry[], me: string, aliases: Aliases): readonly Row[] {
  if (changes.length === 0) return rows;
  const byId = new Map<string, ChangeEntry[]>();
  for (const change of changes) {
    const id = resolve(aliases, change.message_id);
    byId.set(id, [...(byId.get(id) ?? []), change]);
  }
  return rows.map((row) => (byId.get(row.id) ?? []).reduce((now, change) => applyChange(now, changeOfEntry(change, me, latest)), row));
}

function rowItem(row: Row, entry: SendEntry | undefined, { conversation, me, unreadFrom, names }: ItemsInput, reply: Quote | undefined): Item {
  const mine = row.sender.id === me.user_id;
  const deleted = row.deleted === true;
  const open = !deleted && !entry?.failed && isMember(conversation) && conversation.state !== 'blocked';
  return {
    key: sendOf(row),
    id: row.id,
    client_id: row.client_id,
    author: row.sender.username,
    mine,
    text: row.body.text,
    at: Date.parse(row.sent_at),
    state: mine ? stateOf(row.id, entry, conversation) : 'received',
    ...(entry?.failed ? { failure: entry.failed.message } : {}),
    edited: row.edited_at !== undefined,
    deleted,
    reactions: chipsOf(row, me.user_id, names),
    ...(reply && !deleted ? { reply } : {}),
    refusals: (row.refusals ?? []).map(({ region, reason }) => `Not kept in ${region}: ${reason}`),
    seenBy: [],
    may: { answer: open, edit: open && mine, delete: open && (mine || mayManage(conversation)) },
    first: true,
    last: true,
    unread: row.id === unreadFrom,
  };
}

/** chipsOf gives the reactions in an order that is the same for everybody. */
function chipsOf(row: Row, me: string, names: Names): Chip[] {
  return (row.reactions ?? [])
    .map(({ emoji, users }) => ({ emoji, mine: users.includes(me), names: users.map(names) }))
    .sort((a, b) => (a.emoji < b.emoji ? -1 : 1));
}

function quoteOf(reply_to: string | undefined, byId: ReadonlyMap<string, Row>, { aliases, names }: ItemsInput): Quote | undefined {
  if (reply_to === undefined) return undefined;
  const id = resolve(aliases, reply_to);
  const row = byId.get(id) ?? byId.get(reply_to);
  return row ? { id: row.id, author: names(row.sender.id), text: textOf(row) } : { id };
}

/** stateOf tells how far an own message got. A row without an outbox entry was acknowledged at the highest level. */
function stateOf(id: string, entry: SendEntry | undefined, conversation: ConversationRow): SendState {
  if (entry?.failed) return 'failed';
  const { read, delivered } = reachOf(id, conversation);
  if (read) return 'read';
  if (delivered) return 'delivered';
  return entry ? 'sent' : 'safe';
}

/** reachOf tells whether the other side, or all others of a group, have got and read a message. */
function reachOf(id: string, conversation: ConversationRow): { read: boolean; delivered: boolean } {
  if (conversation.kind === 'direct') {
    return { read: atOrBefore(id, conversation.peer_read), delivered: atOrBefore(id, conversation.peer_delivered) };
  }
  const others = conversation.member_count - 1;
  const all = (marks: Readonly<Record<string, string>> = {}) =>
    others > 0 && Object.values(marks).filter((mark) => atOrBefore(id, mark)).length >= others;
  return { read: all(conversation.marks?.read), delivered: all(conversation.marks?.delivered) };
}

/** noteReaders puts each reader under the last message that they have read, unless they wrote it. */
function noteReaders(items: Item[], rows: readonly Row[], { marks }: GroupRow, { me, names }: ItemsInput): void {
  for (const [user, mark] of Object.entries(marks?.read ?? {})) {
    if (user === me.user_id) continue;
    const key = orderKey(mark);
    const at = rows.findLastIndex((row) => row.key <= key);
    if (at >= 0 && rows[at]!.sender.id !== user) items[at]!.seenBy.push(names(user));
  }
  for (const item of items) item.seenBy.sort();
}

function outboxItem(entry: SendEntry, me: { user_id: string; username: string }, reply: Quote | undefined): Item {
  return {
    ...bare,
    key: `${me.user_id}/${entry.client_id}`,
    id: undefined,
    client_id: entry.client_id,
    author: me.username,
    mine: true,
    text: entry.text,
    at: entry.written_at,
    state: entry.failed ? 'failed' : 'pending',
    ...(entry.failed ? { failure: entry.failed.message } : {}),
    ...(reply ? { reply } : {}),
  };
}

function group(items: Item[]): Item[] {
  items.forEach((item, i) => {
    const before = items[i - 1];
    if (!before || dayOf(before.at) !== dayOf(item.at)) item.day = item.at;
    const joined =
      before !== undefined &&
      before.author === item.author &&
      item.day === undefined &&
      !item.unread &&
      Math.abs(item.at - before.at) < group_ms;
    item.first = !joined;
    if (before) before.last = !joined;
  });
  return items;
}

/** stateText says in words what the mark beside an own message means. */
export const stateText: Record<SendState, string> = {
  pending: 'Waiting to be sent',
  sent: 'Sent: one region has it',
  safe: 'Safe: the loss of a region cannot lose it',
  delivered: 'Delivered',
  read: 'Read',
  failed: 'Not sent',
};
