'use strict';

/** What the scripts cannot say of the binding: forms of arguments and results, and concurrent calls. */

const assert = require('node:assert/strict');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { test, before, after } = require('node:test');
const { Cache, YokedCacheError, checkConfig, checkConfigFile, directory, testUrl, version } = require('./package.js');

let cache;
const isLocal = () => !cache.capabilities.share;
before(async () => (cache = await Cache.open(testUrl())));
after(async () => {
  await cache.flush();
  await cache.close();
});

test('ESM and CommonJS are one module', async () => {
  const module = await import(pathToFileURL(path.join(directory, 'lib/index.mjs')));
  assert.equal(module.Cache, Cache);
  assert.equal(module.YokedCacheError, YokedCacheError);
  assert.equal(module.version, version);
  assert.equal(version, require(path.join(directory, 'package.json')).version);
});

test('a text and its UTF-8 bytes are one key', async () => {
  for (const key of ['k', 'Zoë', '鍵'.repeat(30), 'x'.repeat(300), '😀']) {
    await cache.set(key, 'v');
    assert.equal(await cache.get(Buffer.from(key), { encoding: 'utf8' }), 'v');
    assert.equal(await cache.get(new Uint8Array(Buffer.from(key)), { encoding: 'utf8' }), 'v');
  }
});

test('values come back as Buffers, or as text', async () => {
  for (const value of ['', 'v', 'Zoë', '鍵'.repeat(3000), 'x'.repeat(100_000)]) {
    await cache.set('form', value);
    const found = await cache.get('form');
    assert(found instanceof Buffer && found.equals(Buffer.from(value)));
    assert.equal(await cache.get('form', { encoding: 'utf8' }), value);
  }
});

test('bytes come back as they were, of every length around the limits of the binding', async () => {
  for (const length of [0, 1, 100, 1023, 1024, 4095, 4096, 4097, 16384, 65535, 65536, 65537, 1_000_000]) {
    const value = Buffer.alloc(length, length % 251);
    await cache.set('length', value);
    assert((await cache.get('length')).equals(value), `${length} bytes`);
  }
});

test('a returned value belongs to its caller alone', async () => {
  await cache.set('own', 'abc');
  const [one, two] = await Promise.all([cache.get('own'), cache.get('own')]);
  one.fill(0);
  assert.equal(two.toString(), 'abc');
  assert.equal(await cache.get('own', { encoding: 'utf8' }), 'abc');
});

test('what was passed may change once the call has returned', async () => {
  const [key, value] = [Buffer.from('mine'), Buffer.alloc(200_000, 1)];
  const stored = cache.set(key, value);
  key.fill(0x21);
  value.fill(2);
  await stored;
  assert((await cache.get('mine')).equals(Buffer.alloc(200_000, 1)));
});

test('a miss is undefined, and JSON null is not', async () => {
  assert.equal(await cache.get('none'), undefined);
  assert.equal(await cache.get('none', { encoding: 'utf8' }), undefined);
  assert.equal(await cache.getJson('none'), undefined);
  assert.equal(await cache.ttl('none'), undefined);
  for (const value of [null, false, 0, '', [], { a: [1, 'é'], then: 1 }]) {
    await cache.setJson('json', value);
    assert.deepEqual(await cache.getJson('json'), value);
  }
  await cache.set('json', '{');
  await assert.rejects(cache.getJson('json'), SyntaxError);
});

test('times', async () => {
  await cache.set('time', 'v', { ttl: 60_000.2 });
  const left = await cache.ttl('time');
  assert(left > 30_000 && left <= 60_001, `${left}`);
  assert.equal(await cache.expire('time', Infinity), true);
  assert.equal(await cache.ttl('time'), Infinity);
  await cache.set('time', 'v', { ttl: 0.3 });
  assert.notEqual(await cache.ttl('time'), Infinity);
});

test('many', async () => {
  await cache.setMany(new Map([['m1', 'one'], ['m2', Buffer.alloc(50_000, 7)]]), { tags: new Set(['many']) });
  const [one, none, two] = await cache.getMany(new Set(['m1', 'm0', 'm2']));
  assert.deepEqual([one.toString(), none, two.equals(Buffer.alloc(50_000, 7))], ['one', undefined, true]);
  assert.deepEqual(await cache.getMany(['m1', 'm0'], { encoding: 'utf8' }), ['one', undefined]);
  await cache.invalidateTag('many');
  assert.deepEqual(await cache.getMany(['m1', 'm2']), [undefined, undefined]);
});

