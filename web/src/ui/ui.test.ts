import { describe, expect, test } from 'vitest';
import type { ChangeEntry, OutboxEntry, SendEntry, Wish } from '../engine/outbox';
import { toRow } from '../engine/rows';
import type { Row } from '../engine/rows';
import type { Step } from '../engine/steps';
import type { DirectRow, GroupRow } from '../protocol/types';
import { initialsOf } from './Avatar';
import { dayOf, formatWhen } from './format';
import { buildItems } from './items';
import { splitLinks } from './linkify';
import { formatNames } from './names';

const me = { user_id: 'me', username: 'me' };
const conversation: DirectRow = { id: 'conv', kind: 'direct', peer: { id: 'peer', username: 'peer' }, state: 'accepted', unread: 0 };
const id = (n: number) => `${n.toString(16).padStart(8, '0')}-0000-1000-8000-000000000000`;
const noon = new Date(2026, 4, 4, 12).getTime();

function row(n: number, from: string, minutes: number): Row {
  return toRow({
    id: id(n), conversation_id: 'conv', sender: { id: from, username: from }, client_id: `c${n}`, body: { text: `text ${n}` },
    sent_at: new Date(noon + minutes * 60_000).toISOString(),
  });
}

const entry = (n: number, more: Partial<SendEntry> = {}): SendEntry => ({
  kind: 'send', client_id: `c${n}`, seq: n, conversation_id: 'conv', peer: 'peer', text: `text ${n}`, written_at: noon, level: 'none', ...more,
});

const build = (rows: Row[], outbox: OutboxEntry[] = [], more: Partial<DirectRow> = {}, unreadFrom?: string) =>
  buildItems({ rows, outbox, conversation: { ...conversation, ...more }, me, unreadFrom, aliases: {}, names: (user) => user, complete: true });

describe('items', () => {
  test('an own message goes from pending to read, under one key', () => {
    const stages = [
      build([], [entry(1)]),
      build([row(1, 'me', 0)], [entry(1, { level: 'region' })]),
      build([row(1, 'me', 0)]),
      build([row(1, 'me', 0)], [], { peer_delivered: id(1) }),
      build([row(1, 'me', 0)], [], { peer_delivered: id(1), peer_read: id(1) }),
      build([], [entry(1, { failed: { code: 'blocked', message: 'no' } })]),
    ];
    expect(stages.map(([item]) => item?.state)).toEqual(['pending', 'sent', 'safe', 'delivered', 'read', 'failed']);
    expect(new Set(stages.map(([item]) => item?.key)).size).toBe(1);
    expect(stages.every((items) => items.length === 1)).toBe(true);
  });

  test('what waits stands below what is stored, in its own conversation only', () => {
    const items = build([row(1, 'peer', 0)], [entry(2), entry(3, { conversation_id: 'other' })]);
    expect(items.map(({ text, state }) => [text, state])).toEqual([['text 1', 'received'], ['text 2', 'pending']]);
  });

  test('one author’s messages within five minutes stand together; a day and the line of the unread part them', () => {
    const items = build([row(1, 'peer', 0), row(2, 'peer', 1), row(3, 'peer', 9), row(4, 'me', 10), row(5, 'me', 24 * 60), row(6, 'me', 24 * 60 + 1)], [], {}, id(6));
    expect(items.map(({ first, last }) => [first, last])).toEqual([
      [true, false], [false, true], [true, true], [true, true], [true, true], [true, true],
    ]);
    expect(items.map(({ day }) => day !== undefined)).toEqual([true, false, false, false, true, false]);
    expect(items[5]?.unread).toBe(true);
  });
});

