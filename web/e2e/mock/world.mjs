// A small world that speaks docs/protocol.md, for tests of the web client that need no Go: all regions share one memory,
// so there is nothing to relay. Users, conversations and each user's inbox log live here; regions are in region.mjs.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { Groups } from './groups.mjs';

const gregorian = 0x01b21dd213814000n;

export class World {
  users = new Map(); // username → user
  sessions = new Map(); // access token → user
  refreshTokens = new Map();
  conversations = new Map(); // id → {id, members, messages, read, delivered}, and more for a group
  sends = new Map(); // sender/client_id → message, or the acknowledgement of a change
  readers = new Map(); // message id → ids of those who were members when it was written
  groups = new Groups(this);
  sockets = new Set(); // {user, send(frame), region}
  lastTicks = 0n;

  signUp(username, password, zone) {
    if (!/^[\p{L}\p{N}._-]{3,32}$/u.test(username ?? '')) throw refusal(400, 'invalid', 'username: 3 to 32 characters');
    if (this.users.has(username.toLowerCase())) throw refusal(409, 'username_taken', 'this name is taken');
    const user = { id: randomUUID(), username, password, zone: zone || 'world', pinned: Boolean(zone), log: [], contacts: new Map(), blocks: new Set() };
    this.users.set(username.toLowerCase(), user);
    return this.tokens(user);
  }

  logIn(username, password) {
    const user = this.users.get(String(username).toLowerCase());
    if (!user || user.password !== password) throw refusal(401, 'bad_credentials', 'unknown user or wrong password');
    return this.tokens(user);
  }

  tokens(user) {
    const token = randomBytes(16).toString('hex');
    const refresh = randomBytes(16).toString('hex');
    this.sessions.set(token, user);
    this.refreshTokens.set(refresh, user);
    return {
      user_id: user.id, username: user.username, home_zone: user.zone, token, refresh_token: refresh,
      expires_at: new Date(Date.now() + 600_000).toISOString(),
    };
  }

  refresh(token) {
    const user = this.refreshTokens.get(token);
    if (!user) throw refusal(401, 'unauthorized', 'no such session');
    return this.tokens(user);
  }

  user(username) {
    const user = this.users.get(String(username).toLowerCase());
    if (!user) throw refusal(404, 'unknown_user', `no user ${username}`);
    return user;
  }

  isOnline(user) {
    return [...this.sockets].some((socket) => socket.user === user);
  }

  /** conversation gives the one conversation of two users, made when it does not exist yet. */
  conversation(a, b) {
    const id = directConversation(a.id, b.id);
    if (!this.conversations.has(id)) {
      this.conversations.set(id, { id, members: [a, b], messages: [], read: new Map(), delivered: new Map(), answered: new Set() });
    }
    return this.conversations.get(id);
  }

  /** send stores a message once for each (sender, client_id). The socket that it came by gets the acknowledgement only. */
  send(sender, frame, from) {
    const known = this.sends.get(`${sender.id}/${frame.client_id}`);
    if (known) return known;
    if (!frame.body?.text?.trim()) throw refusal(400, 'empty_text', 'a message needs a text');
    const conversation = frame.to.conversation ? this.conversations.get(frame.to.conversation) : this.conversation(sender, this.user(frame.to.user));
    if (!conversation) throw refusal(404, 'unknown_conversation', 'no such conversation');
    if (!conversation.members.includes(sender)) throw refusal(403, 'not_member', 'not a conversation of yours');
    const peer = conversation.kind === 'group' ? undefined : this.peer(conversation, sender);
    if (peer && sender.blocks.has(peer.id)) throw refusal(403, 'blocked', 'you blocked this user');
    if (frame.after && !this.sends.has(`${sender.id}/${frame.after}`)) throw refusal(409, 'after_unknown', 'the send before is not here');
    const message = {
      id: this.messageId(sender.id, frame.client_id), conversation_id: conversation.id,
      sender: { id: sender.id, username: sender.username }, client_id: frame.client_id,
      body: { text: frame.body.text }, sent_at: new Date().toISOString(), ...(frame.reply_to ? { reply_to: frame.reply_to } : {}),
    };
    this.readers.set(message.id, new Set(conversation.members.filter((member) => !member.blocks.has(sender.id)).map(({ id }) => id)));
    this.sends.set(`${sender.id}/${frame.client_id}`, message);
    conversation.messages.push(message);
    conversation.answered.add(sender.id);
    for (const member of conversation.members) {
      if (!this.mayRead(member, message)) continue;
      this.tell(member, { t: 'message', message: { ...message } }, from);
      if (member !== sender && this.isOnline(member)) this.mark(conversation, member, 'delivered', message.id);
    }
    return message;
  }

