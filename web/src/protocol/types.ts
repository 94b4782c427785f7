// The words of docs/protocol.md as types. Fields that this client does not use are left out: it ignores them.

import type { Step } from '../engine/steps';

export interface UserRef {
  id: string;
  username: string;
}

export interface Message {
  id: string;
  conversation_id: string;
  sender: UserRef;
  client_id: string;
  body: { text: string };
  sent_at: string;
  reply_to?: string;
  edited_at?: string;
  /** It keeps its place, with an empty text. */
  deleted?: boolean;
  reactions?: readonly Reaction[];
  /** Regions that refused it for good, after another one had acknowledged it. Told to its sender. */
  refusals?: readonly Refusal[];
}

export interface Refusal {
  region: string;
  reason: string;
}

export interface Reaction {
  emoji: string;
  /** User ids. */
  users: readonly string[];
}

export interface Endpoint {
  region: string;
  /** Base URL of the region, without a slash at the end. */
  url: string;
  rtt_ms?: number;
}

export type AckLevel = 'region' | 'zone';
export type ReceiptKind = 'delivered' | 'read';
export type PresenceState = 'online' | 'offline';
export type ConversationState = 'request' | 'accepted' | 'blocked';
export type ContactState = 'outgoing' | 'incoming' | 'accepted';
/** What somebody is in a group; "none": has left, or was removed. */
export type Role = 'owner' | 'admin' | 'member' | 'none';

// REST bodies.

export interface Tokens {
  user_id: string;
  username: string;
  display_name?: string;
  home_zone: string;
  token: string;
  refresh_token: string;
  expires_at: string;
}

export interface Me {
  user_id: string;
  username: string;
  display_name?: string;
  home_zone: string;
  /** Whether a person or a rule pinned the user to the home zone. */
  pinned?: boolean;
}

export interface UserInfo {
  user_id: string;
  username: string;
  state?: PresenceState;
  last_seen?: string;
}

export interface Contact {
  user: UserRef;
  state: ContactState;
  since?: string;
}

export interface Block {
  user: UserRef;
  since?: string;
}

interface AnyConversation {
  id: string;
  state: ConversationState;
  last_message?: Message;
  unread: number;
  read?: string;
  updated_at?: string;
}

export interface DirectRow extends AnyConversation {
  kind: 'direct';
  peer: UserRef;
  peer_read?: string;
  peer_delivered?: string;
}

export interface GroupRow extends AnyConversation {
  kind: 'group';
  name: string;
  member_count: number;
  role: Role;
  /** User id → message id: how far the others are. Not in the server's list; this client keeps it from receipts. */
  marks?: { read: Readonly<Record<string, string>>; delivered: Readonly<Record<string, string>> };
  /** What happened to the group, oldest first. This client keeps it from events, too. */
  steps?: readonly Step[];
}

export type ConversationRow = DirectRow | GroupRow;

export interface Member {
  user: UserRef;
  role: Role;
  since?: string;
}

export interface GroupInfo {
  id: string;
  name: string;
  role: Role;
  member_count: number;
  members: Member[];
  next?: string;
}

export interface Route {
  region: string;
  endpoints: Endpoint[];
  reasons: string[];
  expires?: string;
  signature?: string;
  /** For a question about a name: a route for each zone in which such names live. */
  zones?: Route[];
}

export interface ErrorBody {
  code: string;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
  endpoints?: Endpoint[];
}

// Frames to the server.

export interface HelloFrame {
  t: 'hello';
  token: string;
  device: string;
  resume?: string;
  as?: string;
  /** Regions that could not be reached before. */
  failed?: string[];
}

export interface SendFrame {
  t: 'send';
  client_id: string;
  after?: string;
  to: { user: string } | { conversation: string };
  body: { text: string };
  reply_to?: string;
  /** The newest message of the conversation that was known: the new one will stand after it. */
  seen?: string;
}

/** The three changes of a message. Each has a client_id of its own and is acknowledged like a send. */
export interface EditFrame {
  t: 'edit';
  client_id: string;
  conversation_id: string;
  message_id: string;
  body: { text: string };
}

export interface DeleteFrame {
  t: 'delete';
  client_id: string;
  conversation_id: string;
  message_id: string;
}

export interface ReactFrame {
  t: 'react';
  client_id: string;
  conversation_id: string;
  message_id: string;
  emoji: string;
  on: boolean;
}

/** What goes through the outbox: it is sent again, with the same client_id, until it is safe. */
export type StoredFrame = SendFrame | EditFrame | DeleteFrame | ReactFrame;

export interface ReadFrame {
  t: 'read';
  conversation_id: string;
  message_id: string;
}

