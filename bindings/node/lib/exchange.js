'use strict';

/**
 * The exchange between promises and the native part. The requests of a tick cross in one call, and so do replies,
 * through memory that both sides share. src/binding.h declares the same layout.
 */

const { markAsUntransferable } = require('node:worker_threads');
const native = require('./native.js');
const { bytesOf } = require('./arguments.js');
const { roomFor, write, roomForList, writeList } = require('./bytes.js');
const decode = require('./decode.js');
const { YokedCacheError, codeOf, errorOf } = require('./error.js');
const { Kind, isShort, isChange } = require('./kind.js');
const { Signals, checkSignal } = require('./signals.js');

const BATCH = 256;
/** The most operations in flight in one cache; the backend's own max_pending is lower for each server. */
const QUEUE_CAPACITY = 65536;
const REQUEST_WORDS = 16;
const REPLY_WORDS = 8;
const REPLIES = BATCH * REQUEST_WORDS;
const ARENA = (REPLIES + BATCH * REPLY_WORDS) * 4;
const ARENA_BYTES = 64 * 1024;

/** Short values are slices of slabs, as short Buffers of Node are slices of its pool. */
const SLAB_BYTES = 16 * 1024;
const SMALL_VALUE = 4096;
/** A slab with less room than this is replaced: a value that does not fit gets memory of its own, which costs more. */
const SLAB_REST = 1024;

/** The class of Buffers that are views of an ArrayBuffer: its constructor does what `subarray` does, at half of the cost. */
const FastBuffer = Buffer[Symbol.species];

const MORE = 65536;
/**
 * The replies to lone requests that are taken within their submission, one after another. The library waits a moment for the
 * reply of a near server, so most are there. Then Node's loop has its turn: a program that awaits call after call never starves it.
 */
const AT_ONCE = 8;
/** The wait_ms of a read that does not wait for another holder of the lease. */
const NO_WAIT = -1;
const DO_NOT_WAIT = Object.freeze({ limit: NO_WAIT, first: undefined, second: undefined });
const SHAPE_SLAB = 1;
const CAN_SHARE = 4;
const CAN_NEAR = 128;
/** The flag of a read from the servers. */
const FRESH = 4;
const DRY_RUN = 8;
/** The most bytes that the arguments of one operation may take; the library's limits are lower. */
const MAX_ROOM = 2 ** 31 - 1;

/** Returns the error of a refusal. The library's advice for a full queue addresses programs that take completions. */
function refusalOf(parts) {
  const error = errorOf(parts);
  if (error.code === 'YC_E_BUSY') {
    error.message = `${QUEUE_CAPACITY} operations of this cache are in flight, which is the limit: await some of them before ` +
      'you start more, or limit how many run at a time';
  }
  return error;
}

const wasClosed = () => new YokedCacheError('YC_E_CLOSED', 'the cache was closed');
const ignore = () => {};
/** Returns true for a value that `findNear` has found. */
const isFound = (found) => found !== undefined && found !== null && !Array.isArray(found);
const flushGathered = (exchange) => exchange.flush();

class Exchange {
  constructor(handle, root) {
    const memory = new ArrayBuffer(ARENA + ARENA_BYTES);
    this.handle = handle;
    /** The exchange of the cache of a view. */
    this.root = root ?? this;
    /** The place of the cache, and the namespace of a view, for traces. */
    this.place = undefined;
    this.namespace = undefined;
    /** Weak references to the exchanges of the views of a cache: they follow its backend. */
    this.views = new Set();
    if (root !== undefined) this.root.addView(this);
    this.followBackend();
    this.switches = 0;
    this.closed = false;
    this.words = new Int32Array(memory, 0, ARENA / 4);
    this.numbers = new Float64Array(memory, 0, ARENA / 8);
    this.wholes = new BigInt64Array(memory, 0, ARENA / 8);
    this.arena = Buffer.from(memory, ARENA);
    this.objects = new Array(2 * BATCH).fill(undefined);
    /** The number of requests that are gathered, and the place of the next bytes in the arena. */
    this.count = 0;
    /** True if a change is among them: the library, which removes the copies of it, does not know of it yet. */
    this.isChanging = false;
    this.arenaAt = 0;
    /** Replaces the arena for one request that does not fit into it. */
    this.large = undefined;
    /** The promises, by slot. */
    this.decoders = [];
    /** The lone requests whose replies were looked for within their submission, since Node's loop had its turn. */
    this.lookedFor = 0;
    this.resolves = [];
    this.rejects = [];
    this.free = [];
    this.signals = new Signals(this);
    [this.readBytes, this.readText, this.nearBytes, this.nearText] = native.readers(handle);
    this.newSlab();
    const failed = native.start(handle, this, this.onReadable, new Uint8Array(memory));
    if (failed !== undefined) throw errorOf(failed);
  }

