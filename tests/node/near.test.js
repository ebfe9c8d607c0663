'use strict';

/** Reads of the memory of this process: copies of a near cache, the memory backend, and a server without copies. */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, testUrl } = require('./package.js');

const [scheme] = testUrl().split(':');
const isMemory = scheme === 'memory';
const needsServer = { skip: isMemory ? 'the memory backend has no near cache' : false };
const needsRedis = { skip: scheme === 'redis' ? false : 'of Redis' };

/** A cache that is emptied and closed behind the test. */
async function open(t, options) {
  const cache = await Cache.open(testUrl(options));
  t.after(async () => {
    await cache.flush();
    await cache.close();
  });
  return cache;
}

const openNear = (t, staleness = '60s') => open(t, isMemory ? '' : `near=${staleness}`);

/** Reads a key until this process has its value. */
async function keep(cache, key) {
  for (let turn = 0; turn < 5000; turn++) {
    await cache.get(key);
    if (cache.getNear(key) !== undefined) return;
    await sleep(1);
  }
  throw new Error('no copy is kept');
}

/** Runs a check of a key that has a copy. A server tells of a set after its reply, which may remove a copy that is younger: then again. */
async function onCopy(cache, key, check) {
  for (let turn = 0; ; turn++) {
    await keep(cache, key);
    try {
      return await check();
    } catch (error) {
      if (turn === 3) throw error;
    }
  }
}

const nearHits = async (cache) => (await cache.stats()).near.hits;

/** Returns the result of a call, which has to be complete when the call returns: what is submitted is so in the next tick at the earliest. */
async function atOnce(call) {
  await undefined; // Promises that are settled come before the next tick from here on.
  let ticked = false;
  process.nextTick(() => (ticked = true));
  const result = await call();
  assert.equal(ticked, false);
  return result;
}

test('the capability tells whether this process may have values', async (t) => {
  assert.equal((await openNear(t)).capabilities.near, true);
  assert.equal((await open(t)).capabilities.near, isMemory);
});

test('a hit is complete when its call returns, in any form', async (t) => {
  const cache = await openNear(t);
  await cache.set('hop', '"v"');
  const calls = [() => cache.get('hop', { encoding: 'utf8' }), () => cache.get('hop').then(String), async () => cache.getNear('hop').toString(),
    () => cache.get(Buffer.from('hop')).then(String), async () => cache.getNear('hop', { encoding: 'utf8' })];
  await onCopy(cache, 'hop', async () => {
    for (const call of calls) assert.equal(await atOnce(call), '"v"');
    assert.equal(await atOnce(() => cache.getJson('hop')), 'v');
    assert.equal(await atOnce(() => cache.typed().get('hop')), 'v');
  });
  assert.deepEqual(await cache.getMany(['hop', 'none'], { encoding: 'utf8' }), ['"v"', undefined]);
});

test('every key and value is read from this process as it is', async (t) => {
  const cache = await openNear(t);
  const keys = ['k', 'é', '\u{1F600}', '\uFFFD', 'x'.repeat(1018), 'x'.repeat(1020), 'é'.repeat(2000), Buffer.from([0, 255]), new Uint8Array([7])];
  const lengths = [0, 1, 100, 3000, 4096, 4097, 65536, 65537, 300_000];
  for (const key of keys) {
    for (const length of key === 'k' ? lengths : [0, 5, 5000]) {
      const value = Buffer.alloc(length, 'é');
      await cache.set(key, value);
      await onCopy(cache, key, async () => {
        assert.deepStrictEqual(cache.getNear(key), value);
        assert.equal(cache.getNear(key, { encoding: 'utf8' }), value.toString());
      });
      assert.deepStrictEqual(await cache.get(key), value);
      assert.equal(await cache.get(key, { encoding: 'utf8' }), value.toString());
    }
  }
});

test('the Buffers are their own memory', async (t) => {
  const cache = await openNear(t);
  for (const length of [100, 5000]) {
    await cache.set('own', Buffer.alloc(length, 1));
    await onCopy(cache, 'own', async () => {
      const values = Array.from({ length: 500 }, () => cache.getNear('own'));
      values.push(await cache.get('own'));
      values[7].fill(0);
      assert.deepEqual(values.filter((value) => !value.equals(Buffer.alloc(length, 1))), [values[7]]);
      assert(cache.getNear('own').equals(Buffer.alloc(length, 1)));
    });
  }
});

test('a slab that its user detached is replaced', async (t) => {
  const cache = await openNear(t);
  await cache.set('slab', 'v');
  await keep(cache, 'slab');
  // Some versions of Node cannot detach it, others refuse to.
  try {
    (await cache.get('slab')).buffer.transfer();
  } catch (error) {
    assert.ok(error instanceof TypeError);
  }
  await onCopy(cache, 'slab', () => {
    for (let at = 0; at < 300; at++) assert.equal(String(cache.getNear('slab')), 'v');
  });
});

