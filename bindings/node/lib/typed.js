'use strict';

/** A view of a cache whose values are of one type, which a codec turns into bytes and back. */

const { isUint8Array } = require('node:util').types;
const { attempt, listOf } = require('./arguments.js');
const { CodecError, invalidType, shown } = require('./error.js');
const { TYPED_OPTIONS, formOf } = require('./loading.js');
const { optionsOf, optionsSet } = require('./options.js');
const { traceMethods } = require('./tracing.js');

const CALL = optionsSet('signal');
const GET = optionsSet('fresh', 'signal');

const JSON_CODEC = {
  name: 'JSON',
  encoding: 'utf8',
  encode: (value) => JSON.stringify(value),
  decode: (text) => JSON.parse(text),
};

function codecOf(codec) {
  if (codec === undefined) return JSON_CODEC;
  if (codec === null || typeof codec !== 'object') throw invalidType('the codec is not an object');
  for (const name of ['encode', 'decode']) if (typeof codec[name] !== 'function') throw invalidType(`${name} of the codec is not a function`);
  if (codec.encoding !== undefined && codec.encoding !== 'utf8' && codec.encoding !== 'buffer') throw invalidType("encoding of the codec is neither 'utf8' nor 'buffer'");
  if (codec.name !== undefined && typeof codec.name !== 'string') throw invalidType('name of the codec is not a string');
  return codec;
}

class Typed {
  #cache;
  #loading;
  #codec;
  #name;
  #encoding;
  #form;

  constructor(cache, loading, codec) {
    this.#cache = cache;
    this.#loading = loading;
    this.#codec = codecOf(codec);
    this.#name = this.#codec.name ?? 'codec';
    this.#encoding = this.#codec.encoding ?? 'buffer';
    const decode = (raw, key) => this.#decode(raw, key);
    this.#form = formOf(this.#encoding, (value, key) => (value === undefined ? undefined : this.#encode(value, key)), decode);
  }

  // ---- Codec ----

  #encode(value, key) {
    let bytes;
    try {
      bytes = this.#codec.encode(value);
    } catch (error) {
      throw this.#failure('encode the value', key, error);
    }
    // A copy: the codec may use its memory again.
    if (isUint8Array(bytes)) return Buffer.from(bytes);
    if (typeof bytes === 'string') return bytes;
    throw this.#failure('encode the value', key, invalidType(`encode() returned a value of type ${typeof bytes}; it takes a string or a Uint8Array`));
  }

  #decode(raw, key) {
    let value;
    try {
      value = this.#codec.decode(raw);
    } catch (error) {
      throw this.#failure('decode the value', key, error);
    }
    // It would look like a miss.
    if (value === undefined) throw this.#failure('decode the value', key, invalidType('decode() returned undefined'));
    return value;
  }

  #failure(what, key, cause) {
    return new CodecError(`${this.#name} cannot ${what} of the key ${shown(key)}: ${cause?.message ?? String(cause)}`, key, this.#name, cause);
  }

  /** Returns the value to set. */
  #given(value, key) {
    if (value === undefined) throw invalidType('the value is undefined, which stands for a miss; delete() removes a key');
    if (typeof key !== 'string' && !isUint8Array(key)) throw invalidType('the key is not a string or a Uint8Array');
    return this.#encode(value, key);
  }

  #found(raw, key) {
    return raw === undefined ? undefined : this.#decode(raw, key);
  }

  #read(options) {
    return { signal: optionsOf(options, CALL).signal, encoding: this.#encoding };
  }

  // ---- Methods ----

  get cache() {
    return this.#cache;
  }

  async get(key, options) {
    const { fresh, signal } = optionsOf(options, GET);
    return this.#found(await this.#cache.get(key, { fresh, signal, encoding: this.#encoding }), key);
  }

  set(key, value, options) {
    return attempt(() => this.#cache.set(key, this.#given(value, key), options));
  }

  async getVersioned(key, options) {
    const found = await this.#cache.getVersioned(key, this.#read(options));
    return found === undefined ? undefined : { value: this.#decode(found.value, key), version: found.version };
  }

  setIf(key, value, options) {
    return attempt(() => this.#cache.setIf(key, this.#given(value, key), options));
  }

  async getAndExpire(key, ttl, options) {
    return this.#found(await this.#cache.getAndExpire(key, ttl, this.#read(options)), key);
  }

  async getMany(keys, options) {
    const list = Array.from(listOf(keys, 'keys'));
    const found = await this.#cache.getMany(list, this.#read(options));
    return found.map((raw, at) => this.#found(raw, list[at]));
  }

  setMany(entries, options) {
    return attempt(() => {
      const pairs = listOf(entries, 'entries').map((entry) => listOf(entry, 'key and value of an entry'));
      return this.#cache.setMany(pairs.map(([key, value]) => [key, this.#given(value, key)]), options);
    });
  }

  getOrLoad(key, loader, options) {
    try {
      return this.#loading.one(key, loader, options, TYPED_OPTIONS, this.#form);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  getOrLoadMany(keys, loader, options) {
    return attempt(() => this.#loading.many(keys, loader, options, TYPED_OPTIONS, this.#form));
  }

  static {
    // The other methods call those of the cache.
    traceMethods(Typed, (typed) => typed.#loading.exchange, ['getOrLoad', 'getOrLoadMany']);
  }

  delete(key, options) {
    return this.#cache.delete(key, options);
  }

  deleteMany(keys, options) {
    return this.#cache.deleteMany(keys, options);
  }
}

module.exports = { Typed };
