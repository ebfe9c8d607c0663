'use strict';

/**
 * The loads that run in this process. A load is one call of a loader; it has a flight for each of its keys, which other callers
 * may join. They take the loaded value if the store took it too: then nothing changed the key since its lease was taken. Else only those
 * take it whose calls began before the loader was called.
 */

const { setImmediate: turn } = require('node:timers/promises');
const { YokedCacheError } = require('./error.js');
const { store } = require('./lease.js');
const { Signals } = require('./signals.js');

/** The outcome of a flight whose value its joined callers may not use: each reads the key again. */
const AGAIN = Object.freeze({ again: true });
/** The outcome of a wait that ended too early for those who joined it: each waits for itself. */
const ALONE = Object.freeze({ alone: true });
/** What a caller does whose read found no value to serve: it loads, joins a load, waits for the end of one, or asks the store again. */
const Role = Object.freeze({ LEAD: 0, JOIN: 1, END: 2, STORE: 3 });
/** The most operations of one call that are in flight at a time: fewer than a server accepts (max_pending). */
const GROUP = 256;
const ignore = () => {};

/** Awaits `each(item)` for every item, a group at a time; returns the results. */
async function inGroups(list, each) {
  const results = [];
  for (let at = 0; at < list.length; at += GROUP) results.push(...(await Promise.all(list.slice(at, at + GROUP).map(each))));
  return results;
}

function stillLoading() {
  return new YokedCacheError('YC_E_BUSY', 'another caller is still loading the key: try again, or wait longer (wait)', true);
}

/** One caller that waits for a load. */
class Waiter {
  /** `order`: when its call began, see `Flights.order`. */
  constructor(load, others, signals, order) {
    Object.assign(this, { load, others, signals, order, timer: undefined });
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }

  /** Waits until the signal, or for so many milliseconds; undefined: without an end of its own. */
  begin(signal, waitMs) {
    this.others.add(this);
    this.load.waiting += 1;
    if (signal !== undefined) this.signals.watch(signal, this);
    if (signal?.aborted) this.leave(signal.reason);
    else if (waitMs !== undefined) this.timer = setTimeout(() => this.leave(stillLoading()), Math.min(waitMs, 0x7fffffff));
    return this.promise;
  }

  settle(outcome) {
    this.end();
    this.resolve(outcome);
  }

  leave(reason) {
    this.end();
    this.reject(reason);
    this.load.left(reason);
  }

  end() {
    clearTimeout(this.timer);
    this.signals.forget(this);
    this.others.delete(this);
    this.load.waiting -= 1;
  }
}

/** A wait for another process, or for the end of a loader, which any number of callers may join. */
class Watch {
  constructor(signals) {
    this.signals = signals;
    this.waiting = 0;
    this.joined = new Set();
  }

  wait(signal, waitMs) {
    return new Waiter(this, this.joined, this.signals).begin(signal, waitMs);
  }

  /** The wait depends on none of those who joined it. */
  left() {}

  end(outcome) {
    for (const waiter of this.joined) waiter.settle(outcome);
  }
}

/** The load of one key. */
class Flight {
  constructor(load, { key, id, lease }) {
    Object.assign(this, { load, key, id, lease });
    this.isOpen = true;
    this.joined = new Set();
  }

  /**
   * Gives the joined callers their outcome. No caller joins any more. `ofEarlier` is the outcome of those whose calls began before the
   * loader was called: it has seen every change that came before them. So they share a load even if each load is superseded or refused.
   */
  end(outcome, ofEarlier = outcome) {
    this.isOpen = false;
    for (const waiter of this.joined) waiter.settle(waiter.order < this.load.order ? ofEarlier : outcome);
  }
}

