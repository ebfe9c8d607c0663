import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import express from 'express';
import fastify from 'fastify';
import { Cache } from 'yokedcache';
import { expressCache, fastifyCache } from '@yokedcache/http';
import { AGE, each, frameworks, serve } from './http.site.mjs';
import { testUrl } from './url.mjs';

/** Starts a server that sets the headers of the query of a request, and answers with the number of the call. */
async function serveEcho(t, framework, options) {
  const site = await serve(t, framework, ({ url }, { calls }) => {
    const headers = {};
    for (const [name, value] of new URLSearchParams(url.slice(2))) headers[name] = name in headers ? [headers[name], value].flat() : value;
    return { headers, body: String(calls) };
  }, options);
  site.pathOf = (headers) => {
    const lines = Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));
    return `/?${new URLSearchParams(lines)}`;
  };
  /** Returns the second response to a request, if it is the stored first one. */
  site.stored = async (headers) => {
    const path = site.pathOf(headers);
    await site.get(path);
    const before = site.calls;
    const response = await site.get(path);
    return site.calls === before ? response : undefined;
  };
  return site;
}

const timeAfter = (seconds) => new Date(Date.now() + seconds * 1000).toUTCString();

each('directives', async (t, framework) => {
  const site = await serveEcho(t, framework, { ttl: 60_000 });
  const stored = [
    // The first of several counts.
    'max-age=60, max-age=0', 'max-age=60, max-age=x', 's-maxage=60, max-age=x',
    // Numbers.
    'max-age=2147483648', 'max-age=99999999999999999999999', 'max-age="60"', 'max-age = 60',
    'extension="a, no-store", max-age=60',
    ' , ', ['', ' '],
  ];
  const others = [
    'max-age=0, max-age=60', ['max-age=0', 'max-age=60'], 's-maxage=0, max-age=60, s-maxage=60', 's-maxage=x, max-age=60',
    'max-age="60', 'max-age=60"', 'max-age=""', 'max-age', 'max-age=', 'max-age=-1', 'max-age=+60', 'max-age=60.5', 'max-age=1e3', 'max-age=1 2',
    'private="a, b", max-age=60', 'no-cache="set-cookie", max-age=60', 'extension="a, s-maxage=60", max-age=0',
    'extension="\\", s-maxage=60", max-age=0', 'max-age=60, extension="a, no-store',
    ['', 'private'], ['', 'no-store'], ['max-age=60', '', 'no-cache'],
  ];
  for (const [values, isStored] of [[stored, true], [others, false]]) {
    for (const value of values) assert.equal((await site.stored({ 'cache-control': value })) !== undefined, isStored, JSON.stringify(value));
  }
});

each('headers of several lines', async (t, framework) => {
  const site = await serveEcho(t, framework);
  for (const headers of [{ 'set-cookie': ['', 'a=b'] }, { vary: ['', '*'] }, { vary: ['Accept', 'Accept-Language, *'] }]) {
    assert.equal(await site.stored({ ...headers, 'cache-control': 'max-age=60' }), undefined, JSON.stringify(headers));
  }
  const path = site.pathOf({ 'cache-control': 'max-age=60', etag: '"a"' });
  await site.get(path);
  for (const [name, lines, calls] of [['authorization', ['', 'Basic x'], 1], ['authorization', [''], 1], ['range', ['', 'bytes=0-1'], 1], ['if-none-match', ['', '"x"', '"a"'], 0]]) {
    const before = site.calls;
    const { status } = await site.get(path, { [name]: lines });
    assert.deepEqual([site.calls - before, status], [calls, calls === 0 ? 304 : 200], `${name}: ${lines}`);
  }
});

each('entity tags', async (t, framework) => {
  const site = await serveEcho(t, framework);
  for (const [etag, condition, status] of [
    ['"a,b"', '"a,b"', 304], ['"a,b"', '"x", W/"a,b"', 304], ['W/"a, b"', '"a, b","x"', 304], ['"a"', '"x,"a","y"', 200], ['"a"', '"x, a"', 200],
    ['"a"', '"b,""a"', 304], ['"a"', 'W/"a"', 304], ['"W/a"', '"a"', 200], ['"a"', 'a', 200], ['"a"', '"A"', 200], ['"*"', '"x", "*"', 304],
    ['"a"', '*', 304], ['"a"', '"b,*"', 200], [['"a"', '"a"'], '"b"', 200],
  ]) {
    const response = await site.get(site.pathOf({ 'cache-control': 'max-age=60', etag }), { 'if-none-match': condition });
    assert.equal(response.status, status, `${etag} ${condition}`);
  }
});

