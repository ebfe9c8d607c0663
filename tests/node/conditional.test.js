'use strict';

/** Versions, conditional writes and counters: forms of arguments and results, and calls next to each other. */

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { Cache, testUrl } = require('./package.js');
const { freePort, startServer } = require('./server.js');

let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(async () => {
  await cache.flush();
  await cache.close();
});

const MAX = 2n ** 63n - 1n;
const MIN = -(2n ** 63n);

/** Repeats a call while others change its key at each attempt. */
async function unlessBusy(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (error.code !== 'YC_E_BUSY') throw error;
    }
  }
}

test('the backend compares', () => assert.equal(cache.capabilities.compare, true));

test('a version is a bigint of one set', async () => {
  const seen = new Set();
  for (let at = 0; at < 100; at++) {
    await cache.set('version', 'same');
    const { value, version } = await cache.getVersioned('version', { encoding: 'utf8' });
    assert.equal(value, 'same');
    assert.equal(typeof version, 'bigint');
    assert(version >= 0n && version < 2n ** 64n && !seen.has(version));
    seen.add(version);
  }
  const { version } = await cache.getVersioned('version');
  assert.equal(await cache.getAndExpire('version', 3_600_000, { encoding: 'utf8' }), 'same');
  assert((await cache.ttl('version')) > 3_500_000);
  assert.equal((await cache.getVersioned('version')).version, version);
});

test('values of every length, as Buffers or as text', async () => {
  for (const length of [0, 1, 1023, 4095, 4096, 4097, 16384, 100_000]) {
    const value = 'x'.repeat(length);
    const version = await cache.setIf(`length${length}`, value, { absent: true, tags: ['lengths'] });
    const [bytes, text, same, sameText] = await Promise.all([
      cache.getVersioned(`length${length}`), cache.getVersioned(`length${length}`, { encoding: 'utf8' }),
      cache.getAndExpire(`length${length}`, Infinity), cache.getAndExpire(`length${length}`, Infinity, { encoding: 'utf8' }),
    ]);
    assert.deepEqual(bytes, { value: Buffer.from(value), version });
    assert.deepEqual(text, { value, version });
    assert.deepEqual([same, sameText], [Buffer.from(value), value]);
    assert.equal(await cache.ttl(`length${length}`), Infinity);
  }
  await cache.invalidateTag('lengths');
  assert.equal(await cache.getVersioned('length1'), undefined);
  assert.equal(await cache.getAndExpire('length1', 1000), undefined);
});

test('conditions', async () => {
  assert.equal(await cache.setIf('c', '0', { present: true }), undefined);
  const first = await cache.setIf('c', '1', { absent: true, ttl: 60_000, tags: ['c'] });
  assert.equal(typeof first, 'bigint');
  assert((await cache.ttl('c')) <= 60_000);
  assert.equal(await cache.setIf('c', '2', { absent: true }), undefined);
  const second = await cache.setIf(Buffer.from('c'), Buffer.from('3'), { version: first, tags: new Set(['c']) });
  assert.notEqual(second, first);
  assert.equal(await cache.setIf('c', '4', { version: first, present: undefined }), undefined);
  assert.equal(typeof (await cache.setIf('c', '5', Object.create({ present: true, tags: ['c'] }))), 'bigint');
  assert.equal(await cache.get('c', { encoding: 'utf8' }), '5');
  await cache.invalidateTag('c');
  assert.equal(await cache.setIf('c', '6', { version: second }), undefined);
  const last = await cache.setIf('c', 'x'.repeat(200_000), { absent: true });
  assert.equal(await cache.deleteIf('c', { version: second }), false);
  assert.equal(await cache.deleteIf('c', { version: last }), true);
  assert.equal(await cache.deleteIf('c', { version: last }), false);
  assert.equal(await cache.exists('c'), false);
});