test('listing and search give texts, or Buffers', async () => {
  if (!cache.capabilities.list) return;
  await cache.set('list:é', 'v');
  await cache.set(Buffer.from([0x6c, 0xff]), 'v');
  const keys = [];
  for await (const key of cache.keys('list:*', { pageSize: 1 })) keys.push(key);
  assert.deepEqual(keys, ['list:é']);
  for await (const key of cache.keys('l[^i]', { encoding: 'buffer' })) assert.deepEqual(key, Buffer.from([0x6c, 0xff]));
  assert.deepEqual(await cache.search('list:é'), [{ key: 'list:é', score: 100 }]);
  assert.deepEqual((await cache.search('list:é', { encoding: 'buffer' }))[0].key, Buffer.from('list:é'));
});

test('hundreds of calls in one tick, and a value of its own for each', async () => {
  const numbers = Array.from({ length: 900 }, (_, at) => at);
  await Promise.all(numbers.map((at) => cache.set(`n${at}`, `value ${at}`, at % 3 ? undefined : { tags: [`t${at}`] })));
  const found = await Promise.all(numbers.map((at) => cache.get(`n${at}`, { encoding: at % 2 ? 'utf8' : 'buffer' })));
  numbers.forEach((at) => assert.equal(String(found[at]), `value ${at}`));
});

test('values that are kept stay as they are', async () => {
  const numbers = Array.from({ length: 300 }, (_, at) => at);
  await Promise.all(numbers.map((at) => cache.set(`kept${at}`, String(at).repeat(100))));
  const kept = [];
  for (let round = 0; round < 20; round++) kept.push(...(await Promise.all(numbers.map((at) => cache.get(`kept${at}`)))));
  kept.forEach((value, at) => assert.equal(value.toString(), String(at % 300).repeat(100)));
});

test('getSync is for the memory backend', async () => {
  await cache.set('sync', 'v');
  if (!isLocal()) return assert.throws(() => cache.getSync('sync'), { name: 'YokedCacheError', code: 'YC_E_UNSUPPORTED' });
  assert.equal(cache.getSync('sync').toString(), 'v');
  assert.equal(cache.getSync('sync', { encoding: 'utf8' }), 'v');
  assert.equal(cache.getSync('none'), undefined);
  assert.throws(() => cache.getSync(''), { name: 'YokedCacheError', code: 'YC_E_INVALID' });
  return undefined;
});

test('getSync reads every key and value that get reads', async () => {
  if (!isLocal()) return;
  const keys = ['k', 'é', '\u{1F600}', '\uFFFD', 'x'.repeat(1020), 'é'.repeat(2000), Buffer.from([0, 255]), new Uint8Array([7])];
  for (const key of keys) {
    for (const value of [Buffer.alloc(0), Buffer.from('é'), Buffer.alloc(3000, 1), Buffer.alloc(5000, 2)]) {
      await cache.set(key, value);
      assert.deepStrictEqual(cache.getSync(key), value);
      assert.deepStrictEqual(await cache.get(key), value);
      assert.equal(cache.getSync(key, { encoding: 'utf8' }), value.toString());
      assert.equal(await cache.get(key, { encoding: 'utf8' }), value.toString());
    }
  }
  assert.throws(() => cache.getSync('half \uD800'), TypeError);
  assert.throws(() => cache.getSync('x'.repeat(70_000)), { code: 'YC_E_TOO_LARGE' });
});

test('the Buffers of getSync are their own memory', async () => {
  if (!isLocal()) return;
  const count = 500;
  for (let at = 0; at < count; at++) await cache.set(`own:${at}`, `value ${at}`);
  const values = Array.from({ length: count }, (_, at) => cache.getSync(`own:${at}`));
  values[7].fill(0);
  assert.deepEqual(values.filter((value, at) => value.toString() !== `value ${at}`), [values[7]]);
  // Memory that its user detached is replaced; some versions of Node cannot detach it, others refuse to.
  try {
    values[count - 1].buffer.transfer();
  } catch (error) {
    assert.ok(error instanceof TypeError);
  }
  assert.equal(cache.getSync('own:9').toString(), 'value 9');
});

