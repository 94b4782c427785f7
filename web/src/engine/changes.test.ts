// Changes of messages, as functions: whatever the order, how often, and whether the message is here.

import { beforeEach, describe, expect, test } from 'vitest';
import type { EventFrame, GroupRow, Message } from '../protocol/types';
import { applyChange, combine, hold } from './changes';
import type { Change } from './changes';
import type { Effect } from './effects';
import { applyEvent } from './events';
import { applyList } from './lists';
import { toRow } from './rows';
import { initialState } from './state';
import type { ChatState } from './state';
import { merge, resolve, withAlias } from './timeline';

const id = (n: number) => `${n.toString(16).padStart(8, '0')}-0000-1000-8000-000000000000`;
const at = (second: number) => `2026-05-04T10:20:${String(second).padStart(2, '0')}.000Z`;
const target = { conversation_id: 'conv', message_id: id(1) };
const edit = (text: string, second: number): Change => ({ kind: 'edit', ...target, at: at(second), text });
const remove: Change = { kind: 'delete', ...target, at: at(1) };
const react = (emoji: string, on: boolean, second: number, user = 'bo'): Change => ({ kind: 'react', ...target, at: at(second), user, emoji, on });

function message(n: number, more: Partial<Message> = {}): Message {
  return {
    id: id(n), conversation_id: 'conv', sender: { id: 'ana', username: 'ana' }, client_id: `c${n}`, body: { text: `text ${n}` },
    sent_at: at(n), ...more,
  };
}

/** permutations gives every order of a few things. */
function permutations<T>(list: T[]): T[][] {
  if (list.length < 2) return [list];
  return list.flatMap((one, i) => permutations([...list.slice(0, i), ...list.slice(i + 1)]).map((rest) => [one, ...rest]));
}

const shows = ({ body, deleted, edited_at, reactions }: Message) => ({
  text: body.text, deleted, edited_at, reactions: [...(reactions ?? [])].map(({ emoji, users }) => `${emoji}${[...users].sort().join()}`).sort(),
});

describe('changes of one message', () => {
  test('end alike in every order, and when each comes twice', () => {
    const changes = [edit('first', 2), edit('second', 4), react('x', true, 2), react('x', false, 3), react('y', true, 3), react('y', true, 3, 'cy')];
    for (const order of permutations(changes)) {
      const row = [...order, ...order].reduce(applyChange, toRow(message(1)));
      expect(shows(row)).toEqual({ text: 'second', deleted: undefined, edited_at: at(4), reactions: ['ybo,cy'] });
    }
  });

  test('never bring a deleted message back', () => {
    for (const order of permutations([edit('again', 9), remove, react('x', true, 9)])) {
      const row = order.reduce(applyChange, toRow(message(1)));
      expect(shows(row)).toEqual({ text: '', deleted: true, edited_at: undefined, reactions: [] });
      expect(combine(row, message(1)).deleted).toBe(true);
    }
  });

  test('that tell nothing new leave the row as it is', () => {
    const row = [edit('new', 4), react('x', true, 3)].reduce(applyChange, toRow(message(1)));
    for (const change of [edit('new', 4), edit('old', 3), react('x', true, 3), react('x', false, 2)]) expect(applyChange(row, change)).toBe(row);
  });

  test('wait in slots: the newest of a slot is kept', () => {
    const held = hold([], [edit('new', 4), edit('old', 3), react('x', true, 3), react('x', false, 5), react('x', true, 1, 'cy')]);
    expect(held.map((change) => [change.slot, change.at])).toEqual([['edit', at(4)], ['react bo x', at(5)], ['react cy x', at(1)]]);
  });
});

describe('a page of history', () => {
  test('that a slow region gave does not undo what events told', () => {
    const known = [edit('new', 4), react('x', false, 5), react('y', true, 5)].reduce(applyChange, toRow(message(1)));
    const page = message(1, { edited_at: at(2), body: { text: 'older edit' }, reactions: [{ emoji: 'x', users: ['bo', 'cy'] }] });
    expect(shows(combine(known, page))).toEqual({ text: 'new', deleted: undefined, edited_at: at(4), reactions: ['xcy', 'ybo'] });
  });

  test('that knows more is taken', () => {
    const page = message(1, { edited_at: at(6), body: { text: 'newest' }, reactions: [{ emoji: 'x', users: ['bo'] }] });
    const change = merge(merge({ rows: [], floor: '' }, [message(1)]).timeline, [page]);
    expect(shows(change.timeline.rows[0]!)).toMatchObject({ text: 'newest', reactions: ['xbo'] });
    expect(change.put).toHaveLength(1);
    expect(merge(change.timeline, [page]).put).toEqual([]);
    expect(merge(change.timeline, [{ ...page, deleted: true, body: { text: '' } }]).timeline.rows[0]).toMatchObject({ deleted: true, body: { text: '' } });
  });
});

test('an alias is followed to its end, and the newest word about an id counts', () => {
  let aliases = withAlias({}, 'a', 'b');
  aliases = withAlias(aliases, 'b', 'c');
  expect(['a', 'b', 'c', 'd'].map((one) => resolve(aliases, one))).toEqual(['c', 'c', 'c', 'd']);
  expect(resolve(withAlias(aliases, 'c', 'a'), 'b')).toBe('a');
});

