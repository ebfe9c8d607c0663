'use strict';

/** getOrLoad and getOrLoadMany: reads keys, and loads those that this process has to load. */

const { setImmediate: turn } = require('node:timers/promises');
const { isMap, isUint8Array } = require('node:util').types;
const { given, listOf, tagsOf, ttlOf } = require('./arguments.js');
const { roomFor } = require('./bytes.js');
const { YokedCacheError, invalidType, outOfRange, shown } = require('./error.js');
const { NO_WAIT } = require('./exchange.js');
const { AGAIN, ALONE, Flights, Role, Watch, inGroups, stillLoading } = require('./flights.js');
const { Found, leaseOf, retryAfterOf, staleForOf, valueOrFound, waitOf } = require('./lease.js');
const { flagOf, optionsOf, optionsSet } = require('./options.js');

const LOAD = ['ttl', 'staleFor', 'tags', 'signal', 'wait', 'lease', 'staleIfError', 'retryAfter', 'absentTtl', 'fresh', 'onRefreshError'];
const OPTIONS = optionsSet(...LOAD, 'encoding');
const TYPED_OPTIONS = optionsSet(...LOAD);
/** The longest wait of a read, a day. */
const LONGEST_WAIT = 86_400_000;
/** The errors of a read which mean that the store is down, as each retryable error does. A call returns all others and loads nothing. */
const DOWN = new Set(['YC_E_CONNECT', 'YC_E_AUTH', 'YC_E_TLS', 'YC_E_TIMEOUT', 'YC_E_SERVER_MEMORY']);

// ---- Keys and values ----

/** Returns a string that two keys share exactly if they are the same bytes. Half a surrogate pair marks bytes that are no text. */
function idOf(key) {
  if (typeof key === 'string') return key;
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const text = bytes.toString();
  return Buffer.byteLength(text) === bytes.length && Buffer.from(text).equals(bytes) ? text : `\ud800${bytes.latin1Slice()}`;
}

const bufferOf = (bytes) => (typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes));
const stringOf = (bytes) => (typeof bytes === 'string' ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());

/** Checks that a loaded value is bytes or undefined. A copy: its loader may change it while it is stored and shared. */
function bytesOrNone(value) {
  if (value === undefined || typeof value === 'string') return value;
  if (!isUint8Array(value)) throw invalidType('the loader returned a value that is not a string, a Uint8Array or undefined: cache.typed() stores other values');
  roomFor(value, 'loaded value');
  return Buffer.from(value);
}

/**
 * Returns the form of the values of a call: `read` decodes a reply; `encode` turns a loaded value into bytes, `of` these into what a
 * read returns, a copy for each caller, and `decode`, if there is one, that into the result.
 */
function formOf(encoding, encode, decode) {
  return encoding === 'utf8'
    ? { read: valueOrFound.utf8, encode, decode, of: stringOf }
    : { read: valueOrFound.buffer, encode, decode, of: bufferOf };
}

/** Values as they are. */
const FORMS = { utf8: formOf('utf8', bytesOrNone, undefined), buffer: formOf('buffer', bytesOrNone, undefined) };

// ---- One call ----

/** The settings that a loader may change for what it loads. */
class Fill {
  #of;

  constructor(call, flights, signal) {
    this.keys = flights.map(({ key }) => key);
    this.key = this.keys[0];
    this.signal = signal;
    this.ttl = call.ttl;
    this.staleFor = call.staleFor;
    this.absentTtl = call.absentTtl;
    this.tags = [];
  }

  /** Returns the settings of one of many keys. */
  for(key) {
    this.#of ??= new Map();
    const id = idOf(key);
    if (!this.#of.has(id)) this.#of.set(id, { ttl: undefined, staleFor: undefined, absentTtl: undefined, tags: [] });
    return this.#of.get(id);
  }

  /** Returns the checked settings for a value of a key. */
  settings(id, value) {
    const own = this.#of?.get(id);
    const [ttl, absentTtl] = [own?.ttl ?? this.ttl, own?.absentTtl ?? this.absentTtl];
    const tags = [...(tagsOf(this.tags) ?? []), ...(tagsOf(own?.tags) ?? [])];
    return { value, ttl: ttlOf(value === undefined ? absentTtl : ttl), staleFor: staleForOf(own?.staleFor ?? this.staleFor), tags };
  }
}

/** The arguments of a call that does not end with its first read. */
class Call {
  /** `load(fill)` returns a promise of a function from the id of a key to its loaded value. `order`: see `Flights.order`. */
  constructor(load, options, form, order) {
    const { ttl, staleFor, tags, signal, wait, lease, staleIfError, retryAfter, absentTtl, fresh, onRefreshError } = options;
    Object.assign(this, { load, form, order, ttl, staleFor, absentTtl, signal, staleIfError, fresh, onRefreshError });
    this.tags = tagsOf(tags)?.slice();
    this.lease = leaseOf(lease);
    this.wait = wait === undefined ? undefined : Math.max(waitOf(wait), 0);
    this.retryAfter = retryAfterOf(retryAfter);
    /** The time at which this call no longer waits for others; undefined until it waits. */
    this.until = undefined;
  }