/** One call of a loader. */
class Load {
  /** `parent`: the load whose loader begins this one, if it passes its signal on. */
  constructor(flights, entries, isBackground, parent) {
    this.all = flights;
    this.isBackground = isBackground;
    this.parent = parent;
    this.ids = new Set(entries.map(({ id }) => id));
    this.controller = new AbortController();
    this.waiting = 0;
    this.callers = new Set();
    /** True once no result can be used: all callers have left, or the cache is closed. */
    this.isCancelled = false;
    /** True once the loader has returned its values. */
    this.hasLoaded = false;
    this.hasSettled = false;
    /** True once the loader has settled or its leases have expired: then another loader may run for its keys. */
    this.isOver = false;
    /** When the loader was called, see `Flights.order`; undefined before. */
    this.order = undefined;
    /** Those who wait for the end of the loader. */
    this.ending = new Watch(flights.signals);
    this.timer = undefined;
    this.flights = entries.map((entry) => new Flight(this, entry));
  }

  /**
   * Returns a promise of the outcomes by the ids of the keys, for the caller that runs the loader. It is rejected if the load is cancelled
   * already: its loader has closed the cache before it returned.
   */
  outcomes(signal) {
    if (this.isCancelled) return Promise.reject(this.controller.signal.reason);
    return new Waiter(this, this.callers, this.all.signals).begin(signal, undefined);
  }

  /** A caller has left. A load that no caller waits for is cancelled. */
  left(reason) {
    if (this.waiting === 0 && !this.isBackground && !this.hasLoaded) this.cancel(reason);
  }

  cancel(reason) {
    if (this.isCancelled) return;
    this.isCancelled = true;
    for (const flight of this.flights) {
      flight.end(AGAIN);
      flight.lease?.release();
    }
    this.controller.abort(reason);
  }

  /**
   * The loader has settled. A caller that comes from now on joins no more: its call may begin after an invalidation that comes
   * after the fill, before the reply to the fill is here.
   */
  land() {
    this.hasLoaded = true;
    for (const flight of this.flights) flight.isOpen = false;
  }

  /** The leases have expired: callers no longer wait for this loader, except the one that runs it. */
  expire() {
    if (this.isBackground) this.cancel(new DOMException('the lease of the refresh has expired', 'TimeoutError'));
    for (const flight of this.flights) {
      flight.end(AGAIN);
      this.all.forget(flight);
    }
    this.end();
    this.left(stillLoading());
  }

  end() {
    this.isOver = true;
    this.ending.end(AGAIN);
  }

  /** The cache is closed. */
  close(error) {
    for (const waiters of [this.callers, this.ending.joined, ...this.flights.map(({ joined }) => joined)]) {
      for (const waiter of waiters) waiter.leave(error);
    }
    this.cancel(error);
  }
}

class Flights {
  constructor() {
    /** The last flight of each key, also one whose callers have all left while its loader still runs. */
    this.byId = new Map();
    this.loads = new Set();
    this.ordered = 0;
    /** The loads by the signals of their loaders. */
    this.bySignal = new WeakMap();
    this.signals = new Signals({ abort: (waiter, reason) => waiter.leave(reason) });
  }

  /**
   * Returns the role of a caller by what its read has found. A load without a lease is joined only by callers that found the store down,
   * too: the store cannot tell that nothing changed the key meanwhile, and a caller that reached it may have come after a change.
   */
  roleOf(id, { state, lease }) {
    const flight = this.byId.get(id);
    const isOpen = flight?.isOpen === true;
    if (lease !== undefined || (state === 'down' && !isOpen)) return this.isRunning(id) ? Role.END : Role.LEAD;
    return isOpen && (state === 'down' || flight.lease !== undefined) ? Role.JOIN : Role.STORE;
  }

  /** Returns true if a call with this signal comes from a loader of the key: it would wait for itself. */
  isWithin(signal, id) {
    let load = this.bySignal.get(signal);
    while (load !== undefined && (load.hasSettled || !load.ids.has(id))) load = load.parent;
    return load !== undefined;
  }

  /** Returns a number that is larger than those of all calls and loaders that have begun before. */
  order() {
    return (this.ordered += 1);
  }

