'use strict';

/** Bad input gives an error of the right type: never an abort, never a hang, never a wrong result. */

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { Cache, testUrl } = require('./package.js');

let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(async () => {
  await cache.flush();
  await cache.close();
});

const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const invalid = { name: 'YokedCacheError', code: 'YC_E_INVALID', retryable: false };
const tooLarge = { name: 'YokedCacheError', code: 'YC_E_TOO_LARGE' };

/** Every method with a key in it, for `key`. */
const withKey = (key) => [
  () => cache.get(key), () => cache.getJson(key), () => cache.set(key, 'v'), () => cache.setJson(key, 1), () => cache.delete(key),
  () => cache.exists(key), () => cache.expire(key, 1000), () => cache.ttl(key), () => cache.getMany(['a', key]),
  () => cache.setMany([['a', 'v'], [key, 'v']]), () => cache.deleteMany([key]), () => cache.invalidateTag(key),
  () => cache.invalidateTags(['a', key]), () => cache.set('a', 'v', { tags: [key] }), () => cache.search(key),
  () => cache.getVersioned(key), () => cache.setIf(key, 'v', { absent: true }), () => cache.setIf('a', 'v', { absent: true, tags: [key] }),
  () => cache.deleteIf(key, { version: 1n }), () => cache.getAndExpire(key, 1000), () => cache.counterAdd(key, 1),
];

async function eachRejects(calls, expected) {
  for (const call of calls) {
    let promise;
    assert.doesNotThrow(() => (promise = call()), String(call));
    await assert.rejects(promise, expected, String(call));
  }
}

