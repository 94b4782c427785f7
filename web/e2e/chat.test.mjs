// What a person does with the client, one thing after the other, in a real browser.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { axe, eventually, mocked, openChat, openPage, sees, send, servedBy, signUp, startChat, texts, uniqueName } from './harness.mjs';
import { Person } from './person.mjs';
import { setup } from './setup.mjs';

const run = setup();
after(() => Person.closeAll());
const options = { skip: run.skip, timeout: 240_000 };

async function person(stem, settings) {
  const name = uniqueName(stem);
  const page = await openPage(run.browser, run.world, settings);
  await signUp(page, name);
  return { name, page };
}

const end = (...people) => Promise.all(people.map(({ page }) => page.context().close()));
const lastMine = (page) => page.locator('[data-testid=message][data-mine=true]').last();

test('sign up, log out, log in again', options, async () => {
  const alone = await person('alone', { city: 'paris' });
  const { page } = alone;
  await servedBy(page, 'eu-west');
  await page.getByTestId('settings-open').click();
  await page.getByTestId('sign-out').click();
  await page.getByTestId('auth-username').fill(alone.name);
  await page.getByTestId('auth-password').fill('wrong');
  await page.getByTestId('auth-submit').click();
  await page.getByText('Username or password is wrong.').waitFor();
  await page.getByTestId('auth-password').fill('correct horse battery staple');
  await page.getByTestId('auth-submit').click();
  await servedBy(page, 'eu-west');
  await end(alone);
});

test('a stranger’s first word is a request; a message goes from sent to read', options, async () => {
  const [a, b] = [await person('asker'), await person('asked')];
  await startChat(a.page, b.name);
  await send(a.page, 'may I?');
  const entry = b.page.locator(`[data-testid=conv-item][data-peer="${a.name}"]`);
  await entry.waitFor();
  await eventually(async () => (await entry.getAttribute('data-state')) === 'request', 'marked as a request');
  assert.match(await entry.getByTestId('unread').innerText(), /^1/);
  await eventually(async () => /delivered/.test(await lastMine(a.page).getAttribute('data-state')), 'delivered');
  await openChat(b.page, a.name);
  await eventually(async () => (await lastMine(a.page).getAttribute('data-state')) === 'read', 'read');
  await eventually(async () => (await entry.getByTestId('unread').count()) === 0, 'nothing unread');
  await b.page.getByTestId('request-accept').click();
  await b.page.getByTestId('request').waitFor({ state: 'detached' });
  const composer = b.page.getByTestId('composer');
  await composer.pressSequentially('of course');
  // It is told every few seconds while one types, and never again where it got lost.
  await eventually(async () => {
    if (await a.page.getByTestId('typing').count()) return true;
    await composer.press('End');
    await composer.press('!');
    await composer.press('Backspace');
    return false;
  }, 'typing');
  await eventually(async () => (await a.page.getByTestId('presence').getAttribute('data-state')) === 'online', 'online');
  await b.page.getByTestId('send').click();
  await eventually(async () => (await texts(a.page)).join() === 'may I?,of course', 'the answer');
  assert.deepEqual([...a.page.faults, ...b.page.faults], []);
  await end(a, b);
});

test('contacts are asked, accepted, removed and blocked', options, async () => {
  const [a, b] = [await person('friend_a'), await person('friend_b')];
  await a.page.getByTestId('tab-people').click();
  await a.page.getByTestId('contact-input').fill(b.name);
  await a.page.getByTestId('contact-add').click();
  const inList = (page, name, state) => page.locator(`[data-testid=contact-item][data-peer="${name}"][data-state="${state}"]`);
  await inList(a.page, b.name, 'outgoing').waitFor();
  await b.page.getByTestId('tab-people').click();
  await inList(b.page, a.name, 'incoming').getByTestId('contact-accept').click();
  await inList(b.page, a.name, 'accepted').waitFor();
  await inList(a.page, b.name, 'accepted').waitFor();
  await inList(a.page, b.name, 'accepted').getByTestId('contact-chat').click();
  await send(a.page, 'hello, friend');
  await eventually(async () => /delivered|read/.test(await lastMine(a.page).getAttribute('data-state')), 'delivered');
  await a.page.getByTestId('head-block').click();
  await eventually(async () => a.page.getByTestId('composer').isDisabled(), 'nothing can be written to the blocked');
  await a.page.getByTestId('head-block').click();
  await eventually(async () => a.page.getByTestId('composer').isEnabled(), 'unblocked');
  await end(a, b);
});

