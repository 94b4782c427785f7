// What a frame does, as a value, and the pieces that effects are made of. Pure.

import { compareIds } from '../protocol/ids';
import type { ConversationRow, Message } from '../protocol/types';
import { heldKey } from '../store/storage';
import type { Batch } from '../store/storage';
import { changeLimits } from './changes';
import type { Held } from './changes';
import { sendOf } from './rows';
import type { Row } from './rows';
import type { ChatState } from './state';
import { settle, withAlias } from './timeline';
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
export function lastOf(
  conversation: ConversationRow, effect: Effect, state: ChatState, message: Message,
): Pick<ConversationRow, 'last_message' | 'updated_at'> {
  if (!isLast(conversation, message)) return {};
  const rows = (effect.state.timelines ?? state.timelines)[message.conversation_id]?.rows ?? [];
  const row: Row | undefined = rows.findLast((one) => sendOf(one) === sendOf(message));
  return { last_message: row ?? message, updated_at: message.sent_at };
}

/** conversationOf gives a conversation as an effect leaves it. */
export function conversationOf(state: ChatState, effect: Effect, id: string): ConversationRow | undefined {
  return (effect.state.conversations ?? state.conversations)[id];
}

/** withConversation puts a changed conversation into an effect. */
export function withConversation(state: ChatState, effect: Effect, conversation: ConversationRow): void {
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
