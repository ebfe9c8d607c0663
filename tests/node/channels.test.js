'use strict';

/** Channels: messages and gaps in their order, the ends of a subscription, and who keeps what alive. Takes --expose-gc. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const { test, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');
const { Cache, directory, testUrl } = require('./package.js');

const text = { encoding: 'utf8' };
const closed = { code: 'YC_E_CLOSED' };
const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(() => cache.close());

/** A test for the backends that have channels. The time is one that no message needs. */
function withChannels(name, run) {
  test(name, { timeout: 120_000 }, async (t) => (cache.capabilities.publish ? run(t) : t.skip('the backend has no channels')));
}

const news = (options) => cache.subscribe({ channels: ['news'], ...text, ...options });
const message = (data, channel = 'news') => ({ channel, data, lost: 0 });
const publishAll = async (...messages) => {
  for (const one of messages) await cache.publish('news', one);
};
const dataOf = ({ data }) => data;

/** The messages of a loop, up to the one that is `last`. */
async function readUntil(subscription, last) {
  const all = [];
  for await (const { data } of subscription) {
    all.push(data);
    if (data === last) break;
  }
  return all;
}

test('a backend without channels says so', async () => {
  if (cache.capabilities.publish) return;
  await assert.rejects(cache.publish('news', 'a'), { code: 'YC_E_UNSUPPORTED' });
  await assert.rejects(news(), { code: 'YC_E_UNSUPPORTED' });
});

// ---- Messages ----

withChannels('messages come in their order, as strings or bytes', async () => {
  const [strings, bytes] = [await news({ patterns: new Set(['zoë:*']) }), await cache.subscribe({ channels: [Buffer.from('news')] })];
  await publishAll('1', new Uint8Array([0, 255]), '');
  await cache.publish('zoë:1', 'ü');
  const received = [await strings.receive(), await strings.receive(), await strings.receive(), await strings.receive()];
  assert.deepEqual(received, [message('1'), message('\0\ufffd'), message(''), message('ü', 'zoë:1')]);
  assert.deepEqual(await bytes.receive(), message(Buffer.from('1')));
  assert.deepEqual(await bytes.receive(), message(Buffer.from([0, 255])));
  assert.deepEqual(await bytes.receive(), message(Buffer.alloc(0)));
  assert.equal(await bytes.receive({ timeout: 20 }), undefined);
  strings.close();
  bytes.close();
});

withChannels('a publisher is told who receives', async () => {
  const [first, second] = [await cache.subscribe({ channels: ['told'] }), await cache.subscribe({ patterns: ['t?ld'] })];
  assert.equal(await cache.publish('told', 'a'), 2);
  assert.equal(await cache.publish('nobody', 'a'), 0);
  first.close();
  second.close();
});

withChannels('many messages come while they are published', async () => {
  const subscription = await news();
  const numbers = Array.from({ length: 5000 }, (_, at) => String(at));
  const reading = readUntil(subscription, '4999');
  for (const number of numbers) await cache.publish('news', number);
  assert.deepEqual(await reading, numbers);
});

withChannels('a reader that is too slow finds a gap', async (t) => {
  if (cache.capabilities.share) return t.skip('when a message of a server arrives is not known');
  const subscription = await news({ maxBytes: 1000 });
  await publishAll(...['a', 'b', 'c', 'd'].map((letter) => letter.repeat(600)));
  assert.deepEqual(await subscription.receive(), message('a'.repeat(600)));
  assert.deepEqual(await subscription.receive(), { channel: undefined, data: undefined, lost: 3 });
  assert.equal(await subscription.receive({ timeout: 0 }), undefined);
  await publishAll('e');
  assert.deepEqual(await subscription.receive(), message('e'));
  subscription.close();
});

withChannels('a loop that always finds a message lets the loop of Node have its turn', async () => {
  const subscription = await news();
  await publishAll('0', '1');
  let turns = 0;
  const turn = () => (turns += 1) < 3 && setImmediate(turn);
  setImmediate(turn);
  for await (const { data } of subscription) {
    if (turns === 3) break;
    await cache.publish('news', data);
  }
  assert.equal(turns, 3);
});

// ---- Waiting ----

withChannels('calls that wait get the messages in their order', async () => {
  const subscription = await news();
  const calls = Array.from({ length: 200 }, (_, at) => (at % 2 ? subscription.receive() : subscription.next()));
  for (let at = 0; at < 200; at++) await publishAll(String(at));
  const all = await Promise.all(calls);
  assert.deepEqual(all.map((one, at) => (at % 2 ? one : one.value).data), Array.from({ length: 200 }, (_, at) => String(at)));
  subscription.close();
});

