// Stores a .gz and a .br beside every text file of dist, and fails when the first load is over its budget.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = new URL('../dist', import.meta.url).pathname;
const compressible = /\.(html|js|css|svg|json|webmanifest|txt)$/;
const budget = { js: 100 * 1024, css: 8 * 1024 }; // gzipped bytes of what index.html loads

function* files(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else yield path;
  }
}

const gzipped = new Map();
for (const path of [...files(dist)]) {
  if (!compressible.test(path)) continue;
  const raw = readFileSync(path);
  const gz = gzipSync(raw, { level: 9 });
  const br = brotliCompressSync(raw, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length },
  });
  gzipped.set(path.slice(dist.length), gz.length);
  // A variant that saves nothing costs a choice and a file.
  if (gz.length < raw.length) writeFileSync(`${path}.gz`, gz);
  if (br.length < raw.length) writeFileSync(`${path}.br`, br);
}

const html = readFileSync(join(dist, 'index.html'), 'utf8');
const initial = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((match) => match[1]);
let failed = false;
for (const kind of ['js', 'css']) {
  const size = initial.filter((path) => path.endsWith(`.${kind}`)).reduce((sum, path) => sum + gzipped.get(path), 0);
  const over = size > budget[kind];
  failed ||= over;
  console.log(`initial ${kind}: ${(size / 1024).toFixed(1)} kB gz of ${budget[kind] / 1024}${over ? '  OVER BUDGET' : ''}`);
}
process.exit(failed ? 1 : 0);
