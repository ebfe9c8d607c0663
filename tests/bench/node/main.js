'use strict';

/**
 * Measures contenders in interleaved rounds:
 * main.js [--quick] [--rounds N] [--ms N] [--work get,set,gets,sets,load] [--flight 1,64] [--json FILE]
 *     [redis|memcached|memory|near|loading]...
 *
 * A peer that cannot be loaded is reported as missing. --json FILE gets the figures of all rounds.
 */

const fs = require('node:fs');
const { parseArgs } = require('node:util');
const { groups } = require('./contenders.js');

const KEYS = 10_000;
const VALUE = 'v'.repeat(100);
const MANY = 100;

function readOptions() {
  const text = { type: 'string' };
  const options = { quick: { type: 'boolean' }, rounds: text, ms: text, work: text, flight: text, json: text };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  return {
    rounds: Number(values.rounds ?? (values.quick ? 1 : 7)),
    ms: Number(values.ms ?? (values.quick ? 50 : 400)),
    wants: (name, inFlight) => isNamed(values.work, name) && isNamed(values.flight, String(inFlight)),
    json: values.json,
    wanted: positionals,
  };
}

const isNamed = (list, name) => list === undefined || list.split(',').includes(name);

const keys = Array.from({ length: KEYS }, (_, at) => `key:${String(at).padStart(12, '0')}`);
let next = 0;
const nextKey = () => keys[(next = (next + 7919) % KEYS)];
const nextKeys = () => Array.from({ length: MANY }, nextKey);

const WORKLOADS = {
  get: { title: 'get of 100 bytes', call: (cache) => cache.get(nextKey()), inFlight: [1, 8, 64, 1024], each: 1 },
  set: { title: 'set of 100 bytes', call: (cache) => cache.set(nextKey(), VALUE), inFlight: [1, 8, 64, 1024], each: 1 },
  gets: { title: 'batch of 100 gets', call: (cache) => cache.getMany(nextKeys()), inFlight: [1, 8], each: MANY },
  load: { title: 'hit of a get-or-load of 100 bytes', call: (cache) => cache.load(nextKey()), inFlight: [1], each: 1 },
  sets: { title: 'batch of 100 sets', call: (cache) => cache.setMany(nextKeys(), VALUE), inFlight: [1, 8], each: MANY },
};

/** So many calls in flight, for so long: calls a second, microseconds at the 99th percentile, processor time a call. */
async function measure(cache, { call, each }, inFlight, ms) {
  const times = [];
  let calls = 0;
  const sampled = inFlight === 1 ? 1 : 8;
  const begun = performance.now();
  const end = begun + ms;
  const used = process.cpuUsage();
  async function callOn() {
    for (let before = begun, turn = 0; before < end; turn++) {
      before = performance.now();
      await call(cache);
      calls += 1;
      if (turn % sampled === 0) times.push(performance.now() - before);
    }
  }
  await Promise.all(Array.from({ length: inFlight }, callOn));
  const took = performance.now() - begun;
  const { user, system } = process.cpuUsage(used);
  times.sort((one, other) => one - other);
  const count = calls * each;
  return { rate: (count / took) * 1000, p99: times[Math.floor(times.length * 0.99)] * 1000, cpu: (user + system) / count };
}

const median = (numbers) => numbers.sort((one, other) => one - other)[numbers.length >> 1];

function row(name, results, base) {
  const column = (field) => median(results.map((result) => result[field]));
  const ratio = median(results.map(({ rate }, round) => rate / base[round].rate));
  return `| ${name} | ${(column('rate') / 1000).toFixed(1)} | ${column('p99').toFixed(0)} | ${column('cpu').toFixed(2)} | ${ratio.toFixed(2)} |`;
}

// All rounds of all contenders, for --json. A round is calls a second, the p99 in microseconds, and microseconds of CPU.
const records = [];

function keep(group, work, inFlight, results, file) {
  for (const [contender, list] of results) {
    const rounds = list.map(({ rate, p99, cpu }) => [rate, p99, cpu]);
    records.push({ backend: `node ${group}`, workload: work, callers: inFlight, contender, rounds });
  }
  // After each workload: a run that is ended from outside leaves what it has.
  if (!file) return;
  // Ended while it writes, it leaves the file of before, and not a half.
  fs.writeFileSync(`${file}.new`, JSON.stringify(records, null, 1));
  fs.renameSync(`${file}.new`, file);
}

async function compare(title, workload, inFlight, opened, base, { rounds, ms }) {
  const results = new Map(opened.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < opened.length; at++) {
      const { name, cache } = opened[(at + round) % opened.length];
      await measure(cache, workload, inFlight, ms / 8);
      results.get(name).push(await measure(cache, workload, inFlight, ms));
    }
  }
  console.log(`\n${title}, ${inFlight} in flight\n`);
  base = results.has(base) ? base : opened[0].name;
  console.log(`| | thousand a second | p99 µs | CPU µs | to ${base} |\n|---|---|---|---|---|`);
  for (const [name, list] of results) console.log(row(name, list, results.get(base)));
  return results;
}

async function runGroup(group, { base, contenders, works, atOnce }, options) {
  const opened = [];
  console.log(`\n## ${group}`);
  for (const { name, open } of contenders) {
    try {
      opened.push({ name, cache: await open() });
    } catch (error) {
      console.log(`\nMissing: ${name}: ${error.message.split('\n')[0]}`);
    }
  }
  for (const { cache } of opened) {
    // What only loads is filled by loads.
    for (let at = 0; at < KEYS; at += MANY) {
      const some = keys.slice(at, at + MANY);
      await (cache.setMany ? cache.setMany(some, VALUE) : Promise.all(some.map(cache.load)));
    }
    // Copies of what other caches have in a server.
    if (cache.keep) await cache.keep(keys);
  }
  for (const [name, workload] of Object.entries(WORKLOADS)) {
    if (!works.includes(name)) continue;
    for (const inFlight of workload.inFlight) {
      // What is done when the call returns is never in flight.
      if (!options.wants(name, inFlight) || (atOnce && inFlight > 1)) continue;
      const results = await compare(workload.title, workload, inFlight, opened, base, options);
      keep(group, name, inFlight, results, options.json);
    }
  }
  for (const { cache } of opened) await cache.close();
}

async function main() {
  const options = readOptions();
  const all = groups({ redisPort: Number(process.env.BENCH_REDIS_PORT), memcached: process.env.BENCH_MEMCACHED });
  const wanted = options.wanted.length > 0 ? options.wanted : Object.keys(all);
  for (const group of wanted) await runGroup(group, all[group], options);
}

main();