  /** Runs the loader for flights; returns what is to be stored, by the id of the key. */
  async run(flights, signal) {
    const fill = new Fill(this, flights, signal);
    const valueOf = await this.load(fill);
    return new Map(flights.map(({ id, key }) => [id, fill.settings(id, this.form.encode(valueOf(id), key))]));
  }

  /** Does the same for a refresh, whose failure no caller sees. */
  async refresh(flights, signal) {
    try {
      return await this.run(flights, signal);
    } catch (error) {
      const keys = flights.map(({ key }) => key);
      if (this.onRefreshError !== undefined) process.nextTick(this.onRefreshError, error, keys);
      throw error;
    }
  }

  /** Returns true if a call returns the value that a read has found, without waiting for a load. */
  isServed({ state }) {
    return state === 'fresh' || (state === 'stale' && this.staleIfError !== true);
  }

  /** Returns the result of what a read returned. */
  result(value, key) {
    return this.form.decode === undefined ? value : this.form.decode(value, key);
  }

  /** Returns the result of an outcome of a load. */
  landed({ value, error }, key) {
    if (error !== undefined) throw error.reason;
    return value === undefined ? undefined : this.result(this.form.of(value), key);
  }
}

/** Checks the options that the first read does not use, so that a mistake shows at a hit too. */
function checkOptions({ ttl, staleFor, absentTtl, wait, retryAfter, staleIfError, fresh, onRefreshError }) {
  if (ttl !== undefined) ttlOf(ttl);
  if (staleFor !== undefined) staleForOf(staleFor);
  if (absentTtl !== undefined) ttlOf(absentTtl);
  if (wait !== undefined) waitOf(wait);
  if (retryAfter !== undefined) retryAfterOf(retryAfter);
  if (staleIfError !== undefined) flagOf(staleIfError, 'staleIfError');
  if (fresh !== undefined) flagOf(fresh, 'fresh');
  if (onRefreshError !== undefined && typeof onRefreshError !== 'function') throw invalidType('onRefreshError is not a function');
}

/** Returns the state of a key whose read failed; throws an error that the call returns. */
function refusalOf(error) {
  if (!(error instanceof YokedCacheError)) throw error;
  if (error.code === 'YC_E_BUSY') return new Found('busy', undefined, undefined, error);
  if (error.retryable || DOWN.has(error.code)) return new Found('down', undefined, undefined, error);
  throw error;
}

/** Returns a function from the id of a key to its value in what the loader of many keys returned. */
function valuesOf(loaded) {
  if (isMap(loaded)) {
    const byId = new Map();
    for (const [key, value] of loaded) {
      roomFor(key, 'key of a loaded value');
      byId.set(idOf(key), value);
    }
    return (id) => byId.get(id);
  }
  if (loaded === null || typeof loaded !== 'object' || Array.isArray(loaded) || isUint8Array(loaded)) {
    throw invalidType('the loader of many keys returned neither a Map nor an object of values by key');
  }
  return (id) => (Object.hasOwn(loaded, id) ? loaded[id] : undefined);
}

// ---- Loading ----

class Loading {
  /** `settings()` returns a promise of { leaseMs, deadlineMs }, the defaults of the cache. */
  constructor(exchange, settings) {
    this.exchange = exchange;
    this.settings = settings;
    this.flights = new Flights();
    /** The waits for other processes, by the id of the key. */
    this.watches = new Map();
  }

  // ---- One key ----

  /** Returns a promise of the value of a key, which `loader(fill)` loads if it has to. A hit is one call of the native part. */
  one(key, loader, options, known, form) {
    const checked = optionsOf(options, known);
    if (typeof loader !== 'function') throw invalidType('the loader is not a function');
    checkOptions(checked);
    let found;
    try {
      const { tags, lease, signal, fresh } = checked;
      found = this.exchange.readOrLease(given(key, 'key'), tagsOf(tags), leaseOf(lease), NO_WAIT, form.read, signal, fresh);
    } catch (error) {
      found = refusalOf(error);
    }
    if (found instanceof Promise || found instanceof Found) return this.slowly(key, loader, checked, form, found);
    return Promise.resolve(form.decode === undefined ? found : form.decode(found, key));
  }

