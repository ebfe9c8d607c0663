import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { Cache } from 'yokedcache';
import { expressCache, fastifyCache } from '@yokedcache/http';
import { AGE, current, each, frameworks, serve } from './http.site.mjs';
import { runReadme, testUrl } from './url.mjs';

each('a hit', async (t, framework) => {
  const site = await serve(t, framework, ({ url }) => ({
    headers: { ...AGE, 'cache-tag': 'users, user:1, users', 'x-own': 'a', 'content-type': 'text/plain; charset=utf-8' }, body: `page ${url}`,
  }));
  const [first, second] = [await site.get('/a?b=1'), await site.get('/a?b=1')];
  assert.deepEqual([first.body, first.from, first.headers.age], ['page /a?b=1', 'fwd=miss', undefined]);
  assert.deepEqual([second.body, second.from], ['page /a?b=1', 'hit']);
  assert.match(second.headers.age, /^\d+$/);
  for (const name of ['etag', 'date', 'x-own', 'content-type', 'cache-control', 'content-length']) {
    assert.ok(first.headers[name], name);
    assert.equal(first.headers[name], second.headers[name]);
  }
  assert.equal(first.headers['cache-tag'] ?? second.headers['cache-tag'], undefined);
  assert.equal(site.calls, 1);
  await site.get('/a?b=2');
  assert.equal(site.calls, 2);
  await site.cache.invalidateTag('user:1');
  assert.equal((await site.get('/a?b=1')).from, 'fwd=miss');
  assert.equal((await site.get('/a?b=1')).from, 'hit');
});

each('conditions', async (t, framework) => {
  const modified = 'Mon, 02 Jan 2006 15:04:05 GMT';
  const site = await serve(t, framework, ({ url, headers }) => {
    const own = { ...AGE, 'last-modified': modified, ...(url === '/own' && { etag: 'W/"own"' }) };
    assert.equal(headers['if-none-match'] ?? headers['if-modified-since'], undefined);
    return { headers: own, body: 'page' };
  });
  // The first request has a condition: the response is for others, too.
  const first = await site.get('/own', { 'if-none-match': '"own"' });
  assert.deepEqual([first.status, first.body, first.headers['content-length']], [304, '', undefined]);
  const second = await site.get('/own');
  assert.deepEqual([second.status, second.headers.etag, second.from], [200, 'W/"own"', 'hit']);
  assert.equal(site.calls, 1);
  const { etag } = (await site.get('/made')).headers;
  const conditions = [
    ['if-none-match', etag, 304], ['if-none-match', `"x", ${etag}`, 304], ['if-none-match', '*', 304], ['if-none-match', '"x"', 200],
    ['if-modified-since', modified, 304], ['if-modified-since', 'Mon, 02 Jan 2006 15:04:04 GMT', 200], ['if-modified-since', 'never', 200],
  ];
  for (const [name, value, status] of conditions) {
    const response = await site.get('/made', { [name]: value });
    assert.deepEqual([response.status, response.body, response.headers.etag], [status, status === 200 ? 'page' : '', etag], `${name}: ${value}`);
  }
  assert.equal(site.calls, 2);
});

each('a response that is not stored keeps its conditions', async (t, framework) => {
  const site = await serve(t, framework, () => ({ headers: { 'cache-control': 'private', etag: '"own"' }, body: 'page' }));
  assert.deepEqual([(await site.get('/', { 'if-none-match': '"own"' })).status, (await site.get('/', { 'if-none-match': '"x"' })).status], [304, 200]);
});