test('counters', async () => {
  assert.equal(await cache.counterAdd('n', 1, { initial: 100, ttl: 60_000 }), 101n);
  assert.equal(await cache.counterAdd('n', -201n, { initial: 5n, ttl: Infinity }), -100n);
  assert((await cache.ttl('n')) <= 60_000);
  assert.equal(await cache.counterAdd('n', MAX), MAX - 100n);
  assert.equal(await cache.counterAdd('n', 100), MAX);
  await assert.rejects(cache.counterAdd('n', 1), { code: 'YC_E_INVALID', retryable: false });
  assert.equal(await cache.get('n', { encoding: 'utf8' }), String(MAX));
  assert.equal(await cache.counterAdd('low', MIN), MIN);
  assert.equal(await cache.counterAdd('low', 0n), MIN);
  await assert.rejects(cache.counterAdd('low', -1), { code: 'YC_E_INVALID' });
  await cache.set('text', 'one');
  await assert.rejects(cache.counterAdd('text', 1), { code: 'YC_E_INVALID' });
  await cache.set('text', '41');
  assert.equal(await cache.counterAdd('text', 1), 42n);
});

test('hundreds of calls in one tick, and a result of its own for each', async () => {
  const numbers = Array.from({ length: 140 }, (_, at) => at);
  const versions = await Promise.all(numbers.map((at) => cache.setIf(`t${at}`, String(at), { absent: true })));
  assert.equal(new Set(versions).size, 140);
  const results = await Promise.all(numbers.flatMap((at) => [
    cache.getVersioned(`t${at}`, { encoding: 'utf8' }), cache.get(`t${at}`, { encoding: 'utf8' }), cache.counterAdd(`u${at}`, at, { initial: -1 }),
    cache.deleteIf(`t${at}`, { version: versions[at] ^ 1n }), cache.ttl(`t${at}`), cache.setIf(`t${at}`, '', { version: versions[at] ^ 1n }),
  ]));
  numbers.forEach((at) => {
    const [versioned, value, sum, deleted, ttl, set] = results.slice(6 * at, 6 * at + 6);
    assert.deepEqual(versioned, { value: String(at), version: versions[at] });
    assert.deepEqual([value, sum, deleted, ttl > 0, set], [String(at), BigInt(at - 1), false, true, undefined]);
  });
});

test('of many creators one succeeds, and no update is lost', async () => {
  const created = await Promise.all(Array.from({ length: 50 }, () => unlessBusy(() => cache.setIf('creator', 'v', { absent: true }))));
  assert.equal(created.filter((version) => version !== undefined).length, 1);
  await cache.set('number', '0');
  const replace = async () => {
    for (;;) {
      const { value, version } = await cache.getVersioned('number', { encoding: 'utf8' });
      if ((await unlessBusy(() => cache.setIf('number', String(Number(value) + 1), { version }))) !== undefined) return;
    }
  };
  await Promise.all(Array.from({ length: 40 }, () => Promise.all([replace(), unlessBusy(() => cache.counterAdd('counter', 1))])));
  assert.equal(await cache.get('number', { encoding: 'utf8' }), '40');
  assert.equal(await cache.get('counter', { encoding: 'utf8' }), '40');
});

test('a server that denies scripts refuses conditional operations only', async (t) => {
  if (!testUrl().startsWith('redis:')) return;
  const port = await freePort();
  await startServer(t, port, '--user', 'default', 'on', 'nopass', '~*', '&*', '+@all', '-@scripting');
  const limited = await Cache.open(`redis://127.0.0.1:${port}/0?key_prefix=limited`);
  const denied = { name: 'YokedCacheError', code: 'YC_E_UNSUPPORTED', retryable: false, message: /\+eval/ };
  assert.equal(limited.capabilities.compare, false);
  await limited.set('a', 'v', { tags: ['t'] });
  await assert.rejects(limited.setIf('a', 'w', { present: true }), denied);
  assert.equal(await limited.get('a', { encoding: 'utf8' }), 'v');
  await limited.close();
});
