// One region of the mock: REST and sockets on a port of its own, over the shared world.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { ref, refusal } from './world.mjs';

export class Region {
  connections = new Set();
  hung = false;

  constructor(name, world, route) {
    this.name = name;
    this.world = world;
    this.route = route; // (as) => the body of /v1/route
    this.port = 0;
  }

  async start() {
    this.hung = false;
    this.server = createServer((request, response) => void this.answer(request, response));
    this.server.on('connection', (socket) => {
      this.connections.add(socket);
      socket.on('close', () => this.connections.delete(socket));
    });
    const sockets = new WebSocketServer({ server: this.server, path: '/v1/ws' });
    sockets.on('connection', (socket) => this.serve(socket));
    await new Promise((resolve) => this.server.listen(this.port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** kill closes the listener and breaks every connection without a word. */
  async kill() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const connection of this.connections) connection.destroy();
    for (const socket of this.world.sockets) if (socket.region === this.name) this.world.sockets.delete(socket);
    await closed;
  }

  /** hang keeps everything open and says nothing more, as a region behind a cut cable does. */
  hang() {
    this.hung = true;
    for (const socket of this.world.sockets) if (socket.region === this.name) this.world.sockets.delete(socket);
  }

  async answer(request, response) {
    if (this.hung) return;
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Allow-Headers', 'Authorization, Content-Type');
    response.setHeader('Access-Control-Allow-Methods', 'GET, POST, PUT, PATCH, DELETE');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    try {
      const body = await this.call(request);
      response.writeHead(body === undefined ? 204 : (body.status ?? 200), { 'Content-Type': 'application/json' });
      response.end(body === undefined ? undefined : JSON.stringify(body.body ?? body));
    } catch (error) {
      response.writeHead(error.status ?? 500, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ code: error.code ?? 'internal', message: error.message, retryable: error.retryable ?? true }));
    }
  }

  async call(request) {
    const { world } = this;
    const url = new URL(request.url, 'http://mock');
    const [, , what, id, sub, name] = url.pathname.split('/').map(decodeURIComponent);
    const body = ['POST', 'PUT', 'PATCH'].includes(request.method) ? await readJSON(request) : {};
    const open = {
      signup: () => ({ status: 201, body: world.signUp(body.username, body.password, body.zone) }),
      login: () => world.logIn(body.username, body.password),
      token: () => world.refresh(body.refresh_token),
      route: () => this.route(url.searchParams.get('as')),
    };
    if (open[what]) return open[what]();
    const user = world.sessions.get((request.headers.authorization ?? '').replace('Bearer ', ''));
    if (!user) throw refusal(401, 'unauthorized', 'no valid token');
    const closed = {
      logout: () => undefined,
      me: () => ({ user_id: user.id, username: user.username, home_zone: user.zone, pinned: user.pinned }),
      users: () => this.describe(world.user(id)),
      contacts: () => this.contacts(request.method, user, id),
      blocks: () => this.blocks(request.method, user, id),
      groups: () => (sub === 'members' ? this.members(request.method, user, id, name, body) : this.groups(request.method, user, id, body)),
      conversations: () => (sub === 'messages' ? this.messages(user, id, url.searchParams) : this.conversations(user)),
    };
    if (!closed[what]) throw refusal(404, 'not_found', 'no such path');
    return closed[what]();
  }

  describe(user) {
    return { user_id: user.id, username: user.username, state: this.world.isOnline(user) ? 'online' : 'offline', last_seen: user.lastSeen };
  }

  contacts(method, user, username) {
    if (method === 'PUT') return this.world.setContact(user, this.world.user(username), true);
    if (method === 'DELETE') return this.world.setContact(user, this.world.user(username), false);
    return { contacts: [...user.contacts].map(([id, state]) => ({ user: ref(this.world.byId(id)), state })) };
  }

  blocks(method, user, username) {
    if (method === 'PUT') return void user.blocks.add(this.world.user(username).id);
    if (method === 'DELETE') return void user.blocks.delete(this.world.user(username).id);
    return { blocks: [...user.blocks].map((id) => ({ user: ref(this.world.byId(id)) })) };
  }

  groups(method, user, id, body) {
    const { world } = this;
    if (method === 'POST') return { status: 201, body: world.conversationRow(world.groups.create(user, body), user) };
    return method === 'PATCH' ? world.groups.rename(user, id, body) : world.groups.info(user, id);
  }

  members(method, user, id, username, body) {
    return method === 'PUT' ? this.world.groups.put(user, id, username, body) : void this.world.groups.remove(user, id, username);
  }

  conversations(user) {
    const mine = (conversation) => conversation.members.includes(user) || conversation.roles?.has(user.id);
    const rows = [...this.world.conversations.values()].filter(mine).map((c) => this.world.conversationRow(c, user));
    return { conversations: rows.sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)) };
  }

  messages(user, id, query) {
    const conversation = this.world.conversations.get(id);
    if (!conversation?.members.includes(user) && !conversation?.roles?.has(user.id)) throw refusal(404, 'unknown_conversation', 'no such conversation');
    const limit = Math.min(100, Number(query.get('limit') ?? 50));
    const before = query.get('before');
    const messages = conversation.messages.filter((message) => this.world.mayRead(user, message));
    const end = before ? messages.findIndex((message) => message.id === before) : messages.length;
    const page = messages.slice(Math.max(0, end - limit), end).reverse();
    return { messages: page, ...(end > limit ? { next: page.at(-1).id } : {}) };
  }

  serve(socket) {
    const link = { user: undefined, region: this.name, send: (frame) => this.hung || socket.send(JSON.stringify(frame)) };
    socket.on('message', (data) => {
      if (this.hung) return;
      const frame = JSON.parse(String(data));
      try {
        this.take(link, frame, socket);
      } catch (error) {
        link.send({ t: 'error', code: error.code ?? 'internal', message: error.message, retryable: error.retryable ?? true, re: frame.client_id ?? frame.t });
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.world.sockets.delete(link);
      if (link.user) this.presence(link.user);
    });
  }

  take(link, frame, socket) {
    const { world } = this;
    switch (frame.t) {
      case 'hello':
        return this.greet(link, frame, socket);
      case 'ping':
        return link.send({ t: 'pong' });
      case 'send':
        return this.acknowledge(link, frame.client_id, world.send(link.user, frame, link));
      case 'edit':
      case 'delete':
      case 'react':
        return this.acknowledge(link, frame.client_id, world.groups.change(link.user, frame));
      case 'read':
        return world.mark(world.conversations.get(frame.conversation_id), link.user, 'read', frame.message_id);
      case 'typing': {
        const conversation = world.conversations.get(frame.conversation_id);
        for (const other of world.sockets) {
          if (other.user !== link.user && conversation?.members.includes(other.user)) other.send({ ...frame, user: link.user.id });
        }
        return;
      }
    }
  }

  acknowledge(link, client_id, taken) {
    const ack = { t: 'ack', client_id, message_id: taken.id, conversation_id: taken.conversation_id, sent_at: taken.sent_at };
    link.send({ ...ack, level: 'region' });
    setTimeout(() => this.world.sockets.has(link) && link.send({ ...ack, level: 'zone' }), 150);
  }

  greet(link, frame, socket) {
    const { world } = this;
    const user = world.sessions.get(frame.token);
    if (!user) return socket.close(4001, 'unauthorized');
    link.user = user;
    const from = frame.resume === undefined ? user.log.length : Number(frame.resume);
    link.send({
      t: 'welcome', session: 's', user: ref(user), region: this.name, home_zone: user.zone, max_level: user.zone === 'world' ? 'zone' : 'region',
      cursor: String(user.log.length), endpoints: this.route(frame.as).endpoints, limits: {}, heartbeat_ms: 25_000,
    });
    user.log.slice(from).forEach((event, i) => link.send({ ...event, cursor: String(from + i + 1) }));
    world.sockets.add(link);
    for (const conversation of world.conversations.values()) {
      const last = conversation.messages.findLast((message) => message.sender.id !== user.id);
      const known = conversation.delivered.get(user.id);
      if (conversation.members.includes(user) && last && last.id !== known) world.mark(conversation, user, 'delivered', last.id);
    }
    this.presence(user);
  }

  presence(user) {
    const state = this.world.isOnline(user) ? 'online' : 'offline';
    user.lastSeen = new Date().toISOString();
    for (const link of this.world.sockets) if (link.user !== user) link.send({ t: 'presence', user: user.id, state, last_seen: user.lastSeen });
  }
}

async function readJSON(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? {} : JSON.parse(text);
}
