import { useState } from 'react';
import type { FormEvent, ReactNode } from 'react';
import { Avatar } from './Avatar';
import { useChat, useEngine } from './context';
import { explain } from './explain';
import { PlusIcon } from './icons';

/** PeopleList shows who asked, who is a contact, whom we asked, and whom we blocked. */
export function PeopleList({ onChat }: { onChat: () => void }) {
  const engine = useEngine();
  const contacts = useChat((state) => state.contacts);
  const blocks = useChat((state) => state.blocks);
  const [failure, setFailure] = useState<string>();

  function run(work: Promise<void>, then?: () => void) {
    setFailure(undefined);
    work.then(then, (error: unknown) => setFailure(explain(error)));
  }
  const blocked = new Set(blocks.map(({ user }) => user.id));
  const of = (state: string) => contacts.filter((contact) => contact.state === state && !blocked.has(contact.user.id));
  const name = (contact: { user: { username: string } }) => contact.user.username;
  return (
    <div className="people">
      <AddContact onAdd={(username) => run(engine.addContact(username))} />
      {failure && (
        <p className="form-error" role="alert">
          {failure}
        </p>
      )}
      <Group title="Requests" names={of('incoming').map(name)} state="incoming">
        {(username) => (
          <>
            <Action label="Accept" id="contact-accept" main onClick={() => run(engine.addContact(username))} />
            <Action label="Block" id="contact-block" onClick={() => run(engine.setBlock(username, true))} />
          </>
        )}
      </Group>
      <Group title="Contacts" names={of('accepted').map(name)} state="accepted">
        {(username) => (
          <>
            <Action label="Chat" id="contact-chat" main onClick={() => run(engine.startChat(username), onChat)} />
            <Action label="Remove" id="contact-remove" onClick={() => run(engine.removeContact(username))} />
          </>
        )}
      </Group>
      <Group title="Asked by you" names={of('outgoing').map(name)} state="outgoing">
        {(username) => <Action label="Withdraw" id="contact-remove" onClick={() => run(engine.removeContact(username))} />}
      </Group>
      <Group title="Blocked" names={blocks.map(name)} state="blocked">
        {(username) => <Action label="Unblock" id="contact-unblock" onClick={() => run(engine.setBlock(username, false))} />}
      </Group>
      {contacts.length + blocks.length === 0 && (
        <p className="list-empty">No contacts yet. Ask somebody by username; they can accept or not.</p>
      )}
    </div>
  );
}

interface GroupProps {
  title: string;
  names: string[];
  state: string;
  children: (username: string) => ReactNode;
}

function Group({ title, names, state, children }: GroupProps) {
  if (names.length === 0) return null;
  return (
    <section className="people-group" aria-label={title}>
      <h2>{title}</h2>
      <ul className="list">
        {names.map((username) => (
          <li key={username} className="person" data-testid="contact-item" data-peer={username} data-state={state}>
            <Avatar name={username} size="small" />
            <span className="person-name">{username}</span>
            {children(username)}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Action({ label, id, main = false, onClick }: { label: string; id: string; main?: boolean; onClick: () => void }) {
  return (
    <button type="button" className={main ? 'button button-small button-main' : 'button button-small'} data-testid={id} onClick={onClick}>
      {label}
    </button>
  );
}

function AddContact({ onAdd }: { onAdd: (username: string) => void }) {
  const [name, setName] = useState('');
  function submit(event: FormEvent) {
    event.preventDefault();
    if (name.trim() === '') return;
    onAdd(name.trim());
    setName('');
  }
  return (
    <form className="new-chat" onSubmit={submit}>
      <div className="new-chat-row">
        <input
          type="text"
          data-testid="contact-input"
          aria-label="Add a contact by username"
          placeholder="Add a contact"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" className="icon-button" data-testid="contact-add" aria-label="Ask for contact">
          <PlusIcon />
        </button>
      </div>
    </form>
  );
}
