// Groups and changes of messages, as five people see them: two in browsers, three through the protocol.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { allRows, axe, eventually, lines, openChat, openPage, sees, send, servedBy, signUp, startChat, texts, uniqueName } from './harness.mjs';
import { contentOf, Person } from './person.mjs';
import { setup } from './setup.mjs';

const run = setup();
after(() => Person.closeAll());
const options = { skip: run.skip, timeout: 240_000 };
const [paris, newYork, mumbai] = ['212.27.40.240', '128.59.1.3', '203.94.227.70'];

async function browser(stem, settings) {
  const name = uniqueName(stem);
  const page = await openPage(run.browser, run.world, settings);
  await signUp(page, name);
  return { name, page };
}

/** makeGroup makes one in the page, by the dialog. */
async function makeGroup(page, name, members) {
  await page.getByTestId('new-group-open').click();
  await page.getByTestId('group-name').fill(name);
  for (const member of members) {
    await page.getByTestId('group-member-input').fill(member);
    await page.getByTestId('group-member-input').press('Enter');
  }
  await eventually(async () => (await page.getByTestId('group-chosen').count()) === members.length, 'all are chosen');
  await page.getByTestId('group-create').click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
}

const row = (page, text) => page.getByTestId('message').filter({ has: page.getByTestId('message-text').filter({ hasText: text }) }).last();

/** menu opens the menu of a message, as a mouse does. */
async function menu(page, text) {
  await row(page, text).hover();
  await row(page, text).getByTestId('message-more').click();
  await page.getByTestId('message-menu').waitFor();
}

async function react(page, text, emoji) {
  await menu(page, text);
  await page.locator(`[data-testid=menu-emoji][data-emoji="${emoji}"]`).click();
}

async function edit(page, text, next) {
  await menu(page, text);
  await page.getByTestId('menu-edit').click();
  await page.locator('[data-testid=composer-about][data-kind=edit]').waitFor();
  await send(page, next);
}

const reaction = (page, text, emoji) => row(page, text).locator(`[data-testid=reaction][data-emoji="${emoji}"]`);
const counts = (page, text, emoji, count) =>
  eventually(async () => (await reaction(page, text, emoji).getAttribute('data-count').catch(() => null)) === String(count), `${emoji} ${count} on ${text}`);
const members = (page, count) => page.locator(`[data-testid=member-count][data-count="${count}"]`).waitFor();

