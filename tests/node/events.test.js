'use strict';

/** Events: what they tell, the selection, gaps, the ends of a reader, and who keeps what alive. Takes --expose-gc. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const { test, before, after } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, directory, testUrl } = require('./package.js');
const { freePort, startServer } = require('./server.js');

const closed = { code: 'YC_E_CLOSED' };
const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const invalid = { code: 'YC_E_INVALID' };
/** The time is one that no event needs. */
const limit = { timeout: 120_000 };
let cache;
before(async () => (cache = await Cache.open(testUrl())));
after(() => cache.close());

/** A reader of the cache's own events that is open. */
async function open(options, of = cache) {
  const events = of.events({ own: true, ...options });
  assert.equal(await events.ready, undefined);
  return events;
}

const shown = ({ kind, name, lost }) => (kind === 'gap' ? ['gap', lost] : [kind, name]);

async function take(events, count) {
  const all = [];
  for (let at = 0; at < count; at++) all.push(shown(await events.receive()));
  return all;
}

/** Removes something in each way. */
async function remove(from) {
  await from.invalidateTags(['t', 'ü']);
  await from.invalidatePattern('a*');
  await from.deleteMany(['user:1', 'b']);
  await from.flush();
}
const removals = [['tag', 't'], ['tag', 'ü'], ['pattern', 'a*'], ['delete', 'user:1'], ['delete', 'b'], ['flush', '']];

// ---- What events tell ----

test('events come in their order and say what was removed', limit, async () => {
  assert.equal(cache.capabilities.events, true);
  const events = await open();
  const begin = Date.now();
  await remove(cache);
  const all = [];
  for await (const event of events) {
    all.push(event);
    if (event.kind === 'flush') break;
  }
  const end = Date.now();
  assert.deepEqual(all.map(shown), removals);
  assert.deepEqual(Object.keys(all[0]), ['kind', 'name', 'origin', 'sequence', 'time', 'own', 'lost']);
  all.forEach(({ origin, sequence, time, own, lost }, at) => {
    assert.equal(typeof origin, 'bigint');
    assert(origin > 0n && origin < 2n ** 64n && origin === all[0].origin);
    assert.equal(sequence, all[0].sequence + at);
    assert(time instanceof Date && time.getTime() >= begin && time.getTime() <= end);
    assert.deepEqual([own, lost], [true, 0]);
  });
});

test('names are strings or bytes', limit, async () => {
  const [strings, bytes] = [await open(), await open({ encoding: 'buffer' })];
  await cache.invalidateTag(Buffer.from([0, 255]));
  await cache.delete('ü');
  await cache.flush();
  assert.deepEqual(await take(strings, 3), [['tag', '\0\ufffd'], ['delete', 'ü'], ['flush', '']]);
  assert.deepEqual(await take(bytes, 3), [['tag', Buffer.from([0, 255])], ['delete', Buffer.from('ü')], ['flush', Buffer.alloc(0)]]);
  strings.close();
  bytes.close();
});

test('a cache does not read its own events unless it asks for them', limit, async () => {
  const [others, all] = [await open({ own: false }), await open()];
  await cache.invalidateTag('t');
  assert.deepEqual(await take(all, 1), [['tag', 't']]);
  assert.equal(await others.receive({ timeout: 30 }), undefined);
  others.close();
  all.close();
});

test('other caches of the prefix read them', limit, async (t) => {
  if (!cache.capabilities.share) return t.skip('the events of the memory backend come from the cache itself');
  const [same, other] = [await Cache.open(testUrl()), await Cache.open(testUrl().replace('key_prefix=', '$&other'))];
  const [events, both, foreign] = [await open({ own: false }), await open(), await open({ own: false }, other)];
  await cache.invalidateTag('mine');
  await remove(same);
  await other.invalidateTag('foreign');
  assert.deepEqual(await take(events, removals.length), removals);
  const seen = [];
  for (let at = 0; at <= removals.length; at++) seen.push(await both.receive());
  assert.deepEqual(seen.map(shown), [['tag', 'mine'], ...removals]);
  assert.deepEqual(seen.map(({ own }) => own), [true, ...removals.map(() => false)]);
  assert.notEqual(seen[0].origin, seen[1].origin);
  for (const one of [events, both, foreign]) assert.equal(await one.receive({ timeout: 30 }), undefined);
  for (const one of [events, both, foreign]) one.close();
  await same.close();
  await other.close();
});