describe('events', () => {
  const group: GroupRow = { id: 'conv', kind: 'group', name: 'trip', member_count: 3, role: 'member', state: 'accepted', unread: 0 };
  let state: ChatState;
  let last: Effect;
  beforeEach(() => {
    state = { ...initialState, phase: 'ready', me: { user_id: 'me', username: 'me', home_zone: 'world' }, conversations: { conv: group } };
  });
  const event = (frame: EventFrame) => {
    last = applyEvent(state, frame);
    state = { ...state, ...last.state };
  };
  const about = (n: number) => ({ cursor: '9', conversation_id: 'conv', message_id: id(n), client_id: 'x', user: 'bo' });
  const come = (n: number, more: Partial<Message> = {}) => event({ t: 'message', cursor: '8', message: message(n, more) });
  const row = () => state.timelines['conv']?.rows[0];
  const conv = () => state.conversations['conv'] as GroupRow;

  test('before their message are kept on the device, and applied when it comes', () => {
    event({ t: 'edit', ...about(1), at: at(5), body: { text: 'edited' } });
    event({ t: 'react', ...about(1), at: at(6), emoji: 'x', on: true });
    expect(last.batch).toMatchObject({ cursor: '9', held: [{ slot: 'react bo x' }] });
    come(1);
    expect(shows(row()!)).toMatchObject({ text: 'edited', reactions: ['xbo'] });
    expect(last.batch.removedHeld).toHaveLength(2);
    expect(last.batch.rows).toMatchObject([{ body: { text: 'edited' } }]);
    expect(conv().last_message?.body.text).toBe('edited');
    expect(state.held['conv']).toEqual([]);
  });

  test('that name an alias mean the message that it stands for, whichever of the three comes first', () => {
    const frames: EventFrame[] = [
      { t: 'message', cursor: '1', message: message(7, { client_id: 'c' }) },
      { t: 'alias', cursor: '2', conversation_id: 'conv', client_id: 'c', from: id(7), to: id(3) },
      { t: 'edit', ...about(7), at: at(5), body: { text: 'by the lost id' } },
      { t: 'react', ...about(3), at: at(5), emoji: 'x', on: true },
    ];
    const before = state;
    for (const order of permutations(frames)) {
      // A message after its alias is told under the id that won.
      const late = order.findIndex(({ t }) => t === 'alias') < order.findIndex(({ t }) => t === 'message');
      state = before;
      for (const frame of order) event(late && frame.t === 'message' ? { ...frame, message: { ...frame.message, id: id(3) } } : frame);
      expect(state.timelines['conv']!.rows.map(({ id: now }) => now)).toEqual([id(3)]);
      expect(shows(row()!)).toMatchObject({ text: 'by the lost id', reactions: ['xbo'] });
    }
  });

  test('change the last message of the list, in memory or not', () => {
    state.conversations = { conv: { ...group, last_message: message(1) } };
    event({ t: 'edit', ...about(1), at: at(5), body: { text: 'edited' } });
    expect(conv().last_message?.body.text).toBe('edited');
    event({ t: 'delete', ...about(1), at: at(6) });
    expect(conv().last_message).toMatchObject({ deleted: true });
    // A list that was on its way does not bring it back.
    const list = applyList(state, [{ ...group, last_message: message(1) }]);
    expect(list.state.conversations!['conv']!.last_message).toMatchObject({ deleted: true });
  });

  test('that a region refused a message are shown on it, once', () => {
    come(1, { sender: { id: 'me', username: 'me' } });
    const failed: EventFrame = { t: 'failed', cursor: '9', conversation_id: 'conv', client_id: 'c1', message_id: id(5), region: 'eu', code: 'denied', message: 'not there' };
    event(failed);
    event(failed);
    expect(row()?.refusals).toEqual([{ region: 'eu', reason: 'not there' }]);
    expect(state.notice).toMatch(/eu .*not there/);
  });

  test('of a group change its name and one’s own part, and ask for the rest', () => {
    const by = { id: 'ana', username: 'ana' };
    const me = { id: 'me', username: 'me' };
    const change = (more: object) => event({ t: 'group', cursor: '9', conversation_id: 'conv', by, at: at(1), ...more } as EventFrame);
    change({ change: 'renamed', name: 'journey' });
    expect(conv().name).toBe('journey');
    expect(last).toMatchObject({ refetch: true, group: 'conv' });
    change({ change: 'role', user: me, role: 'admin' });
    expect(conv().role).toBe('admin');
    change({ change: 'removed', user: me });
    expect(conv().role).toBe('none');
    change({ change: 'left', user: by });
    expect(last.reread).toBeUndefined();
    change({ change: 'joined', user: me, role: 'member' });
    expect(conv().role).toBe('member');
    expect(last.reread).toBe('conv');
  });

  test('about reading are kept for each member, forward only, and survive the list', () => {
    const receipt = (user: string, kind: 'read' | 'delivered', n: number) =>
      event({ t: 'receipt', cursor: '9', conversation_id: 'conv', user, kind, message_id: id(n) });
    receipt('ana', 'read', 5);
    receipt('ana', 'read', 3);
    receipt('bo', 'delivered', 4);
    expect(conv().marks).toEqual({ read: { ana: id(5) }, delivered: { ana: id(5), bo: id(4) } });
    const list = applyList(state, [group]).state.conversations!['conv'] as GroupRow;
    expect(list.marks?.read).toEqual({ ana: id(5) });
    // Who is gone is not waited for.
    event({ t: 'group', cursor: '9', conversation_id: 'conv', change: 'left', user: { id: 'ana', username: 'ana' }, by: { id: 'ana', username: 'ana' }, at: at(9) });
    expect(conv().marks).toEqual({ read: {}, delivered: { bo: id(4) } });
  });
});
