import { beforeEach, describe, expect, test } from 'vitest';
import type { ErrorFrame, ServerFrame } from '../protocol/types';
import { FakeClock } from '../testing/clock';
import { Dialer, welcome } from '../testing/socket';
import { Endpoints } from './endpoints';
import { Link, limits } from './link';
import type { LinkStatus } from './link';

const list = ['eu', 'us', 'ap'].map((region) => ({ region, url: `https://${region}.example.org` }));
const socketOf = (region: string) => `wss://${region}.example.org/v1/ws`;

let clock: FakeClock;
let dialer: Dialer;
let endpoints: Endpoints;
let link: Link;
let status: LinkStatus[];
let frames: ServerFrame[];
let urgent: boolean;
let unauthorized: number;
let rtts: number[];

beforeEach(() => {
  clock = new FakeClock();
  dialer = new Dialer();
  endpoints = new Endpoints(clock);
  endpoints.replace(list);
  [status, frames, rtts] = [[], [], []];
  [urgent, unauthorized] = [true, 0];
  link = new Link({
    clock, endpoints, open: dialer.open,
    hello: () => Promise.resolve({ t: 'hello', token: 'token', device: 'test' }),
    urgent: () => urgent,
    onStatus: (next) => status.push(next),
    onWelcome: () => undefined,
    onFrame: (frame) => frames.push(frame),
    onRtt: (ms) => rtts.push(ms),
    onRefused: () => undefined,
    onUnauthorized: () => unauthorized++,
    onLost: () => undefined,
  });
});

/** connected brings the link up in the first region. */
async function connected(region = 'eu') {
  link.start();
  const socket = dialer.last;
  await socket.accept();
  socket.receive(welcome(region));
  socket.receive({ t: 'pong' });
  return socket;
}

describe('connecting', () => {
  test('hello is the first frame; welcome makes it live', async () => {
    const socket = await connected();
    expect(socket.url).toBe(socketOf('eu'));
    expect(socket.sent[0]).toEqual({ t: 'hello', token: 'token', device: 'test' });
    expect(status.at(-1)).toMatchObject({ state: 'online', region: 'eu' });
  });

  test('a refused region is left at once, for the next of the list', async () => {
    link.start();
    dialer.last.fail();
    await clock.pass(limits.spread_ms);
    expect(dialer.last.url).toBe(socketOf('us'));
  });

  test('a region that does not answer is left after 1.5 s', async () => {
    link.start();
    await clock.pass(limits.connect_ms - 1);
    expect(dialer.sockets).toHaveLength(1);
    await clock.pass(1 + limits.spread_ms);
    expect(dialer.sockets[0]?.closed).toBe(true);
    expect(dialer.last.url).toBe(socketOf('us'));
  });

  test('with all regions away the back-off grows, and a slow network gets more time', async () => {
    link.start();
    for (let i = 0; i < 3; i++) {
      dialer.last.fail();
      await clock.pass(limits.spread_ms);
    }
    expect(dialer.sockets).toHaveLength(4);
    await clock.pass(limits.connect_ms + 500);
    expect(dialer.last.closed).toBe(false);
    await clock.pass(limits.patient_ms);
    expect(dialer.sockets[3]?.closed).toBe(true);
    const before = dialer.sockets.length;
    for (let i = 0; i < 240; i++) {
      if (!dialer.last.closed) dialer.last.fail();
      dialer.last.closed = true;
      await clock.pass(250);
    }
    expect(dialer.sockets.length - before).toBeLessThan(12); // in a minute
  });
});

describe('liveness', () => {
  test('silence brings a ping after 3 s, and the next region after 6 s', async () => {
    const socket = await connected();
    const pings = () => socket.of('ping').length;
    expect(pings()).toBe(1); // the first one measures the round trip
    await clock.pass(2_999);
    expect(pings()).toBe(1);
    await clock.pass(1);
    expect(pings()).toBe(2);
    await clock.pass(2_999);
    expect(link.online).toBe(true);
    await clock.pass(1);
    expect(link.online).toBe(false);
    expect(status.at(-1)?.state).toBe('waiting');
    await clock.pass(limits.spread_ms);
    expect(dialer.last.url).toBe(socketOf('us'));
  });

  test('a silent region costs less than 10 s, also when the next one is gone too', async () => {
    clock.chance = 0.999;
    const socket = await connected();
    const start = clock.now();
    await clock.pass(6_000 + 1_000);
    expect(dialer.last).not.toBe(socket);
    await clock.pass(limits.connect_ms + 1_000); // "us" does not answer
    expect(dialer.last.url).toBe(socketOf('ap'));
    expect(clock.now() - start).toBeLessThan(10_000);
  });

  test('any frame is a sign of life', async () => {
    const socket = await connected();
    for (let i = 0; i < 10; i++) {
      await clock.pass(2_500);
      socket.receive({ t: 'typing', conversation_id: 'c' });
    }
    expect(socket.of('ping')).toHaveLength(1);
    expect(link.online).toBe(true);
  });

  test('nobody looking: a ping every 25 s', async () => {
    urgent = false;
    const socket = await connected();
    await clock.pass(24_999);
    expect(socket.of('ping')).toHaveLength(1);
    await clock.pass(1);
    expect(socket.of('ping')).toHaveLength(2);
    await clock.pass(9_000);
    expect(link.online).toBe(true);
    await clock.pass(1_000);
    expect(link.online).toBe(false);
  });

  test('becoming visible asks at once', async () => {
    urgent = false;
    const socket = await connected();
    await clock.pass(10_000);
    urgent = true;
    link.nudge();
    expect(socket.of('ping')).toHaveLength(2);
    await clock.pass(3_000);
    expect(link.online).toBe(false);
  });

  test('a machine that slept asks before it gives up', async () => {
    const socket = await connected();
    await clock.pass(3_000);
    clock.sleep(60_000);
    await clock.pass(0);
    expect(link.online).toBe(true);
    expect(socket.of('ping')).toHaveLength(3);
    socket.receive({ t: 'pong' });
    await clock.pass(2_000);
    expect(link.online).toBe(true);
  });

  test('pings are answered, and pongs tell the round trip', async () => {
    const socket = await connected();
    socket.receive({ t: 'ping' });
    expect(socket.sent.at(-1)).toEqual({ t: 'pong' });
    await clock.pass(3_000);
    await clock.pass(40);
    socket.receive({ t: 'pong' });
    expect(rtts).toEqual([0, 40]);
  });
});