test('tags, keys and kinds select', limit, async () => {
  const wanted = [
    [{ tags: ['t'] }, [['tag', 't'], ['pattern', 'a*'], ['flush', '']]],
    [{ tags: new Set([Buffer.from('ü')]), kinds: ['tag'] }, [['tag', 'ü']]],
    [{ keys: ['user:*'] }, [['pattern', 'a*'], ['delete', 'user:1'], ['flush', '']]],
    [{ kinds: new Set(['delete', 'tag']), tags: ['t'], keys: ['?'] }, [['tag', 't'], ['delete', 'b']]],
    [{ kinds: ['flush'] }, [['flush', '']]],
    [{}, removals],
  ];
  const readers = await Promise.all(wanted.map(([options]) => open(options)));
  await remove(cache);
  for (const [at, [options, events]] of wanted.entries()) {
    assert.deepEqual(await take(readers[at], events.length), events, JSON.stringify(options));
    assert.equal(await readers[at].receive({ timeout: 20 }), undefined, JSON.stringify(options));
    readers[at].close();
  }
});

test('a reader goes with its cache to another backend', limit, async () => {
  const own = await Cache.open(testUrl());
  const events = await open({ kinds: ['tag', 'switch'] }, own);
  await own.switchTo('memory://');
  await own.invalidateTag('after');
  assert.deepEqual(await take(events, 3), [['switch', 'memory'], ['gap', -1], ['tag', 'after']]);
  await own.switchTo('redis://127.0.0.1:1?connect=lazy');
  assert.deepEqual(await take(events, 1), [['switch', 'redis']]);
  assert.equal(own.capabilities.events, false);
  await assert.rejects(events.receive(), { code: 'YC_E_UNSUPPORTED' });
  await assert.rejects(events.next(), { code: 'YC_E_UNSUPPORTED' });
  await own.close();
});

// ---- Gaps ----

test('a reader that is too slow finds a gap', limit, async () => {
  const [slow, quick] = [await open({ maxBytes: 1000 }), await open()];
  const keys = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(600));
  for (const key of keys) await cache.delete(key);
  await take(quick, 4);
  let gap = await slow.receive();
  assert.deepEqual(shown(gap), ['delete', keys[0]]);
  // On a server they may come at other times.
  while (gap.kind !== 'gap') {
    if (cache.capabilities.share) for (const key of keys) await cache.delete(key);
    gap = await slow.receive();
  }
  assert.deepEqual({ ...gap, lost: 0 }, { kind: 'gap', name: undefined, origin: undefined, sequence: undefined, time: undefined, own: false, lost: 0 });
  if (cache.capabilities.share) assert(gap.lost > 0);
  else assert.equal(gap.lost, 3);
  slow.close();
  quick.close();
});

test('a connection that was lost leaves a gap, unless there is a journal', limit, async (t) => {
  if (!testUrl().startsWith('redis:')) return t.skip('it takes a Redis server');
  const port = await freePort();
  await startServer(t, port);
  const openWith = (options) => Cache.open(`redis://127.0.0.1:${port}?${options}`);
  const [plain, journal] = [await openWith('events=true&key_prefix=plain'), await openWith('events_journal=1000&key_prefix=journal')];
  const [lossy, whole] = [await open({}, plain), await open({}, journal)];
  assert(await plain.redis.command(['CLIENT', 'KILL', 'TYPE', 'pubsub']) > 0);
  assert.deepEqual(await take(lossy, 1), [['gap', -1]]);
  await plain.invalidateTag('after');
  assert.deepEqual(await take(lossy, 1), [['tag', 'after']]);
  await journal.invalidateTag('before');
  assert.deepEqual(await take(whole, 1), [['tag', 'before']]);
  // It reads with a connection like any other.
  assert(await journal.redis.command(['CLIENT', 'KILL', 'TYPE', 'normal']) > 0);
  const writer = await openWith('events_journal=1000&key_prefix=journal');
  await writer.delete('a');
  await writer.invalidateTag('after');
  assert.deepEqual(await take(whole, 2), [['delete', 'a'], ['tag', 'after']]);
  await writer.close();
  await plain.close();
  await journal.close();
});

