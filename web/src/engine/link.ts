// The connection: one live socket to one region, and the way from a dead one to the next.
//
//   idle ──start──▶ connecting ──welcome──▶ online ──goaway──▶ online, and a second socket connecting
//                     ▲     │                 │
//                     │   fails            closed, silent
//                     │     ▼                 │
//                     └── waiting ◀───────────┘
//
// A region can die without closing its sockets, so silence decides: see `limits`.

import { closeCode, parseFrame, socketURL, subprotocol } from '../protocol/types';
import type { ClientFrame, Endpoint, ErrorFrame, GoawayFrame, HelloFrame, ServerFrame, WelcomeFrame } from '../protocol/types';
import { fullJitter } from './clock';
import type { Clock } from './clock';
import type { Endpoints } from './endpoints';
import { Heartbeat } from './heartbeat';

export const limits = {
  connect_ms: 1_500,
  welcome_ms: 3_000,
  /** The two above grow to this once every region had its chance: the network may just be slow. */
  patient_ms: 10_000,
  /** Before another region is tried, so that those of a dead region do not all come at once. */
  spread_ms: 1_000,
  /** A link that lived so long resets the back-off: whoever loses it is served elsewhere soon, however long all was away before. */
  stable_ms: 2_000,
};

/** What the link needs of a WebSocket; tests have their own. */
export interface SocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export type LinkStatus =
  | { state: 'idle' }
  | { state: 'connecting' | 'waiting'; since: number }
  | { state: 'online'; endpoint: Endpoint; region: string };

export interface LinkOptions {
  clock: Clock;
  endpoints: Endpoints;
  open?: (url: string) => SocketLike;
  /** The first frame, made anew for each socket. Undefined: no token is to be had now. */
  hello: () => Promise<HelloFrame | undefined>;
  /** Whether somebody looks, or something waits for its acknowledgement. */
  urgent: () => boolean;
  onStatus: (status: LinkStatus) => void;
  onWelcome: (frame: WelcomeFrame) => void;
  onFrame: (frame: ServerFrame) => void;
  onRtt: (ms: number) => void;
  /** The server answered hello with an error; a close follows. */
  onRefused: (frame: ErrorFrame) => void;
  /** The server refused the token: the next hello needs another one. */
  onUnauthorized: () => void;
  /** All regions failed, or this one may not serve us: the list may be stale. */
  onLost: () => void;
}

/** One socket with what belongs to it. A link has one, or two while it moves. */
interface Attempt {
  endpoint: Endpoint;
  socket: SocketLike;
  stage: 'opening' | 'greeting' | 'live';
  cancelTimer: () => void;
  heartbeat?: Heartbeat;
  liveSince?: number;
  /** The error frame that came before a close tells what to do. */
  lastError?: ErrorFrame;
}

export class Link {
  private current: Attempt | undefined;
  private successor: Attempt | undefined;
  private cancelWait: (() => void) | undefined;
  private failures = 0;
  private floor_ms = 0;
  private started = false;
  private downSince = 0;

  constructor(private readonly options: LinkOptions) {}

  start(): void {
    if (this.started) return;
    this.started = true;
    this.downSince = this.options.clock.now();
    this.connect();
  }

  stop(): void {
    this.started = false;
    this.cancelWait?.();
    for (const attempt of [this.current, this.successor]) if (attempt) this.drop(attempt, 1000);
    this.current = this.successor = undefined;
    this.options.onStatus({ state: 'idle' });
  }

  get online(): boolean {
    return this.current?.stage === 'live';
  }

  get endpoint(): Endpoint | undefined {
    return this.current?.endpoint;
  }

  /** send gives false when nobody is there to take the frame. */
  send(frame: ClientFrame): boolean {
    if (this.current?.stage !== 'live') return false;
    this.current.socket.send(JSON.stringify(frame));
    return true;
  }

