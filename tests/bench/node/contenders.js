'use strict';

/** Caches behind one face: get, set, getMany, setMany, close. Each with its own clients' usual calls and keys of its own. */

const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');

const peer = createRequire(path.join(process.env.BENCH_PEERS, 'package.json'));
const TTL = 3_600_000;

function yoked(name, url, options) {
  return yokedOf(name, `${url}${url.includes('?') ? '&' : '?'}key_prefix=bench${options?.encoding ?? ''}`, options);
}

function yokedOf(name, config, options) {
  return {
    name,
    async open() {
      const { Cache } = require(process.env.BENCH_PACKAGE);
      const cache = await Cache.open(config);
      const set = { ttl: TTL };
      return {
        get: (key) => cache.get(key, options),
        set: (key, value) => cache.set(key, value, set),
        getMany: (keys) => cache.getMany(keys, options),
        setMany: (keys, value) => cache.setMany(keys.map((key) => [key, value]), set),
        hasCopy: (key) => cache.getNear(key) !== undefined,
        close: () => cache.close(),
      };
    },
  };
}

function ioredis(name, port, options, buffers) {
  return {
    name,
    async open() {
      const { Redis } = peer('ioredis');
      const client = new Redis({ host: '127.0.0.1', port, keyPrefix: name, ...options });
      return {
        get: buffers ? (key) => client.getBuffer(key) : (key) => client.get(key),
        set: (key, value) => client.set(key, value, 'PX', TTL),
        getMany: (keys) => client.mget(keys),
        setMany: (keys, value) => {
          const pipeline = client.pipeline();
          for (const key of keys) pipeline.set(key, value, 'PX', TTL);
          return pipeline.exec();
        },
        close: () => client.quit(),
      };
    },
  };
}

function nodeRedis(port, name = 'node-redis', options = {}) {
  return {
    name,
    async open() {
      const client = peer('redis').createClient({ socket: { host: '127.0.0.1', port }, ...options });
      await client.connect();
      const own = (key) => `nr:${key}`;
      return {
        get: (key) => client.get(own(key)),
        set: (key, value) => client.set(own(key), value, { expiration: { type: 'PX', value: TTL } }),
        getMany: (keys) => client.mGet(keys.map(own)),
        setMany: (keys, value) => Promise.all(keys.map((key) => client.set(own(key), value, { expiration: { type: 'PX', value: TTL } }))),
        close: () => client.close(),
      };
    },
  };
}

/** node-redis with client-side caching, which keeps replies by command: many keys are many gets. */
function nodeRedisCached(port) {
  const inner = nodeRedis(port, 'node-redis clientSideCache', { RESP: 3, clientSideCache: { ttl: TTL, maxEntries: 100_000, evictPolicy: 'LRU' } });
  return {
    name: inner.name,
    async open() {
      const cache = await inner.open();
      const getMany = (keys) => Promise.all(keys.map(cache.get));
      return { ...cache, getMany, keep: getMany };
    },
  };
}

/** The client of Valkey, whose core is in Rust. Its strings are UTF-8, as those of the others. */
function valkeyGlide(port) {
  return {
    name: 'valkey-glide',
    async open() {
      const { GlideClient, Batch, TimeUnit } = peer('@valkey/valkey-glide');
      const addresses = [{ host: '127.0.0.1', port }];
      const client = await GlideClient.createClient({ addresses, requestTimeout: 10_000, inflightRequestsLimit: 100_000 });
      const own = (key) => `vg:${key}`;
      const expiry = { expiry: { type: TimeUnit.Milliseconds, count: TTL } };
      return {
        get: (key) => client.get(own(key)),
        set: (key, value) => client.set(own(key), value, expiry),
        getMany: (keys) => client.mget(keys.map(own)),
        setMany: (keys, value) => {
          const batch = new Batch(false);
          for (const key of keys) batch.set(own(key), value, expiry);
          return client.exec(batch, true);
        },
        close: () => client.close(),
      };
    },
  };
}

function memjs(server) {
  return {
    name: 'memjs',
    async open() {
      const client = peer('memjs').Client.create(server, { expires: TTL / 1000 });
      return {
        get: (key) => client.get(key),
        set: (key, value) => client.set(key, value, {}),
        getMany: (keys) => Promise.all(keys.map((key) => client.get(key))),
        setMany: (keys, value) => Promise.all(keys.map((key) => client.set(key, value, {}))),
        close: () => client.close(),
      };
    },
  };
}

/** In the heap, without a copy: what no cache behind a promise, outside of the heap, can be as fast as. */
function lruCache() {
  return {
    name: 'lru-cache',
    async open() {
      const { LRUCache } = peer('lru-cache');
      const cache = new LRUCache({ max: 100_000, ttl: TTL });
      return {
        get: (key) => cache.get(key),
        set: (key, value) => cache.set(key, value),
        getMany: (keys) => keys.map((key) => cache.get(key)),
        setMany: (keys, value) => keys.forEach((key) => cache.set(key, value)),
        close: () => {},
      };
    },
  };
}

