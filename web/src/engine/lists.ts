// What a fetched list of conversations changes. Pure.

import { atOrBefore, compareIds, laterId } from '../protocol/ids';
import type { ConversationRow } from '../protocol/types';
import { combine } from './changes';
import type { Effect } from './effects';
import type { ChatState } from './state';
import { sendOf, toRow } from './rows';

/** applyList takes a fresh list of conversations in, without losing what live events said while it was on its way. */
export function applyList(state: ChatState, list: readonly ConversationRow[]): Effect {
  const effect: Effect = { state: { listed: true }, batch: { conversations: [] } };
  const conversations = { ...state.conversations };
  for (const row of list) {
    const known = conversations[row.id];
    conversations[row.id] = known ? mergeConversation(state, known, row) : row;
    effect.batch.conversations!.push(conversations[row.id]!);
  }
  effect.state.conversations = conversations;
  return effect;
}

function mergeConversation(state: ChatState, known: ConversationRow, row: ConversationRow): ConversationRow {
  const merged: ConversationRow = { ...row };
  const read = laterId(known.read, row.read);
  if (read) merged.read = read;
  keepOwn(merged, known);
  // The list was asked before messages that came meanwhile: count those on top of it.
  const newer = (state.timelines[row.id]?.rows ?? []).filter(
    (message) => !row.last_message || compareIds(message.id, row.last_message.id) > 0,
  );
  const last = newer.at(-1);
  if (!last && row.last_message && known.last_message && sendOf(known.last_message) === sendOf(row.last_message)) {
    merged.last_message = combine(toRow(known.last_message), row.last_message);
  }
  if (last) {
    merged.last_message = last;
    merged.updated_at = last.sent_at;
  }
  const serverIsBehind = read !== undefined && read !== row.read;
  const unreadNow = newer.filter((m) => m.sender.id !== state.me?.user_id && !atOrBefore(m.id, read)).length;
  merged.unread = Math.min(100, serverIsBehind ? known.unread : row.unread + unreadNow);
  return merged;
}

/** keepOwn keeps what this client knows from events: of a group the server's list does not say it at all. */
function keepOwn(merged: ConversationRow, known: ConversationRow): void {
  if (merged.kind === 'group') {
    if (known.kind === 'group' && known.marks) merged.marks = known.marks;
    if (known.kind === 'group' && known.steps) merged.steps ??= known.steps;
    return;
  }
  if (known.kind !== 'direct') return;
  const read = laterId(known.peer_read, merged.peer_read);
  const delivered = laterId(known.peer_delivered, merged.peer_delivered);
  if (read) merged.peer_read = read;
  if (delivered) merged.peer_delivered = delivered;
}
