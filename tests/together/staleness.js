// Reads numbered values through a near cache and writes some of them, from Node: staleness.h describes the file that the
// processes share. staleness.js URL FILE PROCESS MS
'use strict';

const { Cache } = require(process.env.YC_TEST_PACKAGE);
const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

const [PROCESSES, OWNED, BLOCK, TIMES, GROUP, FIRST_TAGGED] = [4, 12, 64, 63, 3, 6];
const KEYS = PROCESSES * OWNED;
// A key is changed up to so many times, one after the other, and then left alone.
const BURST = 4;
// The number of failures that are printed.
const SHOWN = 5;
// The counters of a process.
const [READS, COPIES, MISSES, ERRORS, WRITES, FAILED_WRITES, WORST_NS, FAILURES] = [0, 1, 2, 3, 4, 5, 6, 7];

const [url, path, number, milliseconds] = process.argv.slice(2);
const [file, own, maxStaleness] = [fs.openSync(path, 'r+'), Number(number), Number(milliseconds) * 1e6];
const words = new BigUint64Array((1 + PROCESSES + KEYS) * BLOCK);
const halves = new Uint32Array(words.buffer);
const counts = new Array(8).fill(0);
const [numbers, generations] = [new Array(KEYS).fill(0), new Array(KEYS).fill(0)];

// hrtime is CLOCK_MONOTONIC.
const now = () => process.hrtime.bigint();
const wordOf = (key) => (1 + PROCESSES + key) * BLOCK;
const nameOf = (key, generation) => `key-${key}.${generation}`;
const tagOf = (key) => `tag-${Math.floor(key / GROUP)}`;
const isTagged = (key) => key % OWNED >= FIRST_TAGGED;
const isEnding = () => halves[0] !== 0;

function readWords(first, length) {
  fs.readSync(file, new Uint8Array(words.buffer, first * 8, length * 8), 0, length * 8, first * 8);
}

function writeWord(at, word) {
  fs.writeSync(file, BigUint64Array.of(word), 0, 8, at * 8);
}

function writeCounts() {
  const bytes = BigUint64Array.from(counts.map(BigInt));
  fs.writeSync(file, bytes, 0, bytes.byteLength, (1 + own) * BLOCK * 8);
}

// ---- Reading ----

/** The bound of a key and its generation, as they were read last. */
function placeOf(key) {
  const at = wordOf(key) * 2;
  return { key, bound: halves[at], generation: halves[at + 1] };
}

function check({ key, bound }, began, text, call) {
  const value = Number(text);
  if (value >= bound) return;
  const next = bound - value >= TIMES ? bound - (TIMES - 1) : value + 1;
  const since = wordOf(key) + 1 + (next % TIMES);
  readWords(since, 1);
  const age = Math.max(0, Number(began - words[since]));
  const isOwn = Math.floor(key / OWNED) === own;
  if (!isOwn) {
    counts[WORST_NS] = Math.max(counts[WORST_NS], age);
    if (age <= maxStaleness) return;
  }
  if (++counts[FAILURES] > SHOWN) return;
  console.log(`FAILED process ${own}: ${call} of key ${key} returned ${value} ${age / 1e6} ms after ${next} was stored (now ${bound})`);
}

/** Reads copies only, and so never waits. */
async function look(cache) {
  while (!isEnding()) {
    readWords(0, words.length);
    const began = now();
    for (let key = 0; key < KEYS; key++) {
      const place = placeOf(key);
      const text = cache.getNear(nameOf(key, place.generation), { encoding: 'utf8' });
      counts[text === undefined ? MISSES : COPIES]++;
      if (text !== undefined) check(place, began, text, 'getNear');
    }
    counts[READS] += KEYS;
    writeCounts();
    await sleep(1);
  }
}

async function readKey(cache, key) {
  readWords(wordOf(key), 1);
  const [place, began] = [placeOf(key), now()];
  counts[READS]++;
  try {
    const text = await cache.get(nameOf(key, place.generation), { encoding: 'utf8' });
    if (text === undefined) counts[MISSES]++;
    else check(place, began, text, 'get');
  } catch {
    counts[ERRORS]++;
  }
}

/** All keys at once: while replies are late, all that have no copy wait for them. */
async function ask(cache) {
  while (!isEnding()) {
    await Promise.all(Array.from({ length: KEYS }, (_, key) => readKey(cache, key)));
    await sleep(1);
  }
}

// ---- Writing ----

async function isWritten(change) {
  try {
    await change;
    counts[WRITES]++;
    return true;
  } catch {
    counts[FAILED_WRITES]++;
    return false;
  }
}

function publish(key) {
  writeWord(wordOf(key) + 1 + (numbers[key] % TIMES), now());
  writeWord(wordOf(key), (BigInt(generations[key]) << 32n) | BigInt(numbers[key]));
}

async function store(cache, key) {
  const [value, tags] = [String(++numbers[key]), isTagged(key) ? [tagOf(key)] : []];
  if (!(await isWritten(cache.set(nameOf(key, generations[key]), value, { ttl: 3_600_000, tags })))) generations[key]++;
  publish(key);
}

async function remove(cache, key) {
  if (await isWritten(cache.delete(nameOf(key, generations[key])))) {
    numbers[key]++;
    publish(key);
  }
  await store(cache, key);
}

/** Leaves the keys without values: only the tag tells of the change. */
async function invalidate(cache, key) {
  const first = key - (key % GROUP);
  if (await isWritten(cache.invalidateTag(tagOf(key)))) {
    for (let at = first; at < first + GROUP; at++) {
      numbers[at]++;
      publish(at);
    }
  }
}

const below = (limit) => Math.floor(Math.random() * limit);

async function change(cache, key, kind) {
  if (kind < 2) await store(cache, key);
  else if (kind === 2 && isTagged(key)) await invalidate(cache, key);
  else await remove(cache, key);
  await sleep(5);
}

async function writeKeys(cache) {
  while (!isEnding()) {
    const key = own * OWNED + below(OWNED);
    for (let left = below(BURST); left >= 0; left--) await change(cache, key, below(4));
    await sleep(20);
  }
}

async function main() {
  const cache = await Cache.open(url);
  await Promise.all([look(cache), ask(cache), writeKeys(cache)]);
  writeCounts();
  await cache.close();
}

main()
  .catch((error) => {
    console.log(`FAILED ${error.stack}`);
    process.exitCode = 1;
  })
  .then(() => (process.exitCode ||= counts[FAILURES] === 0 ? 0 : 1));