  async slowly(key, loader, options, form, found) {
    const own = isUint8Array(key) ? Buffer.from(key) : key;
    const load = async (fill) => {
      const value = await loader(fill);
      return () => value;
    };
    const call = new Call(load, options, form, this.flights.order());
    return this.follow(call, own, found instanceof Promise ? await found.catch(refusalOf) : found);
  }

  /** Returns the result of a key, of which a read has found something. */
  async follow(call, key, found) {
    const id = idOf(key);
    for (;;) {
      const result = await this.step(call, key, id, found);
      if (result !== AGAIN) return result;
      found = await this.read(call, key, NO_WAIT);
    }
  }

  async read(call, key, waitMs) {
    try {
      return await this.exchange.readOrLease(key, call.tags, call.lease, waitMs, call.form.read, call.signal, call.fresh);
    } catch (error) {
      return refusalOf(error);
    }
  }

  step(call, key, id, found) {
    if (!(found instanceof Found)) return call.result(found, key);
    if (found.state === 'absent') return undefined;
    if (!call.isServed(found)) return found.state === 'stale' ? this.loadOrStale(call, key, id, found) : this.load(call, key, id, found);
    if (found.lease !== undefined) this.refresh(call, [{ key, id, lease: found.lease }]);
    return call.result(found.value, key);
  }

  /** Loads a key whose lease this call has got, or waits for another call to load it. */
  async load(call, key, id, found) {
    if (this.flights.isWithin(call.signal, id)) {
      found.lease?.release();
      throw outOfRange(`the loader of the key ${shown(key)} asks for that key: it would wait for itself`);
    }
    if (this.flights.roleOf(id, found) === Role.LEAD) return this.lead(call, key, id, found.lease);
    if (found.lease === undefined) return this.wait(call, key, id, found);
    found.lease.release(); // Another process may use it while this one waits.
    return this.waitForEnd(call, id);
  }

  async lead(call, key, id, lease) {
    const outcomes = await this.begin(call, [{ key, id, lease }]).outcomes(call.signal);
    return call.landed(outcomes.get(id), key);
  }

  /** Waits for the load of a stale value, and returns that value only if the load fails. */
  async loadOrStale(call, key, id, found) {
    try {
      return await this.load(call, key, id, found);
    } catch (error) {
      if (call.signal?.aborted || this.exchange.closed) throw error;
      return call.result(found.value, key);
    }
  }

  /** Waits for a load of this process, or else of another. If the store is down, the first caller loads without a lease. */
  async wait(call, key, id, found) {
    const left = await this.left(call);
    if (found.state === 'busy' && left === 0) throw found.error;
    // The reply to the caller that has the lease may come in the same turn.
    if (found.state === 'busy' && this.flights.roleOf(id, found) !== Role.JOIN) await turn();
    const role = this.flights.roleOf(id, found);
    if (role === Role.LEAD) return this.lead(call, key, id, undefined);
    if (role === Role.END) return this.waitForEnd(call, id);
    if (role === Role.STORE) return found.state === 'stale' ? call.result(found.value, key) : this.waitElsewhere(call, key, id, left);
    const outcome = await this.flights.join(id, call.order, call.signal, left);
    return outcome === AGAIN ? AGAIN : call.landed(outcome, key);
  }

  /** Waits for the end of an earlier loader whose value is not for this call: two loaders of a key never run at once. */
  async waitForEnd(call, id) {
    const left = await this.left(call);
    if (left === 0) throw stillLoading();
    return this.flights.ended(id, call.signal, left);
  }

  /** Waits for another process. One caller asks the store time and again for all of this process; then each reads for itself. */
  async waitElsewhere(call, key, id, left) {
    const watched = this.watches.get(id);
    if (watched === undefined) return this.watch(call, key, id, left);
    const outcome = await watched.wait(call.signal, left);
    return outcome === ALONE ? this.watch(call, key, id, await this.left(call)) : AGAIN;
  }

  async watch(call, key, id, left) {
    const watch = new Watch(this.flights.signals);
    if (!this.watches.has(id)) this.watches.set(id, watch);
    let found;
    try {
      found = await this.read(call, key, Math.min(Math.ceil(left), LONGEST_WAIT) || NO_WAIT);
    } finally {
      if (this.watches.get(id) === watch) this.watches.delete(id);
      watch.end(found?.state === 'busy' ? ALONE : AGAIN);
    }
    if (found.state === 'busy') throw found.error;
    return this.step(call, key, id, found);
  }

