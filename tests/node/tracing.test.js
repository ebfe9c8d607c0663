'use strict';

/** Checks the TracingChannel of calls. */

const assert = require('node:assert/strict');
const { AsyncLocalStorage } = require('node:async_hooks');
const diagnostics = require('node:diagnostics_channel');
const { test } = require('node:test');
const { Cache, testUrl } = require('./package.js');

const skip = diagnostics.tracingChannel === undefined ? 'this version of Node has no TracingChannel' : false;
const url = process.env.YC_TEST_URL ?? 'memory://';
const prefix = `n${process.pid}`;
const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];

/** Opens a cache that ends with the test. */
async function open(t) {
  const cache = await Cache.open(testUrl());
  t.after(async () => {
    await cache.flush();
    await cache.close();
  });
  return cache;
}

/** Receives the messages of the channel until the test ends: [event, context]. */
function record(t, events = EVENTS) {
  const channel = diagnostics.tracingChannel('yokedcache:command');
  const messages = [];
  const subscriber = Object.fromEntries(events.map((event) => [event, (context) => messages.push([event, context])]));
  channel.subscribe(subscriber);
  const stop = () => channel.unsubscribe(subscriber);
  t.after(stop);
  return { messages, stop };
}

const eventsOf = (messages) => messages.map(([event]) => event);

test('a call is published with its place and its result', { skip }, async (t) => {
  const { messages, stop } = record(t);
  const cache = await open(t);
  assert.equal(messages.length, 0);
  await cache.set('key', 'value');
  assert.deepEqual(eventsOf(messages), ['start', 'end', 'asyncStart', 'asyncEnd']);
  assert.ok(messages.every(([, context]) => context === messages[0][1]));
  const [, set] = messages[0];
  assert.deepEqual([set.operation, set.keyPrefix, set.namespace, set.error], ['set', prefix, undefined, undefined]);
  assert.ok(!('key' in set));
  const server = /^(\w+):\/\/(?:[^@/]*@)?([^:/,?]*)(?::(\d+))?/.exec(url);
  if (url.startsWith('memory:')) {
    assert.deepEqual([set.backend, set.serverAddress, set.serverPort], ['memory', undefined, undefined]);
  } else {
    assert.deepEqual([set.backend, set.serverAddress, String(set.serverPort)], server.slice(1, 4));
  }
  assert.equal(await cache.get('key', { encoding: 'utf8' }), 'value');
  const [, get] = messages.at(-1);
  assert.deepEqual([get.operation, get.result], ['get', 'value']);
  stop();
  const before = messages.length;
  await cache.get('key');
  assert.equal(messages.length, before);
});

test('a call that fails is published with its error, and is rejected with it', { skip }, async (t) => {
  const cache = await open(t);
  const { messages } = record(t);
  const rejected = await cache.get('').then(() => undefined, (error) => error);
  assert.equal(rejected.code, 'YC_E_INVALID');
  assert.deepEqual(eventsOf(messages), ['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
  assert.equal(messages[2][1].error, rejected);
  await assert.rejects(cache.set('key', 5), (error) => error === messages.at(-1)[1].error);
});

test('a method of another object is rejected, traced or not', { skip }, async (t) => {
  const cache = await open(t);
  const calls = () => [cache.get.call({}, 'key'), cache.set.call({}, 'key', 'value'), cache.getOrLoad.call({}, 'key', () => 'value'), cache.getVersioned.call({}, 'key')];
  const areRejected = () => Promise.all(calls().map((call) => assert.rejects(call, TypeError)));
  await areRejected();
  record(t);
  await areRejected();
});

test('each kind of call is published once', { skip }, async (t) => {
  const cache = await open(t);
  const { messages } = record(t, ['start']);
  const view = cache.view({ namespace: 'users' });
  const typed = view.typed();
  await cache.setJson('json', [1]);
  await cache.getJson('json');
  await cache.invalidateTag('tag');
  await cache.setMany([['a', '1']]);
  await cache.getMany(['a']);
  await typed.set('b', 2);
  await typed.get('b');
  await typed.getOrLoad('c', () => 3);
  await view.view({ timeout: 1000 }).exists('b');
  await cache.ping();
  await cache.stats();
  const seen = messages.map(([, { operation, namespace }]) => (namespace === undefined ? operation : `${operation} of ${namespace}`));
  assert.deepEqual(seen, [
    'set', 'getJson', 'invalidateTags', 'setMany', 'getMany', 'set of users', 'get of users', 'getOrLoad of users', 'exists of users', 'ping', 'stats',
  ]);
});

test('a store that is bound to the start holds in the loader and in later messages', { skip }, async (t) => {
  const cache = await open(t);
  const spans = new AsyncLocalStorage();
  const channel = diagnostics.tracingChannel('yokedcache:command');
  let last = 0;
  const parents = new Map();
  channel.start.bindStore(spans, (context) => {
    const span = { number: ++last, operation: context.operation, parent: spans.getStore() };
    parents.set(context, span);
    return span;
  });
  t.after(() => channel.start.unbindStore(spans));
  const ended = [];
  const subscriber = { asyncEnd: (context) => ended.push([parents.get(context), spans.getStore()]) };
  channel.subscribe(subscriber);
  t.after(() => channel.unsubscribe(subscriber));
  const request = { operation: 'request' };
  const inLoader = [];
  await spans.run(request, async () => {
    await Promise.all(['a', 'b'].map((key) => cache.getOrLoad(key, async () => {
      inLoader.push(spans.getStore());
      await cache.get(`source of ${key}`);
      return key;
    })));
    assert.equal(spans.getStore(), request);
  });
  assert.deepEqual(inLoader.map(({ operation, parent }) => [operation, parent]), [['getOrLoad', request], ['getOrLoad', request]]);
  assert.equal(ended.length, 4);
  for (const [span, store] of ended) assert.equal(store, span);
  const inner = ended.map(([span]) => span).filter(({ operation }) => operation === 'get');
  assert.deepEqual(inner.map(({ parent }) => parent), inLoader);
});

test('one subscriber of one event suffices', { skip }, async (t) => {
  const cache = await open(t);
  for (const event of EVENTS) {
    const { messages, stop } = record(t, [event]);
    await cache.get('').catch(() => {});
    stop();
    assert.deepEqual(eventsOf(messages), [event]);
  }
});

test('the place follows a switch, and is read by the first call without a subscriber at the opening', { skip }, async (t) => {
  const cache = await Cache.open('memory://?key_prefix=first');
  t.after(() => cache.close());
  const { messages } = record(t, ['start']);
  await cache.get('key');
  // The configuration is read meanwhile.
  for (let turn = 0; turn < 2000 && messages.at(-1)[1].backend === undefined; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await cache.get('key');
  }
  assert.deepEqual([messages.at(-1)[1].backend, messages.at(-1)[1].keyPrefix], ['memory', 'first']);
  await cache.switchTo('memory://?key_prefix=second');
  await cache.get('key');
  assert.equal(messages.at(-1)[1].keyPrefix, 'second');
});
