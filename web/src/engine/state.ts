// All that the client shows, as one value. The engine replaces parts of it; the UI reads it and never writes.

import { createStore } from 'zustand/vanilla';
import type { StoreApi } from 'zustand/vanilla';
import type { AckLevel, Block, Contact, ConversationRow, Me, Member, PresenceState, Route } from '../protocol/types';
import type { Held } from './changes';
import type { LinkStatus } from './link';
import type { OutboxEntry } from './outbox';
import type { Aliases, Timeline } from './timeline';

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
  /** Conversation → changes whose messages are not in memory. */
  held: Readonly<Record<string, readonly Held[]>>;
  aliases: Aliases;
  /** Group → its members, as last read from the server. */
  groups: Readonly<Record<string, readonly Member[]>>;
  outbox: readonly OutboxEntry[];
  contacts: readonly Contact[];
  blocks: readonly Block[];
  /** Conversation → user id → until when the user is shown as typing, in milliseconds since 1970. */
  typing: Readonly<Record<string, Readonly<Record<string, number>>>>;
  presence: Readonly<Record<string, Presence>>;
  /** The conversation on the screen. */
  open: string | undefined;
  /** Whether the open conversation has what it opens with: the pages down to the first message not yet read. */
  opened: boolean;
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
  held: {},
  aliases: {},
  groups: {},
  outbox: [],
  contacts: [],
  blocks: [],
  typing: {},
  presence: {},
  open: undefined,
  opened: false,
  notice: undefined,
};

export function createChatStore(): ChatStore {
  return createStore<ChatState>(() => initialState);
}
