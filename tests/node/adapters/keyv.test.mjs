import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import net from 'node:net';
import { test } from 'node:test';
import { createCache } from 'cache-manager';
import Keyv from 'keyv';
import { Cache } from 'yokedcache';
import { KeyvYokedCache, createKeyv } from '@yokedcache/keyv';
import { runReadme, testUrl } from './url.mjs';

async function opened(t, options) {
  const cache = await Cache.open(testUrl(options));
  t.after(() => cache.close());
  return cache;
}

test('many keys', async (t) => {
  const keyv = createKeyv(await opened(t), { namespace: 'many' });
  assert.deepEqual(await keyv.setMany([{ key: 'a', value: 1 }, { key: 'b', value: { b: 2 }, ttl: 60_000 }, { key: 'c', value: 'c', ttl: 1 }]), [true, true, true]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await keyv.getMany(['a', 'b', 'c', 'd']), [1, { b: 2 }, undefined, undefined]);
  assert.deepEqual(await keyv.hasMany(['a', 'd']), [true, false]);
  assert.equal(await keyv.deleteMany(['a', 'b']), true);
  assert.equal(await keyv.deleteMany(['a', 'b']), false);
});

test('the store has the times to live of Keyv', async (t) => {
  const cache = await opened(t, 'default_ttl=5m');
  const keyv = createKeyv(cache, { namespace: 'times' });
  const view = cache.view({ namespace: 'times' });
  await keyv.set('always', 1);
  await keyv.set('minute', 1, 60_000);
  assert.equal(await view.ttl('always'), Infinity);
  const ttl = await view.ttl('minute');
  assert.ok(ttl > 30_000 && ttl <= 60_000, `${ttl}`);
});

test('another program reads the entries of a namespace', async (t) => {
  const cache = await opened(t);
  const keyv = createKeyv(cache, { namespace: 'users' });
  await keyv.set('1', 'Ada');
  assert.deepEqual(await cache.view({ namespace: 'users' }).getJson('1'), { value: 'Ada' });
  assert.equal(await cache.get('1'), undefined);
});

test('namespaces with any characters', async (t) => {
  const cache = await opened(t);
  const names = ['app:users', 'app:user', 'ä', 'x'.repeat(65), 'x'.repeat(64), ''];
  const keyvs = names.map((namespace) => createKeyv(cache, { namespace }));
  await Promise.all(keyvs.map((keyv, at) => keyv.set('key', at)));
  for (const [at, keyv] of keyvs.entries()) assert.equal(await keyv.get('key'), at);
  await keyvs[0].clear();
  assert.deepEqual(await Promise.all(keyvs.map((keyv) => keyv.get('key'))), [undefined, 1, 2, 3, 4, 5]);
});

test('clear leaves the entries of the cache and of other namespaces', async (t) => {
  const cache = await opened(t);
  const [one, two] = [createKeyv(cache, { namespace: 'one' }), createKeyv(cache, { namespace: 'two' })];
  await Promise.all([cache.set('a', 'cache'), one.set('a', 'one'), two.set('a', 'two')]);
  await one.clear();
  assert.equal(await one.get('a'), undefined);
  assert.equal(await two.get('a'), 'two');
  assert.equal(await cache.get('a', { encoding: 'utf8' }), 'cache');
});

test('the iterator lists more than one page', async (t) => {
  const keyv = createKeyv(await opened(t), { namespace: 'pages' });
  const wanted = new Map(Array.from({ length: 250 }, (_, at) => [`key:${at}`, { at }]));
  await keyv.setMany([...wanted].map(([key, value]) => ({ key, value })));
  const found = new Map();
  for await (const [key, value] of keyv.iterator()) found.set(key, value);
  assert.deepEqual(new Map([...found].sort()), new Map([...wanted].sort()));
});

test('an error is not a miss', async (t) => {
  // A server that closes each connection.
  const server = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  const cache = await Cache.open(`redis://127.0.0.1:${server.address().port}?key_prefix=down&connect=lazy&socket_timeout=500ms`);
  t.after(() => cache.close());
  const keyv = createKeyv(cache);
  const told = [];
  keyv.on('error', (error) => told.push(error.code));
  for (const call of [() => keyv.get('a'), () => keyv.get(['a']), () => keyv.set('a', 1), () => keyv.delete('a'), () => keyv.clear(), () => keyv.has('a')]) {
    await assert.rejects(call, { name: 'YokedCacheError' });
  }
  assert.ok(told.length >= 4, told.join());

  // Without throwOnErrors Keyv returns a miss; the event tells the error.
  const quiet = new Keyv({ store: new KeyvYokedCache(cache) });
  const errors = [];
  quiet.on('error', (error) => errors.push(error));
  assert.equal(await quiet.get('a'), undefined);
  assert.equal(errors.length, 1);
  // A store without listeners does not end the process.
  await assert.rejects(new KeyvYokedCache(cache).get('a'), { name: 'YokedCacheError' });
});

test('values that are not serialized are refused', async (t) => {
  const store = new KeyvYokedCache(await opened(t));
  await assert.rejects(store.set('a', { a: 1 }), TypeError);
  await assert.rejects(store.setMany([{ key: 'a', value: 1 }]), TypeError);
  assert.equal(await store.get('a'), undefined);
});

test('disconnect closes the views, not the cache', async (t) => {
  const cache = await opened(t);
  const keyv = createKeyv(cache);
  await keyv.set('a', 1);
  await keyv.disconnect();
  await cache.set('a', '1');
  assert.equal(await keyv.get('a'), 1);
});

test('CommonJS has the same exports', () => {
  assert.equal(createRequire(import.meta.url)('@yokedcache/keyv').createKeyv, createKeyv);
});

test('cache-manager', async (t) => {
  const manager = createCache({ stores: [createKeyv(await opened(t), { namespace: 'manager' })] });
  let loads = 0;
  const load = async () => ({ loads: ++loads });
  const all = await Promise.all(Array.from({ length: 20 }, () => manager.wrap('a', load, 60_000)));
  assert.deepEqual(all, Array.from({ length: 20 }, () => ({ loads: 1 })));
  assert.deepEqual(await manager.wrap('a', load, 60_000), { loads: 1 });
  await manager.mset([{ key: 'b', value: 1 }, { key: 'c', value: 2, ttl: 60_000 }]);
  // A miss is null in version 6, and undefined in version 7.
  const getMany = async (keys) => (await manager.mget(keys)).map((value) => value ?? undefined);
  assert.deepEqual(await getMany(['b', 'c', 'd']), [1, 2, undefined]);
  assert.ok(await manager.ttl('c') > Date.now());
  await manager.del('b');
  assert.deepEqual(await getMany(['b', 'c']), [undefined, 2]);
  await manager.clear();
  assert.deepEqual(await getMany(['a', 'c']), [undefined, undefined]);
});

test('README', (t) => runReadme(t, 'keyv'));