  /** nudge says that things may have changed (network back, page visible again): look now rather than later. */
  nudge(): void {
    if (!this.started) return;
    if (this.current?.stage === 'live') this.current.heartbeat?.check();
    else if (this.cancelWait) this.connect();
  }

  /** touch says that something may have become urgent, so that silence is noticed sooner. */
  touch(): void {
    this.current?.heartbeat?.touch();
  }

  /** move goes to the best endpoint of the list: the new socket first, then the old one closes. */
  move(within_ms = 0): void {
    const { clock, endpoints } = this.options;
    if (this.current?.stage !== 'live') {
      this.nudge();
      return;
    }
    clock.after(clock.random() * within_ms, () => {
      const target = endpoints.pick();
      if (this.current?.stage !== 'live' || this.successor || !target || target.url === this.current.endpoint.url) return;
      this.successor = this.attempt(target);
    });
  }

  private connect(): void {
    this.cancelWait?.();
    this.cancelWait = undefined;
    const endpoint = this.options.endpoints.pick();
    if (!endpoint) {
      this.options.onLost();
      this.wait(fullJitter(this.options.clock, ++this.failures));
      return;
    }
    this.options.onStatus({ state: 'connecting', since: this.downSince });
    this.current = this.attempt(endpoint);
  }

  private attempt(endpoint: Endpoint): Attempt {
    const { clock } = this.options;
    const { endpoints } = this.options;
    const patient = endpoints.exhausted() || this.failures >= endpoints.all().length;
    const open = this.options.open ?? ((url: string) => new WebSocket(url, subprotocol) as unknown as SocketLike);
    const attempt: Attempt = { endpoint, socket: open(socketURL(endpoint.url)), stage: 'opening', cancelTimer: () => {} };
    const limit = (ms: number): (() => void) =>
      clock.after(patient ? limits.patient_ms : ms, () => this.lost(attempt, 'silent'));
    attempt.cancelTimer = limit(limits.connect_ms);
    attempt.socket.onopen = () => {
      attempt.cancelTimer();
      attempt.stage = 'greeting';
      attempt.cancelTimer = limit(limits.welcome_ms);
      void this.greet(attempt);
    };
    attempt.socket.onmessage = (event) => this.receive(attempt, event.data);
    attempt.socket.onclose = (event) => this.lost(attempt, event.code);
    return attempt;
  }

  private async greet(attempt: Attempt): Promise<void> {
    const hello = await this.options.hello();
    if (!this.owns(attempt)) return;
    const failed = this.options.endpoints.toldOf(attempt.endpoint.region);
    if (hello) attempt.socket.send(JSON.stringify(failed.length > 0 ? { ...hello, failed } : hello));
    else this.lost(attempt, closeCode.unauthorized);
  }

  private receive(attempt: Attempt, data: unknown): void {
    if (!this.owns(attempt)) return;
    attempt.heartbeat?.heard();
    const frame = parseFrame(data);
    if (!frame) return;
    switch (frame.t) {
      case 'welcome':
        return this.welcomed(attempt, frame);
      case 'ping':
        return attempt.socket.send('{"t":"pong"}');
      case 'pong':
        attempt.heartbeat?.answered();
        break;
      case 'goaway':
        return this.goaway(attempt, frame);
      case 'error':
        attempt.lastError = frame;
        break;
    }
    if (attempt.stage === 'greeting' && frame.t === 'error') return this.options.onRefused(frame);
    // A leaving socket still says what it has: it may be what the new one starts after.
    if (attempt.stage === 'live') this.options.onFrame(frame);
  }

  private welcomed(attempt: Attempt, frame: WelcomeFrame): void {
    const { clock, endpoints } = this.options;
    attempt.cancelTimer();
    attempt.stage = 'live';
    attempt.liveSince = clock.now();
    attempt.heartbeat = new Heartbeat({
      clock,
      urgent: this.options.urgent,
      ping: () => attempt.socket.send('{"t":"ping"}'),
      dead: () => this.lost(attempt, 'silent'),
      rtt: (ms) => attempt === this.current && this.options.onRtt(ms),
    });
    if (attempt === this.successor) {
      const old = this.current;
      this.current = attempt;
      this.successor = undefined;
      if (old) this.drop(old, 1000);
    }
    endpoints.worked(attempt.endpoint);
    this.options.onStatus({ state: 'online', endpoint: attempt.endpoint, region: frame.region });
    this.options.onWelcome(frame);
  }