withChannels('a call whose time is over or that is aborted loses no message', async () => {
  const subscription = await news();
  assert.equal(await subscription.receive({ timeout: 0 }), undefined);
  assert.equal(await subscription.receive({ timeout: 5 }), undefined);
  for (let at = 0; at < 200; at++) {
    const controller = new AbortController();
    const reason = new Error('no longer');
    const calls = [subscription.receive({ signal: controller.signal }), subscription.receive({ timeout: at % 3 })];
    const outcomes = Promise.allSettled(calls);
    const publishing = publishAll(String(at));
    if (at % 2) await sleep(at % 4);
    controller.abort(reason);
    await publishing;
    const [aborted, late] = await outcomes;
    const came = [aborted, late].map(({ value }) => value?.data).filter((data) => data !== undefined);
    if (aborted.status === 'rejected') assert.equal(aborted.reason, reason);
    assert.deepEqual(came.length ? came : [(await subscription.receive()).data], [String(at)]);
  }
  await assert.rejects(subscription.receive({ signal: AbortSignal.abort(new Error('before')) }), /before/);
  assert.equal(await subscription.receive({ timeout: 0 }), undefined);
  subscription.close();
});

withChannels('two loops over one subscription get each message once', async () => {
  const subscription = await news();
  const numbers = Array.from({ length: 300 }, (_, at) => String(at));
  let count = 0;
  const read = async () => {
    const all = [];
    for await (const { data } of subscription) {
      all.push(data);
      if (++count === numbers.length) subscription.close();
      await sleep(0);
    }
    return all;
  };
  const loops = [read(), read()];
  await publishAll(...numbers);
  const [first, second] = await Promise.all(loops);
  assert(first.length > 0 && second.length > 0);
  assert.deepEqual([...first, ...second].sort((one, other) => one - other), numbers);
});

withChannels('a subscription that waits does not hinder other calls', async () => {
  const subscription = await news();
  const waiting = subscription.receive();
  await cache.set('a', 'v');
  for (let turn = 0; turn < 100; turn++) assert.equal(await cache.get('a', text), 'v');
  await publishAll('x');
  assert.equal((await waiting).data, 'x');
  await cache.flush();
  subscription.close();
});

// ---- The end ----

withChannels('leaving a loop closes the subscription', async () => {
  const subscription = await news();
  await publishAll('a', 'b', 'c');
  assert.deepEqual(await readUntil(subscription, 'b'), ['a', 'b']);
  assert.deepEqual(await subscription.next(), { value: undefined, done: true });
  await assert.rejects(subscription.receive(), closed);
  // A server notices that the connection has ended.
  for (let turn = 0; turn < 500 && (await cache.publish('news', 'd')) !== 0; turn++) await sleep(10);
  assert.equal(await cache.publish('news', 'd'), 0);
  const thrown = await news();
  await publishAll('a');
  await assert.rejects(async () => {
    for await (const { data } of thrown) throw new Error(data);
  }, /^Error: a$/);
  await assert.rejects(thrown.receive({ timeout: 0 }), closed);
});

withChannels('closing ends loops and calls that wait', async () => {
  const subscription = await news();
  const [loop, call] = [readUntil(subscription), subscription.receive()];
  const rejected = assert.rejects(call, closed);
  await sleep(10);
  assert.equal(subscription.close(), undefined);
  assert.equal(subscription.close(), undefined);
  assert.deepEqual(await loop, []);
  await rejected;
  assert.deepEqual(await subscription.return('x'), { value: 'x', done: true });
  const other = await news();
  await other[Symbol.asyncDispose]();
  assert.deepEqual(await readUntil(other), []);
});

withChannels('closing the cache ends its subscriptions after their last message', async () => {
  const own = await Cache.open(testUrl());
  const subscription = await own.subscribe({ channels: ['news'], ...text });
  const others = [await own.subscribe({ channels: ['others'] }), own.subscribe({ channels: ['others'] })];
  const waiting = others.map(async (one) => {
    // One of them may still be connecting when the cache is closed.
    const other = await Promise.resolve(one).catch((error) => assert.equal(error.code, closed.code));
    if (other !== undefined) assert.deepEqual(await readUntil(other), []);
  });
  await own.publish('news', 'last');
  await own.close();
  await Promise.all(waiting);
  // On a server the message may not have come before the end.
  if (!cache.capabilities.share) assert.equal((await subscription.receive()).data, 'last');
  assert.ok((await readUntil(subscription)).length <= 1, 'a loop ends');
  await assert.rejects(subscription.receive(), closed);
  assert.equal((await subscription.next()).done, true);
  subscription.close();
  assert.equal((await subscription.next()).done, true);
  await assert.rejects(own.subscribe({ channels: ['news'] }), closed);
  await assert.rejects(own.publish('news', 'x'), closed);
});

