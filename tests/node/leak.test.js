'use strict';

/**
 * A million operations, some aborted, leave no memory behind. Takes --expose-gc; without node:test, whose hooks keep
 * something for each promise.
 */

const assert = require('node:assert/strict');
const { Cache, testUrl } = require('./package.js');

const OPERATIONS = Number(process.env.YC_LEAK_OPERATIONS ?? 1_000_000);
const BATCH = 500;
/** Heaps still find their size after the warm-up, also without a cache; 40 lost bytes an operation would be more. */
const GROWTH = 24 << 20;

const ended = (error) => assert.match(error.code === 'YC_E_BUSY' ? 'AbortError' : error.name, /AbortError/);

/** A batch of every kind of operation; the last tenth is aborted, in the same tick or in flight. */
async function round(cache, number) {
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [];
  for (let at = 0; at < BATCH; at++) {
    const key = `key${(number * BATCH + at) % 1000}`;
    const options = at >= BATCH * 0.9 ? { signal } : undefined;
    if (at % 5 === 0) calls.push(cache.set(key, Buffer.alloc(at), { ...options, tags: ['t'] }));
    else if (at % 97 === 0) calls.push(cache.set(key, 'x'.repeat(20_000), options));
    else if (at % 101 === 0) calls.push(cache.getMany([key, 'a', 'b'], options));
    else if (at % 89 === 0) calls.push(cache.setIf(key, 'x'.repeat(20_000), { ...options, absent: true }));
    else if (at % 83 === 0) calls.push(cache.getVersioned(key, options));
    else if (at % 79 === 0) calls.push(cache.counterAdd(`${key} counted`, 1, options));
    else if (at % 103 === 0) calls.push(assert.rejects(cache.get('', options), { code: /YC_E_INVALID|ABORT|20/ }));
    else calls.push(cache.get(key, options));
  }
  if (number % 2) controller.abort();
  else setImmediate(() => controller.abort());
  await Promise.all(calls.map((call) => call.catch(ended)));
}

function resident() {
  for (let turn = 0; turn < 3; turn++) globalThis.gc();
  return process.memoryUsage.rss();
}

async function main() {
  const cache = await Cache.open(testUrl());
  const [rounds, warm] = [OPERATIONS / BATCH, (OPERATIONS / BATCH) * 0.4];
  const deadline = Date.now() + 55_000;
  let number = 0;
  for (; number < warm; number++) await round(cache, number);
  const before = resident();
  for (; number < rounds && Date.now() < deadline; number++) await round(cache, number);
  const growth = resident() - before;
  console.log(`${number * BATCH} operations, ${(growth / 1024).toFixed()} KiB more than after ${warm * BATCH}`);
  assert(growth < GROWTH, `${growth} bytes more than before`);
  await cache.flush();
  await cache.close();
}

main();