test('five people in three regions write, change and leave while a region dies, and end alike', { ...options, timeout: 300_000 }, async (t) => {
  const [a, b] = [await browser('ana', { city: 'paris' }), await browser('bo', { city: 'new-york' })];
  await servedBy(a.page, 'eu-west');
  const [c, d, e] = await Promise.all([
    Person.join(run.world, uniqueName('cy'), paris), Person.join(run.world, uniqueName('di'), mumbai), Person.join(run.world, uniqueName('ed'), newYork),
  ]);
  const title = `Trip ${uniqueName('g')}`;
  await makeGroup(a.page, title, [b.name, c.username, d.username, e.username]);
  await members(a.page, 5);
  await send(a.page, 'hello all');
  const entry = b.page.locator(`[data-testid=conv-item][data-peer="${title}"]`);
  await eventually(async () => /^1/.test(await entry.getByTestId('unread').innerText().catch(() => '')), 'one unread');
  await openChat(b.page, title);
  await members(b.page, 5);
  assert.equal(await row(b.page, 'hello all').getByTestId('message-author').innerText(), a.name);
  await eventually(() => [c, d, e].every(({ messages }) => messages.size === 1), 'the three got it');
  const [hello] = c.messages.values();
  const group = hello.conversation_id;

  await d.put({ t: 'send', to: { conversation: group }, body: { text: 'an answer' }, reply_to: hello.id });
  await row(a.page, 'an answer').getByTestId('quote').filter({ hasText: 'hello all' }).waitFor();
  await react(b.page, 'hello all', '👍');
  await c.put({ t: 'react', conversation_id: group, message_id: hello.id, emoji: '👍', on: true });
  for (const { page } of [a, b]) await counts(page, 'hello all', '👍', 2);
  assert.equal(await reaction(b.page, 'hello all', '👍').getAttribute('aria-pressed'), 'true');
  assert.equal(await reaction(a.page, 'hello all', '👍').getAttribute('aria-pressed'), 'false');
  await edit(a.page, 'hello all', 'hello everybody');
  await row(b.page, 'hello everybody').getByTestId('message-edited').waitFor();
  const oops = await d.put({ t: 'send', to: { conversation: group }, body: { text: 'oops' } });
  await row(a.page, 'oops').waitFor();
  await d.put({ t: 'delete', conversation_id: group, message_id: oops.message_id });
  for (const { page } of [a, b]) await page.locator('[data-testid=message][data-deleted=true]').waitFor();

  await eventually(() => e.early.length === 0 && [...e.messages.values()].some(({ deleted }) => deleted), 'the one who leaves saw all');
  await e.call('DELETE', `/v1/groups/${group}/members/${e.username}`);
  for (const { page } of [a, b]) await members(page, 4);

  // A region dies. The page there moves; nobody stops.
  await send(a.page, 'before the loss');
  await row(b.page, 'before the loss').waitFor();
  const from = await a.page.getByTestId('region-chip').getAttribute('data-region');
  assert.equal(from, 'eu-west');
  const since = Date.now();
  await run.world.kill(from);
  await send(a.page, 'in the dark');
  await react(a.page, 'an answer', '😂');
  await react(b.page, 'before the loss', '❤️');
  await edit(a.page, 'before the loss', 'just before the loss');
  await d.put({ t: 'send', to: { conversation: group }, body: { text: 'still here' } });
  await eventually(async () => !['', from].includes(await a.page.getByTestId('region-chip').getAttribute('data-region')), 'another region');
  t.diagnostic(`another region after ${Date.now() - since} ms`);
  await row(b.page, 'in the dark').waitFor();
  await row(b.page, 'just before the loss').waitFor();
  await counts(b.page, 'an answer', '😂', 1);
  await counts(a.page, 'just before the loss', '❤️', 1);
  await run.world.start(from);
  await c.put({ t: 'react', conversation_id: group, message_id: hello.id, emoji: '👍', on: false });
  await c.put({ t: 'send', to: { conversation: group }, body: { text: 'back again' } });
  await send(b.page, 'the end');

  const message = (text, about) => ({ text, deleted: false, edited: false, reactions: [], ...about });
  const want = [
    message('hello everybody', { edited: true, reactions: ['👍 1'] }), message('an answer', { reactions: ['😂 1'] }), message('Message deleted', { deleted: true }),
    message('just before the loss', { edited: true, reactions: ['❤️ 1'] }), message('in the dark'), message('still here'), message('back again'), message('the end'),
  ];
  const shown = async ({ page }) => (await allRows(page)).map(({ text, deleted, edited, reactions }) => ({ text, deleted, edited, reactions }));
  const read = async (person) => (await person.history(group)).map(contentOf);
  const told = (person) => [...person.messages.values()].sort((x, y) => (x.sent_at < y.sent_at ? -1 : 1)).map(contentOf);
  await sees('ana', () => sorted(shown(a)), () => sorted(want));
  // The order, too, wherever the server gives one.
  await sees('bo', () => shown(b), () => shown(a));
  await sees('cy by history', () => read(c), () => shown(a));
  await sees('di by history', () => read(d), () => shown(a));
  await sees('cy', () => sorted(told(c)), () => sorted(want));
  await sees('di', () => sorted(told(d)), () => sorted(want));
  // Who left keeps what was written until then.
  const until = ['hello everybody', 'an answer', 'Message deleted'];
  await sees('ed by history', async () => (await read(e)).map(({ text }) => text), () => until);
  assert.deepEqual(told(e).map(({ text }) => text), until);
  await assert.rejects(e.put({ t: 'send', to: { conversation: group }, body: { text: 'from outside' } }), /not_member/);
  assert.deepEqual([...a.page.faults, ...b.page.faults], []);
  for (const person of [c, d, e]) person.close();
  await Promise.all([a, b].map(({ page }) => page.context().close()));
});

