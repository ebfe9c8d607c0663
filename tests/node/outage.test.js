'use strict';

/** A server that stops with calls in flight: each call ends, with its error, and so does close(). */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, YokedCacheError } = require('./package.js');
const { freePort, startServer, stop } = require('./server.js');

function keepBusy(cache) {
  const calls = [];
  for (let at = 0; at < 300; at++) {
    calls.push(cache.get(`k${at}`), cache.set(`k${at}`, 'v'), cache.getMany(['a', 'b']));
  }
  return Promise.allSettled(calls);
}

function checkEnds(results, codes) {
  for (const { status, reason } of results) {
    if (status === 'fulfilled') continue;
    assert(reason instanceof YokedCacheError && codes.test(reason.code), String(reason.stack));
  }
}

test('killed: errors that a retry may help, then it serves again', { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server, gone } = await startServer(t, port);
  const cache = await Cache.open(`redis://127.0.0.1:${port}?socket_timeout=500ms`);
  const calls = keepBusy(cache);
  server.kill('SIGKILL');
  await gone;
  const results = [...(await calls), ...(await keepBusy(cache))];
  checkEnds(results, /^YC_E_(CONNECT|TIMEOUT|BUSY)$/);
  assert(results.some(({ reason }) => reason?.retryable === true));
  assert(results.every(({ status, value }) => status === 'rejected' || value === undefined || Array.isArray(value) || String(value) === 'v'));
  const health = await cache.health();
  assert.notEqual(health.status, 'healthy');
  await startServer(t, port);
  for (let turn = 0; turn < 200 && !(await cache.ping().then(() => true, () => false)); turn++) await sleep(25);
  await cache.set('back', 'v');
  assert.equal(await cache.get('back', { encoding: 'utf8' }), 'v');
  await cache.close();
});

test('stopped, then close: every call ends within the time that close has', { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server } = await startServer(t, port);
  const cache = await Cache.open(`redis://127.0.0.1:${port}?socket_timeout=30s`);
  await cache.set('k0', 'v');
  await stop(server);
  const calls = keepBusy(cache);
  const begun = Date.now();
  let ticks = 0;
  const ticking = setInterval(() => (ticks += 1), 10);
  await cache.close({ timeout: 300 }).catch((error) => assert.equal(error.code, 'YC_E_TIMEOUT'));
  clearInterval(ticking);
  assert(Date.now() - begun < 10_000);
  assert(ticks > 0, 'the loop continued meanwhile');
  checkEnds(await calls, /^YC_E_(CLOSED|CANCELLED|TIMEOUT|BUSY|CONNECT)$/);
});

test('killed: a subscription tells so, and continues with a gap', { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server, gone } = await startServer(t, port);
  const cache = await Cache.open(`redis://127.0.0.1:${port}?socket_timeout=500ms`);
  const subscription = await cache.subscribe({ channels: ['news'], encoding: 'utf8' });
  const waiting = subscription.receive();
  await cache.publish('news', 'before');
  assert.equal((await waiting).data, 'before');
  const loop = subscription.next();
  const late = subscription.receive();
  server.kill('SIGKILL');
  await gone;
  const outage = async () => subscription.receive({ timeout: 20 }).then(() => undefined, ({ code }) => code);
  let code;
  for (let turn = 0; turn < 500 && (code = await outage()) === undefined; turn++);
  assert.match(code, /^YC_E_(CONNECT|TIMEOUT)$/);
  await startServer(t, port);
  assert.deepEqual(await loop, { value: { channel: undefined, data: undefined, lost: -1 }, done: false });
  for (let turn = 0; turn < 200 && !(await cache.publish('news', 'after').then((receivers) => receivers > 0, () => false)); turn++) await sleep(25);
  assert.equal((await late).data, 'after');
  await cache.close();
  await assert.rejects(subscription.receive(), { code: 'YC_E_CLOSED' });
});

test('a signal ends a call without a reply', { timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server } = await startServer(t, port);
  const cache = await Cache.open(`redis://127.0.0.1:${port}?socket_timeout=30s`);
  await stop(server);
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [cache.get('a', { signal }), cache.getMany(['a'], { signal }), cache.keys('*', { signal }).next(), cache.search('a', { signal })];
  setTimeout(() => controller.abort(), 50);
  for (const { reason } of await Promise.allSettled(calls)) assert.equal(reason.name, 'AbortError');
  server.kill('SIGCONT');
  await cache.close();
});
