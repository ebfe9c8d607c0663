'use strict';

/** Leases: the right to load a key, and the replies of the reads that give them. */

const { attempt, tagsOf, timeOf, ttlOf } = require('./arguments.js');
const decode = require('./decode.js');
const { invalidType, outOfRange } = require('./error.js');
const { NO_WAIT } = require('./exchange.js');
const { Kind } = require('./kind.js');
const { optionsOf, optionsSet } = require('./options.js');
const { traceMethods } = require('./tracing.js');

const FILL = optionsSet('ttl', 'staleFor', 'tags', 'signal');
const ABANDON = optionsSet('retryAfter', 'signal');
const LEASE_DEFAULT = 0;
const WAIT_DEFAULT = 0;
const STALE_FOR_DEFAULT = -1;
const FILL_ABSENT = 1;
const OK = 0;
/** The names of the statuses of a read. */
const STATES = { 0: 'fresh', 3: 'stale', 4: 'absent', 5: 'leased' };

// ---- Arguments ----

function leaseOf(lease) {
  if (lease === 0) throw outOfRange('lease is 0; it takes 1 or more milliseconds');
  return timeOf(lease, LEASE_DEFAULT, 'lease');
}

/** Returns the wait_ms of the library, where 0 selects the default and -1 does not wait. */
function waitOf(wait) {
  const time = timeOf(wait, WAIT_DEFAULT, 'wait');
  return wait !== undefined && time === 0 ? NO_WAIT : Math.min(time, 0x7fffffff);
}

const staleForOf = (staleFor) => timeOf(staleFor, STALE_FOR_DEFAULT, 'staleFor');
const retryAfterOf = (retryAfter) => timeOf(retryAfter, 0, 'retryAfter');

// ---- Leases ----

/** Frees the leases that their holders forgot. */
const forgotten = new FinalizationRegistry(({ exchange, number }) => exchange.freeLease(number));

/** Stores a result whose arguments are checked, see `Lease.fill`. */
const store = Symbol('store');

class Lease {
  #exchange;
  /** Identifies the lease in the native part; 0 once it is freed. */
  #number;
  #isInUse = false;
  #isReleased = false;

  constructor(exchange, number) {
    this.#exchange = exchange;
    this.#number = number;
    forgotten.register(this, { exchange, number }, this);
  }

  fill(value, options) {
    return attempt(() => {
      const { ttl, staleFor, tags, signal } = optionsOf(options, FILL);
      if (value === null) throw invalidType('the value is null; it takes a string, a Uint8Array, or undefined for an absence');
      return this[store](value, ttlOf(ttl), staleForOf(staleFor), tagsOf(tags), signal);
    });
  }

  [store](value, ttl, staleFor, tags, signal) {
    const flags = value === undefined ? FILL_ABSENT : 0;
    return this.#use(signal, (limit) => this.#exchange.request(
      Kind.LEASE_FILL, flags, undefined, value, tags, ttl, decode.wasThere, signal, { limit, first: BigInt(staleFor) }));
  }

  abandon(options) {
    return attempt(() => {
      const { retryAfter, signal } = optionsOf(options, ABANDON);
      const time = retryAfterOf(retryAfter);
      return this.#use(signal, (limit) => this.#exchange.request(
        Kind.LEASE_ABANDON, 0, undefined, undefined, undefined, time, decode.nothing, signal, { limit }));
    });
  }

  static {
    traceMethods(Lease, (lease) => lease.#exchange, ['fill', 'abandon']);
  }

  release() {
    this.#isReleased = true;
    if (!this.#isInUse) this.#free();
  }

  /** Submits the one operation that uses the lease up. After a failure the lease is unused again. */
  async #use(signal, submit) {
    this.#exchange.check(signal);
    if (this.#number === 0 || this.#isInUse) throw outOfRange('the lease was used already: a lease is filled or abandoned once');
    this.#isInUse = true;
    try {
      const result = await submit(this.#number);
      this.#free();
      return result;
    } finally {
      this.#isInUse = false;
      if (this.#isReleased) this.#free();
    }
  }

  #free() {
    if (this.#number === 0) return;
    forgotten.unregister(this);
    this.#exchange.freeLease(this.#number);
    this.#number = 0;
  }
}

if (Symbol.dispose !== undefined) {
  Object.defineProperty(Lease.prototype, Symbol.dispose, { configurable: true, writable: true, value: Lease.prototype.release });
}

// ---- Replies ----

/** The reply of a read that is not simply a fresh value. */
class Found {
  constructor(state, value, lease, error) {
    this.state = state;
    this.value = value;
    this.lease = lease;
    this.error = error;
  }
}

function leaseIn(exchange, index) {
  const number = exchange.lease(index);
  return number === 0 ? undefined : new Lease(exchange, number);
}

/** Marks a decoder of replies that may bring a lease. */
const leasing = (decoder) => Object.assign(decoder, { mayLease: true });

/** Returns a decoder to { state, value, lease }. */
function described(read) {
  return leasing((exchange, index) => {
    const lease = leaseIn(exchange, index);
    return { state: STATES[exchange.status(index)], value: read(exchange, index), lease };
  });
}

/** Returns a decoder to a fresh value without a lease, which is the usual case, or else to a `Found`. */
function valueOrFound(read) {
  return leasing((exchange, index) => {
    const status = exchange.status(index);
    if (status === OK && exchange.lease(index) === 0) return read(exchange, index);
    const lease = leaseIn(exchange, index);
    return new Found(STATES[status], read(exchange, index), lease, undefined);
  });
}

const { utf8, buffer } = decode.value;

module.exports = {
  Found, leaseOf, retryAfterOf, staleForOf, store, waitOf,
  described: { utf8: described(utf8), buffer: described(buffer) },
  valueOrFound: { utf8: valueOrFound(utf8), buffer: valueOrFound(buffer) },
};
