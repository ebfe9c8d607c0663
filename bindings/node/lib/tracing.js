'use strict';

/** Traces of calls: the TracingChannel `yokedcache:command` of node:diagnostics_channel. */

const diagnostics = require('node:diagnostics_channel');

/** Node 18 has TracingChannel from 18.19 on: without it nothing is traced. */
const channel = diagnostics.tracingChannel?.('yokedcache:command');
const { start, end, asyncStart, asyncEnd, error } = channel ?? {};

/** Returns true if a subscriber receives calls. */
const isTraced = channel === undefined
  ? () => false
  : () => start.hasSubscribers || asyncEnd.hasSubscribers || error.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers;

/** The place of a cache, as its configuration names it. */
class Place {
  #read;
  #reading;
  /** The fields of contexts that are known. */
  known = {};

  /** `read` returns a promise of the summary of the configuration. */
  constructor(read) {
    this.#read = read;
  }

  /** Reads the configuration, once. The promise is never rejected: a file that is gone has no fields. */
  describe() {
    return (this.#reading ??= this.#read().then((summary) => { this.known = fieldsOf(summary); }, () => {}));
  }

  /** The cache has another configuration now. */
  async change() {
    if (this.#reading === undefined) return;
    this.#reading = undefined;
    await this.describe();
  }
}

/** Returns the fields of contexts: a server if the cache has one alone. */
function fieldsOf({ backend, key_prefix: keyPrefix, servers = [], topology }) {
  const isOne = servers.length === 1 && (topology === undefined || topology === 'single');
  const [, host, port] = (isOne && /^\[?(.*?)\]?:(\d+)$/.exec(servers[0])) || [];
  const serverAddress = host ?? (isOne ? servers[0] : undefined);
  return { backend, keyPrefix, serverAddress, serverPort: port === undefined ? undefined : Number(port) };
}

function contextOf({ root, namespace }, operation) {
  root.place.describe();
  return { operation, ...root.place.known, namespace };
}

/** Publishes a call, which returns a promise. */
function trace(exchange, operation, call) {
  return channel.tracePromise(call, contextOf(exchange, operation));
}

/**
 * Replaces methods that return promises by ones that publish their calls if there is a subscriber. They take up to three arguments.
 * `exchangeOf` returns the exchange of an object of the class.
 */
function traceMethods(Class, exchangeOf, names) {
  for (const name of names) {
    const plain = Class.prototype[name];
    const traced = function traced(first, second, third) {
      if (!isTraced()) return plain.call(this, first, second, third);
      try {
        return trace(exchangeOf(this), name, () => plain.call(this, first, second, third));
      } catch (error) {
        return Promise.reject(error);
      }
    };
    Object.defineProperty(traced, 'name', { value: name });
    Object.defineProperty(Class.prototype, name, { value: traced });
  }
}

module.exports = { Place, isTraced, trace, traceMethods };
