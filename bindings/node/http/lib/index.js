'use strict';

/** The middleware: see index.d.ts for what each thing means. */

const { AsyncResource } = require('node:async_hooks');
const { Capture, Left } = require('./capture.js');
const { decode, send } = require('./entry.js');
const { hashOf } = require('./headers.js');

const OPTIONS = new Set(['ttl', 'tagHeader', 'maxBytes', 'wait', 'passFor', 'onError']);

/** A response may name headers that none before it has named: each turn learns of more, and selects by them. */
const TURNS = 3;

class HttpCache {
  #cache;
  #options;

  constructor(cache, options = {}) {
    for (const name of Object.keys(options)) {
      if (!OPTIONS.has(name)) throw new TypeError(`unknown option ${name}; the options are ${[...OPTIONS].join(', ')}`);
    }
    this.#cache = cache;
    this.#options = { ttl: 0, tagHeader: 'Cache-Tag', maxBytes: 1 << 20, wait: 10_000, passFor: 10_000, ...options };
  }

  /** Answers a request, or calls `next`. `take` is called first if the response does not come from `next`. */
  async handle(request, response, next, take) {
    let varying = [];
    for (let turn = 0; turn < TURNS; turn++) {
      const { found, own } = await this.#find(request, response, next, varying);
      if (own) return;
      if (found === undefined || found.pass) break;
      if (found.varying === undefined) {
        take();
        send(found, request, response);
        return;
      }
      varying = found.varying;
    }
    Capture.pass(response, this.#options);
    next();
  }

  /** Returns what the cache has for a request, or that this request has called `next`. */
  async #find(request, response, next, varying) {
    const key = `GET ${request.headers.host ?? ''}${request.originalUrl ?? request.url}${hashOf(request.headers, varying)}`;
    try {
      // A load says nothing of a store that is down: the requests of the process then share it.
      const data = await this.#cache.get(key).catch((error) => this.#report(error, request));
      if (data !== undefined) return { found: decode(data) };
    } catch (error) {
      this.#report(error, request);
      return {};
    }
    return this.#load(key, request, response, next, varying);
  }

  async #load(key, request, response, next, varying) {
    let own = false;
    const load = (fill) => {
      own = true;
      const captured = Capture.begin(request, response, this.#options, fill, varying);
      next();
      return captured;
    };
    for (;;) {
      try {
        const data = await this.#cache.getOrLoad(key, load, { wait: this.#options.wait });
        return own ? { own } : { found: decode(data) };
      } catch (error) {
        if (error instanceof Left) {
          if (own) return { own };
          continue; // One of those that waited is the next to call the handler.
        }
        this.#report(error, request);
        return { own };
      }
    }
  }

  #report(error, request) {
    this.#options.onError?.(error, request);
  }
}

function isCacheable({ method, headers }) {
  return method === 'GET' && headers.authorization === undefined && headers.range === undefined && headers.upgrade === undefined;
}

function expressCache(cache, options) {
  const http = new HttpCache(cache, options);
  return (request, response, next) => {
    if (!isCacheable(request)) return next();
    // The handlers after this one keep the AsyncLocalStorage of the request.
    const later = AsyncResource.bind(() => next());
    return void http.handle(request, response, later, () => {}).catch(next);
  };
}

function fastifyCache(cache, options) {
  const http = new HttpCache(cache, options);
  return (request, reply, done) => {
    if (!isCacheable(request.raw)) return done();
    const later = AsyncResource.bind(() => done());
    return void http.handle(request.raw, reply.raw, later, () => reply.hijack()).catch(done);
  };
}

exports.expressCache = expressCache;
exports.fastifyCache = fastifyCache;
