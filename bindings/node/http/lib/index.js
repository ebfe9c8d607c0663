'use strict';

/** The middleware: see index.d.ts for what each thing means. */

const { AsyncResource } = require('node:async_hooks');
const { Capture, Left } = require('./capture.js');
const { decode, send } = require('./entry.js');
const { hashOf } = require('./headers.js');
const { forgetBefore, isUnsafe } = require('./unsafe.js');

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
    let selection = { varying: [] };
    for (let turn = 0; turn < TURNS; turn++) {
      const { found, own } = await this.#find(request, response, next, selection);
      if (own) return;
      if (found === undefined || found.pass) break;
      if (found.varying === undefined) {
        take();
        send(found, request, response);
        return;
      }
      selection = found;
    }
    Capture.pass(response, this.#options);
    next();
  }

  /** Removes the stored responses of the URI of a request, and of those that its response names, before it is sent. */
  change(request, response) {
    const { host, target } = addressOf(request);
    forgetBefore(response, async (locations) => {
      const keys = new Set([keyOf(host, target), ...locations.flatMap((location) => keyAt(host, target, location))]);
      for (const key of keys) {
        try {
          await this.#cache.delete(key);
        } catch (error) {
          this.#report(error, request);
        }
      }
    });
  }

  /** Returns what the cache has for a request, or that this request has called `next`. */
  async #find(request, response, next, selection) {
    const { host, target } = addressOf(request);
    const { varying, id } = selection;
    const key = keyOf(host, target) + (varying.length === 0 ? '' : `\n${id} ${hashOf(request.headers, varying)}`);
    try {
      // A load says nothing of a store that is down: the requests of the process then share it.
      const data = await this.#cache.get(key).catch((error) => this.#report(error, request));
      if (data !== undefined) return { found: decode(data) };
    } catch (error) {
      this.#report(error, request);
      return {};
    }
    return this.#load(key, request, response, next, selection);
  }

  async #load(key, request, response, next, selection) {
    let own = false;
    const load = (fill) => {
      own = true;
      const captured = Capture.begin(request, response, this.#options, fill, selection);
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

function addressOf({ headers, originalUrl, url }) {
  return { host: (headers.host ?? '').toLowerCase(), target: originalUrl ?? url };
}

function keyOf(host, target) {
  return `GET ${host}${target}`;
}

/** Returns the key of a location if it is on the host of the request. */
function keyAt(host, target, location) {
  try {
    const base = new URL(`http://${host}${target}`);
    const url = new URL(location, base);
    return url.host === base.host ? [keyOf(host, url.pathname + url.search)] : [];
  } catch {
    return []; // It is no URL.
  }
}

function isCacheable({ method, headers }) {
  return method === 'GET' && headers.authorization === undefined && headers.range === undefined && headers.upgrade === undefined;
}

function expressCache(cache, options) {
  const http = new HttpCache(cache, options);
  return (request, response, next) => {
    if (isUnsafe(request)) http.change(request, response);
    if (!isCacheable(request)) return next();
    // The handlers after this one keep the AsyncLocalStorage of the request.
    const later = AsyncResource.bind(() => next());
    return void http.handle(request, response, later, () => {}).catch(next);
  };
}

function fastifyCache(cache, options) {
  const http = new HttpCache(cache, options);
  return (request, reply, done) => {
    if (isUnsafe(request.raw)) http.change(request.raw, reply.raw);
    if (!isCacheable(request.raw)) return done();
    const later = AsyncResource.bind(() => done());
    return void http.handle(request.raw, reply.raw, later, () => reply.hijack()).catch(done);
  };
}

exports.expressCache = expressCache;
exports.fastifyCache = fastifyCache;
