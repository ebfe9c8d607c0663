'use strict';

/** Loads while the store is down, across processes and workers, and what many of them leave behind. Takes --expose-gc. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');
const path = require('node:path');
const { Cache, YokedCacheError, directory, testUrl } = require('./package.js');
const { freePort, startMemcached, startServer } = require('./server.js');

const url = testUrl();
const isShared = !url.startsWith('memory:');
const scheme = url.split(':')[0];
const text = { encoding: 'utf8' };

/** Starts a server of the scheme under test. */
const startOwn = (t, port) => (scheme === 'redis' ? startServer(t, port) : startMemcached(t, port));

for (const fallback of [undefined, 'memory']) {
  test(`a store that is down: one load for each key and process, with ${fallback ?? 'no'} fallback`, { skip: !isShared, timeout: 60_000 }, async (t) => {
    const port = await freePort();
    const { server, gone } = await startOwn(t, port);
    const cache = await Cache.open({ backend: scheme, [scheme]: { url: `${scheme}://127.0.0.1:${port}`, socket_timeout: '500ms' }, ...(fallback && { fallback }) });
    let [loads, running, most] = [0, 0, 0];
    const loader = async (fill) => {
      loads += 1;
      most = Math.max(most, (running += 1));
      await sleep(1500);
      running -= 1;
      return `${fill.key}!`;
    };
    const options = { ...text, wait: 20_000 };
    assert.equal(await cache.getOrLoad('before', () => 'v', options), 'v');
    server.kill('SIGKILL');
    await gone;
    const calls = Array.from({ length: 50 }, (_, at) => cache.getOrLoad(`down${at % 2}`, loader, options));
    await sleep(300);
    calls.push(...Array.from({ length: 50 }, (_, at) => cache.getOrLoad(`down${at % 2}`, loader, options)));
    const results = await Promise.all(calls);
    results.forEach((value, at) => assert.equal(value, `down${at % 2}!`));
    assert.deepEqual([loads, most], [2, 2]);
    const many = await Promise.all([1, 2].map(() => cache.getOrLoadMany(['many1', 'many2'], (keys) => sleep(1500).then(() => Object.fromEntries(keys.map((key) => [key, `${loads++}`]))), options)));
    assert.deepEqual(many[0], many[1]);
    assert.equal(loads, 4);
    const mine = new Error('mine');
    await assert.rejects(cache.getOrLoad('failing', () => Promise.reject(mine), options), mine);
    await startOwn(t, port);
    for (let turn = 0; turn < 400 && !(await cache.ping().then(() => true, () => false)); turn++) await sleep(25);
    if (fallback === undefined) assert.equal(await cache.getOrLoad('down0', () => 'loaded again', options), 'loaded again', 'nothing was stored');
    await cache.close();
  });
}

test('a load that began while the store was down is not for a caller that reached the store', { skip: !isShared, timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server, gone } = await startOwn(t, port);
  const [cache, other] = await Promise.all([1, 2].map(() => Cache.open(`${scheme}://127.0.0.1:${port}?socket_timeout=500ms`)));
  server.kill('SIGKILL');
  await gone;
  let [row, loads, running, most] = ['old', 0, 0, 0];
  const gates = [];
  const loader = async () => {
    const read = row;
    loads += 1;
    most = Math.max(most, (running += 1));
    await new Promise((resolve) => gates.push(resolve));
    running -= 1;
    return read;
  };
  const get = (key) => cache.getOrLoad(key, loader, { ...text, wait: 30_000, tags: ['rows'], lease: 60_000 });
  const early = [get('free'), get('leased'), cache.getOrLoadMany(['many'], async (keys) => ({ many: await loader() }), { ...text, wait: 30_000, lease: 60_000 })];
  for (let turn = 0; turn < 400 && loads < 3; turn++) await sleep(25);
  await startOwn(t, port);
  for (const one of [cache, other]) for (let turn = 0; turn < 400 && !(await one.ping().then(() => true, () => false)); turn++) await sleep(25);
  row = 'new';
  await other.invalidateTag('rows');
  const { lease } = await other.getOrLease('leased');
  const late = [get('free'), get('leased'), get('many'), cache.getOrLoadMany(['free', 'leased'], (keys) => Promise.all(keys.map(loader)).then((values) => new Map(keys.map((key, at) => [key, values[at]]))), { ...text, wait: 30_000 })];
  await sleep(300);
  lease.release();
  const timer = setInterval(() => gates.splice(0).forEach((resolve) => resolve()), 5);
  t.after(() => clearInterval(timer));
  assert.deepEqual(await Promise.all(early), ['old', 'old', new Map([['many', 'old']])]);
  assert.deepEqual(await Promise.all(late), ['new', 'new', 'new', new Map([['free', 'new'], ['leased', 'new']])]);
  assert(most <= 3, 'one loader a key');
  await Promise.all([cache.close(), other.close()]);
});