test('what is written offline survives a reload and is sent once', options, async () => {
  const [a, b] = [await person('offline_a'), await person('offline_b')];
  await startChat(a.page, b.name);
  await send(a.page, 'before');
  await eventually(async () => /safe|delivered/.test(await lastMine(a.page).getAttribute('data-state')), 'safe');
  // The page itself is served from this machine; only the API is out of reach.
  const offline = (route) => route.abort('internetdisconnected');
  await a.page.routeWebSocket(/\/v1\/ws/, (socket) => socket.close({ code: 1001 }));
  await a.page.route(/\/v1\//, offline);
  await a.page.reload();
  await a.page.locator('[data-testid=region-chip][data-region=""]').waitFor();
  await openChat(a.page, b.name);
  await send(a.page, 'written offline');
  await eventually(async () => (await lastMine(a.page).getAttribute('data-state')) === 'pending', 'pending');
  await a.page.reload();
  await openChat(a.page, b.name);
  await eventually(async () => (await texts(a.page)).join() === 'before,written offline', 'still there after the reload');
  // Network back: a fresh tab of the same browser has no blocks on its routes.
  const online = await a.page.context().newPage();
  await online.goto(run.world.web);
  await openChat(b.page, a.name);
  await eventually(async () => (await texts(b.page)).join() === 'before,written offline', 'arrived, once and in order');
  await end(a, b);
});

test('text is text, links are links', options, async () => {
  const [a, b] = [await person('text_a'), await person('text_b')];
  await startChat(a.page, b.name);
  const evil = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script> javascript:alert(1)';
  await send(a.page, evil);
  await send(a.page, 'see https://example.org/a?b=c.');
  await openChat(b.page, a.name);
  await eventually(async () => (await texts(b.page)).length === 2, 'both messages');
  assert.equal((await texts(b.page))[0], evil);
  assert.equal(await b.page.locator('[data-testid=message-text] img, [data-testid=message-text] script').count(), 0);
  assert.deepEqual(
    await b.page.locator('[data-testid=message-text] a').evaluateAll((links) => links.map((link) => [link.getAttribute('href'), link.rel])),
    [['https://example.org/a?b=c', 'noopener noreferrer']],
  );
  assert.doesNotMatch(await b.page.title(), /owned/);
  assert.deepEqual(b.page.faults, []);
  await end(a, b);
});

test('the pages have no accessibility violations that axe finds', options, async () => {
  const fresh = await openPage(run.browser, run.world);
  const violations = { auth: await axe(fresh) };
  const [a, b] = [await person('axe_a'), await person('axe_b', { colorScheme: 'dark' })];
  violations.empty = await axe(a.page);
  await startChat(a.page, b.name);
  await send(a.page, 'hello https://example.org');
  await openChat(b.page, a.name);
  await b.page.getByTestId('message').waitFor();
  violations.light = await axe(a.page);
  violations.dark = await axe(b.page);
  await a.page.getByTestId('region-chip').click();
  await a.page.getByRole('dialog').waitFor();
  violations.why = await axe(a.page);
  await a.page.keyboard.press('Escape');
  await a.page.getByTestId('tab-people').click();
  violations.people = await axe(a.page);
  await b.page.getByTestId('settings-open').click();
  await b.page.getByTestId('about-open').click();
  await b.page.getByRole('link', { name: 'IP Geolocation by DB-IP', exact: true }).waitFor();
  violations.about = await axe(b.page);
  assert.deepEqual(violations, { auth: [], empty: [], light: [], dark: [], why: [], people: [], about: [] });
  await fresh.context().close();
  await end(a, b);
});

test('keyboard alone: find, write, send, walk the messages', options, async () => {
  const [a, b] = [await person('keys_a'), await person('keys_b')];
  const { page } = a;
  await page.getByTestId('new-chat-input').focus();
  await page.keyboard.type(b.name);
  await page.keyboard.press('Enter');
  await eventually(() => page.evaluate(() => document.activeElement?.getAttribute('data-testid') === 'composer'), 'in the composer');
  for (const word of ['one', 'two']) {
    await page.keyboard.type(word);
    await page.keyboard.press('Enter');
  }
  await eventually(async () => (await texts(page)).join() === 'one,two', 'both sent');
  await page.getByTestId('messages').focus();
  const focused = () => page.evaluate(() => document.activeElement?.querySelector('[data-testid=message-text]')?.textContent);
  await page.keyboard.press('ArrowUp');
  await eventually(async () => (await focused()) === 'two', 'the last message has the focus');
  await page.keyboard.press('ArrowUp');
  await eventually(async () => (await focused()) === 'one', 'the one before has it');
  await end(a, b);
});

for (const pages of ['fast', 'slow']) {
  test(`a conversation opens at the first message not yet read, also where that is pages up, which are ${pages}`, options, async () => {
    const [a, b] = [await person('unread_a'), await person('unread_b')];
    await startChat(a.page, b.name);
    await send(a.page, 'the first');
    await fill(a, b, 80);
    if (pages === 'slow') await slowPages(b.page);
    await openChat(b.page, a.name);
    const list = b.page.getByTestId('messages');
    await eventually(async () => (await list.getAttribute('data-ready')) === 'true', 'ready');
    const line = () =>
      list.evaluate((element) => {
        const slot = element.querySelector('[data-testid=unread-line]')?.closest('.message-slot');
        const below = slot ? slot.getBoundingClientRect().top - element.getBoundingClientRect().top : NaN;
        return { above: slot?.querySelector('[data-testid=message-text]').textContent, onScreen: below >= 0 && below < element.clientHeight };
      });
    const wanted = { above: 'the first', onScreen: true };
    await sees('the reader', line, () => wanted);
    // And there it stays.
    await atRest(list);
    assert.deepEqual(await line(), wanted);
    await end(a, b);
  });
}

test('a long conversation renders what is on the screen, and pages without a jump', { ...options, timeout: 300_000 }, async () => {
  const page = 50;
  const looks = 5;
  // It opens with up to three pages, and of two that follow each other closely only one is looked at; some must be left for the end.
  const total = mocked ? 5_000 : (3 + 2 * looks + 3) * page;
  const [a, b] = [await person('long_a'), await person('long_b')];
  await startChat(a.page, b.name);
  await send(a.page, 'first');
  await fill(a, b, total);
  await openChat(b.page, a.name);
  const list = b.page.getByTestId('messages');
  const count = async () => Number(await list.getAttribute('data-count'));
  // Until the first page is there, all that came live is shown.
  await eventually(async () => (await list.getAttribute('data-ready')) === 'true' && (await count()) >= page, 'the first page');
  const toTop = () =>
    list.evaluate((element) => {
      element.scrollTop = 300;
    });
  await slowPages(b.page);
  for (let look = 0; look < looks; look++) {
    const before = await count();
    assert.ok(before < total, 'a page is left to look at');
    await toTop();
    const seen = await atRest(list);
    await eventually(async () => (await count()) > before, `more than ${before}`);
    const now = await atRest(list, seen.id);
    assert.ok(Math.abs(now.top - seen.top) <= 3, `message ${seen.id} moved from ${seen.top} to ${now.top}`);
  }
  await b.page.unroute(/\/messages\?/);
  await eventually(
    async () => {
      await toTop();
      return (await count()) >= total;
    },
    `all ${total}`,
    120_000,
  );
  const nodes = await list.evaluate((element) => element.querySelectorAll('*').length);
  assert.ok(nodes < 1_500, `${nodes} nodes for ${await count()} messages`);
  await end(a, b);
});

/** slowPages leaves time to look where the messages stand before the next page comes. */
function slowPages(page) {
  return page.route(/\/messages\?/, async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 400));
    await route.continue();
  });
}

