'use strict';

/** The store: see index.d.ts for what each thing means. */

const { createHash } = require('node:crypto');
const { EventEmitter } = require('node:events');
const { Keyv } = require('keyv');

const TEXT = { encoding: 'utf8' };

/** The keys of one read of an iterator. */
const PAGE = 100;

/** Returns the namespace of the library for one of Keyv, which may have any characters. */
function namespaceOf(name) {
  if (/^[\w.-]{1,64}$/.test(name)) return name;
  return `sha256.${createHash('sha256').update(name).digest('base64url')}`;
}

/** Returns a value as it is stored. */
function given(value) {
  if (typeof value !== 'string') throw new TypeError(`the store takes values that Keyv has serialized, not a value of type ${typeof value}`);
  return value;
}

class KeyvYokedCache extends EventEmitter {
  // Keyv gives an iterator to the stores of databases whose names it knows.
  opts = { dialect: 'redis', url: '' };
  namespace;
  #cache;
  #views = new Map();

  constructor(cache, options = {}) {
    super();
    this.#cache = cache;
    this.namespace = options.namespace;
  }

  #view(namespace = this.namespace) {
    const name = namespaceOf(namespace || 'keyv');
    let view = this.#views.get(name);
    if (view === undefined) {
      view = this.#cache.view({ namespace: name });
      this.#views.set(name, view);
    }
    return view;
  }

  async get(key) {
    try {
      return await this.#view().get(key, TEXT);
    } catch (error) {
      // Keyv returns this error as a miss, without an event, unless throwOnErrors is set.
      if (this.listenerCount('error') > 0) this.emit('error', error);
      throw error;
    }
  }

  async getMany(keys) {
    return this.#view().getMany(keys, TEXT);
  }

  async set(key, value, ttl = Infinity) {
    await this.#view().set(key, given(value), { ttl });
    return true;
  }

  async setMany(entries) {
    const view = this.#view();
    const byTtl = new Map();
    for (const { key, value, ttl = Infinity } of entries) {
      if (!byTtl.has(ttl)) byTtl.set(ttl, []);
      byTtl.get(ttl).push([key, given(value)]);
    }
    await Promise.all([...byTtl].map(([ttl, pairs]) => view.setMany(pairs, { ttl })));
    return entries.map(() => true);
  }

  async delete(key) {
    return this.#view().delete(key);
  }

  async deleteMany(keys) {
    return (await this.#view().deleteMany(keys)).every(Boolean);
  }

  async clear() {
    await this.#view().clear();
  }

  async has(key) {
    return this.#view().exists(key);
  }

  async hasMany(keys) {
    return (await this.#view().getMany(keys)).map((value) => value !== undefined);
  }

  async *iterator(namespace) {
    const view = this.#view(namespace);
    const read = async (keys) => (await view.getMany(keys, TEXT)).flatMap((value, at) => (value === undefined ? [] : [[keys[at], value]]));
    let page = [];
    for await (const key of view.keys('*', { pageSize: PAGE })) {
      page.push(key);
      if (page.length < PAGE) continue;
      yield* await read(page);
      page = [];
    }
    yield* await read(page);
  }

  async disconnect() {
    const views = [...this.#views.values()];
    this.#views.clear();
    await Promise.all(views.map((view) => view.close()));
  }
}

function createKeyv(cache, options = {}) {
  const { namespace = 'keyv', ...rest } = options;
  const store = new KeyvYokedCache(cache, { namespace });
  return new Keyv({ throwOnErrors: true, ...rest, store, namespace, useKeyPrefix: false });
}

exports.KeyvYokedCache = KeyvYokedCache;
exports.createKeyv = createKeyv;