// RFC 9110, 15.4.5.
each('headers of 304', async (t, framework) => {
  const site = await serveEcho(t, framework);
  const kept = { 'cache-control': 'max-age=60', etag: '"a"', vary: 'Accept-Language', expires: timeAfter(3600), 'content-location': '/b' };
  const content = { 'content-type': 'text/plain', 'content-encoding': 'x', 'content-language': 'en', 'cache-tag': 'a' };
  for (let turn = 0; turn < 3; turn++) {
    const { status, headers, body } = await site.get(site.pathOf({ ...kept, ...content }), { 'if-none-match': '"a"' });
    assert.deepEqual([status, body], [304, '']);
    assert.ok(headers.date);
    for (const [name, value] of Object.entries(kept)) assert.equal(headers[name], value, name);
    for (const name of [...Object.keys(content), 'content-length']) assert.equal(headers[name], undefined, name);
  }
});

each('Age', async (t, framework) => {
  const site = await serveEcho(t, framework, { ttl: 60_000 });
  const long = 'max-age=1000';
  for (const [least, headers] of [
    [100, { 'cache-control': long, age: '100' }], [100, { 'cache-control': long, age: ['100', '2000'] }], [100, { 'cache-control': long, age: '100, 2000' }],
    [undefined, { 'cache-control': 'max-age=60', age: '60' }], [undefined, { 'cache-control': 'max-age=60', age: '9999999999999999999999' }],
    [undefined, { age: '60' }], [0, { 'cache-control': long, age: '-100' }], [0, { 'cache-control': long, age: 'x' }],
    [100, { 'cache-control': long, date: timeAfter(-100) }], [undefined, { 'cache-control': 'max-age=60', date: timeAfter(-100) }],
    [0, { 'cache-control': long, date: timeAfter(3600) }], [0, { 'cache-control': long, date: '0' }],
  ]) {
    const stored = await site.stored(headers);
    assert.equal(stored !== undefined, least !== undefined, JSON.stringify(headers));
    // The most leaves a slow machine some time.
    if (stored) assert.ok(/^\d+$/.test(stored.headers.age) && stored.headers.age >= least && stored.headers.age <= least + 90, JSON.stringify([headers, stored]));
  }
});

each('Expires', async (t, framework) => {
  const site = await serveEcho(t, framework, { ttl: 60_000 });
  const [later, earlier] = [timeAfter(3600), timeAfter(-3600)];
  const [day, date, month, year, time] = later.split(/,? /);
  const long = { Mon: 'Monday', Tue: 'Tuesday', Wed: 'Wednesday', Thu: 'Thursday', Fri: 'Friday', Sat: 'Saturday', Sun: 'Sunday' };
  const stored = [
    { expires: later }, { expires: later, 'cache-control': 'public' }, { expires: 'Fri, 31 Dec 9999 23:59:59 GMT' }, { expires: '0', 'cache-control': 'max-age=60' }, { expires: later, date: timeAfter(-60) },
    { expires: `${day} ${month} ${date.replace(/^0/, ' ')} ${time} ${year}` }, { expires: `${long[day]}, ${date}-${month}-${year.slice(2)} ${time} GMT` },
  ];
  const others = [
    { expires: earlier }, { expires: '0' }, { expires: '-1' }, { expires: '' }, { expires: '2099-01-01T00:00:00Z' }, { expires: '2099' },
    { expires: 'Thu, 01 Dec 2099 16:00:00 +0000' }, { expires: [later, later] }, { expires: later, 'cache-control': 'private' },
    { expires: later, 'cache-control': 'max-age=0' }, { expires: later, 'cache-control': 'max-age=x' }, { expires: later, date: later },
    { expires: later, age: '7200' },
  ];
  for (const [all, isStored] of [[stored, true], [others, false]]) {
    for (const headers of all) assert.equal((await site.stored(headers)) !== undefined, isStored, JSON.stringify(headers));
  }
});

// ---- Requests that change something ----

