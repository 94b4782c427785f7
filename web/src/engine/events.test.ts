import { beforeEach, describe, expect, test } from 'vitest';
import type { DirectRow, Message } from '../protocol/types';
import type { Effect } from './effects';
import { applyAck, applyEvent, contactEffect } from './events';
import { applyList } from './lists';
import { initialState } from './state';
import type { ChatState } from './state';

const me = { user_id: 'me', username: 'me', home_zone: 'world' };
const id = (n: number) => `${n.toString(16).padStart(8, '0')}-0000-1000-8000-000000000000`;

function message(n: number, more: Partial<Message> = {}): Message {
  return {
    id: id(n), conversation_id: 'conv', sender: { id: 'peer', username: 'peer' }, client_id: `c${n}`, body: { text: `text ${n}` },
    sent_at: `2026-05-04T10:20:${String(n).padStart(2, '0')}.000Z`, ...more,
  };
}

const mine = (n: number, more: Partial<Message> = {}) => message(n, { sender: { id: 'me', username: 'me' }, ...more });
const conversation: DirectRow = { id: 'conv', kind: 'direct', peer: { id: 'peer', username: 'peer' }, state: 'accepted', unread: 0 };

let state: ChatState;
let last: Effect;

beforeEach(() => {
  state = { ...initialState, phase: 'ready', me, conversations: { conv: conversation } };
});

const act = (effect: Effect) => {
  last = effect;
  state = { ...state, ...effect.state };
};
const event = (frame: Parameters<typeof applyEvent>[1]) => act(applyEvent(state, frame));
const conv = () => state.conversations['conv']!;
const texts = () => state.timelines['conv']?.rows.map(({ body }) => body.text);

describe('messages', () => {
  test('reach list, count and disk together with the cursor', () => {
    event({ t: 'message', cursor: '7', message: message(1) });
    expect(conv()).toMatchObject({ unread: 1, last_message: { id: id(1) } });
    expect(last.batch).toMatchObject({ cursor: '7', rows: [{ id: id(1) }], conversations: [{ unread: 1 }] });
  });

  test('that come twice count once', () => {
    event({ t: 'message', cursor: '7', message: message(1) });
    event({ t: 'message', cursor: '8', message: message(1) });
    expect(conv().unread).toBe(1);
    expect(last.batch.cursor).toBe('8');
  });

  test('that were read elsewhere are not new', () => {
    state.conversations = { conv: { ...conversation, read: id(5) } };
    event({ t: 'message', cursor: '7', message: message(4) });
    expect(conv().unread).toBe(0);
  });

  test('that are late stand in their place and do not become the last one', () => {
    event({ t: 'message', cursor: '7', message: message(5) });
    event({ t: 'message', cursor: '8', message: message(3) });
    expect(texts()).toEqual(['text 3', 'text 5']);
    expect(conv()).toMatchObject({ unread: 2, last_message: { id: id(5) } });
  });

  test('of an unknown conversation are kept, and the list is fetched', () => {
    event({ t: 'message', cursor: '7', message: message(1, { conversation_id: 'other' }) });
    expect(last).toMatchObject({ refetch: true, batch: { cursor: '7', rows: [{ id: id(1) }] } });
  });

  test('of one’s own, from another device, accept a request and are not unread', () => {
    state.conversations = { conv: { ...conversation, state: 'request' } };
    event({ t: 'message', cursor: '7', message: mine(1) });
    expect(conv()).toMatchObject({ state: 'accepted', unread: 0 });
  });
});

describe('own sends', () => {
  const entry = { kind: 'send' as const, client_id: 'c1', seq: 1, conversation_id: 'conv', peer: 'peer', text: 'text 1', written_at: 0, level: 'none' as const };
  const ack = (n: number, level: 'region' | 'zone') =>
    act(applyAck(state, { t: 'ack', client_id: 'c1', message_id: id(n), conversation_id: 'conv', level, sent_at: '2026-05-04T10:20:30.000Z' }));

  beforeEach(() => {
    state = { ...state, outbox: [entry] };
  });

  test('ack and own message in either order make one row', () => {
    ack(4, 'region');
    event({ t: 'message', cursor: '7', message: mine(4, { client_id: 'c1' }) });
    ack(4, 'zone');
    expect(texts()).toEqual(['text 1']);
    expect(state.outbox).toEqual([]);
    expect(last.batch.removedOutbox).toEqual(['c1']);
  });

  test('own message first, then the ack', () => {
    event({ t: 'message', cursor: '7', message: mine(4, { client_id: 'c1', body: { text: 'text 1' } }) });
    ack(4, 'region');
    expect(texts()).toEqual(['text 1']);
    expect(state.outbox[0]).toMatchObject({ level: 'region' });
  });

  test('another region gives another id, and the first one wins in the end: still one row', () => {
    ack(4, 'region'); // that region dies with it
    ack(9, 'region'); // sent again elsewhere
    expect(state.timelines['conv']?.rows.map((row) => row.id)).toEqual([id(9)]);
    ack(9, 'zone');
    event({ t: 'alias', cursor: '8', conversation_id: 'conv', client_id: 'c1', from: id(9), to: id(4) }); // it came back
    expect(state.timelines['conv']?.rows.map((row) => row.id)).toEqual([id(4)]);
    expect(conv().last_message?.id).toBe(id(4));
    expect(last.batch).toMatchObject({ cursor: '8', renamed: [{ from: id(9), to: id(4) }] });
  });

  test('an ack for what this device does not know changes nothing', () => {
    state = { ...state, outbox: [] };
    ack(4, 'zone');
    expect(last).toEqual({ state: {}, batch: {} });
  });
});

describe('receipts', () => {
  const receipt = (user: string, kind: 'delivered' | 'read', n: number) =>
    event({ t: 'receipt', cursor: '9', conversation_id: 'conv', user, kind, message_id: id(n) });

  test('of the other side move forward only; read implies delivered', () => {
    receipt('peer', 'read', 5);
    receipt('peer', 'delivered', 3);
    expect(conv()).toMatchObject({ peer_read: id(5), peer_delivered: id(5) });
  });

  test('of another device of ours clear the count when they cover all', () => {
    event({ t: 'message', cursor: '7', message: message(1) });
    event({ t: 'message', cursor: '8', message: message(2) });
    receipt('me', 'read', 1);
    expect(last.refetch).toBe(true);
    receipt('me', 'read', 2);
    expect(conv()).toMatchObject({ unread: 0, read: id(2) });
  });
});

test('asking a stranger back, or an accepted contact, accepts the conversation', () => {
  for (const contact of ['outgoing', 'accepted'] as const) {
    const request = { ...state, conversations: { conv: { ...conversation, state: 'request' as const } } };
    expect(contactEffect(request, conversation.peer, contact).state.conversations?.['conv']?.state).toBe('accepted');
  }
});

describe('the fetched list', () => {
  test('does not undo what came while it was on its way', () => {
    event({ t: 'message', cursor: '7', message: message(1) });
    event({ t: 'message', cursor: '8', message: message(2) });
    act(applyList(state, [{ ...conversation, unread: 1, last_message: message(1) }]));
    expect(conv()).toMatchObject({ unread: 2, last_message: { id: id(2) } });
  });

  test('does not bring back as unread what was read here meanwhile', () => {
    state.conversations = { conv: { ...conversation, read: id(3), unread: 0 } };
    act(applyList(state, [{ ...conversation, unread: 3, last_message: message(3) }]));
    expect(conv()).toMatchObject({ unread: 0, read: id(3) });
  });
});
