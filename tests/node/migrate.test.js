'use strict';

/** Switches and migrations: what arrives, what continues meanwhile, and how they end. With two servers, also between them. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');
const { pathToFileURL } = require('node:url');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, YokedCacheError, directory } = require('./package.js');

const { YC_TEST_REDIS_URL: redis, YC_TEST_MEMCACHED_URL: memcached } = process.env;
const needsServers = { skip: redis && memcached ? false : 'YC_TEST_REDIS_URL and YC_TEST_MEMCACHED_URL are not set' };
const COUNT = 2000;

let prefixes = 0;
/** With a prefix of its own, and time enough for a machine that is busy: a call that is lost fails all the same. */
const urlOf = (address) =>
  `${address}?key_prefix=m${process.pid}.${prefixes++}.${Date.now() % 1e9}${address === 'memory://' ? '' : '&socket_timeout=10s'}`;

/** A cache that is emptied and closed behind the test. */
async function open(t, address = 'memory://') {
  const cache = await Cache.open(urlOf(address));
  t.after(async () => {
    await cache.flush().catch(() => {});
    await cache.close();
  });
  return cache;
}

const valueOf = (at) => Buffer.from([at & 255, 0, 255, ...Buffer.from('v'.repeat(at % 300))]);
const ttlOf = (at) => (at % 3 === 0 ? Infinity : 600_000 + at * 100);

async function fill(cache, count = COUNT) {
  for (let at = 0; at < count; at++) {
    await cache.set(`key:${at}`, valueOf(at), { ttl: ttlOf(at), tags: at % 2 ? [] : [`tag${at % 10}`, 'even'] });
  }
}

async function checkAll(cache) {
  for (let at = 0; at < COUNT; at++) {
    assert.deepEqual(await cache.get(`key:${at}`), valueOf(at), `key:${at}`);
    const left = await cache.ttl(`key:${at}`);
    assert(left === ttlOf(at) || (left <= ttlOf(at) && left > ttlOf(at) - 120_000), `${at}: ${left} of ${ttlOf(at)}`);
  }
}

test('memory, Redis, Memcached, memory: every byte, TTL and tag arrives', { ...needsServers, timeout: 120_000 }, async (t) => {
  const caches = [await open(t), await open(t, redis), await open(t, memcached), await open(t)];
  await fill(caches[0]);
  for (let at = 0; at < 3; at++) {
    const report = await caches[at].migrateTo(caches[at + 1]);
    assert.deepEqual([report.complete, report.copied, report.failed, report.resume], [true, COUNT, 0, null], JSON.stringify(report));
    assert(report.largest_ttl_drift_ms < 2000, `${report.largest_ttl_drift_ms}`);
    await checkAll(caches[at + 1]);
  }
  for (const cache of caches) {
    await cache.invalidateTag('tag4');
    assert.equal(await cache.get('key:4'), undefined);
    assert.deepEqual(await cache.get('key:6'), valueOf(6));
    await cache.invalidateTag('even');
    assert.equal(await cache.get('key:6'), undefined);
    assert.deepEqual(await cache.get('key:7'), valueOf(7));
  }
});

test('a switch under load: no call fails, and all is there', { ...needsServers, timeout: 120_000 }, async (t) => {
  const cache = await open(t);
  await fill(cache);
  let [done, calls] = [false, 0];
  const writers = Array.from({ length: 8 }, async (_, number) => {
    for (let turn = 0; !done; turn++) {
      const key = `own:${number}:${turn % 50}`;
      await cache.set(key, `${turn}`, { tags: ['own'] });
      assert.equal(await cache.get(key, { encoding: 'utf8' }), `${turn}`);
      assert.deepEqual(await cache.get(`key:${turn % COUNT}`), valueOf(turn % COUNT));
      calls += 3;
      if (turn % 10 === 0) await sleep(1);
    }
  });
  try {
    for (const address of [redis, memcached, 'memory://']) {
      await sleep(20);
      const { backend, copied } = await cache.switchTo(urlOf(address), { copy: true });
      assert.equal(backend, address.split(':')[0]);
      assert.equal(copied.complete, true);
      assert.equal(cache.capabilities.share, address !== 'memory://');
    }
  } finally {
    done = true;
  }
  await Promise.all(writers);
  assert(calls > 100, `${calls}`);
  await checkAll(cache);
  assert.deepEqual(cache.getSync('key:1'), valueOf(1));
  await cache.invalidateTag('own');
  assert.equal(await cache.get('own:0:0'), undefined);
  assert.equal((await cache.stats()).backend, 'memory');
});

