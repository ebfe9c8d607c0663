'use strict';

/** Commands of Redis: replies of each type, keys, and what is refused. */

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { Cache, YokedCacheError, testUrl } = require('./package.js');

let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(async () => {
  await cache.flush();
  await cache.close();
});

const onRedis = (name, run) => test(name, async (t) => (cache.capabilities.command ? run(t) : t.skip('the backend has no commands')));
const run = (args, options) => cache.redis.command(args, options);
const text = { encoding: 'utf8' };

test('a backend without commands says so', async () => {
  if (cache.capabilities.command) return;
  await assert.rejects(run(['PING']), { code: 'YC_E_UNSUPPORTED', message: /redis:\/\// });
  await assert.rejects(run(['GET', cache.redis.key('a')]), { code: 'YC_E_UNSUPPORTED' });
});

onRedis('replies of each type', async () => {
  const key = cache.redis.key('types');
  assert.equal(await run(['SET', key, 'Zoë']), 'OK');
  assert.deepEqual(await run(['GET', key]), Buffer.from('Zoë'));
  assert.equal(await run(['GET', key], text), 'Zoë');
  assert.equal(await run(['GET', cache.redis.key('none')]), null);
  assert.equal(await run(['STRLEN', key]), 4);
  assert.deepEqual(await run(['EVAL', "return {1, {'two', false}, {}}", 0], text), [1, ['two', null], []]);
  assert.equal(await run(['DECRBY', cache.redis.key('low'), 9223372036854775807n]), -9223372036854775807n);
  assert.equal(await run(['SET', key, new Uint8Array([0, 255])]), 'OK');
  assert.deepEqual(await run(['GET', key]), Buffer.from([0, 255]));
});

onRedis('an error in an array is a value, one that is the reply is thrown', async () => {
  const [first, second] = await run(['EVAL', "return {1, redis.error_reply('ERR of its own')}", 0]);
  assert.equal(first, 1);
  assert(second instanceof YokedCacheError && second.code === 'YC_E_SERVER' && second.message === 'ERR of its own');
  await run(['SET', cache.redis.key('text'), 'x']);
  await assert.rejects(run(['LPUSH', cache.redis.key('text'), 'y']), { code: 'YC_E_SERVER', message: /WRONGTYPE.*check the command/ });
});

onRedis('keys of commands lie under the prefix, apart from entries', async () => {
  const { key, rawKey } = { key: cache.redis.key('shared'), rawKey: (name) => cache.redis.rawKey(name) };
  await cache.set('shared', 'entry');
  await run(['SET', key, 'data']);
  assert.equal(await cache.get('shared', text), 'entry');
  const [, names] = await run(['SCAN', 0, 'MATCH', `n${process.pid}*:d:shared`, 'COUNT', 100000], text);
  assert.equal(names.length, 1);
  assert.equal(await run(['GET', rawKey(names[0])], text), 'data');
  assert.deepEqual(await run(['MGET', key, cache.redis.key(Buffer.from('shared')), rawKey('none')], text), ['data', 'data', null]);
});

onRedis('what a shared connection cannot run is refused, and nothing is sent', async () => {
  for (const args of [['BLPOP', 'a', 0], ['select', 1], ['MULTI'], ['SUBSCRIBE', 'a'], ['CLIENT', 'REPLY', 'OFF'], ['']]) {
    await assert.rejects(run(args), { code: 'YC_E_INVALID' }, args.join(' '));
  }
  assert.equal(await run(['PING']), 'PONG');
});

onRedis('arguments that are not allowed', async () => {
  const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
  for (const args of [undefined, 'PING', [undefined], ['GET', null], ['SET', 'a', {}]]) await assert.rejects(run(args), typeError);
  await assert.rejects(run([]), { code: 'YC_E_INVALID' });
  await assert.rejects(run(['PING'], { idempotent: 1 }), typeError);
  await assert.rejects(run(['PING'], { retry: true }), /option "retry" is unknown/);
  for (const key of [undefined, 7, '\ud800']) assert.throws(() => cache.redis.key(key), typeError);
});

onRedis('commands at once, and one that is aborted', async () => {
  const count = cache.redis.key('count');
  const sums = await Promise.all(Array.from({ length: 1000 }, () => run(['INCR', count])));
  assert.deepEqual(sums.sort((one, other) => one - other), Array.from({ length: 1000 }, (_, at) => at + 1));
  const aborted = AbortSignal.abort(new Error('no longer'));
  await assert.rejects(run(['INCR', count], { signal: aborted }), /no longer/);
  assert.equal(await run(['GET', count], { ...text, idempotent: true }), '1000');
});
