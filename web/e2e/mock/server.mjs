// Three mock regions and the page of the built client, started in this process.

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { Region } from './region.mjs';
import { World } from './world.mjs';

const dist = new URL('../../dist', import.meta.url).pathname;
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

/** Which region the places of the tests are nearest to: by the first number of the address. */
const nearest = { 212: ['eu-west', 'us-east', 'ap-south'], 128: ['us-east', 'eu-west', 'ap-south'], 203: ['ap-south', 'eu-west', 'us-east'] };

export async function startMock() {
  const world = new World();
  const regions = {};
  const alive = new Set();
  const route = (as) => {
    const order = (nearest[String(as ?? '').split('.')[0]] ?? nearest[128]).filter((name) => alive.has(name));
    return {
      region: order[0],
      endpoints: order.map((region, i) => ({ region, url: regions[region].url, rtt_ms: 4 + 70 * i })),
      reasons: ['residency: your home zone is world, which all three regions serve', `health: ${order.length} of 3 regions are healthy`, `nearest: ${order[0]} is the closest to ${as ?? 'you'}`],
      expires: new Date(Date.now() + 300_000).toISOString(),
    };
  };
  for (const name of ['us-east', 'eu-west', 'ap-south']) {
    regions[name] = new Region(name, world, route);
    await regions[name].start();
    alive.add(name);
  }
  const page = createServer((request, response) => servePage(request, response, regions, route));
  await new Promise((resolve) => page.listen(0, '127.0.0.1', resolve));
  return {
    web: `http://127.0.0.1:${page.address().port}`,
    world,
    kill: async (name) => {
      await regions[name].kill();
      setTimeout(() => alive.delete(name), 2_000); // the router needs a while to notice
    },
    hang: (name) => {
      regions[name].hang();
      setTimeout(() => alive.delete(name), 2_000);
    },
    start: async (name) => {
      await regions[name].start();
      alive.add(name);
    },
    close: async () => {
      for (const region of Object.values(regions)) if (region.server.listening) await region.kill();
      page.closeAllConnections();
      await new Promise((resolve) => page.close(resolve));
    },
  };
}

function servePage(request, response, regions, route) {
  const url = new URL(request.url, 'http://mock');
  const json = (body) => response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  if (url.pathname === '/v1/up.json') return json({ simulate: true });
  if (url.pathname === '/v1/route') return json(route(url.searchParams.get('as')));
  if (url.pathname.startsWith('/v1/')) return response.writeHead(404).end();
  const origins = Object.values(regions).flatMap(({ url: base }) => [base, base.replace('http', 'ws')]);
  response.setHeader('Content-Security-Policy', `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' ${origins.join(' ')}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`);
  const path = join(dist, url.pathname);
  const file = existsSync(path) && statSync(path).isFile() ? path : extname(path) === '' ? join(dist, 'index.html') : undefined;
  if (!file) return response.writeHead(404).end();
  response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const mock = await startMock();
  console.log(JSON.stringify({ web: mock.web }));
}