function detached(text) {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

test('what is no key', async () => {
  for (const key of [undefined, null, 1, 1n, true, {}, [], Symbol('k'), () => 1, new Date(), new Uint16Array(2), new ArrayBuffer(2)]) {
    await eachRejects(withKey(key), typeError);
  }
});

test('a key of half a surrogate pair is no text', async () => {
  await eachRejects(withKey('a\ud800'), typeError);
  await eachRejects(withKey('\udc00' + 'b'.repeat(100)), typeError);
  await assert.rejects(cache.set('a', '\ud83d'), typeError);
});

test('an empty key', async () => {
  await eachRejects(withKey(''), invalid);
  await eachRejects(withKey(Buffer.alloc(0)), invalid);
});

test('a key that is too long', async () => {
  await eachRejects(withKey('k'.repeat(65537)), tooLarge);
  await eachRejects(withKey(Buffer.alloc(1_000_000)), tooLarge);
});

test('a detached key, value or tag', async () => {
  await eachRejects(withKey(detached('key')), typeError);
  await assert.rejects(cache.set('a', detached('value')), typeError);
});

test('what is no value', async () => {
  for (const value of [undefined, null, 1, {}, [], Symbol('v'), new Float64Array(1)]) {
    await assert.rejects(cache.set('a', value), typeError);
    await assert.rejects(cache.setMany([['a', value]]), typeError);
    await assert.rejects(cache.setIf('a', value, { absent: true }), typeError);
  }
  for (const value of [undefined, () => 1, Symbol('v')]) await assert.rejects(cache.setJson('a', value), typeError);
  const circle = {};
  circle.circle = circle;
  await assert.rejects(cache.setJson('a', circle), TypeError);
  await assert.rejects(cache.setJson('a', 1n), TypeError);
});

test('huge values', async () => {
  await assert.rejects(cache.set('a', Buffer.alloc(9 << 20)), tooLarge);
  await assert.rejects(cache.set('a', 'é'.repeat(5 << 20)), tooLarge);
  await assert.rejects(cache.setMany([['a', Buffer.alloc(100 << 20)]]), tooLarge);
  await assert.rejects(cache.set(Buffer.alloc(700 << 20), 'v'), tooLarge);
  assert.equal(await cache.get('a'), undefined);
});

test('too many tags', async () => {
  await assert.rejects(cache.set('a', 'v', { tags: Array.from({ length: 129 }, (_, at) => `t${at}`) }), tooLarge);
});

test('what is no time', async () => {
  for (const ttl of [null, '1s', {}, 5n]) {
    await eachRejects([
      () => cache.set('a', 'v', { ttl }), () => cache.expire('a', ttl), () => cache.setMany([], { ttl }),
      () => cache.setIf('a', 'v', { absent: true, ttl }), () => cache.getAndExpire('a', ttl), () => cache.counterAdd('a', 1, { ttl }),
    ], typeError);
  }
  for (const ttl of [-1, -0.5, -Infinity, NaN, 1e300, Number.MAX_SAFE_INTEGER]) {
    await eachRejects([
      () => cache.set('a', 'v', { ttl }), () => cache.expire('a', ttl), () => cache.setIf('a', 'v', { absent: true, ttl }),
      () => cache.getAndExpire('a', ttl), () => cache.counterAdd('a', 1, { ttl }),
    ], invalid);
  }
});

test('what is no condition and no version', async () => {
  for (const options of [undefined, {}, { ttl: 5 }, { absent: false }, { present: 1 }, { absent: true, present: true }, { absent: true, version: 1n },
    { present: true, version: 1n }, { absent: false, present: true }, { version: 1 }, { version: '1' }, { version: null }]) {
    await assert.rejects(cache.setIf('a', 'v', options), typeError);
  }
  for (const options of [undefined, {}, { version: 1 }, { version: undefined }]) await assert.rejects(cache.deleteIf('a', options), typeError);
  for (const version of [-1n, 1n << 64n, -(1n << 63n)]) {
    await eachRejects([() => cache.setIf('a', 'v', { version }), () => cache.deleteIf('a', { version })], invalid);
  }
  assert.equal(await cache.setIf('a', 'v', { version: (1n << 64n) - 1n, absent: undefined }), undefined);
  assert.equal(await cache.deleteIf('a', { version: 0n }), false);
  assert.equal(await cache.exists('a'), false);
});

test('what is no whole number', async () => {
  for (const number of [undefined, null, '1', {}, true]) {
    await assert.rejects(cache.counterAdd('a', number), typeError);
    if (number !== undefined) await assert.rejects(cache.counterAdd('a', 1, { initial: number }), typeError);
  }
  for (const number of [0.5, NaN, Infinity, 2 ** 53, 1n << 63n, -(1n << 63n) - 1n]) {
    await eachRejects([() => cache.counterAdd('a', number), () => cache.counterAdd('a', 1, { initial: number })], invalid);
  }
  await assert.rejects(cache.counterAdd('a', 1n, { initial: (1n << 63n) - 1n }), invalid);
  assert.equal(await cache.exists('a'), false);
});

test('what are no lists', async () => {
  for (const list of [undefined, null, 1, 'abc', {}, Buffer.from('abc')]) {
    await eachRejects([() => cache.getMany(list), () => cache.deleteMany(list), () => cache.setMany(list), () => cache.invalidateTags(list)], typeError);
    if (list !== undefined) await assert.rejects(cache.set('a', 'v', { tags: list }), typeError);
  }
  await assert.rejects(cache.setMany(['ab']), typeError);
  await assert.rejects(cache.setMany([['a']]), typeError);
  await assert.rejects(cache.getMany(new Array(3)), typeError);
  await assert.rejects(cache.getMany([['a']]), typeError);
});

test('a list that changes while it is read', async () => {
  let reads = 0;
  const tags = new Proxy(['t'], { get: (target, name) => (name === '0' && ++reads > 1 ? 't'.repeat(1000) : target[name]) });
  await cache.set('a', 'v', { tags }).catch((error) => assert(error instanceof Error));
  const key = { toString: () => 'k' };
  await assert.rejects(cache.get(key), typeError);
});

test('what are no options', async () => {
  for (const options of [null, 1, 'utf8']) {
    await eachRejects([() => cache.get('a', options), () => cache.set('a', 'v', options), () => cache.ping(options), () => cache.flush(options)], typeError);
  }
  await assert.rejects(cache.get('a', { encoding: 'latin1' }), invalid);
  for (const signal of [null, 1, {}, 'abort']) await assert.rejects(cache.get('a', { signal }), typeError);
  await assert.rejects(cache.search('a', { threshold: '80' }), typeError);
  await assert.rejects(cache.search('a', { limit: 1.5 }), invalid);
  await assert.rejects(cache.search('a', { limit: 0 }), invalid);
  await assert.rejects(cache.search('a', { threshold: 101 }), invalid);
  await assert.rejects(cache.keys('*', { pageSize: -1 }).next(), invalid);
  await assert.rejects(cache.keys(5).next(), typeError);
  await assert.rejects(cache.close({ timeout: -1 }), invalid);
  await assert.rejects(cache.close({ timeout: '1' }), typeError);
});

test('an option that does not exist is refused, with its nearest', async () => {
  const other = await Cache.open('memory://');
  await cache.delete('a');
  const named = (name, near) => ({ ...typeError, message: new RegExp(`"${name}" is unknown; did you mean ${near}\\?`) });
  await assert.rejects(cache.set('a', 'v', { TTL: 5 }), named('TTL', 'ttl'));
  await assert.rejects(cache.set('a', 'v', { ex: 5 }), named('ex', 'ttl'));
  await assert.rejects(cache.set('a', 'v', { tag: 'x' }), named('tag', 'tags'));
  await assert.rejects(cache.setMany([['a', 'v']], { tll: 5 }), named('tll', 'ttl'));
  await assert.rejects(cache.setIf('a', 'v', { NX: true, ttl: 5 }), named('NX', 'absent'));
  await assert.rejects(cache.setIf('a', 'v', { xx: true }), named('xx', 'present'));
  await assert.rejects(cache.deleteIf('a', { versoin: 1n }), named('versoin', 'version'));
  await assert.rejects(cache.counterAdd('a', 1, { ex: 60 }), named('ex', 'ttl'));
  await assert.rejects(cache.setJson('a', 1, { Tags: ['x'] }), named('Tags', 'tags'));
  await assert.rejects(cache.get('a', { encodign: 'utf8' }), named('encodign', 'encoding'));
  await assert.rejects(cache.flush({ counts: true }), named('counts', 'count'));
  await assert.rejects(cache.getInfo('a', { maxage: 5 }), named('maxage', 'maxAge'));
  for (const maxAge of [0, -1, NaN]) await assert.rejects(cache.getInfo('a', { maxAge }), invalid);
  await assert.rejects(cache.getInfo('a', { maxAge: '5' }), typeError);
  await assert.rejects(cache.flush({ dryrun: true }), named('dryrun', 'dryRun'));
  await assert.rejects(cache.search('a', { treshold: 5 }), named('treshold', 'threshold'));
  await assert.rejects(cache.keys('*', { pagesize: 5 }).next(), named('pagesize', 'pageSize'));
  await assert.rejects(cache.migrateTo(other, { dry_run: true }), named('dry_run', 'dryRun'));
  await assert.rejects(cache.close({ timeoutMs: 5 }), named('timeoutMs', 'timeout'));
  await assert.rejects(cache.get('a', { entirely: 1 }), { ...typeError, message: /"entirely" is unknown \(it takes encoding, fresh, signal\)/ });
  const wrong = { nonsense: undefined };
  await eachRejects([
    () => cache.get('a', wrong), () => cache.getJson('a', wrong), () => cache.set('a', 'v', wrong), () => cache.setJson('a', 1, wrong),
    () => cache.delete('a', wrong), () => cache.exists('a', wrong), () => cache.expire('a', 1000, wrong), () => cache.ttl('a', wrong),
    () => cache.getMany(['a'], wrong), () => cache.setMany([], wrong), () => cache.deleteMany([], wrong), () => cache.invalidateTag('t', wrong),
    () => cache.invalidateTags(['t'], wrong), () => cache.invalidatePattern('*', wrong), () => cache.flush(wrong),
    () => cache.keys('*', wrong).next(), () => cache.search('a', wrong), () => cache.switchTo('memory://', wrong),
    () => cache.migrateTo(other, wrong), () => cache.stats(wrong), () => cache.health(wrong), () => cache.metrics(wrong), () => cache.ping(wrong),
    () => cache.getVersioned('a', wrong), () => cache.setIf('a', 'v', { absent: true, ...wrong }), () => cache.deleteIf('a', { version: 1n, ...wrong }),
    () => cache.getAndExpire('a', 1000, wrong), () => cache.counterAdd('a', 1, wrong),
    () => cache.close(wrong), () => Cache.open('memory://', wrong), () => Cache.openFile('/a', 'b', wrong), () => Cache.openEnv(wrong),
  ], { ...typeError, message: /"nonsense" is unknown/ });
  assert.throws(() => cache.getSync('a', wrong), typeError);
  assert.throws(() => cache.getNear('a', wrong), typeError);
  assert.equal(await cache.get('a'), undefined);
  await other.close();
});

test('options of a wrong type or kind', async () => {
  const other = await Cache.open('memory://');
  for (const options of [[], ['t'], new Map([['ttl', 5]]), new Set(), Buffer.from('a'), Promise.resolve({}), new Date(), new String('a')]) {
    await eachRejects([() => cache.set('a', 'v', options), () => cache.get('a', options), () => cache.flush(options)], typeError);
  }
  await eachRejects([
    () => cache.flush({ count: 'yes' }), () => cache.invalidateTag('t', { count: 1 }), () => cache.invalidateTag('t', { dryRun: 1 }), () => cache.switchTo('memory://', { copy: 'true' }),
    () => cache.switchTo('memory://', { rate: '5' }), () => cache.migrateTo(other, { dryRun: 1 }), () => cache.migrateTo(other, { rate: '5' }),
  ], typeError);
  for (const rate of [NaN, Infinity]) {
    await eachRejects([() => cache.switchTo('memory://', { rate }), () => cache.migrateTo(other, { rate })], invalid);
  }
  const inherited = Object.create({ ttl: 1000 });
  await cache.set('inherited', 'v', inherited);
  assert((await cache.ttl('inherited')) <= 1000);
  await cache.set('plain', 'v', Object.assign(Object.create(null), { ttl: undefined }));
  await other.close();
});

test('bytes of another realm are bytes', async () => {
  const run = (code) => require('node:vm').runInNewContext(code);
  const bytes = run('Uint8Array.of(1, 0, 255)');
  assert(!(bytes instanceof Uint8Array));
  await cache.set(bytes, bytes, { tags: [bytes] });
  assert.deepEqual(await cache.get(Buffer.from([1, 0, 255])), Buffer.from([1, 0, 255]));
  assert.deepEqual(await cache.getMany([bytes]), [Buffer.from([1, 0, 255])]);
  await cache.setMany(run('[["realm", Uint8Array.of(7)]]'), run('({ ttl: 60000, tags: ["t"] })'));
  assert.deepEqual(await cache.get('realm'), Buffer.from([7]));
  await cache.invalidateTag(bytes);
  assert.equal(await cache.get(bytes), undefined);
  assert.deepEqual(await cache.deleteMany(run('new Set(["realm"])')), [true]);
  await eachRejects([
    () => cache.get(run('new Uint16Array(2)')), () => cache.get(run('new ArrayBuffer(2)')), () => cache.getMany(bytes),
    () => cache.get(Object.create(Uint8Array.prototype)),
  ], typeError);
});

test('configurations', async () => {
  for (const config of [undefined, null, 1, Symbol('c')]) await assert.rejects(Cache.open(config), typeError);
  await assert.rejects(Cache.open('memory://\0'), typeError);
  await assert.rejects(Cache.openFile(5), typeError);
  await assert.rejects(Cache.openFile('/no/such/file'), { code: 'YC_E_CONFIG' });
  await assert.rejects(Cache.open('redis://localhost:1?socket_timeout=1s'), { code: 'YC_E_CONNECT', retryable: true });
  await assert.rejects(Cache.open({ backend: 'memory', memory: { max_size: -1 } }), { code: 'YC_E_CONFIG' });
  assert.throws(() => new Cache(), TypeError);
  await assert.rejects(Cache.prototype.get.call({}, 'a'), TypeError);
});

test('a memory that a user detaches costs nothing but its values', async () => {
  await cache.set('slab', 'v');
  const value = await cache.get('slab');
  try {
    structuredClone(value.buffer, { transfer: [value.buffer] });
    value.buffer.transfer?.();
  } catch (error) {
    assert.equal(error.name, 'DataCloneError');
  }
  if (value.length > 0) value.buffer.transfer?.();
  for (let at = 0; at < 300; at++) assert.equal(await cache.get('slab', { encoding: at % 2 ? 'utf8' : 'buffer' }).then(String), 'v');
});

test('a closed cache, and closing twice', async () => {
  const closed = await Cache.open(testUrl());
  const listing = closed.keys();
  const pending = [closed.set('a', 'v'), closed.get('a')];
  const closing = [closed.close(), closed.close({ timeout: 10 })];
  await eachRejects([() => closed.get('a')], { code: 'YC_E_CLOSED', retryable: false });
  await Promise.all(closing);
  await closed.close();
  for (const one of await Promise.allSettled(pending)) assert(one.status === 'fulfilled' || one.reason.code === 'YC_E_CLOSED');
  const calls = [
    () => closed.get('a'), () => closed.set('a', 'v'), () => closed.getMany(['a']), () => closed.setMany([['a', 'v']]), () => closed.flush(),
    () => closed.search('a'), () => closed.ping(), () => closed.stats(), () => closed.health(), () => closed.metrics(), () => listing.next(), () => closed.keys().next(),
    () => closed.invalidateTag('t'), () => closed.setJson('a', 1), () => closed.getVersioned('a'), () => closed.setIf('a', 'v', { absent: true }),
    () => closed.deleteIf('a', { version: 1n }), () => closed.getAndExpire('a', 1000), () => closed.counterAdd('a', 1),
    () => closed.deleteMany(['a']), () => closed.invalidatePattern('*'),
  ];
  await eachRejects(calls, { name: 'YokedCacheError', code: 'YC_E_CLOSED' });
  assert.throws(() => closed.getSync('a'), { code: 'YC_E_CLOSED' });
  assert.throws(() => closed.capabilities, { code: 'YC_E_CLOSED' });
});