  /** mayRead tells whether somebody was there when a message was written; those that a test put in are for all. */
  mayRead(user, message) {
    return this.readers.get(message.id)?.has(user.id) ?? true;
  }

  /** mark moves a mark forward and tells both sides. */
  mark(conversation, user, kind, message_id) {
    const marks = kind === 'read' ? conversation.read : conversation.delivered;
    marks.set(user.id, message_id);
    if (kind === 'read') conversation.delivered.set(user.id, message_id);
    for (const member of conversation.members) {
      this.tell(member, { t: 'receipt', conversation_id: conversation.id, user: user.id, kind, message_id });
    }
  }

  setContact(user, other, on) {
    const asked = other.contacts.get(user.id);
    if (!on) {
      user.contacts.delete(other.id);
      other.contacts.delete(user.id);
      this.tell(user, { t: 'contact', user: ref(other), state: 'none' });
      this.tell(other, { t: 'contact', user: ref(user), state: 'none' });
      return undefined;
    }
    const accepted = asked === 'outgoing' || asked === 'accepted';
    const since = new Date().toISOString();
    user.contacts.set(other.id, accepted ? 'accepted' : 'outgoing');
    other.contacts.set(user.id, accepted ? 'accepted' : 'incoming');
    this.tell(other, { t: 'contact', user: ref(user), state: accepted ? 'accepted' : 'incoming' });
    return { user: ref(other), state: accepted ? 'accepted' : 'outgoing', since };
  }

  /** tell appends an event to a user's log and pushes it to the user's sockets, but for one. */
  tell(user, event, but) {
    user.log.push(event);
    const frame = { ...event, cursor: String(user.log.length) };
    for (const socket of this.sockets) if (socket.user === user && socket !== but) socket.send(frame);
  }

  conversationRow(conversation, user) {
    const messages = conversation.messages.filter((message) => this.mayRead(user, message));
    const read = conversation.read.get(user.id);
    const from = read ? messages.findIndex((message) => message.id === read) + 1 : 0;
    const last = messages.at(-1);
    const row = {
      id: conversation.id, last_message: last, read,
      unread: Math.min(100, messages.slice(from).filter((message) => message.sender.id !== user.id).length),
      updated_at: last?.sent_at ?? conversation.since?.get(user.id),
    };
    return conversation.kind === 'group' ? { ...row, ...this.groupPart(conversation, user) } : { ...row, ...this.directPart(conversation, user) };
  }

  groupPart({ name, members, roles }, user) {
    return { kind: 'group', name, member_count: members.length, role: roles.get(user.id), state: 'accepted' };
  }

  directPart(conversation, user) {
    const peer = this.peer(conversation, user);
    const accepted = conversation.answered.has(user.id) || ['accepted', 'outgoing'].includes(user.contacts.get(peer.id));
    return {
      kind: 'direct', peer: ref(peer), state: user.blocks.has(peer.id) ? 'blocked' : accepted ? 'accepted' : 'request',
      peer_read: conversation.read.get(peer.id), peer_delivered: conversation.delivered.get(peer.id),
    };
  }

  peer(conversation, user) {
    return conversation.members.find((member) => member !== user);
  }

  byId(id) {
    return [...this.users.values()].find((user) => user.id === id);
  }

  /** messageId makes a time UUID that grows with each call. */
  messageId(sender, client_id) {
    const now = BigInt(Date.now()) * 10_000n + gregorian;
    this.lastTicks = now > this.lastTicks ? now : this.lastTicks + 10n;
    const ticks = this.lastTicks.toString(16).padStart(15, '0');
    const hash = createHash('sha256').update(sender + client_id).digest();
    hash[0] = (hash[0] & 0x3f) | 0x80;
    return uuid(`${ticks.slice(7)}${ticks.slice(3, 7)}1${ticks.slice(0, 3)}${hash.subarray(0, 8).toString('hex')}`);
  }
}

export function ref(user) {
  return { id: user.id, username: user.username };
}

export function refusal(status, code, message) {
  return Object.assign(new Error(message), { status, code, retryable: status >= 500 || code === 'after_unknown' });
}

function directConversation(a, b) {
  const hash = createHash('sha1').update(Buffer.alloc(16)).update([a, b].sort().join(':')).digest();
  hash[6] = (hash[6] & 0x0f) | 0x50;
  hash[8] = (hash[8] & 0x3f) | 0x80;
  return uuid(hash.subarray(0, 16).toString('hex'));
}

function uuid(hex) {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