  /** Returns true while no other loader may run for a key. */
  isRunning(id) {
    return this.byId.get(id)?.load.isOver === false;
  }

  /** Joins the flight of a key; returns a promise of its outcome. */
  join(id, order, signal, waitMs) {
    const flight = this.byId.get(id);
    return new Waiter(flight.load, flight.joined, this.signals, order).begin(signal, waitMs);
  }

  /** Returns a promise that is fulfilled when another loader may run for a key. */
  ended(id, signal, waitMs) {
    return this.isRunning(id) ? this.byId.get(id).load.ending.wait(signal, waitMs) : AGAIN;
  }

  /**
   * Begins a load of { key, id, lease }, for whose keys no loader runs. `call(flights, signal)` returns a promise of
   * { value, ttl, staleFor, tags } by id; `leaseMs` is a promise of the time after which the leases expire; `signal` is that of the
   * caller. Take the outcomes in the same turn.
   */
  begin(entries, call, { leaseMs, retryAfter, isBackground, signal }) {
    const load = new Load(this, entries, isBackground, this.bySignal.get(signal));
    this.loads.add(load);
    this.bySignal.set(load.controller.signal, load);
    for (const flight of load.flights) this.byId.set(flight.id, flight);
    this.limit(load, leaseMs);
    this.run(load, call, retryAfter);
    return load;
  }

  async limit(load, leaseMs) {
    const time = await leaseMs;
    if (this.loads.has(load)) load.timer = setTimeout(() => load.expire(), time).unref();
  }

  async run(load, call, retryAfter) {
    try {
      const outcomes = await this.outcomesOf(load, call, retryAfter);
      for (const waiter of load.callers) waiter.settle(outcomes);
    } finally {
      clearTimeout(load.timer);
      this.loads.delete(load);
      load.end();
      for (const flight of load.flights) this.forget(flight);
    }
  }

  forget(flight) {
    if (this.byId.get(flight.id) === flight) this.byId.delete(flight.id);
  }

  async outcomesOf(load, call, retryAfter) {
    const results = await this.resultsOf(load, call);
    if (load.isCancelled) return new Map();
    load.land();
    const { values, error } = results;
    const end = (flight) => (error === undefined ? this.fill(flight, values.get(flight.id), retryAfter) : this.fail(flight, error, retryAfter));
    return new Map(await inGroups(load.flights, async (flight) => [flight.id, await end(flight)]));
  }

  async resultsOf(load, call) {
    if (load.isBackground) await turn(); // The caller gets its stale value first.
    if (load.isCancelled) return { values: new Map() };
    load.order = this.order();
    try {
      return { values: await call(load.flights, load.controller.signal) };
    } catch (error) {
      return { error: { reason: error } };
    } finally {
      load.hasSettled = true;
      load.end();
    }
  }

  /** Stores a loaded value; returns the outcome for the caller that runs the loader. */
  async fill(flight, { value, ttl, staleFor, tags }, retryAfter) {
    const outcome = { value };
    try {
      const isShared = flight.lease === undefined || (await flight.lease[store](value, ttl, staleFor, tags, undefined));
      flight.end(isShared ? outcome : AGAIN, outcome);
    } catch (error) {
      // An argument that the library refuses would be refused at each load: it is an error of the loader.
      if (error.code === 'YC_E_INVALID' || error instanceof TypeError) return this.fail(flight, { reason: error }, retryAfter);
      flight.lease.release();
      // The store has not told whether the key was changed.
      flight.end(AGAIN, outcome);
    }
    return outcome;
  }

  async fail(flight, error, retryAfter) {
    await flight.lease?.abandon({ retryAfter }).catch(ignore);
    flight.lease?.release();
    flight.end({ error });
    return { error };
  }

  close(error) {
    for (const load of this.loads) load.close(error);
  }
}

module.exports = { AGAIN, ALONE, Flights, Role, Watch, inGroups, stillLoading };
