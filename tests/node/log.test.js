'use strict';

/** The log: lines of real events, levels, functions that throw or are slow, workers, and the end of the process. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');
const { Cache, YokedCacheError, directory, setLog } = require('./package.js');
const { freePort, startServer } = require('./server.js');

const openAndClose = async (prefix) => (await Cache.open(`memory://?key_prefix=${prefix}`)).close();
const isOf = (prefix) => ({ message }) => message.includes(`key_prefix=${prefix}`);

/** Waits until something holds, for 20 seconds at most. */
async function becomes(what, holds) {
  for (let turn = 0; !holds(); turn++) {
    assert(turn < 4000, what);
    await sleep(5);
  }
}

/** Runs a script in a process of its own. */
function run(script, ...flags) {
  const code = `const { Cache, setLog } = require(${JSON.stringify(directory)});
    const openAndClose = async (prefix) => (await Cache.open('memory://?key_prefix=' + prefix)).close();
    (async () => { ${script} })();`;
  return spawnSync(process.execPath, [...flags, '-e', code], { encoding: 'utf8', timeout: 60_000 });
}

test('lines of a cache', async () => {
  const lines = [];
  const before = Date.now();
  assert.equal(setLog((line) => lines.push(line)), undefined);
  await openAndClose('seen');
  setLog(null);
  const seen = lines.filter(isOf('seen'));
  assert.deepEqual(seen.map(({ level, message, dropped }) => [level, message.split(' ')[0], dropped]), [['info', 'opened', 0], ['info', 'closed', 0]]);
  for (const { time } of seen) assert(time instanceof Date && time >= before - 1000 && time <= Date.now() + 1000);
  await openAndClose('unseen');
  await sleep(20);
  assert(!lines.some(isOf('unseen')));
});

test('levels', async () => {
  const linesAt = async (options) => {
    const lines = [];
    setLog((line) => lines.push(line), options);
    await openAndClose('levels');
    await (await Cache.open('redis://127.0.0.1:1?connect=lazy')).close(); // A warning: without a prefix.
    setLog(null);
    return [lines.filter(isOf('levels')).length, lines.filter(({ level, message }) => level === 'warn' && /key_prefix is not set/.test(message)).length];
  };
  for (const options of [undefined, {}, { level: 'info' }, { level: 'debug' }, { level: 'trace' }]) assert.deepEqual(await linesAt(options), [2, 1]);
  assert.deepEqual(await linesAt({ level: 'warn' }), [0, 1]);
  assert.deepEqual(await linesAt({ level: 'error' }), [0, 0]);
});

