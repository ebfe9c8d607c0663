'use strict';

/** Leases: forms of results, misuse, and the end of leases that their holders forget. Takes --expose-gc. */

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');
const { Cache, directory, testUrl } = require('./package.js');

let cache;
/** Another cache of the same store; the memory backend has no such. */
let other;
before(async () => {
  cache = await Cache.open(testUrl());
  other = cache.capabilities.share ? await Cache.open(testUrl()) : cache;
});
after(async () => {
  await cache.flush();
  await Promise.all([cache.close(), other.close()]);
});

const busy = { name: 'YokedCacheError', code: 'YC_E_BUSY', retryable: true };
const used = { name: 'YokedCacheError', code: 'YC_E_INVALID', message: /used already/ };
const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const invalid = { name: 'YokedCacheError', code: 'YC_E_INVALID' };

/** Waits until a key has no lease. */
async function isFree(key) {
  for (let turn = 0; turn < 300; turn++) {
    globalThis.gc();
    const free = await cache.getOrLease(key, { wait: 0 }).catch(() => undefined);
    if (free !== undefined) return free.state === 'leased';
    await sleep(10);
  }
  return false;
}

test('values of every length, as Buffers or as text, with a lease and without', async () => {
  for (const length of [0, 1, 1023, 4095, 4096, 4097, 16384, 100_000]) {
    const [key, value] = [`length${length}`, 'x'.repeat(length)];
    const { state, value: none, lease } = await cache.getOrLease(key);
    assert.deepEqual([state, none], ['leased', undefined]);
    assert.equal(await lease.fill(length % 2 ? value : Buffer.from(value), { ttl: 1, staleFor: 60_000 }), true);
    await sleep(5);
    const stale = await cache.getOrLease(key);
    assert.deepEqual([stale.state, stale.value], ['stale', Buffer.from(value)]);
    const { state: again, value: text, lease: second } = await cache.getOrLease(key, { encoding: 'utf8' });
    assert.deepEqual([again, text, second], ['stale', value, undefined]);
    stale.lease.release();
  }
});

test('hundreds of leases in one tick, each of its own key', async () => {
  const keys = Array.from({ length: 700 }, (_, at) => `many${at}`);
  const leases = await Promise.all(keys.map((key) => cache.getOrLease(key, { tags: [key] })));
  assert.ok(leases.every(({ state }) => state === 'leased'));
  const filled = await Promise.all(leases.map(({ lease }, at) => lease.fill(at % 7 ? keys[at] : undefined, { tags: ['all'] })));
  assert.ok(filled.every((stored) => stored === true));
  const found = await Promise.all(keys.map((key) => cache.getOrLease(key, { encoding: 'utf8' })));
  found.forEach(({ state, value }, at) => assert.deepEqual([state, value], at % 7 ? ['fresh', keys[at]] : ['absent', undefined]));
});

test('a lease is used once, also by two calls in one tick', async () => {
  const { lease } = await cache.getOrLease('once');
  const results = await Promise.allSettled([lease.fill('one'), lease.fill('two'), lease.abandon()]);
  assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected']);
  assert.equal(await cache.get('once', { encoding: 'utf8' }), 'one');
  await assert.rejects(lease.fill('three'), used);
  await assert.rejects(lease.abandon(), used);
  lease.release();
  lease.release();
});

test('a released lease is abandoned and cannot be used', async () => {
  const { lease } = await cache.getOrLease('released');
  await assert.rejects(other.getOrLease('released', { wait: 0 }), busy);
  lease.release();
  await assert.rejects(lease.fill('v'), used);
  assert.ok(await isFree('released'));
});

test('a lease that is released during its fill is filled', async () => {
  const { lease } = await cache.getOrLease('during');
  const filling = lease.fill('v');
  lease.release();
  assert.equal(await filling, true);
  assert.equal(await cache.get('during', { encoding: 'utf8' }), 'v');
});