/** sorted gives contents in an order of their texts, for views that have no order in common. */
const sorted = async (list) => [...(await list)].sort((x, y) => (x.text < y.text ? -1 : 1));

test('who owns a group names it, invites, gives roles and removes; who leaves reads on and writes no more', options, async () => {
  const [a, b, c] = [await browser('owner'), await browser('guest'), await browser('late')];
  const title = `Work ${uniqueName('g')}`;
  await makeGroup(a.page, title, [b.name]);
  await send(a.page, 'between us');
  await openChat(b.page, title);
  await a.page.getByTestId('group-open').click();
  await a.page.getByTestId('group-rename').fill(`${title} two`);
  await a.page.getByTestId('group-rename-save').click();
  await b.page.getByRole('heading', { name: `${title} two`, exact: true }).waitFor();
  await a.page.getByTestId('group-member-input').fill(c.name);
  await a.page.getByTestId('group-member-add').click();
  const member = (name) => a.page.locator(`[data-testid=member][data-peer="${name}"]`);
  await member(c.name).waitFor();
  await members(b.page, 3);
  await openChat(c.page, `${title} two`);
  await member(b.name).getByTestId('member-role').selectOption('admin');
  await a.page.locator(`[data-testid=member][data-peer="${b.name}"][data-role=admin]`).waitFor();
  await member(c.name).getByTestId('member-remove').click();
  await member(c.name).waitFor({ state: 'detached' });
  await eventually(() => c.page.getByTestId('composer').isDisabled(), 'who was removed writes no more');
  await a.page.keyboard.press('Escape');
  await send(a.page, 'without the third');
  await eventually(async () => (await texts(b.page)).join() === 'between us,without the third', 'the second goes on');
  assert.ok(!(await texts(c.page)).includes('without the third'), 'the third sees nothing of it');
  // The first leaves: the admin owns the group then.
  await a.page.getByTestId('group-open').click();
  await a.page.getByTestId('group-leave').click();
  await a.page.getByTestId('confirm').click();
  await eventually(() => a.page.getByTestId('composer').isDisabled(), 'the first has left');
  assert.deepEqual(await texts(a.page), ['between us', 'without the third']);
  await b.page.getByTestId('group-open').click();
  await b.page.locator(`[data-testid=member][data-peer="${b.name}"][data-role=owner]`).waitFor();
  assert.deepEqual([...a.page.faults, ...b.page.faults, ...c.page.faults], []);
  await Promise.all([a, b, c].map(({ page }) => page.context().close()));
});

test('what happens to a group stands between its messages, also after a reload', options, async () => {
  const [a, b] = [await browser('teller'), await browser('hearer')];
  const c = await Person.join(run.world, uniqueName('comer'), newYork);
  const title = `Story ${uniqueName('g')}`;
  await makeGroup(a.page, title, [b.name]);
  await send(a.page, 'one');
  await openChat(b.page, title);
  await row(b.page, 'one').waitFor();
  await a.page.getByTestId('group-open').click();
  await a.page.getByTestId('group-member-input').fill(c.username);
  await a.page.getByTestId('group-member-add').click();
  const member = a.page.locator(`[data-testid=member][data-peer="${c.username}"]`);
  await member.waitFor();
  await a.page.getByTestId('group-rename').fill(`${title} two`);
  await a.page.getByTestId('group-rename-save').click();
  await b.page.getByRole('heading', { name: `${title} two`, exact: true }).waitFor();
  await member.getByTestId('member-remove').click();
  await member.waitFor({ state: 'detached' });
  await a.page.keyboard.press('Escape');
  await send(a.page, 'two');
  await row(b.page, 'two').waitFor();
  await b.page.getByTestId('group-open').click();
  await b.page.getByTestId('group-leave').click();
  await b.page.getByTestId('confirm').click();

  const story = (me) => {
    const is = (name, own = 'You') => (name === me ? own : name);
    return [
      `You and ${me === a.name ? b.name : a.name} joined`, 'one', `${c.username} joined`, `${is(a.name)} renamed the group to “${title} two”`,
      `${c.username} was removed by ${is(a.name, 'you')}`, 'two', `${is(b.name)} left`,
    ];
  };
  const shows = async ({ page }, want) =>
    eventually(async () => (await lines(page)).join('|') === want.join('|'), 'the story').catch(async () => assert.deepEqual(await lines(page), want));
  await shows(a, story(a.name));
  await shows(b, story(b.name));
  await a.page.reload();
  await openChat(a.page, `${title} two`);
  await shows(a, story(a.name));
  // The keys stop at such a line, too, but nothing can be done with it.
  await a.page.getByTestId('messages').focus();
  await a.page.keyboard.press('ArrowUp');
  await eventually(() => a.page.evaluate(() => document.activeElement?.getAttribute('data-testid') === 'note'), 'the line has the focus');
  await a.page.keyboard.press('Enter');
  assert.equal(await a.page.getByTestId('message-menu').count(), 0);
  assert.deepEqual(await axe(a.page), []);
  assert.deepEqual([...a.page.faults, ...b.page.faults], []);
  c.close();
  await Promise.all([a, b].map(({ page }) => page.context().close()));
});

