import { useEffect, useId, useState } from 'react';
import type { FormEvent } from 'react';
import { groupLimits } from '../engine/groups';
import type { GroupRow, Member, Role } from '../protocol/types';
import { useAction } from './action';
import { Avatar } from './Avatar';
import { useChat, useEngine } from './context';
import { Confirm, Dialog } from './Dialog';
import { explain } from './explain';
import { mayManage } from './names';
import { MemberField } from './NewGroup';

type Run = ReturnType<typeof useAction>['run'];

/** GroupPage shows who is in a group, and what one's role there lets one do. */
export default function GroupPage({ id, onClose }: { id: string; onClose: () => void }) {
  const engine = useEngine();
  const conversation = useChat((state) => state.conversations[id]);
  const members = useChat((state) => state.groups[id]);
  const me = useChat((state) => state.me);
  const { failure, run } = useAction();
  const [unread, setUnread] = useState<string>();
  const [leaving, setLeaving] = useState(false);
  useEffect(() => {
    let alive = true;
    engine.loadGroup(id).then(
      () => alive && setUnread(undefined),
      (error: unknown) => alive && setUnread(explain(error)),
    );
    return () => {
      alive = false;
    };
  }, [engine, id]);
  if (conversation?.kind !== 'group' || !me) return null;
  if (leaving) {
    return (
      <Confirm
        title={`Leave ${conversation.name}?`}
        text="You keep what was written until now, and see nothing of what comes. Only a member can bring you back."
        action="Leave"
        onClose={() => setLeaving(false)}
        onConfirm={() => run(engine.removeMember(id, me.username), onClose)}
      />
    );
  }
  const manages = mayManage(conversation);
  return (
    <Dialog title={conversation.name} onClose={onClose}>
      {manages && <Rename conversation={conversation} run={run} />}
      {manages && <Invite id={id} run={run} />}
      {(failure ?? unread) && (
        <p className="form-error" role="alert">
          {failure ?? unread}
        </p>
      )}
      <section aria-label="Members">
        <h3 className="group-title">{conversation.member_count === 1 ? 'Only you' : `${conversation.member_count} members`}</h3>
        <ul className="list" data-testid="member-list">
          {(members ?? []).map((member) => (
            <MemberRow key={member.user.id} id={id} member={member} self={member.user.id === me.user_id} mine={conversation.role} run={run} />
          ))}
        </ul>
      </section>
      <button type="button" className="row-button row-danger" data-testid="group-leave" onClick={() => setLeaving(true)}>
        Leave the group
      </button>
    </Dialog>
  );
}

const roleNames: Record<Role, string> = { owner: 'Owner', admin: 'Admin', member: 'Member', none: 'Gone' };

interface MemberRowProps {
  id: string;
  member: Member;
  self: boolean;
  /** What the person who looks is. */
  mine: Role;
  run: Run;
}

function MemberRow({ id, member, self, mine, run }: MemberRowProps) {
  const engine = useEngine();
  const { username } = member.user;
  // Only the owner makes admins, and unmakes or removes them.
  const ranks = mine === 'owner' && !self;
  const removes = !self && (mine === 'owner' || (mine === 'admin' && member.role === 'member'));
  return (
    <li className="person" data-testid="member" data-peer={username} data-role={member.role}>
      <Avatar name={username} size="small" />
      <span className="person-name">
        {username}
        {self && ' (you)'}
      </span>
      {ranks ? (
        <select
          className="role"
          data-testid="member-role"
          aria-label={`What ${username} is`}
          value={member.role}
          onChange={(event) => run(engine.setMember(id, username, event.target.value as 'member' | 'admin'))}
        >
          <option value="member">{roleNames.member}</option>
          <option value="admin">{roleNames.admin}</option>
        </select>
      ) : (
        <span className="tag">{roleNames[member.role]}</span>
      )}
      {removes && (
        <button
          type="button"
          className="button button-small row-danger"
          data-testid="member-remove"
          aria-label={`Remove ${username}`}
          onClick={() => run(engine.removeMember(id, username))}
        >
          Remove
        </button>
      )}
    </li>
  );
}

function Rename({ conversation, run }: { conversation: GroupRow; run: Run }) {
  const engine = useEngine();
  const id = useId();
  const [name, setName] = useState(conversation.name);
  function submit(event: FormEvent) {
    event.preventDefault();
    run(engine.renameGroup(conversation.id, name.trim()));
  }
  return (
    <form className="field" onSubmit={submit}>
      <label htmlFor={id}>Name</label>
      <div className="field-row">
        <input
          id={id}
          data-testid="group-rename"
          value={name}
          required
          maxLength={groupLimits.name_length}
          autoComplete="off"
          dir="auto"
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" className="button" data-testid="group-rename-save" disabled={name.trim() === '' || name.trim() === conversation.name}>
          Save
        </button>
      </div>
    </form>
  );
}

function Invite({ id, run }: { id: string; run: Run }) {
  const engine = useEngine();
  const [typed, setTyped] = useState('');
  function invite(username: string) {
    const wanted = username.trim().replace(/^@/, '');
    if (wanted !== '') run(engine.setMember(id, wanted, 'member'), () => setTyped(''));
  }
  return <MemberField typed={typed} onType={setTyped} onAdd={invite} />;
}
