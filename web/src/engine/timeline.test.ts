import { describe, expect, test } from 'vitest';
import type { Message } from '../protocol/types';
import { emptyTimeline, lower, merge, rename, shown, trim } from './timeline';

/** A message whose id grows with n. */
export function message(n: number, more: Partial<Message> = {}): Message {
  const id = `${n.toString(16).padStart(8, '0')}-0000-1000-8000-000000000000`;
  return {
    id, conversation_id: 'conv', sender: { id: 'peer', username: 'peer' }, client_id: `c${n}`, body: { text: `text ${n}` },
    sent_at: '2026-05-04T10:20:30.123Z', ...more,
  };
}

const texts = (rows: readonly Message[]) => rows.map(({ body }) => body.text);

describe('merging', () => {
  test('the order is that of the ids, whatever the order of arrival', () => {
    const { timeline } = merge(merge(emptyTimeline, [message(3), message(1)]).timeline, [message(2)]);
    expect(texts(timeline.rows)).toEqual(['text 1', 'text 2', 'text 3']);
  });

  test('a message that comes again changes nothing', () => {
    const { timeline } = merge(emptyTimeline, [message(1)]);
    const again = merge(timeline, [message(1)]);
    expect(again.timeline).toBe(timeline);
    expect([...again.put, ...again.removed, ...again.added]).toEqual([]);
  });

  test('the same send under another id replaces the first, for the sender only', () => {
    const { timeline } = merge(emptyTimeline, [message(5)]);
    const change = merge(timeline, [message(7, { client_id: 'c5', body: { text: 'again' } })]);
    expect(texts(change.timeline.rows)).toEqual(['again']);
    expect(change.removed.map(({ id }) => id)).toEqual([message(5).id]);
    expect(change.added).toEqual([]);
    const other = merge(timeline, [message(7, { client_id: 'c5', sender: { id: 'x', username: 'x' } })]);
    expect(other.timeline.rows).toHaveLength(2);
  });
});

describe('renaming', () => {
  test('a message moves to the place of the id that won', () => {
    const { timeline } = merge(emptyTimeline, [message(1), message(2), message(3)]);
    const change = rename(timeline, message(3).id, message(0).id);
    expect(texts(change.timeline.rows)).toEqual(['text 3', 'text 1', 'text 2']);
    expect(change.put[0]?.id).toBe(message(0).id);
  });

  test('where the winner is known already, the loser goes', () => {
    const { timeline } = merge(emptyTimeline, [message(1), message(2)]);
    expect(texts(rename(timeline, message(2).id, message(1).id).timeline.rows)).toEqual(['text 1']);
  });

  test('an unknown id changes nothing', () => {
    expect(rename(emptyTimeline, message(1).id, message(2).id).timeline).toBe(emptyTimeline);
  });
});

describe('what is shown', () => {
  const { timeline } = merge(emptyTimeline, [message(1), message(5), message(6)]);

  test('what came live before the first page, and nothing below the floor', () => {
    expect(texts(shown(timeline))).toEqual(['text 1', 'text 5', 'text 6']);
    expect(texts(shown(lower(timeline, message(5).id)))).toEqual(['text 5', 'text 6']);
    expect(texts(shown(lower(timeline, '')))).toEqual(['text 1', 'text 5', 'text 6']);
  });

  test('the floor only sinks', () => {
    const low = lower(timeline, message(2).id);
    expect(lower(low, message(6).id)).toBe(low);
    expect(lower(lower(low, ''), message(2).id).floor).toBe('');
  });

  test('trimming keeps the newest, and knows that there is more below', () => {
    const kept = trim(lower(timeline, ''), 2);
    expect(texts(shown(kept))).toEqual(['text 5', 'text 6']);
    expect(kept.floor).toBe(message(5).id);
  });
});
