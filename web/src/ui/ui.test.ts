import { describe, expect, test } from 'vitest';
import type { OutboxEntry, SendEntry } from '../engine/outbox';
import { toRow } from '../engine/rows';
import type { Row } from '../engine/rows';
import type { DirectRow } from '../protocol/types';
import { initialsOf } from './Avatar';
import { dayOf, formatWhen } from './format';
import { buildItems } from './items';
import { splitLinks } from './linkify';

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
  buildItems({ rows, outbox, conversation: { ...conversation, ...more }, me, unreadFrom, aliases: {}, names: (user) => user });

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