withChannels('a signal ends the subscription with its reason', async () => {
  const controller = new AbortController();
  const subscription = await news({ signal: controller.signal });
  const reason = new Error('enough');
  await publishAll('a', 'b');
  const all = [];
  await assert.rejects(async () => {
    for await (const { data } of subscription) {
      all.push(data);
      if (data === 'b') setTimeout(() => controller.abort(reason), 10);
    }
  }, reason);
  assert.deepEqual(all, ['a', 'b']);
  await assert.rejects(subscription.receive(), reason);
  await assert.rejects(news({ signal: controller.signal }), reason);
  const late = new AbortController();
  const other = await news({ signal: late.signal });
  other.close();
  late.abort();
  assert.equal((await other.next()).done, true);
});

test('a signal ends the wait for a server that does not answer', { timeout: 60_000 }, async (t) => {
  const sockets = [];
  const silent = net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume())).listen(0, '127.0.0.1');
  t.after(() => {
    sockets.forEach((socket) => socket.destroy());
    silent.close();
  });
  await new Promise((resolve) => silent.once('listening', resolve));
  const own = await Cache.open(`redis://127.0.0.1:${silent.address().port}?connect=lazy&socket_timeout=300ms&socket_connect_timeout=600s`);
  const controller = new AbortController();
  let turns = 0;
  const ticking = setInterval(() => (turns += 1) === 3 && controller.abort(new Error('no longer')), 1);
  await assert.rejects(own.subscribe({ channels: ['news'], signal: controller.signal }), /no longer/);
  clearInterval(ticking);
  assert(turns >= 3, 'the loop continued meanwhile');
  await own.close({ timeout: 0 }).catch((error) => assert.equal(error.code, 'YC_E_TIMEOUT'));
});

// ---- Arguments ----

withChannels('arguments that are not allowed', async () => {
  const invalid = { code: 'YC_E_INVALID' };
  for (const options of [undefined, {}, { channels: [], patterns: [] }, { channels: [''] }, { patterns: [''] }]) {
    await assert.rejects(cache.subscribe(options), invalid);
  }
  for (const options of [null, 'news', ['news'], { channels: 'news' }, { patterns: null }, { channels: [1] }, { channels: ['\ud800'] },
    { channel: ['news'] }, { channels: ['a'], maxBytes: '1' }, { channels: ['a'], signal: 1 }]) {
    await assert.rejects(cache.subscribe(options), typeError, JSON.stringify(options));
  }
  for (const maxBytes of [0, -1, 1.5, NaN, Infinity]) await assert.rejects(news({ maxBytes }), invalid);
  await assert.rejects(news({ encoding: 'latin1' }), invalid);
  await assert.rejects(cache.subscribe({ channels: Array(1025).fill('a') }), { code: 'YC_E_TOO_LARGE' });
  await assert.rejects(cache.subscribe({ channels: ['a'.repeat(65_537)] }), { code: 'YC_E_TOO_LARGE' });
  await assert.rejects(cache.subscribe({ channel: ['news'] }), /did you mean channels/);
  for (const args of [[], ['news'], [1, 'a'], ['news', null], ['news', {}], ['news', '\ud800'], ['\ud800', 'a']]) {
    await assert.rejects(cache.publish(...args), typeError, JSON.stringify(args));
  }
  await assert.rejects(cache.publish('news', {}), /the message is of Object/);
  await assert.rejects(cache.publish({}, 'a'), /the channel is of Object/);
  await assert.rejects(cache.publish('', 'a'), invalid);
  await assert.rejects(cache.publish('news', 'a', { ttl: 5 }), /option "ttl" is unknown/);
  const subscription = await news();
  for (const options of [null, { timeout: '1' }, { signal: {} }, { wait: 1 }]) await assert.rejects(subscription.receive(options), typeError);
  for (const timeout of [-1, NaN]) await assert.rejects(subscription.receive({ timeout }), invalid);
  const Subscription = subscription.constructor;
  assert.throws(() => Subscription.prototype.close.call({}), TypeError);
  assert.equal(await subscription.receive({ timeout: 0 }), undefined);
  subscription.close();
});

// ---- Who keeps what alive ----