export interface TypingFrame {
  t: 'typing';
  conversation_id: string;
  user?: string | UserRef;
}

export interface PingFrame {
  t: 'ping' | 'pong';
  /** In a pong from the server: how far this client has read, so that an idle one keeps up with the log. */
  cursor?: string;
}

export type ClientFrame = HelloFrame | StoredFrame | ReadFrame | TypingFrame | PingFrame;

// Frames from the server.

export interface WelcomeFrame {
  t: 'welcome';
  session: string;
  user: UserRef;
  region: string;
  home_zone: string;
  max_level: AckLevel;
  cursor: string;
  reset?: boolean;
  endpoints?: Endpoint[];
  limits?: { text_bytes?: number; client_outbox_ms?: number };
  heartbeat_ms?: number;
}

export interface AckFrame {
  t: 'ack';
  client_id: string;
  message_id: string;
  conversation_id: string;
  level: AckLevel;
  sent_at: string;
}

export interface AliasFrame {
  t: 'alias';
  cursor: string;
  conversation_id: string;
  client_id: string;
  from: string;
  to: string;
}

export interface MessageFrame {
  t: 'message';
  cursor: string;
  message: Message;
}

export interface ReceiptFrame {
  t: 'receipt';
  cursor: string;
  conversation_id: string;
  user: string;
  kind: ReceiptKind;
  message_id: string;
}

/** A message became another one, for everybody. */
interface Changed {
  cursor: string;
  conversation_id: string;
  message_id: string;
  client_id: string;
  /** A user id. */
  user: string;
  at: string;
}

export interface EditedFrame extends Changed {
  t: 'edit';
  body: { text: string };
}

export interface DeletedFrame extends Changed {
  t: 'delete';
}

export interface ReactedFrame extends Changed {
  t: 'react';
  emoji: string;
  on: boolean;
}

/** A region refused for good what was acknowledged: it is not shown there. */
export interface FailedFrame {
  t: 'failed';
  cursor: string;
  conversation_id: string;
  client_id?: string;
  message_id: string;
  region: string;
  code: string;
  message: string;
}

export interface GroupFrame {
  t: 'group';
  cursor: string;
  conversation_id: string;
  change: 'created' | 'renamed' | 'joined' | 'left' | 'removed' | 'role';
  user?: UserRef;
  by: UserRef;
  name?: string;
  role?: Role;
  at: string;
}

export interface PresenceFrame {
  t: 'presence';
  user: string | UserRef;
  state: PresenceState;
  last_seen?: string;
}

export interface ContactFrame {
  t: 'contact';
  cursor: string;
  user: UserRef;
  state: ContactState | 'none';
}

export interface GoawayFrame {
  t: 'goaway';
  reason?: string;
  endpoints?: Endpoint[];
  within_ms?: number;
}

export interface ErrorFrame extends ErrorBody {
  t: 'error';
  /** The client_id or the frame type that failed. */
  re?: string;
}

/** Events change stored things and move the cursor. */
export type EventFrame =
  | AliasFrame
  | MessageFrame
  | EditedFrame
  | DeletedFrame
  | ReactedFrame
  | FailedFrame
  | GroupFrame
  | ReceiptFrame
  | ContactFrame;

export type ServerFrame =
  | WelcomeFrame
  | AckFrame
  | EventFrame
  | TypingFrame
  | PresenceFrame
  | PingFrame
  | GoawayFrame
  | ErrorFrame;

/** Close codes that ask for something else than a plain reconnect. */
export const closeCode = {
  /** What a browser says when nobody said anything. */
  abnormal: 1006,
  unauthorized: 4001,
  rateLimited: 4029,
  wrongRegion: 4307,
} as const;

export const subprotocol = 'meridian.v1.json';

/** parseFrame gives the frame of a text message, or undefined for what is none or not known. */
export function parseFrame(text: unknown): ServerFrame | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const frame: unknown = JSON.parse(text);
    if (typeof frame === 'object' && frame !== null && typeof (frame as { t?: unknown }).t === 'string') {
      return frame as ServerFrame;
    }
  } catch {
    // Not JSON: a defect of the server, or of something between. The next frame may be fine.
  }
  return undefined;
}

/** userIdOf reads a user given as an id or as {id, username}. */
export function userIdOf(user: string | UserRef | undefined): string | undefined {
  return typeof user === 'object' ? user.id : user;
}

/** socketURL gives the socket of a region's base URL. */
export function socketURL(base: string): string {
  return `${trimSlash(base).replace(/^http/, 'ws')}/v1/ws`;
}

export function trimSlash(base: string): string {
  return base.replace(/\/+$/, '');
}
