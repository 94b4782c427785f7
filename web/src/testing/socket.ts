// Sockets whose other end is the test.

import type { SocketLike } from '../engine/link';
import type { ClientFrame, ServerFrame, WelcomeFrame } from '../protocol/types';
import { settle } from './clock';

export class FakeSocket implements SocketLike {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: ClientFrame[] = [];
  closed = false;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientFrame);
  }

  close(): void {
    this.closed = true;
  }

  /** accept opens the socket and gives the client time to say hello. */
  async accept(): Promise<void> {
    this.onopen?.(undefined as never);
    await settle();
  }

  receive(frame: ServerFrame): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** fail breaks the connection, 1006 being what a browser says when nobody said anything. */
  fail(code = 1006): void {
    this.onclose?.({ code });
  }

  /** of gives the frames of one type that the client sent. */
  of<T extends ClientFrame['t']>(t: T): Extract<ClientFrame, { t: T }>[] {
    return this.sent.filter((frame) => frame.t === t) as Extract<ClientFrame, { t: T }>[];
  }
}

/** Dialer hands out sockets and remembers them. */
export class Dialer {
  sockets: FakeSocket[] = [];

  open = (url: string): FakeSocket => {
    const socket = new FakeSocket(url);
    this.sockets.push(socket);
    return socket;
  };

  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error('no socket was opened');
    return socket;
  }
}

export function welcome(region: string, more: Partial<WelcomeFrame> = {}): WelcomeFrame {
  return {
    t: 'welcome', session: 's', user: { id: 'me', username: 'me' }, region, home_zone: 'world', max_level: 'zone',
    cursor: `${region}:0`, ...more,
  };
}
