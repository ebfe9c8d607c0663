'use strict';

/** Typed caches: JSON, MessagePack and codecs that fail. */

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, CodecError, testUrl } = require('./package.js');
/** The package that codec/check installs. */
const msgpack = process.env.YC_TEST_MSGPACK === undefined ? undefined : require(process.env.YC_TEST_MSGPACK);

let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(async () => {
  await cache.flush();
  await cache.close();
});

const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const neverCalled = () => assert.fail('the loader was called');
const values = [null, false, 0, -1.5, '', 'é', [], [1, [2]], { name: 'Ada', tags: ['a'], then: 1, nested: { none: null } }, 'x'.repeat(10_000)];

/** MessagePack as users may write it: any library with an encoder and a decoder serves. */
const codecs = { JSON: undefined, ...(msgpack && { MessagePack: { name: 'MessagePack', encode: msgpack.encode, decode: msgpack.decode } }) };

for (const [name, codec] of Object.entries(codecs)) {
  test(`${name}: every method`, async () => {
    const typed = cache.typed(codec);
    assert.equal(typed.cache, cache);
    for (const value of values) {
      await typed.set(`${name} set`, value, { ttl: 60_000 });
      assert.deepEqual(await typed.get(`${name} set`), value);
      const version = await typed.setIf(`${name} set`, value, { present: true });
      assert.deepEqual(await typed.getVersioned(`${name} set`), { value, version });
      assert.deepEqual(await typed.getAndExpire(`${name} set`, Infinity), value);
      const missed = await typed.getOrLoad(`${name} load`, async () => value, { ttl: 60_000, tags: [name] });
      assert.deepEqual(missed, value);
      assert.deepEqual(await typed.getOrLoad(Buffer.from(`${name} load`), neverCalled), value);
      const many = await typed.getOrLoadMany([`${name} m1`, `${name} m2`, `${name} m3`], () => ({ [`${name} m1`]: value, [`${name} m3`]: 5 }), { tags: [name] });
      assert.deepEqual([...many], [[`${name} m1`, value], [`${name} m3`, 5]]);
      assert.deepEqual(await typed.getMany([`${name} m1`, `${name} m2`]), [value, undefined]);
      await typed.setMany(new Map([[`${name} m4`, value]]), { tags: [name] });
      assert.deepEqual(await typed.get(`${name} m4`), value);
      await cache.invalidateTag(name);
    }
    assert.equal(await typed.get(`${name} m4`), undefined);
    assert.equal(await typed.getVersioned(`${name} m4`), undefined);
    assert.equal(await typed.getAndExpire(`${name} m4`, 1000), undefined);
    assert.equal(await typed.delete(`${name} set`), true);
    assert.deepEqual(await typed.deleteMany([`${name} set`]), [false]);
  });

  test(`${name}: an absence is typed, and null is a value`, async () => {
    const typed = cache.typed(codec);
    assert.equal(await typed.getOrLoad(`${name} none`, async () => undefined), undefined);
    assert.equal(await typed.getOrLoad(`${name} none`, neverCalled), undefined);
    assert.equal(await typed.getOrLoad(`${name} null`, async () => null), null);
    assert.equal(await typed.getOrLoad(`${name} null`, neverCalled), null);
    await assert.rejects(typed.set(`${name} none`, undefined), typeError);
  });

  test(`${name}: callers that share a load own their values`, async () => {
    const typed = cache.typed(codec);
    let loads = 0;
    const results = await Promise.all([1, 2, 3].map(() => typed.getOrLoad(`${name} own`, async () => ({ loads: ++loads, list: [await sleep(10)].length }))));
    results[0].loads = 'changed';
    assert.deepEqual(results[1], { loads: 1, list: 1 });
    assert.equal(loads, 1);
    assert.deepEqual(await typed.getOrLoad(`${name} own`, neverCalled), { loads: 1, list: 1 });
  });

  test(`${name}: what does not decode names the key and the codec`, async () => {
    const typed = cache.typed(codec);
    const wrong = (error) => {
      assert(error instanceof CodecError && error instanceof Error);
      assert.deepEqual([error.name, error.code, error.key, error.codec], ['CodecError', 'ERR_CODEC', `${name} wrong`, name]);
      assert.match(error.message, new RegExp(`^${name} cannot decode the value of the key "${name} wrong": `));
      assert.ok(error.cause instanceof Error);
      return true;
    };
    await cache.set(`${name} wrong`, Buffer.from([0xc1, 0x7b]));
    for (const call of [() => typed.get(`${name} wrong`), () => typed.getMany([`${name} wrong`]), () => typed.getVersioned(`${name} wrong`), () => typed.getOrLoad(`${name} wrong`, neverCalled), () => typed.getOrLoadMany([`${name} wrong`], neverCalled)]) {
      await assert.rejects(call(), wrong);
    }
    assert.equal(await cache.exists(`${name} wrong`), true, 'an error is no miss');
  });
}

