// How people and conversations are called. Pure.

import type { ChatState } from '../engine/state';
import type { Row } from '../engine/rows';
import type { ConversationRow, Member, Message } from '../protocol/types';

/** titleOf gives what a conversation is called: by its other side, or by the name of the group. */
export function titleOf(conversation: ConversationRow): string {
  return conversation.kind === 'direct' ? conversation.peer.username : conversation.name;
}

/** isMember tells whether one may write in a conversation; a direct one has no way out but the block. */
export function isMember(conversation: ConversationRow): boolean {
  return conversation.kind === 'direct' || conversation.role !== 'none';
}

/** mayManage tells whether one may change a group and its members. */
export function mayManage(conversation: ConversationRow): boolean {
  return conversation.kind === 'group' && (conversation.role === 'owner' || conversation.role === 'admin');
}

/** previewOf gives the line under a conversation's name. */
export function previewOf(conversation: ConversationRow, me: string | undefined): string {
  const last = conversation.last_message;
  if (!last) return 'No messages yet';
  if (last.sender.id === me) return `You: ${textOf(last)}`;
  return conversation.kind === 'group' ? `${last.sender.username}: ${textOf(last)}` : textOf(last);
}

/** textOf gives a message's text, or what stands for it. */
export function textOf(message: Pick<Message, 'body' | 'deleted'>): string {
  return message.deleted ? 'Message deleted' : message.body.text;
}

export type Names = (user_id: string) => string;

/** namesOf gives the names of those who may appear in a conversation; of somebody long gone nothing may be known. */
export function namesOf(conversation: ConversationRow, members: readonly Member[], rows: readonly Row[], me: ChatState['me']): Names {
  const names = new Map<string, string>();
  for (const { sender } of rows) names.set(sender.id, sender.username);
  for (const { user } of members) names.set(user.id, user.username);
  if (conversation.kind === 'direct') names.set(conversation.peer.id, conversation.peer.username);
  if (me) names.set(me.user_id, 'You');
  return (user_id) => names.get(user_id) ?? 'somebody';
}

const list = new Intl.ListFormat(undefined, { type: 'conjunction' });

/** formatNames joins names, and counts those that would be too many to read. */
export function formatNames(names: readonly string[], most = 4): string {
  if (names.length <= most) return list.format(names);
  return list.format([...names.slice(0, most - 1), `${names.length - most + 1} more`]);
}