test('getSync goes with the backend', needsServers, async (t) => {
  const cache = await open(t, redis);
  assert.throws(() => cache.getSync('a'), { code: 'YC_E_UNSUPPORTED' });
  await cache.switchTo('memory://');
  // What was gathered for the queue in this very tick still goes there.
  const [stored, switched] = [cache.set('a', 'v'), cache.switchTo(urlOf(redis))];
  await stored;
  await switched;
  assert.throws(() => cache.getSync('a'), { code: 'YC_E_UNSUPPORTED' });
});

test('getSync while requests are gathered for a switch', async (t) => {
  const cache = await open(t);
  await Promise.all([cache.set('k', 'v'), cache.set('long', 'v'.repeat(100_000))]);
  const switched = cache.switchTo(urlOf('memory://'), { copy: true });
  // A key that is a Buffer takes the way of the requests, of which one is gathered already.
  const first = cache.set('a', '1');
  assert.equal(String(cache.getSync(Buffer.from('k'))), 'v');
  const second = cache.set('b', '2');
  assert.equal(cache.getSync(Buffer.from('none')), undefined);
  assert.equal(cache.getSync(Buffer.from('long')).length, 100_000);
  await Promise.all([first, second, switched]);
  assert.deepEqual(await Promise.all(['a', 'b', 'k'].map((key) => cache.get(key, { encoding: 'utf8' }))), ['1', '2', 'v']);
});

