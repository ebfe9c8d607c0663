'use strict';

/** Who keeps what alive: processes, workers and caches end as they should, whatever is in flight. Takes --expose-gc. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');
const { Cache, directory, testUrl } = require('./package.js');

const url = testUrl();
const isMemory = url.startsWith('memory:');
const prelude = `const { Cache } = require(${JSON.stringify(directory)}); const url = ${JSON.stringify(url)};`;

/** How a program ends: its exit code or signal, and what it printed. */
function run(program) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--expose-gc', '-e', prelude + program], { stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data));
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ end: signal ?? code, printed });
    });
  });
}

const ends = {
  'an idle open cache does not keep the process': `Cache.open(url).then((cache) => (global.kept = cache))`,
  'a used idle cache does not keep the process': `
    (async () => { global.kept = await Cache.open(url); await kept.set('a', 'v'); await kept.get('a'); await kept.flush(); })()`,
  'what is in flight keeps it': `
    Cache.open(url).then((cache) => cache.invalidatePattern('x')).then(() => console.log('done'))`,
  'a closed cache does not keep it': `
    Cache.open(url).then(async (cache) => { global.kept = cache; await cache.flush(); await cache.close(); console.log('done') })`,
  'a cache that is being closed does not stop it': `Cache.open(url).then((cache) => { cache.flush(); cache.close(); })`,
};
for (const [name, program] of Object.entries(ends)) {
  test(name, async () => {
    const { end, printed } = await run(program);
    assert.equal(end, 0, printed);
    assert.equal(printed, program.includes('done') ? 'done\n' : '');
  });
}

test('a process that exits with calls in flight ends with its own code', async () => {
  for (let turn = 0; turn < 6; turn++) {
    const { end, printed } = await run(`
      Cache.open(url).then((cache) => {
        for (let at = 0; at < 500; at++) { cache.get('a').catch(() => {}); cache.invalidatePattern('x' + at).catch(() => {}); }
        if (${turn} % 3 === 2) cache.close();
        setTimeout(() => process.exit(7), ${turn} * 2);
      })`);
    assert.equal(end, 7, printed);
  }
});

test('an uncaught error with calls in flight ends the process in Node\'s way', async () => {
  const { end, printed } = await run(`
    Cache.open(url).then((cache) => { for (let at = 0; at < 100; at++) cache.flush(); setImmediate(() => { throw new Error('mine') }) })`);
  assert.equal(end, 1, printed);
  assert.match(printed, /Error: mine/);
});

const threads = () => fs.readdirSync('/proc/self/task').length;
const files = () => fs.readdirSync('/proc/self/fd').length;

test('closing releases the descriptors at once', async () => {
  await (await Cache.open(url)).close();
  const before = files();
  // Kept, so that no collector releases anything for them.
  const caches = [];
  for (let at = 0; at < 200; at++) {
    const cache = await Cache.open(url);
    caches.push(cache);
    await cache.set('a', 'v');
    await cache.close();
  }
  for (let patience = 0; files() > before + 2 && patience < 1000; patience++) await sleep(20);
  assert(files() <= before + 2, `${files()} descriptors after ${caches.length} caches, ${before} before`);
});

test('a block that uses a cache closes it', async () => {
  const cache = await Cache.open(url);
  assert.equal(typeof cache[Symbol.asyncDispose], 'function');
  await cache[Symbol.asyncDispose]();
  await assert.rejects(cache.get('a'), { code: 'YC_E_CLOSED' });
});