test('a store that goes down during a load: the value is returned', { skip: !isShared, timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server, gone } = await startOwn(t, port);
  const cache = await Cache.open(`${scheme}://127.0.0.1:${port}?socket_timeout=500ms`);
  let loads = 0;
  const loader = async () => {
    if (loads++ === 0) {
      server.kill('SIGKILL');
      await gone;
    }
    await sleep(20);
    return 'v';
  };
  const calls = Array.from({ length: 20 }, () => cache.getOrLoad('a', loader, { ...text, wait: 20_000 }));
  for (const value of await Promise.all(calls)) assert.equal(value, 'v');
  assert(loads <= 2, 'the load whose fill failed, and one without the store for calls that began after its loader');
  await cache.close();
});

test('which errors of a read mean that the store is down', async () => {
  const { FORMS, Loading, OPTIONS } = require(path.join(directory, 'lib/loading.js'));
  const one = (error, loader) => {
    const exchange = { closed: false, check() {}, readOrLease: () => Promise.reject(error) };
    return new Loading(exchange, async () => ({ leaseMs: 10_000, deadlineMs: 50 })).one('key', loader, undefined, OPTIONS, FORMS.utf8);
  };
  const down = ['CONNECT', 'AUTH', 'TLS', 'TIMEOUT', 'SERVER_MEMORY'];
  const returned = ['INVALID', 'CONFIG', 'TOO_LARGE', 'CLOSED', 'FORKED', 'CANCELLED', 'UNSUPPORTED', 'DENIED', 'SERVER', 'PROTOCOL', 'PANIC', 'BUFFER_TOO_SMALL', 'ABI_MISMATCH'];
  for (const name of down) assert.equal(await one(new YokedCacheError(`YC_E_${name}`, 'text', false), () => 'v'), 'v', name);
  for (const name of ['SERVER', 'PROTOCOL', 'CONNECT']) assert.equal(await one(new YokedCacheError(`YC_E_${name}`, 'text', true), () => 'v'), 'v', name);
  for (const name of returned) {
    const error = new YokedCacheError(`YC_E_${name}`, 'text', false);
    await assert.rejects(one(error, () => assert.fail('the loader was called')), error, name);
  }
});

test('callers whose replies come before the reply that brings the lease join that load', async () => {
  const { FORMS, Loading, OPTIONS } = require(path.join(directory, 'lib/loading.js'));
  const { NO_WAIT } = require(path.join(directory, 'lib/exchange.js'));
  const { Found, store } = require(path.join(directory, 'lib/lease.js'));
  const busy = new YokedCacheError('YC_E_BUSY', 'loading', true);
  const lease = { [store]: async () => false, release() {}, abandon: async () => {} };
  let [turn, loads] = [0, 0];
  const exchange = {
    closed: false,
    check() {},
    /** The third read gets the lease; a read that waits does not end. */
    readOrLease: (_key, _tags, _lease, wait) => {
      if (wait !== NO_WAIT) return new Promise(() => {});
      return (turn += 1) === 3 ? Promise.resolve(new Found('vacant', undefined, lease)) : Promise.reject(busy);
    },
  };
  const loading = new Loading(exchange, async () => ({ leaseMs: 10_000, deadlineMs: 60_000 }));
  let letGo;
  const load = () => new Promise((resolve) => (letGo = () => resolve(`load ${(loads += 1)}`)));
  const get = async () => {
    const call = loading.one('key', load, undefined, OPTIONS, FORMS.utf8);
    await sleep(5);
    return { call };
  };
  await get(); // It asks the store for all that wait.
  const [waits, leads] = [await get(), await get()];
  await sleep(5);
  letGo();
  assert.deepEqual(await Promise.all([leads.call, waits.call]), ['load 1', 'load 1']);
});

test('a user without permissions gets the error, and nothing is loaded', { skip: scheme !== 'redis', timeout: 60_000 }, async (t) => {
  const port = await freePort();
  await startServer(t, port, '--user', 'default', 'on', 'nopass', '~another:*', '&*', '+@all');
  const cache = await Cache.open(`redis://127.0.0.1:${port}`);
  await assert.rejects(cache.getOrLoad('denied', () => assert.fail('the loader was called')), { code: 'YC_E_DENIED' });
  await cache.close();
});

const program = `
  const { Cache } = require(${JSON.stringify(directory)});
  const cache = await Cache.open(process.env.URL);
  let loads = 0;
  const loader = async () => {
    loads += 1;
    await new Promise((resolve) => setTimeout(resolve, 60));
    return 'v';
  };
  const values = await Promise.all(Array.from({ length: 100 }, () => cache.getOrLoad(process.env.KEY, loader, { encoding: 'utf8', wait: 20000 })));
  await cache.close();
  const result = JSON.stringify([loads, values.every((value) => value === 'v')]);`;

