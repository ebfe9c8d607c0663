'use strict';

/** A server that is killed and comes back, behind `fallback: memory`: no call fails, and the reports say who serves. */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache } = require('./package.js');
const { freePort, startServer } = require('./server.js');

test('with a fallback no call fails while the server is down', { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server, gone } = await startServer(t, port);
  const cache = await Cache.open({
    backend: 'redis', redis: { url: `redis://127.0.0.1:${port}`, socket_timeout: '500ms' }, fallback: 'memory',
  });
  let [done, calls] = [false, 0];
  const callers = Array.from({ length: 8 }, async (_, number) => {
    for (let turn = 0; !done; turn++) {
      await cache.set(`k${number}`, `${turn}`, { tags: ['t'] });
      const found = await cache.get(`k${number}`, { encoding: 'utf8' });
      // Who takes over begins empty: a miss is no failure, and what is old is not served.
      assert(found === undefined || found === `${turn}`, `${found} behind ${turn}`);
      await cache.getMany(['a', 'b']);
      calls += 3;
      if (turn % 10 === 0) await sleep(1);
    }
  });
  const isActive = async () => (await cache.stats()).fallback.active;
  const becomes = async (active) => {
    for (let turn = 0; turn < 1000 && (await isActive()) !== active; turn++) await sleep(10);
    assert.equal(await isActive(), active);
  };
  assert.equal(await isActive(), false);
  server.kill('SIGKILL');
  await gone;
  await becomes(true);
  await cache.set('meanwhile', 'v');
  assert.equal(await cache.get('meanwhile', { encoding: 'utf8' }), 'v');
  assert.equal((await cache.health()).status, 'degraded');
  const before = calls;
  await startServer(t, port);
  await becomes(false);
  await sleep(50);
  done = true;
  await Promise.all(callers);
  assert(calls > before);
  assert.equal((await cache.health()).status, 'healthy');
  const { fallback } = await cache.stats();
  assert.equal(fallback.outages, 1);
  assert(fallback.answers > 0);
  assert.equal(await cache.get('meanwhile'), undefined, 'what was written meanwhile is forgotten, unless it follows');
  await cache.close();
});