  /** Takes over what the backend is capable of. */
  followBackend() {
    const flags = native.capabilities(this.handle);
    /** True if the entries are in this process only, as getSync() requires. */
    this.isLocal = (flags & CAN_SHARE) === 0;
    /** True if every short operation is complete when its call returns; false while the backend is being replaced. */
    this.atOnce = this.isLocal;
    /** True if this process may have copies of entries of a server. */
    this.hasCopies = !this.isLocal && (flags & CAN_NEAR) !== 0;
  }

  // ---- Requests ----

  /** Submits one operation; returns a promise of its decoded reply. `more` has the numbers that `putMore` writes. */
  request(kind, flags, key, value, tags, number, decode, signal, more) {
    this.check(signal);
    if (this.atOnce && isShort(kind)) return Promise.resolve(this.run(kind, flags, key, value, tags, number, decode, more));
    return this.submit(kind, flags, key, value, tags, number, decode, signal, more);
  }

  /** Counts what a removal would remove. It may walk all keys, and does not run on the caller's thread. */
  requestDryRun(kind, key, tags, decode, signal) {
    this.check(signal);
    return this.submit(kind, DRY_RUN, key, undefined, tags, 0, decode, signal);
  }

  /** Reads the value of a key: returns a promise of it in a form. `isFresh`: a copy in this process does not do. */
  requestValue(key, form, signal, isFresh) {
    this.check(signal);
    if (this.atOnce) return Promise.resolve(this.read(key, form));
    if (this.hasCopies && !isFresh) {
      const copy = this.findNear(key, form);
      if (isFound(copy)) return Promise.resolve(copy);
    }
    return this.submit(Kind.GET, isFresh ? FRESH : 0, key, undefined, undefined, 0, decode.value[form], signal);
  }

  /** Does the same for a value that is JSON. */
  requestJson(key, signal, isFresh) {
    this.check(signal);
    if (this.hasCopies && !isFresh) {
      const copy = this.findNear(key, 'utf8');
      if (isFound(copy)) return Promise.resolve(JSON.parse(copy));
    }
    return this.request(Kind.GET, isFresh ? FRESH : 0, key, undefined, undefined, 0, decode.json, signal);
  }

  /** Reads a key or takes its lease. Returns the decoded reply, or a promise of it if the backend does not answer at once. */
  readOrLease(key, tags, leaseMs, waitMs, decode, signal, isFresh) {
    this.check(signal);
    const flags = isFresh ? FRESH : 0;
    const more = waitMs === NO_WAIT ? DO_NOT_WAIT : { limit: waitMs };
    if (this.atOnce && waitMs === NO_WAIT) return this.run(Kind.GET_OR_LEASE, flags, key, undefined, tags, leaseMs, decode, more);
    return this.submit(Kind.GET_OR_LEASE, flags, key, undefined, tags, leaseMs, decode, signal, more);
  }

  submit(kind, flags, key, value, tags, number, decode, signal, more) {
    const base = this.put(kind, flags, key, value, tags, number);
    if (more !== undefined) this.putMore(base, more);
    const promise = this.expect(decode, base, signal);
    if (this.count++ === 0) process.nextTick(flushGathered, this);
    if (this.hasCopies && isChange(kind)) this.isChanging = true;
    if (this.atOnce || this.count === BATCH || this.large !== undefined) this.flush();
    return promise;
  }

  /** Runs one operation on the caller's thread; returns its decoded reply, or throws. */
  run(kind, flags, key, value, tags, number, decode, more) {
    // During a switch, getSync() comes here while other operations are gathered: it takes the first place among the requests.
    if (this.count !== 0) this.flush();
    const base = this.put(kind, flags, key, value, tags, number);
    if (more !== undefined) this.putMore(base, more);
    const { large } = this;
    this.large = undefined;
    this.arenaAt = 0;
    if (this.slabAt > SLAB_BYTES - SLAB_REST) this.newSlab();
    const refused = native.run(this.handle, this.slab, this.slabAt, this.objects, large);
    if (refused !== undefined) throw errorOf(refused);
    if (this.words[REPLIES + 1] < 0) throw this.failure(0, decode);
    const result = decode(this, 0);
    this.slabAt = this.kept;
    return result;
  }

  /** Reads a key on the caller's thread, as `run` does, in fewer steps. Returns its value in a form, or undefined for a miss. */
  read(key, form) {
    return form === 'utf8' ? this.readString(key) : this.readBuffer(key);
  }

