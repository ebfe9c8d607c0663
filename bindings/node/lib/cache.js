'use strict';

/** The public methods: each checks its arguments and submits its operation. */

const native = require('./native.js');
const {
  attempt, bytesOf, conditionOf, encodingOf, given, listOf, maxAgeOf, numberOf, rateOf, sizeOf, tagTextsOf, tagsOf, textOf, timeOf, ttlOf, versionOf, wholeOf,
} = require('./arguments.js');
const decode = require('./decode.js');
const { credentialsOf, supply } = require('./credentials.js');
const { YokedCacheError, errorOf, invalidType } = require('./error.js');
const { events } = require('./events.js');
const { Exchange } = require('./exchange.js');
const { bytesOfLists } = require('./inbox.js');
const { Kind } = require('./kind.js');
const leases = require('./lease.js');
const { FORMS, Loading, OPTIONS: LOAD } = require('./loading.js');
const { migrate, switchTo } = require('./migrate.js');
const { flagOf, optionsOf, optionsSet } = require('./options.js');
const { Redis } = require('./redis.js');
const { abortable, checkSignal } = require('./signals.js');
const { subscribe } = require('./subscription.js');
const { Place, isTraced, trace, traceMethods } = require('./tracing.js');
const { Typed } = require('./typed.js');

const OPEN_TEXT = 0;
const OPEN_FILE = 1;
const OPEN_ENVIRONMENT = 2;
const COUNT = 1;
const CLOSE_DEFAULT = -1;

/** The options that the methods take. */
const CALL = optionsSet('signal');
const OPEN = optionsSet('credentials', 'signal');
const EXPLAIN = optionsSet('tags', 'signal');
const READ = optionsSet('encoding', 'signal');
const GET = optionsSet('encoding', 'fresh', 'signal');
const GET_JSON = optionsSet('fresh', 'signal');
const GET_INFO = optionsSet('encoding', 'maxAge', 'signal');
const GET_SYNC = optionsSet('encoding');
const SET = optionsSet('ttl', 'tags', 'signal');
const SET_IF = optionsSet('absent', 'present', 'version', 'ttl', 'tags', 'signal');
const DELETE_IF = optionsSet('version', 'signal');
const GET_OR_LEASE = optionsSet('lease', 'wait', 'tags', 'encoding', 'fresh', 'signal');
const COUNTER = optionsSet('initial', 'ttl', 'signal');
const REMOVE = optionsSet('count', 'dryRun', 'signal');
const KEYS = optionsSet('tags', 'encoding', 'pageSize', 'signal');
const SEARCH = optionsSet('threshold', 'limit', 'tags', 'encoding', 'signal');
const SWITCH = optionsSet('copy', 'rate');
const MIGRATE = optionsSet('pattern', 'rate', 'dryRun', 'resume', 'onProgress', 'signal');
const CLOSE = optionsSet('timeout');
const VIEW = optionsSet('namespace', 'timeout', 'defaultTtl', 'tags', 'touchOnGet', 'maxAge', 'patterns');

/** Returns the native part of a cache. */
let handleOf;

/** Keeps the constructor private: only the functions that open caches have it. */
const secret = Symbol('secret');

// ---- Opening ----

async function openHandle(how, text, environment, credentials) {
  const opened = await native.open(how, text, environment);
  if (Array.isArray(opened)) throw errorOf(opened);
  if (credentials !== undefined) {
    try {
      await supply(opened, credentials);
    } catch (error) {
      await native.close(opened, 0);
      throw error;
    }
  }
  const [exchange, defaults] = [new Exchange(opened), new Defaults(how, text, environment)];
  exchange.place = new Place(() => defaults.summary());
  // Otherwise its first call reads the configuration, if that is traced.
  if (isTraced()) await exchange.place.describe();
  return new Cache(secret, exchange, defaults);
}

/** Returns a configuration as text; an object becomes its JSON. */
function configOf(config) {
  const isObject = typeof config === 'object' && config !== null;
  return textOf(isObject ? JSON.stringify(config) : config, 'configuration');
}

