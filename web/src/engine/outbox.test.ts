import { describe, expect, test } from 'vitest';
import { acknowledge, expire, failed, framesToSend, outboxLimits, refuse, retry } from './outbox';
import type { OutboxEntry, SendEntry } from './outbox';
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
