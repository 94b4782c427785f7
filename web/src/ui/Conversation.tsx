import { useMemo, useRef, useState } from 'react';
import { emptyTimeline, shown } from '../engine/timeline';
import { atOrBefore } from '../protocol/ids';
import type { ConversationRow, DirectRow, GroupRow, Member } from '../protocol/types';
import { useAction } from './action';
import { Avatar } from './Avatar';
import { Composer } from './Composer';
import type { Compose } from './Composer';
import { useChat, useEngine } from './context';
import { formatSeen } from './format';
import { BackIcon } from './icons';
import { buildItems } from './items';
import { GroupPage } from './later';
import { MessageList } from './MessageList';
import { namesOf, titleOf } from './names';

/** Conversation is the right side of the page: who it is with, what was said, and what to say next. */
export default function Conversation({ id }: { id: string }) {
  const conversation = useChat((state) => state.conversations[id]);
  if (!conversation) return null;
  return (
    <section className="conversation" aria-label={`Conversation with ${titleOf(conversation)}`}>
      {conversation.kind === 'direct' ? <DirectHead conversation={conversation} /> : <GroupHead conversation={conversation} />}
      {conversation.kind === 'direct' && <Request conversation={conversation} />}
      <Messages conversation={conversation} />
    </section>
  );
}

function Back() {
  const engine = useEngine();
  return (
    <button type="button" className="icon-button back" data-testid="back" aria-label="Back to the list" onClick={() => engine.openConversation(undefined)}>
      <BackIcon />
    </button>
  );
}

function GroupHead({ conversation }: { conversation: GroupRow }) {
  const [open, setOpen] = useState(false);
  const { name, member_count: count, role } = conversation;
  return (
    <header className="conversation-head">
      <Back />
      <Avatar name={name} group />
      <div className="conversation-who">
        <h2 dir="auto">{name}</h2>
        <p className="conversation-presence" data-testid="member-count" data-count={count}>
          {role === 'none' ? 'You are no longer a member' : count === 1 ? 'Only you' : `${count} members`}
        </p>
      </div>
      {role !== 'none' && (
        <button type="button" className="button button-small" data-testid="group-open" onClick={() => setOpen(true)}>
          Members
        </button>
      )}
      {open && <GroupPage id={conversation.id} onClose={() => setOpen(false)} />}
    </header>
  );
}

function DirectHead({ conversation }: { conversation: DirectRow }) {
  const engine = useEngine();
  const { peer, state } = conversation;
  const presence = useChat((chat) => chat.presence[peer.id]);
  const contact = useChat((chat) => chat.contacts.find(({ user }) => user.id === peer.id)?.state);
  const { failure, run } = useAction();
  return (
    <header className="conversation-head">
      <Back />
      <Avatar name={peer.username} />
      <div className="conversation-who">
        <h2>{peer.username}</h2>
        <p className="conversation-presence" data-testid="presence" data-state={presence?.state ?? 'unknown'}>
          {presence?.state === 'online' ? (
            <>
              <span className="dot dot-online" /> online
            </>
          ) : presence ? (
            formatSeen(presence.last_seen, Date.now())
          ) : (
            <>&nbsp;</>
          )}
        </p>
        {failure && <p className="form-error" role="alert">{failure}</p>}
      </div>
      {contact === undefined && state === 'accepted' && (
        <button type="button" className="button button-small" data-testid="head-add" onClick={() => run(engine.addContact(peer.username))}>
          Add<span className="wide-only"> contact</span>
        </button>
      )}
      {state !== 'request' && (
        <button
          type="button"
          className="button button-small"
          data-testid="head-block"
          onClick={() => run(engine.setBlock(peer.username, state !== 'blocked'))}
        >
          {state === 'blocked' ? 'Unblock' : 'Block'}
        </button>
      )}
    </header>
  );
}

/** Request stands above what a stranger wrote. */
function Request({ conversation }: { conversation: DirectRow }) {
  const engine = useEngine();
  const { failure, run } = useAction();
  if (conversation.state !== 'request') return null;
  const { username } = conversation.peer;
  return (
    <div className="request" data-testid="request">
      <p>
        <strong>{username}</strong> is not among your contacts. Accept, block, or just answer.
        {failure && ` ${failure}`}
      </p>
      <button type="button" className="button button-small button-main" data-testid="request-accept" onClick={() => run(engine.addContact(username))}>
        Accept
      </button>
      <button type="button" className="button button-small" data-testid="request-block" onClick={() => run(engine.setBlock(username, true))}>
        Block
      </button>
    </div>
  );
}

const nobody: readonly Member[] = [];

function Messages({ conversation }: { conversation: ConversationRow }) {
  const { id } = conversation;
  const timeline = useChat((state) => state.timelines[id] ?? emptyTimeline);
  const outbox = useChat((state) => state.outbox);
  const aliases = useChat((state) => state.aliases);
  const members = useChat((state) => state.groups[id] ?? nobody);
  const me = useChat((state) => state.me);
  const [compose, setCompose] = useState<Compose>({ kind: 'new' });
  const loaded = useChat((state) => state.opened) && timeline.floor !== undefined;
  const rows = useMemo(() => shown(timeline), [timeline]);
  const names = useMemo(() => namesOf(conversation, members, rows, me), [conversation, members, rows, me]);
  const unreadFrom = useFirstUnread(conversation, rows, loaded);
  const complete = timeline.floor === '';
  const items = useMemo(
    () => (me ? buildItems({ rows, outbox, conversation, me, unreadFrom, aliases, names, complete }) : []),
    [rows, outbox, conversation, me, unreadFrom, aliases, names, complete],
  );
  return (
    <>
      <MessageList
        conversation={conversation}
        items={items}
        ready={loaded}
        complete={complete}
        onReply={(item) => setCompose({ kind: 'reply', item })}
        onEdit={(item) => setCompose({ kind: 'edit', item })}
      />
      <Composer
        conversation={conversation}
        compose={compose}
        onCompose={setCompose}
        lastOwn={() => items.findLast(({ mine, may }) => mine && may.edit)}
      />
    </>
  );
}

/**
 * useFirstUnread remembers which message was the first not yet read when the conversation came on the screen: reading
 * on must not move the line.
 */
function useFirstUnread(
  conversation: ConversationRow,
  rows: ReturnType<typeof shown>,
  loaded: boolean,
): string | undefined {
  const me = useChat((state) => state.me?.user_id);
  const known = useRef<{ id: string | undefined }>(undefined);
  if (!known.current && loaded) {
    const unread = conversation.unread > 0 ? rows.find((row) => row.sender.id !== me && !atOrBefore(row.id, conversation.read)) : undefined;
    known.current = { id: unread?.id };
  }
  return known.current?.id;
}
