import { describe, expect, test } from 'vitest';
import { acknowledge, expire, failed, framesToSend, outboxLimits, refuse, retry, superseded } from './outbox';
import type { ChangeEntry, OutboxEntry, SendEntry, Wish } from './outbox';
import type { SendFrame } from '../protocol/types';

function entry(seq: number, more: Partial<SendEntry> = {}): SendEntry {
  return {
    kind: 'send', client_id: `c${seq}`, seq, conversation_id: 'conv', peer: 'peer', text: `text ${seq}`, written_at: 0, level: 'none', ...more,
  };
}

const chain = (outbox: OutboxEntry[], inFlight: string[] = []) =>
  (framesToSend(outbox, new Set(inFlight)) as SendFrame[]).map(({ client_id, after }) => [client_id, after]);

describe('what goes on the wire', () => {
  test('each send names the one before it; the first names none', () => {
    expect(chain([entry(1), entry(2), entry(3)])).toEqual([['c1', undefined], ['c2', 'c1'], ['c3', 'c2']]);
  });

  test('what one region acknowledged is sent again too, and what follows names it', () => {
    expect(chain([entry(1, { level: 'region' }), entry(2)])).toEqual([['c1', undefined], ['c2', 'c1']]);
  });

  test('what is in flight is not repeated, but named', () => {
    expect(chain([entry(1), entry(2)], ['c1'])).toEqual([['c2', 'c1']]);
  });

  test('a failed send leaves the chain', () => {
    expect(chain(refuse([entry(1), entry(2), entry(3)], 'c2', 'blocked', ''))).toEqual([['c1', undefined], ['c3', 'c1']]);
  });

  test('no more than a window goes out at a time', () => {
    const many = Array.from({ length: 100 }, (_, i) => entry(i));
    expect(framesToSend(many, new Set())).toHaveLength(outboxLimits.window);
    expect(framesToSend(many, new Set(['c0', 'c1']))).toHaveLength(outboxLimits.window - 2);
  });
});

function change(seq: number, wish: Wish, more: Partial<ChangeEntry> = {}): ChangeEntry {
  return { kind: 'change', client_id: `c${seq}`, seq, conversation_id: 'conv', message_id: 'm1', wish, written_at: 0, level: 'none', ...more };
}
const like = (on: boolean): Wish => ({ kind: 'react', emoji: 'x', on });

describe('changes on the wire', () => {
  const sent = (outbox: OutboxEntry[], inFlight: string[] = [], idNow?: (id: string) => string) => framesToSend(outbox, new Set(inFlight), idNow);

  test('each becomes its frame, under the id that the message has now, and is no link of the chain of sends', () => {
    const outbox = [
      entry(1), change(2, { kind: 'edit', text: 'new' }), change(3, like(true), { message_id: 'm2' }), change(4, { kind: 'delete' }, { message_id: 'm3' }), entry(5),
    ];
    expect(sent(outbox, [], (id) => `${id}!`)).toMatchObject([
      { t: 'send', client_id: 'c1' },
      { t: 'edit', client_id: 'c2', message_id: 'm1!', body: { text: 'new' } },
      { t: 'react', client_id: 'c3', message_id: 'm2!', emoji: 'x', on: true },
      { t: 'delete', client_id: 'c4', message_id: 'm3!' },
      { t: 'send', client_id: 'c5', after: 'c1' },
    ]);
  });

  test('one of a message waits for the one before it, for what a region takes later wins', () => {
    const outbox = [change(1, like(true)), change(2, like(false))];
    expect(sent(outbox).map(({ client_id }) => client_id)).toEqual(['c1']);
    expect(sent(outbox, ['c1'])).toEqual([]);
    expect(sent([change(1, like(true), { level: 'region' }), outbox[1]!], ['c1']).map(({ client_id }) => client_id)).toEqual(['c2']);
  });

  test('one of an own message waits until that is safe: another region may give it another id', () => {
    const edit = change(2, { kind: 'edit', text: 'new' }, { own: 'c1' });
    expect(sent([entry(1, { level: 'region' }), edit], ['c1'])).toEqual([]);
    expect(sent([edit])).toHaveLength(1);
  });

  test('an answer names its message by the present id; a group is written to by its own', () => {
    const { peer: _, ...group } = entry(1, { reply_to: 'm1' });
    expect(sent([group], [], () => 'm9')[0]).toMatchObject({ to: { conversation: 'conv' }, reply_to: 'm9' });
  });

  test('a newer wish replaces what no region has seen: the same thing, or all where the message goes', () => {
    const outbox = [change(1, like(true)), change(2, { kind: 'edit', text: 'a' }), change(3, { kind: 'edit', text: 'b' }, { message_id: 'm2' })];
    const needless = (wish: Wish, seen: string[] = []) => superseded(outbox, 'm1', wish, new Set(seen)).map(({ client_id }) => client_id);
    expect(needless(like(false))).toEqual(['c1']);
    expect(needless({ kind: 'edit', text: 'c' })).toEqual(['c2']);
    expect(needless({ kind: 'delete' })).toEqual(['c1', 'c2']);
    expect(needless({ kind: 'delete' }, ['c1'])).toEqual(['c2']);
  });

  test('one that is a week old is given up', () => {
    expect(expire([change(1, like(true)), change(2, like(true), { level: 'region' })], outboxLimits.age_ms + 1).map(({ client_id }) => client_id)).toEqual(['c2']);
  });
});

describe('acknowledgements', () => {
  test('a send is forgotten only at the highest level', () => {
    const outbox = [entry(1), entry(2)];
    const atRegion = acknowledge(outbox, 'c1', 'region', 'zone');
    expect(atRegion[0]).toMatchObject({ client_id: 'c1', level: 'region' });
    expect(acknowledge(atRegion, 'c1', 'zone', 'zone').map(({ client_id }) => client_id)).toEqual(['c2']);
  });

  test('in a zone of one region that is the region', () => {
    expect(acknowledge([entry(1)], 'c1', 'region', 'region')).toEqual([]);
  });

  test('an acknowledgement clears a refusal that another region gave', () => {
    expect(acknowledge(refuse([entry(1)], 'c1', 'denied', ''), 'c1', 'region', 'zone')[0]).not.toHaveProperty('failed');
  });
});

describe('failures', () => {
  test('a retry keeps the client_id and goes to the end of the line', () => {
    const outbox = refuse([entry(1), entry(2)], 'c1', 'blocked', 'you blocked them');
    expect(retry(outbox, 'c1', 3, 50)).toEqual([entry(2), entry(1, { seq: 3, written_at: 50 })]);
  });

  test('what is a week old and was never acknowledged waits for the person', () => {
    const now = outboxLimits.age_ms + 1;
    const [old, acked, fresh] = expire([entry(1), entry(2, { level: 'region' }), entry(3, { written_at: 10 })], now);
    expect([old, acked, fresh].map((one) => failed(one!)?.code)).toEqual(['too_old', undefined, undefined]);
  });
});