function pathOf(path) {
  // Accepts a URL of any realm: each realm has a class of its own.
  const isUrl = typeof path === 'object' && path !== null && typeof path.href === 'string' && typeof path.protocol === 'string';
  return textOf(isUrl ? require('node:url').fileURLToPath(path.href) : path, 'path');
}

function environmentOf(environment) {
  return environment === undefined ? undefined : textOf(environment, 'environment');
}

async function summaryOf(how, text, environment) {
  const checked = await native.check(how, text, environment);
  if (Array.isArray(checked)) throw errorOf(checked);
  return JSON.parse(checked);
}

async function checkConfig(config) {
  return summaryOf(OPEN_TEXT, configOf(config), undefined);
}

async function checkConfigFile(path, environment) {
  return summaryOf(OPEN_FILE, pathOf(path), environmentOf(environment));
}

async function open(how, text, environment, options) {
  const { credentials, signal } = optionsOf(options, OPEN);
  if (signal !== undefined) checkSignal(signal);
  return abortable(openHandle(how, text, environment, credentialsOf(credentials)), signal, (cache) => cache.close({ timeout: 0 }).catch(() => {}));
}

/** The times that the configuration of a cache sets for loads. They are read when the first load needs them. */
class Defaults {
  #source;
  #read;
  #limit;

  constructor(...source) {
    this.#source = source;
  }

