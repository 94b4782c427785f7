// Somebody who speaks the protocol without a page: the other people of a browser test. It does what docs/protocol.md asks of
// a client: the same client_id until the highest level, the cursor of the last event, the next region when one is silent.

import { randomUUID } from 'node:crypto';
import WebSocket from 'ws';

const silence_ms = 4_000;
const retry_ms = 400;
/** How long a call is made again while it is refused for a moment, and how long one may take: a silent region has to be left soon. */
const patience_ms = 60_000;
const call_ms = 5_000;

/** Person is signed up by join, or logged in by another device, and from then on has a socket in some region until close. */
export class Person {
  static all = [];
  messages = new Map(); // id → message, with all that events said about it
  aliases = new Map();
  groups = [];
  errors = [];
  waiting = new Map(); // client_id → {frame, done, level}
  early = []; // changes whose message is still to come
  closed = false;

  static join(world, username, address) {
    return Person.#begin('/v1/signup', world, username, address);
  }

  /** device logs somebody in once more who signed up in a page. */
  static device(world, username, address) {
    return Person.#begin('/v1/login', world, username, address);
  }

  static async #begin(path, world, username, address) {
    const person = new Person();
    Person.all.push(person);
    Object.assign(person, { world, username, address });
    const body = { username, password: 'correct horse battery staple', device: 'test' };
    person.token = (await person.enter(path, body)).token;
    await person.connect();
    return person;
  }

  /**
   * enter signs up or logs in, as call does it. After a sign-up of which nobody knew the outcome its name is taken: the account may
   * be there, or the name still held and given back soon.
   */
  async enter(path, body) {
    let open = false;
    for (const end = Date.now() + patience_ms; ; await new Promise((resolve) => setTimeout(resolve, retry_ms))) {
      // Given up and made again at once, a slow sign-up would find its own name taken.
      let { done, answer, error } = await this.ask('POST', path, body, patience_ms);
      const own = open && error?.code === 'username_taken';
      if (own) ({ done, answer } = await this.ask('POST', '/v1/login', body, patience_ms));
      if (done) return answer;
      if (!(own || error.retryable) || Date.now() > end) throw error;
      open = true;
    }
  }

  async endpoints() {
    const answer = await fetch(`${this.world.web}/v1/route?as=${this.address}`);
    return (await answer.json()).endpoints;
  }

  /** call asks the regions in turn until one answers, and again while the answer is one that may pass. */
  async call(method, path, body, limit_ms = call_ms) {
    for (const end = Date.now() + patience_ms; ; await new Promise((resolve) => setTimeout(resolve, retry_ms))) {
      const { done, answer, error } = await this.ask(method, path, body, limit_ms);
      if (done) return answer;
      if (!error.retryable || Date.now() > end) throw error;
    }
  }

  async ask(method, path, body, limit_ms) {
    for (const { url } of await this.endpoints()) {
      const answer = await fetch(url + path, {
        method,
        headers: { 'Content-Type': 'application/json', ...(this.token ? { Authorization: `Bearer ${this.token}` } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
        signal: AbortSignal.timeout(limit_ms),
      }).catch(() => undefined);
      const text = await answer?.text().catch(() => undefined);
      if (text === undefined) continue;
      if (answer.ok) return { done: true, answer: text === '' ? undefined : JSON.parse(text) };
      const { code, retryable } = text.startsWith('{') ? JSON.parse(text) : {};
      return { error: Object.assign(new Error(`${method} ${path}: ${answer.status} ${text}`), { code, retryable }) };
    }
    return { error: Object.assign(new Error(`${method} ${path}: no region answers`), { retryable: true }) };
  }

  /** connect keeps a socket to the best region that has one, and resolves at the first welcome. */
  connect() {
    return new Promise((resolve) => {
      const next = async (tries) => {
        if (this.closed) return;
        const list = await this.endpoints().catch(() => []);
        const { url } = list[tries % Math.max(1, list.length)] ?? {};
        const again = () => setTimeout(() => void next(tries + 1), retry_ms);
        if (!url) return again();
        this.dial(`${url.replace('http', 'ws')}/v1/ws`, resolve, again);
      };
      void next(0);
    });
  }

  dial(url, welcomed, gone) {
    const socket = new WebSocket(url, 'meridian.v1.json', { handshakeTimeout: 2_000 });
    let heard = Date.now();
    const beat = setInterval(() => {
      if (Date.now() - heard > silence_ms) socket.terminate();
      else if (socket.readyState === WebSocket.OPEN) socket.send('{"t":"ping"}');
    }, 1_000);
    socket.on('open', () => {
      const hello = { t: 'hello', token: this.token, device: 'test', as: this.address };
      socket.send(JSON.stringify(this.cursor === undefined ? hello : { ...hello, resume: this.cursor }));
    });
    socket.on('message', (data) => {
      heard = Date.now();
      const frame = JSON.parse(String(data));
      if (frame.t === 'welcome') {
        Object.assign(this, { socket, me: frame.user, region: frame.region, maxLevel: frame.max_level });
        if (this.cursor === undefined) this.cursor = frame.cursor;
        for (const { frame: unsafe } of this.waiting.values()) socket.send(JSON.stringify(unsafe));
        welcomed();
      } else this.take(frame);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearInterval(beat);
      this.socket = undefined;
      gone();
    });
  }

  /** closeAll ends everybody: an open socket would keep a test that failed from ending. */
  static closeAll() {
    for (const person of Person.all) person.close();
  }

  close() {
    this.closed = true;
    this.socket?.terminate();
  }

  take(frame) {
    if (frame.cursor !== undefined) this.cursor = frame.cursor;
    if (frame.t === 'ack') return this.acknowledged(frame);
    if (frame.t === 'error') return this.refused(frame);
    if (frame.t === 'group') this.groups.push(frame);
    if (frame.t === 'alias') this.renamed(frame);
    if (frame.t === 'message') this.came(frame.message);
    if (['edit', 'delete', 'react'].includes(frame.t)) this.early.push(frame);
    this.early = this.early.filter((change) => !this.apply(change));
  }

  /** came takes a message in. One that comes again is known, with all that was said about it since. */
  came(message) {
    const id = this.now(message.id);
    if (this.messages.has(id)) return;
    const turns = {};
    for (const { emoji, users } of message.reactions ?? []) for (const user of users) turns[`${user} ${emoji}`] = { emoji, on: true, at: '' };
    this.messages.set(id, { ...message, id, turns });
  }

  now(id) {
    return this.aliases.get(id) ?? id;
  }

  renamed({ from, to }) {
    this.aliases.set(from, to);
    const message = this.messages.get(from);
    if (!message) return;
    this.messages.delete(from);
    this.messages.set(to, { ...message, id: to });
  }

  /** apply gives whether the message of a change is here. */
  apply({ t, message_id, at, body, user, emoji, on }) {
    const message = this.messages.get(this.now(message_id));
    if (!message) return false;
    if (t === 'delete') message.deleted = true;
    if (t === 'edit' && !(message.edited_at > at)) Object.assign(message, { body, edited_at: at });
    const key = `${user} ${emoji}`;
    if (t === 'react' && !(message.turns[key]?.at > at)) message.turns[key] = { user, emoji, on, at };
    return true;
  }

  /** put sends a frame until it is acknowledged at the highest level, and gives the last acknowledgement. */
  put(frame) {
    const whole = { client_id: randomUUID(), ...frame };
    return new Promise((resolve, reject) => {
      this.waiting.set(whole.client_id, { frame: whole, resolve, reject });
      this.socket?.send(JSON.stringify(whole));
    });
  }

  acknowledged(frame) {
    const entry = this.waiting.get(frame.client_id);
    if (!entry || (frame.level !== 'zone' && frame.level !== this.maxLevel)) return;
    this.waiting.delete(frame.client_id);
    const { t, client_id, body, reply_to } = entry.frame;
    // The message itself goes to other devices only.
    if (t === 'send') this.came({ id: frame.message_id, sender: this.me, client_id, body, sent_at: frame.sent_at, ...(reply_to ? { reply_to } : {}) });
    entry.resolve(frame);
  }

  refused(frame) {
    const entry = this.waiting.get(frame.re);
    if (!entry) return void this.errors.push(frame);
    if (frame.retryable || frame.code === 'unknown_message') {
      setTimeout(() => this.socket?.send(JSON.stringify(entry.frame)), frame.retry_after_ms ?? retry_ms);
      return;
    }
    this.waiting.delete(frame.re);
    entry.reject(new Error(`${frame.code}: ${frame.message}`));
  }

  /** history reads a conversation from the server, oldest first. */
  async history(conversation) {
    const { messages } = await this.call('GET', `/v1/conversations/${conversation}/messages?limit=100`);
    return messages.reverse();
  }
}

/** contentOf gives what people see of a message, in a form that is the same for pages, events and history. */
export function contentOf(message) {
  if (message.deleted) return { text: 'Message deleted', deleted: true, edited: false, reactions: [] };
  const counts = new Map();
  const count = (emoji, by) => counts.set(emoji, (counts.get(emoji) ?? 0) + by);
  if (message.turns) for (const { emoji, on } of Object.values(message.turns)) count(emoji, on ? 1 : 0);
  else for (const { emoji, users } of message.reactions ?? []) count(emoji, users.length);
  return {
    text: message.body.text, deleted: false, edited: message.edited_at !== undefined,
    reactions: [...counts].filter(([, number]) => number > 0).map(([emoji, number]) => `${emoji} ${number}`).sort(),
  };
}