test('readers show under the last message that they read; ticks are double once all have it', options, async () => {
  const [a, b] = [await browser('writer'), await browser('reader')];
  const c = await Person.join(run.world, uniqueName('third'), newYork);
  const title = `Seen ${uniqueName('g')}`;
  await makeGroup(a.page, title, [b.name, c.username]);
  await send(a.page, 'seen?');
  await openChat(b.page, title);
  const seen = row(a.page, 'seen?').getByTestId('seen-by');
  await eventually(async () => (await seen.innerText().catch(() => '')).includes(b.name), 'the reader is named');
  assert.notEqual(await row(a.page, 'seen?').getAttribute('data-state'), 'read');
  await eventually(() => c.messages.size === 1, 'the third has it');
  const [message] = c.messages.values();
  await eventually(() => c.socket, 'the third is served');
  c.socket.send(JSON.stringify({ t: 'read', conversation_id: message.conversation_id, message_id: message.id }));
  await eventually(async () => (await row(a.page, 'seen?').getAttribute('data-state')) === 'read', 'read by all');
  c.close();
  await Promise.all([a, b].map(({ page }) => page.context().close()));
});

test('keyboard alone: menu, reaction, answer, edit and delete', options, async () => {
  const [a, b] = [await browser('keys_c'), await browser('keys_d')];
  const { page } = a;
  await startChat(page, b.name);
  await send(page, 'one');
  await send(page, 'two');
  await eventually(async () => (await page.locator('[data-testid=message][data-state=safe], [data-testid=message][data-state=delivered]').count()) === 2, 'both safe');
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const focused = (what) => eventually(() => page.evaluate((id) => document.activeElement?.getAttribute('data-testid') === id, what), `${what} has the focus`);
  await page.getByTestId('messages').focus();
  await press('ArrowUp');
  await focused('message');
  await press('Enter');
  await focused('menu-emoji');
  await press('ArrowRight', 'Enter');
  await counts(page, 'two', '❤️', 1);
  await focused('message');
  await press('Enter');
  await focused('menu-emoji');
  await press('Escape');
  await focused('message');
  await press('ArrowUp', 'Enter');
  await focused('menu-emoji');
  await press('End', 'ArrowUp', 'ArrowUp', 'ArrowUp');
  await focused('menu-reply');
  await press('Enter');
  await focused('composer');
  await page.keyboard.type('an answer');
  await press('Enter');
  await row(page, 'an answer').getByTestId('quote').filter({ hasText: 'one' }).waitFor();
  await eventually(async () => /safe|delivered/.test(await row(page, 'an answer').getAttribute('data-state')), 'safe');
  await press('ArrowUp');
  await page.locator('[data-testid=composer-about][data-kind=edit]').waitFor();
  await press('End');
  await page.keyboard.type(', edited');
  await press('Enter');
  await row(page, 'an answer, edited').getByTestId('message-edited').waitFor();
  await page.getByTestId('messages').focus();
  await press('ArrowUp', 'Enter');
  await focused('menu-emoji');
  await press('End');
  await focused('menu-delete');
  await press('Enter');
  await page.getByTestId('confirm').waitFor();
  await page.getByTestId('confirm').focus();
  await press('Enter');
  await page.locator('[data-testid=message][data-deleted=true]').waitFor();
  await openChat(b.page, a.name);
  await eventually(async () => (await texts(b.page)).join() === 'one,two,Message deleted', 'the other side sees the same');
  assert.deepEqual([...a.page.faults, ...b.page.faults], []);
  await Promise.all([a, b].map(({ page: one }) => one.context().close()));
});

