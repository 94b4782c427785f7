import { useEffect, useMemo, useRef, useState } from 'react';
import { emptyTimeline, shown } from '../engine/timeline';
import { atOrBefore } from '../protocol/ids';
import type { ConversationRow } from '../protocol/types';
import { Avatar } from './Avatar';
import { explain } from './Auth';
import { Composer } from './Composer';
import { useChat, useEngine } from './context';
import { formatSeen } from './format';
import { BackIcon } from './icons';
import { buildItems } from './items';
import { MessageList } from './MessageList';

/** Conversation is the right side of the page: who it is with, what was said, and what to say next. */
export default function Conversation({ id }: { id: string }) {
  const conversation = useChat((state) => state.conversations[id]);
  if (!conversation) return null;
  return (
    <section className="conversation" aria-label={`Conversation with ${conversation.peer.username}`}>
      <Head conversation={conversation} />
      <Request conversation={conversation} />
      <Messages conversation={conversation} />
      <Composer conversation={conversation} />
    </section>
  );
}

function Head({ conversation }: { conversation: ConversationRow }) {
  const engine = useEngine();
  const { peer, state } = conversation;
  const presence = useChat((chat) => chat.presence[peer.id]);
  const contact = useChat((chat) => chat.contacts.find(({ user }) => user.id === peer.id)?.state);
  const { failure, run } = useAction();
  return (
    <header className="conversation-head">
      <button type="button" className="icon-button back" data-testid="back" aria-label="Back to the list" onClick={() => engine.openConversation(undefined)}>
        <BackIcon />
      </button>
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
function Request({ conversation }: { conversation: ConversationRow }) {
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

function Messages({ conversation }: { conversation: ConversationRow }) {
  const timeline = useChat((state) => state.timelines[conversation.id] ?? emptyTimeline);
  const outbox = useChat((state) => state.outbox);
  const me = useChat((state) => state.me);
  const loaded = timeline.floor !== undefined;
  const rows = useMemo(() => shown(timeline), [timeline]);
  const unreadFrom = useFirstUnread(conversation, rows, loaded);
  const items = useMemo(
    () => (me ? buildItems({ rows, outbox, conversation, me, unreadFrom }) : []),
    [rows, outbox, conversation, me, unreadFrom],
  );
  return (
    <MessageList
      conversation={conversation}
      items={items}
      ready={loaded}
      complete={timeline.floor === ''}
    />
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

/** useAction runs what a button asks for and keeps the reason when it was refused. */
function useAction(): { failure: string | undefined; run: (work: Promise<void>) => void } {
  const [failure, setFailure] = useState<string>();
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);
  return {
    failure,
    run: (work) => {
      setFailure(undefined);
      work.catch((error: unknown) => alive.current && setFailure(explain(error)));
    },
  };
}