test('an outage is told with a fallback', limit, async (t) => {
  if (!testUrl().startsWith('redis:')) return t.skip('it takes a Redis server');
  const port = await freePort();
  const { server, gone } = await startServer(t, port);
  const own = await Cache.open({ backend: 'redis', redis: { url: `redis://127.0.0.1:${port}`, socket_timeout: '500ms', events: true }, fallback: 'memory' });
  const events = own.events({ kinds: ['fallbackBegin', 'fallbackEnd'] });
  await events.ready;
  const told = [];
  const reading = (async () => {
    for await (const event of events) {
      if (event.kind !== 'gap') told.push([event.kind, event.name, event.own]);
      if (event.kind === 'fallbackEnd') break;
    }
  })();
  server.kill('SIGKILL');
  await gone;
  while (told.length === 0) await own.get('a').then(() => sleep(10));
  await startServer(t, port);
  while (told.length === 1) await own.get('a').then(() => sleep(10));
  await reading;
  assert.deepEqual(told, [['fallbackBegin', 'memory', true], ['fallbackEnd', 'redis', true]]);
  await own.close();
});

// ---- Opening ----

test('a loop needs no other call: it gets what is removed once the reader is open', limit, async () => {
  let isRead = false;
  const reading = (async () => {
    for await (const { name } of cache.events({ tags: ['t'], own: true })) return name;
  })().then((name) => ((isRead = true), name));
  while (!isRead) await cache.invalidateTag('t').then(() => sleep(5));
  assert.equal(await reading, 't');
});