test('each read of a copy is one hit, also of a long value', needsServer, async (t) => {
  const cache = await openNear(t);
  for (const length of [10, 5000, 60_000]) {
    await cache.set('count', 'x'.repeat(length));
    await onCopy(cache, 'count', async () => {
      const before = await nearHits(cache);
      for (let turn = 0; turn < 10; turn++) await cache.get('count');
      for (let turn = 0; turn < 10; turn++) cache.getNear('count');
      assert.equal(await nearHits(cache), before + 20);
    });
  }
  const { misses } = await cache.stats();
  assert.equal(cache.getNear('none'), undefined);
  assert.equal((await cache.stats()).misses, misses);
});

test('what this cache changes is read at once', async (t) => {
  const cache = await openNear(t);
  const changes = {
    'a set': [() => cache.set('a', 'two', { tags: ['t'] }), 'two'],
    'a delete': [() => cache.delete('a'), undefined],
    'an invalidation': [() => cache.invalidateTag('t'), undefined],
    'a set of many': [() => cache.setMany([['a', 'two']]), 'two'],
    'a flush': [() => cache.flush(), undefined],
  };
  for (const [name, [change, wanted]] of Object.entries(changes)) {
    await cache.set('a', 'one', { tags: ['t'] });
    await keep(cache, 'a');
    await change();
    assert.equal(cache.getNear('a', { encoding: 'utf8' }), isMemory ? wanted : undefined, name);
    assert.equal(await cache.get('a', { encoding: 'utf8' }), wanted, name);
  }
});

test('what another cache changes is read after max_staleness', needsServer, async (t) => {
  const [cache, other] = [await openNear(t, '300ms'), await open(t)];
  await cache.set('a', 'one');
  await keep(cache, 'a');
  await other.set('a', 'two');
  await sleep(350);
  assert.notEqual(cache.getNear('a', { encoding: 'utf8' }), 'one');
  assert.equal(await cache.get('a', { encoding: 'utf8' }), 'two');
  await keep(cache, 'a');
  await other.delete('a');
  await sleep(350);
  assert.equal(cache.getNear('a'), undefined);
  assert.equal(await cache.get('a'), undefined);
});

test('a fresh read asks the server', needsServer, async (t) => {
  const [cache, other] = [await openNear(t), await open(t)];
  const load = () => assert.fail('the value is there');
  const reads = [
    () => cache.get('a', { fresh: true, encoding: 'utf8' }),
    () => cache.getJson('a', { fresh: true }).then(String),
    () => cache.typed().get('a', { fresh: true }).then(String),
    () => cache.getOrLease('a', { fresh: true, encoding: 'utf8' }).then(({ value }) => value),
    () => cache.getOrLoad('a', load, { fresh: true, encoding: 'utf8' }),
    () => cache.getOrLoadMany(['a'], load, { fresh: true, encoding: 'utf8' }).then((found) => found.get('a')),
    () => cache.typed().getOrLoad('a', load, { fresh: true }).then(String),
  ];
  for (const [at, read] of reads.entries()) {
    await cache.set('a', '1');
    await keep(cache, 'a');
    const before = await nearHits(cache);
    assert.equal(await read(), '1', String(read));
    assert.equal(await nearHits(cache), before, String(read));
    await other.set('a', `${at + 2}`);
    // Nothing tells a near cache of Memcached.
    if (scheme === 'memcached') assert.equal(await cache.get('a', { encoding: 'utf8' }), '1');
    assert.equal(await read(), `${at + 2}`, String(read));
  }
});

test('without a near cache fresh changes nothing', async (t) => {
  const cache = await open(t);
  await cache.set('a', '1');
  assert.equal(await cache.get('a', { fresh: true, encoding: 'utf8' }), '1');
  assert.equal(await cache.get('a', { fresh: false, encoding: 'utf8' }), '1');
  assert.equal(await cache.getJson('a', { fresh: true }), 1);
  assert.equal((await cache.getOrLease('a', { fresh: true, wait: 0 })).state, 'fresh');
  assert.equal(await cache.getOrLoad('a', () => assert.fail('the value is there'), { fresh: true, encoding: 'utf8' }), '1');
  assert.equal(cache.getNear('a', { encoding: 'utf8' }), isMemory ? '1' : undefined);
});

test('a loaded value is read from its copy', needsServer, async (t) => {
  const cache = await openNear(t);
  assert.equal(await cache.getOrLoad('a', () => 'loaded', { encoding: 'utf8' }), 'loaded');
  await onCopy(cache, 'a', async () => {
    const before = await nearHits(cache);
    assert.equal(await cache.getOrLoad('a', () => 'again', { encoding: 'utf8' }), 'loaded');
    assert.equal(await nearHits(cache), before + 1);
  });
});

test('hundreds of calls in one tick, of copies and of others', async (t) => {
  const cache = await openNear(t);
  const numbers = Array.from({ length: 600 }, (_, at) => at);
  await Promise.all(numbers.map((at) => cache.set(`n${at}`, `value ${at}`)));
  await Promise.all(numbers.filter((at) => at % 2).map((at) => keep(cache, `n${at}`)));
  const found = await Promise.all(numbers.map((at) => cache.get(`n${at}`, { encoding: at % 3 ? 'utf8' : 'buffer' })));
  numbers.forEach((at) => assert.equal(String(found[at]), `value ${at}`));
});