each('what is stored', async (t, framework) => {
  const handle = ({ url }) => {
    const { status, long, ...headers } = Object.fromEntries(new URLSearchParams(url.slice(2)));
    return { status: Number(status ?? 200), headers, body: 'page'.padEnd(Number(long ?? 0), '.') };
  };
  const site = await serve(t, framework, handle, { maxBytes: 100 });
  const stored = [
    { 'cache-control': 'max-age=60' }, { 'cache-control': 'Max-Age="60"' }, { 'cache-control': 'max-age=0, s-maxage=60' },
    { 'cache-control': 'max-age=60', status: 404 }, { 'cache-control': 'max-age=60', status: 301 }, { 'cache-control': 'max-age=60', long: 100 },
  ];
  const others = [
    {}, { 'cache-control': 'public' }, { 'cache-control': 'max-age=0' },
    { 'cache-control': 'max-age=x' }, { 'cache-control': 'max-age=-1' }, { 'cache-control': 'max-age=60, s-maxage=0' },
    { 'cache-control': 'no-store, max-age=60' }, { 'cache-control': 'max-age=60, Private' }, { 'cache-control': 'max-age=60, private="x"' },
    { 'cache-control': 'no-cache, max-age=60' }, { 'cache-control': 'max-age=60', 'set-cookie': 'a=b' }, { 'cache-control': 'max-age=60', vary: '*' },
    { 'cache-control': 'max-age=60', status: 500 }, { 'cache-control': 'max-age=60', status: 201 }, { 'cache-control': 'max-age=60', long: 101 },
  ];
  for (const [queries, calls, from] of [[stored, 1, 'hit'], [others, 2, 'fwd=bypass']]) {
    for (const query of queries) {
      const before = site.calls;
      const path = `/?${new URLSearchParams(query)}`;
      const [one, two] = [await site.get(path), await site.get(path)];
      assert.deepEqual([site.calls - before, two.from], [calls, from], path);
      assert.deepEqual([one.status, one.body], [two.status, two.body], path);
    }
  }
});

each('requests that pass', async (t, framework) => {
  const site = await serve(t, framework, ({ method }) => ({ headers: AGE, body: method }));
  await site.get();
  const passing = [[{}, { method: 'POST', body: '{}' }], [{}, { method: 'HEAD' }], [{ authorization: 'x' }], [{ range: 'bytes=0-1' }]];
  for (const [at, [headers, more]] of passing.entries()) {
    await site.get('/', { 'content-type': 'application/json', ...headers }, more);
    assert.equal(site.calls, at + 2);
  }
  // POST has removed the response. A client cannot force a load.
  await site.get();
  for (const directive of ['no-cache', 'no-store', 'max-age=0', 'only-if-cached', 'min-fresh=1000']) {
    assert.equal((await site.get('/', { 'cache-control': directive, pragma: 'no-cache' })).from, 'hit');
  }
  assert.equal(site.calls, 6);
});

each('the option ttl', async (t, framework) => {
  const handle = ({ url }) => ({ status: url === '/missing' ? 404 : 200, headers: url === '/private' ? { 'cache-control': 'private' } : {}, body: 'page' });
  const site = await serve(t, framework, handle, { ttl: 60_000 });
  for (const [path, calls] of [['/', 1], ['/missing', 2], ['/private', 2]]) {
    const before = site.calls;
    await site.get(path);
    await site.get(path);
    assert.equal(site.calls - before, calls, path);
  }
});

each('the end of a time to live', async (t, framework) => {
  const site = await serve(t, framework, () => ({ headers: { 'cache-control': 'max-age=1' }, body: 'page' }));
  await site.get();
  await sleep(1100);
  await site.get();
  assert.equal(site.calls, 2);
});

each('bytes and streams', async (t, framework) => {
  const bytes = Buffer.from([0, 255, 128, 10]);
  const bodies = { '/bytes': bytes, '/stream': ['a', bytes, 'c'], '/empty': '' };
  const site = await serve(t, framework, ({ url }) => ({ headers: AGE, body: bodies[url] }));
  for (const [path, body] of Object.entries(bodies)) {
    const wanted = Buffer.concat([body].flat().map((part) => Buffer.from(part))).toString('latin1');
    for (const from of ['fwd=miss', 'hit']) {
      const response = await site.get(path);
      assert.deepEqual([response.body, response.from], [wanted, from], path);
    }
  }
});

