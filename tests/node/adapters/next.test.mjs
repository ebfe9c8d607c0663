/** The cache handler as Next calls it; next/run tests it with an application. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Cache } from 'yokedcache';
import { createCacheHandler } from '@yokedcache/next';
import { testUrl } from './url.mjs';

let namespaces = 0;

/** Returns a cache, and a function that returns the handler of a request in one of several processes. */
async function opened(t, options = {}) {
  const root = await Cache.open(testUrl());
  t.after(() => root.close());
  const cache = root.view({ namespace: `next${namespaces++}` });
  const errors = [];
  t.after(() => assert.deepEqual(errors, []));
  const processes = [0, 1].map(() => createCacheHandler(() => cache, { onError: (error) => errors.push(error), buildId: 'one', ...options }));
  return { cache, errors, request: (at = 0) => new processes[at]({ revalidatedTags: [] }) };
}

const page = (tags, html = 'page') => ({
  kind: 'APP_PAGE', html, rscData: Buffer.from([0, 255]), headers: { 'x-next-cache-tags': tags }, status: 200, postponed: undefined,
  segmentData: new Map([['/_tree', Buffer.from('tree')]]),
});
const PAGE = { kind: 'APP_PAGE', isRoutePPREnabled: false, isFallback: false };
const fetched = { kind: 'FETCH', data: { headers: {}, body: 'ZGF0YQ==', status: 200, url: 'http://origin/' }, revalidate: 60 };

test('values arrive as they were', async (t) => {
  const { request } = await opened(t);
  const values = {
    '/app': page('a,b'), '/pages': { kind: 'PAGES', html: '<p>', pageData: { props: { at: 1 } }, headers: undefined, status: undefined },
    '/route': { kind: 'APP_ROUTE', body: Buffer.from([1, 2]), headers: { 'content-type': 'image/png' }, status: 200 },
    '/old': { kind: 'REDIRECT', props: { to: '/' } }, '/missing': null,
  };
  for (const [key, value] of Object.entries(values)) {
    assert.equal(await request().get(key, PAGE), null);
    const before = Date.now();
    await request().set(key, value, PAGE);
    const found = await request(1).get(key, PAGE);
    assert.deepEqual(found.value, value);
    assert.deepEqual(Object.keys(found), ['lastModified', 'value']);
    assert.ok(found.lastModified >= before && found.lastModified <= Date.now());
  }
});