async function serveChanges(t, framework) {
  const site = await serve(t, framework, ({ url, method, headers: { host, 'accept-language': language } }, { calls }) => {
    const { pathname, searchParams } = new URL(url, 'http://a');
    const headers = { ...AGE };
    if (pathname === '/vary') headers.vary = language === 'de' ? 'Accept-Language, X-Theme' : 'Accept-Language';
    if (method === 'GET') return { headers, body: String(calls) };
    for (const name of ['location', 'content-location']) {
      if (searchParams.has(name)) headers[name] = searchParams.get(name).replace('HOST', host);
    }
    const status = Number(searchParams.get('status') ?? 200);
    return { status, headers, body: status === 204 || status === 304 ? '' : pathname === '/stream' ? ['a', 'b'] : 'changed' };
  });
  site.send = async (method, path) => site.get(path, {}, { method });
  site.isHit = async (path, headers) => (await site.get(path, headers)).from === 'hit';
  return site;
}

each('unsafe methods remove the response', async (t, framework) => {
  const site = await serveChanges(t, framework);
  for (const path of ['/', '/stream']) {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      await site.get(path);
      assert.ok(await site.isHit(path));
      const { status, body } = await site.send(method, path);
      assert.deepEqual([status, body], [200, path === '/' ? 'changed' : 'ab'], method);
      assert.equal(await site.isHit(path), false, method);
    }
  }
  for (const method of ['HEAD', 'OPTIONS']) {
    await site.send(method, '/');
    assert.ok(await site.isHit('/'), method);
  }
  for (const [status, isHit] of [[200, false], [201, false], [204, false], [303, false], [304, false], [400, true], [409, true], [500, true]]) {
    const path = `/?status=${status}`;
    await site.get(path);
    assert.equal((await site.send('POST', path)).status, status);
    assert.equal(await site.isHit(path), isHit, status);
  }
});

each('unsafe methods remove all variants', async (t, framework) => {
  const site = await serveChanges(t, framework);
  const variants = [
    { 'accept-language': 'en' }, { 'accept-language': 'fr' }, { 'accept-language': 'de', 'x-theme': 'dark' }, { 'accept-language': 'de', 'x-theme': 'light' },
  ];
  for (let round = 0; round < 3; round++) {
    for (let turn = 0; turn < 3; turn++) {
      for (const headers of variants) await site.get('/vary', headers);
    }
    for (const headers of variants) assert.ok(await site.isHit('/vary', headers), JSON.stringify(headers));
    await site.send('PUT', '/vary');
    const before = site.calls;
    for (let turn = 0; turn < 3; turn++) {
      for (const headers of variants) assert.ok(Number((await site.get('/vary', headers)).body) > before, JSON.stringify(headers));
    }
  }
});

each('unsafe methods remove the responses of their locations', async (t, framework) => {
  const site = await serveChanges(t, framework);
  for (const [name, value, isHit] of [
    ['location', '/users/1?a=b', false], ['content-location', '/users/1?a=b', false], ['location', 'users/1?a=b#top', false],
    ['location', 'http://HOST/users/1?a=b', false], ['location', '//HOST/users/1?a=b', false], ['location', 'http://other.example/users/1?a=b', true],
    ['location', '/users/1', true], ['location', 'http://', true], ['location', 'mailto:a@b', true],
  ]) {
    await site.get('/users/1?a=b');
    await site.send('POST', `/users?${new URLSearchParams({ [name]: value, status: 201 })}`);
    assert.equal(await site.isHit('/users/1?a=b'), isHit, `${name}: ${value}`);
  }
});

each('a response that was under way when the stored ones were removed is not stored', async (t, framework) => {
  let [begin, release] = [];
  const begun = new Promise((resolve) => { begin = resolve; });
  const released = new Promise((resolve) => { release = resolve; });
  const site = await serve(t, framework, async ({ method }, { calls }) => {
    if (calls > 1) return { headers: AGE, body: 'new' };
    begin();
    await released;
    return { headers: AGE, body: 'old' };
  });
  const before = site.get();
  await begun;
  await site.get('/', {}, { method: 'POST' });
  const after = site.get();
  release();
  assert.deepEqual([(await before).body, (await after).body], ['old', 'new']);
  const last = await site.get();
  assert.deepEqual([last.body, last.from], ['new', 'hit']);
});