/** fill makes a long conversation: in the mock directly, else from another device, some at a time. */
async function fill(a, b, total) {
  const { world } = run;
  if (mocked) {
    const [from, to] = [world.world.user(a.name), world.world.user(b.name)];
    const conversation = world.world.conversation(from, to);
    for (let i = conversation.messages.length; i < total; i++) {
      const client_id = crypto.randomUUID();
      conversation.messages.push({
        id: world.world.messageId(from.id, client_id), conversation_id: conversation.id, client_id,
        sender: { id: from.id, username: from.username }, body: { text: `message ${i} ${'word '.repeat(i % 23)}` }, sent_at: new Date().toISOString(),
      });
    }
    return;
  }
  const device = await Person.device(world, a.name, '128.59.1.3');
  const text = (i) => `message ${i} ${'word '.repeat(i % 23)}`;
  const put = (i) => device.put({ t: 'send', to: { user: b.name }, body: { text: text(i) } });
  const at_once = 40;
  for (let from = 1; from < total - 1; from += at_once) {
    await Promise.all(Array.from({ length: Math.min(at_once, total - 1 - from) }, (_, i) => put(from + i)));
  }
  // Alone, so that it is the last one even where others were refused for a moment and sent again.
  await put(total - 1);
  device.close();
  // What still came while the conversation is open would be in it without a page of the past.
  const entry = b.page.locator(`[data-testid=conv-item][data-peer="${a.name}"]`);
  await eventually(async () => (await entry.innerText()).includes(`message ${total - 1}`), 'the other side has all');
}

/** atRest gives it once it stands where it stood three frames before. */
async function atRest(list, id) {
  const place = async () => JSON.stringify(await topOf(list, id));
  let last;
  await eventually(async () => {
    const before = await place();
    await list.evaluate(async () => {
      for (let i = 0; i < 3; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
    });
    last = await place();
    return last === before && JSON.parse(last).id !== undefined;
  }, 'the list at rest');
  return JSON.parse(last);
}

/** topOf gives the first message on the screen, or the named one, with its place. */
function topOf(list, id) {
  return list.evaluate((element, wanted) => {
    const edge = element.getBoundingClientRect().top;
    const rows = [...element.querySelectorAll('[data-testid=message]')];
    const row = wanted ? rows.find((r) => r.dataset.id === wanted) : rows.find((r) => r.getBoundingClientRect().top >= edge);
    return { id: row?.dataset.id, top: Math.round((row?.getBoundingClientRect().top ?? NaN) - edge) };
  }, id);
}