test('a backend without events says so', limit, async (t) => {
  if (!cache.capabilities.share) return t.skip('memory has events');
  const own = await Cache.open(`${process.env.YC_TEST_URL}?key_prefix=none`);
  assert.equal(own.capabilities.events, false);
  const unsupported = { code: 'YC_E_UNSUPPORTED', message: /`events: / };
  const events = own.events();
  const waiting = events.receive();
  await assert.rejects(events.ready, unsupported);
  await assert.rejects(waiting, unsupported);
  await assert.rejects(async () => {
    for await (const event of own.events()) assert.fail(event);
  }, unsupported);
  own.events(); // Nobody asks: no rejection is left unhandled.
  await sleep(50);
  await own.close();
});

test('a call that does not wait is told nothing while the reader is opening', limit, async () => {
  const events = cache.events({ own: true });
  assert.equal(await events.receive({ timeout: 0 }), undefined);
  await assert.rejects(events.receive({ signal: AbortSignal.abort(new Error('before')) }), /before/);
  const controller = new AbortController();
  const aborted = events.receive({ signal: controller.signal });
  controller.abort(new Error('no longer'));
  await assert.rejects(aborted, /no longer/);
  await events.ready;
  await cache.delete('a');
  assert.deepEqual(await take(events, 1), [['delete', 'a']]);
  events.close();
});

// ---- The end ----

test('leaving a loop closes the reader', limit, async () => {
  const events = await open();
  await remove(cache);
  for await (const { kind } of events) if (kind === 'pattern') break;
  assert.deepEqual(await events.next(), { value: undefined, done: true });
  await assert.rejects(events.receive(), closed);
  const thrown = await open();
  await cache.invalidateTag('t');
  await assert.rejects(async () => {
    for await (const { name } of thrown) throw new Error(name);
  }, /^Error: t$/);
  await assert.rejects(thrown.receive({ timeout: 0 }), closed);
});

test('closing ends loops and calls that wait, also while the reader is opening', limit, async () => {
  for (const begin of [() => open(), () => cache.events()]) {
    const events = await begin();
    const [loop, call] = [Array.fromAsync ? Array.fromAsync(events) : events.next(), events.receive()];
    const rejected = assert.rejects(call, closed);
    assert.equal(events.close(), undefined);
    assert.equal(events.close(), undefined);
    assert.deepEqual(await loop, Array.fromAsync ? [] : { value: undefined, done: true });
    await rejected;
    assert.deepEqual(await events.return('x'), { value: 'x', done: true });
  }
  const early = cache.events();
  early.close();
  await assert.rejects(early.ready, closed);
  assert.equal((await early.next()).done, true);
  const disposed = await open();
  await disposed[Symbol.asyncDispose]?.();
  if (Symbol.asyncDispose) assert.equal((await disposed.next()).done, true);
  disposed.close();
});

test('closing the cache ends its readers after their last event', limit, async () => {
  const own = await Cache.open(testUrl());
  const events = await open({}, own);
  const idle = await open({ kinds: ['pattern'] }, own);
  const opening = own.events();
  const loops = [idle, opening].map(async (reader) => {
    for await (const event of reader) assert.fail(`${event.kind} came`);
    return 'ended';
  });
  await own.invalidateTag('last');
  await own.close();
  assert.deepEqual(await Promise.all(loops), ['ended', 'ended']);
  // On a server the event may not have come before the end.
  if (!cache.capabilities.share) assert.deepEqual(await take(events, 1), [['tag', 'last']]);
  let count = 0;
  for await (const event of events) count += event.kind === 'tag';
  assert(count <= 1);
  await assert.rejects(events.receive(), closed);
  assert.throws(() => own.events(), closed);
});

test('a signal ends the reader with its reason', limit, async () => {
  const controller = new AbortController();
  const events = await open({ signal: controller.signal });
  const reason = new Error('enough');
  await cache.invalidateTag('t');
  await assert.rejects(async () => {
    for await (const { name } of events) if (name === 't') setTimeout(() => controller.abort(reason), 10);
  }, reason);
  await assert.rejects(events.receive(), reason);
  assert.throws(() => cache.events({ signal: controller.signal }), reason);
  const late = new AbortController();
  const opening = cache.events({ signal: late.signal });
  late.abort(reason);
  await assert.rejects(opening.ready, reason);
  await assert.rejects(opening.next(), reason);
  const after = new AbortController();
  const ended = await open({ signal: after.signal });
  ended.close();
  after.abort();
  assert.equal((await ended.next()).done, true);
});

test('a signal ends the wait for a server that does not answer', limit, async (t) => {
  const sockets = [];
  const silent = net.createServer((socket) => sockets.push(socket.on('error', () => {}).resume())).listen(0, '127.0.0.1');
  t.after(() => {
    sockets.forEach((socket) => socket.destroy());
    silent.close();
  });
  await new Promise((resolve) => silent.once('listening', resolve));
  const own = await Cache.open(`redis://127.0.0.1:${silent.address().port}?connect=lazy&events=true&socket_timeout=300ms&socket_connect_timeout=600s`);
  const controller = new AbortController();
  const events = own.events({ signal: controller.signal });
  let turns = 0;
  const ticking = setInterval(() => (turns += 1) === 3 && controller.abort(new Error('no longer')), 1);
  await assert.rejects(events.next(), /no longer/);
  clearInterval(ticking);
  assert(turns >= 3, 'the loop continued meanwhile');
  await own.close({ timeout: 0 }).catch((error) => assert.equal(error.code, 'YC_E_TIMEOUT'));
});

// ---- Arguments ----

test('arguments that are not allowed', limit, async () => {
  for (const options of [null, 'tag', ['tag'], { kinds: 'tag' }, { kinds: [1] }, { tags: 't' }, { tags: [1] }, { tags: ['\ud800'] }, { keys: null },
    { keys: [{}] }, { own: 1 }, { tag: ['t'] }, { maxBytes: '1' }, { signal: 1 }]) {
    assert.throws(() => cache.events(options), typeError, JSON.stringify(options));
  }
  for (const options of [{ kinds: [] }, { tags: [] }, { keys: [] }, { kinds: ['gap'] }, { kinds: ['toString'] }, { kinds: ['Tag'] }, { encoding: 'latin1' },
    ...[0, -1, 1.5, NaN, Infinity].map((maxBytes) => ({ maxBytes }))]) {
    assert.throws(() => cache.events(options), invalid, JSON.stringify(options));
  }
  assert.throws(() => cache.events({ tag: ['t'] }), /did you mean tags/);
  assert.throws(() => cache.events({ kinds: ['deleted'] }), /"deleted"; there are tag, pattern, flush, delete, /);
  for (const [options, error] of [[{ tags: [''] }, invalid], [{ keys: [''] }, invalid], [{ tags: ['a'.repeat(65_537)] }, { code: 'YC_E_TOO_LARGE' }],
    [{ keys: Array(1025).fill('a') }, { code: 'YC_E_TOO_LARGE' }]]) {
    const events = cache.events(options);
    await assert.rejects(events.ready, error);
    await assert.rejects(events.next(), error);
  }
  const events = await open();
  for (const options of [null, { timeout: '1' }, { signal: {} }, { wait: 1 }]) await assert.rejects(events.receive(options), typeError);
  assert.throws(() => Object.getPrototypeOf(events).close.call({}), TypeError);
  assert.throws(() => Object.getPrototypeOf(events).ready, TypeError);
  assert.equal(await events.receive({ timeout: 0 }), undefined);
  events.close();
});

// ---- Who keeps what alive ----

/** How a program ends: its exit code or signal, and what it printed. */
function run(program) {
  return new Promise((resolve) => {
    const source = `const { Cache } = require(${JSON.stringify(directory)});
      Cache.open(${JSON.stringify(testUrl())}).then(async (cache) => { const events = global.kept = cache.events({ own: true }); ${program} })`;
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

test('an idle reader does not keep the process, a call that waits does', limit, async () => {
  const after = (call) => `setTimeout(() => ${call}, 100).unref();`;
  assert.deepEqual(await run(''), [0, '']);
  assert.deepEqual(await run(`await events.ready;`), [0, '']);
  assert.deepEqual(await run(`await events.ready; await cache.delete('x'); await events.receive(); await events.receive({ timeout: 5 });`), [0, '']);
  assert.deepEqual(await run(`${after('events.close()')} for await (const one of events); console.log('done')`), [0, 'done\n']);
  assert.deepEqual(await run(`${after('cache.close()')} await events.receive().catch(({ code }) => console.log(code))`), [0, 'YC_E_CLOSED\n']);
  assert.deepEqual(await run(`events.receive(); ${after('process.exit(7)')}`), [7, '']);
  assert.deepEqual(await run(`for (let at = 0; at < 9; at++) cache.events().receive().catch(() => {}); process.exit(7);`), [7, '']);
  const [end, printed] = await run(`await events.ready; await cache.delete('x'); events.receive().then(() => { throw new Error('mine') })`);
  assert.equal(end, 1);
  assert.match(printed, /Error: mine/);
});

const files = () => fs.readdirSync('/proc/self/fd').length;

async function settled(most) {
  for (let turn = 0; turn < 400 && (turn < 20 || files() > most); turn++) {
    globalThis.gc();
    await sleep(5);
  }
  return files();
}

test('closed and forgotten readers leave no descriptor', limit, async () => {
  (await open()).close();
  const before = await settled(Infinity);
  const kept = [];
  for (let at = 0; at < 60; at++) {
    const events = cache.events({ own: true });
    kept.push(events);
    if (at % 2) await events.ready;
    const waiting = events.receive();
    waiting.catch(() => {});
    events.close();
    await assert.rejects(waiting, closed);
  }
  assert((await settled(before)) <= before, `${files()} descriptors, ${before} before`);
  for (let at = 0; at < 60; at++) await (await open()).receive({ timeout: at % 2 });
  for (let at = 0; at < 60; at++) cache.events();
  assert((await settled(before)) <= before, `${files()} descriptors, ${before} before`);
  assert.equal(kept.length, 60);
});

test('a forgotten reader with a call that waits receives', limit, async () => {
  const results = Array.from({ length: 20 }, () => cache.events({ own: true }).receive());
  let all;
  Promise.all(results).then((found) => (all = found));
  for (let turn = 0; all === undefined; turn++) {
    globalThis.gc();
    await cache.delete('x');
    await sleep(1);
  }
  assert(all.every(({ kind, name }) => kind === 'delete' && name === 'x'));
});