  /** Returns the times of a view with this time limit. */
  limited(limit) {
    const times = new Defaults(...this.#source);
    times.#limit = limit ?? this.#limit;
    return times;
  }

  /** Returns a promise of { leaseMs, deadlineMs }. */
  read() {
    return (this.#read ??= this.summary().then(
      ({ lease_ms: leaseMs = 10_000, socket_timeout_ms: deadlineMs = 1000 }) => ({ leaseMs, deadlineMs: this.#limit ?? deadlineMs }),
      () => ({ leaseMs: 10_000, deadlineMs: this.#limit ?? 1000 }), // A file that is gone: those of the library.
    ));
  }

  /** Returns a promise of the summary of the configuration. */
  summary() {
    const [how, text, environment] = this.#source;
    if (how !== OPEN_ENVIRONMENT) return summaryOf(how, text, environment);
    const { YOKEDCACHE_URL: url, YOKEDCACHE_CONFIG: file, REDIS_URL: redis } = process.env;
    return url === undefined && file !== undefined ? summaryOf(OPEN_FILE, file, undefined) : summaryOf(OPEN_TEXT, url ?? redis, undefined);
  }

  /** The cache has another configuration now. */
  replace(text) {
    this.#source = [OPEN_TEXT, text, undefined];
    this.#read = undefined;
  }
}

class Cache {
  /** @type {Exchange} */
  #exchange;
  #defaults;
  #loading;
  #closing;

  constructor(key, exchange, defaults) {
    if (key !== secret) throw new TypeError('open a cache with Cache.open(), Cache.openFile() or Cache.openEnv()');
    this.#exchange = exchange;
    this.#defaults = defaults;
    this.#loading = new Loading(exchange, () => defaults.read());
  }

  static async open(config, options) {
    return open(OPEN_TEXT, configOf(config), undefined, options);
  }

  static async openFile(path, environment, options) {
    return open(OPEN_FILE, pathOf(path), environmentOf(environment), options);
  }

  static async openEnv(options) {
    return open(OPEN_ENVIRONMENT, undefined, undefined, options);
  }

  // ---- One key ----

  get(key, options) {
    try {
      return isTraced() ? trace(this.#exchange, 'get', () => this.#get(key, options)) : this.#get(key, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #get(key, options) {
    try {
      const { encoding, fresh, signal } = optionsOf(options, GET);
      const form = encodingOf(encoding, 'buffer');
      return this.#exchange.requestValue(given(key, 'key'), form, signal, flagOf(fresh, 'fresh'));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  getSync(key, options) {
    const { encoding } = optionsOf(options, GET_SYNC);
    const form = encodingOf(encoding, 'buffer');
    const exchange = this.#exchange;
    exchange.check();
    if (!exchange.isLocal) {
      throw new YokedCacheError('YC_E_UNSUPPORTED', 'getSync() works on the memory backend only: on a server it would block the event loop');
    }
    return exchange.read(given(key, 'key'), form);
  }

  getNear(key, options) {
    const { encoding } = optionsOf(options, GET_SYNC);
    const form = encodingOf(encoding, 'buffer');
    return this.#exchange.readNear(given(key, 'key'), form);
  }

  getJson(key, options) {
    return attempt(() => {
      const { fresh, signal } = optionsOf(options, GET_JSON);
      return this.#exchange.requestJson(given(key, 'key'), signal, flagOf(fresh, 'fresh'));
    });
  }

  set(key, value, options) {
    try {
      return isTraced() ? trace(this.#exchange, 'set', () => this.#set(key, value, options)) : this.#set(key, value, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #set(key, value, options) {
    try {
      const { ttl, tags, signal } = optionsOf(options, SET);
      return this.#exchange.request(
        Kind.SET, 0, given(key, 'key'), given(value, 'value'), tagsOf(tags), ttlOf(ttl), decode.nothing, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  setJson(key, value, options) {
    return attempt(() => {
      const text = JSON.stringify(value);
      if (text === undefined) throw invalidType(`the value is of type ${typeof value}, which JSON cannot express`);
      return this.set(key, text, options);
    });
  }

  delete(key, options) {
    return this.#byKey(Kind.DELETE, key, 0, decode.wasThere, options);
  }

  exists(key, options) {
    return this.#byKey(Kind.EXISTS, key, 0, decode.wasThere, options);
  }

  expire(key, ttl, options) {
    return attempt(() => this.#byKey(Kind.EXPIRE, key, ttlOf(ttl), decode.wasThere, options));
  }

  ttl(key, options) {
    return this.#byKey(Kind.TTL, key, 0, decode.ttl, options);
  }

  #byKey(kind, key, number, form, options) {
    return attempt(() => {
      const { signal } = optionsOf(options, CALL);
      return this.#exchange.request(kind, 0, given(key, 'key'), undefined, undefined, number, form, signal);
    });
  }

  // ---- Conditional writes and counters ----

  getInfo(key, options) {
    return attempt(() => {
      const { encoding, maxAge, signal } = optionsOf(options, GET_INFO);
      const form = decode.described[encodingOf(encoding, 'buffer')];
      return this.#exchange.request(Kind.GET_INFO, 0, given(key, 'key'), undefined, undefined, maxAgeOf(maxAge), form, signal);
    });
  }

  getVersioned(key, options) {
    return attempt(() => {
      const { encoding, signal } = optionsOf(options, READ);
      const form = decode.versioned[encodingOf(encoding, 'buffer')];
      return this.#exchange.request(Kind.GET_VERSIONED, 0, given(key, 'key'), undefined, undefined, 0, form, signal);
    });
  }

  setIf(key, value, options) {
    return attempt(() => {
      const checked = optionsOf(options, SET_IF);
      const { ttl, tags, signal } = checked;
      const more = conditionOf(checked);
      return this.#exchange.request(
        Kind.SET_IF, 0, given(key, 'key'), given(value, 'value'), tagsOf(tags), ttlOf(ttl), decode.version, signal, more);
    });
  }

  deleteIf(key, options) {
    return attempt(() => {
      const { version, signal } = optionsOf(options, DELETE_IF);
      const more = { first: versionOf(version) };
      return this.#exchange.request(Kind.DELETE_IF, 0, given(key, 'key'), undefined, undefined, 0, decode.wasThere, signal, more);
    });
  }

  getAndExpire(key, ttl, options) {
    return attempt(() => {
      const { encoding, signal } = optionsOf(options, READ);
      const form = decode.value[encodingOf(encoding, 'buffer')];
      return this.#exchange.request(Kind.GET_AND_EXPIRE, 0, given(key, 'key'), undefined, undefined, ttlOf(ttl), form, signal);
    });
  }

  counterAdd(key, delta, options) {
    return attempt(() => {
      const { initial = 0n, ttl, signal } = optionsOf(options, COUNTER);
      const more = { first: wholeOf(delta, 'delta'), second: wholeOf(initial, 'initial') };
      return this.#exchange.request(Kind.COUNTER_ADD, 0, given(key, 'key'), undefined, undefined, ttlOf(ttl), decode.counter, signal, more);
    });
  }

  get redis() {
    return new Redis(this.#exchange);
  }

  // ---- Channels ----

  publish(channel, message, options) {
    return attempt(() => {
      const { signal } = optionsOf(options, CALL);
      return this.#exchange.request(
        Kind.PUBLISH, 0, given(channel, 'channel'), given(message, 'message'), undefined, 0, decode.receivers, signal);
    });
  }

  subscribe(options) {
    return subscribe(this.#exchange, options);
  }

  // ---- Events ----

  events(options) {
    return events(this.#exchange, options);
  }

  // ---- Loading ----

  getOrLoad(key, loader, options) {
    try {
      return isTraced() ? trace(this.#exchange, 'getOrLoad', () => this.#getOrLoad(key, loader, options)) : this.#getOrLoad(key, loader, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #getOrLoad(key, loader, options) {
    try {
      const form = options?.encoding === undefined ? FORMS.buffer : FORMS[encodingOf(options.encoding, 'buffer')];
      return this.#loading.one(key, loader, options, LOAD, form);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  getOrLoadMany(keys, loader, options) {
    return attempt(() => this.#loading.many(keys, loader, options, LOAD, FORMS[encodingOf(options?.encoding, 'buffer')]));
  }

  typed(codec) {
    return new Typed(this, this.#loading, codec);
  }

  getOrLease(key, options) {
    return attempt(() => {
      const { lease, wait, tags, encoding, fresh, signal } = optionsOf(options, GET_OR_LEASE);
      const form = leases.described[encodingOf(encoding, 'buffer')];
      const [leaseMs, waitMs] = [leases.leaseOf(lease), leases.waitOf(wait)];
      const found = this.#exchange.readOrLease(given(key, 'key'), tagsOf(tags), leaseMs, waitMs, form, signal, flagOf(fresh, 'fresh'));
      return Promise.resolve(found);
    });
  }

  // ---- Many keys ----

  getMany(keys, options) {
    return attempt(() => {
      const { encoding, signal } = optionsOf(options, READ);
      const form = decode.values[encodingOf(encoding, 'buffer')];
      return this.#many(Kind.GET_MANY, listOf(keys, 'keys'), [], [], 0, form, signal);
    });
  }

  setMany(entries, options) {
    return attempt(() => {
      const { ttl, tags, signal } = optionsOf(options, SET);
      const pairs = listOf(entries, 'entries').map((entry) => listOf(entry, 'key and value of an entry'));
      const [keys, values] = [pairs.map((pair) => pair[0]), pairs.map((pair) => pair[1])];
      return this.#many(Kind.SET_MANY, keys, values, tagsOf(tags) ?? [], ttlOf(ttl), decode.allStored, signal);
    });
  }

  deleteMany(keys, options) {
    return attempt(() => {
      const { signal } = optionsOf(options, CALL);
      return this.#many(Kind.DELETE_MANY, listOf(keys, 'keys'), [], [], 0, decode.stored, signal);
    });
  }

  #many(kind, keys, values, tags, number, form, signal) {
    return this.#exchange.requestAlone((exchange) => exchange.putLists(kind, keys, values, tags, number), form, signal);
  }

  // ---- Invalidation ----

  invalidateTag(tag, options) {
    return this.invalidateTags([tag], options);
  }

  invalidateTags(tags, options) {
    return this.#remove(Kind.INVALIDATE_TAGS, undefined, () => listOf(tags, 'tags'), options);
  }

  invalidatePattern(pattern, options) {
    return attempt(() => this.#remove(Kind.INVALIDATE_PATTERN, given(pattern, 'pattern'), () => undefined, options));
  }

  clear(options) {
    return this.#remove(Kind.CLEAR, undefined, () => undefined, options);
  }

  flush(options) {
    return this.#remove(Kind.FLUSH, undefined, () => undefined, options);
  }

  #remove(kind, pattern, tags, options) {
    return attempt(() => {
      const { count, dryRun, signal } = optionsOf(options, REMOVE);
      flagOf(count, 'count');
      if (flagOf(dryRun, 'dryRun')) return this.#exchange.requestDryRun(kind, pattern, tags(), decode.count, signal);
      const form = count ? decode.count : decode.nothing;
      return this.#exchange.request(kind, count ? COUNT : 0, pattern, undefined, tags(), 0, form, signal);
    });
  }

  // ---- Listing and search ----

  async *keys(pattern = '*', options = undefined) {
    const { tags, encoding, pageSize, signal } = optionsOf(options, KEYS);
    const form = decode.keys[encodingOf(encoding, 'utf8')];
    const limit = sizeOf(pageSize, 0, 'pageSize');
    const wanted = tagsOf(tags) ?? [];
    this.#exchange.check(signal);
    const cursor = native.keysOpen(this.#exchange.handle, bytesOf(pattern, 'pattern'), bytesOfLists(wanted, 'tag', [], 'tag'), wanted.length);
    if (Array.isArray(cursor)) throw errorOf(cursor);
    let page;
    while ((page = await this.#exchange.requestPage(cursor, limit, form, signal)) !== undefined) yield* page;
  }

  search(query, options) {
    return attempt(() => {
      const { threshold, limit, tags, encoding, signal } = optionsOf(options, SEARCH);
      const form = decode.matches[encodingOf(encoding, 'utf8')];
      const [score, most] = [numberOf(threshold, 80, 'threshold'), sizeOf(limit, 10, 'limit')];
      const put = (exchange) => exchange.putSearch(given(query, 'query'), score, most, tagsOf(tags) ?? []);
      return this.#exchange.requestAlone(put, form, signal);
    });
  }

  // ---- Views ----

  view(options) {
    const { namespace, timeout, defaultTtl, tags, touchOnGet, maxAge, patterns } = optionsOf(options, VIEW);
    const document = {
      namespace: namespace === undefined ? undefined : textOf(namespace, 'namespace'),
      timeout: timeout === undefined ? undefined : `${timeOf(timeout, undefined, 'timeout')}ms`,
      default_ttl: defaultTtl === undefined ? undefined : `${defaultTtl === Infinity ? 0 : timeOf(defaultTtl, undefined, 'defaultTtl')}ms`,
      tags: tags === undefined ? undefined : tagTextsOf(tags),
      touch_on_get: touchOnGet === undefined ? undefined : flagOf(touchOnGet, 'touchOnGet'),
      max_age: maxAge === undefined ? undefined : `${timeOf(maxAge, undefined, 'maxAge')}ms`,
      patterns: patterns === undefined ? undefined : textOf(patterns, 'patterns'),
    };
    this.#exchange.check();
    const opened = native.view(this.#exchange.handle, JSON.stringify(document));
    if (Array.isArray(opened)) throw errorOf(opened);
    const exchange = new Exchange(opened, this.#exchange.root);
    exchange.namespace = namespace ?? this.#exchange.namespace;
    return new Cache(secret, exchange, this.#defaults.limited(timeout));
  }

  // ---- Switch and migration ----

  async switchTo(config, options) {
    const { copy, rate } = optionsOf(options, SWITCH);
    flagOf(copy, 'copy');
    rateOf(rate);
    const text = configOf(config);
    this.#exchange.check();
    const report = await switchTo(this.#exchange, text, { copy, rate });
    this.#defaults.replace(text);
    await this.#exchange.root.place.change();
    return report;
  }

  async migrateTo(target, options) {
    if (typeof target !== 'object' || target === null || !(#exchange in target)) throw invalidType('the target is not a Cache');
    const { signal, onProgress, pattern, rate, dryRun, resume } = optionsOf(options, MIGRATE);
    flagOf(dryRun, 'dryRun');
    rateOf(rate);
    if (pattern !== undefined) textOf(pattern, 'pattern');
    if (resume !== undefined) textOf(resume, 'resume');
    if (onProgress !== undefined && typeof onProgress !== 'function') throw invalidType('onProgress is not a function');
    this.#exchange.check(signal);
    target.#exchange.check();
    return migrate(this.#exchange, target.#exchange, { pattern, rate, dry_run: dryRun, resume }, onProgress, signal);
  }

  // ---- Reports and the end ----

  stats(options) {
    return this.#ask(Kind.STATS, decode.json, options);
  }

  health(options) {
    return this.#ask(Kind.HEALTH, decode.json, options);
  }

  explain(key, options) {
    return attempt(() => {
      const { tags, signal } = optionsOf(options, EXPLAIN);
      return this.#exchange.request(Kind.EXPLAIN, 0, given(key, 'key'), undefined, tagsOf(tags), 0, decode.json, signal);
    });
  }

  metrics(options) {
    return this.#ask(Kind.METRICS, decode.text, options);
  }

  static {
    handleOf = (cache) => {
      if (typeof cache !== 'object' || cache === null || !(#exchange in cache)) throw invalidType('a value of the caches is not a Cache');
      return cache.#exchange.handle;
    };
  }

  static {
    traceMethods(Cache, (cache) => cache.#exchange, [
      'getJson', 'delete', 'exists', 'expire', 'ttl', 'getInfo', 'getVersioned', 'setIf', 'deleteIf', 'getAndExpire', 'counterAdd',
      'publish', 'getOrLoadMany', 'getOrLease', 'getMany', 'setMany', 'deleteMany', 'invalidateTags', 'invalidatePattern', 'clear',
      'flush', 'search', 'switchTo', 'migrateTo', 'stats', 'health', 'explain', 'metrics', 'ping',
    ]);
  }

  ping(options) {
    return this.#ask(Kind.PING, decode.nothing, options);
  }

  #ask(kind, form, options) {
    return attempt(() => {
      const { signal } = optionsOf(options, CALL);
      return this.#exchange.request(kind, 0, undefined, undefined, undefined, 0, form, signal);
    });
  }

  get capabilities() {
    this.#exchange.check();
    const flags = native.capabilities(this.#exchange.handle);
    const can = (flag) => (flags & flag) !== 0;
    return {
      list: can(1), count: can(2), share: can(4), size: can(8), compare: can(16), command: can(32), publish: can(64), near: can(128), events: can(256),
    };
  }

  close(options) {
    return attempt(() => {
      const { timeout } = optionsOf(options, CLOSE);
      const timeoutMs = timeout === undefined ? CLOSE_DEFAULT : sizeOf(timeout, 0, 'timeout');
      if (this.#closing === undefined) {
        this.#closing = this.#exchange.close(timeoutMs);
        this.#loading.close();
      }
      return this.#closing;
    });
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Cache.prototype, Symbol.asyncDispose, {
    configurable: true,
    writable: true,
    value: function dispose() {
      return this.close();
    },
  });
}

// ---- Many caches ----

/** Returns a promise of the metrics of caches, by their names, as one text. */
function metricsOf(caches, options) {
  return attempt(() => {
    const { signal } = optionsOf(options, CALL);
    if (signal !== undefined) checkSignal(signal);
    const asked = namedCaches(caches).flatMap(([name, cache]) => [handleOf(cache), textOf(name, 'name of a cache')]);
    const text = native.metricsOf(asked).then((answer) => {
      if (Array.isArray(answer)) throw errorOf(answer);
      return answer;
    });
    return abortable(text, signal, () => {});
  });
}

/** Returns the names and caches of a plain object, of any realm. The contents of other objects would be ignored. */
function namedCaches(caches) {
  const prototype = typeof caches === 'object' && caches !== null ? Object.getPrototypeOf(caches) : undefined;
  if (prototype === undefined || (prototype !== null && Object.getPrototypeOf(prototype) !== null)) {
    throw invalidType('the caches are not a plain object: pass { name: cache }');
  }
  return Object.entries(caches);
}

module.exports = { Cache, checkConfig, checkConfigFile, metricsOf };