test('JSON in a typed cache is that of getJson', async () => {
  await cache.setJson('json', { a: 1 });
  assert.deepEqual(await cache.typed().get('json'), { a: 1 });
  await cache.typed().set('json', [2]);
  assert.deepEqual(await cache.getJson('json'), [2]);
  assert.equal(await cache.get('json', { encoding: 'utf8' }), '[2]');
});

test('what a codec cannot encode is an error of the call and stores nothing', async () => {
  const circle = {};
  circle.circle = circle;
  const wrong = { name: 'CodecError', code: 'ERR_CODEC', message: /^JSON cannot encode the value of the key "odd": / };
  for (const value of [circle, 1n, () => 1, Symbol('v')]) {
    await assert.rejects(cache.typed().set('odd', value), wrong);
    await assert.rejects(cache.typed().getOrLoad('odd', () => value), wrong);
    await assert.rejects(cache.typed().getOrLoadMany(['odd'], () => ({ odd: value })), wrong);
  }
  const codec = { encode: () => 5, decode: () => undefined };
  await assert.rejects(cache.typed(codec).set('odd', 1), { name: 'CodecError', message: /^codec cannot encode.*number/ });
  await cache.set('undefined', 'v');
  await assert.rejects(cache.typed(codec).get('undefined'), { name: 'CodecError', message: /decode\(\) returned undefined/ });
  await assert.rejects(cache.typed({ encode: () => { throw 5; }, decode: () => 1 }).set('odd', 1), { name: 'CodecError', cause: 5 });
  assert.equal(await cache.exists('odd'), false);
  assert.equal(await cache.typed().getOrLoad('odd', () => 1, { wait: 1000 }), 1);
});

test('a codec that uses its memory again', async () => {
  const memory = Buffer.alloc(8);
  const typed = cache.typed({ encode: (value) => memory.fill(value), decode: (bytes) => bytes[0] });
  const [one, two] = await Promise.all([typed.getOrLoad('memory1', () => 1), typed.getOrLoad('memory2', () => 2)]);
  await Promise.all([typed.set('memory3', 3), typed.setMany([['memory4', 4], ['memory5', 5]])]);
  assert.deepEqual([one, two, ...(await typed.getMany(['memory1', 'memory2', 'memory3', 'memory4', 'memory5']))], [1, 2, 1, 2, 3, 4, 5]);
});

test('what is no codec, key or option', async () => {
  for (const codec of [null, 5, 'JSON', {}, { encode() {} }, { encode() {}, decode: 1 }, { encode() {}, decode() {}, encoding: 'hex' }, { encode() {}, decode() {}, name: 5 }]) {
    assert.throws(() => cache.typed(codec), typeError);
  }
  const typed = cache.typed();
  for (const key of [undefined, null, 5, {}]) {
    for (const call of [() => typed.get(key), () => typed.set(key, 1), () => typed.setIf(key, 1, { absent: true }), () => typed.getMany([key]), () => typed.setMany([[key, 1]]), () => typed.getOrLoad(key, neverCalled), () => typed.delete(key)]) {
      await assert.rejects(call(), typeError);
    }
  }
  for (const call of [() => typed.get('a', { encoding: 'utf8' }), () => typed.getOrLoad('a', neverCalled, { encoding: 'utf8' }), () => typed.getOrLoadMany(['a'], neverCalled, { encoding: 'utf8' }), () => typed.set('a', 1, { TTL: 5 })]) {
    await assert.rejects(call(), typeError);
  }
  await assert.rejects(typed.get('a', { signal: AbortSignal.abort() }), { name: 'AbortError' });
});