/** A near cache with a copy of every entry: its hits send no request. */
function yokedNear(name, port, options) {
  const near = { max_size: 100_000, max_staleness: '10m' };
  const redis = { url: `redis://127.0.0.1:${port}`, key_prefix: `bench${options?.encoding ?? ''}`, near };
  const inner = yokedOf(name, { backend: 'redis', redis }, options);
  return {
    name,
    async open() {
      const cache = await inner.open();
      return { ...cache, keep: (keys) => keepCopies(cache, keys) };
    },
  };
}

/** Reads every key until the process has a copy: the server may still tell of its set when it is read. */
async function keepCopies(cache, keys) {
  for (const key of keys) {
    for (let attempts = 0; !cache.hasCopy(key); attempts++) {
      if (attempts === 10_000) throw new Error(`the near cache keeps no copy of ${key}`);
      await cache.get(key);
    }
  }
}

function yokedSync() {
  return {
    name: 'yokedcache getSync',
    async open() {
      const { Cache } = require(process.env.BENCH_PACKAGE);
      const cache = await Cache.open('memory://?max_size=100000');
      return {
        get: (key) => cache.getSync(key),
        set: (key, value) => cache.set(key, value, { ttl: TTL }),
        getMany: (keys) => keys.map((key) => cache.getSync(key)),
        setMany: (keys, value) => Promise.all(keys.map((key) => cache.set(key, value))),
        close: () => cache.close(),
      };
    },
  };
}

// ---- Loading: each contender returns what its load has stored, as it does by default ----

const VALUE = 'v'.repeat(100);
const load = async () => VALUE;
const isLoading = (call, close) => ({ load: call, close });

function yokedLoading(name, callOf) {
  return {
    name,
    async open() {
      const { Cache } = require(process.env.BENCH_PACKAGE);
      const cache = await Cache.open('memory://?max_size=100000');
      return isLoading(callOf(cache), () => cache.close());
    },
  };
}

/** The peers that are ES modules. */
const modules = () => import(pathToFileURL(path.join(process.env.BENCH_PEERS, 'peers.mjs')));

function bentocache() {
  return {
    name: 'bentocache getOrSet',
    async open() {
      const { BentoCache, bentostore, memoryDriver } = await modules();
      const bento = new BentoCache({ default: 'memory', stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: 100_000 })) } });
      return isLoading((key) => bento.getOrSet({ key, factory: load, ttl: TTL }), () => bento.disconnectAll());
    },
  };
}

function cacheable(name, callOf) {
  return {
    name,
    async open() {
      const { Cacheable } = await modules();
      const cache = new Cacheable({ ttl: TTL });
      return isLoading(callOf(cache), () => cache.disconnect());
    },
  };
}

const LOAD = { ttl: TTL };
const LOAD_TEXT = { ttl: TTL, encoding: 'utf8' };

exports.groups = ({ redisPort, memcached }) => ({
  redis: {
    works: ['get', 'set', 'gets', 'sets'],
    base: 'ioredis auto-pipelining',
    contenders: [
      yoked('yokedcache', `redis://127.0.0.1:${redisPort}?max_pending=100000`, { encoding: 'utf8' }),
      yoked('yokedcache Buffer', `redis://127.0.0.1:${redisPort}?max_pending=100000`),
      ioredis('ioredis', redisPort),
      ioredis('ioredis auto-pipelining', redisPort, { enableAutoPipelining: true }),
      ioredis('ioredis auto-pipelining Buffer', redisPort, { enableAutoPipelining: true }, true),
      nodeRedis(redisPort),
      valkeyGlide(redisPort),
    ],
  },
  memcached: {
    works: ['get', 'set', 'gets', 'sets'],
    base: 'memjs',
    contenders: [yoked('yokedcache', `memcached://${memcached}?max_pending=100000`, { encoding: 'utf8' }), memjs(memcached)],
  },
  memory: {
    works: ['get', 'set', 'gets', 'sets'],
    base: 'lru-cache',
    atOnce: true,
    contenders: [yoked('yokedcache', 'memory://?max_size=100000'), yokedSync(), lruCache()],
  },
  near: {
    works: ['get', 'gets'],
    base: 'yokedcache memory',
    atOnce: true,
    contenders: [
      yoked('yokedcache memory', 'memory://?max_size=100000'),
      yokedNear('yokedcache near', redisPort),
      yoked('yokedcache memory text', 'memory://?max_size=100000', { encoding: 'utf8' }),
      yokedNear('yokedcache near text', redisPort, { encoding: 'utf8' }),
      nodeRedisCached(redisPort),
    ],
  },
  loading: {
    works: ['load'],
    base: 'bentocache getOrSet',
    contenders: [
      yokedLoading('yokedcache getOrLoad', (cache) => (key) => cache.getOrLoad(key, load, LOAD_TEXT)),
      yokedLoading('yokedcache getOrLoad Buffer', (cache) => (key) => cache.getOrLoad(key, load, LOAD)),
      yokedLoading('yokedcache typed getOrLoad', (cache) => ((typed) => (key) => typed.getOrLoad(key, load, LOAD))(cache.typed())),
      bentocache(),
      cacheable('cacheable getOrSet', (cache) => (key) => cache.getOrSet(key, load, LOAD)),
      cacheable('cacheable wrap', (cache) => cache.wrap(load, { keyPrefix: 'wrap', ttl: TTL })),
    ],
  },
});
