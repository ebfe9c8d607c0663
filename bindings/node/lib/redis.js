'use strict';

/** Commands of Redis on the connections of a cache. */

const native = require('./native.js');
const { attempt, bytesOf, encodingOf, listOf } = require('./arguments.js');
const decode = require('./decode.js');
const { errorOf } = require('./error.js');
const { Kind } = require('./kind.js');
const { flagOf, optionsOf, optionsSet } = require('./options.js');
const { traceMethods } = require('./tracing.js');

const OPTIONS = optionsSet('idempotent', 'encoding', 'signal');
const IDEMPOTENT = 2;
const NO_KEY = -1;

/** An argument that is a key. */
class RedisKey {
  constructor(key, isRaw) {
    // A copy: the bytes may change before the command is sent.
    Object.freeze(Object.assign(this, { key: bytesOf(key, 'key'), isRaw }));
  }
}

class Redis {
  #exchange;

  constructor(exchange) {
    this.#exchange = exchange;
  }

  key(key) {
    return new RedisKey(key, false);
  }

  rawKey(name) {
    return new RedisKey(name, true);
  }

  command(args, options) {
    return attempt(() => {
      const { idempotent, encoding, signal } = optionsOf(options, OPTIONS);
      const list = listOf(args, 'arguments');
      const flags = flagOf(idempotent, 'idempotent') ? IDEMPOTENT : 0;
      const form = decode.reply[encodingOf(encoding, 'buffer')];
      this.#exchange.check(signal);
      const key = list.findIndex((arg) => arg instanceof RedisKey);
      const words = list.map((arg) => this.#wordOf(arg));
      return this.#exchange.request(Kind.REDIS_COMMAND, flags, undefined, undefined, words, key < 0 ? NO_KEY : key, form, signal);
    });
  }

  static {
    traceMethods(Redis, (redis) => redis.#exchange, ['command']);
  }

  #wordOf(arg) {
    if (typeof arg === 'number' || typeof arg === 'bigint') return String(arg);
    if (!(arg instanceof RedisKey)) return arg;
    return arg.isRaw ? arg.key : this.#nameOf(arg.key);
  }

  #nameOf(key) {
    const name = native.redisName(this.#exchange.handle, key);
    if (Array.isArray(name)) throw errorOf(name);
    return name;
  }
}

module.exports = { Redis, RedisKey };