test('one operation too many says what to do', async () => {
  const sockets = [];
  const silent = require('node:net').createServer((socket) => sockets.push(socket.on('error', () => {}).resume())).listen(0, '127.0.0.1');
  await new Promise((resolve) => silent.once('listening', resolve));
  const address = `redis://127.0.0.1:${silent.address().port}?connect=lazy&max_pending=1000000&socket_timeout=600s&socket_connect_timeout=600s&key_prefix=busy`;
  const cache = await Cache.open(address);
  const first = [];
  for (let at = 0; at < 65536; at++) first.push(cache.get('a').catch((error) => error.code));
  const busy = { code: 'YC_E_BUSY', retryable: true, message: /65536 operations of this cache are in flight.*await/ };
  await assert.rejects(cache.get('a'), busy);
  await assert.rejects(cache.getMany(['a']), busy);
  await cache.close({ timeout: 0 }).catch((error) => assert.equal(error.code, 'YC_E_TIMEOUT'));
  assert((await Promise.all(first)).every((code) => code === 'YC_E_CLOSED'));
  sockets.forEach((socket) => socket.destroy());
  silent.close();
});


/** How many are left. A deref() keeps its object until the end of the turn: no collecting in one turn with it. */
async function left(what) {
  for (let turn = 0; turn < 2000 && what.some((one) => one.deref() !== undefined); turn++) {
    await sleep(5);
    globalThis.gc();
    await sleep(1);
  }
  return what.filter((one) => one.deref() !== undefined).length;
}

async function settled(read, most) {
  for (let turn = 0; turn < 4000 && read() > most; turn++) await sleep(5);
  return read();
}

async function useAndForget() {
  const cache = await Cache.open(url);
  await Promise.all([cache.get('a'), cache.invalidatePattern('x'), cache.getMany(['a'])]);
  return new WeakRef(cache);
}

test('forgotten caches are collected, with their descriptors and threads', async () => {
  // With all of its connections: others would come while these are counted.
  const kept = await Cache.open(isMemory ? url : testUrl('pool_size=1'));
  await kept.set('a', 'v');
  const [before, threadsBefore] = [files(), threads()];
  const forgotten = [];
  for (let at = 0; at < 50; at++) forgotten.push(await useAndForget());
  assert.equal(await left(forgotten), 0);
  assert((await settled(files, before)) <= before, `${files()} descriptors, ${before} before`);
  assert((await settled(threads, threadsBefore + 1)) <= threadsBefore + 1, `${threads()} threads, ${threadsBefore} before`);
  assert.equal(String(await kept.get('a')).length > 0, true);
  await kept.flush();
  await kept.close();
});

test('a forgotten cache answers what is in flight', async () => {
  const results = [];
  for (let at = 0; at < 20; at++) {
    results.push(Cache.open(url).then((cache) => Promise.all([cache.invalidatePattern('x'), cache.get('none')])));
    globalThis.gc();
  }
  for (let turn = 0; turn < 20; turn++) {
    globalThis.gc();
    await sleep(1);
  }
  for (const [, value] of await Promise.all(results)) assert.equal(value, undefined);
});

const work = prelude + `
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    const cache = await Cache.open(url);
    await cache.set('w' + workerData, 'v');
    const value = await cache.get('w' + workerData, { encoding: 'utf8' });
    if (workerData % 2) await cache.close();
    else for (let at = 0; at < 50; at++) { cache.get('a').catch(() => {}); cache.invalidatePattern('x').catch(() => {}); }
    parentPort.postMessage(value);
    if (workerData % 4 === 0) process.exit(0);
    if (workerData % 4 === 2) setInterval(() => {}, 1000);
  })()`;

function workerEnds(number) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(work, { eval: true, workerData: number });
    let value;
    worker.on('message', (message) => {
      value = message;
      if (number % 4 === 2) worker.terminate();
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve(value));
  });
}

test('200 workers come and go: closing, exiting, or terminated with calls in flight', { timeout: 200_000 }, async () => {
  await Promise.all([workerEnds(0), workerEnds(1), workerEnds(2)]);
  const [before, threadsBefore] = [files(), threads()];
  for (let number = 0; number < 200; number += 2) {
    assert.deepEqual(await Promise.all([workerEnds(number), workerEnds(number + 1)]), ['v', 'v']);
  }
  assert((await settled(files, before + 4)) <= before + 4, `${files()} descriptors, ${before} before`);
  assert((await settled(threads, threadsBefore + 2)) <= threadsBefore + 2, `${threads()} threads, ${threadsBefore} before`);
});