  private goaway(attempt: Attempt, frame: GoawayFrame): void {
    this.options.endpoints.replace(frame.endpoints);
    this.options.endpoints.failed(attempt.endpoint.url);
    if (attempt === this.current) this.move(frame.within_ms ?? 0);
  }

  /** lost ends an attempt: `why` is a close code, or "silent" for one that says nothing. */
  private lost(attempt: Attempt, why: number | 'silent'): void {
    if (!this.owns(attempt)) return;
    const { clock, endpoints } = this.options;
    const lived_ms = attempt.liveSince === undefined ? 0 : clock.now() - attempt.liveSince;
    const wasLive = attempt.stage === 'live';
    this.drop(attempt, 4009);
    const elsewhere = this.judge(attempt, why, wasLive);
    if (elsewhere) endpoints.failed(attempt.endpoint.url);
    if (why === 'silent' || why === closeCode.abnormal) endpoints.unreached(attempt.endpoint.region);
    if (attempt === this.successor) {
      this.successor = undefined;
      return; // the old socket still serves; the next goaway or its close decides
    }
    this.current = undefined;
    if (this.successor?.stage === 'opening' || this.successor?.stage === 'greeting') {
      this.current = this.successor;
      this.successor = undefined;
      this.reportDown(wasLive);
      return;
    }
    this.reportDown(wasLive);
    if (lived_ms >= limits.stable_ms) this.failures = 0;
    this.retry(wasLive);
  }

  private reportDown(wasLive: boolean): void {
    if (wasLive) this.downSince = this.options.clock.now();
    this.options.onStatus({ state: this.current ? 'connecting' : 'waiting', since: this.downSince });
  }

  /** judge acts on a close code and tells whether another endpoint should be tried first. */
  private judge(attempt: Attempt, why: number | 'silent', wasLive: boolean): boolean {
    const { endpoints, onUnauthorized, onLost } = this.options;
    this.floor_ms = attempt.lastError?.retry_after_ms ?? 0;
    switch (why) {
      case closeCode.unauthorized:
        onUnauthorized();
        return false;
      case closeCode.wrongRegion:
        endpoints.replace(attempt.lastError?.endpoints);
        onLost();
        return true;
      case closeCode.rateLimited:
        return false;
      case 'silent':
        return true;
      default:
        // A live link that broke may have lost its node only, and the region has others; one that never came up has not.
        return !wasLive;
    }
  }

  private retry(wasLive: boolean): void {
    const { clock, endpoints } = this.options;
    const exhausted = endpoints.exhausted();
    if (exhausted) this.options.onLost();
    // Walking the list costs little and ends a failover quickly; starting over again and again does not.
    const quick = (wasLive || !exhausted) && this.failures < endpoints.all().length + 1;
    const wait = quick ? clock.random() * limits.spread_ms : fullJitter(clock, this.failures);
    this.failures++;
    this.wait(Math.max(this.floor_ms, wait));
  }

  private wait(ms: number): void {
    if (!this.started) return;
    this.cancelWait?.();
    this.cancelWait = this.options.clock.after(ms, () => this.connect());
  }

  private owns(attempt: Attempt): boolean {
    return this.started && (attempt === this.current || attempt === this.successor);
  }

  private drop(attempt: Attempt, code: number): void {
    attempt.cancelTimer();
    attempt.heartbeat?.stop();
    attempt.socket.onopen = attempt.socket.onmessage = attempt.socket.onclose = null;
    try {
      attempt.socket.close(code === 1000 ? 1000 : undefined);
    } catch {
      // It was never open: nothing to close.
    }
  }
}
