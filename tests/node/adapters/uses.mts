// Programs that use the types of the adapters. They are compiled, not run.

import { createServer } from 'node:http';
import { createCache } from 'cache-manager';
import express from 'express';
import fastify from 'fastify';
import { Keyv } from 'keyv';
import { Cache } from 'yokedcache';
import { type HttpCacheOptions, expressCache, fastifyCache } from '@yokedcache/http';
import { KeyvYokedCache, createKeyv } from '@yokedcache/keyv';
import { createCacheHandler } from '@yokedcache/next';

const cache = await Cache.open('memory://');

const keyv: Keyv = createKeyv(cache, { namespace: 'users', ttl: 1000 });
const other = new Keyv({ store: new KeyvYokedCache(cache, { namespace: 'a' }), namespace: 'a' });
createCache({ stores: [keyv, other] });
// @ts-expect-error the store is the cache
createKeyv(cache, { store: new Map() });

const options: HttpCacheOptions = { ttl: 1000, onError: (error, request) => console.error(request.url, error) };
express().use(expressCache(cache, options));
fastify().addHook('onRequest', fastifyCache(cache, options));
const middleware = expressCache(cache);
createServer((request, response) => middleware(request, response, () => response.end()));
// @ts-expect-error an unknown option
expressCache(cache, { TTL: 1 });

const Handler = createCacheHandler(() => cache, { ttl: 1000 });
const handled: Promise<void> = new Handler({}).revalidateTag(['a']);
await handled;
// @ts-expect-error an unknown option
createCacheHandler('memory://', { TTL: 1 });