each('a long response that is not stored arrives whole', async (t, framework) => {
  const parts = Array.from({ length: 100 }, (_, at) => String(at).padEnd(10_000, '.'));
  const site = await serve(t, framework, () => ({ headers: AGE, body: parts }), { maxBytes: 50_000 });
  for (let turn = 0; turn < 2; turn++) assert.equal((await site.get()).body, parts.join(''));
  assert.equal(site.calls, 2);
});

each('Vary', async (t, framework) => {
  const site = await serve(t, framework, ({ headers }) => ({
    // Only one language depends on another header, too.
    headers: { ...AGE, vary: headers['accept-language'] === 'de' ? 'accept-language, X-Theme' : 'Accept-Language' },
    body: `${headers['accept-language'] ?? ''} ${headers['accept-language'] === 'de' ? headers['x-theme'] : ''}`,
  }));
  for (let turn = 0; turn < 4; turn++) {
    for (const [language, theme] of [['en', ''], ['de', 'dark'], ['de', 'light'], ['en', 'dark']]) {
      assert.equal((await site.get('/', { 'accept-language': language, 'x-theme': theme })).body, `${language} ${language === 'de' ? theme : ''}`);
    }
    assert.equal((await site.get()).body, ' ');
  }
  assert.ok(site.calls <= 7, `${site.calls} calls for four responses`);
  assert.equal((await site.get('/', { 'accept-language': 'de', 'x-theme': 'light' })).from, 'hit');
});

each('of a crowd one request calls the handler', async (t, framework) => {
  const site = await serve(t, framework, async () => {
    await sleep(100);
    return { headers: AGE, body: 'page' };
  });
  const all = await Promise.all(Array.from({ length: 50 }, () => site.get()));
  assert.ok(all.every(({ body }) => body === 'page'));
  assert.equal(site.calls, 1);
});

each('private responses are for their clients alone, and do not wait for each other', async (t, framework) => {
  let [running, most] = [0, 0];
  const site = await serve(t, framework, async ({ headers }) => {
    most = Math.max(most, ++running);
    await sleep(50);
    running--;
    return { headers: { 'cache-control': 'private, max-age=60' }, body: headers['x-user'] };
  });
  const users = Array.from({ length: 30 }, (_, at) => `user ${at}`);
  assert.deepEqual(await Promise.all(users.map(async (user) => (await site.get('/', { 'x-user': user })).body)), users);
  assert.equal(site.calls, 30);
  assert.ok(most > 1, 'one request at a time');
});

each('a crowd with variants', async (t, framework) => {
  const site = await serve(t, framework, async ({ headers }) => {
    await sleep(20);
    return { headers: { ...AGE, vary: 'X-User' }, body: headers['x-user'] };
  });
  const users = Array.from({ length: 40 }, (_, at) => `user ${at % 4}`);
  assert.deepEqual(await Promise.all(users.map(async (user) => (await site.get('/', { 'x-user': user })).body)), users);
  // One response told the header, and each variant was loaded once more.
  assert.equal(site.calls, 5);
});

each('a load that began before an invalidation is not stored', async (t, framework) => {
  const site = await serve(t, framework, async (request, { calls, cache }) => {
    if (calls === 1) await cache.invalidateTag('users');
    return { headers: { ...AGE, 'cache-tag': 'users' }, body: String(calls) };
  });
  assert.deepEqual([(await site.get()).body, (await site.get()).body, (await site.get()).body], ['1', '2', '2']);
});

each('a client that leaves hands the load to another', async (t, framework) => {
  let first;
  const begun = new Promise((resolve) => { first = resolve; });
  const site = await serve(t, framework, async (request, { calls }) => {
    if (calls === 1) {
      first();
      await new Promise(() => {}); // Never answers.
    }
    return { headers: AGE, body: 'page' };
  });
  const leaving = http.get({ host: '127.0.0.1', port: site.port, agent: false }).on('error', () => {});
  await begun;
  const others = Array.from({ length: 10 }, () => site.get());
  await sleep(50);
  leaving.destroy();
  assert.deepEqual((await Promise.all(others)).map(({ body }) => body), Array(10).fill('page'));
  assert.equal(site.calls, 2);
});

