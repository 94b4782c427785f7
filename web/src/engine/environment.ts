// What the engine needs of the world around it. The browser's is below; tests bring their own.

import { IndexedStorage } from '../store/indexeddb';
import { MemoryStorage } from '../store/memory';
import type { Storage } from '../store/storage';
import { browserClock } from './clock';
import type { Clock } from './clock';
import type { SocketLike } from './link';

export interface Environment {
  clock: Clock;
  /** The origin of the page. */
  origin: string;
  /** Whether the person can see the page. */
  visible: () => boolean;
  /** Calls fn when the page becomes visible or hidden ("seen"), and when the network comes back ("network"). */
  onChange: (fn: (what: 'seen' | 'network') => void) => void;
  openSocket?: (url: string) => SocketLike;
  openStorage: (user_id: string) => Promise<Storage>;
  /** A short name of this device for the list of sessions. */
  device: string;
}

export const browserEnvironment = (): Environment => ({
  clock: browserClock,
  origin: location.origin,
  visible: () => document.visibilityState === 'visible',
  onChange: (fn) => {
    document.addEventListener('visibilitychange', () => fn('seen'));
    window.addEventListener('online', () => fn('network'));
  },
  openStorage: async (user_id) => {
    try {
      return await IndexedStorage.open(user_id);
    } catch {
      return new MemoryStorage(); // some private windows refuse; the chat works until it closes
    }
  },
  device: deviceName(navigator.userAgent),
});

/** deviceName tells browser and system, for a person to recognise; nothing that identifies the machine. */
export function deviceName(userAgent: string): string {
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(userAgent)?.[1] ?? 'Browser';
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(userAgent)?.[1] ?? 'unknown system';
  return `${browser.replace('Edg', 'Edge').replace('OPR', 'Opera')} on ${system.replace('Mac OS X', 'macOS')}`;
}