describe('items of a group', () => {
  const group: GroupRow = { id: 'conv', kind: 'group', name: 'trip', member_count: 3, role: 'member', state: 'accepted', unread: 0 };
  const change = (n: number, wish: Wish, message_id = id(1)): ChangeEntry => ({
    kind: 'change', client_id: `x${n}`, seq: n, conversation_id: 'conv', message_id, wish, written_at: noon, level: 'none',
  });
  const make = (rows: Row[], outbox: OutboxEntry[] = [], more: Partial<GroupRow> = {}, aliases = {}) =>
    buildItems({ rows, outbox, conversation: { ...group, ...more }, me, unreadFrom: undefined, aliases, names: (user) => user, complete: true });

  test('show a change before any region took it, under whatever id it names', () => {
    const rows = [row(1, 'me', 0)];
    const [edited] = make(rows, [change(1, { kind: 'edit', text: 'new' }), change(2, { kind: 'react', emoji: 'x', on: true })]);
    expect(edited).toMatchObject({ text: 'new', edited: true, reactions: [{ emoji: 'x', mine: true, names: ['me'] }] });
    expect(make(rows, [change(1, { kind: 'delete' }, id(9))], {}, { [id(9)]: id(1) })[0]).toMatchObject({ deleted: true, text: '', may: { answer: false } });
    expect(make(rows)[0]).toMatchObject({ text: 'text 1', edited: false, reactions: [] });
  });

  test('say what may be done: one’s own is edited and deleted, others’ deleted by owner and admins, nothing by who left', () => {
    const may = (more: Partial<GroupRow>) => make([row(1, 'ana', 0), row(2, 'me', 1)], [], more).map((item) => Object.values(item.may).map(Number).join(''));
    expect(may({})).toEqual(['100', '111']);
    expect(may({ role: 'admin' })).toEqual(['101', '111']);
    expect(may({ role: 'none' })).toEqual(['000', '000']);
  });

  test('put each reader under the last message that they read, and ticks on what all read', () => {
    const marks = { read: { ana: id(2), bo: id(3), me: id(3) }, delivered: {} };
    const items = make([row(1, 'me', 0), row(2, 'me', 1), row(3, 'bo', 2)], [], { marks });
    expect(items.map(({ seenBy }) => seenBy)).toEqual([[], ['ana'], []]); // bo wrote the last one
    expect(items.map(({ state }) => state)).toEqual(['read', 'read', 'received']);
  });

  test('quote what an answer is to, also under an older id, and know when it is not loaded', () => {
    const answer = (reply_to: string) => toRow({ ...row(5, 'ana', 5), reply_to });
    const quote = (reply_to: string, aliases = {}) => make([row(1, 'bo', 0), answer(reply_to)], [], {}, aliases)[1]?.reply;
    expect(quote(id(1))).toEqual({ id: id(1), author: 'bo', text: 'text 1' });
    expect(quote(id(8), { [id(8)]: id(1) })).toMatchObject({ id: id(1), text: 'text 1' });
    expect(quote(id(9))).toEqual({ id: id(9) });
  });

  test('tell between the messages what happened to the group, and of what lies before the loaded ones nothing', () => {
    const user = (name: string) => ({ id: name, username: name });
    const at = (minutes: number) => new Date(noon + minutes * 60_000).toISOString();
    const steps: Step[] = [
      { change: 'joined', at: at(-1), user: user('me') }, { change: 'joined', at: at(-1), user: user('ana') },
      { change: 'left', at: at(1), user: user('ana') },
      { change: 'removed', at: at(3), user: user('cy'), by: user('me') }, { change: 'removed', at: at(3), user: user('me'), by: user('bo') },
      { change: 'renamed', at: at(4), by: user('bo'), name: 'tour' },
    ];
    const told = (complete: boolean) =>
      buildItems({ rows: [row(1, 'bo', 0), row(2, 'bo', 2)], outbox: [entry(5)], conversation: { ...group, steps }, me, unreadFrom: undefined, aliases: {}, names: (id) => id, complete })
        .map(({ text, note }) => (note ? `(${text})` : text));
    const rest = ['text 1', '(ana left)', 'text 2', '(cy was removed by you)', '(You were removed by bo)', '(bo renamed the group to “tour”)', 'text 5'];
    expect(told(true)).toEqual(['(You and ana joined)', ...rest]);
    expect(told(false)).toEqual(rest);
  });

  test('order reactions alike for everybody', () => {
    const reactions = ['b', 'c', 'a'].map((emoji) => ({ emoji, users: ['ana'] }));
    expect(make([toRow({ ...row(1, 'ana', 0), reactions })])[0]?.reactions.map(({ emoji }) => emoji)).toEqual(['a', 'b', 'c']);
  });
});

test('names are listed, and counted where they are too many', () => {
  expect(formatNames(['ana', 'bo'])).toMatch(/ana.*bo/);
  expect(formatNames(['a1', 'b1', 'c1', 'd1', 'e1', 'f1'])).toMatch(/a1.*b1.*c1.*3 more/);
});

describe('links', () => {
  test('http, https and mailto only, without the punctuation that ends the sentence', () => {
    expect(splitLinks('see https://example.org/a?b=c. Or (http://example.org/x), mailto:a@example.org!')).toEqual([
      { text: 'see ' }, { text: 'https://example.org/a?b=c', href: 'https://example.org/a?b=c' },
      { text: '. Or (' }, { text: 'http://example.org/x', href: 'http://example.org/x' },
      { text: '), ' }, { text: 'mailto:a@example.org', href: 'mailto:a@example.org' }, { text: '!' },
    ]);
  });

  test.each(['javascript:alert(1)', 'data:text/html,x', '<b>bold</b>', 'https://', 'ftp://example.org'])('%s stays text', (text) => {
    expect(splitLinks(text)).toEqual([{ text }]);
  });
});

test('initials come from the first two words', () => {
  expect(['paris_user', 'new-york.user', 'x', '', '東京 user'].map(initialsOf)).toEqual(['PU', 'NY', 'X', '?', '東U']);
});

test('days are local days', () => {
  expect(dayOf(new Date(2026, 2, 29, 0, 1).getTime()) - dayOf(new Date(2026, 2, 28, 23, 59).getTime())).toBe(1);
  expect(formatWhen(noon, noon)).toMatch(/\d/);
});