test('after a refused fill the lease can be used', async () => {
  const { lease } = await cache.getOrLease('refused', { tags: ['t'] });
  for (const value of [null, 1, {}, 'a\ud800']) await assert.rejects(lease.fill(value), typeError);
  await assert.rejects(lease.fill('v', { TTL: 5 }), /"TTL" is unknown; did you mean ttl/);
  await assert.rejects(lease.fill('v', { ttl: '5' }), typeError);
  await assert.rejects(lease.fill('v', { staleFor: 'x' }), typeError);
  await assert.rejects(lease.fill('v', { tags: 't' }), typeError);
  for (const options of [{ ttl: -1 }, { staleFor: -1 }, { staleFor: Infinity }, { staleFor: 1e15 }, { tags: [''] }]) await assert.rejects(lease.fill('v', options), invalid);
  await assert.rejects(lease.fill(Buffer.alloc(9 << 20)), { code: 'YC_E_TOO_LARGE' });
  await assert.rejects(lease.fill('v', { tags: Array.from({ length: 128 }, (_, at) => `t${at}`) }), { code: 'YC_E_TOO_LARGE' });
  await assert.rejects(lease.abandon({ retryAfter: -1 }), invalid);
  await assert.rejects(lease.abandon({ retryAfter: 86_400_001 }), invalid);
  await assert.rejects(lease.fill('v', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(await lease.fill('v', { ttl: Infinity }), true);
  assert.equal(await cache.ttl('refused'), Infinity);
});

test('wrong arguments take no lease', async () => {
  for (const key of [undefined, null, 1, {}, []]) await assert.rejects(cache.getOrLease(key), typeError);
  for (const options of [{ lease: '1' }, { wait: null }, { tags: 5 }, { signal: {} }, null, 1]) await assert.rejects(cache.getOrLease('wrong', options), typeError);
  for (const options of [{ lease: 0 }, { lease: -1 }, { lease: 86_400_001 }, { lease: 1e300 }, { wait: -1 }, { wait: NaN }, { wait: 1e12 }, { tags: [''] }, { encoding: 'hex' }]) {
    await assert.rejects(cache.getOrLease('wrong', options), invalid);
  }
  await assert.rejects(cache.getOrLease('wrong', { ttl: 5 }), typeError);
  const { state, lease } = await cache.getOrLease('wrong', { lease: 0.5, wait: 0 });
  assert.equal(state, 'leased');
  lease.release();
});

test('a call waits without the thread, and gets the value when it is filled', { timeout: 30_000 }, async (t) => {
  const { lease } = await cache.getOrLease('waited');
  let ticks = 0;
  const ticking = setInterval(() => (ticks += 1), 5);
  t.after(() => clearInterval(ticking));
  const waiting = [cache, other].map((one) => one.getOrLease('waited', { wait: 60_000, encoding: 'utf8' }));
  while (ticks < 3) await sleep(5); // Without the loop, the test would end by its timeout.
  await lease.fill('v');
  for (const { state, value } of await Promise.all(waiting)) assert.deepEqual([state, value], ['fresh', 'v']);
});

test('a signal ends a wait, and the lease that its call got meanwhile', async () => {
  for (let turn = 0; turn < 20; turn++) {
    const key = `signal${turn}`;
    const { lease } = await cache.getOrLease(key);
    const controller = new AbortController();
    const waiting = cache.getOrLease(key, { wait: 60_000, signal: controller.signal });
    if (turn % 4 === 1) await sleep(turn);
    const abandoned = lease.abandon();
    if (turn % 4 > 1) await abandoned;
    if (turn % 4 === 3) await sleep(2);
    controller.abort();
    const result = await waiting.catch((error) => error);
    if (result.name === 'AbortError') assert.ok(await isFree(key), `turn ${turn}`);
    else result.lease.release();
  }
});

test('a lease that is collected is abandoned', async () => {
  assert.equal(await cache.getOrLease('forgotten').then(({ state }) => state), 'leased');
  assert.ok(await isFree('forgotten'));
});

test('a lease ends with its cache', async () => {
  const closed = await Cache.open(testUrl());
  const { lease } = await closed.getOrLease('closed');
  const waiting = assert.rejects(closed.getOrLease('closed', { wait: 60_000 }), { code: 'YC_E_CLOSED' });
  await closed.close({ timeout: 10 }).catch((error) => assert.equal(error.code, 'YC_E_TIMEOUT'));
  await waiting;
  for (const call of [() => lease.fill('v'), () => lease.abandon(), () => closed.getOrLease('closed')]) await assert.rejects(call(), { code: 'YC_E_CLOSED' });
  lease.release();
});

test('workers that end with leases leave nothing behind', { timeout: 60_000 }, async () => {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { Cache } = require(${JSON.stringify(directory)});
    (async () => {
      const cache = await Cache.open(${JSON.stringify(testUrl())});
      globalThis.leases = await Promise.all(Array.from({ length: 50 }, (_, at) => cache.getOrLease('worker' + workerData + '.' + at)));
      for (let at = 0; at < 50; at++) cache.getOrLease('worker' + workerData + '.' + at, { wait: 5000 }).catch(() => {});
      parentPort.postMessage(globalThis.leases.every(({ state }) => state === 'leased'));
      if (workerData % 2) process.exit(0);
      else setInterval(() => {}, 1000);
    })()`;
  for (let number = 0; number < 10; number++) {
    const worker = new Worker(program, { eval: true, workerData: number });
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    assert.equal(await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)), true);
    if (number % 2 === 0) worker.terminate();
    await ended;
  }
});