  readString(key) {
    const found = this.readText(key);
    return typeof found === 'string' ? found : this.finishRead(found, key, decode.value.utf8);
  }

  readBuffer(key) {
    if (this.slabAt > SLAB_BYTES - SLAB_REST || this.slab.length !== SLAB_BYTES) this.newSlab();
    const at = this.slabAt;
    const found = this.readBytes(key, at);
    if (typeof found !== 'number') return this.finishRead(found, key, decode.value.buffer);
    return this.takeSlab(at, found);
  }

  /** Returns what a reader has written into the slab. */
  takeSlab(at, length) {
    this.slabAt = this.kept = at + length;
    return new FastBuffer(this.memory, at, length);
  }

  /** Ends a read that brought no short value: a miss, a long value, an error, or null for a key that only `run` takes. */
  finishRead(found, key, form) {
    if (found === null) return this.run(Kind.GET, 0, key, undefined, undefined, 0, form);
    if (Array.isArray(found)) throw errorOf(found);
    return found;
  }

  /** Returns the value of a key in a form if it is in the memory of this process, else undefined. Never waits. */
  readNear(key, form) {
    this.check();
    if (typeof key !== 'string') roomFor(key, 'key');
    let found = this.findNear(key, form);
    if (found === null) found = this.findNear(bytesOf(key, 'key'), form);
    if (Array.isArray(found)) throw errorOf(found);
    return found;
  }

  /**
   * Looks for a value in the memory of this process, and returns it in a form; undefined if it is not there. `isFound` tells a value from
   * the rest: null for a key that is neither a short string nor bytes, or the parts of an error.
   */
  findNear(key, form) {
    // The library removes the copies of what a change is about when the change is submitted.
    if (this.isChanging) this.flush();
    if (form === 'utf8') return this.nearText(key);
    if (this.slabAt > SLAB_BYTES - SLAB_REST || this.slab.length !== SLAB_BYTES) this.newSlab();
    const at = this.slabAt;
    const found = this.nearBytes(key, at);
    return typeof found === 'number' ? this.takeSlab(at, found) : found;
  }

  /** Submits an operation of many keys or a search, which crosses alone. */
  requestAlone(write, decode, signal) {
    this.check(signal);
    this.flush();
    const base = write(this);
    const promise = this.expect(decode, base, signal);
    const { large } = this;
    this.large = undefined;
    this.arenaAt = 0;
    this.accept(this.words[base + 2], native.submitOne(this.handle, large));
    return promise;
  }

  /** Requests the next page of a listing. */
  requestPage(cursor, limit, decode, signal) {
    this.check(signal);
    const slot = this.newSlot();
    const promise = this.promise(slot, decode, signal);
    this.accept(slot, native.keysNext(this.handle, cursor, limit, slot));
    return promise;
  }

  accept(slot, refused) {
    if (refused !== undefined) this.takeRejecter(slot)(refusalOf(refused));
    else if (this.atOnce) this.drain();
  }

  check(signal) {
    if (signal !== undefined) checkSignal(signal);
    if (this.closed) throw wasClosed();
  }

  /** Writes the next request; returns its place. It is part of the batch once `count` is raised. */
  put(kind, flags, key, value, tags, number) {
    const what = kind === Kind.INVALIDATE_PATTERN ? 'pattern' : kind === Kind.PUBLISH ? 'channel' : 'key';
    const content = kind === Kind.PUBLISH ? 'message' : 'value';
    const item = kind === Kind.REDIS_COMMAND ? 'argument' : 'tag';
    let room = 0;
    if (key !== undefined) room += roomFor(key, what);
    if (value !== undefined) room += roomFor(value, content);
    if (tags !== undefined) room += roomForList(tags, item);
    const arena = this.arenaFor(room);
    const { words } = this;
    const base = this.count * REQUEST_WORDS;
    let at = this.large === undefined ? this.arenaAt : 0;
    words[base] = kind;
    words[base + 1] = flags;
    words[base + 3] = at;
    if (key !== undefined) at = write(arena, at, key, what);
    words[base + 4] = at - words[base + 3];
    words[base + 5] = at;
    if (value !== undefined) at = write(arena, at, value, content);
    words[base + 6] = at - words[base + 5];
    words[base + 7] = at;
    if (tags !== undefined) at = writeList(arena, at, tags, item);
    words[base + 8] = tags === undefined ? 0 : tags.length;
    this.numbers[base / 2 + 5] = number;
    if (this.large === undefined) this.arenaAt = at;
    return base;
  }

