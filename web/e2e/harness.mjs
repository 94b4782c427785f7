// What the browser tests share: a running deployment (a real `meridian up`, or the mock), a browser, and the steps that
// a person takes. MERIDIAN_E2E=mock runs without Go; MERIDIAN_E2E_LOCAL=DIR runs on the real servers that
// `deploy/local/up --dir DIR` has started.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { chromium } from 'playwright-core';
import { startMock } from './mock/server.mjs';

const root = new URL('../..', import.meta.url).pathname;
const binary = process.env.MERIDIAN_BIN ?? join(root, 'bin/meridian');
const browserPath = process.env.CHROMIUM ?? '/usr/lib/chromium/chromium';
export const mocked = process.env.MERIDIAN_E2E === 'mock';

/** missing says why the tests cannot run here, or undefined when they can. */
export function missing() {
  if (!existsSync(browserPath)) return `no browser at ${browserPath}: install chromium, or set CHROMIUM`;
  if (!mocked && !existsSync(binary)) return `no binary at ${binary}: run make, or set MERIDIAN_E2E=mock`;
  return undefined;
}

/** startWorld gives {web, kill, start, close} of a deployment of three regions. */
export async function startWorld() {
  return mocked ? startMock() : startUp();
}

async function startUp() {
  const servers = process.env.MERIDIAN_E2E_LOCAL;
  // The keys that seal what lies on the servers stay with them.
  const data = servers ? join(servers, 'data') : mkdtempSync(join(tmpdir(), 'meridian-e2e-'));
  const stores = servers ? ['--stores', 'real', '--local', servers] : [];
  const up = spawn(binary, ['up', '--ready-json', '--data', data, ...stores], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = await firstJSON(up);
  const verb = (...args) => run(binary, [...args, '--data', data]);
  return {
    web: ready.web,
    ready,
    kill: (region) => verb('region', 'kill', region),
    start: (region) => verb('region', 'start', region),
    close: async () => {
      const ended = new Promise((resolve) => up.once('exit', resolve));
      if (up.kill('SIGTERM')) await ended; // false: it has ended by itself
      if (!servers) rmSync(data, { recursive: true, force: true });
    },
  };
}

async function firstJSON(child) {
  const lines = createInterface({ input: child.stdout });
  const gone = new Promise((_, reject) => child.once('exit', (code) => reject(new Error(`meridian up ended with ${code}`))));
  gone.catch(() => {});
  const found = (async () => {
    for await (const line of lines) if (line.startsWith('{')) return JSON.parse(line);
    throw new Error('meridian up printed no JSON line');
  })();
  const ready = await Promise.race([found, gone]);
  child.stdout.resume();
  return ready;
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${args.join(' ')}: exit ${code}`))));
  });
}

export function launchBrowser() {
  return chromium.launch({
    executablePath: browserPath,
    timeout: 2 * patience_ms,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
}

/**
 * openPage opens the client in a context of its own. `faults` collects script errors and broken content security
 * policies; a test checks that it stays empty.
 */
export async function openPage(browser, world, { city, viewport, colorScheme, hasTouch } = {}) {
  const context = await browser.newContext({
    viewport: viewport ?? { width: 1180, height: 760 },
    ...(colorScheme ? { colorScheme } : {}),
    ...(hasTouch ? { hasTouch } : {}),
  });
  context.setDefaultTimeout(patience_ms);
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy/.test(message.text())) page.faults.push(message.text());
  });
  await page.goto(world.web);
  if (city) await page.getByTestId('city-select').selectOption(city);
  return page;
}

/** How long what promises nothing may take, in milliseconds: a machine that is busy may take long for anything. */
const patience_ms = 60_000;

let names = 0;
/** uniqueName gives a username that no earlier test took. */
export function uniqueName(stem) {
  return `${stem}_${Date.now().toString(36)}${(names++).toString(36)}`;
}

/** signUp makes an account in the page and waits until a region serves it; who is refused for a moment tries again, as a person does. */
export async function signUp(page, username) {
  await page.getByTestId('auth-switch').click();
  await page.getByTestId('auth-username').fill(username);
  await page.getByTestId('auth-password').fill('correct horse battery staple');
  await page.getByTestId('auth-submit').click();
  await eventually(async () => {
    if (await page.locator('[data-testid=region-chip]:not([data-region=""])').count()) return true;
    const refused = await page.locator('.auth-card [role=alert]').textContent({ timeout: 500 }).catch(() => '');
    // After an outcome that nobody knew the account may be there, or only its name be held for a moment, with no account to log in to.
    if (/taken|wrong/.test(refused)) await page.getByTestId('auth-switch').click();
    if (refused) await page.getByTestId('auth-submit').click();
    return false;
  }, `a region serves ${username}`);
}

/** servedBy waits until a region serves the page. Where that was too slow once, the page is at the next one, and comes back with a reload. */
export async function servedBy(page, region) {
  const chip = page.getByTestId('region-chip');
  await eventually(async () => {
    const now = await chip.getAttribute('data-region');
    if (!['', region].includes(now)) await page.reload();
    return now === region;
  }, `served by ${region}`);
}

/** startChat opens the conversation with a user. */
export async function startChat(page, username) {
  await page.getByTestId('new-chat-input').fill(username);
  await page.getByTestId('new-chat-submit').click();
  await page.getByTestId('composer').waitFor();
}

export async function openChat(page, username) {
  await page.locator(`[data-testid=conv-item][data-peer="${username}"]`).click();
  await page.getByTestId('composer').waitFor();
}

export async function send(page, text) {
  await page.getByTestId('composer').fill(text);
  await page.getByTestId('composer').press('Enter');
}

/** texts gives the messages on the screen, from top to bottom. */
export function texts(page) {
  return inOrder(page.getByTestId('message'));
}

/** lines gives the messages, and what stands between them about the group. */
export function lines(page) {
  return inOrder(page.locator('[data-testid=message], [data-testid=note]'));
}

function inOrder(locator) {
  return locator.evaluateAll((rows) =>
    rows
      .sort((a, b) => Number(a.getAttribute('aria-posinset')) - Number(b.getAttribute('aria-posinset')))
      .map((row) => (row.querySelector('[data-testid=message-text]') ?? row).textContent),
  );
}

/**
 * allRows gives every message of the open conversation, also those that are not on the screen, by scrolling through it
 * from the top.
 */
export async function allRows(page) {
  return page.getByTestId('messages').evaluate(async (list) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const read = (row) => ({
      text: row.querySelector('[data-testid=message-text]').textContent,
      deleted: row.dataset.deleted === 'true',
      edited: row.dataset.edited === 'true',
      reactions: [...row.querySelectorAll('[data-testid=reaction]')].map(({ dataset }) => `${dataset.emoji} ${dataset.count}`).sort(),
    });
    const found = new Map();
    list.scrollTop = 0;
    for (;;) {
      await frame();
      for (const row of list.querySelectorAll('[data-testid=message]')) found.set(Number(row.getAttribute('aria-posinset')), read(row));
      const before = list.scrollTop;
      list.scrollTop += list.clientHeight * 0.8;
      await frame();
      if (list.scrollTop <= before) break;
    }
    return [...found].sort((a, b) => a[0] - b[0]).map(([, row]) => row);
  });
}

export async function allTexts(page) {
  return (await allRows(page)).map(({ text }) => text);
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** axe gives the accessibility violations of a page, as lines. */
export async function axe(page) {
  // Axe runs outside the page's content security policy.
  await page.evaluate(still);
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const result = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'] });
    return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 140)).join(' | ')}`);
  });
}

/** still runs in the page: it waits until every animation that ends has ended, for one that opens something changes contrasts. */
async function still() {
  const ends = (animation) => animation.playState === 'running' && animation.effect.getComputedTiming().endTime !== Infinity;
  for (;;) {
    // What was just rendered begins to move with one of the next frames.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
    const moving = document.getAnimations().filter(ends);
    if (moving.length === 0) return;
    await Promise.allSettled(moving.map(({ finished }) => finished));
  }
}

/** eventually waits until check gives a true value, and fails with what it was told otherwise. */
export async function eventually(check, what, limit_ms = patience_ms) {
  const end = Date.now() + limit_ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${limit_ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** sees waits until a view gives what is wanted, gives that, and fails with the difference otherwise. */
export async function sees(name, view, wanted) {
  let last = [];
  await eventually(async () => {
    last = [await view(), await wanted()];
    return isDeepStrictEqual(...last);
  }, `${name} sees the same`).catch((error) => {
    assert.deepEqual(...last, name);
    throw error;
  });
  return last[0];
}
