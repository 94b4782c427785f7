// What each frame changes. Pure: a state and a frame in, the changed parts and the batch for the disk out.

import { atOrBefore, compareIds, laterId } from '../protocol/ids';
import type {
  AckFrame, AliasFrame, ContactFrame, ContactState, ConversationRow, EventFrame, Message, MessageFrame, ReceiptFrame, UserRef,
} from '../protocol/types';
import type { Batch } from '../store/storage';
import { acknowledge } from './outbox';
import type { ChatState } from './state';
import { emptyTimeline, merge, rename } from './timeline';
import type { TimelineChange } from './timeline';

export interface Effect {
  state: Partial<ChatState>;
  batch: Batch;
  /** Something came that only the server can complete, such as a message of an unknown conversation. */
  refetch?: boolean;
}

/** applyEvent gives the effect of an event. Its batch carries the event's cursor, so both reach the disk together. */
export function applyEvent(state: ChatState, frame: EventFrame): Effect {
  const effect = eventEffect(state, frame);
  effect.batch.cursor = frame.cursor;
  return effect;
}

function eventEffect(state: ChatState, frame: EventFrame): Effect {
  switch (frame.t) {
    case 'message':
      return applyMessage(state, frame);
    case 'alias':
      return applyAlias(state, frame);
    case 'receipt':
      return applyReceipt(state, frame);
    case 'contact':
      return applyContact(state, frame);
  }
}

function applyMessage(state: ChatState, { message }: MessageFrame): Effect {
  const change = merge(state.timelines[message.conversation_id] ?? emptyTimeline, [message]);
  const effect = timelineEffect(state, message.conversation_id, change);
  const mine = message.sender.id === state.me?.user_id;
  const fresh = change.added.length > 0;
  const conversation = state.conversations[message.conversation_id];
  if (!conversation) return { ...effect, refetch: true };

  // A message that this list never held may still be an old one that comes again: the read mark knows.
  const unseen = fresh && !mine && !atOrBefore(message.id, conversation.read);
  const changed: ConversationRow = {
    ...conversation,
    unread: Math.min(100, conversation.unread + (unseen ? 1 : 0)),
    ...(isLast(conversation, message) ? { last_message: message, updated_at: message.sent_at } : {}),
  };
  if (mine && conversation.state === 'request') changed.state = 'accepted'; // answering accepts
  withConversation(state, effect, changed);
  if (!mine && state.typing[message.conversation_id] !== undefined) {
    const { [message.conversation_id]: _, ...typing } = state.typing;
    effect.state.typing = typing;
  }
  return effect;
}

function applyAlias(state: ChatState, frame: AliasFrame): Effect {
  const conversation = state.conversations[frame.conversation_id];
  const change = rename(state.timelines[frame.conversation_id] ?? emptyTimeline, frame.from, frame.to);
  const effect = timelineEffect(state, frame.conversation_id, change);
  // The row may be on the device only.
  effect.batch.renamed = [{ conversation_id: frame.conversation_id, from: frame.from, to: frame.to }];
  const last = conversation?.last_message;
  if (conversation && last?.id === frame.from) {
    withConversation(state, effect, { ...conversation, last_message: { ...last, id: frame.to } });
  }
  return effect;
}

function applyReceipt(state: ChatState, frame: ReceiptFrame): Effect {
  const conversation = state.conversations[frame.conversation_id];
  if (!conversation) return { state: {}, batch: {}, refetch: true };
  const effect: Effect = { state: {}, batch: {} };
  if (frame.user !== state.me?.user_id) {
    const delivered = laterId(conversation.peer_delivered, frame.message_id)!;
    const read = frame.kind === 'read' ? laterId(conversation.peer_read, frame.message_id) : conversation.peer_read;
    withConversation(state, effect, { ...conversation, peer_delivered: delivered, ...(read ? { peer_read: read } : {}) });
    return effect;
  }
  if (frame.kind !== 'read' || atOrBefore(frame.message_id, conversation.read)) return effect;
  // Read on another device of ours. How many stay unread is known only when the mark covers all.
  const last = conversation.last_message;
  const all = !last || compareIds(last.id, frame.message_id) <= 0;
  withConversation(state, effect, { ...conversation, read: frame.message_id, ...(all ? { unread: 0 } : {}) });
  return all ? effect : { ...effect, refetch: true };
}