each('a cache that is down fails no unsafe request', async (t, framework) => {
  const server = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const cache = await Cache.open(`redis://127.0.0.1:${server.address().port}?key_prefix=down&connect=lazy&socket_timeout=500ms`);
  const errors = [];
  const middleware = (of) => of(cache, { onError: (error) => errors.push(error.name) });
  const { port, close } = await frameworks[framework](middleware, async () => ({ body: 'changed' }));
  t.after(close);
  const send = async () => (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST' })).text();
  assert.equal(await send(), 'changed');
  await cache.close();
  assert.equal(await send(), 'changed');
  assert.deepEqual(errors, ['YokedCacheError', 'YokedCacheError']);
});

// ---- Frameworks ----

async function listen(t, app) {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

async function openCache(t) {
  const cache = await Cache.open(testUrl()).then((opened) => opened.view({ namespace: t.name.replace(/\W+/g, '-').slice(0, 60) }));
  t.after(() => cache.close());
  return cache;
}

test('node: a handler that changes its request, and ends twice', async (t) => {
  const cached = expressCache(await openCache(t));
  let calls = 0;
  const url = await listen(t, http.createServer((request, response) => cached(request, response, () => {
    if (request.method === 'GET') return response.writeHead(200, AGE).end(String(++calls));
    request.url = '/changed';
    request.headers.host = 'other.example';
    response.end('first');
    assert.deepEqual([response.headersSent, response.writableEnded], [true, true]);
    response.end('second');
  })));
  const get = async () => (await fetch(`${url}/a`)).text();
  assert.deepEqual([await get(), await get()], ['1', '1']);
  assert.equal(await (await fetch(`${url}/a`, { method: 'POST' })).text(), 'first');
  assert.equal(await get(), '2');
});

test('node: a handler that flushes, and one that writes what cannot be sent', async (t) => {
  const cached = expressCache(await openCache(t));
  const url = await listen(t, http.createServer((request, response) => cached(request, response, () => {
    response.flushHeaders();
    response.write('a');
    response.write(request.url === '/wrong' ? {} : 'b', () => response.end('c'));
  })));
  await assert.rejects(fetch(`${url}/wrong`, { method: 'POST' }).then((response) => response.text()));
  assert.equal(await (await fetch(url, { method: 'POST' })).text(), 'abc');
});

test('fastify: a handler that sends without returning the reply', async (t) => {
  const app = fastify({ forceCloseConnections: true });
  t.after(() => app.close());
  app.addHook('onRequest', fastifyCache(await openCache(t)));
  app.get('/', async (request, reply) => reply.headers(AGE).send('page'));
  app.post('/', async (request, reply) => {
    reply.code(201).header('location', '/').send({ name: 'Ada' });
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  const url = `http://127.0.0.1:${app.server.address().port}/`;
  const get = async () => (await fetch(url)).headers.get('cache-status');
  assert.deepEqual([await get(), await get()], ['yokedcache; fwd=miss', 'yokedcache; hit']);
  const response = await fetch(url, { method: 'POST' });
  assert.deepEqual([response.status, await response.json()], [201, { name: 'Ada' }]);
  assert.equal(await get(), 'yokedcache; fwd=miss');
});

test('express: a response is not stored by headers that it had at its beginning', async (t) => {
  const app = express();
  let calls = 0;
  app.use(expressCache(await openCache(t)));
  app.get('/', (request, response) => {
    response.setHeader('cache-control', 'max-age=60');
    response.write(String(++calls));
    // The headers are not sent yet.
    if (calls === 1) response.setHeader('cache-control', 'no-store');
    response.end('.');
  });
  const url = await listen(t, app);
  for (const wanted of ['1.', '2.']) assert.equal(await (await fetch(url)).text(), wanted);
});

// A middleware before the cache names a header that the handler depends on, too.
test('express: Vary of earlier middleware selects the response', async (t) => {
  const app = express();
  app.use((request, response, next) => response.vary('Origin') && next());
  app.use(expressCache(await openCache(t)));
  app.get('/', (request, response) => response.vary('Origin').set('cache-control', 'max-age=60').send(request.get('origin')));
  const url = await listen(t, app);
  for (let turn = 0; turn < 3; turn++) {
    for (const origin of ['http://a', 'http://b']) assert.equal(await (await fetch(url, { headers: { origin } })).text(), origin);
  }
  assert.equal((await fetch(url, { headers: { origin: 'http://a' } })).headers.get('cache-status'), 'yokedcache; hit');
});
