import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Cache } from 'yokedcache';

/** Selects what is stored. Times are milliseconds. */
export interface HttpCacheOptions {
  /** Sets the time to live of a response with the status 200 without `Cache-Control` and `Expires`. Without it, such a response is not stored. */
  ttl?: number;
  /** Names the header in which a handler names the tags of a response, separated by commas; `Cache-Tag` by default. Clients do not get it. */
  tagHeader?: string;
  /** Limits the body of a response that is stored, in bytes; 1 MiB by default. */
  maxBytes?: number;
  /** Limits the time for which a request waits while another one calls the handler; 10 seconds by default. It then calls the handler itself. */
  wait?: number;
  /** Sets the time for which the cache remembers that a response is not stored; 10 seconds by default. */
  passFor?: number;
  /** Receives the errors of the cache. They never fail a request: it calls the handler. */
  onError?(error: unknown, request: IncomingMessage): void;
}

/**
 * Returns a middleware that caches the responses of the handlers after it, for Express and other programs on `node:http`.
 *
 * A response to GET is stored as long as its `Cache-Control` or `Expires` allows to shared caches, with an ETag. A response without an error to
 * POST and other methods that change something removes the stored ones of its URI. The README of the package has the rules.
 *
 * @param cache - The cache. Use a view with a namespace to clear all responses at once. The caller closes it.
 * @param options - The limits and names to use.
 * @returns The middleware, for `app.use(...)` or one route.
 * @throws A `TypeError` for unknown options.
 */
export function expressCache(
  cache: Cache,
  options?: HttpCacheOptions,
): (request: IncomingMessage, response: ServerResponse, next: (error?: any) => void) => void;

/**
 * Returns a hook of Fastify that caches responses, as `expressCache` does.
 *
 * @param cache - The cache. The caller closes it.
 * @param options - The limits and names to use.
 * @returns The hook, for `fastify.addHook('onRequest', ...)` or the option `onRequest` of one route.
 * @throws A `TypeError` for unknown options.
 */
export function fastifyCache(
  cache: Cache,
  options?: HttpCacheOptions,
): (request: { raw: IncomingMessage }, reply: { raw: ServerResponse; hijack(): any }, done: (error?: any) => void) => void;
