import { useEffect } from 'react';
import { failed } from '../engine/outbox';
import { useChat, useEngine } from './context';
import { Globe } from './icons';
import { Conversation } from './later';
import { Sidebar } from './Sidebar';

/** Chat is the page of somebody signed in: people at one side, a conversation at the other. */
export function Chat() {
  const open = useChat((state) => state.open);
  const unread = useChat((state) => Object.values(state.conversations).reduce((sum, { unread }) => sum + unread, 0));
  useEffect(() => {
    document.title = unread > 0 ? `(${unread > 99 ? '99+' : unread}) Meridian` : 'Meridian';
  }, [unread]);
  return (
    <div className={open === undefined ? 'chat' : 'chat chat-open'}>
      <Banner />
      <Notice />
      <Sidebar />
      <main className="pane">{open === undefined ? <Welcome /> : <Conversation key={open} id={open} />}</main>
    </div>
  );
}

/** Banner shows while there is no connection, and says that nothing is lost by it. */
function Banner() {
  const link = useChat((state) => state.link);
  const unsent = useChat((state) => state.outbox).filter((entry) => !failed(entry) && entry.level === 'none');
  const messages = unsent.filter(({ kind }) => kind === 'send').length;
  if (link.state === 'online' || link.state === 'idle') return null;
  return (
    <p className="banner" role="status" data-testid="banner-reconnecting">
      <span className="spinner" aria-hidden="true" />
      Reconnecting …
      {messages > 0 && ` ${messages === 1 ? 'One message is' : `${messages} messages are`} kept and will be sent.`}
      {messages === 0 && unsent.length > 0 && ' Your changes are kept and will be sent.'}
    </p>
  );
}

function Notice() {
  const engine = useEngine();
  const notice = useChat((state) => state.notice);
  if (!notice) return null;
  return (
    <p className="notice" role="alert">
      {notice}{' '}
      <button type="button" className="link-button" onClick={engine.dismissNotice}>
        Dismiss
      </button>
    </p>
  );
}

function Welcome() {
  const me = useChat((state) => state.me);
  return (
    <div className="empty">
      <Globe className="globe globe-huge" />
      <h2>Hello, {me?.display_name ?? me?.username}</h2>
      <p>Pick a conversation, or start one by typing a username.</p>
    </div>
  );
}
