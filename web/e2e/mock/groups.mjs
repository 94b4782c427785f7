// Groups of the mock world, and what becomes of messages after they were sent.

import { randomUUID } from 'node:crypto';
import { ref, refusal } from './world.mjs';

const managers = ['owner', 'admin'];

export class Groups {
  made = new Map(); // user id/client_id → group

  constructor(world) {
    this.world = world;
  }

  create(user, { client_id, name, members = [] }) {
    const key = `${user.id}/${client_id}`;
    if (this.made.has(key)) return this.made.get(key);
    if (!name?.trim()) throw refusal(400, 'invalid', 'name: a group needs one');
    const others = members.map((username) => this.world.user(username));
    const group = {
      id: randomUUID(), kind: 'group', name, members: [user, ...others], roles: new Map(), since: new Map(),
      messages: [], read: new Map(), delivered: new Map(), answered: new Set(),
    };
    for (const member of group.members) this.enter(group, member, member === user ? 'owner' : 'member');
    this.world.conversations.set(group.id, group);
    this.made.set(key, group);
    this.tell(group, { change: 'created', by: ref(user), name });
    for (const member of others) this.tell(group, { change: 'joined', user: ref(member), by: ref(user), role: 'member' });
    return group;
  }

  enter(group, user, role) {
    group.roles.set(user.id, role);
    group.since.set(user.id, new Date().toISOString());
  }

  /** of gives a group to one who is in it, or was. */
  of(user, id) {
    const group = this.world.conversations.get(id);
    if (group?.kind !== 'group' || !group.roles.has(user.id)) throw refusal(404, 'unknown_conversation', 'no such group');
    return group;
  }

  info(user, id) {
    const group = this.of(user, id);
    if (!group.members.includes(user)) throw refusal(403, 'not_member', 'you have left this group');
    const rank = (member) => ['owner', 'admin', 'member'].indexOf(group.roles.get(member.id));
    const members = [...group.members].sort((a, b) => rank(a) - rank(b) || a.username.localeCompare(b.username));
    return {
      id, name: group.name, role: group.roles.get(user.id), member_count: members.length,
      members: members.map((member) => this.member(group, member)),
    };
  }

  member(group, user) {
    return { user: ref(user), role: group.roles.get(user.id), since: group.since.get(user.id) };
  }

  manage(user, id) {
    const group = this.of(user, id);
    if (!group.members.includes(user)) throw refusal(403, 'not_member', 'you have left this group');
    if (!managers.includes(group.roles.get(user.id))) throw refusal(403, 'denied', 'only owner and admins may do this');
    return group;
  }

  rename(user, id, { name }) {
    const group = this.manage(user, id);
    group.name = name;
    this.tell(group, { change: 'renamed', by: ref(user), name });
    return this.world.conversationRow(group, user);
  }

  put(user, id, username, { role }) {
    const group = this.manage(user, id);
    const other = this.world.user(username);
    const known = group.members.includes(other);
    const owns = group.roles.get(user.id) === 'owner';
    if (!owns && (role === 'admin' || (known && managers.includes(group.roles.get(other.id))))) throw refusal(403, 'denied', 'only the owner makes admins');
    if (!known) group.members.push(other);
    if (group.roles.get(other.id) !== 'owner') this.enter(group, other, role);
    this.tell(group, { change: known ? 'role' : 'joined', user: ref(other), by: ref(user), role });
    return this.member(group, other);
  }

  remove(user, id, username) {
    const other = this.world.user(username);
    const group = other === user ? this.of(user, id) : this.manage(user, id);
    if (!group.members.includes(other)) throw refusal(403, 'not_member', `${username} is not in this group`);
    const role = group.roles.get(other.id);
    this.tell(group, { change: other === user ? 'left' : 'removed', user: ref(other), by: ref(user) });
    group.members = group.members.filter((member) => member !== other);
    group.roles.set(other.id, 'none');
    const heir = role === 'owner' && (group.members.find((member) => group.roles.get(member.id) === 'admin') ?? group.members[0]);
    if (heir) {
      group.roles.set(heir.id, 'owner');
      this.tell(group, { change: 'role', user: ref(heir), by: ref(user), role: 'owner' });
    }
  }

  /** change edits or deletes a message, or sets a reaction to it; it gives the acknowledgement. */
  change(user, frame) {
    const { world } = this;
    const key = `${user.id}/${frame.client_id}`;
    if (world.sends.has(key)) return world.sends.get(key);
    const conversation = world.conversations.get(frame.conversation_id);
    if (!conversation?.members.includes(user)) throw refusal(403, 'not_member', 'not a conversation of yours');
    const message = conversation.messages.find(({ id }) => id === frame.message_id);
    if (!message) throw refusal(404, 'unknown_message', 'no such message');
    const own = message.sender.id === user.id;
    const manages = managers.includes(conversation.roles?.get(user.id));
    if (frame.t !== 'react' && !own && !(frame.t === 'delete' && manages)) throw refusal(403, 'denied', 'not your message');
    const at = new Date().toISOString();
    apply(message, frame, user, at);
    const event = { t: frame.t, conversation_id: conversation.id, message_id: message.id, client_id: frame.client_id, user: user.id, at };
    if (frame.t === 'edit') event.body = frame.body;
    if (frame.t === 'react') Object.assign(event, { emoji: frame.emoji, on: frame.on });
    for (const member of conversation.members) if (world.mayRead(member, message)) world.tell(member, event);
    const taken = { id: world.messageId(user.id, frame.client_id), conversation_id: conversation.id, sent_at: at };
    world.sends.set(key, taken);
    return taken;
  }

  tell(group, event) {
    for (const member of group.members) {
      this.world.tell(member, { t: 'group', conversation_id: group.id, at: new Date().toISOString(), ...event });
    }
  }
}

function apply(message, frame, user, at) {
  if (message.deleted) return;
  if (frame.t === 'edit') Object.assign(message, { body: frame.body, edited_at: at });
  if (frame.t === 'delete') {
    Object.assign(message, { body: { text: '' }, deleted: true });
    delete message.edited_at;
    delete message.reactions;
  }
  if (frame.t !== 'react') return;
  const others = (message.reactions ?? []).map(({ emoji, users }) => ({
    emoji,
    users: emoji === frame.emoji ? users.filter((id) => id !== user.id) : users,
  }));
  if (frame.on) {
    const known = others.find(({ emoji }) => emoji === frame.emoji);
    if (known) known.users.push(user.id);
    else others.push({ emoji: frame.emoji, users: [user.id] });
  }
  message.reactions = others.filter(({ users }) => users.length > 0);
}