test('arguments', () => {
  for (const log of [undefined, 5, 'console', {}, { log() {} }]) assert.throws(() => setLog(log), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  for (const level of ['off', 'WARN', '']) assert.throws(() => setLog(null, { level }), { code: 'YC_E_INVALID' });
  assert.throws(() => setLog(null, { level: 3 }), TypeError);
  assert.throws(() => setLog(console, { levl: 'warn' }), /did you mean level/);
  setLog(null);
});

test('loggers', async () => {
  const calls = [];
  const logger = (...names) => Object.fromEntries(names.map((name) => [name, function (text) {
    assert(this.calls === calls);
    if (/levels|not set/.test(text)) calls.push(name);
  }]).concat([['calls', calls]]));
  const callsOf = async (log) => {
    calls.length = 0;
    setLog(log, { level: 'trace' });
    await (await Cache.open('redis://127.0.0.1:1?connect=lazy')).close();
    await openAndClose('levels');
    setLog(null);
    return calls.join(' ');
  };
  assert.equal(await callsOf(logger('error', 'warn', 'info', 'debug', 'trace')), 'warn info info');
  assert.equal(await callsOf(logger('error', 'warn')), 'warn warn warn');
  assert.equal(await callsOf(logger('error', 'debug')), 'error error error');
  assert.equal(await callsOf(logger('trace')), 'trace trace trace');
  // One that replaces its methods, as pino does for its level.
  const replaced = logger('info', 'warn');
  setLog(replaced);
  replaced.info = replaced.warn = (text) => calls.push(text);
  calls.length = 0;
  await openAndClose('replaced');
  setLog(null);
  assert.equal(calls.filter((message) => isOf('replaced')({ message })).length, 2);
});

test('a server that is down: a warning, without the password', async () => {
  const port = await freePort();
  const lines = [];
  setLog((line) => lines.push(line), { level: 'trace' });
  for (const url of [`redis://user:hunter2@127.0.0.1:${port}?connect=lazy`, `memcached://user:hunter2@127.0.0.1:${port}?connect=lazy`]) {
    lines.length = 0;
    const cache = await Cache.open(url);
    await assert.rejects(cache.get('k'), YokedCacheError);
    await becomes('no warning', () => lines.some(({ level, message }) => level === 'warn' && message.includes(`${port}`)));
    await cache.close();
    assert(lines.every(({ message }) => !message.includes('hunter2')), JSON.stringify(lines));
  }
  await assert.rejects(Cache.open(`redis://:hunter2@127.0.0.1:${port}`));
  await assert.rejects(Cache.open('redis://:hunter2@127.0.0.1:port'));
  setLog(null);
  assert(lines.every(({ message }) => !message.includes('hunter2')), JSON.stringify(lines));
});

test('a server that is lost and comes back', { skip: process.env.YC_TEST_URL?.startsWith('redis') ? false : 'only with Redis', timeout: 60_000 }, async (t) => {
  const port = await freePort();
  const { server, gone } = await startServer(t, port);
  const lines = [];
  const has = (level, text) => lines.some((line) => line.level === level && line.message.includes(text));
  const cache = await Cache.open(`redis://127.0.0.1:${port}`);
  setLog((line) => lines.push(line));
  server.kill('SIGKILL');
  await gone;
  await becomes('no line of the loss', () => has('warn', 'a connection was lost'));
  await startServer(t, port);
  await becomes('no line of the new connection', () => has('info', 'connected again'));
  await cache.close();
  setLog(null);
});

test('logs that are replaced during traffic: no call after that', async () => {
  let done = false;
  const traffic = Array.from({ length: 4 }, async () => {
    while (!done) await openAndClose('traffic');
  });
  let calls = 0;
  for (let turn = 0; turn < 100; turn++) {
    let over = false;
    setLog(() => {
      calls++;
      assert(!over);
    });
    await sleep(turn % 3);
    setLog(turn % 2 ? null : () => {});
    over = true;
  }
  await sleep(10);
  done = true;
  await Promise.all(traffic);
  setLog(null);
  assert(calls > 0);
});

/** Runs a worker that opens and closes so many caches, while this thread does nothing. */
function openInWorker(count) {
  const script = `
    const { workerData: { directory, shared, count } } = require('node:worker_threads');
    const { Cache } = require(directory);
    (async () => {
      for (let at = 0; at < count; at++) await (await Cache.open('memory://?key_prefix=busy')).close();
      Atomics.store(shared, 0, 1);
      Atomics.notify(shared, 0);
    })();`;
  const shared = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(script, { eval: true, workerData: { directory, shared, count } });
  assert.notEqual(Atomics.wait(shared, 0, 0, 50_000), 'timed-out');
  return new Promise((resolve) => worker.once('exit', resolve));
}

test('a loop that is busy stalls no call, and each line is passed or counted', { timeout: 60_000 }, async () => {
  const lines = [];
  setLog((line) => lines.push(line));
  const gone = openInWorker(1000);
  assert.equal(lines.length, 0);
  setLog(null);
  const dropped = lines.reduce((sum, line) => sum + line.dropped, 0);
  assert(lines.length === 1024 && lines.length + dropped >= 2000, `${lines.length} lines, ${dropped} dropped`);
  await gone;
  const texts = [];
  setLog({ info: (text) => texts.push(text) });
  const againGone = openInWorker(1000);
  setLog(null);
  assert.equal(texts.filter((text) => /^opened.*busy \(9\d\d lines were dropped\)$/.test(text)).length, 1, texts[0]);
  await againGone;
});

test('a function that uses a cache and sets the log', async () => {
  const cache = await Cache.open('memory://?key_prefix=function');
  let calls = 0;
  const first = (line) => {
    calls++;
    cache.set('line', line.message);
    setLog(null);
  };
  setLog(first);
  await openAndClose('inner');
  await openAndClose('inner');
  await becomes('no line', () => calls > 0);
  await sleep(20);
  assert.equal(calls, 1);
  assert.match(await cache.get('line', { encoding: 'utf8' }), /key_prefix=/);
  await cache.close();
});

test('an error of the function is an uncaught exception', () => {
  const script = `
    setLog(() => { throw new Error('thrown by the log'); });
    await openAndClose('thrown');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    console.log('not reached');`;
  const ended = run(script);
  assert.deepEqual([ended.status, ended.stdout], [1, '']);
  assert.match(ended.stderr, /Error: thrown by the log/);
  // With a listener the log continues, with the next line.
  const caught = run(`
    let errors = 0;
    process.on('uncaughtException', () => { errors++; });
    setLog(() => { throw new Error('thrown by the log'); });
    await openAndClose('thrown');
    while (errors < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    setLog(null);
    console.log(errors);`);
  assert.deepEqual([caught.stdout, caught.status], ['2\n', 0], caught.stderr);
});

test('the process ends by itself, and the last lines are passed', () => {
  for (const end of ['', 'process.exit(0);']) {
    const { stdout, stderr, status } = run(`setLog(({ message }) => console.log(message.split(' ')[0])); await openAndClose('last'); ${end}`);
    assert.deepEqual([stdout, status], ['opened\nclosed\n', 0], stderr);
  }
  const idle = run(`setLog(console); await Cache.open('memory://?key_prefix=idle');`);
  assert.deepEqual([idle.stdout, idle.status], ['opened backend=memory key_prefix=idle\n', 0], idle.stderr);
});

test('workers: the log of one ends with it, also in the midst of lines', { timeout: 120_000 }, async () => {
  const script = `
    const { parentPort, workerData: { directory, how } } = require('node:worker_threads');
    const { Cache, setLog } = require(directory);
    let lines = 0;
    setLog(() => { if (++lines === 4) parentPort.postMessage('lines'); });
    const traffic = async () => { for (;;) await (await Cache.open('memory://?key_prefix=worker')).close(); };
    for (let at = 0; at < 4; at++) traffic();
    if (how === 'exit') parentPort.once('message', () => process.exit());
    if (how === 'set') parentPort.once('message', () => { setLog(null); setLog(() => {}); process.exit(); });`;
  let busy = true;
  const traffic = (async () => {
    while (busy) await openAndClose('main');
  })();
  for (let turn = 0; turn < 9; turn++) {
    const how = ['terminate', 'exit', 'set'][turn % 3];
    const worker = new Worker(script, { eval: true, workerData: { directory, how } });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    const gone = new Promise((resolve) => worker.once('exit', resolve));
    if (how === 'terminate') worker.terminate();
    else worker.postMessage('end');
    await gone;
    if (turn % 2) {
      const lines = [];
      setLog((line) => lines.push(line));
      await becomes('no line after a worker', () => lines.some(isOf('main')));
    }
  }
  busy = false;
  await traffic;
  setLog(null);
});
