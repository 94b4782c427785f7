// What each frame changes. Pure: a state and a frame in, the changed parts and the batch for the disk out.

import { atOrBefore, compareIds, laterId } from '../protocol/ids';
import type {
  AckFrame, AliasFrame, ContactFrame, ContactState, ConversationRow, EventFrame, FailedFrame, GroupFrame, GroupRow, Message, MessageFrame,
  ReceiptFrame, UserRef,
} from '../protocol/types';
import { applyChange, changeOf, hold } from './changes';
import type { Change } from './changes';
import { conversationOf, lastOf, timelineEffect, withConversation } from './effects';
import type { Effect } from './effects';
import { acknowledge, changeOfEntry } from './outbox';
import type { ChangeEntry, SendEntry } from './outbox';
import { toRow } from './rows';
import type { ChatState } from './state';
import { stepOf, withSteps } from './steps';
import { emptyTimeline, merge, rename, resolve, withAlias } from './timeline';

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
    case 'edit':
    case 'delete':
    case 'react':
      return changeEffect(state, changeOf(frame));
    case 'failed':
      return applyFailed(state, frame);
    case 'group':
      return applyGroup(state, frame);
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
  const conversation = conversationOf(state, effect, message.conversation_id);
  if (!conversation) return { ...effect, refetch: true };

  // A message that this list never held may still be an old one that comes again: the read mark knows.
  const unseen = fresh && !mine && !atOrBefore(message.id, conversation.read);
  const changed: ConversationRow = {
    ...conversation,
    unread: Math.min(100, conversation.unread + (unseen ? 1 : 0)),
    ...lastOf(conversation, effect, state, message),
  };
  if (mine && conversation.state === 'request') changed.state = 'accepted'; // answering accepts
  withConversation(state, effect, changed);
  const typing = state.typing[message.conversation_id];
  if (typing?.[message.sender.id] !== undefined) {
    const { [message.sender.id]: _, ...others } = typing;
    effect.state.typing = { ...state.typing, [message.conversation_id]: others };
  }
  return effect;
}

function applyAlias(state: ChatState, frame: AliasFrame): Effect {
  const { conversation_id, from, to } = frame;
  const aliases = withAlias(state.aliases, from, to);
  const change = rename(state.timelines[conversation_id] ?? emptyTimeline, from, to);
  const effect = timelineEffect({ ...state, aliases }, conversation_id, change);
  effect.state.aliases = aliases;
  effect.batch.aliases = { ...effect.batch.aliases, [from]: to };
  // The row may be on the device only.
  effect.batch.renamed = [{ conversation_id, from, to }];
  const conversation = conversationOf(state, effect, conversation_id);
  const last = conversation?.last_message;
  if (conversation && last?.id === from) withConversation(state, effect, { ...conversation, last_message: { ...last, id: to } });
  return effect;
}

/** changeEffect gives the effect of a change: on its message, or on what is kept for the message when that comes. */
export function changeEffect(state: ChatState, change: Change): Effect {
  const { conversation_id } = change;
  const held = hold(state.held[conversation_id] ?? [], [change]);
  const timeline = state.timelines[conversation_id] ?? emptyTimeline;
  const effect = timelineEffect(state, conversation_id, { timeline, put: [], removed: [], added: [], aliases: {} }, held);
  // The list shows the last message of a conversation whose messages are not in memory, too.
  const conversation = conversationOf(state, effect, conversation_id);
  const last = conversation?.last_message;
  if (conversation && last && resolve(state.aliases, change.message_id) === resolve(state.aliases, last.id)) {
    const row = toRow(last);
    const next = applyChange(row, change);
    if (next !== row) withConversation(state, effect, { ...conversation, last_message: next });
  }
  return effect;
}

/** applyFailed marks the message that a region refused for good. What was refused may be a change, which shows nowhere. */
function applyFailed(state: ChatState, frame: FailedFrame): Effect {
  const own = state.timelines[frame.conversation_id]?.rows.find(
    ({ client_id, sender }) => client_id === frame.client_id && sender.id === state.me?.user_id,
  );
  const effect = changeEffect(state, { ...changeOf(frame), message_id: own?.id ?? frame.message_id });
  effect.state.notice = `${frame.region} did not keep something that you wrote: ${frame.message}`;
  return effect;
}

function applyGroup(state: ChatState, frame: GroupFrame): Effect {
  const conversation = state.conversations[frame.conversation_id];
  const aboutMe = frame.user?.id === state.me?.user_id;
  const effect: Effect = { state: {}, batch: {}, refetch: true, group: frame.conversation_id };
  // Messages from the time of joining on may have been written before this region knew of it.
  if (aboutMe && frame.change === 'joined') effect.reread = frame.conversation_id;
  if (conversation?.kind !== 'group') return effect;
  const changed: GroupRow = { ...conversation };
  const step = stepOf(frame);
  if (step) changed.steps = withSteps(changed.steps, [step]);
  if (frame.change === 'renamed' && frame.name !== undefined) changed.name = frame.name;
  if (aboutMe && (frame.change === 'left' || frame.change === 'removed')) changed.role = 'none';
  else if (aboutMe && frame.role !== undefined) changed.role = frame.role;
  if (frame.user && (frame.change === 'left' || frame.change === 'removed')) forgetMarks(changed, frame.user.id);
  withConversation(state, effect, changed);
  return effect;
}