test('getNear and get go with the backend', { ...needsRedis, timeout: 60_000 }, async (t) => {
  const cache = await open(t);
  const backends = { near: testUrl('near=60s'), memory: `memory://?key_prefix=n${process.pid}`, plain: testUrl() };
  const ttl = 60_000; // Of what is left at the servers.
  let done = false;
  // No call fails meanwhile, and what was set is read.
  const reader = (async () => {
    for (let turn = 0; !done; turn++) {
      await cache.set('own', `${turn}`, { ttl });
      assert.equal(await cache.get('own', { encoding: 'utf8' }), `${turn}`);
      cache.getNear('own');
      if (turn % 10 === 0) await sleep(1);
    }
  })();
  try {
    for (const [at, name] of ['memory', 'near', 'plain', 'near', 'memory', 'plain', 'memory', 'near'].entries()) {
      // Each into an empty store: a copy keeps the entries that its target has.
      await cache.switchTo(backends[name].replace('key_prefix=', `key_prefix=${at}.`), { copy: true });
      assert.equal(cache.capabilities.near, name !== 'plain', name);
      await cache.set('a', name, { ttl });
      if (name === 'plain') {
        assert.equal(await cache.get('a', { encoding: 'utf8' }), name);
        assert.equal(cache.getNear('a'), undefined);
      } else {
        await onCopy(cache, 'a', async () => {
          assert.equal(cache.getNear('a', { encoding: 'utf8' }), name);
          assert.equal(await atOnce(() => cache.get('a', { encoding: 'utf8' })), name);
        });
      }
      if (name === 'memory') assert.equal(cache.getSync('a', { encoding: 'utf8' }), name);
      else assert.throws(() => cache.getSync('a'), { code: 'YC_E_UNSUPPORTED' });
    }
  } finally {
    done = true;
    await reader;
  }
});

function detached(text) {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

test('arguments that are wrong', async (t) => {
  const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
  for (const cache of [await openNear(t), await open(t)]) {
    const notKeys = [undefined, null, 1, 1n, true, {}, [], Symbol('k'), new Uint16Array(2), new ArrayBuffer(2), Object.create(Uint8Array.prototype),
      'a\ud800', '\udc00' + 'b'.repeat(2000), detached('key')];
    for (const key of notKeys) {
      for (const options of [undefined, { encoding: 'utf8' }]) assert.throws(() => cache.getNear(key, options), typeError);
      await assert.rejects(cache.get(key), typeError);
    }
    for (const key of ['', Buffer.alloc(0)]) {
      assert.throws(() => cache.getNear(key), { name: 'YokedCacheError', code: 'YC_E_INVALID' });
      await assert.rejects(cache.get(key), { name: 'YokedCacheError', code: 'YC_E_INVALID' });
    }
    for (const key of ['k'.repeat(65537), Buffer.alloc(65537)]) {
      assert.throws(() => cache.getNear(key), { name: 'YokedCacheError', code: 'YC_E_TOO_LARGE' });
      await assert.rejects(cache.get(key), { name: 'YokedCacheError', code: 'YC_E_TOO_LARGE' });
    }
    for (const options of [null, [], 5, { fresh: true }, { signal: AbortSignal.timeout(10) }]) assert.throws(() => cache.getNear('a', options), typeError);
    assert.throws(() => cache.getNear('a', { encoding: 'latin1' }), { code: 'YC_E_INVALID' });
    for (const fresh of [null, 1, 'yes', {}]) {
      const calls = [cache.get('a', { fresh }), cache.getJson('a', { fresh }), cache.getOrLease('a', { fresh }), cache.typed().get('a', { fresh }),
        cache.getOrLoad('a', () => 'v', { fresh }), cache.getOrLoadMany(['a'], () => ({}), { fresh })];
      for (const call of calls) await assert.rejects(call, typeError);
    }
    for (const call of [cache.getMany(['a'], { fresh: true }), cache.getVersioned('a', { fresh: true })]) await assert.rejects(call, typeError);
    assert.equal(await cache.exists('a'), false);
  }
});

test('a signal that was aborted, and JSON that is none', async (t) => {
  const cache = await openNear(t);
  await cache.set('a', '{');
  await keep(cache, 'a');
  await assert.rejects(cache.get('a', { signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' });
  await assert.rejects(cache.getJson('a'), SyntaxError);
});

test('a closed cache', async () => {
  const cache = await Cache.open(testUrl(isMemory ? '' : 'near=60s'));
  await cache.set('a', 'v');
  await keep(cache, 'a');
  await cache.delete('a');
  const closing = cache.close();
  assert.throws(() => cache.getNear('a'), { name: 'YokedCacheError', code: 'YC_E_CLOSED' });
  await closing;
  assert.throws(() => cache.getNear('a'), { name: 'YokedCacheError', code: 'YC_E_CLOSED' });
  await assert.rejects(cache.get('a'), { name: 'YokedCacheError', code: 'YC_E_CLOSED' });
});