  /** Adds a number of 32 bits (a condition, a wait, a lease) and two of 64 (a version, the numbers of a counter, a time). */
  putMore(base, { limit = 0, first, second }) {
    this.words[base + 9] = limit;
    if (first !== undefined) this.wholes[base / 2 + 6] = first;
    if (second !== undefined) this.wholes[base / 2 + 7] = second;
  }

  /** Does the same as `put` for lists of keys and values, when no request is gathered. */
  putLists(kind, keys, values, tags, number) {
    const arena = this.arenaFor(roomForList(keys, 'key') + roomForList(values, 'value') + roomForList(tags, 'tag'));
    const { words } = this;
    words[0] = kind;
    words[3] = 0;
    words[4] = keys.length;
    words[5] = writeList(arena, 0, keys, 'key');
    words[6] = values.length;
    words[7] = writeList(arena, words[5], values, 'value');
    words[8] = tags.length;
    writeList(arena, words[7], tags, 'tag');
    this.numbers[5] = number;
    return 0;
  }

  putSearch(query, threshold, limit, tags) {
    const arena = this.arenaFor(roomFor(query, 'query') + roomForList(tags, 'tag'));
    const { words } = this;
    words[0] = Kind.SEARCH;
    words[3] = 0;
    words[7] = words[4] = write(arena, 0, query, 'query');
    words[8] = tags.length;
    words[9] = limit;
    writeList(arena, words[7], tags, 'tag');
    this.numbers[5] = threshold;
    return 0;
  }

  /** Returns memory for a request of so many bytes. */
  arenaFor(room) {
    this.large = undefined;
    if (room <= ARENA_BYTES - this.arenaAt) return this.arena;
    this.flush();
    if (room <= ARENA_BYTES) return this.arena;
    if (room > MAX_ROOM) throw new YokedCacheError('YC_E_TOO_LARGE', `the arguments take ${room} bytes`);
    return (this.large = Buffer.allocUnsafeSlow(room));
  }

  /** Submits the gathered requests. */
  flush() {
    const { count, large } = this;
    if (count === 0) return;
    this.count = 0;
    this.isChanging = false;
    this.arenaAt = 0;
    this.large = undefined;
    const accepted = native.submit(this.handle, count, large);
    if (accepted < count) this.refuse(accepted, count);
    if (count > 1 || this.lookedFor >= AT_ONCE) return;
    this.lookedFor += 1;
    this.drain();
  }

  refuse(from, to) {
    const parts = native.refusal(this.handle);
    for (let at = from; at < to; at++) this.takeRejecter(this.words[at * REQUEST_WORDS + 2])(refusalOf(parts));
  }

  // ---- Promises by slot ----

  newSlot() {
    return this.free.length > 0 ? this.free.pop() : this.decoders.length;
  }

  /** A promise for the request at a place. */
  expect(decode, base, signal) {
    const slot = this.newSlot();
    this.words[base + 2] = slot;
    return this.promise(slot, decode, signal);
  }

  promise(slot, decode, signal) {
    this.decoders[slot] = decode;
    const promise = new Promise((resolve, reject) => {
      this.resolves[slot] = resolve;
      this.rejects[slot] = reject;
    });
    if (signal !== undefined) this.signals.watch(signal, slot);
    return promise;
  }

  /** Frees a slot; returns the function that rejects its promise. */
  takeRejecter(slot) {
    const reject = this.rejects[slot];
    this.resolves[slot] = this.rejects[slot] = this.decoders[slot] = ignore;
    this.signals.forget(slot);
    this.free.push(slot);
    return reject;
  }

  /** Rejects a promise now. Its slot is freed with its completion, or now if the request was not submitted yet. */
  abort(slot, reason) {
    this.rejects[slot](reason);
    this.resolves[slot] = this.rejects[slot] = ignore;
    if (!this.takeBack(slot)) native.cancel(this.handle, slot);
  }

  takeBack(slot) {
    const { words } = this;
    for (let at = 0; at < this.count; at++) {
      if (words[at * REQUEST_WORDS + 2] !== slot) continue;
      this.count -= 1;
      words.copyWithin(at * REQUEST_WORDS, this.count * REQUEST_WORDS, (this.count + 1) * REQUEST_WORDS);
      this.takeRejecter(slot);
      return true;
    }
    return false;
  }

  // ---- Switch ----

  /** Stops to answer at once: the cache may have to wait for its next backend at any moment. */
  addView(view) {
    for (const reference of this.views) {
      const other = reference.deref();
      if (other === undefined || other.closed) this.views.delete(reference);
    }
    this.views.add(new WeakRef(view));
  }