/** forgetMarks drops how far somebody had read who is no longer asked: "read by all" is about those who are there. */
function forgetMarks(group: GroupRow, user: string): void {
  if (!group.marks) return;
  const { [user]: _, ...read } = group.marks.read;
  const { [user]: _delivered, ...delivered } = group.marks.delivered;
  group.marks = { read, delivered };
}

function applyReceipt(state: ChatState, frame: ReceiptFrame): Effect {
  const conversation = state.conversations[frame.conversation_id];
  if (!conversation) return { state: {}, batch: {}, refetch: true };
  const effect: Effect = { state: {}, batch: {} };
  if (frame.user !== state.me?.user_id) {
    withConversation(state, effect, markedBy(conversation, frame));
    return effect;
  }
  if (frame.kind !== 'read' || atOrBefore(frame.message_id, conversation.read)) return effect;
  // Read on another device of ours. How many stay unread is known only when the mark covers all.
  const last = conversation.last_message;
  const all = !last || compareIds(last.id, frame.message_id) <= 0;
  withConversation(state, effect, { ...conversation, read: frame.message_id, ...(all ? { unread: 0 } : {}) });
  return all ? effect : { ...effect, refetch: true };
}

/** markedBy moves the marks of somebody else forward. */
function markedBy(conversation: ConversationRow, { user, kind, message_id }: ReceiptFrame): ConversationRow {
  if (conversation.kind === 'direct') {
    const delivered = laterId(conversation.peer_delivered, message_id)!;
    const read = kind === 'read' ? laterId(conversation.peer_read, message_id) : conversation.peer_read;
    return { ...conversation, peer_delivered: delivered, ...(read ? { peer_read: read } : {}) };
  }
  const { read, delivered } = conversation.marks ?? { read: {}, delivered: {} };
  return {
    ...conversation,
    marks: {
      read: kind === 'read' ? { ...read, [user]: laterId(read[user], message_id)! } : read,
      delivered: { ...delivered, [user]: laterId(delivered[user], message_id)! },
    },
  };
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
  const conversation = Object.values(state.conversations).find((row) => row.kind === 'direct' && row.peer.id === user.id);
  // Asking a stranger back accepts what the stranger wrote.
  if (conversation?.state === 'request' && (contact === 'accepted' || contact === 'outgoing')) {
    withConversation(state, effect, { ...conversation, state: 'accepted' });
  }
  return effect;
}

/**
 * applyAck notes an acknowledgement. The optimistic row of a send becomes a stored one under the id that the serving
 * region gave; a later word of the server (another ack, an alias) may give it another.
 */
export function applyAck(state: ChatState, frame: AckFrame): Effect {
  const entry = state.outbox.find(({ client_id }) => client_id === frame.client_id);
  if (!entry || !state.me) return { state: {}, batch: {} };
  const outbox = acknowledge(state.outbox, frame.client_id, frame.level, state.max_level);
  const kept = outbox.find(({ client_id }) => client_id === frame.client_id);
  const effect = entry.kind === 'send' ? sentEffect(state, frame, entry, state.me) : kept ? { state: {}, batch: {} } : takenEffect(state, frame, entry, state.me.user_id);
  effect.state.outbox = outbox;
  if (kept) effect.batch.outbox = [kept];
  else effect.batch.removedOutbox = [frame.client_id];
  return effect;
}

/** takenEffect makes a change that was shown in advance a real one: the event about it may come later, and says the same. */
function takenEffect(state: ChatState, frame: AckFrame, entry: ChangeEntry, me: string): Effect {
  return changeEffect(state, changeOfEntry(entry, me, frame.sent_at));
}

function sentEffect(state: ChatState, frame: AckFrame, entry: SendEntry, me: { user_id: string; username: string }): Effect {
  const message: Message = {
    id: frame.message_id,
    conversation_id: frame.conversation_id,
    sender: { id: me.user_id, username: me.username },
    client_id: frame.client_id,
    body: { text: entry.text },
    sent_at: frame.sent_at,
    ...(entry.reply_to ? { reply_to: entry.reply_to } : {}),
  };
  const change = merge(state.timelines[frame.conversation_id] ?? emptyTimeline, [message]);
  const effect = timelineEffect(state, frame.conversation_id, change);
  const conversation = conversationOf(state, effect, frame.conversation_id);
  if (!conversation) return { ...effect, refetch: true };
  const changed: ConversationRow = {
    ...conversation,
    ...(conversation.state === 'request' ? { state: 'accepted' as const } : {}),
    ...lastOf(conversation, effect, state, message),
  };
  withConversation(state, effect, changed);
  return effect;
}
