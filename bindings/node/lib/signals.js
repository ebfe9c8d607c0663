'use strict';

/** AbortSignals: what they end. `Signals` maps each to its operations, with one listener for any number of them. */

const { invalidType } = require('./error.js');

/** Throws the signal's reason if it is aborted already. */
function checkSignal(signal) {
  if (signal === null || typeof signal !== 'object' || typeof signal.aborted !== 'boolean') {
    throw invalidType('signal is not an AbortSignal');
  }
  if (signal.aborted) throw signal.reason;
}

/** Returns a promise that a signal rejects too. A result that arrives after that is passed to `discard`. */
function abortable(promise, signal, discard) {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason);
      promise.then(discard, () => {});
    };
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

class Signals {
  constructor(exchange) {
    this.exchange = exchange;
    this.watches = new Map();
    this.bySlot = new Map();
  }

  watch(signal, slot) {
    let watch = this.watches.get(signal);
    if (watch === undefined) {
      watch = { signal, slots: new Set(), onAbort: () => this.abort(watch) };
      this.watches.set(signal, watch);
      signal.addEventListener('abort', watch.onAbort);
    }
    watch.slots.add(slot);
    this.bySlot.set(slot, watch);
  }

  forget(slot) {
    if (this.bySlot.size === 0) return;
    const watch = this.bySlot.get(slot);
    if (watch === undefined) return;
    this.bySlot.delete(slot);
    watch.slots.delete(slot);
    if (watch.slots.size === 0) this.end(watch);
  }

  abort(watch) {
    this.end(watch);
    for (const slot of watch.slots) this.bySlot.delete(slot);
    for (const slot of watch.slots) this.exchange.abort(slot, watch.signal.reason);
  }

  end(watch) {
    this.watches.delete(watch.signal);
    watch.signal.removeEventListener('abort', watch.onAbort);
  }
}

module.exports = { Signals, abortable, checkSignal };
