import { memo, useMemo } from 'react';
import type { ConversationRow } from '../protocol/types';
import { Avatar } from './Avatar';
import { useChat, useEngine } from './context';
import { formatWhen } from './format';
import { previewOf, titleOf } from './names';
import { useTypists } from './typing';

export function ConversationList({ search }: { search: string }) {
  const conversations = useChat((state) => state.conversations);
  const listed = useChat((state) => state.listed);
  const open = useChat((state) => state.open);
  const sorted = useMemo(() => sortLatestFirst(Object.values(conversations)), [conversations]);
  const wanted = search.trim().toLowerCase();
  const found = sorted.filter((conversation) => titleOf(conversation).toLowerCase().includes(wanted));
  if (found.length === 0) return <NoChats listed={listed} wanted={wanted} />;
  return (
    <ul className="list" aria-label="Chats">
      {found.map((conversation) => (
        <Entry key={conversation.id} conversation={conversation} open={conversation.id === open} />
      ))}
    </ul>
  );
}

function NoChats({ listed, wanted }: { listed: boolean; wanted: string }) {
  if (wanted !== '') return <p className="list-empty">No chat with “{wanted}” yet. Press Enter to start one.</p>;
  if (!listed) return <p className="list-empty">Loading …</p>;
  return <p className="list-empty">No conversations yet. Type a username above to start the first one.</p>;
}

const Entry = memo(function Entry({ conversation, open }: { conversation: ConversationRow; open: boolean }) {
  const engine = useEngine();
  const { state, unread, last_message: last } = conversation;
  const title = titleOf(conversation);
  const group = conversation.kind === 'group';
  const presence = useChat((chat) => (conversation.kind === 'direct' ? chat.presence[conversation.peer.id]?.state : undefined));
  const typists = useTypists(conversation);
  const me = useChat((chat) => chat.me?.user_id);
  const at = last ? Date.parse(last.sent_at) : undefined;
  return (
    <li>
      <button
        type="button"
        className="entry"
        data-testid="conv-item"
        data-peer={title}
        data-kind={conversation.kind}
        data-state={state}
        aria-current={open ? 'true' : undefined}
        onClick={() => engine.openConversation(conversation.id)}
      >
        <span className="entry-avatar">
          <Avatar name={title} group={group} />
          {presence === 'online' && <span className="dot dot-online" title="online" />}
        </span>
        <span className="entry-main">
          <span className="entry-top">
            <span className="entry-name" dir="auto">
              {group && <span className="visually-hidden">Group </span>}
              {title}
            </span>
            {at !== undefined && <time className="entry-when">{formatWhen(at, Date.now())}</time>}
          </span>
          <span className="entry-bottom">
            <span className={typists.length > 0 ? 'entry-last entry-typing' : 'entry-last'} dir="auto">
              {typists.length > 0 ? `${group ? `${typists[0]} is ` : ''}typing …` : previewOf(conversation, me)}
            </span>
            {group && conversation.role === 'none' && <span className="tag">left</span>}
            {state !== 'accepted' && <span className="tag">{state}</span>}
            {unread > 0 && (
              <span className="badge" data-testid="unread">
                {unread > 99 ? '99+' : unread}
                <span className="visually-hidden"> unread</span>
              </span>
            )}
          </span>
        </span>
      </button>
    </li>
  );
});

function sortLatestFirst(conversations: ConversationRow[]): ConversationRow[] {
  const at = ({ updated_at, last_message }: ConversationRow) => last_message?.sent_at ?? updated_at ?? '9999';
  return conversations.sort((a, b) => (at(a) > at(b) ? -1 : at(a) < at(b) ? 1 : titleOf(a).localeCompare(titleOf(b))));
}
