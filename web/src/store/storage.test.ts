import { describe, expect, test } from 'vitest';
import { toRow } from '../engine/rows';
import type { Row } from '../engine/rows';
import { MemoryStorage } from './memory';
import { Writer, join } from './storage';

const id = (n: number) => `${n.toString(16).padStart(8, '0')}-0000-1000-8000-000000000000`;

function row(n: number, client_id = `c${n}`): Row {
  return toRow({
    id: id(n), conversation_id: 'conv', sender: { id: 'peer', username: 'peer' }, client_id, body: { text: `text ${n}` },
    sent_at: '2026-05-04T10:20:30.123Z',
  });
}

const entry = (seq: number) => ({
  kind: 'send' as const, client_id: `c${seq}`, seq, conversation_id: 'conv', peer: 'peer', text: '', written_at: 0, level: 'none' as const,
});

describe('joined batches have the effect of one after the other', () => {
  test('the later word about a row, an entry and the cursor counts', () => {
    const joined = join(
      { cursor: '1', rows: [row(1), row(2)], outbox: [entry(1), entry(2)], floors: { a: '1' } },
      { cursor: '2', removedRows: [row(1)], removedOutbox: ['c1'], floors: { b: '2' } },
    );
    expect(joined).toMatchObject({ cursor: '2', removedRows: [{ id: id(1) }], removedOutbox: ['c1'], floors: { a: '1', b: '2' } });
    expect(joined.rows?.map((r) => r.id)).toEqual([id(2)]);
    expect(joined.outbox?.map((e) => e.client_id)).toEqual(['c2']);
  });

  test('a reset forgets what was to be written, but not the outbox', () => {
    const joined = join({ cursor: '1', rows: [row(1)], outbox: [entry(1)] }, { reset: true, cursor: '2' });
    expect(joined.rows).toBeUndefined();
    expect(joined).toMatchObject({ reset: true, cursor: '2', outbox: [{ client_id: 'c1' }] });
  });
});

describe('storage', () => {
  test('a row replaces the one of the same send, and a renamed row moves', async () => {
    const storage = new MemoryStorage();
    await storage.write({ rows: [row(1), row(5, 'same'), row(7, 'same')] });
    await storage.write({ renamed: [{ conversation_id: 'conv', from: id(7), to: id(3) }, { conversation_id: 'conv', from: id(99), to: id(98) }] });
    expect((await storage.rows('conv', undefined, 10)).map((r) => r.id)).toEqual([id(1), id(3)]);
    expect((await storage.rows('conv', row(3).key, 10)).map((r) => r.id)).toEqual([id(1)]);
  });

  test('a reset keeps the outbox', async () => {
    const storage = new MemoryStorage();
    await storage.write({ cursor: '1', rows: [row(1)], outbox: [entry(2), entry(1)], floors: { conv: '' } });
    await storage.write({ reset: true, cursor: '2' });
    expect(await storage.load()).toMatchObject({ cursor: '2', floors: {}, outbox: [{ client_id: 'c1' }, { client_id: 'c2' }] });
    expect(await storage.rows('conv', undefined, 10)).toEqual([]);
  });
});

test('the writer shares a transaction among a burst, and goes on after a failure', async () => {
  const storage = new MemoryStorage();
  const errors: unknown[] = [];
  let writes = 0;
  const write = storage.write.bind(storage);
  storage.write = (batch) => (++writes === 1 ? Promise.reject(new Error('disk full')) : write(batch));
  const writer = new Writer(storage, (error) => errors.push(error));
  await Promise.all([writer.add({ cursor: '1' }), writer.add({ cursor: '2' })]);
  expect([writes, errors.length]).toEqual([1, 1]);
  await writer.add({ cursor: '3' });
  expect((await storage.load()).cursor).toBe('3');
});
