// A device that was last used with version 1 of its storage goes on where it was.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, openChat, openPage, send, signUp, startChat, texts, uniqueName } from './harness.mjs';
import { setup } from './setup.mjs';

const run = setup();

test('what an older client left unsent goes out, and its conversations are there', { skip: run.skip, timeout: 240_000 }, async () => {
  const [name, other] = [uniqueName('old'), uniqueName('new')];
  const a = await openPage(run.browser, run.world);
  const b = await openPage(run.browser, run.world);
  await signUp(a, name);
  await signUp(b, other);
  await startChat(a, other);
  await send(a, 'by the new client');
  await openChat(b, name);
  await eventually(async () => (await texts(b)).length === 1, 'the first arrived');
  // A page of the same origin without the client, so that nothing holds the database.
  await a.goto(`${run.world.web}/icon.svg`);
  await a.evaluate(makeVersion1, 'by the old client');
  await a.goto(run.world.web);
  await openChat(a, other);
  for (const page of [a, b]) await eventually(async () => (await texts(page)).join() === 'by the new client,by the old client', 'both messages');
  const stores = await a.evaluate(async () => {
    const { name: database } = (await indexedDB.databases()).find((one) => one.name.startsWith('meridian-'));
    return new Promise((resolve) => {
      indexedDB.open(database).onsuccess = ({ target }) => resolve([target.result.version, [...target.result.objectStoreNames]]);
    });
  });
  assert.deepEqual(stores, [2, ['aliases', 'conversations', 'floors', 'held', 'meta', 'outbox', 'rows']]);
  assert.deepEqual([...a.faults, ...b.faults], []);
  await Promise.all([a, b].map((page) => page.context().close()));
});

/** makeVersion1 runs in the page: it puts the database back to version 1, with one text in the outbox. */
async function makeVersion1(text) {
  const done = (request) => new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
  const { name } = (await indexedDB.databases()).find((one) => one.name.startsWith('meridian-'));
  const now = await done(indexedDB.open(name));
  const [conversation] = await done(now.transaction('conversations').objectStore('conversations').getAll());
  now.close();
  await done(indexedDB.deleteDatabase(name));
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    const database = opening.result;
    database.createObjectStore('rows', { keyPath: ['conversation_id', 'key'] }).createIndex('send', ['sender.id', 'client_id']);
    database.createObjectStore('conversations', { keyPath: 'id' });
    database.createObjectStore('floors');
    database.createObjectStore('outbox', { keyPath: 'client_id' });
    database.createObjectStore('meta');
  };
  const old = await done(opening);
  const tx = old.transaction(['conversations', 'outbox'], 'readwrite');
  tx.objectStore('conversations').put(conversation);
  tx.objectStore('outbox').put({
    client_id: crypto.randomUUID(), seq: 1, conversation_id: conversation.id, peer: conversation.peer.username, text, written_at: Date.now(), level: 'none',
  });
  await new Promise((resolve) => (tx.oncomplete = resolve));
  old.close();
}
