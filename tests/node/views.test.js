'use strict';

/** Views: namespaces apart from each other, other defaults, and the end of a view and of its cache. */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Cache, YokedCacheError, testUrl } = require('./package.js');

/** A cache that is emptied and closed behind the test. */
async function open(t) {
  const cache = await Cache.open(testUrl());
  t.after(async () => {
    await cache.flush().catch(() => {});
    await cache.close();
  });
  return cache;
}

const text = { encoding: 'utf8' };

test('a namespace has keys and tags of its own', async (t) => {
  const cache = await open(t);
  const [users, groups] = [cache.view({ namespace: 'users' }), cache.view({ namespace: 'groups' })];
  for (const [one, value] of [[cache, 'plain'], [users, 'user'], [groups, 'group']]) await one.set('k', value, { tags: ['t'] });
  assert.deepEqual(await Promise.all([cache, users, groups].map((one) => one.get('k', text))), ['plain', 'user', 'group']);
  await users.invalidateTag('t');
  assert.deepEqual(await Promise.all([cache, users, groups].map((one) => one.get('k', text))), ['plain', undefined, 'group']);
  assert.equal(await users.getOrLoad('k', () => 'loaded', text), 'loaded');
  const stats = await cache.stats();
  assert.deepEqual(Object.keys(stats.namespaces), ['groups', 'users']);
  assert.equal((await users.stats()).namespace, 'users');
  assert.match(await cache.metrics(), /yokedcache_namespace_sets_total\{[^}]*namespace="users"\} 2\n/);
  await Promise.all([users.close(), groups.close()]);
  assert.equal(await cache.get('k', text), 'plain');
});

test('a view has other defaults', async (t) => {
  const cache = await open(t);
  const view = cache.view({ defaultTtl: 20_000, tags: ['all'], timeout: 10_000 });
  await view.set('k', 'v');
  const left = await cache.ttl('k');
  assert(left > 0 && left <= 20_000, `${left}`);
  await cache.invalidateTag('all');
  assert.equal(await view.get('k'), undefined);
  const lasting = view.view({ defaultTtl: Infinity, namespace: 'n' });
  await lasting.set('k', 'v');
  assert.equal(await lasting.ttl('k'), Infinity);
  assert.equal(await cache.get('k'), undefined);
  await lasting.invalidateTag('all');
  assert.equal(await lasting.get('k'), undefined);
  assert.equal(await lasting.counterAdd('c', 1n), 1n);
  assert.equal(await lasting.counterAdd('c', 1n), 2n);
  await lasting.set('k', 'v');
  await lasting.clear();
  assert.deepEqual(await lasting.getMany(['c', 'k']), [undefined, undefined]);
  await assert.rejects(cache.clear(), { code: 'YC_E_UNSUPPORTED', message: /generations: true/ });
  await Promise.all([view.close(), lasting.close()]);
});

test('a view ends with its cache, and ends nothing else', async () => {
  const cache = await Cache.open(testUrl());
  const [one, two] = [cache.view({ namespace: 'one' }), cache.view({ namespace: 'one' })];
  await one.set('k', 'v');
  await one.close();
  await assert.rejects(one.get('k'), { code: 'YC_E_CLOSED' });
  assert.equal(await two.get('k', text), 'v');
  await two.delete('k');
  await cache.close();
  await assert.rejects(two.get('k'), { code: 'YC_E_CLOSED' });
  assert.throws(() => cache.view(), { code: 'YC_E_CLOSED' });
  await two.close();
});

test('a switch of the cache applies to its views', async () => {
  const cache = await Cache.open(testUrl());
  const view = cache.view({ namespace: 'n' });
  await view.set('k', 'v');
  await assert.rejects(view.switchTo('memory://'), { code: 'YC_E_UNSUPPORTED' });
  await assert.rejects(view.migrateTo(cache), { code: 'YC_E_UNSUPPORTED' });
  const before = cache.capabilities.list;
  if (before) {
    await cache.switchTo('memory://?key_prefix=next', { copy: true });
    assert.equal(await view.get('k', text), 'v');
    assert.equal(view.getSync('k', text), 'v');
    assert.equal(view.capabilities.share, false);
  }
  await view.close();
  await cache.close();
});

test('wrong options are refused', async (t) => {
  const cache = await open(t);
  for (const options of [{ namespace: 1 }, { name: 'a' }, { tags: 'a' }, { timeout: '1s' }, { defaultTtl: 'never' }, null, []]) {
    assert.throws(() => cache.view(options), TypeError, JSON.stringify(options));
  }
  for (const options of [{ timeout: -1 }, { defaultTtl: NaN }]) assert.throws(() => cache.view(options), { code: 'YC_E_INVALID' });
  for (const options of [{ namespace: '' }, { namespace: 'a:b' }, { timeout: 0 }, { tags: [''] }]) {
    assert.throws(() => cache.view(options), (error) => error instanceof YokedCacheError && error.code === 'YC_E_CONFIG');
  }
  const view = cache.view({ namespace: 'a' });
  assert.throws(() => view.view({ namespace: 'b' }), { code: 'YC_E_INVALID' });
  await view.close();
  await cache.view().close();
});
