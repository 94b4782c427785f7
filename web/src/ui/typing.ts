import { useMemo } from 'react';
import type { ConversationRow } from '../protocol/types';
import { useChat } from './context';

/** useTypists gives the names of those who write in a conversation right now. */
export function useTypists(conversation: ConversationRow): string[] {
  const typing = useChat((chat) => chat.typing[conversation.id]);
  const members = useChat((chat) => chat.groups[conversation.id]);
  return useMemo(() => {
    const users = Object.keys(typing ?? {});
    if (conversation.kind === 'direct') return users.length > 0 ? [conversation.peer.username] : [];
    const name = (id: string) => members?.find(({ user }) => user.id === id)?.user.username;
    return users.map((id) => name(id) ?? 'somebody');
  }, [typing, members, conversation]);
}
