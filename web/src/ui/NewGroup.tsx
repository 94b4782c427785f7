import { useId, useState } from 'react';
import type { FormEvent, KeyboardEvent } from 'react';
import { groupLimits } from '../engine/groups';
import { randomUUID } from '../protocol/ids';
import { useAction } from './action';
import { Avatar } from './Avatar';
import { useChat, useEngine } from './context';
import { Dialog } from './Dialog';
import { CloseIcon, PlusIcon } from './icons';

/** NewGroup asks for a name and the first members, and makes the group. */
export default function NewGroup({ onClose }: { onClose: () => void }) {
  const engine = useEngine();
  const id = useId();
  // One for all tries of this dialog: a lost answer must not make two groups.
  const [client_id] = useState(randomUUID);
  const [name, setName] = useState('');
  const [members, setMembers] = useState<string[]>([]);
  const [typed, setTyped] = useState('');
  const [busy, setBusy] = useState(false);
  const { failure, run } = useAction();

  function add(username: string) {
    const wanted = username.trim().replace(/^@/, '');
    if (wanted !== '' && !members.includes(wanted) && members.length < groupLimits.first_members) setMembers([...members, wanted]);
    setTyped('');
  }
  function toggle(username: string, on: boolean) {
    if (on) add(username);
    else setMembers(members.filter((other) => other !== username));
  }
  function submit(event: FormEvent) {
    event.preventDefault();
    // A name that was typed and not yet added is meant, too.
    const last = typed.trim().replace(/^@/, '');
    const all = last === '' || members.includes(last) ? members : [...members, last];
    setBusy(true);
    run(engine.createGroup(client_id, name.trim(), all).finally(() => setBusy(false)), onClose);
  }
  return (
    <Dialog title="New group" onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <div className="field">
          <label htmlFor={`${id}-name`}>Name</label>
          <input
            id={`${id}-name`}
            data-testid="group-name"
            value={name}
            maxLength={groupLimits.name_length}
            required
            autoComplete="off"
            dir="auto"
            onChange={(event) => setName(event.target.value)}
          />
        </div>
        <MemberField typed={typed} onType={setTyped} onAdd={add} />
        {members.length > 0 && (
          <ul className="chosen" aria-label="Members">
            {members.map((username) => (
              <li key={username} className="chosen-one" data-testid="group-chosen">
                {username}
                <button type="button" aria-label={`Without ${username}`} onClick={() => toggle(username, false)}>
                  <CloseIcon />
                </button>
              </li>
            ))}
          </ul>
        )}
        <Suggestions members={members} onToggle={toggle} />
        <p className="form-error" role="alert">
          {failure}
        </p>
        <button type="submit" className="button button-main" data-testid="group-create" disabled={busy || name.trim() === ''}>
          {busy ? 'One moment …' : 'Make the group'}
        </button>
      </form>
    </Dialog>
  );
}

interface MemberFieldProps {
  typed: string;
  onType: (text: string) => void;
  onAdd: (username: string) => void;
}

/** MemberField takes usernames, one after the other. */
export function MemberField({ typed, onType, onAdd }: MemberFieldProps) {
  const id = useId();
  function keys(event: KeyboardEvent) {
    if (event.key !== 'Enter' || event.nativeEvent.isComposing || typed.trim() === '') return;
    event.preventDefault();
    onAdd(typed);
  }
  return (
    <div className="field">
      <label htmlFor={id}>Add somebody by username</label>
      <div className="new-chat-row">
        <input
          id={id}
          data-testid="group-member-input"
          value={typed}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          onKeyDown={keys}
          onChange={(event) => onType(event.target.value)}
        />
        <button type="button" className="icon-button" data-testid="group-member-add" aria-label="Add to the group" onClick={() => onAdd(typed)}>
          <PlusIcon />
        </button>
      </div>
    </div>
  );
}

function Suggestions({ members, onToggle }: { members: string[]; onToggle: (username: string, on: boolean) => void }) {
  const contacts = useChat((state) => state.contacts).filter(({ state }) => state === 'accepted');
  if (contacts.length === 0) return null;
  return (
    <fieldset className="choices">
      <legend>Your contacts</legend>
      {contacts.map(({ user: { id, username } }) => (
        <label key={id} className="choice">
          <input type="checkbox" checked={members.includes(username)} onChange={(event) => onToggle(username, event.target.checked)} />
          <Avatar name={username} size="small" />
          {username}
        </label>
      ))}
    </fieldset>
  );
}
