// One world and one browser for the tests of a file.

import { after, before } from 'node:test';
import { launchBrowser, missing, startWorld } from './harness.mjs';

/**
 * setup starts both before the file's tests and ends them after. Where a browser or the binary is missing every test of
 * the file is skipped, with the reason.
 */
export function setup() {
  const run = { skip: missing(), world: undefined, browser: undefined };
  before(async () => {
    if (run.skip) return;
    run.world = await startWorld();
    run.browser = await launchBrowser();
  });
  after(async () => {
    await run.browser?.close();
    await run.world?.close();
  });
  return run;
}
