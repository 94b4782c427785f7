// The engine as a whole, against a scripted region: only the clock, the sockets and fetch are fakes.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MemoryStorage } from '../store/memory';
import { FakeClock, settle } from '../testing/clock';
import { Dialer, welcome } from '../testing/socket';
import { Engine } from './engine';
import { outboxLimits } from './outbox';
import { shown } from './timeline';

const regions = ['eu', 'us'].map((region) => ({ region, url: `https://${region}.example.org` }));
const me = { user_id: '11111111-2222-4333-8444-555555555555', username: 'me', home_zone: 'world' };
const peer = { user_id: 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee', username: 'peer' };
const conv = 'd51e387a-c806-5e12-a272-27616a63bdc7';
const id = (n: number) => `${n.toString(16).padStart(8, '0')}-0000-1000-8000-000000000000`;

let clock: FakeClock;
let dialer: Dialer;
let storage: MemoryStorage;
let dead: Set<string>;
let calls: string[];
let groups: { row: object; info: object } | undefined;
let history: object[] | undefined; // undefined: the server knows no such conversation

class Shelf {
  private values = new Map<string, string>();
  getItem = (key: string) => this.values.get(key) ?? null;
  setItem = (key: string, value: string) => void this.values.set(key, value);
  removeItem = (key: string) => void this.values.delete(key);
}

function answer(method: string, url: URL): object {
  const path = `${method} ${url.pathname}`;
  if (path === 'GET /v1/route') return { region: 'eu', endpoints: regions, reasons: ['nearest'] };
  if (path === 'POST /v1/login' || path === 'POST /v1/token') {
    return { ...me, token: `token ${calls.length}`, refresh_token: 'refresh', expires_at: new Date(clock.now() + 600_000).toISOString() };
  }
  if (path === 'GET /v1/me') return { ...me, pinned: true };
  if (path === 'GET /v1/users/peer') return { ...peer, state: 'online' };
  if (path === 'GET /v1/conversations') return { conversations: groups ? [groups.row] : [] };
  if (groups && path === 'POST /v1/groups') return groups.row;
  if (groups && url.pathname.startsWith('/v1/groups/')) return groups.info;
  if (path.endsWith('/messages')) return { messages: history ?? [] };
  return { contacts: [], blocks: [] };
}

beforeEach(() => {
  clock = new FakeClock();
  dialer = new Dialer();
  storage = new MemoryStorage();
  dead = new Set();
  [calls, history, groups] = [[], [], undefined];
  vi.stubGlobal('localStorage', new Shelf());
  vi.stubGlobal('sessionStorage', new Shelf());
  vi.stubGlobal('fetch', (input: string, init?: RequestInit) => {
    const url = new URL(input);
    if (dead.has(url.host)) return Promise.reject(new TypeError('connection refused'));
    if (url.pathname.endsWith('/messages') && !history) {
      return Promise.resolve(Response.json({ code: 'unknown_conversation', message: '', retryable: false }, { status: 404 }));
    }
    calls.push(`${init?.method ?? 'GET'} ${url.host}${url.pathname}`);
    if (url.pathname === '/v1/up.json') return Promise.resolve(new Response('', { status: 404 }));
    return Promise.resolve(Response.json(answer(init?.method ?? 'GET', url)));
  });
});
afterEach(() => vi.unstubAllGlobals());

const newEngine = () =>
  new Engine({
    clock, origin: 'https://chat.example.org', visible: () => true, onChange: () => undefined, openSocket: dialer.open,
    openStorage: () => Promise.resolve(storage), device: 'test',
  });

/** quiet waits for what fetch and hashing do, which no fake clock drives. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await settle();
  }
}

/** online gives an engine signed in, with a chat open, and its socket. */
async function online(more: Parameters<typeof welcome>[1] = {}) {
  const engine = newEngine();
  await engine.start();
  await engine.signIn({ kind: 'login', username: 'me', password: 'secret' });
  await quiet();
  await dialer.last.accept();
  dialer.last.receive(welcome('eu', more));
  dialer.last.receive({ t: 'pong' });
  await clock.pass(100);
  await quiet();
  await engine.startChat('peer');
  await quiet();
  return { engine, socket: dialer.last };
}

/** comeBack accepts the next socket, in whatever region, and welcomes it. */
async function comeBack(more: Parameters<typeof welcome>[1] = {}) {
  await clock.pass(1_000);
  await quiet();
  const socket = dialer.last;
  await socket.accept();
  await quiet();
  socket.receive(welcome(socket.url.includes('eu') ? 'eu' : 'us', more));
  await quiet();
  return socket;
}

const message = (n: number, text: string, from = peer, client_id = `c${n}`) => ({
  id: id(n), conversation_id: conv, sender: { id: from.user_id, username: from.username }, client_id, body: { text }, sent_at: '2026-05-04T10:20:30.123Z',
});
const rows = (engine: Engine) => engine.store.getState().timelines[conv]?.rows.map(({ body }) => body.text);

describe('a send', () => {
  test('is on the disk before it is on the wire, and leaves the outbox at the highest level', async () => {
    const { engine, socket } = await online();
    engine.send(conv, 'hello');
    expect(socket.of('send')).toEqual([]);
    await quiet();
    const [frame] = socket.of('send');
    expect((await storage.load()).outbox).toMatchObject([{ client_id: frame?.client_id, text: 'hello' }]);
    const ack = { t: 'ack' as const, client_id: frame!.client_id, message_id: id(5), conversation_id: conv, sent_at: '2026-05-04T10:20:30.123Z' };
    socket.receive({ ...ack, level: 'region' });
    expect(engine.store.getState().outbox).toMatchObject([{ level: 'region' }]);
    socket.receive({ ...ack, level: 'zone' });
    await quiet();
    expect((await storage.load()).outbox).toEqual([]);
    expect(rows(engine)).toEqual(['hello']);
  });

  test('goes out again in another region with the same client_id, each naming the one before', async () => {
    const { engine, socket } = await online();
    engine.send(conv, 'one');
    engine.send(conv, 'two');
    await quiet();
    const first = socket.of('send');
    socket.receive({ t: 'ack', client_id: first[0]!.client_id, message_id: id(5), conversation_id: conv, level: 'region', sent_at: '2026-05-04T10:20:30.123Z' });
    dead.add('eu.example.org');
    await clock.pass(6_000); // it says nothing more
    const next = await comeBack();
    expect(next.url).toBe('wss://us.example.org/v1/ws');
    expect(next.of('send').map(({ client_id, after }) => [client_id, after])).toEqual([
      [first[0]!.client_id, undefined],
      [first[1]!.client_id, first[0]!.client_id],
    ]);
  });

  test('to somebody new stays on the screen when it is acknowledged', async () => {
    history = undefined;
    const { engine, socket } = await online();
    engine.send(conv, 'first word');
    await quiet();
    const ack = { t: 'ack' as const, message_id: id(5), conversation_id: conv, sent_at: '2026-05-04T10:20:30.123Z' };
    socket.receive({ ...ack, client_id: socket.of('send')[0]!.client_id, level: 'zone' });
    const timeline = engine.store.getState().timelines[conv]!;
    expect(timeline.floor).toBe('');
    expect(shown(timeline).map(({ body }) => body.text)).toEqual(['first word']);
  });

  test('survives the end of the page', async () => {
    const { engine, socket } = await online();
    socket.fail();
    engine.send(conv, 'kept');
    await quiet();
    const again = newEngine();
    await again.start();
    await quiet();
    await dialer.last.accept();
    dialer.last.receive(welcome('eu'));
    await quiet();
    expect(dialer.last.of('send')).toMatchObject([{ body: { text: 'kept' }, to: { user: 'peer' } }]);
  });

  test('refused for good waits for the person; refused for now goes out again in order', async () => {
    const { engine, socket } = await online();
    engine.send(conv, 'one');
    engine.send(conv, 'two');
    await quiet();
    const [one, two] = socket.of('send');
    socket.receive({ t: 'error', code: 'blocked', message: 'you blocked them', retryable: false, re: one!.client_id });
    socket.receive({ t: 'error', code: 'after_unknown', message: '', retryable: true, re: two!.client_id });
    expect(engine.store.getState().outbox[0]).toMatchObject({ failed: { code: 'blocked', message: 'you blocked them' } });
    await clock.pass(1_000);
    expect(socket.of('send').slice(2).map(({ client_id, after }) => [client_id, after])).toEqual([[two!.client_id, undefined]]);
    engine.retry(one!.client_id);
    expect(socket.of('send').at(-1)).toMatchObject({ client_id: one!.client_id, after: two!.client_id });
  });

  test('retry_after_ms holds for all that wait, whatever else is refused meanwhile', async () => {
    const { engine, socket } = await online();
    engine.send(conv, 'one');
    engine.send(conv, 'two');
    await quiet();
    const [one, two] = socket.of('send');
    socket.receive({ t: 'error', code: 'busy', message: '', retryable: true, retry_after_ms: 5_000, re: one!.client_id });
    socket.receive({ t: 'error', code: 'after_unknown', message: '', retryable: true, re: two!.client_id });
    await clock.pass(4_900);
    expect(socket.of('send')).toHaveLength(2);
    await clock.pass(1_100);
    expect(socket.of('send').slice(2)).toEqual([one, two]);
  });
});

describe('a change', () => {
  const ack = { t: 'ack' as const, message_id: id(90), conversation_id: conv, sent_at: '2026-05-04T10:30:00.000Z' };
  const edit = (engine: Engine, text: string) => engine.change(conv, id(1), { kind: 'edit', text });

  async function withMessage() {
    const both = await online({ cursor: 'c0' });
    both.socket.receive({ t: 'message', cursor: 'c1', message: message(1, 'old') });
    await quiet();
    return both;
  }

  test('is on the disk before it is on the wire, and becomes real at the highest level', async () => {
    const { engine, socket } = await withMessage();
    edit(engine, 'new');
    await quiet();
    const [frame] = socket.of('edit');
    expect(frame).toMatchObject({ conversation_id: conv, message_id: id(1), body: { text: 'new' } });
    expect((await storage.load()).outbox).toMatchObject([{ kind: 'change', client_id: frame!.client_id }]);
    socket.receive({ ...ack, client_id: frame!.client_id, level: 'region' });
    expect(rows(engine)).toEqual(['old']); // only shown in advance: the region may die with it
    socket.receive({ ...ack, client_id: frame!.client_id, level: 'zone' });
    await quiet();
    expect(rows(engine)).toEqual(['new']);
    expect((await storage.load()).outbox).toEqual([]);
    expect(await storage.rows(conv, undefined, 10)).toMatchObject([{ body: { text: 'new' }, edited_at: ack.sent_at }]);
  });

  test('goes out again in another region with the same client_id, under the id that the message has there', async () => {
    const { engine, socket } = await withMessage();
    edit(engine, 'new');
    await quiet();
    const [first] = socket.of('edit');
    dead.add('eu.example.org');
    await clock.pass(6_000);
    const next = await comeBack();
    expect(next.of('edit')).toEqual([first]);
    next.receive({ t: 'alias', cursor: 'c2', conversation_id: conv, client_id: 'c1', from: id(1), to: id(2) });
    next.receive({ t: 'error', code: 'busy', message: '', retryable: true, re: first!.client_id });
    await clock.pass(1_000);
    expect(next.of('edit').at(-1)).toEqual({ ...first, message_id: id(2) });
  });

  test('that is refused for good is undone and told', async () => {
    const { engine, socket } = await withMessage();
    edit(engine, 'new');
    await quiet();
    socket.receive({ t: 'error', code: 'denied', message: 'not your message', retryable: false, re: socket.of('edit')[0]!.client_id });
    await quiet();
    expect(engine.store.getState()).toMatchObject({ outbox: [], notice: 'Your edit was not taken: not your message' });
    expect((await storage.load()).outbox).toEqual([]);
    expect(rows(engine)).toEqual(['old']);
  });

  test('of a message that the region has not got yet is tried again for a while', async () => {
    const { engine, socket } = await withMessage();
    engine.change(conv, id(1), { kind: 'react', emoji: 'x', on: true });
    await quiet();
    const refuse = () => socket.receive({ t: 'error', code: 'unknown_message', message: 'no such message', retryable: false, re: socket.of('react')[0]!.client_id });
    refuse();
    await clock.pass(1_000);
    expect(socket.of('react')).toHaveLength(2);
    clock.sleep(outboxLimits.unknown_ms);
    refuse();
    expect(engine.store.getState().outbox).toEqual([]);
  });

  test('by others survives the end of the page, also before its message', async () => {
    const { socket } = await withMessage();
    const about = { conversation_id: conv, client_id: 'x', user: peer.user_id, at: '2026-05-04T10:30:00.000Z' };
    socket.receive({ t: 'edit', cursor: 'c2', ...about, message_id: id(1), body: { text: 'edited' } });
    socket.receive({ t: 'delete', cursor: 'c3', ...about, message_id: id(2) });
    await quiet();
    const again = newEngine();
    await again.start();
    await quiet();
    await dialer.last.accept();
    dialer.last.receive(welcome('eu'));
    await quiet();
    dialer.last.receive({ t: 'message', cursor: 'c4', message: message(2, 'never seen') });
    await again.startChat('peer');
    await quiet();
    expect(rows(again)).toEqual(['edited', '']);
    expect((await storage.load()).held).toEqual([]);
  });

  test('waits no longer after a reset: the history read anew has it', async () => {
    const { engine, socket } = await withMessage();
    socket.receive({ t: 'delete', cursor: 'c3', conversation_id: conv, client_id: 'x', user: peer.user_id, at: '2026-05-04T10:30:00.000Z', message_id: id(8) });
    socket.fail();
    edit(engine, 'mine');
    await quiet();
    history = [{ ...message(1, 'from the mailbox'), reactions: [{ emoji: 'x', users: [peer.user_id] }] }];
    const next = await comeBack({ cursor: 'r0', reset: true });
    await clock.pass(100);
    await quiet();
    expect(engine.store.getState().held).toEqual({});
    expect(await storage.load()).toMatchObject({ held: [], aliases: {}, outbox: [{ wish: { text: 'mine' } }] });
    expect(engine.store.getState().timelines[conv]?.rows).toMatchObject([{ body: { text: 'from the mailbox' }, reactions: [{ emoji: 'x' }] }]);
    expect(next.of('edit')).toMatchObject([{ body: { text: 'mine' } }]);
  });
});

describe('a group', () => {
  const group = { id: 'aaaaaaaa-0000-4000-8000-000000000001', kind: 'group' as const, name: 'trip', member_count: 2, role: 'owner' as const, state: 'accepted' as const, unread: 0 };
  const members = [{ user: { id: me.user_id, username: 'me' }, role: 'owner' as const }, { user: { id: peer.user_id, username: 'peer' }, role: 'member' as const }];

  test('is made, opened and written to by its id; its members are read', async () => {
    groups = { row: group, info: { ...group, members } };
    const { engine, socket } = await online();
    await engine.createGroup('client', 'trip', ['peer']);
    await quiet();
    expect(engine.store.getState()).toMatchObject({ open: group.id, groups: { [group.id]: members } });
    engine.send(group.id, 'hello all');
    await quiet();
    expect(socket.of('send')).toMatchObject([{ to: { conversation: group.id }, body: { text: 'hello all' } }]);
  });

  test('that one joins again is read from the server, for what was written before this region knew of it', async () => {
    groups = { row: { ...group, role: 'none' }, info: { ...group, members } };
    const { engine, socket } = await online();
    engine.openConversation(group.id);
    await quiet();
    expect(engine.store.getState().timelines[group.id]).toEqual({ rows: [], floor: '' });
    groups = { row: { ...group, role: 'member' }, info: { ...group, role: 'member', members } };
    history = [{ ...message(3, 'welcome'), conversation_id: group.id }];
    socket.receive({
      t: 'group', cursor: 'c1', conversation_id: group.id, change: 'joined', user: { id: me.user_id, username: 'me' }, by: { id: peer.user_id, username: 'peer' },
      role: 'member', at: '2026-05-04T10:20:30.123Z',
    });
    await clock.pass(100);
    await quiet();
    expect(engine.store.getState().conversations[group.id]).toMatchObject({ name: 'trip', role: 'member' });
    expect(engine.store.getState().timelines[group.id]?.rows.map(({ body }) => body.text)).toEqual(['welcome']);
  });

  test('shows who writes, each for a while', async () => {
    const { engine, socket } = await online();
    socket.receive({ t: 'typing', conversation_id: group.id, user: 'ana' });
    await clock.pass(3_000);
    socket.receive({ t: 'typing', conversation_id: group.id, user: 'bo' });
    expect(Object.keys(engine.store.getState().typing[group.id]!)).toEqual(['ana', 'bo']);
    await clock.pass(2_500);
    expect(Object.keys(engine.store.getState().typing[group.id]!)).toEqual(['bo']);
  });
});

describe('resuming', () => {
  test('the cursor of the last event is what the next hello brings, in whatever region', async () => {
    const { engine, socket } = await online({ cursor: 'c0' });
    socket.receive({ t: 'message', cursor: 'c1', message: message(1, 'one') });
    socket.receive({ t: 'message', cursor: 'c2', message: message(2, 'two') });
    await quiet();
    expect((await storage.load()).cursor).toBe('c2');
    expect((await storage.rows(conv, undefined, 10)).map(({ body }) => body.text)).toEqual(['one', 'two']);
    socket.fail();
    const next = await comeBack({ cursor: 'c9' });
    expect(next.of('hello')[0]?.resume).toBe('c2');
    // The welcome of a resumed session does not move the cursor: what was missed comes first.
    expect((await storage.load()).cursor).toBe('c2');
    next.receive({ t: 'message', cursor: 'c3', message: message(2, 'two') });
    next.receive({ t: 'message', cursor: 'c4', message: message(3, 'three') });
    expect(rows(engine)).toEqual(['one', 'two', 'three']);
  });

  test('a reset drops the history and keeps the outbox', async () => {
    const { engine, socket } = await online({ cursor: 'c0' });
    socket.receive({ t: 'message', cursor: 'c1', message: message(1, 'old') });
    socket.fail();
    engine.send(conv, 'unsent');
    await quiet();
    history = [message(7, 'from the mailbox')];
    const next = await comeBack({ cursor: 'r0', reset: true });
    await clock.pass(100);
    await quiet();
    expect(rows(engine)).toEqual(['from the mailbox']);
    expect(next.of('send')).toMatchObject([{ body: { text: 'unsent' } }]);
    expect(await storage.load()).toMatchObject({ cursor: 'r0', outbox: [{ text: 'unsent' }] });
  });
});

test('a quiet link keeps its cursor up to date', async () => {
  const { socket } = await online({ cursor: 'c0' });
  socket.receive({ t: 'pong', cursor: 'c5' });
  await quiet();
  expect((await storage.load()).cursor).toBe('c5');
  socket.fail();
  expect((await comeBack()).of('hello')[0]?.resume).toBe('c5');
});

test('a cursor that the server cannot read is given up, and the history read anew', async () => {
  const { engine, socket } = await online({ cursor: 'broken' });
  socket.receive({ t: 'message', cursor: 'broken too', message: message(1, 'old') });
  socket.fail();
  await clock.pass(1_000);
  await quiet();
  await dialer.last.accept();
  dialer.last.receive({ t: 'error', code: 'invalid', message: 'resume: not a cursor', retryable: false, re: 'hello' });
  dialer.last.fail(1008);
  history = [message(7, 'from the mailbox')];
  const next = await comeBack({ cursor: 'fresh' });
  await clock.pass(100);
  await quiet();
  expect(next.of('hello')[0]).not.toHaveProperty('resume');
  expect(rows(engine)).toEqual(['from the mailbox']);
  expect((await storage.load()).cursor).toBe('fresh');
});

test('4001 brings a new token into the next hello', async () => {
  const { socket } = await online();
  const used = socket.of('hello')[0]?.token;
  socket.fail(4001);
  const next = await comeBack();
  expect(calls.filter((call) => call.endsWith('/v1/token'))).toHaveLength(1);
  expect(next.of('hello')[0]?.token).not.toBe(used);
});

test('REST walks to the next region when one is away', async () => {
  const { engine } = await online();
  dead.add('eu.example.org');
  calls = [];
  await engine.addContact('peer').catch(() => undefined);
  expect(calls).toContain('PUT us.example.org/v1/contacts/peer');
});

test('the login asks for a route by four digits of the name’s hash, never by the name', async () => {
  const urls: string[] = [];
  const inner = globalThis.fetch;
  vi.stubGlobal('fetch', (input: string, init?: RequestInit) => {
    urls.push(input);
    return inner(input, init);
  });
  await online();
  const asked = urls.find((url) => url.includes('/v1/route') && url.includes('name='));
  expect(asked).toMatch(/name=[0-9a-f]{4}$/);
});
