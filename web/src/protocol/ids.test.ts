import { describe, expect, test } from 'vitest';
import { atOrBefore, compareIds, directConversation, laterId, orderKey, randomUUID } from './ids';

describe('message ids', () => {
  // The golden values are those of the server's own implementation.
  test('the order key is the time, then the signed low bytes', () => {
    expect(orderKey('6ba7b810-9dad-11d1-80b4-00c04fd430c8')).toBe('1d19dad6ba7b810' + '00348040cf54b048');
    expect(orderKey('6BA7B810-9DAD-11D1-8034-00C04FD430C8')).toBe('1d19dad6ba7b810' + '00b48040cf54b048');
  });

  test('low bytes compare as signed: 0xb4 is negative and comes before 0x34', () => {
    expect(compareIds('6ba7b810-9dad-11d1-80b4-00c04fd430c8', '6ba7b810-9dad-11d1-8034-00c04fd430c8')).toBeLessThan(0);
  });

  test('the time decides from its high bits down, which stand last in the text', () => {
    const early = 'ffffffff-0000-1000-8000-000000000000';
    const late = '00000000-0001-1000-8000-000000000000';
    const later = '00000000-0000-1001-8000-000000000000';
    expect([later, late, early].sort(compareIds)).toEqual([early, late, later]);
    expect(compareIds(early, early)).toBe(0);
  });

  test('marks cover what is at or before them', () => {
    const [a, b] = ['00000000-0000-1000-8000-000000000000', '00000001-0000-1000-8000-000000000000'];
    expect(atOrBefore(a, b)).toBe(true);
    expect(atOrBefore(b, b)).toBe(true);
    expect(atOrBefore(b, a)).toBe(false);
    expect(atOrBefore(a, undefined)).toBe(false);
    expect(laterId(a, b)).toBe(b);
    expect(laterId(undefined, a)).toBe(a);
    expect(laterId(undefined, undefined)).toBeUndefined();
  });
});

test('both sides compute the same conversation, as the server does', () => {
  const [a, b] = ['11111111-2222-4333-8444-555555555555', 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'];
  expect(directConversation(a, b)).toBe('d51e387a-c806-5e12-a272-27616a63bdc7');
  expect(directConversation(b, a)).toBe(directConversation(a, b));
});

test('random ids are version 4 and differ', () => {
  expect(randomUUID()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(randomUUID()).not.toBe(randomUUID());
});