  /** Returns the milliseconds for which a call still waits for others. A signal does not change them: the time that it leaves is unknown. */
  async left(call) {
    if (call.until === undefined) {
      const wait = call.wait ?? (await this.settings()).deadlineMs;
      call.until ??= performance.now() + wait;
    }
    return Math.max(call.until - performance.now(), 0);
  }

  begin(call, entries) {
    this.exchange.check(); // The leases of a closed cache are given back already.
    const load = this.flights.begin(entries, (flights, signal) => call.run(flights, signal), this.limitsOf(call, false));
    // The replies to the callers that now wait for another process came before the reply that brought the lease: they join.
    for (const { id, lease } of entries) if (lease !== undefined) this.watches.get(id)?.end(AGAIN);
    return load;
  }

  /** Begins to load keys in the background, except those for which an earlier loader still runs. */
  refresh(call, entries) {
    const [free, taken] = [[], []];
    for (const entry of entries) (this.flights.isRunning(entry.id) ? taken : free).push(entry);
    for (const { lease } of taken) lease.release();
    if (free.length === 0 || this.exchange.closed) return;
    this.flights.begin(free, (flights, signal) => call.refresh(flights, signal), this.limitsOf(call, true));
  }

  limitsOf(call, isBackground) {
    return { leaseMs: this.leaseMs(call), retryAfter: call.retryAfter, isBackground, signal: call.signal };
  }

  async leaseMs(call) {
    return call.lease === 0 ? (await this.settings()).leaseMs : call.lease;
  }

  // ---- Many keys ----

  /** Returns a promise of a Map from each key that has a value to it. `loader(keys, fill)` loads those that this call has to. */
  async many(keys, loader, options, known, form) {
    const checked = optionsOf(options, known);
    if (typeof loader !== 'function') throw invalidType('the loader is not a function');
    checkOptions(checked);
    this.exchange.check(checked.signal);
    const unique = uniqueOf(keys);
    const call = new Call(async (fill) => valuesOf(await loader([...fill.keys], fill)), checked, form, this.flights.order());
    const founds = await this.readAll(call, [...unique.values()]);
    const values = await this.loadMany(call, [...unique].map(([id, key], at) => ({ id, key, found: founds[at] })));
    const results = [...unique.values()].map((key, at) => [key, values[at]]);
    return new Map(results.filter(([, value]) => value !== undefined));
  }

  /** Reads keys. If a read fails for a reason of the caller, the leases of the others are given back. */
  async readAll(call, keys) {
    let failed;
    const founds = await inGroups(keys, (key) => (failed === undefined ? this.read(call, key, NO_WAIT).catch((error) => (failed ??= { error })) : undefined));
    if (failed === undefined) return founds;
    for (const found of founds) if (found instanceof Found) found.lease?.release();
    throw failed.error;
  }

  /** Loads what has to be loaded with one call of the loader, and refreshes with another. Others' loads are waited for meanwhile. */
  loadMany(call, reads) {
    const [led, refreshed] = [new Set(), new Set()];
    for (const read of reads) {
      const { id, found } = read;
      if (!(found instanceof Found) || found.state === 'absent') continue;
      if (call.isServed(found)) {
        if (found.lease !== undefined) refreshed.add(read);
      } else if (this.flights.roleOf(id, found) === Role.LEAD && !this.flights.isWithin(call.signal, id)) {
        led.add(read);
      }
    }
    const entries = (set) => [...set].map(({ key, id, found }) => ({ key, id, lease: found.lease }));
    this.refresh(call, entries(refreshed));
    const outcomes = led.size > 0 ? this.begin(call, entries(led)).outcomes(call.signal) : undefined;
    return Promise.all(reads.map((read) => {
      if (led.has(read)) return this.landedOrStale(call, read, outcomes);
      return refreshed.has(read) ? call.result(read.found.value, read.key) : this.follow(call, read.key, read.found);
    }));
  }

  async landedOrStale(call, { key, id, found }, outcomes) {
    const outcome = (await outcomes).get(id);
    return outcome.error !== undefined && found.state === 'stale' ? call.result(found.value, key) : call.landed(outcome, key);
  }

  close() {
    this.flights.close(new YokedCacheError('YC_E_CLOSED', 'the cache was closed'));
  }
}

/** Returns the keys without duplicates, by id. */
function uniqueOf(keys) {
  const unique = new Map();
  for (const key of listOf(keys, 'keys')) {
    roomFor(given(key, 'key'), 'key');
    const id = idOf(key);
    if (!unique.has(id)) unique.set(id, isUint8Array(key) ? Buffer.from(key) : key);
  }
  return unique;
}

module.exports = { FORMS, Loading, OPTIONS, TYPED_OPTIONS, formOf };