each('handlers keep their AsyncLocalStorage', async (t, framework) => {
  const site = await serve(t, framework, () => ({ headers: AGE, body: typeof current.getStore() }));
  const all = await Promise.all(Array.from({ length: 20 }, (_, at) => site.get(`/${at % 10}`)));
  assert.deepEqual(new Set(all.map(({ body }) => body)), new Set(['object']));
});

each('a cache that is down fails no request', async (t, framework) => {
  const server = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const cache = await Cache.open(`redis://127.0.0.1:${server.address().port}?key_prefix=down&connect=lazy&socket_timeout=500ms`);
  const errors = [];
  const middleware = (of) => of(cache, { onError: (error, { url }) => errors.push([error.name, error.code, url]) });
  const { port, close } = await frameworks[framework](middleware, async () => ({ headers: AGE, body: 'page' }));
  t.after(close);
  const get = async () => (await fetch(`http://127.0.0.1:${port}/`)).text();
  assert.equal(await get(), 'page');
  assert.equal(errors.length, 1);
  assert.deepEqual([errors[0][0], errors[0][2]], ['YokedCacheError', '/']);
  await cache.close();
  assert.equal(await get(), 'page');
  assert.equal(errors.at(-1)[1], 'YC_E_CLOSED');
});

each('a value that is no response', async (t, framework) => {
  const errors = [];
  const site = await serve(t, framework, () => ({ headers: AGE, body: 'page' }), { onError: (error) => errors.push(error.name) });
  const heads = ['{}', '{"status":1000,"headers":{}}', '{"status":200,"headers":null}'].map((head) => Buffer.from(`\0\0\0${String.fromCharCode(head.length)}${head}`));
  for (const value of ['', 'x', Buffer.from([255, 255, 255, 255, 123, 125]), ...heads]) {
    await site.cache.set(`GET 127.0.0.1:${site.port}/`, value);
    assert.equal((await site.get()).body, 'page');
  }
  assert.deepEqual(errors, Array(6).fill('TypeError'));
});

test('express: an error of a handler after the first bytes ends the connection', async (t) => {
  const cache = await Cache.open(testUrl('default_ttl=1m'));
  t.after(() => cache.close());
  const app = express();
  app.use(expressCache(cache));
  app.get('/', (request, response) => {
    response.setHeader('cache-control', 'max-age=60');
    response.write('half a page');
    throw new Error('in the middle');
  });
  app.set('env', 'test');
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  await assert.rejects(fetch(`http://127.0.0.1:${server.address().port}/`).then((response) => response.text()));
});

test('express: headers of earlier middleware are not stored', async (t) => {
  const cache = await Cache.open(testUrl());
  t.after(() => cache.close());
  const app = express();
  let count = 0;
  app.use((request, response, next) => {
    response.setHeader('x-count', ++count);
    response.setHeader('vary', 'Origin');
    next();
  });
  app.use(expressCache(cache));
  app.get('/earlier', (request, response) => response.set('cache-control', 'max-age=60').send('page'));
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  for (const wanted of ['1', '2']) {
    const { headers } = await fetch(`http://127.0.0.1:${server.address().port}/earlier`);
    assert.deepEqual([headers.get('x-count'), headers.get('vary')], [wanted, 'Origin']);
  }
});

test('unknown options are refused', () => {
  assert.throws(() => expressCache(undefined, { TTL: 1 }), /unknown option TTL/);
  assert.throws(() => fastifyCache(undefined, { tag: '' }), TypeError);
});

test('CommonJS has the same exports', () => {
  assert.equal(createRequire(import.meta.url)('@yokedcache/http').expressCache, expressCache);
});

test('README', (t) => runReadme(t, 'http'));
