// One message as this client keeps it.

import { orderKey } from '../protocol/ids';
import type { Message } from '../protocol/types';

/** Turn is the newest known word of one person about one emoji. */
export interface Turn {
  at: string;
  on: boolean;
}

/** Row is a message with the text that sorts it, and what this client knows beside it. */
export interface Row extends Message {
  key: string;
  /** "user emoji" → the newest event about it, so that a late older one changes nothing. */
  turns?: Readonly<Record<string, Turn>>;
}

export function toRow(message: Message | Row): Row {
  return 'key' in message ? message : { ...message, key: orderKey(message.id) };
}

/** sendOf names the send that a message came from. Only with its sender is a client_id anybody's own. */
export function sendOf(message: Pick<Message, 'sender' | 'client_id'>): string {
  return `${message.sender.id}/${message.client_id}`;
}