test('a tag of a page removes it from all processes', async (t) => {
  const { request } = await opened(t);
  for (const tag of ['a', '_N_T_/p']) {
    for (const at of [0, 1]) {
      await request(0).set('/p', page('a,_N_T_/p'), PAGE);
      await request(0).set('/other', page('_N_T_/other'), PAGE);
      assert.notEqual(await request(1).get('/p', PAGE), null);
      await request(at).revalidateTag(at === 0 ? tag : [tag, 'none']);
      assert.deepEqual([await request(0).get('/p', PAGE), await request(1).get('/p', PAGE)], [null, null]);
      assert.notEqual(await request(1).get('/other', PAGE), null);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
});

test('a fetch is removed by its tags, and by those of the page that asks', async (t) => {
  const { request } = await opened(t);
  const context = { kind: 'FETCH', tags: ['data'], softTags: ['_N_T_/p'] };
  const set = async () => {
    await new Promise((resolve) => setTimeout(resolve, 2));
    await request().set('hash', fetched, { fetchCache: true, tags: ['data'] });
    assert.deepEqual((await request(1).get('hash', context)).value, fetched);
  };
  for (const tag of ['data', '_N_T_/p']) {
    await set();
    await request().revalidateTag(tag);
    assert.equal(await request(1).get('hash', context), null);
  }
  // Another page with the same fetch is not concerned by the path of the first.
  await set();
  await request().revalidateTag('_N_T_/p');
  assert.notEqual(await request().get('hash', { ...context, softTags: ['_N_T_/q'] }), null);
  await set();
});

test('what was loaded before a revalidation is not stored', async (t) => {
  const { request } = await opened(t);
  const [slow, context] = [request(0), { kind: 'FETCH', tags: ['data'], softTags: [] }];
  assert.equal(await slow.get('/p', PAGE), null);
  assert.equal(await slow.get('hash', context), null);
  await request(1).revalidateTag(['a', 'data']);
  await slow.set('/p', page('a'), PAGE);
  await slow.set('hash', fetched, { fetchCache: true, tags: ['data'] });
  assert.deepEqual([await request(1).get('/p', PAGE), await request(1).get('hash', context)], [null, null]);
});

test('builds have pages of their own, and share fetches', async (t) => {
  const { cache, request } = await opened(t);
  await request().set('/p', page('a'), PAGE);
  await request().set('hash', fetched, { fetchCache: true, tags: [] });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'yokedcache-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.mkdirSync(path.join(folder, 'server'));
  fs.writeFileSync(path.join(folder, 'BUILD_ID'), 'two\n');
  const Other = createCacheHandler(() => cache);
  const other = new Other({ serverDistDir: path.join(folder, 'server') });
  assert.equal(await other.get('/p', PAGE), null);
  assert.deepEqual((await other.get('hash', { kind: 'FETCH' })).value, fetched);
  await other.set('/p', page('a', 'two'), PAGE);
  assert.equal((await request().get('/p', PAGE)).value.html, 'page');
  assert.equal((await new (createCacheHandler(() => cache, { buildId: 'two' }))({}).get('/p', PAGE)).value.html, 'two');
});

test('times to live', async (t) => {
  const { cache, request } = await opened(t, { ttl: 60_000 });
  await request().set('/p', page(''), { ...PAGE, cacheControl: { revalidate: 1, expire: 30 } });
  await request().set('/q', page(''), { ...PAGE, cacheControl: { revalidate: 1 } });
  for (const [key, most] of [['page:one:/p', 30_000], ['page:one:/q', 60_000]]) {
    const ttl = await cache.ttl(key);
    assert.ok(ttl > most / 2 && ttl <= most, `${key}: ${ttl}`);
  }
});

test('a build uses no cache', async (t) => {
  const { cache, request } = await opened(t);
  process.env.NEXT_PHASE = 'phase-production-build';
  try {
    await request().set('/p', page('a'), PAGE);
    assert.equal(await request().get('/p', PAGE), null);
    await request().revalidateTag('a');
  } finally {
    delete process.env.NEXT_PHASE;
  }
  assert.equal(await cache.get('page:one:/p'), undefined);
});

test('errors of reads and writes are reported, those of revalidations reject', async () => {
  const errors = [];
  let opens = 0;
  const Down = createCacheHandler(() => {
    opens++;
    return Cache.open('redis://127.0.0.1:1?key_prefix=down');
  }, { onError: (error) => errors.push(error.code) });
  assert.equal(await new Down({}).get('/p', PAGE), null);
  await new Down({}).set('/p', page('a'), PAGE);
  await assert.rejects(new Down({}).revalidateTag('a'), { code: 'YC_E_CONNECT' });
  assert.deepEqual(errors, ['YC_E_CONNECT', 'YC_E_CONNECT']);
  // The next call tries again.
  assert.equal(opens, 3);
});

test('a value that is no entry is reported', async (t) => {
  const { cache, errors, request } = await opened(t);
  await cache.set('page:one:/p', 'x');
  assert.equal(await request().get('/p', PAGE), null);
  assert.equal(errors.splice(0).length, 1);
});

test('a page with too many tags is reported, and not stored', async (t) => {
  const { errors, request } = await opened(t);
  await request().set('/p', page(Array.from({ length: 129 }, (_, at) => `tag${at}`).join()), PAGE);
  assert.deepEqual(errors.splice(0).map(({ code }) => code), ['YC_E_TOO_LARGE']);
  assert.equal(await request().get('/p', PAGE), null);
});

test('the cache is opened once, from a configuration too', async () => {
  let opens = 0;
  const Once = createCacheHandler(() => {
    opens++;
    return Cache.open('memory://?key_prefix=once');
  });
  await Promise.all(Array.from({ length: 5 }, () => new Once({}).set('/p', page('a'), PAGE)));
  assert.equal(opens, 1);
  const Configured = createCacheHandler('memory://?key_prefix=configured');
  await new Configured({}).set('/p', page('a'), PAGE);
  assert.equal((await new Configured({}).get('/p', PAGE)).value.html, 'page');
  new Configured({}).resetRequestCache();
});

test('unknown options are refused', () => {
  assert.throws(() => createCacheHandler('memory://', { TTL: 1 }), /unknown option TTL/);
});

test('CommonJS has the same exports', () => {
  assert.equal(createRequire(import.meta.url)('@yokedcache/next').createCacheHandler, createCacheHandler);
});

test('README has the handler of the application', () => {
  const readme = fs.readFileSync(new URL('node_modules/@yokedcache/next/README.md', import.meta.url), 'utf8');
  const handler = fs.readFileSync(new URL('next/cache-handler.mjs', import.meta.url), 'utf8');
  assert.ok(readme.includes(`\`\`\`js\n// cache-handler.mjs\n${handler}\`\`\``));
});
