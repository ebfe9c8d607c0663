'use strict';

/** getOrLoad and getOrLoadMany: one load at a time, no value that was loaded before a change, and waits that end. */

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { test, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { inspect } = require('node:util');
const { Cache, testUrl } = require('./package.js');

let cache;
/** Another cache of the same store, as another process has; the memory backend has no such. */
let other;
const text = { encoding: 'utf8' };
/** AbortSignal.timeout() does not keep a process alive. */
let alive;
before(async () => {
  alive = setInterval(() => {}, 1000);
  cache = await Cache.open(testUrl());
  other = cache.capabilities.share ? await Cache.open(testUrl()) : cache;
});
after(async () => {
  clearInterval(alive);
  await cache.flush();
  await Promise.all([cache.close(), other.close()]);
});

const busy = { name: 'YokedCacheError', code: 'YC_E_BUSY', retryable: true };
const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const invalid = { name: 'YokedCacheError', code: 'YC_E_INVALID' };
const never = () => new Promise(() => {});
const neverCalled = () => assert.fail('the loader was called');

/** A promise with its functions. */
function deferred() {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
  return one;
}

/** A loader of one value at a time, which counts. Each load reads its value when it begins, and returns it when it is let go. */
class Source {
  constructor(value) {
    Object.assign(this, { value, loads: 0, running: 0, most: 0, gates: [], began: [] });
  }

  get loader() {
    return async () => {
      const { value } = this;
      const gate = deferred();
      this.loads += 1;
      this.most = Math.max(this.most, (this.running += 1));
      this.gates.push(gate);
      this.began.shift()?.resolve();
      await gate.promise.finally(() => (this.running -= 1));
      return value;
    };
  }

  /** Fulfilled when the next load begins. */
  next() {
    const one = deferred();
    this.began.push(one);
    return one.promise;
  }

  letGo() {
    for (const gate of this.gates.splice(0)) gate.resolve();
  }

  /** Lets all loads go, and those that follow. */
  async open(calls) {
    let done = false;
    const all = Promise.allSettled(calls).finally(() => (done = true));
    while (!done) {
      this.letGo();
      await sleep(1);
    }
    return Promise.all(calls);
  }
}

// ---- Hits, misses and absences ----

test('a miss is loaded and stored, a hit is not loaded', async () => {
  assert.equal(await cache.getOrLoad('hit', async (fill) => `value of ${fill.key}`, { ttl: 60_000, encoding: 'utf8' }), 'value of hit');
  assert.equal(await cache.get('hit', text), 'value of hit');
  const left = await cache.ttl('hit');
  assert(left > 50_000 && left <= 60_000, `${left}`);
  assert.deepEqual(await cache.getOrLoad('hit', neverCalled), Buffer.from('value of hit'));
  assert.equal(await cache.getOrLoad(Buffer.from('hit'), neverCalled, text), 'value of hit');
});

test('a miss returns what a hit returns, for values of every length', async () => {
  for (const value of ['', 'v', 'Zoë', 'x'.repeat(4096), 'é'.repeat(50_000), Buffer.from([0, 255]), new Uint8Array(100_000).fill(7)]) {
    const key = `form ${typeof value} ${value.length}`;
    const missed = await cache.getOrLoad(key, () => value);
    assert(missed instanceof Buffer && missed.equals(Buffer.from(value)));
    assert.deepEqual(await cache.getOrLoad(key, neverCalled), missed);
    assert.equal(await cache.getOrLoad(`${key} text`, async () => value, text), Buffer.from(value).toString());
    assert.equal(await cache.getOrLoad(`${key} text`, neverCalled, text), Buffer.from(value).toString());
  }
});

test('the loader names ttl, staleFor and tags', async () => {
  await cache.getOrLoad('filled', async (fill) => {
    assert.deepEqual([fill.key, fill.ttl, fill.staleFor, fill.signal.aborted], ['filled', 1000, undefined, false]);
    Object.assign(fill, { ttl: 20, staleFor: 60_000 });
    fill.tags.push('learned');
    return 'old';
  }, { ttl: 1000, tags: ['named'] });
  await sleep(30);
  assert.equal((await cache.getOrLease('filled')).state, 'stale');
  for (const tag of ['learned', 'named']) {
    await cache.getOrLoad(`by ${tag}`, (fill) => {
      fill.tags = new Set(['learned']);
      return 'v';
    }, { tags: new Set(['named']) });
    await cache.invalidateTag(tag);
    assert.equal(await cache.get(`by ${tag}`), undefined, tag);
  }
});

test('undefined is remembered as absent', async () => {
  assert.equal(await cache.getOrLoad('absent', async () => undefined), undefined);
  assert.equal(await cache.getOrLoad('absent', neverCalled), undefined);
  assert.equal(await other.getOrLoad('absent', neverCalled, text), undefined);
  assert.equal(await cache.getOrLoad('short', () => {}, { absentTtl: 20, ttl: 60_000 }), undefined);
  await sleep(30);
  assert.deepEqual(await cache.getOrLoad('short', () => 'there'), Buffer.from('there'));
  const results = await Promise.all(Array.from({ length: 10 }, () => cache.getOrLoad('absent together', () => sleep(10))));
  assert.ok(results.every((value) => value === undefined));
});

// ---- One load ----

test('callers share one load, and own what they get', async () => {
  const source = new Source(Buffer.from('value'));
  const calls = Array.from({ length: 100 }, (_, at) => (at % 2 ? cache : other).getOrLoad('shared', source.loader));
  const results = await source.open(calls);
  assert.deepEqual([source.loads, source.most], [1, 1]);
  results[0].fill(0);
  for (const value of results.slice(1)) assert.equal(value.toString(), 'value');
});

test('a text and its bytes are one key', async () => {
  const source = new Source('v');
  const bytes = Buffer.from([0x6b, 0xff, 0xfe]);
  const calls = ['schlüssel', Buffer.from('schlüssel'), new Uint8Array(Buffer.from('schlüssel'))].map((key) => cache.getOrLoad(key, source.loader));
  await source.open([...calls, cache.getOrLoad(bytes, source.loader), cache.getOrLoad(Buffer.from(bytes), source.loader)]);
  assert.equal(source.loads, 2);
});

test('a failed fill does not fail the call', async () => {
  const source = new Source(Buffer.alloc(9 << 20));
  const results = await source.open([cache.getOrLoad('huge', source.loader), cache.getOrLoad('huge', source.loader)]);
  assert.ok(results.every(({ length }) => length === 9 << 20));
  assert(source.loads <= 2 && source.most === 1, 'the second call shares the load if it began before the loader');
  assert.equal(await cache.get('huge'), undefined);
});

test('callers that wait for a value that cannot be stored share the next load', async () => {
  const source = new Source(Buffer.alloc(9 << 20, 1));
  const loader = (fill) => fill.tags.push('told') && source.loader();
  const get = () => cache.getOrLoad('too large', loader, { wait: 60_000 });
  const begun = source.next();
  const leader = get();
  await begun;
  const joined = [...Array.from({ length: 10 }, get), cache.getOrLoadMany(['too large'], async (keys, fill) => ({ 'too large': await loader(fill) }), { wait: 60_000 })];
  await sleep(30);
  source.value = Buffer.alloc(9 << 20, 2);
  await other.invalidateTag('told');
  const late = [get(), get()];
  await sleep(30);
  const next = source.next();
  source.letGo();
  await Promise.race([next, ...late]);
  await sleep(100); // Until all have joined.
  const results = await source.open([leader, ...joined, ...late]);
  assert.equal(results[0][0], 1);
  assert.equal(results[11].get('too large').length, 9 << 20);
  for (const value of results.slice(12)) assert.equal(value[0], 2, 'a call that came after a change gets no older value');
  assert(source.loads <= 3 && source.most === 1, `${source.loads} loads, ${source.most} at a time`);
});

// ---- Changes during a load (what must never happen, 1) ----

const changes = {
  invalidateTag: () => other.invalidateTag('changed'),
  'a tag that only the load tells': () => other.invalidateTag('told'),
  delete: () => other.delete('changing'),
  set: () => other.set('changing', 'new'),
  setMany: () => other.setMany([['changing', 'new']]),
  invalidatePattern: () => other.invalidatePattern('chang*'),
  flush: () => other.flush(),
};
for (const [name, change] of Object.entries(changes)) {
  test(`a value that was loaded before a change is not served after it: ${name}`, async () => {
    if (/Pattern|flush/.test(name) && !cache.capabilities.list) return;
    await cache.flush();
    const source = new Source('old');
    const loader = async (fill) => {
      fill.tags.push('told');
      return source.loader();
    };
    const get = () => cache.getOrLoad('changing', loader, { tags: ['changed'], encoding: 'utf8', wait: 60_000 });
    const begun = source.next();
    const leader = get();
    await begun;
    const joined = [get(), get()];
    await sleep(20);
    source.value = 'new';
    await change();
    const later = [get(), get(), cache.getOrLoadMany(['changing'], async (keys, fill) => ({ [keys[0]]: await loader(fill) }), { tags: ['changed'], encoding: 'utf8' })];
    const results = await source.open([leader, ...joined, ...later]);
    assert.deepEqual(results.slice(3, 5), ['new', 'new']);
    assert.equal(results[5].get('changing'), 'new');
    assert.equal(results[0], 'old', 'the caller of the loader began before the change');
    for (const value of results.slice(1, 3)) assert.equal(value, 'new', 'a joined caller takes no value that was not stored');
    assert.equal(await get(), 'new');
    assert.equal(await cache.get('changing', text), 'new');
    assert.equal(source.most, 1);
  });
}

test('a key that is changed during each load: those that wait share the load that begins after their calls', { timeout: 60_000 }, async () => {
  let loads = 0;
  const loader = async () => {
    const value = `${(loads += 1)}`;
    await sleep(30); // Until all have joined.
    await other.invalidateTag('hot');
    return value;
  };
  const options = { tags: ['hot'], encoding: 'utf8', wait: 30_000 };
  const many = async (key) => (await cache.getOrLoadMany([key], async (keys) => ({ [key]: await loader(keys) }), options)).get(key);
  const calls = Array.from({ length: 20 }, (_, at) => (at % 4 === 3 ? many('hot key') : cache.getOrLoad('hot key', loader, options)));
  const values = await Promise.all(calls);
  assert(loads <= 3, `${loads} loads for 20 calls: ${values}`);
  assert.equal(await cache.get('hot key'), undefined);
});

test('changes at any time: no old value, and never two loaders', { timeout: 60_000 }, async () => {
  let [version, told, running, most, done] = [0, 0, 0, 0, false];
  const loader = async (fill) => {
    most = Math.max(most, (running += 1));
    const read = version;
    await sleep(Math.random() * 4);
    if (Math.random() < 0.3) fill.tags.push('late');
    running -= 1;
    if (Math.random() < 0.1) throw new Error('mine');
    return `${read}`;
  };
  const callers = Array.from({ length: 20 }, async () => {
    while (!done) {
      const least = told;
      const value = await cache.getOrLoad('racing', loader, { tags: ['racing'], encoding: 'utf8', wait: 60_000 }).catch((error) => assert.equal(error.message, 'mine'));
      if (value !== undefined) assert(Number(value) >= least, `${value} after ${least}`);
      await sleep(Math.random() * 3);
    }
  });
  const end = Date.now() + 1500;
  while (Date.now() < end) {
    // The source changes, then the cache is told: a reader that begins after that sees the change.
    version += 1;
    await (Math.random() < 0.5 ? other.invalidateTag('racing') : other.delete('racing'));
    told = version;
    await sleep(Math.random() * 10);
  }
  done = true;
  await Promise.all(callers);
  assert.equal(most, 1);
});

// ---- Waits that end (3) ----

test('a call that waits ends at its time, its signal, or that of a call', async () => {
  const [gate, begun] = [deferred(), deferred()];
  const leader = cache.getOrLoad('slow', () => begun.resolve() ?? gate.promise, text);
  await begun.promise;
  for (const one of [cache, other]) {
    const asked = performance.now();
    await assert.rejects(one.getOrLoad('slow', neverCalled, { wait: 50 }), busy);
    assert(performance.now() - asked < 5000);
    await assert.rejects(one.getOrLoad('slow', neverCalled, { wait: 0 }), busy);
    await assert.rejects(one.getOrLoad('slow', neverCalled, { signal: AbortSignal.timeout(30) }), { name: 'TimeoutError' });
    await assert.rejects(one.getOrLoadMany(['slow'], neverCalled, { wait: 20 }), busy);
  }
  const byDefault = await Cache.open(testUrl('').replace('socket_timeout=10s', 'socket_timeout=300ms'));
  const { signal } = new AbortController();
  if (cache.capabilities.share) {
    for (const options of [undefined, { signal }]) await assert.rejects(byDefault.getOrLoad('slow', neverCalled, options), busy);
  } else {
    await assert.rejects(cache.getOrLoad('slow', neverCalled, { signal }), busy, 'a signal does not change the default');
  }
  await byDefault.close();
  gate.resolve('v');
  assert.equal(await leader, 'v');
});

test('a call whose key is free waits for an earlier loader no longer than its time, and keeps no lease meanwhile', { timeout: 30_000 }, async () => {
  const waits = {
    'one key': (options) => cache.getOrLoad('ended late', neverCalled, options),
    'many keys': (options) => cache.getOrLoadMany(['ended late'], neverCalled, options),
    'a stale value': (options) => cache.getOrLoad('ended late', neverCalled, { ...options, staleIfError: true }),
  };
  for (const [name, wait] of Object.entries(waits)) {
    const [gate, begun] = [deferred(), deferred()];
    const leader = cache.getOrLoad('ended late', () => begun.resolve() ?? gate.promise, text);
    await begun.promise;
    await other.delete('ended late');
    const asked = performance.now();
    await assert.rejects(wait({ wait: 50 }), busy, name);
    await assert.rejects(wait({ wait: 0 }), busy, name);
    await assert.rejects(wait({ wait: 20_000, signal: AbortSignal.timeout(30) }), { name: 'TimeoutError' }, name);
    assert(performance.now() - asked < 4000, name);
    const waiting = assert.rejects(wait({ wait: 3000 }), busy, name);
    await sleep(50);
    const { state, lease } = await other.getOrLease('ended late', { wait: 2000 });
    assert.equal(state, 'leased', name);
    await waiting;
    lease.release();
    gate.resolve('v');
    assert.equal(await leader, 'v');
    await other.delete('ended late');
  }
});

test('a loader that throws or rejects: its own error for all that share it, and it is not cached', async () => {
  for (const fail of [() => { throw mine; }, async () => { throw mine; }, () => sleep(5).then(() => Promise.reject(mine)), () => ({ then(_, reject) { reject(mine); } })]) {
    const mine = new Error('mine');
    const failing = eval(`(${fail})`);
    const results = await Promise.allSettled([1, 2, 3].map(() => cache.getOrLoad('failing', failing)));
    for (const { reason } of results) assert.equal(reason, mine);
    assert.equal(await cache.get('failing'), undefined);
  }
  for (const odd of [undefined, null, 0, 'text']) {
    await assert.rejects(cache.getOrLoad('failing', () => Promise.reject(odd)).catch((error) => Promise.reject(Object.assign(new Error(), { odd: error }))), (error) => error.odd === odd);
  }
  assert.equal(await cache.getOrLoad('failing', () => 'v', text), 'v');
});

test('retryAfter holds a key back after a failed load', async () => {
  const fails = (key, retryAfter) => assert.rejects(cache.getOrLoad(key, () => Promise.reject(new Error('mine')), { retryAfter }), /mine/);
  await fails('held', 60_000);
  await assert.rejects(cache.getOrLoad('held', neverCalled, { wait: 0 }), { ...busy, message: /last load of the key failed/ });
  await fails('held for a moment', 20);
  await sleep(40);
  assert.equal(await cache.getOrLoad('held for a moment', () => 'v', text), 'v');
});

test('a loader that never settles blocks its key for its lease only', { timeout: 30_000 }, async () => {
  for (const one of [cache, other]) {
    const key = one === cache ? 'hung' : 'hung elsewhere';
    const signal = AbortSignal.timeout(5000);
    cache.getOrLoad(key, never, { lease: 150, signal }).catch(() => {});
    const joined = cache.getOrLoad(key, () => 'of the joined', { lease: 150, wait: 20_000, encoding: 'utf8' });
    await sleep(20);
    const begun = performance.now();
    const value = await one.getOrLoad(key, () => 'next', { wait: 20_000, encoding: 'utf8' });
    assert(/next|of the joined/.test(value));
    assert(performance.now() - begun < 4000);
    assert(/next|of the joined/.test(await joined));
  }
});

test('the lease of the configuration limits a loader that never settles', { timeout: 30_000 }, async () => {
  const short = await Cache.open(testUrl('lease=150ms'));
  const begun = deferred();
  const hung = short.getOrLoad('hung by default', () => begun.resolve() ?? never()).catch((error) => error);
  await begun.promise;
  assert.equal(await short.getOrLoad('hung by default', () => 'next', { wait: 20_000, encoding: 'utf8' }), 'next');
  await short.flush();
  await short.close();
  assert.equal((await hung).code, 'YC_E_CLOSED');
});

test('a loader that asks for its own key ends at the end of its wait', async () => {
  const own = () => cache.getOrLoad('own', own, { wait: 50 });
  await assert.rejects(own(), busy);
  const nested = (fill) => cache.getOrLoad('inner', () => 'v', { ...text, signal: fill.signal });
  assert.equal(await cache.getOrLoad('outer', nested, text), 'v');
});

test('a loader that asks for its own key with its signal gets an error at once', { timeout: 20_000 }, async () => {
  const patient = { wait: 60_000, encoding: 'utf8' };
  const asks = {
    'one key': (fill) => cache.getOrLoad('own key', neverCalled, { ...patient, signal: fill.signal }),
    'bytes': (fill) => cache.getOrLoad(Buffer.from('own key'), neverCalled, { ...patient, signal: fill.signal }),
    'many keys': (fill) => cache.getOrLoadMany(['own key'], neverCalled, { ...patient, signal: fill.signal }),
    'through another loader': (fill) => cache.getOrLoad('between', (inner) => asks['one key'](inner), { ...patient, signal: fill.signal }),
    'after a change': async (fill) => {
      await other.delete('own key');
      return asks['one key'](fill);
    },
  };
  // After a change, the inner call gets a lease, and gives it back in the background: until then, another call loads the other keys alone.
  const isFree = async (name) => {
    const { state, lease } = await other.getOrLease('own key', { wait: 10_000 });
    assert.equal(state, 'leased', name);
    await lease.abandon();
  };
  for (const [name, ask] of Object.entries(asks)) {
    await assert.rejects(cache.getOrLoad('own key', ask, patient), { ...invalid, message: /loader of the key "own key" asks for that key/ }, name);
    await isFree(name);
    await assert.rejects(cache.getOrLoadMany(['own key', 'more'], (keys, fill) => ask(fill), patient), { ...invalid, message: /"own key"/ }, name);
    await isFree(name);
  }
  let signal;
  assert.equal(await cache.getOrLoad('own key', (fill) => ({ signal } = fill) && 'v', { ...patient, ttl: 1 }), 'v');
  await sleep(5);
  assert.equal(await cache.getOrLoad('own key', () => 'next', { ...patient, signal }), 'next', 'the loader has ended');
});

// ---- Stale values (4) ----

async function makeStale(key, options) {
  await cache.getOrLoad(key, () => 'old', { ttl: 10, staleFor: 60_000, ...options });
  await sleep(20);
}

test('a stale value is served at once, and refreshed once in the background', async () => {
  await makeStale('stale');
  const source = new Source('new');
  const begun = source.next();
  const values = await Promise.all(Array.from({ length: 20 }, () => cache.getOrLoad('stale', source.loader, { ttl: 60_000, encoding: 'utf8' })));
  assert.ok(values.every((value) => value === 'old'));
  await begun;
  assert.equal(await cache.getOrLoad('stale', neverCalled, text), 'old');
  source.letGo();
  for (let turn = 0; turn < 200 && (await cache.get('stale', text)) !== 'new'; turn++) await sleep(5);
  assert.equal(await cache.getOrLoad('stale', neverCalled, text), 'new');
  assert.equal(source.loads, 1);
});

test('a refresh that fails rejects no caller, and tells the one that asks', async () => {
  await makeStale('unrefreshed');
  const told = deferred();
  const mine = new Error('mine');
  const value = await cache.getOrLoad('unrefreshed', () => Promise.reject(mine), { encoding: 'utf8', retryAfter: 60_000, onRefreshError: (error, keys) => told.resolve([error, keys]) });
  assert.equal(value, 'old');
  assert.deepEqual(await told.promise, [mine, ['unrefreshed']]);
  await sleep(20);
  assert.equal(await cache.getOrLoad('unrefreshed', neverCalled, text), 'old');
});

test('a refresh that never settles ends with its lease', async () => {
  await makeStale('hung refresh');
  let signal;
  const hang = (fill) => ({ signal } = fill) && never();
  assert.equal(await cache.getOrLoad('hung refresh', hang, { lease: 60, encoding: 'utf8' }), 'old');
  for (let turn = 0; turn < 200 && !signal?.aborted; turn++) await sleep(5);
  assert.equal(signal.reason.name, 'TimeoutError');
});

test('staleIfError waits for the load, and gets the stale value only if it fails', async () => {
  await makeStale('if error');
  const failing = Array.from({ length: 5 }, () => cache.getOrLoad('if error', () => sleep(10).then(() => Promise.reject(new Error('mine'))), { staleIfError: true, encoding: 'utf8' }));
  assert.deepEqual(await Promise.all(failing), Array(5).fill('old'));
  const many = await cache.getOrLoadMany(['if error', 'no stale'], (keys) => Promise.reject(new Error(keys.join())), { staleIfError: true, encoding: 'utf8' }).catch((error) => error);
  assert.equal(many.message, 'if error,no stale');
  assert.deepEqual(await cache.getOrLoadMany(['if error'], () => Promise.reject(new Error('mine')), { staleIfError: true, encoding: 'utf8' }), new Map([['if error', 'old']]));
  assert.equal(await cache.getOrLoad('if error', () => 'new', { staleIfError: true, encoding: 'utf8' }), 'new');
  const reason = new Error('left');
  await makeStale('if aborted');
  const controller = new AbortController();
  const left = cache.getOrLoad('if aborted', never, { staleIfError: true, signal: controller.signal });
  setTimeout(() => controller.abort(reason), 20);
  await assert.rejects(left, reason);
});

test('an invalidated value and one past its stale time are not served', async () => {
  await makeStale('invalidated', { tags: ['invalid'] });
  await other.invalidateTag('invalid');
  assert.equal(await cache.getOrLoad('invalidated', () => 'new', text), 'new');
  await makeStale('deleted');
  await other.delete('deleted');
  assert.equal(await cache.getOrLoad('deleted', () => 'new', { ...text, staleIfError: true }), 'new');
  await cache.getOrLoad('past', () => 'old', { ttl: 10, staleFor: 10 });
  await sleep(40);
  assert.equal(await cache.getOrLoad('past', () => 'new', text), 'new');
  await assert.rejects(cache.getOrLoad('past both', () => 'old', { ttl: 10, staleFor: 10 }).then(() => sleep(40)).then(() => cache.getOrLoad('past both', () => Promise.reject(new Error('mine')), { staleIfError: true })), /mine/);
});

// ---- Cancellation ----

test('a signal ends the wait of one caller, and not the load of the others', async () => {
  const source = new Source('v');
  const controllers = [new AbortController(), new AbortController()];
  const reason = new Error('left');
  const begun = source.next();
  const leader = cache.getOrLoad('left', source.loader, { signal: controllers[0].signal });
  await begun;
  const joined = cache.getOrLoad('left', source.loader, { signal: controllers[1].signal });
  const stays = cache.getOrLoad('left', source.loader, text);
  await sleep(300); // Until all have joined.
  controllers.forEach((controller) => controller.abort(reason));
  await assert.rejects(leader, reason);
  await assert.rejects(joined, reason);
  assert.deepEqual(await source.open([stays]), ['v']);
  assert.equal(source.loads, 1);
  for (const { signal } of controllers) assert.equal(getEventListeners(signal, 'abort').length, 0);
  await assert.rejects(cache.getOrLoad('left', neverCalled, { signal: controllers[0].signal }), reason);
});

test('the load is cancelled when the last caller has left, and the next may load', async () => {
  for (const call of [(loader, options) => cache.getOrLoad('alone', loader, options), (loader, options) => cache.getOrLoadMany(['alone', 'alone2'], (keys, fill) => loader(fill), options)]) {
    const controller = new AbortController();
    const given = deferred();
    const reason = new Error('left');
    const calls = [1, 2].map(() => call((fill) => {
      given.resolve(fill.signal);
      return new Promise((_, reject) => fill.signal.addEventListener('abort', () => reject(fill.signal.reason)));
    }, { signal: controller.signal }));
    const signal = await given.promise;
    await sleep(10);
    assert.equal(signal.aborted, false);
    controller.abort(reason);
    for (const { reason: came } of await Promise.allSettled(calls)) assert.equal(came, reason);
    assert.equal(signal.reason, reason);
  }
  assert.equal(await cache.getOrLoad('alone', () => 'v', { ...text, wait: 10_000 }), 'v');
});

test('a loader that ignores its signal still runs alone', async () => {
  const source = new Source('v');
  const controller = new AbortController();
  const begun = source.next();
  const leader = cache.getOrLoad('ignoring', source.loader, { signal: controller.signal });
  await begun;
  controller.abort(new Error('left'));
  await assert.rejects(leader, /left/);
  const next = cache.getOrLoad('ignoring', source.loader, { ...text, wait: 10_000 });
  await sleep(20);
  assert.equal(source.loads, 1);
  assert.deepEqual(await source.open([next]), ['v']);
  assert.deepEqual([source.loads, source.most], [2, 1]);
});

// ---- Many keys ----

test('many: the loader gets the missing keys once', async () => {
  await cache.set('m1', 'one');
  const asked = [];
  const loader = async (keys, fill) => {
    assert.deepEqual(fill.keys, keys);
    asked.push(keys);
    return new Map([['m2', 'two'], [Buffer.from('m3'), Buffer.from('three')], ['unasked', 'x']]);
  };
  const found = await cache.getOrLoadMany(['m1', 'm2', 'm2', Buffer.from('m2'), 'm3', 'm4'], loader, { encoding: 'utf8', ttl: 60_000 });
  assert.deepEqual([...found], [['m1', 'one'], ['m2', 'two'], ['m3', 'three']]);
  assert.deepEqual(asked, [['m2', 'm3', 'm4']]);
  assert.deepEqual([...(await cache.getOrLoadMany(new Set(['m1', 'm2', 'm3', 'm4']), neverCalled)).keys()], ['m1', 'm2', 'm3']);
  assert.equal(await cache.getOrLoad('m4', neverCalled), undefined, 'what the loader left out is absent');
  assert.equal(await cache.get('unasked'), undefined);
  assert.deepEqual(await cache.getOrLoadMany([], neverCalled), new Map());
});

test('many: an object by key, and settings by key', async () => {
  const found = await cache.getOrLoadMany(['o1', 'o2', '__proto__'], async (keys, fill) => {
    fill.ttl = 60_000;
    fill.for('o1').ttl = 5000;
    fill.for('o1').tags.push('first');
    fill.tags.push('both');
    return { o1: '1', o2: '2' };
  }, text);
  assert.deepEqual([...found], [['o1', '1'], ['o2', '2']]);
  assert((await cache.ttl('o1')) <= 5000 && (await cache.ttl('o2')) > 5000);
  await cache.invalidateTag('first');
  assert.deepEqual(await cache.getMany(['o1', 'o2'], text), [undefined, '2']);
  await cache.invalidateTag('both');
  assert.equal(await cache.get('o2'), undefined);
});

test('many: more keys than a server takes at once', async () => {
  const keys = Array.from({ length: 2500 }, (_, at) => `thousands${at}`);
  const asked = [];
  const loader = async (list) => {
    asked.push(list.length);
    return new Map(list.map((key) => [key, `${key}!`]));
  };
  assert.equal((await cache.getOrLoadMany(keys, loader, text)).size, 2500);
  assert.deepEqual(asked, [2500]);
  assert.equal((await cache.getMany(keys, text)).filter((value, at) => value === `${keys[at]}!`).length, 2500);
  assert.equal((await cache.getOrLoadMany(keys, neverCalled, text)).size, 2500);
});

test('many: hundreds of keys', async () => {
  const keys = Array.from({ length: 700 }, (_, at) => `hundreds${at}`);
  const asked = [];
  const loader = async (list) => {
    asked.push(...list);
    return new Map(list.map((key) => [key, `${key}!`]));
  };
  const [one, two] = await Promise.all([cache.getOrLoadMany(keys, loader, text), cache.getOrLoadMany(keys, loader, text)]);
  assert.deepEqual(one, new Map(keys.map((key) => [key, `${key}!`])));
  assert.deepEqual(two, one);
  assert.deepEqual(asked.sort(), keys.sort());
});

test('many: callers with crossed keys do not block each other', { timeout: 20_000 }, async () => {
  const loads = new Map();
  const loader = async (keys) => {
    for (const key of keys) loads.set(key, (loads.get(key) ?? 0) + 1);
    await sleep(20);
    return new Map(keys.map((key) => [key, `${key}!`]));
  };
  const keys = Array.from({ length: 12 }, (_, at) => `crossed${at}`);
  const calls = Array.from({ length: 24 }, (_, at) => {
    const [begin, list] = [at % 12, at % 2 ? keys : [...keys].reverse()];
    return (at % 3 ? cache : other).getOrLoadMany([...list.slice(begin), ...list.slice(0, begin)].slice(0, 8), loader, text);
  });
  for (const found of await Promise.all(calls)) {
    assert.equal(found.size, 8);
    for (const [key, value] of found) assert.equal(value, `${key}!`);
  }
  for (const [key, count] of loads) assert.equal(count, 1, key);
});

test('many: a key that becomes free is loaded by a further call', async () => {
  const { lease } = await other.getOrLease('free1');
  const asked = [];
  const call = cache.getOrLoadMany(['free1', 'free2'], async (keys) => {
    asked.push(keys);
    return Object.fromEntries(keys.map((key) => [key, 'v']));
  }, { ...text, wait: 20_000 });
  await sleep(30);
  await lease.abandon();
  assert.deepEqual([...(await call)], [['free1', 'v'], ['free2', 'v']]);
  assert.deepEqual(asked, [['free2'], ['free1']]);
});

test('many: a failed load fails the call, and the keys are free', async () => {
  const mine = new Error('mine');
  const results = await Promise.allSettled([1, 2].map(() => cache.getOrLoadMany(['f1', 'f2'], () => sleep(5).then(() => Promise.reject(mine)))));
  for (const { reason } of results) assert.equal(reason, mine);
  // If each call loaded one of the keys, the load of the other is ending, perhaps: who joins it gets its error.
  const again = () => cache.getOrLoadMany(['f1', 'f2'], () => ({ f1: 'v' }), { ...text, wait: 5000 });
  let last = await again().catch((error) => error);
  for (let turn = 0; turn < 500 && last === mine; turn++) last = await sleep(5).then(again).catch((error) => error);
  assert.deepEqual(last, new Map([['f1', 'v']]));
});

test('many: stale values are refreshed by a call of their own', async () => {
  await makeStale('ms1');
  await makeStale('ms2');
  const asked = [];
  const loader = async (keys) => {
    asked.push(keys.join());
    return new Map(keys.map((key) => [key, 'new']));
  };
  assert.deepEqual([...(await cache.getOrLoadMany(['ms1', 'ms3', 'ms2'], loader, text))], [['ms1', 'old'], ['ms3', 'new'], ['ms2', 'old']]);
  for (let turn = 0; turn < 200 && (await cache.get('ms2', text)) !== 'new'; turn++) await sleep(5);
  assert.deepEqual(asked.sort(), ['ms1,ms2', 'ms3']);
});

// ---- Hostile input ----

test('wrong arguments load nothing and leave no lease', async () => {
  for (const loader of [undefined, null, 'load', {}, 5]) {
    await assert.rejects(cache.getOrLoad('wrong', loader), typeError);
    await assert.rejects(cache.getOrLoadMany(['wrong'], loader), typeError);
  }
  for (const key of [undefined, null, 1, {}, [], 'a\ud800']) {
    await assert.rejects(cache.getOrLoad(key, neverCalled), typeError);
    await assert.rejects(cache.getOrLoadMany(['wrong', key], neverCalled), typeError);
  }
  await assert.rejects(cache.getOrLoad('', neverCalled), invalid);
  await assert.rejects(cache.getOrLoadMany(['wrong', ''], neverCalled), invalid);
  await assert.rejects(cache.getOrLoadMany(['wrong', 'k'.repeat(70_000)], neverCalled), { code: 'YC_E_TOO_LARGE' });
  for (const keys of [undefined, null, 'keys', 5, {}]) await assert.rejects(cache.getOrLoadMany(keys, neverCalled), typeError);
  const wrong = [
    [typeError, { ttl: '1' }, { staleFor: {} }, { absentTtl: null }, { wait: '5' }, { lease: [] }, { retryAfter: 1n }, { staleIfError: 1 }, { tags: 5 },
      { signal: {} }, { onRefreshError: 5 }, { TTL: 5 }, { stale_for: 5 }, null, 5, [], new Map()],
    [invalid, { ttl: -1 }, { staleFor: -1 }, { absentTtl: NaN }, { wait: -1 }, { lease: 0 }, { lease: 1e12 }, { retryAfter: -1 }, { encoding: 'hex' }, { tags: [''] }],
  ];
  for (const [expected, ...list] of wrong) {
    for (const options of list) {
      await assert.rejects(cache.getOrLoad('wrong', neverCalled, options), expected, inspect(options));
      await assert.rejects(cache.getOrLoadMany(['wrong'], neverCalled, options), expected, inspect(options));
    }
  }
  assert.equal(await cache.getOrLoad('wrong', () => 'v', { ...text, wait: cache.capabilities.share ? 5000 : 0 }), 'v');
});

test('what a loader must not return or set is its error', async () => {
  for (const value of [null, 0, false, {}, [], Symbol('v'), 1n, 'a\ud800', new Uint16Array(1)]) {
    await assert.rejects(cache.getOrLoad('odd', () => value), typeError);
    await assert.rejects(cache.getOrLoadMany(['odd'], () => ({ odd: value })), typeError);
  }
  for (const value of [undefined, null, 0, [], 'text', Buffer.from('x'), new Map([[1, 'v']])]) await assert.rejects(cache.getOrLoadMany(['odd'], () => value), typeError);
  for (const [expected, settings] of [[typeError, { ttl: '5' }], [typeError, { tags: 5 }], [typeError, { staleFor: {} }], [invalid, { ttl: -5 }], [invalid, { ttl: 1e15 }], [invalid, { tags: [''] }]]) {
    await assert.rejects(cache.getOrLoad('odd', (fill) => Object.assign(fill, settings) && 'v'), expected, inspect(settings));
  }
  assert.equal(await cache.getOrLoad('odd', () => 'v', { ...text, wait: 5000 }), 'v');
});

test('what was passed may change once the call has returned', async () => {
  const [key, tags, options] = [Buffer.from('mine'), ['mine'], { ttl: 60_000, encoding: 'utf8' }];
  const call = cache.getOrLoad(key, async () => {
    await sleep(10);
    return 'v';
  }, Object.assign(options, { tags }));
  key.fill(0x21);
  tags[0] = 'other';
  options.ttl = 1;
  assert.equal(await call, 'v');
  await cache.invalidateTag('other');
  assert.equal(await cache.get('mine', text), 'v');
  await cache.invalidateTag('mine');
  assert.equal(await cache.get('mine', text), undefined);
});

// ---- The end ----

test('close ends loads, waits and leases', async () => {
  const closed = await Cache.open(testUrl('').replace('key_prefix=n', 'key_prefix=closed'));
  const closedError = { name: 'YokedCacheError', code: 'YC_E_CLOSED' };
  let signal;
  const gate = deferred();
  const slow = (fill) => ({ signal } = fill) && gate.promise;
  const calls = [closed.getOrLoad('a', slow), closed.getOrLoad('a', slow), closed.getOrLoadMany(['a', 'b'], (keys, fill) => slow(fill))];
  await sleep(30);
  calls.push(closed.getOrLoad('a', slow));
  const ends = calls.map((call) => assert.rejects(call, closedError));
  await closed.close({ timeout: 100 }).catch((error) => assert.equal(error.code, 'YC_E_TIMEOUT'));
  await Promise.all(ends);
  assert.equal(signal.aborted, true);
  gate.resolve('v');
  await sleep(10);
  await assert.rejects(closed.getOrLoad('a', neverCalled), closedError);
  await assert.rejects(closed.getOrLoadMany(['a'], neverCalled), closedError);
});

test('a loader that closes the cache: its call ends, whatever the loader does then', { timeout: 20_000 }, async () => {
  const ends = { 'never settles': never, 'returns a value': () => 'v', throws: () => assert.fail('mine'), rejects: async () => assert.fail('mine') };
  const calls = {
    'one key': (one, loader) => one.getOrLoad('closing', loader),
    'many keys': (one, loader) => one.getOrLoadMany(['closing 1', 'closing 2'], loader),
    'a stale value': async (one, loader) => {
      await one.getOrLoad('closing', () => 'old', { ttl: 10, staleFor: 60_000 });
      await sleep(20);
      return one.getOrLoad('closing', loader, { staleIfError: true });
    },
  };
  for (const [end, ending] of Object.entries(ends)) {
    for (const [form, call] of Object.entries(calls)) {
      const own = await Cache.open(testUrl('').replace('key_prefix=n', `key_prefix=self${Object.keys(ends).indexOf(end)}`));
      let closed;
      const loader = (...given) => {
        closed = own.close({ timeout: 1000 });
        assert.equal(given.at(-1).signal.aborted, true);
        return ending();
      };
      await assert.rejects(call(own, loader), { name: 'YokedCacheError', code: 'YC_E_CLOSED' }, `${form}, ${end}`);
      await closed;
    }
  }
});

test('close gives the leases back before they expire', async () => {
  if (!cache.capabilities.share) return; // The entries of the memory backend end with their cache.
  const closing = await Cache.open(testUrl());
  const begun = [deferred(), deferred()];
  const lease = 60_000;
  const ends = [
    closing.getOrLoad('given back', () => begun[0].resolve() ?? never(), { lease }),
    closing.getOrLoadMany(['given back 1', 'given back 2'], () => begun[1].resolve() ?? never(), { lease }),
  ].map((call) => assert.rejects(call, { code: 'YC_E_CLOSED' }));
  const held = await closing.getOrLease('given back by hand', { lease });
  await Promise.all(begun.map(({ promise }) => promise));
  const asked = closing.getOrLease('asked for', { lease }).catch((error) => error);
  await closing.close();
  await Promise.all(ends);
  for (const key of ['given back', 'given back 1', 'given back 2', 'given back by hand', 'asked for']) {
    const next = await other.getOrLease(key, { wait: 3000 }).catch((error) => assert.fail(`${key}: ${error.message}`));
    assert.equal(next.state, 'leased', key);
    next.lease.release();
  }
  held.lease.release();
  await assert.rejects(held.lease.fill('late'), { code: 'YC_E_CLOSED' });
  const { code, lease: late } = await asked;
  assert(code === 'YC_E_CLOSED' || late !== undefined);
});

test('a lease that arrives while the cache is being closed begins no load', async () => {
  const closing = await Cache.open(testUrl('').replace('key_prefix=n', 'key_prefix=late'));
  const calls = [closing.getOrLoad('late', neverCalled), closing.getOrLoadMany(['late 1', 'late 2'], neverCalled)];
  if (closing.capabilities.share) {
    const ends = calls.map((call) => assert.rejects(call, { code: 'YC_E_CLOSED' }));
    await closing.close();
    await Promise.all(ends);
  } else {
    await Promise.allSettled(calls); // Memory answers at once.
    await closing.close();
  }
});
