import { expect, test } from 'vitest';
import { signInEndpoints } from '../engine/routing';
import { namePrefix, normaliseUsername } from './usernames';

// The golden values are those of the server's own implementation.
test.each([
  ['Paypa1', 'paypal'], ['Straße', 'strasse'], ['ΟΔΟΣ', 'oδoo'], ['İstanbul', 'l\u0307stanbul'], ['user_٣', 'user_3'],
  ['Zoë.Müller', 'zoë.müller'], ['ＡＢＣ', 'abc'], ['paris_user', 'parls_user'], ['देवनागरी', 'देवनागरी'], ['ﬁsh', 'flsh'],
  ['ΑΓΟΡΑ', 'ayopa'], ['I-l-1', 'l-l-l'],
])('%s is %s', (username, key) => {
  expect(normaliseUsername(username)).toBe(key);
});

test('the prefix is four digits, the same for names that are one', async () => {
  expect(await namePrefix('abc')).toBe('ba78'); // SHA-256 of "abc" begins so (FIPS 180-4)
  expect(await namePrefix('Paypa1')).toBe(await namePrefix('paypal'));
});

test('a password goes to a region that serves every zone of the names asked about', () => {
  const [us, eu, ap] = ['us', 'eu', 'ap'].map((region) => ({ region, url: `https://${region}.example.org` })) as [
    { region: string; url: string }, { region: string; url: string }, { region: string; url: string },
  ];
  const route = { region: 'eu', endpoints: [eu, us, ap], reasons: [] };
  expect(signInEndpoints(route)).toEqual([eu, us, ap]);
  const world = { ...route, zones: [{ ...route, endpoints: [eu, us, ap] }] };
  expect(signInEndpoints(world)).toEqual([eu, us, ap]);
  const both = { ...route, zones: [...world.zones, { ...route, endpoints: [ap] }] };
  expect(signInEndpoints(both)).toEqual([ap]);
  const apart = { ...route, zones: [{ ...route, endpoints: [eu] }, { ...route, endpoints: [ap] }] };
  expect(signInEndpoints(apart)).toEqual([eu, ap]);
});