test('one load among processes', { skip: !isShared, timeout: 60_000 }, async () => {
  const run = () => new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', `(async () => { ${program} console.log(result) })()`], { env: { ...process.env, URL: url, KEY: 'among' }, stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.on('data', (data) => (printed += data));
    child.on('close', () => resolve(JSON.parse(printed)));
  });
  const results = await Promise.all([run(), run(), run()]);
  assert.equal(results.reduce((sum, [loads]) => sum + loads, 0), 1);
  assert.ok(results.every(([, right]) => right));
});

test('a process that is killed during a load blocks its key for its lease only', { skip: !isShared, timeout: 60_000 }, async () => {
  const hang = `
    const { Cache } = require(${JSON.stringify(directory)});
    Cache.open(process.env.URL).then((cache) => cache.getOrLoad('killed', () => console.log('loading') ?? new Promise((resolve) => setTimeout(resolve, 60000)), { lease: 1000 }))`;
  const child = spawn(process.execPath, ['-e', hang], { env: { ...process.env, URL: url }, stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.kill('SIGKILL');
  const cache = await Cache.open(url);
  assert.equal(await cache.getOrLoad('killed', () => 'next', { ...text, wait: 30_000 }), 'next');
  await cache.close();
});

test('workers load, wait, and end in the middle of loads', { timeout: 60_000 }, async () => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    process.env = { ...process.env, URL: ${JSON.stringify(url)}, KEY: 'workers' + (workerData >> 2) };
    (async () => {
      ${program}
      const again = await Cache.open(process.env.URL);
      for (let at = 0; at < 20; at++) again.getOrLoad('w' + workerData + '.' + at % 5, () => new Promise(() => {}), { lease: 2000 }).catch(() => {});
      again.getOrLoadMany(['x', 'y' + workerData], () => new Promise(() => {}), { lease: 2000 }).catch(() => {});
      parentPort.postMessage(JSON.parse(result));
      if (workerData % 2) process.exit(0);
      setInterval(() => {}, 1000);
    })()`;
  const run = (number) => new Promise((resolve, reject) => {
    const worker = new Worker(source, { eval: true, workerData: number });
    let result;
    worker.on('error', reject).on('exit', () => resolve(result)).on('message', (message) => {
      result = message;
      if (number % 2 === 0) worker.terminate();
    });
  });
  const results = await Promise.all([0, 1, 2, 3].map(run));
  assert.ok(results.every(([, right]) => right));
  assert.equal(results.reduce((sum, [loads]) => sum + loads, 0), isShared ? 1 : 4);
});

test('loads leave nothing behind', { timeout: 120_000 }, async () => {
  const cache = await Cache.open(url);
  const outcomes = [
    (key) => cache.getOrLoad(key, async () => 'x'.repeat(1000), { ttl: 1, wait: 20 }),
    (key) => cache.getOrLoad(key, async () => undefined, { absentTtl: 1, wait: 20 }),
    (key) => cache.getOrLoad(key, () => Promise.reject(new Error('mine')), { wait: 20 }),
    (key) => cache.getOrLoad(key, (fill) => new Promise((_, reject) => fill.signal.addEventListener('abort', reject)), { signal: abortSoon() }),
    (key) => cache.getOrLoadMany([key, `${key}.2`], async (keys) => new Map(keys.map((one) => [one, 'v'])), { ttl: 1, staleFor: 5, wait: 20 }),
    (key) => cache.getOrLease(key, { wait: 0 }),
  ];
  const abortSoon = () => {
    const controller = new AbortController();
    setImmediate(() => controller.abort());
    return controller.signal;
  };
  const round = async (number) => {
    const calls = [];
    for (let at = 0; at < 300; at++) {
      const call = outcomes[(at + number) % outcomes.length];
      calls.push(call(`k${at % 100}`), call(`k${at % 100}`));
    }
    await Promise.allSettled(calls); // Some end with the error of a loader, and some with that of a wait.
    await cache.deleteMany(Array.from({ length: 100 }, (_, at) => `k${at}`));
  };
  const resident = async () => {
    for (let turn = 0; turn < 5; turn++) {
      globalThis.gc();
      await sleep(5);
    }
    return process.memoryUsage.rss();
  };
  const deadline = Date.now() + 15_000;
  let number = 0;
  for (; number < 20; number++) await round(number);
  const before = await resident();
  for (; number < 80 && Date.now() < deadline; number++) await round(number);
  const growth = (await resident()) - before;
  console.log(`${number} rounds, ${growth >> 10} KiB more`);
  assert(growth < 24 << 20, `${growth} bytes more`);
  await cache.flush();
  await cache.close();
});