test('a quote leads to its message, however far up; a finger opens the menu', options, async () => {
  const a = await browser('far_a', { viewport: { width: 390, height: 780 }, hasTouch: true });
  const b = await Person.join(run.world, uniqueName('far_b'), newYork);
  await startChat(a.page, b.username);
  await send(a.page, 'the far one');
  await eventually(() => b.messages.size === 1, 'arrived');
  const [far] = b.messages.values();
  const to = { conversation: far.conversation_id };
  for (let i = 0; i < 80; i++) await b.put({ t: 'send', to, body: { text: `line ${i}` } });
  await b.put({ t: 'send', to, body: { text: 'about the far one' }, reply_to: far.id });
  await row(a.page, 'about the far one').getByTestId('quote').waitFor();
  // After a reload only the newest page is in memory.
  await a.page.reload();
  await openChat(a.page, b.username);
  // It stands out for a moment only, which a machine that is busy may miss.
  await a.page.getByTestId('messages').evaluate((list) => {
    globalThis.found = new Set();
    const note = () => list.querySelectorAll('.message-found [data-testid=message-text]').forEach((text) => globalThis.found.add(text.textContent));
    new MutationObserver(note).observe(list, { subtree: true, childList: true, attributes: true });
  });
  await row(a.page, 'about the far one').getByTestId('quote').tap();
  await row(a.page, 'the far one').waitFor();
  await eventually(() => a.page.evaluate(() => [...globalThis.found].join() === 'the far one'), 'it stands out');
  await row(a.page, 'the far one').getByTestId('message-more').tap();
  await a.page.locator('[data-testid=menu-emoji][data-emoji="🙏"]').tap();
  await counts(a.page, 'the far one', '🙏', 1);
  b.close();
  await a.page.context().close();
});

test('groups, menus and dialogs have no accessibility violations that axe finds', options, async () => {
  const [a, b] = [await browser('axe_c'), await browser('axe_d', { colorScheme: 'dark', viewport: { width: 390, height: 780 } })];
  const title = `Axe ${uniqueName('g')}`;
  await a.page.getByTestId('new-group-open').click();
  await a.page.getByTestId('group-name').waitFor();
  const violations = { dialog: await axe(a.page) };
  await a.page.keyboard.press('Escape');
  await makeGroup(a.page, title, [b.name]);
  await send(a.page, 'look');
  await openChat(b.page, title);
  await send(b.page, 'yes');
  await react(a.page, 'yes', '👍');
  await counts(b.page, 'yes', '👍', 1);
  await edit(a.page, 'look', 'look here');
  await row(b.page, 'look here').getByTestId('message-edited').waitFor();
  violations.light = await axe(a.page);
  violations.dark = await axe(b.page);
  await row(b.page, 'yes').getByTestId('message-more').click();
  violations.menu = await axe(b.page);
  await b.page.getByTestId('menu-reply').click();
  await b.page.getByTestId('composer-about').waitFor();
  violations.answer = await axe(b.page);
  await a.page.getByTestId('group-open').click();
  await a.page.getByTestId('member').first().waitFor();
  violations.members = await axe(a.page);
  assert.deepEqual(violations, { dialog: [], light: [], dark: [], menu: [], answer: [], members: [] });
  await Promise.all([a, b].map(({ page }) => page.context().close()));
});
