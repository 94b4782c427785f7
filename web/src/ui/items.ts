// From stored rows and the outbox to what the list shows. Pure.

import type { OutboxEntry } from '../engine/outbox';
import type { Row } from '../engine/timeline';
import { sendOf } from '../engine/timeline';
import { atOrBefore } from '../protocol/ids';
import type { ConversationRow } from '../protocol/types';
import { dayOf } from './format';

export type SendState = 'pending' | 'sent' | 'safe' | 'delivered' | 'read' | 'failed';

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
  /** First and last of a run by one author: they share one bubble group. */
  first: boolean;
  last: boolean;
  /** Set where a new day begins above the message. */
  day?: number;
  /** The first message not yet read when the conversation was opened. */
  unread: boolean;
}

/** Messages of one author closer than this stand together. */
const group_ms = 5 * 60_000;

export interface ItemsInput {
  rows: readonly Row[];
  outbox: readonly OutboxEntry[];
  conversation: ConversationRow;
  me: { user_id: string; username: string };
  unreadFrom: string | undefined;
}

export function buildItems({ rows, outbox, conversation, me, unreadFrom }: ItemsInput): Item[] {
  const entries = outbox.filter((entry) => entry.conversation_id === conversation.id);
  const bySend = new Map(entries.map((entry) => [`${me.user_id}/${entry.client_id}`, entry]));
  const items: Item[] = rows.map((row) => {
    const send = sendOf(row);
    const entry = bySend.get(send);
    bySend.delete(send);
    return rowItem(row, entry, conversation, me.user_id, row.id === unreadFrom);
  });
  for (const entry of entries) if (bySend.has(`${me.user_id}/${entry.client_id}`)) items.push(outboxItem(entry, me));
  return group(items);
}

function rowItem(
  row: Row, entry: OutboxEntry | undefined, conversation: ConversationRow, me: string, unread: boolean,
): Item {
  const mine = row.sender.id === me;
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
    first: true,
    last: true,
    unread,
  };
}

/** stateOf tells how far an own message got. A row without an outbox entry was acknowledged at the highest level. */
function stateOf(id: string, entry: OutboxEntry | undefined, conversation: ConversationRow): SendState {
  if (entry?.failed) return 'failed';
  if (atOrBefore(id, conversation.peer_read)) return 'read';
  if (atOrBefore(id, conversation.peer_delivered)) return 'delivered';
  return entry ? 'sent' : 'safe';
}

function outboxItem(entry: OutboxEntry, me: { user_id: string; username: string }): Item {
  return {
    key: `${me.user_id}/${entry.client_id}`,
    id: undefined,
    client_id: entry.client_id,
    author: me.username,
    mine: true,
    text: entry.text,
    at: entry.written_at,
    state: entry.failed ? 'failed' : 'pending',
    ...(entry.failed ? { failure: entry.failed.message } : {}),
    first: true,
    last: true,
    unread: false,
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
