// All that the client shows, as one value. The engine replaces parts of it; the UI reads it and never writes.

import { createStore } from 'zustand/vanilla';
import type { StoreApi } from 'zustand/vanilla';
import type { AckLevel, Block, Contact, ConversationRow, Me, PresenceState, Route } from '../protocol/types';
import type { LinkStatus } from './link';
import type { OutboxEntry } from './outbox';
import type { Timeline } from './timeline';

export interface Presence {
  state: PresenceState;
  last_seen?: string;
}

export interface ChatState {
  phase: 'starting' | 'signed-out' | 'ready';
  me: Me | undefined;
  link: LinkStatus;
  /** The last measured round trip to the region, in milliseconds. */
  rtt_ms: number | undefined;
  /** The highest acknowledgement level of the home zone. */
  max_level: AckLevel;
  /** How long a text may be. */
  text_bytes: number;
  route: Route | undefined;
  /** Whether the server lets us say where in the world we are. */
  simulate: boolean;
  city: string | undefined;
  conversations: Readonly<Record<string, ConversationRow>>;
  /** False until the conversations are known, from this device or from the server. */
  listed: boolean;
  timelines: Readonly<Record<string, Timeline>>;
  outbox: readonly OutboxEntry[];
  contacts: readonly Contact[];
  blocks: readonly Block[];
  /** Conversation → until when its peer is shown as typing, in milliseconds since 1970. */
  typing: Readonly<Record<string, number>>;
  presence: Readonly<Record<string, Presence>>;
  /** The conversation on the screen. */
  open: string | undefined;
  /** One line that the person should read, such as why something was refused. */
  notice: string | undefined;
}

export type ChatStore = StoreApi<ChatState>;

export const initialState: ChatState = {
  phase: 'starting',
  me: undefined,
  link: { state: 'idle' },
  rtt_ms: undefined,
  max_level: 'zone',
  text_bytes: 8 * 1024,
  route: undefined,
  simulate: false,
  city: undefined,
  conversations: {},
  listed: false,
  timelines: {},
  outbox: [],
  contacts: [],
  blocks: [],
  typing: {},
  presence: {},
  open: undefined,
  notice: undefined,
};

export function createChatStore(): ChatStore {
  return createStore<ChatState>(() => initialState);
}
