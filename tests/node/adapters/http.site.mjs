/** Servers with a cache, for the tests of @yokedcache/http. */

import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import http from 'node:http';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import express from 'express';
import fastify from 'fastify';
import { Cache } from 'yokedcache';
import { expressCache, fastifyCache } from '@yokedcache/http';
import { testUrl } from './url.mjs';

let prefixes = 0;
export const current = new AsyncLocalStorage();

/**
 * The same handler behind each framework: `handle(request)` returns `{ status, headers, body }`, where the body is a string, a Buffer, or an
 * array of what is written one after another.
 */
export const frameworks = {
  async node(middleware, handle) {
    const cached = middleware(expressCache);
    const server = http.createServer((request, response) => current.run({}, () => cached(request, response, async () => {
      const { status = 200, headers = {}, body } = await handle(request);
      response.writeHead(status, headers);
      for (const part of [body].flat().slice(0, -1)) response.write(part);
      response.end([body].flat().at(-1));
    })));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: server.address().port, close: () => (server.closeAllConnections(), server.close()) };
  },
  async express(middleware, handle) {
    const app = express();
    app.use((request, response, next) => current.run({}, next));
    app.use(middleware(expressCache));
    app.use(async (request, response) => {
      const { status = 200, headers = {}, body } = await handle(request);
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      response.status(status);
      if (Array.isArray(body)) Readable.from(body).pipe(response);
      else response.send(body);
    });
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: server.address().port, close: () => (server.closeAllConnections(), server.close()) };
  },
  async fastify(middleware, handle) {
    const app = fastify({ forceCloseConnections: true });
    app.addHook('onRequest', (request, reply, done) => current.run({}, done));
    app.addHook('onRequest', middleware(fastifyCache));
    app.all('/*', async (request, reply) => {
      const { status = 200, headers = {}, body } = await handle(request.raw);
      reply.code(status).headers(headers);
      return reply.send(Array.isArray(body) ? Readable.from(body) : body);
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { port: app.server.address().port, close: () => app.close() };
  },
};

/** Starts a server with a cache. An error of the cache fails the test. */
export async function serve(t, framework, handle, options = {}) {
  const cache = await Cache.open(testUrl()).then((opened) => opened.view({ namespace: `http${prefixes++}` }));
  const site = { cache, calls: 0 };
  const errors = [];
  const all = { onError: (error) => errors.push(error), ...options };
  const counted = async (request) => {
    site.calls++;
    return handle(request, site);
  };
  const { port, close } = await frameworks[framework]((of) => of(cache, all), counted);
  site.get = async (path = '/', headers = {}, more = {}) => {
    const request = http.request({ host: '127.0.0.1', port, path, headers, agent: false, ...more }).end(more.body);
    const [response] = await once(request, 'response');
    const body = Buffer.concat(await response.toArray()).toString('latin1');
    return { status: response.statusCode, headers: response.headers, body, from: response.headers['cache-status']?.replace('yokedcache; ', '') };
  };
  site.port = port;
  t.after(async () => {
    await close();
    assert.deepEqual(errors, []);
    // A response arrives before it is stored.
    await cache.close();
  });
  return site;
}

/** Runs a test with each framework. */
export function each(name, run) {
  for (const framework of Object.keys(frameworks)) test(`${framework}: ${name}`, { timeout: 60_000 }, (t) => run(t, framework));
}

export const AGE = { 'cache-control': 'public, max-age=60' };
