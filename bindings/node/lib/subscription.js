'use strict';

/** Channels: subscriptions, whose messages are received one after another. */

const native = require('../out/yokedcache.node');
const { attempt, encodingOf, listOf, timeOf } = require('./arguments.js');
const { roomForList, writeList } = require('./bytes.js');
const { YokedCacheError, errorOf, invalidType, outOfRange } = require('./error.js');
const { optionsOf, optionsSet } = require('./options.js');
const { abortable, checkSignal } = require('./signals.js');

const SUBSCRIBE = optionsSet('channels', 'patterns', 'maxBytes', 'encoding', 'signal');
const RECEIVE = optionsSet('timeout', 'signal');
const OK = 0;
/** The longest time that a timer of Node takes. */
const MAX_TIMER = 0x7fffffff;
/** The messages that are taken one after another before Node's loop has its turn: a reader of a busy channel never starves it. */
const AT_ONCE = 64;
/** Where the native part puts what it took. */
const found = [undefined, undefined, undefined];

const DONE = Object.freeze({ value: undefined, done: true });

function maxBytesOf(maxBytes) {
  if (maxBytes === undefined) return 0;
  if (typeof maxBytes !== 'number') throw invalidType('maxBytes is not a number');
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) throw outOfRange(`maxBytes is ${maxBytes}; it takes a whole number from 1`);
  return maxBytes;
}

const namesOf = (list, what) => (list === undefined ? [] : listOf(list, what));

/** Returns a promise of a subscription. */
function subscribe(exchange, options) {
  return attempt(() => {
    const { channels, patterns, maxBytes, encoding, signal } = optionsOf(options, SUBSCRIBE);
    const [names, globs] = [namesOf(channels, 'channels'), namesOf(patterns, 'patterns')];
    const limit = maxBytesOf(maxBytes);
    const asText = encodingOf(encoding, 'buffer') === 'utf8';
    exchange.check(signal);
    const list = Buffer.allocUnsafeSlow(roomForList(names, 'channel') + roomForList(globs, 'pattern'));
    const end = writeList(list, writeList(list, 0, names, 'channel'), globs, 'pattern');
    const subscribed = native.subscribe(exchange.handle, list.subarray(0, end), names.length, globs.length, limit);
    return abortable(subscribed.then((made) => opened(made, asText, signal)), signal, (subscription) => subscription.close());
  });
}

function opened(made, asText, signal) {
  if (Array.isArray(made)) throw errorOf(made);
  return new Subscription(made, asText, signal);
}

class Subscription {
  #native;
  #asText;
  #signal;
  /** The calls that wait for a message, in their order. */
  #waiters = new Set();
  #isWaiting = false;
  /** The number of messages that were taken since Node's loop had its turn. */
  #taken = 0;
  /** The error of a subscription that is interrupted at present. */
  #outage;
  /** `{ error }` after the end. */
  #end;
  #isClosed = false;
  #onAbort = () => this.#finish(this.#signal.reason);

  constructor(made, asText, signal) {
    this.#native = made;
    this.#asText = asText;
    this.#signal = signal;
    const failed = native.listen(made, this, this.#onReadable);
    if (failed !== undefined) throw errorOf(failed);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  // ---- The public methods ----

  receive(options) {
    return attempt(() => {
      const { timeout, signal } = optionsOf(options, RECEIVE);
      const time = timeOf(timeout, undefined, 'timeout');
      if (signal !== undefined) checkSignal(signal);
      return this.#receive(time, signal);
    });
  }

  async next() {
    try {
      return { value: await this.#receive(), done: false };
    } catch (error) {
      // Closing the subscription or its cache ends a loop, as it was meant to.
      if (this.#isClosed || error.code === 'YC_E_CLOSED') return DONE;
      throw error;
    }
  }

  async return(value) {
    this.close();
    return { value, done: true };
  }

  close() {
    this.#isClosed = true;
    this.#finish(new YokedCacheError('YC_E_CLOSED', 'the subscription was closed'));
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  // ---- Waiting ----

  #receive(timeout, signal) {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end.error);
      const waiter = { resolve, reject, timer: undefined, signal: undefined, onAbort: undefined };
      this.#waiters.add(waiter);
      if (this.#taken < AT_ONCE || timeout === 0) this.#deliver();
      if (!this.#waiters.has(waiter)) return;
      if (timeout === 0) this.#expire(waiter);
      else this.#arm(waiter, timeout, signal);
      this.#watch();
    });
  }

  #arm(waiter, timeout, signal) {
    if (timeout !== undefined) {
      waiter.timer = setTimeout(() => {
        this.#deliver();
        if (this.#waiters.has(waiter)) this.#expire(waiter);
        this.#watch();
      }, Math.min(timeout, MAX_TIMER));
    }
    if (signal !== undefined) {
      waiter.signal = signal;
      waiter.onAbort = () => {
        this.#forget(waiter).reject(signal.reason);
        this.#watch();
      };
      signal.addEventListener('abort', waiter.onAbort, { once: true });
    }
  }

  /** Ends a wait for which no message came. */
  #expire(waiter) {
    this.#forget(waiter);
    if (this.#outage === undefined) waiter.resolve(undefined);
    else waiter.reject(this.#outage);
  }

  #forget(waiter) {
    this.#waiters.delete(waiter);
    clearTimeout(waiter.timer);
    waiter.signal?.removeEventListener('abort', waiter.onAbort);
    return waiter;
  }

  /** Watches the descriptor while a call waits. */
  #watch() {
    const waits = this.#waiters.size > 0;
    if (waits === this.#isWaiting || this.#end !== undefined) return;
    this.#isWaiting = waits;
    native.wait(this.#native, waits);
  }

  /** Node's loop calls it when there is something to take. */
  #onReadable() {
    this.#taken = 0;
    this.#deliver();
    this.#watch();
  }

  /** Gives the messages that are there to the calls that wait. */
  #deliver() {
    for (const waiter of this.#waiters) {
      try {
        const message = this.#take();
        if (message === undefined) return;
        this.#taken += 1;
        this.#forget(waiter).resolve(message);
      } catch (error) {
        this.#forget(waiter).reject(error);
      }
    }
  }

  /** Takes a message; returns undefined if none waits. */
  #take() {
    const status = native.take(this.#native, this.#asText, found);
    const [first, second, lost] = found;
    found[0] = found[1] = undefined;
    this.#outage = undefined;
    if (status === OK) return { channel: first, data: second, lost };
    if (status > OK) return undefined;
    const error = errorOf(first);
    if (second) this.#finish(error);
    else this.#outage = error;
    return undefined;
  }

  /** Ends the subscription, and every call that waits. */
  #finish(error) {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#signal?.removeEventListener('abort', this.#onAbort);
    native.unsubscribe(this.#native);
    for (const waiter of this.#waiters) this.#forget(waiter).reject(error);
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Subscription.prototype, Symbol.asyncDispose, {
    configurable: true,
    writable: true,
    value: async function dispose() {
      this.close();
    },
  });
}

module.exports = { subscribe };
