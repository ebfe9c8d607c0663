'use strict';

/** AbortSignal: before a call, in the same tick, while it is in flight, and after it. */

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { test, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, testUrl } = require('./package.js');

let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(async () => {
  await cache.flush();
  await cache.close();
});

const calls = (signal) => [
  () => cache.get('a', { signal }), () => cache.getJson('a', { signal }), () => cache.set('a', 'v', { signal }),
  () => cache.setJson('a', 1, { signal }), () => cache.delete('a', { signal }), () => cache.exists('a', { signal }),
  () => cache.expire('a', 1000, { signal }), () => cache.ttl('a', { signal }), () => cache.getMany(['a'], { signal }),
  () => cache.setMany([['a', 'v']], { signal }), () => cache.deleteMany(['a'], { signal }), () => cache.invalidateTag('t', { signal }),
  () => cache.invalidateTags(['t'], { signal }), () => cache.invalidatePattern('x', { signal }), () => cache.flush({ signal }),
  () => cache.keys('*', { signal }).next(), () => cache.search('a', { signal }), () => cache.stats({ signal }),
  () => cache.health({ signal }), () => cache.metrics({ signal }), () => cache.ping({ signal }), () => Cache.open('memory://', { signal }),
  () => Cache.openFile('/none', 'e', { signal }), () => Cache.openEnv({ signal }),
  () => cache.getVersioned('a', { signal }), () => cache.setIf('a', 'v', { absent: true, signal }), () => cache.deleteIf('a', { version: 1n, signal }),
  () => cache.getAndExpire('a', 1000, { signal }), () => cache.counterAdd('a', 1, { signal }),
];

test('aborted before: its reason, and nothing is done', async () => {
  const reason = new Error('changed my mind');
  for (const call of calls(AbortSignal.abort(reason))) await assert.rejects(call(), reason, String(call));
  await assert.rejects(cache.get('a', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(await cache.exists('a'), false);
});

test('aborted in the tick of the call: never submitted', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const local = !cache.capabilities.share;
  const before = cache.set('kept', 'v');
  const aborted = [cache.set('gone1', 'v', { signal }), cache.set('gone2', 'v', { signal })];
  const behind = cache.set('kept2', 'v');
  controller.abort();
  const results = await Promise.allSettled(aborted);
  await Promise.all([before, behind]);
  if (local) return;
  for (const { reason } of results) assert.equal(reason.name, 'AbortError');
  assert.deepEqual(await cache.getMany(['kept', 'gone1', 'gone2', 'kept2'], { encoding: 'utf8' }), ['v', undefined, undefined, 'v']);
});

test('aborted while in flight: at once, and others go on', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = Array.from({ length: 100 }, () => cache.invalidatePattern('nothing', { signal }));
  const others = Array.from({ length: 100 }, () => cache.get('a'));
  process.nextTick(() => setImmediate(() => controller.abort(new Error('enough'))));
  for (const { status, reason } of await Promise.allSettled(aborted)) assert(status === 'fulfilled' || reason.message === 'enough');
  await Promise.all(others);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('one listener for any number of calls, none afterwards', async () => {
  const { signal } = new AbortController();
  const pending = Array.from({ length: 50 }, () => cache.invalidatePattern('nothing', { signal }));
  assert(getEventListeners(signal, 'abort').length <= 1);
  await Promise.all(pending);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('aborted in between pages', async () => {
  if (!cache.capabilities.list) return;
  await cache.setMany(Array.from({ length: 50 }, (_, at) => [`page${at}`, 'v']));
  const controller = new AbortController();
  let seen = 0;
  const walk = async () => {
    for await (const key of cache.keys('page*', { pageSize: 5, signal: controller.signal })) {
      if (++seen === 7) controller.abort();
      assert(key.startsWith('page'));
    }
  };
  await assert.rejects(walk, { name: 'AbortError' });
  assert(seen < 50);
});

test('a timeout as a signal', async () => {
  const signal = AbortSignal.timeout(1);
  while (!signal.aborted) await sleep(1);
  await assert.rejects(cache.get('a', { signal }), { name: 'TimeoutError' });
});
