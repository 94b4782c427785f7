// What each frame changes. Pure: a state and a frame in, the changed parts and the batch for the disk out.

import { atOrBefore, compareIds, laterId } from '../protocol/ids';
import type {
  AckFrame, AliasFrame, ContactFrame, ContactState, ConversationRow, EventFrame, FailedFrame, GroupFrame, GroupRow, Message, MessageFrame,
  ReceiptFrame, UserRef,
} from '../protocol/types';
import { heldKey } from '../store/storage';
import type { Batch } from '../store/storage';
import { applyChange, changeLimits, changeOf, hold } from './changes';
import type { Change, Held } from './changes';
import { acknowledge, changeOfEntry } from './outbox';
import type { ChangeEntry, SendEntry } from './outbox';
import type { ChatState } from './state';
import { sendOf, toRow } from './rows';
import { emptyTimeline, merge, rename, resolve, settle, withAlias } from './timeline';
import type { Row } from './rows';
import type { TimelineChange } from './timeline';

export interface Effect {
  state: Partial<ChatState>;
  batch: Batch;
  /** Something came that only the server can complete, such as a message of an unknown conversation. */
  refetch?: boolean;
  /** A group whose members are others now. */
  group?: string;
  /** A conversation of which more is to be read now than the events tell. */
  reread?: string;
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
  const conversation = state.conversations[message.conversation_id];
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
  const conversation = effect.state.conversations?.[conversation_id] ?? state.conversations[conversation_id];
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
  const conversation = effect.state.conversations?.[conversation_id] ?? state.conversations[conversation_id];
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
  if (frame.change === 'renamed' && frame.name !== undefined) changed.name = frame.name;
  if (aboutMe && (frame.change === 'left' || frame.change === 'removed')) changed.role = 'none';
  else if (aboutMe && frame.role !== undefined) changed.role = frame.role;
  withConversation(state, effect, changed);
  return effect;
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
  const conversation = state.conversations[frame.conversation_id];
  if (!conversation) return { ...effect, refetch: true };
  const changed: ConversationRow = {
    ...conversation,
    ...(conversation.state === 'request' ? { state: 'accepted' as const } : {}),
    ...lastOf(conversation, effect, state, message),
  };
  withConversation(state, effect, changed);
  return effect;
}

/**
 * timelineEffect puts a changed timeline into an effect, with the held changes applied whose messages are in it, and the
 * last message of the conversation following its row.
 */
export function timelineEffect(
  state: ChatState, conversation_id: string, change: TimelineChange, held: readonly Held[] = state.held[conversation_id] ?? [],
): Effect {
  const effect: Effect = { state: {}, batch: {} };
  let { aliases } = state;
  for (const [from, to] of Object.entries(change.aliases)) aliases = withAlias(aliases, from, to);
  if (aliases !== state.aliases) {
    effect.state.aliases = aliases;
    effect.batch.aliases = change.aliases;
  }
  const { change: settled, left } = settle(change, held, aliases);
  withHeld(state, effect, conversation_id, left.slice(-changeLimits.held_max));
  if (settled.put.length === 0 && settled.removed.length === 0) return effect;
  effect.state.timelines = { ...state.timelines, [conversation_id]: settled.timeline };
  effect.batch.rows = settled.put;
  effect.batch.removedRows = settled.removed;
  const conversation = state.conversations[conversation_id];
  const last = conversation?.last_message;
  const row = last && settled.put.find((put) => sendOf(put) === sendOf(last));
  if (conversation && row && row.id === last.id) withConversation(state, effect, { ...conversation, last_message: row });
  return effect;
}

function withHeld(state: ChatState, effect: Effect, conversation_id: string, left: readonly Held[]): void {
  const before = state.held[conversation_id] ?? [];
  const key = (one: Held) => heldKey(one).join(' ');
  const keys = new Set(left.map(key));
  const known = new Set(before);
  const removed = before.filter((one) => !keys.has(key(one)));
  const added = left.filter((one) => !known.has(one));
  if (removed.length + added.length === 0) return;
  effect.state.held = { ...state.held, [conversation_id]: left };
  effect.batch.held = added;
  effect.batch.removedHeld = removed;
}

/** lastOf gives what a message that came changes in the list: with all that is known of it, where it is the last one. */
function lastOf(conversation: ConversationRow, effect: Effect, state: ChatState, message: Message): Pick<ConversationRow, 'last_message' | 'updated_at'> {
  if (!isLast(conversation, message)) return {};
  const rows = (effect.state.timelines ?? state.timelines)[message.conversation_id]?.rows ?? [];
  const row: Row | undefined = rows.findLast((one) => sendOf(one) === sendOf(message));
  return { last_message: row ?? message, updated_at: message.sent_at };
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