function applyContact(state: ChatState, frame: ContactFrame): Effect {
  return { ...contactEffect(state, frame.user, frame.state), refetch: frame.state === 'accepted' };
}

/** contactEffect gives the effect of a contact's new state, told by the server or done by a call of ours. */
export function contactEffect(state: ChatState, user: UserRef, contact: ContactState | 'none'): Effect {
  const effect: Effect = { state: {}, batch: {} };
  const others = state.contacts.filter((other) => other.user.id !== user.id);
  effect.state.contacts =
    contact === 'none'
      ? others
      : [...others, { user, state: contact }].sort((a, b) => a.user.username.localeCompare(b.user.username));
  const conversation = Object.values(state.conversations).find(({ peer }) => peer.id === user.id);
  // Asking a stranger back accepts what the stranger wrote.
  if (conversation?.state === 'request' && (contact === 'accepted' || contact === 'outgoing')) {
    withConversation(state, effect, { ...conversation, state: 'accepted' });
  }
  return effect;
}

/**
 * applyAck notes an acknowledgement of an own send. The optimistic row becomes a stored one under the id that the
 * serving region gave; a later word of the server (another ack, an alias) may give it another.
 */
export function applyAck(state: ChatState, frame: AckFrame): Effect {
  const entry = state.outbox.find(({ client_id }) => client_id === frame.client_id);
  if (!entry || !state.me) return { state: {}, batch: {} };
  const message: Message = {
    id: frame.message_id,
    conversation_id: frame.conversation_id,
    sender: { id: state.me.user_id, username: state.me.username },
    client_id: frame.client_id,
    body: { text: entry.text },
    sent_at: frame.sent_at,
  };
  const change = merge(state.timelines[frame.conversation_id] ?? emptyTimeline, [message]);
  const effect = timelineEffect(state, frame.conversation_id, change);
  const outbox = acknowledge(state.outbox, frame.client_id, frame.level, state.max_level);
  effect.state.outbox = outbox;
  const kept = outbox.find(({ client_id }) => client_id === frame.client_id);
  if (kept) effect.batch.outbox = [kept];
  else effect.batch.removedOutbox = [frame.client_id];

  const conversation = state.conversations[frame.conversation_id];
  if (!conversation) return { ...effect, refetch: true };
  const changed: ConversationRow = {
    ...conversation,
    ...(conversation.state === 'request' ? { state: 'accepted' as const } : {}),
    ...(isLast(conversation, message) ? { last_message: message, updated_at: message.sent_at } : {}),
  };
  withConversation(state, effect, changed);
  return effect;
}

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
  const peerRead = laterId(known.peer_read, row.peer_read);
  const peerDelivered = laterId(known.peer_delivered, row.peer_delivered);
  if (read) merged.read = read;
  if (peerRead) merged.peer_read = peerRead;
  if (peerDelivered) merged.peer_delivered = peerDelivered;
  // The list was asked before messages that came meanwhile: count those on top of it.
  const newer = (state.timelines[row.id]?.rows ?? []).filter(
    (message) => !row.last_message || compareIds(message.id, row.last_message.id) > 0,
  );
  const last = newer.at(-1);
  if (last) {
    merged.last_message = last;
    merged.updated_at = last.sent_at;
  }
  const serverIsBehind = read !== undefined && read !== row.read;
  const unreadNow = newer.filter((m) => m.sender.id !== state.me?.user_id && !atOrBefore(m.id, read)).length;
  merged.unread = Math.min(100, serverIsBehind ? known.unread : row.unread + unreadNow);
  return merged;
}

/** timelineEffect puts a changed timeline into an effect. */
export function timelineEffect(state: ChatState, conversation_id: string, change: TimelineChange): Effect {
  if (change.put.length === 0 && change.removed.length === 0) return { state: {}, batch: {} };
  return {
    state: { timelines: { ...state.timelines, [conversation_id]: change.timeline } },
    batch: { rows: change.put, removedRows: change.removed },
  };
}

function withConversation(state: ChatState, effect: Effect, conversation: ConversationRow): void {
  effect.state.conversations = {
    ...(effect.state.conversations ?? state.conversations),
    [conversation.id]: conversation,
  };
  effect.batch.conversations = [...(effect.batch.conversations ?? []), conversation];
}

function isLast(conversation: ConversationRow, message: Message): boolean {
  const last = conversation.last_message;
  return !last || compareIds(message.id, last.id) >= 0 || last.client_id === message.client_id;
}
