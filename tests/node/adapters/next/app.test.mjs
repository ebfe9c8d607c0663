/** An application in two processes on one Redis: what one of them revalidates is new in both at once. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const NEXT = 'node_modules/next/dist/bin/next';

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a server that counts the requests for each path, and answers with the count. */
async function startOrigin(t) {
  const counts = {};
  const server = http.createServer((request, response) => {
    counts[request.url] = (counts[request.url] ?? 0) + 1;
    response.end(String(counts[request.url]));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  return { counts, url: `http://127.0.0.1:${server.address().port}` };
}

async function startNext(t, environment) {
  const port = await freePort();
  const server = spawn(process.execPath, [NEXT, 'start', '-H', '127.0.0.1', '-p', String(port)], { env: environment, stdio: ['ignore', 'inherit', 'inherit'] });
  const gone = once(server, 'exit');
  t.after(async () => {
    server.kill('SIGKILL');
    await gone;
  });
  const get = async (path) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    const text = await response.text();
    return { status: response.status, count: text.match(/\[(\d+)\]/)?.[1], text };
  };
  for (let turn = 0; ; turn++) {
    try {
      await get('/revalidate');
      return get;
    } catch (error) {
      if (turn === 300) throw error;
      await sleep(100);
    }
  }
}

test('revalidations are seen by both processes', { timeout: 300_000 }, async (t) => {
  const origin = await startOrigin(t);
  const environment = { ...process.env, ORIGIN: origin.url, CACHE_URL: `${process.env.YC_TEST_URL}?key_prefix=next` };
  await promisify(execFile)(process.execPath, [NEXT, 'build'], { env: environment });
  const [one, two] = await Promise.all([startNext(t, environment), startNext(t, environment)]);

  for (const [path, data, revalidation] of [
    ['/page-tag', '/page', '?tag=page'], ['/fetch-tag', '/data', '?tag=data'], ['/page-tag', '/page', '?path=/page-tag'],
    ['/fetch-tag', '/data', '?path=/fetch-tag'],
  ]) {
    const { count } = await one(path);
    assert.ok(count, `${path} has no count`);
    assert.equal((await two(path)).count, count, `${path}: the other process has the same`);
    const before = origin.counts[data];
    for (let turn = 0; turn < 3; turn++) assert.deepEqual([(await one(path)).count, (await two(path)).count], [count, count]);
    assert.equal(origin.counts[data], before, `${path} is served from the cache`);
    for (const [revalidating, reading] of [[one, two], [two, one]]) {
      const old = origin.counts[data];
      assert.equal((await revalidating(`/revalidate${revalidation}`)).status, 200);
      assert.equal((await reading(path)).count, String(old + 1), `${path}${revalidation}: the other process is up to date`);
      assert.equal((await revalidating(path)).count, String(old + 1), `${path}${revalidation}: so is this one`);
      assert.equal(origin.counts[data], old + 1);
    }
  }
});