  beginSwitch() {
    this.switches += 1;
    this.atOnce = false;
    for (const reference of this.views) reference.deref()?.beginSwitch();
  }

  endSwitch() {
    for (const reference of this.views) reference.deref()?.endSwitch();
    this.switches -= 1;
    if (this.switches > 0 || this.closed) return;
    // Operations that are answered at once take the first place among the requests.
    this.flush();
    this.followBackend();
  }

  // ---- Replies ----

  /** Node's loop calls it when the queue is readable. */
  onReadable() {
    this.lookedFor = 0;
    this.drain();
  }

  /** Settles the promises of all completions. */
  drain() {
    let turn;
    do {
      // Without the second condition, a slab that its user detached would take no value, and the loop would not end.
      if (this.slabAt > SLAB_BYTES - SMALL_VALUE || this.slab.length !== SLAB_BYTES) this.newSlab();
      turn = native.drain(this.handle, this.slab, this.slabAt, this.objects);
      const count = turn % MORE;
      for (let index = 0; index < count; index++) this.settle(index);
      this.slabAt = this.kept;
    } while (turn >= MORE);
  }

  settle(index) {
    const base = REPLIES + index * REPLY_WORDS;
    const slot = this.words[base];
    const decode = this.decoders[slot];
    const resolve = this.resolves[slot];
    const reject = this.takeRejecter(slot);
    if (resolve === ignore) {
      this.objects[2 * index] = this.objects[2 * index + 1] = undefined;
      this.freeLease(this.lease(index));
      return;
    }
    try {
      if (this.words[base + 1] < 0) reject(this.failure(index, decode));
      else if (this.closed && this.lease(index) !== 0) reject(this.refuseLease(index));
      else resolve(decode(this, index));
    } catch (error) {
      reject(error);
    }
  }

  /** Gives back a lease that arrives while the cache is being closed: no call can use it any more. Returns the error of its call. */
  refuseLease(index) {
    this.objects[2 * index] = undefined;
    this.freeLease(this.lease(index));
    return wasClosed();
  }

  /** Begins a slab for the values that follow. */
  newSlab() {
    this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.memory = this.slab.buffer;
    markAsUntransferable(this.memory);
    native.useSlab(this.handle, this.slab);
    this.slabAt = this.kept = 0;
  }

  // ---- Access for decoders ----

  status(index) {
    return this.words[REPLIES + index * REPLY_WORDS + 1];
  }

  number(index) {
    return this.numbers[(REPLIES + index * REPLY_WORDS) / 2 + 3];
  }

  /** Returns a number of 64 bits with a sign. */
  whole(index) {
    return this.wholes[(REPLIES + index * REPLY_WORDS) / 2 + 3];
  }

  /** Returns the number of the lease that this process holds now; 0: none. */
  lease(index) {
    return this.words[REPLIES + index * REPLY_WORDS + 5];
  }

  freeLease(number) {
    if (number !== 0) native.freeLease(this.handle, number);
  }

  takeObject(place) {
    const object = this.objects[place];
    this.objects[place] = undefined;
    return object;
  }

  /** Returns the value of a reply; undefined for a miss. */
  value(index) {
    const base = REPLIES + index * REPLY_WORDS;
    if (this.words[base + 2] !== SHAPE_SLAB) return this.takeObject(2 * index);
    const at = this.words[base + 3];
    const length = this.words[base + 4];
    this.kept = at + length;
    return new FastBuffer(this.memory, at, length);
  }

  text(index) {
    const base = REPLIES + index * REPLY_WORDS;
    if (this.words[base + 2] !== SHAPE_SLAB) return this.takeObject(2 * index)?.toString();
    const at = this.words[base + 3];
    return this.slab.utf8Slice(at, at + this.words[base + 4]);
  }

  failure(index, decode) {
    const message = this.takeObject(2 * index + 1);
    const error = new YokedCacheError(codeOf(this.status(index)), message, this.number(index) === 1);
    if (this.objects[2 * index] !== undefined) decode.describe?.(this, index, error);
    this.objects[2 * index] = undefined;
    return error;
  }

  // ---- The end ----

  /** Ends the reads in flight that may bring a lease: one that comes after the close could not be given back. */
  endLeasing() {
    this.drain();
    this.decoders.forEach(({ mayLease }, slot) => mayLease === true && this.abort(slot, wasClosed()));
    this.drain();
  }

  async close(timeoutMs) {
    this.flush();
    this.closed = true;
    this.endLeasing();
    const failed = await native.close(this.handle, timeoutMs);
    this.drain();
    native.release(this.handle);
    if (failed !== undefined) throw errorOf(failed);
  }
}

module.exports = { Exchange, NO_WAIT };
