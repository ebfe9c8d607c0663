// Reads the rows that race.c changes, with getOrLoad().
'use strict';

const { Cache } = require(process.env.YC_TEST_PACKAGE);
const { setTimeout: sleep } = require('node:timers/promises');

let [failures, calls, loads] = [0, 0, 0];
const running = { calm: 0, wild: 0 };

function check(holds, text) {
  if (holds) return;
  console.log(`FAILED race.js: ${text}`);
  failures++;
}

async function add(cache, row, counter, delta) {
  for (;;) {
    try {
      return Number(await cache.counterAdd(`${row}:${counter}`, delta, { ttl: Infinity }));
    } catch (error) {
      if (error.code !== 'YC_E_BUSY') throw error;
    }
  }
}

async function load(cache, row, fill) {
  check(++running[row] === 1, `${row}: two loaders run in this process`);
  check((await add(cache, row, 'running', 1)) === 1 || row !== 'calm', `${row}: two loaders run`);
  if (row === 'wild') fill.tags.push(row);
  const version = await add(cache, row, 'version', 0);
  await sleep(2);
  await add(cache, row, 'running', -1);
  await add(cache, row, 'loads', 1);
  running[row]--;
  loads++;
  return String(version);
}

async function readRows(cache) {
  const end = Date.now() + 60_000;
  while (Date.now() < end && (await add(cache, 'all', 'stop', 0)) === 0) {
    for (const row of ['calm', 'wild']) {
      const options = { ttl: 3_600_000, wait: 20_000, encoding: 'utf8', tags: row === 'calm' ? [row] : [] };
      const least = await add(cache, row, 'known', 0);
      const seen = await cache.getOrLoad(row, (fill) => load(cache, row, fill), options);
      check(Number(seen) >= least, `${row}: version ${seen} after ${least} was known`);
      calls++;
    }
  }
}

async function main() {
  const cache = await Cache.open(process.env.YC_TEST_URL);
  await add(cache, 'all', 'ready', 1);
  await Promise.all(Array.from({ length: 4 }, () => readRows(cache)));
  console.log(`node: ${calls} calls, ${loads} loads`);
  check(calls > 0, 'no calls');
  await cache.close();
}

main()
  .catch((error) => check(false, error.stack))
  .then(() => (process.exitCode = failures === 0 ? 0 : 1));