const prelude = `const { Cache } = require(${JSON.stringify(directory)}); const url = ${JSON.stringify(testUrl())};`;

/** How a program ends: its exit code or signal, and what it printed. */
function run(program) {
  return new Promise((resolve) => {
    const source = `${prelude} Cache.open(url).then(async (cache) => { const subscription = global.kept = await cache.subscribe({ channels: ['own'] }); ${program} })`;
    const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data));
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve([signal ?? code, printed]);
    });
  });
}

withChannels('an idle subscription does not keep the process, a call that waits does', async () => {
  const after = (call) => `setTimeout(() => ${call}, 100).unref();`;
  assert.deepEqual(await run(''), [0, '']);
  assert.deepEqual(await run(`await cache.publish('own', 'x'); await subscription.receive(); await subscription.receive({ timeout: 5 });`), [0, '']);
  assert.deepEqual(await run(`${after('subscription.close()')} for await (const one of subscription); console.log('done')`), [0, 'done\n']);
  assert.deepEqual(await run(`${after('cache.close()')} await subscription.receive().catch(({ code }) => console.log(code))`), [0, 'YC_E_CLOSED\n']);
  assert.deepEqual(await run(`subscription.receive(); ${after('process.exit(7)')}`), [7, '']);
  assert.deepEqual(await run(`for (let at = 0; at < 9; at++) cache.subscribe({ channels: ['own'] }).then((one) => one.receive()).catch(() => {}); setTimeout(() => process.exit(7), 5);`), [7, '']);
  const [end, printed] = await run(`await cache.publish('own', 'x'); subscription.receive().then(() => { throw new Error('mine') })`);
  assert.equal(end, 1);
  assert.match(printed, /Error: mine/);
});

const files = () => fs.readdirSync('/proc/self/fd').length;

/** The number of descriptors without those of forgotten objects. */
async function settledNow() {
  for (let turn = 0; turn < 20; turn++) {
    globalThis.gc();
    await sleep(5);
  }
  return files();
}

async function settled(most) {
  for (let turn = 0; turn < 400 && files() > most; turn++) {
    globalThis.gc();
    await sleep(5);
  }
  return files();
}

withChannels('closed and forgotten subscriptions leave no descriptor', async () => {
  (await news()).close();
  const before = await settledNow();
  const kept = [];
  for (let at = 0; at < 60; at++) {
    const subscription = await news();
    kept.push(subscription);
    const waiting = subscription.receive();
    waiting.catch(() => {});
    subscription.close();
    await assert.rejects(waiting, closed);
  }
  assert((await settled(before)) <= before, `${files()} descriptors, ${before} before`);
  for (let at = 0; at < 60; at++) await (await news()).receive({ timeout: at % 2 });
  assert((await settled(before)) <= before, `${files()} descriptors, ${before} before`);
  assert.equal(kept.length, 60);
});

withChannels('a forgotten subscription with a call that waits receives', async () => {
  const results = [];
  for (let at = 0; at < 20; at++) results.push(news().then((subscription) => subscription.receive()).then(dataOf));
  for (let turn = 0; turn < 50; turn++) {
    globalThis.gc();
    await sleep(1);
  }
  for (let turn = 0; turn < 500 && (await cache.publish('news', 'x')) < 20; turn++) await sleep(10);
  assert(await Promise.all(results).then((all) => all.every((data) => data === 'x')));
});

const work = `${prelude}
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    const cache = await Cache.open(url);
    const subscription = await cache.subscribe({ channels: ['w' + workerData], encoding: 'utf8' });
    await cache.publish('w' + workerData, 'v');
    const { data } = await subscription.receive();
    if (workerData % 4 !== 1) subscription.receive().catch(() => {});
    parentPort.postMessage(data);
    if (workerData % 4 === 0) process.exit(0);
    if (workerData % 4 === 3) await cache.close();
  })()`;

function workerEnds(number) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(work, { eval: true, workerData: number });
    let value;
    worker.on('message', (data) => {
      value = data;
      if (number % 4 === 2) worker.terminate();
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve(value));
  });
}

withChannels('workers come and go: exiting, terminated or closing with calls that wait', async () => {
  await Promise.all([0, 1, 2, 3].map(workerEnds));
  const before = await settledNow();
  for (let number = 0; number < 40; number += 4) {
    assert.deepEqual(await Promise.all([number, number + 1, number + 2, number + 3].map(workerEnds)), ['v', 'v', 'v', 'v']);
  }
  assert((await settled(before + 4)) <= before + 4, `${files()} descriptors, ${before} before`);
});
