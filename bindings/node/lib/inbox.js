'use strict';

/** An inbox: receives messages or events one after another. Subscriptions and readers of events are inboxes. */

const native = require('./native.js');
const { attempt, listOf, timeOf } = require('./arguments.js');
const { roomForList, writeList } = require('./bytes.js');
const { YokedCacheError, errorOf, invalidType, outOfRange } = require('./error.js');
const { optionsOf, optionsSet } = require('./options.js');
const { checkSignal } = require('./signals.js');

const RECEIVE = optionsSet('timeout', 'signal');
const OK = 0;
/** The longest time that a timer of Node takes. */
const MAX_TIMER = 0x7fffffff;
/** What is taken at once before Node's loop has its turn: a reader that always finds something never starves it. */
const AT_ONCE = 64;

const DONE = Object.freeze({ value: undefined, done: true });

/** Returns a promise that is settled when an inbox is open. */
let readyOf;

class Inbox {
  /** The native part; undefined until it is open. */
  #native;
  #what;
  #form;
  #asText;
  #signal;
  /** Settled when the inbox is open. */
  #ready;
  #settle;
  /** The calls that wait, in their order. */
  #waiters = new Set();
  #isWaiting = false;
  /** The number that was taken since Node's loop had its turn. */
  #taken = 0;
  /** The error of an inbox that is interrupted at present. */
  #outage;
  /** `{ error }` after the end. */
  #end;
  #isClosed = false;
  #onAbort = () => this.#finish(this.#signal.reason);

  /** `what` names the inbox; `opening` is a promise of the native part or an error; `form` makes an object of what was found. */
  constructor(what, opening, form, asText, signal) {
    this.#what = what;
    this.#form = form;
    this.#asText = asText;
    this.#signal = signal;
    this.#ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.#ready.catch(() => {}); // The calls that wait receive the error as well.
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    opening.then((made) => this.#begin(made)).catch((error) => this.#finish(error));
  }

  static {
    readyOf = (inbox) => inbox.#ready;
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
      // Closing the inbox or its cache ends a loop, as it was meant to.
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
    this.#finish(new YokedCacheError('YC_E_CLOSED', `the ${this.#what} was closed`));
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  // ---- Opening and the end ----

  #begin(made) {
    if (this.#end !== undefined) return Array.isArray(made) ? undefined : native.end(made);
    if (Array.isArray(made)) throw errorOf(made);
    this.#native = made;
    const failed = native.listen(made, this, this.#onReadable);
    if (failed !== undefined) throw errorOf(failed);
    this.#settle.resolve();
    this.#deliver();
    this.#watch();
  }

  /** Ends the inbox, and every call that waits. */
  #finish(error) {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#signal?.removeEventListener('abort', this.#onAbort);
    if (this.#native !== undefined) native.end(this.#native);
    this.#settle.reject(error);
    for (const waiter of this.#waiters) this.#forget(waiter).reject(error);
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

  /** Ends a wait for which nothing came. */
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
    if (this.#native === undefined || this.#end !== undefined || waits === this.#isWaiting) return;
    this.#isWaiting = waits;
    native.wait(this.#native, waits);
  }

  /** Node's loop calls it when there is something to take. */
  #onReadable() {
    this.#taken = 0;
    this.#deliver();
    this.#watch();
  }

  /** Gives what is there to the calls that wait. */
  #deliver() {
    for (const waiter of this.#waiters) {
      try {
        const item = this.#take();
        if (item === undefined) return;
        this.#taken += 1;
        this.#forget(waiter).resolve(item);
      } catch (error) {
        this.#forget(waiter).reject(error);
      }
    }
  }

  /** Takes a message or an event; returns undefined if none waits. */
  #take() {
    if (this.#native === undefined) return undefined;
    const found = [];
    const status = native.take(this.#native, this.#asText, found);
    this.#outage = undefined;
    if (status === OK) return this.#form(found);
    if (status > OK) return undefined;
    const [failure, isEnd] = found;
    const error = errorOf(failure);
    if (isEnd) this.#finish(error);
    else this.#outage = error;
    return undefined;
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Inbox.prototype, Symbol.asyncDispose, {
    configurable: true,
    writable: true,
    value: async function dispose() {
      this.close();
    },
  });
}

/** Checks the option `maxBytes`; 0: the default. */
function maxBytesOf(maxBytes) {
  if (maxBytes === undefined) return 0;
  if (typeof maxBytes !== 'number') throw invalidType('maxBytes is not a number');
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) throw outOfRange(`maxBytes is ${maxBytes}; it takes a whole number from 1`);
  return maxBytes;
}

const namesOf = (list, what) => (list === undefined ? [] : listOf(list, what));

/** Returns the bytes of two lists of names, one after the other. */
function bytesOfLists(first, firstName, second, secondName) {
  const list = Buffer.allocUnsafeSlow(roomForList(first, firstName) + roomForList(second, secondName));
  return list.subarray(0, writeList(list, writeList(list, 0, first, firstName), second, secondName));
}

module.exports = { Inbox, readyOf, maxBytesOf, namesOf, bytesOfLists };