test('on memory a hit does not leave the thread', async () => {
  if (!isLocal()) return;
  await cache.set('hop', 'v');
  let turned = false;
  setImmediate(() => (turned = true));
  assert.equal(await cache.get('hop', { encoding: 'utf8' }), 'v');
  assert.equal((await cache.getMany(['hop'])).length, 1);
  assert.equal(turned, false);
});

test('a program that awaits call after call leaves Node its turns', async () => {
  // On memory a promise is resolved when its call returns.
  if (isLocal()) return;
  let hadTurn = false;
  setTimeout(() => (hadTurn = true), 1);
  for (let calls = 0; calls < 100_000 && !hadTurn; calls++) await cache.get('turn');
  assert.ok(hadTurn);
});

test('metrics are text for Prometheus', async () => {
  const fresh = await Cache.open(testUrl());
  await fresh.get('none');
  const { backend, key_prefix: prefix } = await fresh.stats();
  const text = await fresh.metrics();
  assert(text.includes(`\nyokedcache_misses_total{backend="${backend}",key_prefix="${prefix}"} 1\n`), text);
  assert(text.endsWith('\n') && text.startsWith('# HELP '));
  await fresh.close();
});

test('a configuration is checked, and nothing opened', async (t) => {
  const summary = await checkConfig('redis://app:c4n4ry@192.0.2.1/3?key_prefix=checked');
  assert.deepEqual([summary.backend, summary.servers, summary.key_prefix, summary.password], ['redis', ['192.0.2.1:6379'], 'checked', true]);
  assert(!JSON.stringify(summary).includes('c4n4ry'));
  assert.equal((await checkConfig({ backend: 'memory', memory: { max_size: 7 } })).max_size, 7);
  const fs = require('node:fs');
  const folder = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'yokedcache-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'cache.yaml');
  fs.writeFileSync(file, 'cache:\n  one: { backend: memory, memory: { key_prefix: first } }\n');
  assert.equal((await checkConfigFile(file, 'one')).key_prefix, 'first');
  assert.equal((await checkConfigFile(pathToFileURL(file), 'one')).key_prefix, 'first');
  const refused = { name: 'YokedCacheError', code: 'YC_E_CONFIG', retryable: false };
  await assert.rejects(checkConfig('memory://?max_sise=1'), { ...refused, message: /max_size/ });
  await assert.rejects(checkConfigFile(file, 'two'), refused);
  await assert.rejects(checkConfigFile(path.join(folder, 'none')), refused);
  for (const wrong of [undefined, null, 7, 'a\0b']) await assert.rejects(checkConfig(wrong), { name: 'TypeError' });
});

test('opening: an object, a file, the environment', async (t) => {
  const fs = require('node:fs');
  const folder = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'yokedcache-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'cache.yaml');
  fs.writeFileSync(file, 'cache:\n  one: { backend: memory, memory: { key_prefix: first } }\n  two: { backend: memory, memory: { key_prefix: second } }\n');
  const prefixOf = async (opened) => {
    const { key_prefix: prefix } = await (await opened).stats();
    await (await opened).close();
    return prefix;
  };
  assert.equal(await prefixOf(Cache.open({ backend: 'memory', memory: { key_prefix: 'object' } })), 'object');
  assert.equal(await prefixOf(Cache.openFile(file, 'two')), 'second');
  assert.equal(await prefixOf(Cache.openFile(pathToFileURL(file), 'one')), 'first');
  process.env.YOKEDCACHE_URL = 'memory://?key_prefix=environment';
  assert.equal(await prefixOf(Cache.openEnv()), 'environment');
  delete process.env.YOKEDCACHE_URL;
  await assert.rejects(Cache.openFile(file, 'three'), { code: 'YC_E_CONFIG', retryable: false });
  await assert.rejects(Cache.openEnv(), { code: 'YC_E_CONFIG' });
  await assert.rejects(Cache.open('memory://?max_sise=3'), { name: 'YokedCacheError', code: 'YC_E_CONFIG', message: /max_size/ });
});