describe('what was not reached', () => {
  const hello = () => dialer.last.of('hello')[0];

  test('the next region is told which one was not reached, of late, and no other', async () => {
    link.start();
    dialer.last.fail(); // "eu"
    await clock.pass(limits.spread_ms);
    await clock.pass(limits.connect_ms + limits.spread_ms); // "us" does not answer
    expect(dialer.last.url).toBe(socketOf('ap'));
    await dialer.last.accept();
    expect(hello()?.failed).toEqual(['eu', 'us']);
    dialer.last.receive(welcome('ap'));
    link.stop();
    await clock.pass(30_000);
    expect(endpoints.toldOf()).toEqual([]);
  });

  test('one that went silent is told of; the region that is asked itself is not, nor one that answered since', async () => {
    const first = await connected();
    expect(first.of('hello')[0]?.failed).toBeUndefined();
    await clock.pass(6_000 + limits.spread_ms);
    await dialer.last.accept();
    expect(hello()?.failed).toEqual(['eu']);
    expect(endpoints.toldOf('eu')).toEqual([]);
    endpoints.worked(list[0]!);
    expect(endpoints.toldOf()).toEqual([]);
  });

  test('a refusal is an answer, and so is a network that was away', async () => {
    (await connected()).fail(4307);
    expect(endpoints.toldOf()).toEqual([]);
    await clock.pass(limits.spread_ms);
    dialer.last.fail();
    expect(endpoints.toldOf()).toEqual(['us']);
    endpoints.forgive();
    expect(endpoints.toldOf()).toEqual([]);
  });
});

describe('closing', () => {
  test('a broken link tries its region again first: it may have lost a node only', async () => {
    (await connected()).fail();
    await clock.pass(limits.spread_ms);
    expect(dialer.last.url).toBe(socketOf('eu'));
    dialer.last.fail();
    await clock.pass(limits.spread_ms);
    expect(dialer.last.url).toBe(socketOf('us'));
  });

  test('4001 asks for another token, in the same region', async () => {
    (await connected()).fail(4001);
    expect(unauthorized).toBe(1);
    await clock.pass(limits.spread_ms);
    expect(dialer.last.url).toBe(socketOf('eu'));
  });

  test('4307 goes where the error frame before it says', async () => {
    const socket = await connected();
    const error: ErrorFrame = {
      t: 'error', code: 'wrong_region', message: '', retryable: true, endpoints: [{ region: 'in', url: 'https://in.example.org' }],
    };
    socket.receive(error);
    socket.fail(4307);
    await clock.pass(limits.spread_ms);
    expect(dialer.last.url).toBe(socketOf('in'));
  });

  test('retry_after_ms is a floor', async () => {
    const socket = await connected();
    socket.receive({ t: 'error', code: 'rate_limited', message: '', retryable: true, retry_after_ms: 7_000 });
    socket.fail(4029);
    await clock.pass(6_999);
    expect(dialer.sockets).toHaveLength(1);
    await clock.pass(1);
    expect(dialer.last.url).toBe(socketOf('eu'));
  });

  test('a stopped link stays down', async () => {
    const socket = await connected();
    link.stop();
    expect(socket.closed).toBe(true);
    await clock.pass(60_000);
    expect(dialer.sockets).toHaveLength(1);
  });
});

describe('moving', () => {
  test('goaway opens the new socket first, then closes the old', async () => {
    const old = await connected();
    old.receive({ t: 'goaway', reason: 'drain', endpoints: list.slice(1), within_ms: 1_000 });
    await clock.pass(499);
    expect(dialer.sockets).toHaveLength(1);
    await clock.pass(1);
    expect(dialer.last.url).toBe(socketOf('us'));
    expect(old.closed).toBe(false);
    old.receive({ t: 'typing', conversation_id: 'still served' });
    expect(frames.at(-1)).toMatchObject({ conversation_id: 'still served' });
    await dialer.last.accept();
    expect(old.closed).toBe(false);
    dialer.last.receive(welcome('us'));
    expect(old.closed).toBe(true);
    expect(status.map(({ state }) => state)).not.toContain('waiting');
    expect(status.at(-1)).toMatchObject({ state: 'online', region: 'us' });
  });

  test('when the old one closes early, the new one takes over as it is', async () => {
    const old = await connected();
    old.receive({ t: 'goaway', endpoints: list.slice(1), within_ms: 0 });
    await clock.pass(0);
    old.fail(1001);
    await dialer.last.accept();
    dialer.last.receive(welcome('us'));
    expect(dialer.sockets).toHaveLength(2);
    expect(link.online).toBe(true);
  });

  test('when the new one fails, the old one goes on', async () => {
    const old = await connected();
    old.receive({ t: 'goaway', endpoints: list.slice(1), within_ms: 0 });
    await clock.pass(0);
    dialer.last.fail();
    expect(link.online).toBe(true);
    expect(link.endpoint?.region).toBe('eu');
    expect(old.closed).toBe(false);
  });
});