test('what cannot be is an error of its type, and the cache continues', async (t) => {
  const [cache, other] = [await open(t), await open(t)];
  await cache.set('a', 'v', { ttl: Infinity });
  const wrong = {
    'onto itself': [cache.migrateTo(cache), 'YC_E_INVALID'],
    'a wrong option': [cache.migrateTo(other, { rate: -1 }), 'YC_E_CONFIG'],
    'a wrong token': [cache.migrateTo(other, { resume: 'x' }), 'YC_E_INVALID'],
    'a bad configuration': [cache.switchTo('memory://?max_sise=3'), 'YC_E_CONFIG'],
    'a bad option': [cache.switchTo('memory://', { rate: 1.5 }), 'YC_E_CONFIG'],
    'no server listens': [cache.switchTo('redis://127.0.0.1:1', { copy: true }), /^YC_E_(CONNECT|BUSY)$/],
  };
  await Promise.all(Object.entries(wrong).map(([name, [promise, code]]) =>
    assert.rejects(promise, (error) => error instanceof YokedCacheError && new RegExp(code).test(error.code), name)));
  await assert.rejects(cache.switchTo('redis://127.0.0.1:1'), { name: 'YokedCacheError', code: 'YC_E_CONNECT', retryable: true });
  await Promise.all([
    cache.migrateTo(), cache.migrateTo({}), cache.migrateTo(other, { pattern: 5 }), cache.migrateTo(other, { onProgress: 1 }),
    cache.migrateTo(other, { signal: {} }), cache.switchTo(), cache.switchTo('memory://', null),
  ].map((promise) => assert.rejects(promise, { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' })));
  assert.equal(await cache.get('a', { encoding: 'utf8' }), 'v');
  assert.equal(cache.getSync('a', { encoding: 'utf8' }), 'v');
  assert.equal((await other.stats()).keys, 0);
});

test('a migration reports, stops and continues', async (t) => {
  const [source, target] = [await open(t), await open(t)];
  await fill(source);
  const counted = await source.migrateTo(target, { dryRun: true });
  assert.deepEqual([counted.copied, (await target.stats()).keys], [COUNT, 0]);
  const seen = [];
  const report = await source.migrateTo(target, { onProgress: (progress) => seen.push(progress) < 2 });
  assert.equal(seen.length, 2);
  assert.equal(report.complete, false);
  assert(report.copied > 0 && report.copied < COUNT && report.copied === seen[1].copied, JSON.stringify(report));
  assert.equal(report.resume, seen[1].resume);
  const rest = await source.migrateTo(target, { resume: report.resume, onProgress: ({ resume }) => void seen.push(resume) });
  assert.equal(rest.complete, true);
  assert.equal(seen.at(-1), undefined);
  assert.equal(report.copied + rest.copied, COUNT);
  await checkAll(target);
  const part = await source.migrateTo(await open(t), { pattern: 'key:1?' });
  assert.equal(part.copied, 10);
});

test('what onProgress throws, and a signal\'s reason, reject the promise once it has stopped', async (t) => {
  const [source, target] = [await open(t), await open(t)];
  await fill(source);
  const mine = new Error('mine');
  await assert.rejects(source.migrateTo(target, { onProgress: () => { throw mine; } }), mine);
  const controller = new AbortController();
  setTimeout(() => controller.abort(mine), 50);
  await assert.rejects(source.migrateTo(target, { rate: 500, signal: controller.signal }), mine);
  const { keys } = await target.stats();
  assert(keys > 0 && keys < COUNT, `${keys}`);
  await sleep(300);
  assert.equal((await target.stats()).keys, keys);
  await assert.rejects(source.migrateTo(target, { signal: AbortSignal.abort(mine) }), mine);
});

test('the event loop continues meanwhile', async (t) => {
  const [source, target] = [await open(t), await open(t)];
  await fill(source, 500);
  let ticks = 0;
  const ticking = setInterval(() => (ticks += 1), 10);
  await source.migrateTo(target, { rate: 1000 });
  clearInterval(ticking);
  assert(ticks > 0);
});

test('a close ends what is under way, and so does the end of the process', async (t) => {
  for (const which of [0, 1]) {
    const caches = [await open(t), await open(t)];
    await fill(caches[0]);
    const refused = assert.rejects(caches[0].migrateTo(caches[1], { rate: 100 }), { code: 'YC_E_CLOSED' });
    await sleep(50);
    await caches[which].close();
    await refused;
    await assert.rejects(caches[0].migrateTo(caches[1]), { code: 'YC_E_CLOSED' });
  }
  const cache = await open(t);
  await fill(cache);
  const refused = assert.rejects(cache.switchTo('memory://', { copy: true, rate: 100 }), { code: 'YC_E_CLOSED' });
  await sleep(50);
  await assert.rejects(cache.switchTo('memory://'), { code: 'YC_E_BUSY' });
  await cache.close();
  await refused;

  const program = `const { Cache } = require(${JSON.stringify(directory)});
    const { Worker, isMainThread } = require('node:worker_threads');
    (async () => {
      const [a, b] = [await Cache.open('memory://'), await Cache.open('memory://')];
      for (let at = 0; at < 3000; at++) a.set('k' + at, 'v');
      a.migrateTo(b, { rate: 10, onProgress() {} }).catch(() => {});
      b.switchTo('memory://', { copy: true, rate: 10 }).catch(() => {});
      if (isMainThread) setTimeout(() => process.exit(7), 200);
      if (isMainThread) new Worker(process.argv[1] ?? '', { eval: true });
    })();`;
  const begun = Date.now();
  const { status, signal, stderr } = spawnSync(process.execPath, ['-e', program, program], { timeout: 30_000, encoding: 'utf8' });
  assert.deepEqual([status, signal], [7, null], stderr);
  assert(Date.now() - begun < 20_000);
});

test('ESM has them too', async () => {
  const { Cache: Imported } = await import(pathToFileURL(path.join(directory, 'lib/index.mjs')));
  const cache = await Imported.open('memory://');
  await cache.set('a', 'v');
  assert.equal((await cache.switchTo({ backend: 'memory', memory: { max_size: 5 } }, { copy: true })).copied.copied, 1);
  assert.equal(await cache.get('a', { encoding: 'utf8' }), 'v');
  await cache.close();
});
