/// <reference types="node" />

/**
 * One cache with the same semantics over memory, Redis and Memcached.
 *
 * Every method of `Cache` except `getSync`, `getNear`, `typed` and `events` returns a promise and never throws. A promise is rejected with
 *
 * - a `TypeError` (code `ERR_INVALID_ARG_TYPE`) for an argument of a wrong type and for an unknown option,
 * - the reason of an `AbortSignal` that was aborted,
 * - a `YokedCacheError` for everything else.
 *
 * A miss is `undefined`, never an error. An error is never a miss.
 *
 * Every method can be rejected with `YC_E_INVALID` (an argument is not allowed), `YC_E_TOO_LARGE`, `YC_E_CLOSED` and
 * `YC_E_BUSY`. On Redis and Memcached it can also be rejected with `YC_E_CONNECT`, `YC_E_AUTH`, `YC_E_DENIED`, `YC_E_TLS`,
 * `YC_E_TIMEOUT`, `YC_E_SERVER_MEMORY`, `YC_E_PROTOCOL` and `YC_E_SERVER`. The `@throws` of a method list only what is
 * particular to it.
 *
 * The examples use an open cache: `const cache = await Cache.open('memory://?key_prefix=app')`. `// =>` marks the result.
 */

/**
 * Represents a key, value or tag: bytes, or a string that stands for its UTF-8 bytes. A string with half a surrogate pair
 * has no UTF-8 bytes and is rejected with a `TypeError`: pass the bytes instead.
 *
 * @example
 * await cache.set('user:1', 'Ada');
 * await cache.get(Buffer.from('user:1'), { encoding: 'utf8' }); // => 'Ada'
 */
export type Bytes = string | Uint8Array;

/**
 * Reports a failure of the library: `code` for programs, `message` for people. The message names the subject, the cause and
 * the remedy. It never contains a password or a value.
 *
 * @example
 * const error = await Cache.open('memory://?max_sise=10').catch((error) => error);
 * error instanceof YokedCacheError; // => true
 * error.code; // => 'YC_E_CONFIG'
 */
export class YokedCacheError extends Error {
  /** Names the status of yokedcache.h, such as `YC_E_TIMEOUT`. The page "Errors" of the library's guide lists them. */
  readonly code: string;
  /** Tells that the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;
  /** Lists `YC_OK`, `YC_MISS` or the code of an error for each key, if `getMany`, `setMany` or `deleteMany` failed for some. */
  readonly codes?: string[];
  /** Lists the result of each key, `undefined` for a key that failed, if `codes` is present. */
  readonly results?: unknown[];
  /**
   * Creates an error. Programs need this for tests only.
   *
   * @param code - The name of a status, such as `YC_E_TIMEOUT`.
   * @param message - A message for people.
   * @param retryable - True if the same call may succeed later; `false` by default.
   *
   * @example
   * new YokedCacheError('YC_E_TIMEOUT', 'no reply', true).retryable; // => true
   */
  constructor(code: string, message: string, retryable?: boolean);
}

/**
 * Reports a value that the codec of a typed cache cannot encode or decode. An entry that does not decode is an error, never a
 * miss: `delete` removes it.
 *
 * @example
 * await cache.set('user:1', '{');
 * const error = await cache.typed().get('user:1').catch((error) => error);
 * error instanceof CodecError; // => true
 * error.message.startsWith('JSON cannot decode the value of the key "user:1": '); // => true
 */
export class CodecError extends Error {
  private constructor();
  /** Holds `ERR_CODEC`. */
  readonly code: 'ERR_CODEC';
  /** Holds the key of the value. */
  readonly key: Bytes;
  /** Names the codec. */
  readonly codec: string;
  /** Holds the error of the codec. */
  readonly cause: unknown;
}

/** Holds the credentials with which the connections of a cache log in. */
export interface Credentials {
  /** Names the user; by default the default user of Redis. */
  username?: string;
  /** Holds the password or the token of the user. */
  password: string;
  /** Limits the time for which a server accepts them, in milliseconds from now; by default they do not expire. */
  validFor?: number;
}

/** Configures the opening of a cache. */
export interface OpenOptions extends CallOptions {
  /**
   * Supplies the credentials of the cache while it is in use: tokens that expire. The configuration needs the option
   * `credentials: callback` in the section of the servers. The function is called before the first connection, shortly before the
   * credentials expire, and when a server has refused them. All connections share the answer; open connections log in again, and
   * no call fails because of that. The message of an error of the function is part of the error of calls that need a new
   * connection (`YC_E_AUTH`); it must not contain a secret. The function must not use the cache.
   *
   * @returns A promise of the credentials.
   * @example
   * const fetchToken = async () => 'token';
   * const cache = await Cache.open('rediss://cache.example.com:6379?credentials=callback&connect=lazy', {
   *   credentials: async () => ({ username: 'app', password: await fetchToken(), validFor: 900_000 }),
   * });
   * await cache.close();
   */
  credentials?: () => Promise<Credentials> | Credentials;
}

/** Configures any asynchronous call. */
export interface CallOptions {
  /**
   * Rejects the promise at once with the reason of the signal when it is aborted. An operation that was submitted may be
   * executed nevertheless.
   *
   * @example
   * const signal = AbortSignal.timeout(1000);
   * await cache.get('user:1', { signal }); // => undefined
   */
  signal?: AbortSignal;
}

/** Configures a read that a copy in this process may answer. */
export interface ReadOptions extends CallOptions {
  /**
   * Reads from the servers, also if the near cache (option `near` of the configuration) has a copy. Without a near cache it has no effect.
   *
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.get('user:1', { encoding: 'utf8', fresh: true }); // => 'Ada'
   */
  fresh?: boolean;
}

/** Configures how entries are stored. */
export interface SetOptions extends CallOptions {
  /**
   * Sets the time to live in milliseconds, rounded up to whole ones. `0` and `Infinity` mean that the entry never expires.
   * The default is the `default_ttl` of the configuration, shortened at random by its `ttl_jitter`.
   */
  ttl?: number;
  /** Sets the tags of the entry, up to 128. They replace its previous tags. */
  tags?: Iterable<Bytes>;
}

/** Requires of `setIf` that the key does not exist. */
export interface IfAbsent {
  /** Stores the value only if the key does not exist: if `get` would return `undefined`. */
  absent: true;
}

/** Requires of `setIf` that the key exists. */
export interface IfPresent {
  /** Stores the value only if the key exists. */
  present: true;
}

/** Requires of `setIf` that the key has a version. */
export interface IfVersion {
  /** Stores the value only if the entry of the key has this version, which `getVersioned` or `setIf` returned. */
  version: bigint;
}

/** Configures `setIf`: how the entry is stored, and one of the three conditions. */
export type SetIfOptions = SetOptions & (IfAbsent | IfPresent | IfVersion);

/** Configures `deleteIf`. */
export interface DeleteIfOptions extends CallOptions {
  /** Removes the key only if its entry has this version, which `getVersioned` or `setIf` returned. */
  version: bigint;
}

/** Configures the counter that `counterAdd` creates if the key does not exist. */
export interface CounterOptions extends CallOptions {
  /** Sets the value before the first addition; `0` by default. */
  initial?: bigint | number;
  /**
   * Sets the time to live in milliseconds, as in `SetOptions`. It counts from the creation of the counter. An addition to an
   * existing counter does not change it.
   */
  ttl?: number;
}

/** Represents a value with the version of its entry. */
export interface Versioned<Value> {
  /** Holds the value. */
  value: Value;
  /** Identifies the state of the entry, an integer of 64 bits. Each call that stores a value gives the entry another one. */
  version: bigint;
}

/** Configures `getInfo`. */
export interface InfoOptions extends CallOptions {
  /**
   * Makes an entry that is older than so many milliseconds a miss for this read. The entry stays. An age may be up to 2200 ms too
   * long, so that an entry which is younger by less than that may be a miss too; an older one is never returned. An entry of unknown
   * age is a miss.
   */
  maxAge?: number;
}

/** Holds a value with the properties of its entry. */
export interface EntryInfo<Value> extends Versioned<Value> {
  /**
   * Tells the milliseconds since the entry was set: never too few, and up to 2200 too many. It is `undefined` if the time of the set is
   * not stored: in memory with an entry that was set without a time to live, on Redis with a counter.
   */
  age: number | undefined;
  /** Tells the remaining time to live in milliseconds; `Infinity` if the entry never expires. */
  ttl: number;
  /** Tells the number of tags. */
  tagCount: number;
  /**
   * Names the tags in the order of the set, each once, and without the namespace of a view. It is `undefined` for an entry that stores
   * only hashes of its tags: it was set without the option `tag_names`, or the names take more than 2 KiB (two bytes more each, with
   * their namespaces). Bytes that are no UTF-8 become replacement characters.
   */
  tags: string[] | undefined;
}

/** Configures `getOrLease`. */
export interface LeaseOptions extends ReadOptions {
  /**
   * Sets the time in milliseconds for which the lease is valid if its holder does nothing: up to a day. The default is the
   * `lease` of the configuration (10 seconds).
   */
  lease?: number;
  /**
   * Sets the time in milliseconds to wait for the load of another holder: up to a day. `0` does not wait. The default is the
   * `socket_timeout` of the configuration, or one second on the memory backend.
   */
  wait?: number;
  /** Sets the tags of the value to be loaded, as far as they are known before the load. */
  tags?: Iterable<Bytes>;
}

/** Configures `Lease.fill`. */
export interface FillOptions extends CallOptions {
  /** Sets the time to live in milliseconds, as in `SetOptions`. The default of an absence is the `negative_ttl` of the configuration. */
  ttl?: number;
  /**
   * Sets the time in milliseconds after `ttl` in which the value may be served as stale while it is loaded again. `0` means not at
   * all. The default is the `stale_for` of the configuration.
   */
  staleFor?: number;
  /** Adds tags that only the load tells. The entry also has the tags that were named with the lease. */
  tags?: Iterable<Bytes>;
}

/** Configures `Lease.abandon`. */
export interface AbandonOptions extends CallOptions {
  /** Sets the time in milliseconds for which no caller loads the key, up to a day; `0` by default: the next caller may load at once. */
  retryAfter?: number;
}

/**
 * Represents the right to load one key. One caller at a time has it, among all processes that share a store and a prefix. A set,
 * a delete, a pattern that matches the key, or a flush ends a lease. A lease is used once, by `fill` or `abandon`. A lease that is
 * not used is abandoned when it is collected and when its cache is closed.
 *
 * @example
 * const { lease } = await cache.getOrLease('user:1', { tags: ['users'] });
 * await lease.fill('Ada', { ttl: 60_000 }); // => true
 */
export interface Lease {
  /**
   * Stores the loaded value, unless the key or one of the tags was changed or invalidated since the lease was taken.
   *
   * @param value - The value; `undefined`: the load found nothing, and the cache remembers that.
   * @param options - `ttl`, `staleFor` and additional `tags` of the entry; `signal` aborts.
   * @returns `true` if the value was stored; `false` if nothing was: the key was set, deleted or invalidated, a tag was
   * invalidated, the lease expired, or the cache was switched to another backend.
   * @throws `YC_E_INVALID` if the lease was used already; the errors of `set`. After an error the lease is unused.
   * @example
   * const { lease } = await cache.getOrLease('user:1', { tags: ['users'] });
   * await cache.invalidateTag('users');
   * await lease.fill('Ada'); // => false
   * await cache.get('user:1'); // => undefined
   */
  fill(value: Bytes | undefined, options?: FillOptions): Promise<boolean>;
  /**
   * Ends the lease without a result: the load failed.
   *
   * @param options - `retryAfter` delays the next load; `signal` aborts.
   * @returns Nothing, also if the lease had ended before.
   * @throws `YC_E_INVALID` if the lease was used already.
   * @example
   * const { lease } = await cache.getOrLease('user:1');
   * await lease.abandon({ retryAfter: 1000 });
   * const error = await cache.getOrLease('user:1', { wait: 0 }).catch((error) => error);
   * error.code; // => 'YC_E_BUSY'
   */
  abandon(options?: AbandonOptions): Promise<void>;
  /**
   * Frees the lease, and abandons one that was not used, without waiting for the server. Further calls have no effect.
   * `using` does the same at the end of its block.
   *
   * @returns Nothing.
   * @throws No errors.
   * @example
   * const { lease } = await cache.getOrLease('user:1');
   * lease.release();
   */
  release(): void;
  /**
   * Frees the lease, as `release` does.
   *
   * @returns Nothing.
   * @throws No errors.
   * @example
   * const { lease } = await cache.getOrLease('user:1');
   * if (Symbol.dispose) lease[Symbol.dispose]();
   */
  [Symbol.dispose](): void;
}

/** Describes the reply of `getOrLease`. */
export interface Leased<Value> {
  /**
   * Tells what was found: `fresh`, a value; `stale`, a value past its time to live but within `staleFor`; `absent`, an earlier load
   * found nothing; `leased`, no value, and the caller holds the lease.
   */
  state: 'fresh' | 'stale' | 'absent' | 'leased';
  /** Holds the value; `undefined` for `absent` and `leased`. */
  value: Value | undefined;
  /**
   * Holds the lease if the caller must load the value: always for `leased`, for one caller for `stale`, and for one caller for a
   * `fresh` value that is due for an early refresh.
   */
  lease: Lease | undefined;
}

/** Configures `getOrLoad` and `getOrLoadMany`. All times are milliseconds. */
export interface LoadOptions extends SetOptions, ReadOptions {
  /** Sets the time after `ttl` in which the value is served as stale while it is loaded again, as in `FillOptions`. */
  staleFor?: number;
  /** Sets the time for which the cache remembers that a load found nothing. The default is the `negative_ttl` of the configuration. */
  absentTtl?: number;
  /**
   * Sets the time to wait for the load of another caller: up to a day. `0` does not wait. The default is one second: on a server the
   * `socket_timeout` of the configuration. A call that has waited so long is rejected with `YC_E_BUSY`: choose more than the slowest load.
   * It does not limit the loader of this call. A `signal` may end the wait earlier, and does not change the default.
   */
  wait?: number;
  /**
   * Sets the time for which the lease is valid: up to a day. Choose it longer than the slowest load: a later result is returned, but
   * not stored. The default is the `lease` of the configuration (10 seconds).
   */
  lease?: number;
  /** Waits for the load of a stale value, and returns that value only if the load fails. Otherwise a stale value is returned at once. */
  staleIfError?: boolean;
  /** Sets the time for which a key is not loaded again after a load that failed: up to a day; `0` by default. */
  retryAfter?: number;
  /**
   * Receives the error of a load in the background, and the keys that it loaded. No caller gets that error, because each has got
   * a stale value. Without the function, the error is dropped.
   */
  onRefreshError?: (error: unknown, keys: Bytes[]) => void;
}

/** Loads a value: returns it, `undefined` if there is no value, or a promise of either. */
export type Loader<Value> = (fill: Fill) => Value | undefined | PromiseLike<Value | undefined>;

/** Loads the values of keys: returns them by key, or a promise of them. A key that is left out has no value. */
export type ManyLoader<Key extends Bytes, Value> = (keys: Key[], fill: ManyFill) => Values<Value> | PromiseLike<Values<Value>>;

/** Represents values by key: a `Map`, or an object for keys that are strings. */
export type Values<Value> = ReadonlyMap<Bytes, Value | undefined> | { readonly [key: string]: Value | undefined };

/** Holds the settings of one key that a loader of many keys may set. */
export interface FillSettings {
  /** Sets the time to live of the value, as in `SetOptions`. */
  ttl: number | undefined;
  /** Sets the time in which the value may be served as stale, as in `LoadOptions`. */
  staleFor: number | undefined;
  /** Sets the time for which an absence is remembered, as in `LoadOptions`. */
  absentTtl: number | undefined;
  /**
   * Adds tags that only the load tells. Tags that are known before the load belong in the options, where they cost less.
   */
  tags: Bytes[];
}

/**
 * Describes a load to its loader, which may change the settings of what it stores.
 *
 * @example
 * const load = async (fill) => {
 *   fill.ttl = 60_000;
 *   fill.tags.push('team:7');
 *   return 'Ada';
 * };
 * await cache.getOrLoad('user:1', load, { encoding: 'utf8' }); // => 'Ada'
 * await cache.invalidateTag('team:7', { count: true }); // => 1
 */
export interface Fill extends FillSettings {
  /** Names the key to load. */
  readonly key: Bytes;
  /**
   * Aborts when every caller that waits for the load has left, when the cache is closed, and, for a load in the background, when its
   * lease expires.
   */
  readonly signal: AbortSignal;
}

/** Describes a load of many keys to its loader. Its settings apply to every key that has none of its own. */
export interface ManyFill extends Fill {
  /** Names the keys to load. */
  readonly keys: Bytes[];
  /**
   * Returns the settings of one key.
   *
   * @param key - One of the keys.
   * @returns The settings, to be changed.
   * @throws No errors of its own.
   * @example
   * await cache.getOrLoadMany(['user:1', 'user:2'], async (keys, fill) => {
   *   fill.for('user:1').tags.push('admins');
   *   return { 'user:1': 'Ada', 'user:2': 'Grace' };
   * });
   */
  for(key: Bytes): FillSettings;
}

/** Turns values of one type into bytes and back. Both functions are synchronous. */
export interface BytesCodec<Value> {
  /** Names the codec in errors. */
  name?: string;
  /** Selects Buffers for `decode`, the default. */
  encoding?: 'buffer';
  /** Encodes a value. The result is copied. */
  encode: (value: Value) => Bytes;
  /** Decodes a value. It may not return `undefined`. The Buffer is a slice of a larger block: copy one that you keep for long. */
  decode: (bytes: Buffer) => Value;
}

/** Turns values of one type into text and back. Both functions are synchronous. */
export interface TextCodec<Value> {
  /** Names the codec in errors. */
  name?: string;
  /** Selects strings for `decode`. */
  encoding: 'utf8';
  /** Encodes a value. The result is copied. */
  encode: (value: Value) => Bytes;
  /** Decodes a value. It may not return `undefined`. */
  decode: (text: string) => Value;
}

/**
 * Represents a cache whose values are of one type. Its methods are those of `Cache` with values in place of bytes. `undefined` is a
 * miss, and in a load an absence; every other value of the type, also `null`, is a value.
 *
 * @example
 * const users = cache.typed();
 * await users.set('user:1', { name: 'Ada' }, { ttl: 60_000 });
 * await users.get('user:1'); // => { name: 'Ada' }
 */
export interface Typed<Value> {
  /** Holds the cache of the bytes, which has the methods that do not concern values. */
  readonly cache: Cache;
  /**
   * Returns the value of a key.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `fresh` bypasses the near cache; `signal` aborts.
   * @returns The value; `undefined` for a miss.
   * @throws A `CodecError` for a value that does not decode.
   * @example
   * await cache.typed().get('user:1'); // => undefined
   */
  get(key: Bytes, options?: ReadOptions): Promise<Value | undefined>;
  /**
   * Stores a value, as `Cache.set` does.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param value - The value.
   * @param options - `ttl` and `tags` of the entry; `signal` aborts.
   * @returns Nothing.
   * @throws A `CodecError` for a value that the codec cannot express; the errors of `Cache.set`.
   * @example
   * await cache.typed().set('user:1', { name: 'Ada' }, { tags: ['users'] });
   */
  set(key: Bytes, value: Value, options?: SetOptions): Promise<void>;
  /**
   * Returns the value of a key with the version of its entry, as `Cache.getVersioned` does.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `signal` aborts.
   * @returns The value and its version; `undefined` for a miss.
   * @throws A `CodecError` for a value that does not decode.
   * @example
   * await cache.typed().set('user:1', { name: 'Ada' });
   * (await cache.typed().getVersioned('user:1')).value; // => { name: 'Ada' }
   */
  getVersioned(key: Bytes, options?: CallOptions): Promise<Versioned<Value> | undefined>;
  /**
   * Stores a value if a condition holds, as `Cache.setIf` does.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param value - The value.
   * @param options - `absent`, `present` or `version`, exactly one; `ttl` and `tags` of the entry; `signal` aborts.
   * @returns The version of the new entry; `undefined` if the condition does not hold.
   * @throws A `CodecError` for a value that the codec cannot express; the errors of `Cache.setIf`.
   * @example
   * await cache.typed().setIf('user:1', { name: 'Ada' }, { present: true }); // => undefined
   */
  setIf(key: Bytes, value: Value, options: SetIfOptions): Promise<bigint | undefined>;
  /**
   * Returns the value of a key and sets its time to live, as `Cache.getAndExpire` does.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param ttl - Milliseconds, as in `Cache.getAndExpire`.
   * @param options - `signal` aborts.
   * @returns The value; `undefined` for a miss.
   * @throws A `CodecError` for a value that does not decode.
   * @example
   * await cache.typed().getAndExpire('session', 60_000); // => undefined
   */
  getAndExpire(key: Bytes, ttl: number | undefined, options?: CallOptions): Promise<Value | undefined>;
  /**
   * Returns the values of many keys, as `Cache.getMany` does.
   *
   * @param keys - The keys.
   * @param options - `signal` aborts.
   * @returns One value for each key, in the order of the keys; `undefined` for a miss.
   * @throws A `CodecError` for the first value that does not decode; the errors of `Cache.getMany`.
   * @example
   * await cache.typed().getMany(['user:1', 'user:2']); // => [ undefined, undefined ]
   */
  getMany(keys: Iterable<Bytes>, options?: CallOptions): Promise<(Value | undefined)[]>;
  /**
   * Stores many entries, as `Cache.setMany` does.
   *
   * @param entries - Pairs of key and value, such as those of a `Map`.
   * @param options - `ttl` and `tags` of the entries; `signal` aborts.
   * @returns Nothing.
   * @throws A `CodecError` for a value that the codec cannot express; the errors of `Cache.setMany`.
   * @example
   * await cache.typed().setMany([['user:1', { name: 'Ada' }], ['user:2', { name: 'Grace' }]]);
   */
  setMany(entries: Iterable<readonly [Bytes, Value]>, options?: SetOptions): Promise<void>;
  /**
   * Returns the value of a key, or loads and stores it, as `Cache.getOrLoad` does. A loaded value is encoded and decoded, so that each
   * caller gets a value of its own, equal to that of a hit.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param loader - Returns the value, or a promise of it; `undefined`: no value, which the cache remembers.
   * @param options - See `LoadOptions`.
   * @returns The value; `undefined` if there is no value.
   * @throws A `CodecError`; the errors of `Cache.getOrLoad`.
   * @example
   * await cache.typed().getOrLoad('user:1', async () => ({ name: 'Ada' }), { ttl: 60_000 }); // => { name: 'Ada' }
   * await cache.typed().getOrLoad('user:2', async () => undefined); // => undefined
   */
  getOrLoad(key: Bytes, loader: Loader<Value>, options?: LoadOptions): Promise<Value | undefined>;
  /**
   * Returns the values of many keys, or loads and stores them, as `Cache.getOrLoadMany` does.
   *
   * @param keys - The keys. Duplicates are loaded once.
   * @param loader - Returns a `Map` or an object of values by key, or a promise of it.
   * @param options - See `LoadOptions`.
   * @returns A map from each key that has a value to it, in the order of the keys.
   * @throws A `CodecError`; the errors of `Cache.getOrLoadMany`.
   * @example
   * await cache.typed().getOrLoadMany(['user:1', 'user:2'], async () => ({ 'user:1': { name: 'Ada' } })); // => Map(1) { 'user:1' => { name: 'Ada' } }
   */
  getOrLoadMany<Key extends Bytes>(keys: Iterable<Key>, loader: ManyLoader<Key, Value>, options?: LoadOptions): Promise<Map<Key, Value>>;
  /**
   * Removes a key, as `Cache.delete` does.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `signal` aborts.
   * @returns `true` if the key existed.
   * @throws No errors of its own.
   * @example
   * await cache.typed().delete('user:1'); // => false
   */
  delete(key: Bytes, options?: CallOptions): Promise<boolean>;
  /**
   * Removes many keys, as `Cache.deleteMany` does.
   *
   * @param keys - The keys.
   * @param options - `signal` aborts.
   * @returns For each key, `true` if it existed.
   * @throws The errors of `Cache.deleteMany`.
   * @example
   * await cache.typed().deleteMany(['user:1']); // => [ false ]
   */
  deleteMany(keys: Iterable<Bytes>, options?: CallOptions): Promise<boolean[]>;
}

/** Configures the removal of entries. */
export interface CountOptions extends CallOptions {
  /** Counts the removed entries, which takes longer. The result is `undefined` if the backend cannot count. */
  count?: boolean;
  /**
   * Counts the entries that would be removed, and removes nothing. Lists all keys of the cache. An entry that is set or removed
   * meanwhile may be counted. The result is `undefined` if a fallback serves. Fails with `YC_E_UNSUPPORTED` if the backend cannot list keys.
   */
  dryRun?: boolean;
}

/** Selects values as strings. */
export interface TextOptions extends CallOptions {
  /** Decodes values as UTF-8. */
  encoding: 'utf8' | 'utf-8';
}

/** Selects values as Buffers, the default. */
export interface BufferOptions extends CallOptions {
  /** Returns values as Buffers. */
  encoding?: 'buffer';
}

/** Configures a listing of keys. */
export interface ListOptions extends CallOptions {
  /** Selects the keys whose entries have any of these tags. An empty list selects all. */
  tags?: Iterable<Bytes>;
  /** Limits the keys that are read at once; 512 by default. */
  pageSize?: number;
}

/** Configures a search. */
export interface SearchOptions extends CallOptions {
  /** Sets the lowest score of a match, from 0 to 100; 80 by default. */
  threshold?: number;
  /** Limits the number of matches; 10 by default. */
  limit?: number;
  /** Restricts the search to entries that have any of these tags. */
  tags?: Iterable<Bytes>;
}

/** Describes a key that a search found. */
export interface Match<Key> {
  /** Holds the key. */
  key: Key;
  /** Rates the similarity of the key to the query, from 0 to 100. */
  score: number;
}

/** Describes the optional abilities of a backend. An operation that it cannot perform is rejected with `YC_E_UNSUPPORTED`. */
export interface Capabilities {
  /** Tells that `keys`, `search` and `invalidatePattern` work. */
  list: boolean;
  /** Tells that invalidations can count the removed entries. */
  count: boolean;
  /** Tells that other processes see the same entries. */
  share: boolean;
  /** Tells that the number of keys in `stats` is exact. Otherwise it is an estimate. */
  size: boolean;
  /** Tells that `setIf`, `deleteIf`, `getAndExpire` and `counterAdd` work. Redis needs the permission for scripts. */
  compare: boolean;
  /** Tells that `redis.command` works: the backend is Redis. */
  command: boolean;
  /** Tells that `publish` and `subscribe` work. Memcached needs the option `events` for them. */
  publish: boolean;
  /** Tells that the memory of this process may have values, which `getNear` reads: the memory backend, or a near cache. */
  near: boolean;
  /** Tells that `events` works. Redis and Memcached need the option `events` for it. */
  events: boolean;
}

/** Configures `redis.command`. */
export interface CommandOptions extends CallOptions {
  /** Allows the library to send the command again if its reply was lost: the command does the same when it runs twice. */
  idempotent?: boolean;
}

/** Marks an argument of `redis.command` as a key; `redis.key` and `redis.rawKey` return one. */
export interface RedisKey {
  /** Names the key. */
  readonly key: Buffer;
  /** Tells that the name is used as it is. */
  readonly isRaw: boolean;
}

/**
 * Represents the reply to a command: `null` for no value, strings (a Buffer, or a `string` with `encoding: 'utf8'`), a `string` for a
 * status such as OK, a `number`, or a `bigint` for one above 2 ** 53, and arrays of these. An error within an array is a
 * `YokedCacheError`.
 */
export type RedisReply<T> = null | T | string | number | bigint | YokedCacheError | RedisReply<T>[];

/**
 * Runs commands of Redis: hashes, lists, sets, sorted sets, streams and scripts. Their data lies outside the entries of the cache:
 * `flush`, invalidations, a switch, a migration and a fallback do not concern it, and the other backends have nothing like it.
 */
export interface Redis {
  /**
   * Returns a key under the `key_prefix` of the cache, apart from the keys of entries. Equal parts in braces share a slot of a
   * cluster: `{user:1}:queue` and `{user:1}:log`.
   *
   * @param key - The key.
   * @returns The argument for `command`.
   * @throws `TypeError` if the key is neither a string nor a Uint8Array.
   * @example
   * const profile = cache.redis.key('profile:1');
   * if (cache.capabilities.command) await cache.redis.command(['HSET', profile, 'name', 'Ada']);
   * profile.key.toString(); // => 'profile:1'
   */
  key(key: Bytes): RedisKey;
  /**
   * Returns a key with exactly this name, such as one that another program writes.
   *
   * @param name - The name.
   * @returns The argument for `command`.
   * @throws `TypeError` if the name is neither a string nor a Uint8Array.
   * @example
   * const jobs = cache.redis.rawKey('jobs');
   * if (cache.capabilities.command) await cache.redis.command(['LLEN', jobs]);
   * jobs.isRaw; // => true
   */
  rawKey(name: Bytes): RedisKey;
  /**
   * Runs a command as the other form does, and returns the strings of its reply as strings.
   *
   * @param args - The name of the command and its arguments: strings, Uint8Arrays, numbers, bigints and keys.
   * @param options - `encoding: 'utf8'` selects strings; `idempotent`; `signal` aborts.
   * @returns The reply.
   * @throws The errors of the other form.
   * @example
   * const names = cache.redis.key('names');
   * if (cache.capabilities.command) await cache.redis.command(['LRANGE', names, 0, -1], { encoding: 'utf8' });
   */
  command(args: Iterable<Bytes | number | bigint | RedisKey>, options: CommandOptions & TextOptions): Promise<RedisReply<string>>;
  /**
   * Runs a command with the deadline of the cache (`socket_timeout`). The first key among the arguments decides which server of a
   * cluster runs it. The library never sends a command again that the server may have run, unless `idempotent` allows that.
   *
   * @param args - The name of the command and its arguments: strings, Uint8Arrays, numbers, bigints and keys.
   * @param options - `idempotent`; `signal` aborts.
   * @returns The reply.
   * @throws `YC_E_INVALID` for a command that blocks (BLPOP, XREAD with BLOCK) or changes the state of a connection (SELECT, MULTI,
   * SUBSCRIBE); `YC_E_SERVER` if the server refused the command; `YC_E_DENIED` if the user lacks the permission; `YC_E_TOO_LARGE` for
   * an argument, or a string of the reply, over `max_value_bytes`; `YC_E_TIMEOUT` if no reply came: the command may have run;
   * `YC_E_UNSUPPORTED` if the backend is not Redis.
   * @example
   * const scores = cache.redis.key('scores');
   * if (cache.capabilities.command) {
   *   await cache.redis.command(['ZADD', scores, 7, 'Ada', 5, 'Grace']);
   *   await cache.redis.command(['ZCARD', scores]);
   * }
   */
  command(args: Iterable<Bytes | number | bigint | RedisKey>, options?: CommandOptions & BufferOptions): Promise<RedisReply<Buffer>>;
}

/** Selects the channels of a subscription: those of the given names, and those that match a pattern. At least one is needed, at most 1024. */
export interface SubscribeOptions extends CallOptions {
  /** Names channels, 1 byte to 64 KiB each. */
  channels?: Iterable<Bytes>;
  /** Names patterns with `*`, `?` and `[...]`, as `invalidatePattern` takes them. */
  patterns?: Iterable<Bytes>;
  /** Limits the bytes of the messages that wait to be received; 8 MiB by default. Messages beyond it are lost, see `Gap`. */
  maxBytes?: number;
}

/** Configures `receive`. */
export interface ReceiveOptions extends CallOptions {
  /** Sets the time to wait for a message or an event, in milliseconds; `0` does not wait. There is no limit by default. */
  timeout?: number;
}

/** Represents a message that was published. */
export interface Published<Data> {
  /** Names its channel. Bytes of a name that are no UTF-8 appear as U+FFFD. */
  channel: string;
  /** Holds the message. */
  data: Data;
  /** Tells that nothing is missing here. */
  lost: 0;
}

/** Marks a place where messages may be missing: the reader was too slow, or the connection was lost. */
export interface Gap {
  /** Contains nothing: the channels of the messages are not known. */
  channel: undefined;
  /** Contains nothing, which tells a gap from a message. */
  data: undefined;
  /** Counts the lost messages; `-1` if it is not known how many, or whether any. */
  lost: number;
}

/** Represents what a subscription receives: a message, or a gap. */
export type Message<Data> = Published<Data> | Gap;

/**
 * Receives the messages of channels, as an async iterator. Each message is received once: several loops over one subscription share its
 * messages. The loop ends when the subscription or the cache is closed, and throws when the signal of `subscribe` aborts (its reason).
 * Leaving the loop closes the subscription.
 *
 * A call that waits for a message keeps the process alive; an idle subscription does not. Close a subscription that is not needed any
 * more: until then its messages use memory and, on Redis, a connection. One that is forgotten is closed when it is collected, and with a
 * signal not before the signal.
 */
export interface Subscription<Data> extends AsyncIterableIterator<Message<Data>> {
  /**
   * Receives the next message, and waits for it. If the call is aborted or its time is over, no message is lost: the next call gets it.
   *
   * @param options - `timeout` limits the wait; `signal` aborts this call, and leaves the subscription open.
   * @returns The message or gap; `undefined` if none came in time.
   * @throws `YC_E_CLOSED` if the cache or the subscription was closed; `YC_E_CONNECT` and other errors of a connection if no message
   * came in time and the subscription is interrupted at present: it continues by itself, with a gap; `YC_E_DENIED` if the server has
   * refused the channels since; `YC_E_UNSUPPORTED` if the cache was switched to a backend without channels.
   * @example
   * const subscription = await cache.subscribe({ channels: ['news'], encoding: 'utf8' });
   * await cache.publish('news', 'Hello');
   * await subscription.receive(); // => { channel: 'news', data: 'Hello', lost: 0 }
   * await subscription.receive({ timeout: 10 }); // => undefined
   */
  receive(options?: ReceiveOptions): Promise<Message<Data> | undefined>;
  /**
   * Receives the next message for a loop, as `receive` does.
   *
   * @returns The message or gap as `value`; `done` once the subscription is closed.
   * @throws The errors of `receive`, except after `close`.
   * @example
   * const subscription = await cache.subscribe({ channels: ['news'], encoding: 'utf8' });
   * await cache.publish('news', 'Hello');
   * await subscription.next(); // => { value: { channel: 'news', data: 'Hello', lost: 0 }, done: false }
   */
  next(): Promise<IteratorResult<Message<Data>, undefined>>;
  /**
   * Closes the subscription, as a loop does that is left early.
   *
   * @param value - The value to return.
   * @returns The value, and `done`.
   * @throws No errors.
   * @example
   * const subscription = await cache.subscribe({ channels: ['news'] });
   * await subscription.return(); // => { value: undefined, done: true }
   */
  return(value?: unknown): Promise<IteratorReturnResult<any>>;
  /**
   * Ends the subscription, and releases its connection. Messages that were not received are dropped. Loops end; calls of `receive` that
   * wait are rejected with `YC_E_CLOSED`. Further calls have no effect. `await using` does the same at the end of its block.
   *
   * @returns Nothing.
   * @throws No errors.
   * @example
   * const subscription = await cache.subscribe({ channels: ['news'] });
   * subscription.close();
   * await subscription.next(); // => { value: undefined, done: true }
   */
  close(): void;
  /**
   * Returns the subscription itself, for `for await`.
   *
   * @returns The subscription.
   * @throws No errors.
   * @example
   * const subscription = await cache.subscribe({ channels: ['news'] });
   * subscription[Symbol.asyncIterator]() === subscription; // => true
   */
  [Symbol.asyncIterator](): Subscription<Data>;
  /**
   * Closes the subscription, as `close` does.
   *
   * @returns Nothing.
   * @throws No errors.
   * @example
   * const subscription = await cache.subscribe({ channels: ['news'] });
   * if (Symbol.asyncDispose) await subscription[Symbol.asyncDispose]();
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Names a kind of events:
 *
 * - `tag`: a tag was invalidated. The name is the tag.
 * - `pattern`: `invalidatePattern` removed the keys that match a pattern. The name is the pattern.
 * - `flush`: `flush` or `clear` removed all entries. The name is empty.
 * - `delete`: a key was deleted, or a delete found that it did not exist. The name is the key. An entry that expires, is evicted or is
 *   set again causes no event.
 * - `switch`: `switchTo` has switched this cache to another backend. The name is that of the backend (`memory`, `redis`, `memcached`).
 * - `fallbackBegin`: the servers of this cache failed, and the fallback serves. The name is that of the backend that serves.
 * - `fallbackEnd`: the servers of this cache serve again. The name is that of their backend.
 */
export type EventKind = 'tag' | 'pattern' | 'flush' | 'delete' | 'switch' | 'fallbackBegin' | 'fallbackEnd';

/** Selects events. Tags and keys are 1024 together at most. A list that is given must not be empty. */
export interface EventsOptions extends CallOptions {
  /**
   * Names the wanted kinds. The default is all, except `delete` if there are `tags` but no `keys`, and `tag` if there are `keys` but no
   * `tags`. A `gap` always comes.
   */
  kinds?: Iterable<EventKind>;
  /** Selects the invalidations of these tags, 1 byte to 64 KiB each; those of all tags by default. */
  tags?: Iterable<Bytes>;
  /**
   * Selects the deletions of keys that match one of these globs (see `invalidatePattern`), 1 byte to 64 KiB each; those of all keys by
   * default.
   */
  keys?: Iterable<Bytes>;
  /** Selects the events of this cache itself, too; `false` by default. */
  own?: boolean;
  /** Limits the bytes of the events that wait to be received; 8 MiB by default. Events beyond it are lost, see `EventGap`. */
  maxBytes?: number;
}

/** Represents what was removed, or how this cache changed. */
export interface CacheChange<Name> {
  /** Tells what happened. */
  kind: EventKind;
  /** Holds the tag, the pattern, the key or the backend, see `EventKind`. In a string, bytes that are no UTF-8 appear as U+FFFD. */
  name: Name;
  /** Identifies the opened cache that the event comes from, a random number of 64 bits. */
  origin: bigint;
  /** Numbers the events of an origin. The numbers increase; events of calls at the same time may come in another order. */
  sequence: number;
  /** Holds the time at which the change began, by the clock of its origin. */
  time: Date;
  /** Tells that the event comes from the cache whose `events` was called. */
  own: boolean;
  /** Tells that nothing is missing here. */
  lost: 0;
}

/** Marks a place where events may be missing: the reader was too slow, or the connection was lost. Anything may have been removed. */
export interface EventGap {
  /** Tells a gap from the other events. */
  kind: 'gap';
  /** Contains nothing: the names of the events are not known. */
  name: undefined;
  /** Contains nothing. */
  origin: undefined;
  /** Contains nothing. */
  sequence: undefined;
  /** Contains nothing. */
  time: undefined;
  /** Contains `false`. */
  own: false;
  /** Counts the lost events; `-1` if it is not known how many, or whether any. */
  lost: number;
}

/** Represents what a reader of events receives: a change, or a gap. `kind` tells which. */
export type CacheEvent<Name> = CacheChange<Name> | EventGap;

/**
 * Receives events, as an async iterator. Each event is received once: several loops over one reader share its events. The loop ends when
 * the reader or the cache is closed, and throws when the signal of `events` aborts (its reason) and when the reader cannot be opened.
 * Leaving the loop closes the reader.
 *
 * A call that waits for an event keeps the process alive; an idle reader does not. Close a reader that is not needed any more: until then
 * its events use memory and, on servers, a connection. One that is forgotten is closed when it is collected, and with a signal not before
 * the signal.
 */
export interface Events<Name> extends AsyncIterableIterator<CacheEvent<Name>> {
  /**
   * Settles when the reader is open: what is removed after that causes an event. It is rejected if the reader cannot be opened, with the
   * errors of `events`, and if it is closed before. A program that does not await it learns of the error from its loop.
   *
   * @example
   * const events = cache.events({ own: true });
   * await events.ready;
   * await cache.flush();
   * (await events.receive()).kind; // => 'flush'
   */
  readonly ready: Promise<void>;
  /**
   * Receives the next event, and waits for it. If the call is aborted or its time is over, no event is lost: the next call gets it.
   *
   * @param options - `timeout` limits the wait; `signal` aborts this call, and leaves the reader open.
   * @returns The event or gap; `undefined` if none came in time.
   * @throws The errors of `ready`; `YC_E_CLOSED` if the cache or the reader was closed; `YC_E_CONNECT` and other errors of a connection if
   * no event came in time and the reader is interrupted at present: it continues by itself; `YC_E_DENIED` if the server has refused the
   * channel since; `YC_E_UNSUPPORTED` if the cache was switched to a backend without events.
   * @example
   * const events = cache.events({ tags: ['users'], own: true });
   * await events.ready;
   * await cache.invalidateTag('users');
   * const { kind, name, own } = await events.receive();
   * [kind, name, own]; // => [ 'tag', 'users', true ]
   * await events.receive({ timeout: 10 }); // => undefined
   */
  receive(options?: ReceiveOptions): Promise<CacheEvent<Name> | undefined>;
  /**
   * Receives the next event for a loop, as `receive` does.
   *
   * @returns The event or gap as `value`; `done` once the reader is closed.
   * @throws The errors of `receive`, except after `close`.
   * @example
   * const events = cache.events({ own: true });
   * await events.ready;
   * await cache.delete('user:1');
   * (await events.next()).value.name; // => 'user:1'
   */
  next(): Promise<IteratorResult<CacheEvent<Name>, undefined>>;
  /**
   * Closes the reader, as a loop does that is left early.
   *
   * @param value - The value to return.
   * @returns The value, and `done`.
   * @throws No errors.
   * @example
   * await cache.events().return(); // => { value: undefined, done: true }
   */
  return(value?: unknown): Promise<IteratorReturnResult<any>>;
  /**
   * Ends the reader, also while it is opening, and releases its connection. Events that were not received are dropped. Loops end; calls
   * of `receive` that wait are rejected with `YC_E_CLOSED`. Further calls have no effect. `await using` does the same at the end of its
   * block.
   *
   * @returns Nothing.
   * @throws No errors.
   * @example
   * const events = cache.events();
   * events.close();
   * await events.next(); // => { value: undefined, done: true }
   */
  close(): void;
  /**
   * Returns the reader itself, for `for await`.
   *
   * @returns The reader.
   * @throws No errors.
   * @example
   * const events = cache.events();
   * events[Symbol.asyncIterator]() === events; // => true
   */
  [Symbol.asyncIterator](): Events<Name>;
  /**
   * Closes the reader, as `close` does.
   *
   * @returns Nothing.
   * @throws No errors.
   * @example
   * const events = cache.events();
   * if (Symbol.asyncDispose) await events[Symbol.asyncDispose]();
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Configures `explain`. */
export interface ExplainOptions extends CallOptions {
  /** Names tags to report by name: entries contain hashes of their tags. */
  tags?: Iterable<Bytes>;
}

/** Reports a tag of an entry. */
export interface ExplainedTag {
  /** Names the tag; `null` unless it is among the tags that `explain` was asked for. */
  name: string | null;
  /** Identifies the tag: 16 hexadecimal digits, as in the stored name of its version. */
  hash: string;
  /** Tells whether the entry is valid for this tag. `lost`: the server lost the version of the tag, which invalidates the entry. */
  status: 'current' | 'invalidated' | 'lost';
}

/** Reports the lease of a key. */
export interface ExplainedLease {
  /** Tells that a caller loads the key (`held`), or that a load failed and no caller may load the key for a time (`held_back`). */
  kind: 'held' | 'held_back';
  /** Counts the milliseconds after which the lease ends by itself. */
  left_ms: number;
}

/** Reports what `explain` found. A field that does not apply is `null`. */
export interface Explanation {
  /** Tells whether `get` returns a value. */
  exists: boolean;
  /** Distinguishes a value past its time to live that may be served (`stale`) and a remembered absence (`absent`). */
  state: 'fresh' | 'stale' | 'absent' | 'missing';
  /** Gives the reason of a miss; `null` if the key exists. */
  reason:
    | 'not_stored' | 'expired' | 'invalidated' | 'absent' | 'leased' | 'held_back' | 'damaged' | 'foreign' | 'later_version'
    | 'outdated' | null;
  /** Describes state and reason for people; the text may change. */
  message: string;
  /** Counts the milliseconds left of a fresh value or an absence; `null` if it never ends. */
  ttl_ms: number | null;
  /** Counts the milliseconds left of a stale value, or those of a fresh one after its time to live. */
  stale_ms: number | null;
  /**
   * Counts the milliseconds since the entry was set, and up to two seconds more; `null` if the time of the set is not stored. Another
   * time to live does not change it.
   */
  age_ms: number | null;
  /** Explains why the age of an entry is not known. */
  age_unknown: string | null;
  /** Holds the version of the entry in decimal digits. */
  version: string | null;
  /** Counts the bytes of the value. */
  value_bytes: number | null;
  /** Counts the bytes on the server, or the memory that the entry takes. */
  stored_bytes: number | null;
  /** Lists the tags of the entry. */
  tags: ExplainedTag[];
  /** Lists the tags that `explain` was asked for and that the entry does not have. */
  tags_not_carried: string[];
  /** Reports the lease of the key. */
  lease: ExplainedLease | null;
  /** Names who serves at present. */
  serving: 'primary' | 'fallback';
  /** Names the backend. */
  backend: string;
  /** Names the server of the key; `memory` in this process. */
  server: string;
  /** Names the topology of Redis: `single`, `sentinel` or `cluster`. */
  topology: string | null;
  /** Holds the slot of the key in a cluster. */
  slot: number | null;
  /** Holds the name on the server; bytes that cannot be printed are escaped. */
  stored_name: string | null;
  [name: string]: unknown;
}

/** Configures a view. An option that is not given is that of the cache. */
export interface ViewOptions {
  /** Keeps the keys and the tags of the view apart: 1 to 64 of `A-Z a-z 0-9 _ . -`. */
  namespace?: string;
  /** Limits the time of a call in milliseconds, in place of `socket_timeout`: shorter or longer. */
  timeout?: number;
  /** Sets the time to live in milliseconds of an entry that is set without one; `Infinity`: it never expires. */
  defaultTtl?: number;
  /** Gives each entry these tags when it is stored, in addition to those of the call. */
  tags?: string[];
  /** Begins the default TTL of the view again with each get, also of many keys or for loading: sliding expiry. */
  touchOnGet?: boolean;
  /**
   * Limits the age in milliseconds of an entry that reads accept: an older entry is a miss for the view, and stays, as described
   * at `getInfo`. Such a view does not load: `getOrLoad` fails with `YC_E_UNSUPPORTED`.
   */
  maxAge?: number;
  /**
   * Selects how `invalidatePattern` works: `walk` lists the keys and counts those that it removes; `barrier` makes misses of the
   * older entries that match in one step, also on a server that cannot list, and needs generations.
   */
  patterns?: 'walk' | 'barrier';
}

/** Summarizes the durations of sampled calls of one group of operations, in microseconds. */
export interface Latency {
  /** Counts the calls that were measured. */
  samples: number;
  /** Holds the median. */
  p50: number;
  /** Holds the 90th percentile. */
  p90: number;
  /** Holds the 99th percentile. */
  p99: number;
  /** Holds the longest duration. */
  max: number;
}

/** Reports on the fallback of a cache. */
export interface FallbackReport {
  /** Names the backend that serves while the servers fail. */
  backend: string;
  /** Tells whether it serves now. */
  active: boolean;
  /** Tells how calls reach the servers: all, one that tries, none. */
  circuit: 'closed' | 'half-open' | 'open';
  /** Counts the calls that it answered. */
  answers: number;
  /** Counts the times that it began to serve. */
  outages: number;
  /** Tells how long it has served, in milliseconds; `null` while it does not. */
  open_for_ms: number | null;
  /** Counts the changes that the servers do not have yet; `null` while it does not serve. */
  changes_to_replay: number | null;
}

/** Holds the statistics of a cache since it was opened. The guide's page `reports.md` explains each member; later versions add some. */
export interface Stats {
  /** Names the backend. */
  backend: 'memory' | 'redis' | 'memcached';
  /** Names the prefix of the stored names. */
  key_prefix: string;
  /** Names the namespace of a view; `null` without one. */
  namespace: string | null;
  /** Tells the time since the cache was opened, in milliseconds. */
  uptime_ms: number;
  /** Counts entries; `null` while a server is down, if the backend cannot list keys, and for a namespace. */
  keys: number | null;
  /** Counts the bytes of the entries; `null` as `keys`. */
  bytes: number | null;
  /** Tells whether `keys` and `bytes` are estimates; `null` if they are unknown. */
  size_estimated: boolean | null;
  /** Counts reads that found their key. */
  hits: number;
  /** Counts reads that did not. */
  misses: number;
  /** Divides hits by reads; `null` before the first read. */
  hit_rate: number | null;
  /** Counts entries that were stored. */
  sets: number;
  /** Counts keys that were deleted. */
  deletes: number;
  /** Counts calls that invalidated tags or a pattern, cleared or flushed, and did not fail. */
  invalidations: number;
  /** Counts entries that were removed to make room; `null` on servers. */
  evictions: number | null;
  /** Counts entries that were removed because they had expired; `null` on servers. */
  expirations: number | null;
  /** Counts stored values that are no entries. */
  decode_errors: number;
  /** Counts connections that were made again. */
  reconnects: number;
  /** Counts requests without a reply so far. */
  in_flight: number;
  /** Counts the open connections for operations; 0 on memory. */
  connections: number;
  /** Counts leases that were given: loads that began. */
  loads: number;
  /** Counts reads that waited for the load of another caller. */
  load_waits: number;
  /** Counts reads that got a stale value. */
  stale_answers: number;
  /** Counts loaded values that were not stored. */
  superseded_fills: number;
  /** Counts leases that ended without their holder. */
  lease_timeouts: number;
  /** Reports on the fallback; `null` without one. */
  fallback: FallbackReport | null;
  /** Reports on the near cache; `null` without one. */
  near: Record<string, any> | null;
  /** Summarizes durations by group of operations. */
  latency_us: Record<string, Latency>;
  /** Counts by namespace, for the first 64 that a view was opened for; not in the statistics of a view. */
  namespaces?: Record<string, Pick<Stats, 'hits' | 'misses' | 'sets' | 'deletes' | 'invalidations'>>;
  /** Holds further members. */
  [name: string]: any;
}

/** Reports on one server. The members depend on the backend; the guide's page `reports.md` explains each. */
export interface ServerHealth {
  /** Names the address. */
  server: string;
  /** Tells why the server does not serve; missing if it does. */
  error?: string;
  /** Measures the round trip, in microseconds. */
  ping_us?: number;
  /** Names the release of the server. */
  version?: string;
  /** Names the role of a Redis server. */
  role?: string;
  /** Holds further members. */
  [name: string]: any;
}

/** Reports whether a cache can serve. The guide's page `reports.md` explains each member; later versions add some. */
export interface Health {
  /** Tells whether all of it, a part of it or nothing serves. */
  status: 'healthy' | 'degraded' | 'unhealthy';
  /** Explains the status. */
  reasons: string[];
  /** Names the backend. */
  backend: 'memory' | 'redis' | 'memcached';
  /** Names the prefix of the stored names. */
  key_prefix: string;
  /** Names the release of the library. */
  version: string;
  /** Tells the time since the cache was opened, in milliseconds. */
  uptime_ms: number;
  /** Measures the slowest server; `null` if none answered. */
  ping_us: number | null;
  /** Reports on the fallback; `null` without one. */
  fallback: FallbackReport | null;
  /** Reports on the near cache; `null` without one. */
  near: Record<string, any> | null;
  /** Reports on the servers; `null` on memory. */
  details: { servers: ServerHealth[]; in_flight: number; topology?: string } | null;
  /** Holds further members. */
  [name: string]: any;
}

/** Configures `switchTo`. */
export interface SwitchOptions {
  /** Copies the entries of the cache before the new backend serves. Otherwise the new backend starts with the entries it has. */
  copy?: boolean;
  /** Limits the entries copied per second; without a limit by default. */
  rate?: number;
}

/** Reports what `switchTo` did. */
export interface SwitchReport {
  /** Names the backend that serves now. */
  backend: string;
  /** Reports the copy; `null` without `copy`. */
  copied: MigrateReport | null;
  [name: string]: unknown;
}

/** Reports the progress of `migrateTo`. */
export interface MigrateProgress {
  /** Counts the keys examined. */
  examined: number;
  /** Counts the entries stored in the target; with `dryRun`, the entries that would be. */
  copied: number;
  /** Counts the entries not copied because the target has one or the source has it no longer. */
  skipped: number;
  /** Counts the entries that could not be copied. */
  failed: number;
  /** Continues from this position or slightly before it, as `MigrateOptions.resume`, also in another process. `undefined` at the end. */
  resume: string | undefined;
}

/** Configures `migrateTo`. */
export interface MigrateOptions {
  /** Selects the keys that match this glob; all by default. */
  pattern?: string;
  /** Limits the entries copied per second; without a limit by default. */
  rate?: number;
  /** Counts what would be copied, and stores nothing. */
  dryRun?: boolean;
  /** Continues an earlier migration from its last `resume`. */
  resume?: string;
  /**
   * Receives the progress every few hundred keys. The migration waits for it; the event loop does not. Return `false` to stop the
   * migration: the promise is fulfilled with a report that can be resumed. If the function throws, the migration stops and the
   * promise is rejected with the thrown value.
   */
  onProgress?: (progress: MigrateProgress) => boolean | void;
  /** Stops the migration at the next progress and then rejects the promise with the reason of the signal. Copied entries stay. */
  signal?: AbortSignal;
}

/** Reports what `migrateTo` did. */
export interface MigrateReport {
  /** Tells that every key was examined. */
  complete: boolean;
  /** Tells that nothing was stored. */
  dry_run: boolean;
  /** Counts the keys examined. */
  examined: number;
  /** Counts the entries stored in the target; with `dry_run`, the entries that would be. */
  copied: number;
  /** Counts the entries not copied, by reason: `present` in the target, `gone` from the source. */
  skipped: Record<string, number>;
  /** Counts the entries that could not be copied. */
  failed: number;
  /** Counts the same entries by the message of the error. */
  failures: Record<string, number>;
  /** Measures the largest expiry drift in a sample, in milliseconds; `null` if no sampled entry expires. */
  largest_ttl_drift_ms: number | null;
  /** Measures the duration in milliseconds. */
  elapsed_ms: number;
  /** Continues from this position or slightly before it, as `MigrateOptions.resume`; `null` at the end. */
  resume: string | null;
  [name: string]: unknown;
}

/** Describes a configuration as a document: `{ backend: 'redis', redis: { url: 'redis://localhost' } }`. */
export interface ConfigDocument {
  [name: string]: unknown;
}

/**
 * Represents an open cache. Operations in flight keep the process alive; an idle cache does not. Each worker opens caches of its
 * own. Operations in flight at the same time are executed in no particular order on a server: `await` what must come first.
 *
 * @example
 * await cache.set('user:1', 'Ada', { ttl: 60_000, tags: ['users'] });
 * await cache.get('user:1', { encoding: 'utf8' }); // => 'Ada'
 * await cache.invalidateTag('users');
 * await cache.get('user:1'); // => undefined
 */
export class Cache {
  private constructor();

  /**
   * Opens a cache from a configuration: a URL, a YAML or JSON text, or an object in place of such a text. If the configuration
   * has environments, the variable `ENVIRONMENT` selects one (`development` if unset). Unless it sets `connect: lazy`, the
   * promise waits for the servers.
   *
   * @param config - The configuration.
   * @param options - `credentials` supplies the credentials; `signal` stops the wait.
   * @returns The open cache. Close it when it is no longer needed.
   * @throws `YC_E_CONFIG` for a configuration that cannot be used; `YC_E_UNSUPPORTED` for a backend that the library was built
   * without; the error of a server that cannot be used, such as `YC_E_CONNECT`, `YC_E_AUTH` and `YC_E_TLS`.
   * @example
   * const pages = await Cache.open('memory://?max_size=10000&key_prefix=pages');
   * await pages.close();
   * const users = await Cache.open({ backend: 'memory', memory: { max_size: 1000, key_prefix: 'users' } });
   * await users.close();
   */
  static open(config: string | ConfigDocument, options?: OpenOptions): Promise<Cache>;
  /**
   * Opens a cache from a YAML or JSON file. The file has environments, or consists of the body of one.
   *
   * @param path - The path of the file, or its `file:` URL.
   * @param environment - The environment to use; by default the variable `ENVIRONMENT` selects it (`development` if unset).
   * @param options - `credentials` supplies the credentials; `signal` stops the wait.
   * @returns The open cache. Close it when it is no longer needed.
   * @throws The errors of `open`; also `YC_E_CONFIG` for a file that cannot be read and an environment that it does not have.
   * @example
   * await writeFile('cache.yaml', 'cache: { test: { backend: memory, memory: { key_prefix: app } } }');
   * const cache = await Cache.openFile('cache.yaml', 'test');
   * (await cache.health()).key_prefix; // => 'app'
   */
  static openFile(path: string | URL, environment?: string, options?: OpenOptions): Promise<Cache>;
  /**
   * Opens a cache from the environment variables of the process: `YOKEDCACHE_URL`, else `YOKEDCACHE_CONFIG` (the path of a
   * file), else `REDIS_URL`. In a worker, `process.env` is a copy: the variables are those of the process.
   *
   * @param options - `credentials` supplies the credentials; `signal` stops the wait.
   * @returns The open cache. Close it when it is no longer needed.
   * @throws The errors of `open`; also `YC_E_CONFIG` if none of the variables is set.
   * @example
   * process.env.YOKEDCACHE_URL = 'memory://?key_prefix=app';
   * const cache = await Cache.openEnv();
   * await cache.close();
   */
  static openEnv(options?: OpenOptions): Promise<Cache>;

  /**
   * Returns the value of a key as a string.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'utf8'` selects a string; `fresh` bypasses the near cache; `signal` aborts.
   * @returns The value; `undefined` for a miss. An empty value is an empty string.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.get('user:1', { encoding: 'utf8' }); // => 'Ada'
   * await cache.get('user:2', { encoding: 'utf8' }); // => undefined
   */
  get(key: Bytes, options: TextOptions & ReadOptions): Promise<string | undefined>;
  /**
   * Returns the value of a key as a Buffer. A Buffer of up to 4 KiB is a slice of a larger block: copy one that you keep for long. A value
   * of which the near cache has a copy is returned without a request.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `fresh` bypasses the near cache; `signal` aborts.
   * @returns The value; `undefined` for a miss. An empty value is an empty Buffer.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.get('user:1'); // => <Buffer 41 64 61>
   */
  get(key: Bytes, options?: BufferOptions & ReadOptions): Promise<Buffer | undefined>;
  /**
   * Returns the value of a key as a string, without a promise. For the memory backend only.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'utf8'` selects a string.
   * @returns The value; `undefined` for a miss.
   * @throws `YC_E_UNSUPPORTED` if the backend is a server: waiting for it would block the event loop. This method throws its
   * errors; the others reject promises.
   * @example
   * await cache.set('user:1', 'Ada');
   * cache.getSync('user:1', { encoding: 'utf8' }); // => 'Ada'
   */
  getSync(key: Bytes, options: { encoding: 'utf8' | 'utf-8' }): string | undefined;
  /**
   * Returns the value of a key as a Buffer, without a promise. For the memory backend only.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'buffer'` is the default.
   * @returns The value; `undefined` for a miss.
   * @throws `YC_E_UNSUPPORTED` if the backend is a server: waiting for it would block the event loop.
   * @example
   * await cache.set('user:1', 'Ada');
   * cache.getSync('user:1'); // => <Buffer 41 64 61>
   */
  getSync(key: Bytes, options?: { encoding?: 'buffer' }): Buffer | undefined;
  /**
   * Returns the value of a key as a string if it is in the memory of this process: that of the memory backend, or of a near cache. The call
   * sends no request and never waits.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'utf8'` selects a string.
   * @returns The value; `undefined` if this process does not have it: see `getNear` of Buffers.
   * @throws `YC_E_INVALID` for an empty key; `YC_E_TOO_LARGE` for a key over 64 KiB; `YC_E_CLOSED`; a `TypeError` for what is no key. This
   * method throws its errors.
   * @example
   * await cache.set('user:1', 'Ada');
   * cache.getNear('user:1', { encoding: 'utf8' }); // => 'Ada'
   */
  getNear(key: Bytes, options: { encoding: 'utf8' | 'utf-8' }): string | undefined;
  /**
   * Returns the value of a key as a Buffer if it is in the memory of this process: that of the memory backend, or of a near cache. The call
   * sends no request and never waits. A change of this cache is seen when its promise is fulfilled; one of another cache or process at
   * most `max_staleness` later.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'buffer'` is the default.
   * @returns The value; `undefined` if this process does not have it. On Redis and Memcached the key may exist nevertheless: call `get`,
   * which also keeps a copy. Such a miss is not counted in `stats`.
   * @throws `YC_E_INVALID` for an empty key; `YC_E_TOO_LARGE` for a key over 64 KiB; `YC_E_CLOSED`; a `TypeError` for what is no key.
   * @example
   * await cache.set('user:1', 'Ada');
   * cache.getNear('user:1'); // => <Buffer 41 64 61>
   * cache.getNear('user:1') ?? (await cache.get('user:1')); // => <Buffer 41 64 61>
   */
  getNear(key: Bytes, options?: { encoding?: 'buffer' }): Buffer | undefined;
  /**
   * Returns the value of a key, parsed as JSON.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `fresh` bypasses the near cache; `signal` aborts.
   * @returns The parsed value; `undefined` for a miss.
   * @throws A `SyntaxError` if the value is not JSON.
   * @example
   * await cache.setJson('user:2', { name: 'Grace' });
   * await cache.getJson('user:2'); // => { name: 'Grace' }
   */
  getJson<T = unknown>(key: Bytes, options?: ReadOptions): Promise<T | undefined>;
  /**
   * Stores a value and replaces an existing entry of the key, with its time to live and tags. The arguments may be changed as soon
   * as `set` has returned.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param value - The value; an empty one is a value.
   * @param options - `ttl` and `tags` of the entry; `signal` aborts.
   * @returns Nothing.
   * @throws `YC_E_INVALID` for an empty key or tag and for a `ttl` that is negative or over 100 years; `YC_E_TOO_LARGE` for a key
   * or tag over 64 KiB, more than 128 tags, or a value over `max_value_bytes`; `YC_E_SERVER_MEMORY` if the server is full.
   * @example
   * await cache.set('user:1', 'Ada', { ttl: 60_000, tags: ['users'] });
   * await cache.set('settings', Buffer.from([1, 2, 3]), { ttl: Infinity });
   */
  set(key: Bytes, value: Bytes, options?: SetOptions): Promise<void>;
  /**
   * Stores a value as JSON, as `set` does.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param value - The value to encode with `JSON.stringify`.
   * @param options - `ttl` and `tags` of the entry; `signal` aborts.
   * @returns Nothing.
   * @throws The errors of `set`; a `TypeError` for a value that JSON cannot express.
   * @example
   * await cache.setJson('user:2', { name: 'Grace' }, { tags: ['users'] });
   * await cache.get('user:2', { encoding: 'utf8' }); // => '{"name":"Grace"}'
   */
  setJson(key: Bytes, value: unknown, options?: SetOptions): Promise<void>;
  /**
   * Removes a key.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `signal` aborts.
   * @returns `true` if the key existed.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.delete('user:1'); // => true
   * await cache.delete('user:1'); // => false
   */
  delete(key: Bytes, options?: CallOptions): Promise<boolean>;
  /**
   * Reports whether a key exists. The call does not count as a use of the entry for eviction, nor as a hit or a miss.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `signal` aborts.
   * @returns `true` if the key exists.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.exists('user:1'); // => true
   */
  exists(key: Bytes, options?: CallOptions): Promise<boolean>;
  /**
   * Sets the time to live of a key, counted from now. Its value and tags stay.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param ttl - Milliseconds, rounded up; `0` and `Infinity`: the entry never expires; `undefined`: the `default_ttl`.
   * @param options - `signal` aborts.
   * @returns `true` if the key exists.
   * @throws `YC_E_INVALID` for a `ttl` that is negative or over 100 years.
   * @example
   * await cache.set('session', 'Ada', { ttl: 60_000 });
   * await cache.expire('session', Infinity); // => true
   * await cache.ttl('session'); // => Infinity
   */
  expire(key: Bytes, ttl: number | undefined, options?: CallOptions): Promise<boolean>;
  /**
   * Returns the remaining time to live of a key.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `signal` aborts.
   * @returns Milliseconds, at least 1; `Infinity` if the entry never expires; `undefined` for a miss.
   * @throws No errors of its own.
   * @example
   * await cache.set('session', 'Ada', { ttl: 60_000 });
   * (await cache.ttl('session')) > 59_000; // => true
   * await cache.ttl('unknown'); // => undefined
   */
  ttl(key: Bytes, options?: CallOptions): Promise<number | undefined>;

  /**
   * Returns the value of a key as a string, with the properties of its entry.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'utf8'` selects a string; `maxAge` limits the age; `signal` aborts.
   * @returns The value and its properties; `undefined` for a miss.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada', { ttl: 60_000, tags: ['users'] });
   * const { value, tagCount } = await cache.getInfo('user:1', { encoding: 'utf8' });
   * [value, tagCount]; // => [ 'Ada', 1 ]
   */
  getInfo(key: Bytes, options: InfoOptions & TextOptions): Promise<EntryInfo<string> | undefined>;
  /**
   * Returns the value of a key as a Buffer, with its version, its age, its remaining time to live and its tags, in as many round
   * trips as `get`. It reads from the servers, also if the near cache has a copy.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `maxAge` limits the age; `signal` aborts.
   * @returns The value and its properties; `undefined` for a miss, and for an entry that is older than `maxAge`.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada', { ttl: 3_600_000 });
   * const found = await cache.getInfo('user:1', { maxAge: 600_000 });
   * found.value; // => <Buffer 41 64 61>
   * found.ttl > 3_000_000; // => true
   */
  getInfo(key: Bytes, options?: InfoOptions & BufferOptions): Promise<EntryInfo<Buffer> | undefined>;
  /**
   * Returns the value of a key as a string, with the version of its entry.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'utf8'` selects a string; `signal` aborts.
   * @returns The value and its version; `undefined` for a miss.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada');
   * const { value, version } = await cache.getVersioned('user:1', { encoding: 'utf8' });
   * value; // => 'Ada'
   * await cache.deleteIf('user:1', { version }); // => true
   */
  getVersioned(key: Bytes, options: TextOptions): Promise<Versioned<string> | undefined>;
  /**
   * Returns the value of a key as a Buffer, with the version of its entry. Each call that stores a value, also an equal one, gives
   * the entry a version that it had never before. Versions have no order. `expire` and `getAndExpire` keep the version; after a switch
   * or a migration the entry has another one.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `signal` aborts.
   * @returns The value and its version; `undefined` for a miss.
   * @throws No errors of its own.
   * @example
   * const version = await cache.setIf('user:1', 'Ada', { absent: true });
   * const found = await cache.getVersioned('user:1');
   * found.value; // => <Buffer 41 64 61>
   * found.version === version; // => true
   */
  getVersioned(key: Bytes, options?: BufferOptions): Promise<Versioned<Buffer> | undefined>;
  /**
   * Stores a value as `set` does, if a condition holds: `absent: true`, `present: true` or `version`. The test and the write are one
   * atomic step: of several callers with the same version, one succeeds. A condition that does not hold is no error, and nothing
   * changes.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param value - The value; an empty one is a value.
   * @param options - `absent`, `present` or `version`, exactly one; `ttl` and `tags` of the entry; `signal` aborts.
   * @returns The version of the new entry, a `bigint`; `undefined` if the condition does not hold.
   * @throws The errors of `set`; a `TypeError` without a condition; `YC_E_TIMEOUT` also if the reply was lost: the value may have
   * been stored; `YC_E_BUSY` if other callers changed the key at each attempt; `YC_E_UNSUPPORTED` if the server denies what the
   * operation needs, which the message names.
   * @example
   * const version = await cache.setIf('lock', 'worker 1', { absent: true, ttl: 30_000 });
   * await cache.setIf('lock', 'worker 2', { absent: true, ttl: 30_000 }); // => undefined
   * await cache.setIf('lock', 'worker 1, renewed', { version, ttl: 30_000 }) !== undefined; // => true
   * await cache.setIf('lock', 'worker 3', { version }); // => undefined
   */
  setIf(key: Bytes, value: Bytes, options: SetIfOptions): Promise<bigint | undefined>;
  /**
   * Removes a key if its entry has a version. The test and the removal are one atomic step.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `version` of the entry; `signal` aborts.
   * @returns `true` if the key was removed; `false` if it does not exist or has another version.
   * @throws `YC_E_TIMEOUT` also if the reply was lost: the key may have been removed; `YC_E_BUSY` and `YC_E_UNSUPPORTED` as `setIf`.
   * @example
   * const version = await cache.setIf('lock', 'worker 1', { absent: true });
   * await cache.deleteIf('lock', { version }); // => true
   * await cache.deleteIf('lock', { version }); // => false
   */
  deleteIf(key: Bytes, options: DeleteIfOptions): Promise<boolean>;
  /**
   * Returns the value of a key as a string, and sets the time to live of the key, counted from now, in one atomic step.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param ttl - Milliseconds, rounded up; `0` and `Infinity`: the entry never expires; `undefined`: the `default_ttl`.
   * @param options - `encoding: 'utf8'` selects a string; `signal` aborts.
   * @returns The value; `undefined` for a miss.
   * @throws The errors of the other form.
   * @example
   * await cache.set('session', 'Ada', { ttl: 60_000 });
   * await cache.getAndExpire('session', 3_600_000, { encoding: 'utf8' }); // => 'Ada'
   */
  getAndExpire(key: Bytes, ttl: number | undefined, options: TextOptions): Promise<string | undefined>;
  /**
   * Returns the value of a key as a Buffer, and sets the time to live of the key, counted from now, in one atomic step. Its tags and
   * its version stay.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param ttl - Milliseconds, rounded up; `0` and `Infinity`: the entry never expires; `undefined`: the `default_ttl`.
   * @param options - `signal` aborts.
   * @returns The value; `undefined` for a miss.
   * @throws `YC_E_INVALID` for a `ttl` that is negative or over 100 years; `YC_E_BUSY` and `YC_E_UNSUPPORTED` as `setIf`.
   * @example
   * await cache.set('session', 'Ada', { ttl: 60_000 });
   * await cache.getAndExpire('session', Infinity); // => <Buffer 41 64 61>
   * await cache.ttl('session'); // => Infinity
   */
  getAndExpire(key: Bytes, ttl: number | undefined, options?: BufferOptions): Promise<Buffer | undefined>;
  /**
   * Adds a number to a counter, in one atomic step. A key that does not exist becomes a counter with the value `initial` first.
   * A counter is an entry whose value is a decimal number: `get` returns its digits, and `set` may replace them. The result is a
   * `bigint`, because a counter has 64 bits; `Number(...)` converts one that is not above 2 ** 53.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param delta - The number to add, which may be negative: a `bigint`, or a `number` that is a safe integer.
   * @param options - `initial` and `ttl` of a new counter; `signal` aborts.
   * @returns The new value of the counter.
   * @throws `YC_E_INVALID` if the value of the key is not a decimal number, and if the sum does not fit in 64 bits with a sign: the
   * entry stays; `YC_E_TIMEOUT` also if the reply was lost: `delta` may have been added; `YC_E_BUSY` and `YC_E_UNSUPPORTED` as `setIf`.
   * @example
   * await cache.counterAdd('requests', 1, { ttl: 60_000 }); // => 1n
   * await cache.counterAdd('requests', 1, { ttl: 60_000 }); // => 2n
   * await cache.counterAdd('tickets', -2, { initial: 1000, ttl: Infinity }); // => 998n
   * await cache.get('tickets', { encoding: 'utf8' }); // => '998'
   */
  counterAdd(key: Bytes, delta: bigint | number, options?: CounterOptions): Promise<bigint>;

  /** Runs commands of Redis on the connections of this cache. */
  readonly redis: Redis;

  /**
   * Sends a message to every subscription that selects the channel, in every process that uses the same servers and `key_prefix`. A
   * channel need not be created. Messages are not stored: who is not subscribed does not get them. The library never sends one twice.
   *
   * On the memory backend the message goes to the subscriptions of this cache. On Redis names lie under the `key_prefix`, unless the
   * option `raw_channels` is set.
   *
   * @param channel - The channel, 1 byte to 64 KiB.
   * @param message - The message, up to `max_value_bytes`; it may be empty.
   * @param options - `signal` aborts.
   * @returns The number of subscriptions that the message was sent to; `-1` if it is unknown, in a cluster of Redis.
   * @throws `YC_E_INVALID` for an empty channel; `YC_E_TOO_LARGE`; `YC_E_DENIED` if the user lacks the permission for the channel;
   * `YC_E_TIMEOUT` if no reply came: the message may have been sent; `YC_E_UNSUPPORTED` on Memcached without `events`.
   * @example
   * await cache.publish('orders:new', '4711'); // => 0
   * const subscription = await cache.subscribe({ channels: ['orders:new'] });
   * await cache.publish('orders:new', '4712'); // => 1
   */
  publish(channel: Bytes, message: Bytes, options?: CallOptions): Promise<number>;
  /**
   * Subscribes to channels as the other form does, and receives messages as strings.
   *
   * @param options - `channels`, `patterns`; `encoding: 'utf8'` selects strings; `maxBytes`; `signal` ends the subscription.
   * @returns The subscription.
   * @throws The errors of the other form.
   * @example
   * const subscription = await cache.subscribe({ patterns: ['user:*'], encoding: 'utf8' });
   * await cache.publish('user:1', 'in');
   * await cache.publish('user:1', 'out');
   * for await (const message of subscription) {
   *   if (message.data === undefined) console.log('messages may be missing here');
   *   else console.log(`${message.channel}: ${message.data}`);
   *   if (message.data === 'out') break;
   * }
   */
  subscribe(options: SubscribeOptions & TextOptions): Promise<Subscription<string>>;
  /**
   * Subscribes to channels, and waits until their messages are delivered: what is published after that is received, as Buffers. On
   * Redis each subscription has a connection of its own.
   *
   * Messages wait in the subscription until they are received, at most `maxBytes`. What comes beyond that is dropped, and a `Gap` takes
   * its place: a slow reader never slows down a publisher. If the connection is lost, the library subscribes again, and a gap marks the
   * place. A message that several channels or patterns select comes once. After `switchTo` the subscription continues at the new
   * backend, after a gap.
   *
   * @param options - `channels`, `patterns`; `maxBytes`; `signal` ends the subscription, also while it is connecting.
   * @returns The subscription.
   * @throws `YC_E_INVALID` without a channel and a pattern, and for an empty one; `YC_E_TOO_LARGE` for a name over 64 KiB or more than 1024;
   * `YC_E_DENIED`; `YC_E_UNSUPPORTED` on Memcached without the option `events`.
   * @example
   * const stopping = new AbortController();
   * const subscription = await cache.subscribe({ channels: ['news', 'sport'], signal: stopping.signal });
   * await cache.publish('sport', Buffer.from([1, 2]));
   * await subscription.receive(); // => { channel: 'sport', data: <Buffer 01 02>, lost: 0 }
   * stopping.abort(new Error('enough'));
   * await subscription.receive().catch((error) => error.message); // => 'enough'
   */
  subscribe(options: SubscribeOptions & BufferOptions): Promise<Subscription<Buffer>>;

  /**
   * Reads events as the other form does, with names as Buffers.
   *
   * @param options - `encoding: 'buffer'` selects Buffers; `kinds`, `tags`, `keys`, `own`, `maxBytes`; `signal` ends the reader.
   * @returns The reader.
   * @throws The errors of the other form.
   * @example
   * const events = cache.events({ own: true, encoding: 'buffer' });
   * await events.ready;
   * await cache.invalidateTag(Buffer.from([0, 255]));
   * (await events.receive()).name; // => <Buffer 00 ff>
   */
  events(options: EventsOptions & { encoding: 'buffer' }): Events<Buffer>;
  /**
   * Returns a reader of events, and begins to open it at once. Events tell of tags and patterns that were invalidated, of flushes and of
   * deletes by every cache with the same servers and `key_prefix`: use them to keep other copies in step, such as pages in a browser. Await
   * `ready` if a change that follows must cause an event.
   *
   * On Redis every program needs the option `events`; on Memcached the option names the Redis server that carries the events. On the
   * memory backend they come from this cache alone, so that only a reader with `own` receives them. Events of the kinds `switch`,
   * `fallbackBegin` and `fallbackEnd` concern this cache, and are received without `own`, too. An event comes after its change. It may
   * also come for a change that failed.
   *
   * Events wait in the reader until they are received, at most `maxBytes`. What comes beyond that is dropped, and an `EventGap` takes its
   * place: a slow reader never slows down a writer. If the connection is lost, the library continues, and a gap marks the place; with the
   * option `events_journal` no gap occurs while the same server has the events. At a gap anything may have been removed. An event may
   * come twice.
   *
   * @param options - `kinds`, `tags` and `keys` select; `own`; `maxBytes`; `signal` ends the reader, also while it is opening.
   * @returns The reader.
   * @throws Errors of the arguments, `YC_E_CLOSED` for a closed cache, and the reason of a signal that is aborted: the call throws them.
   * All others come from `ready` and from the loop: `YC_E_INVALID` for an empty tag or pattern; `YC_E_TOO_LARGE` for a name over 64 KiB or
   * more than 1024; `YC_E_DENIED`; `YC_E_UNSUPPORTED` on Redis and Memcached without the option `events`.
   * @example
   * const events = cache.events({ tags: ['prices'], own: true });
   * await events.ready;
   * await cache.invalidateTag('prices');
   * for await (const event of events) {
   *   if (event.kind === 'tag') console.log(`${event.name} was invalidated`);
   *   else console.log('anything may have changed'); // A flush, a pattern, a gap.
   *   if (event.name === 'prices') break;
   * }
   */
  events(options?: EventsOptions & { encoding?: 'utf8' | 'utf-8' }): Events<string>;

  /**
   * Returns the value of a key as a string, or loads and stores it.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param loader - Returns the value, or a promise of it; `undefined`: no value.
   * @param options - `encoding: 'utf8'` selects a string; see `LoadOptions` for the others.
   * @returns The value; `undefined` if there is no value.
   * @throws The errors of the other form.
   * @example
   * await cache.getOrLoad('user:1', async () => 'Ada', { encoding: 'utf8', ttl: 60_000 }); // => 'Ada'
   */
  getOrLoad(key: Bytes, loader: Loader<Bytes>, options: LoadOptions & { encoding: 'utf8' | 'utf-8' }): Promise<string | undefined>;
  /**
   * Returns the value of a key as a Buffer, or loads and stores it. At a time one caller loads a key, among all processes that share
   * a store and a prefix. The others wait for its value. A value whose load began before an invalidation, a delete, a set or a
   * flush is not stored: the caller of that loader gets it, and no other caller does.
   *
   * A call waits for another caller's load for one second by default, and is then rejected with `YC_E_BUSY`: set `wait` to more than
   * the slowest load. The loader of the call itself is not limited.
   *
   * A stale value is returned at once, and one caller loads it again in the background. A failure is not cached. If a fill fails, for
   * example because the value is too large, the value is returned nevertheless, also to calls of this process that began before the
   * loader was called; calls that came later share one further load.
   *
   * The store counts as down after `YC_E_CONNECT`, `YC_E_AUTH`, `YC_E_TLS`, `YC_E_TIMEOUT`, `YC_E_SERVER_MEMORY` and every other error
   * that is `retryable`, except `YC_E_BUSY`. The callers of this process that find it down share one load, and nothing is stored. Every
   * other error of the store rejects the call, and nothing is loaded.
   *
   * A loader may load other keys, and should pass `fill.signal` on. One that asks for its own key with that signal gets `YC_E_INVALID`
   * at once; without the signal it waits for itself until the end of `wait`.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param loader - Returns the value, or a promise of it; `undefined`: no value, which the cache remembers.
   * @param options - `ttl`, `staleFor`, `absentTtl` and `tags` of the entry; `wait` and `lease` limit waits and loads; `staleIfError`,
   * `retryAfter` and `onRefreshError` decide about failures; `fresh` bypasses the near cache; `signal` ends the wait of this caller, and
   * the load if no other waits.
   * @returns The value, which no other caller shares; `undefined` if there is no value.
   * @throws The error of the loader, also for callers of this process that waited for it; `YC_E_BUSY` (retryable) if another caller
   * is still loading at the end of the wait, or if the last load failed within `retryAfter`; a `TypeError` for a loaded value
   * that is neither a string nor a `Uint8Array` (see `typed`); `YC_E_UNSUPPORTED` if the server denies what leases need, `YC_E_DENIED`
   * if it denies the key; `YC_E_CLOSED` if the cache is closed meanwhile.
   * @example
   * const load = async (fill) => (fill.key === 'user:1' ? 'Ada' : undefined); // Stands for a query.
   * await cache.getOrLoad('user:1', load, { ttl: 60_000, tags: ['users'] }); // => <Buffer 41 64 61>
   * await cache.getOrLoad('user:1', load, { ttl: 60_000, tags: ['users'] }); // => <Buffer 41 64 61>
   * await cache.getOrLoad('user:2', load); // => undefined
   */
  getOrLoad(key: Bytes, loader: Loader<Bytes>, options?: LoadOptions & { encoding?: 'buffer' }): Promise<Buffer | undefined>;
  /**
   * Returns the values of many keys as strings, or loads and stores them.
   *
   * @param keys - The keys. Duplicates are loaded once.
   * @param loader - Returns a `Map` or an object of values by key, or a promise of it.
   * @param options - `encoding: 'utf8'` selects strings; see `LoadOptions` for the others.
   * @returns A map from each key that has a value to it.
   * @throws The errors of `getOrLoad`.
   * @example
   * await cache.getOrLoadMany(['user:1', 'user:2'], async () => ({ 'user:1': 'Ada' }), { encoding: 'utf8' }); // => Map(1) { 'user:1' => 'Ada' }
   */
  getOrLoadMany<Key extends Bytes>(keys: Iterable<Key>, loader: ManyLoader<Key, Bytes>, options: LoadOptions & { encoding: 'utf8' | 'utf-8' }): Promise<Map<Key, string>>;
  /**
   * Returns the values of many keys as Buffers, or loads and stores them, as `getOrLoad` does. The loader is called once with the
   * keys that this caller has to load, and never without keys. Stale keys are loaded again in the background by a call of their
   * own. The keys that other callers load are waited for. If one of them becomes free, because its load failed or its value was
   * invalidated, the loader is called again with it.
   *
   * @param keys - The keys. Duplicates are loaded once. A `Uint8Array` is a copy in the result.
   * @param loader - Returns a `Map` or an object of values by key, or a promise of it. A key that it leaves out has no value.
   * @param options - See `getOrLoad`.
   * @returns A map from each key that has a value to it, in the order of the keys.
   * @throws The errors of `getOrLoad`, if any key fails.
   * @example
   * const rows = new Map([['user:1', 'Ada'], ['user:2', 'Grace']]); // Stands for a table.
   * const load = async (keys) => new Map(keys.map((key) => [key, rows.get(key)]));
   * const users = await cache.getOrLoadMany(['user:2', 'user:1', 'user:3'], load, { ttl: 60_000 });
   * users.size; // => 2
   * users.get('user:1'); // => <Buffer 41 64 61>
   */
  getOrLoadMany<Key extends Bytes>(keys: Iterable<Key>, loader: ManyLoader<Key, Bytes>, options?: LoadOptions & { encoding?: 'buffer' }): Promise<Map<Key, Buffer>>;

  /**
   * Returns a view of the cache whose values are of one type, with a codec that decodes strings.
   *
   * @param codec - Turns the values into text and back.
   * @returns The typed cache, which needs no closing.
   * @throws The errors of the other form.
   * @example
   * const dates = cache.typed({ name: 'date', encoding: 'utf8', encode: (date) => date.toISOString(), decode: (text) => new Date(text) });
   * await dates.getOrLoad('born', async () => new Date(0)); // => 1970-01-01T00:00:00.000Z
   * await cache.get('born', { encoding: 'utf8' }); // => '1970-01-01T00:00:00.000Z'
   */
  typed<Value>(codec: TextCodec<Value>): Typed<Value>;
  /**
   * Returns a view of the cache whose values are of one type. Views and the cache itself share keys, entries and loads.
   *
   * @param codec - Turns the values into bytes and back; JSON by default. `examples/messagepack.mjs` uses MessagePack.
   * @returns The typed cache, which needs no closing.
   * @throws A `TypeError` for a codec without `encode` and `decode`. It is thrown, because the method returns no promise.
   * @example
   * const users = cache.typed();
   * await users.getOrLoad('user:1', async () => ({ name: 'Ada' }), { ttl: 60_000 }); // => { name: 'Ada' }
   * await cache.get('user:1', { encoding: 'utf8' }); // => '{"name":"Ada"}'
   */
  typed<Value = unknown>(codec?: BytesCodec<Value>): Typed<Value>;

  /**
   * Reads the value of a key as a string, or gives the caller the right to load it.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `encoding: 'utf8'` selects a string; `lease`, `wait` and `tags` of the lease; `fresh` bypasses the near cache; `signal`
   * aborts.
   * @returns The state of the key, its value, and the lease.
   * @throws The errors of the other form.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.getOrLease('user:1', { encoding: 'utf8' }); // => { state: 'fresh', value: 'Ada', lease: undefined }
   */
  getOrLease(key: Bytes, options: LeaseOptions & { encoding: 'utf8' | 'utf-8' }): Promise<Leased<string>>;
  /**
   * Reads the value of a key as a Buffer, or gives the caller the right to load it. If another caller loads the key, the call
   * waits for that load without occupying a thread. For most programs `getOrLoad` is the better choice: this is the step below it.
   *
   * @param key - The key, 1 byte to 64 KiB.
   * @param options - `lease`, `wait` and `tags` of the lease; `fresh` bypasses the near cache; `signal` aborts.
   * @returns The state of the key, its value, and the lease.
   * @throws `YC_E_BUSY` (retryable) if the holder is still loading at the end of the wait, or if the last load failed and its
   * holder asked for a pause; `YC_E_INVALID` for a `lease` or `wait` over a day; `YC_E_UNSUPPORTED` if the server denies what leases need.
   * @example
   * const { state, lease } = await cache.getOrLease('user:1', { tags: ['users'] });
   * state; // => 'leased'
   * await lease.fill('Ada', { ttl: 60_000, staleFor: 600_000 }); // => true
   * await cache.get('user:1', { encoding: 'utf8' }); // => 'Ada'
   */
  getOrLease(key: Bytes, options?: LeaseOptions & { encoding?: 'buffer' }): Promise<Leased<Buffer>>;

  /**
   * Returns the values of many keys as strings, with one round trip per server. Keys of which the near cache has a copy are not requested.
   *
   * @param keys - The keys.
   * @param options - `encoding: 'utf8'` selects strings; `signal` aborts.
   * @returns One value for each key, in the order of the keys; `undefined` for a miss.
   * @throws The error of the first key that failed, with `codes` and `results` of every key. If a key is refused
   * (`YC_E_INVALID`, `YC_E_TOO_LARGE`), nothing is read.
   * @example
   * await cache.setMany([['a', '1'], ['b', '2']]);
   * await cache.getMany(['a', 'b', 'c'], { encoding: 'utf8' }); // => [ '1', '2', undefined ]
   */
  getMany(keys: Iterable<Bytes>, options: TextOptions): Promise<(string | undefined)[]>;
  /**
   * Returns the values of many keys as Buffers, with one round trip per server. Keys of which the near cache has a copy are not requested:
   * `get` with `fresh` bypasses it.
   *
   * @param keys - The keys.
   * @param options - `signal` aborts.
   * @returns One value for each key, in the order of the keys; `undefined` for a miss.
   * @throws The error of the first key that failed, with `codes` and `results` of every key.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.getMany(['user:1', 'user:2']); // => [ <Buffer 41 64 61>, undefined ]
   */
  getMany(keys: Iterable<Bytes>, options?: BufferOptions): Promise<(Buffer | undefined)[]>;
  /**
   * Stores many entries, all with the same time to live and tags, with one round trip per server.
   *
   * @param entries - Pairs of key and value, such as those of a `Map`.
   * @param options - `ttl` and `tags` of the entries; `signal` aborts.
   * @returns Nothing.
   * @throws The error of the first entry that failed, with `codes` of every entry. If an entry is refused (`YC_E_INVALID`,
   * `YC_E_TOO_LARGE`), none is stored.
   * @example
   * await cache.setMany(new Map([['user:1', 'Ada'], ['user:2', 'Grace']]), { tags: ['users'] });
   */
  setMany(entries: Iterable<readonly [Bytes, Bytes]>, options?: SetOptions): Promise<void>;
  /**
   * Removes many keys, with one round trip per server.
   *
   * @param keys - The keys.
   * @param options - `signal` aborts.
   * @returns For each key, `true` if it existed.
   * @throws The error of the first key that failed, with `codes` and `results` of every key. If a key is refused, none is removed.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.deleteMany(['user:1', 'user:2']); // => [ true, false ]
   */
  deleteMany(keys: Iterable<Bytes>, options?: CallOptions): Promise<boolean[]>;

  /**
   * Turns every entry that was set with the tag into a miss. After the promise is fulfilled, no process reads an entry that was
   * set with the tag before the call.
   *
   * @param tag - The tag. A tag that no entry has is no error.
   * @param options - `count` counts; `dryRun` counts and removes nothing; `signal` aborts.
   * @returns With `count` or `dryRun`, the number of entries that could be read until then, or `undefined` if the backend cannot count.
   * @throws `YC_E_TIMEOUT` if the option `invalidation_replicas` is set and too few replicas received the invalidation.
   * @example
   * await cache.set('page:1', '<h1>Ada</h1>', { tags: ['user:1'] });
   * await cache.invalidateTag('user:1', { count: true }); // => 1
   */
  invalidateTag(tag: Bytes, options?: CountOptions): Promise<number | undefined>;
  /**
   * Invalidates the entries that have any of the tags, as `invalidateTag` does.
   *
   * @param tags - The tags. An entry with several of them is counted once.
   * @param options - `count` counts; `dryRun` counts and removes nothing; `signal` aborts.
   * @returns With `count` or `dryRun`, the number of entries that could be read until then, or `undefined` if the backend cannot count.
   * @throws The errors of `invalidateTag`.
   * @example
   * await cache.set('page:1', '<h1>Ada</h1>', { tags: ['user:1', 'pages'] });
   * await cache.invalidateTags(['user:1', 'pages'], { dryRun: true }); // => 1
   * await cache.invalidateTags(['user:1', 'pages'], { count: true }); // => 1
   */
  invalidateTags(tags: Iterable<Bytes>, options?: CountOptions): Promise<number | undefined>;
  /**
   * Removes the keys that match a glob. The glob matches the whole key and is case-sensitive: `*` matches any bytes, `?` any
   * byte, `[a-z]` a byte of the range, `[^a]` any other byte, and `\x` the byte x itself. Entries that are set during the call
   * may stay.
   *
   * @param pattern - The glob, up to 64 KiB.
   * @param options - `count` counts; `dryRun` counts and removes nothing; `signal` aborts.
   * @returns With `count` or `dryRun`, the number of removed entries, or `undefined` if the backend cannot count.
   * @throws `YC_E_UNSUPPORTED` if the backend cannot list keys.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.invalidatePattern('user:*', { count: true }); // => 1
   */
  invalidatePattern(pattern: Bytes, options?: CountOptions): Promise<number | undefined>;
  /**
   * Makes misses of all entries of a view with a namespace, or of a cache with the option `generations`, in one write for any number of
   * entries, also where a server cannot list keys. After it, no process reads an entry that was set before, and a load that began before
   * is not stored. Other namespaces stay. The memory of the entries is freed by their times to live and by eviction.
   *
   * @param options - `count` counts, on memory; `dryRun` counts and removes nothing; `signal` aborts.
   * @returns With `count` or `dryRun`, the number of entries that could be read until then, or `undefined` if the backend cannot count.
   * @throws `YC_E_UNSUPPORTED` if the entries have no generations.
   * @example
   * const users = cache.view({ namespace: 'users' });
   * await users.set('1', 'Ada');
   * await users.clear();
   * await users.get('1'); // => undefined
   */
  clear(options?: CountOptions): Promise<number | undefined>;
  /**
   * Removes every entry under the `key_prefix` of this cache, and no other entries.
   *
   * @param options - `count` counts; `dryRun` counts and removes nothing; `signal` aborts.
   * @returns With `count` or `dryRun`, the number of entries that could be read until then, or `undefined` if the backend cannot count.
   * @throws No errors of its own.
   * @example
   * await cache.set('user:1', 'Ada');
   * await cache.flush({ count: true }); // => 1
   */
  flush(options?: CountOptions): Promise<number | undefined>;

  /**
   * Lists the keys that match a glob as Buffers, page by page.
   *
   * @param pattern - The glob; `undefined` matches every key.
   * @param options - `encoding: 'buffer'` selects Buffers; `tags` selects the keys of entries that have any of them; `pageSize` limits a
   * page; `signal` aborts.
   * @returns An iterator over the keys.
   * @throws `YC_E_UNSUPPORTED` if the backend cannot list keys.
   * @example
   * await cache.set('user:1', 'Ada');
   * for await (const key of cache.keys('user:*', { encoding: 'buffer' })) console.log(key.length);
   */
  keys(pattern: Bytes | undefined, options: ListOptions & { encoding: 'buffer' }): AsyncGenerator<Buffer, void, void>;
  /**
   * Lists the keys that match a glob (see `invalidatePattern`) as strings, page by page. A key that exists during the whole listing
   * is returned at least once. It is returned more than once only if servers changed. A key that is added or removed during the
   * listing may be returned. Writers are not blocked.
   *
   * @param pattern - The glob; every key by default.
   * @param options - `tags` selects the keys of entries that have any of them; `pageSize` limits a page; `signal` aborts.
   * @returns An iterator over the keys.
   * @throws `YC_E_UNSUPPORTED` if the backend cannot list keys.
   * @example
   * await cache.set('user:1', 'Ada', { tags: ['staff'] });
   * for await (const key of cache.keys('user:*')) console.log(key);
   * for await (const key of cache.keys('*', { tags: ['staff'] })) console.log(key);
   */
  keys(pattern?: Bytes, options?: ListOptions & { encoding?: 'utf8' | 'utf-8' }): AsyncGenerator<string, void, void>;
  /**
   * Finds the keys that are most similar to a query, as Buffers.
   *
   * @param query - The query, at most 1 KiB.
   * @param options - `encoding: 'buffer'` selects Buffers; `threshold`, `limit` and `tags` restrict the matches; `signal` aborts.
   * @returns The matches, best first.
   * @throws The errors of the other form.
   * @example
   * await cache.set('ada', '1');
   * await cache.search('ada', { encoding: 'buffer' }); // => [ { key: <Buffer 61 64 61>, score: 100 } ]
   */
  search(query: Bytes, options: SearchOptions & { encoding: 'buffer' }): Promise<Match<Buffer>[]>;
  /**
   * Finds the keys that are most similar to a query. The score is the partial ratio of rapidfuzz on bytes: the similarity of the
   * query to the best-matching part of the key, 100 if the key contains the query. The search examines every key of the cache.
   *
   * @param query - The query, at most 1 KiB.
   * @param options - `threshold`, `limit` and `tags` restrict the matches; `signal` aborts.
   * @returns The matches, best first, equal scores ordered by key.
   * @throws `YC_E_INVALID` for an empty query, a threshold outside 0 to 100 and a limit of 0; `YC_E_TOO_LARGE` for a query over
   * 1 KiB; `YC_E_UNSUPPORTED` if the backend cannot list keys.
   * @example
   * await cache.set('user:ada lovelace', '1');
   * const matches = await cache.search('lovlace', { threshold: 80, limit: 1 });
   * matches[0].key; // => 'user:ada lovelace'
   */
  search(query: Bytes, options?: SearchOptions & { encoding?: 'utf8' | 'utf-8' }): Promise<Match<string>[]>;

  /**
   * Opens a view: a second cache on the same connections and threads, with other defaults. All methods work on a view, except
   * `switchTo` and `migrateTo`. A switch of the cache applies to its views.
   *
   * With a namespace the keys and the tags of the view are apart from those of the cache and of other namespaces. `keys`, `search`
   * and events return them without the namespace, and `clear` and `flush` remove the entries of the namespace alone. Channels and `redis` are
   * those of the cache. All views of a namespace have the same statistics, which those of the cache contain too.
   *
   * A view of a view has the options of both; the later one counts, and the tags are added.
   * Close a view that is no longer needed: this closes no connection. The calls of a
   * view fail with `YC_E_CLOSED` after its cache was closed.
   *
   * @param options - `namespace`, `timeout`, `defaultTtl`, `tags`, `touchOnGet`, `maxAge` and `patterns` of the view.
   * @returns The view.
   * @throws `TypeError` for options of a wrong type; `YC_E_CONFIG` for those that cannot be used; `YC_E_INVALID` for a negative time,
   * and for a namespace in a view that has one; `YC_E_CLOSED`.
   * @example
   * const users = cache.view({ namespace: 'users', defaultTtl: 60_000 });
   * await users.set('1', 'Ada');
   * await users.get('1', { encoding: 'utf8' }); // => 'Ada'
   * await cache.get('1'); // => undefined
   * await users.close();
   */
  view(options?: ViewOptions): Cache;
  /**
   * Replaces the backend by that of a configuration. Calls in flight finish on the old backend, later calls are served by the
   * new one, and none fails. The key prefix, default TTL and fallback are those of the new configuration. With `copy`, changes
   * during the copy are copied too. The switch runs on a thread of its own until the old backend is closed, and keeps the process
   * alive. Only `close` ends it early.
   *
   * @param config - The configuration of the new backend, as `open` takes it.
   * @param options - `copy` copies the entries; `rate` limits the copy.
   * @returns A report.
   * @throws The errors of `open`; `YC_E_BUSY` while another switch of this cache is running; `YC_E_UNSUPPORTED` if entries are
   * to be copied and the backend cannot list keys; `YC_E_CLOSED` if the cache is closed. The cache then continues to use
   * the old backend.
   * @example
   * await cache.set('user:1', 'Ada');
   * const report = await cache.switchTo('memory://?max_size=1000000&key_prefix=new', { copy: true });
   * report.copied.copied; // => 1
   * await cache.get('user:1', { encoding: 'utf8' }); // => 'Ada'
   */
  switchTo(config: string | ConfigDocument, options?: SwitchOptions): Promise<SwitchReport>;
  /**
   * Copies the entries of this cache into another cache: values, remaining times to live and tags. An entry that the target
   * already has stays. No copy undoes an invalidation that this process makes on either side, and both caches stay in use. The
   * migration runs on a thread of its own and keeps the process alive.
   *
   * @param target - The cache that receives the entries.
   * @param options - `pattern`, `rate`, `dryRun`, `resume` select what is copied and how; `onProgress` receives the
   * progress; `signal` stops the migration.
   * @returns A report.
   * @throws `YC_E_INVALID` for a migration of a cache onto itself (the same servers and prefix) and for a wrong `resume`;
   * `YC_E_CONFIG` for wrong options; `YC_E_UNSUPPORTED` if the backend cannot list keys; `YC_E_CLOSED` if either cache is closed;
   * the error of a server that fails for more than about three seconds. Entries that were copied stay.
   * @example
   * await cache.set('user:1', 'Ada', { tags: ['users'] });
   * const target = await Cache.open('memory://?key_prefix=target');
   * const report = await cache.migrateTo(target, { pattern: 'user:*', onProgress: ({ copied }) => copied < 1_000_000 });
   * report.copied; // => 1
   * await target.close();
   */
  migrateTo(target: Cache, options?: MigrateOptions): Promise<MigrateReport>;

  /**
   * Returns counters since the cache was opened, sizes and latencies.
   *
   * @param options - `signal` aborts.
   * @returns The report; a number that is unknown at present is `null`.
   * @throws No errors of its own. The call does not fail while servers are down.
   * @example
   * await cache.set('user:1', 'Ada');
   * (await cache.stats()).sets; // => 1
   */
  stats(options?: CallOptions): Promise<Stats>;
  /**
   * Reports whether the cache can serve. The call contacts every server and changes no counter.
   *
   * @param options - `signal` aborts.
   * @returns The report: `status` is `healthy`, `degraded` or `unhealthy`; `reasons` explains it; `details.servers` has the
   * report of each server.
   * @throws No errors of its own. The call does not fail while servers are down.
   * @example
   * (await cache.health()).status; // => 'healthy'
   */
  health(options?: CallOptions): Promise<Health>;
  /**
   * Reports whether a key is a hit, why, and where it is. The call is not counted as a hit or a miss, is no use of the entry, and
   * changes nothing.
   *
   * @param key - The key.
   * @param options - `tags` are names by which tags are reported (entries contain hashes of their tags); `signal` aborts.
   * @returns The report.
   * @throws The errors of `get`.
   * @example
   * await cache.set('user:1', 'Ada', { tags: ['users'] });
   * await cache.invalidateTag('users');
   * (await cache.explain('user:1', { tags: ['users'] })).reason; // => 'invalidated'
   */
  explain(key: Bytes, options?: ExplainOptions): Promise<Explanation>;
  /**
   * Returns counters, gauges and a histogram of latencies in the text format of Prometheus. Serve it as
   * `text/plain; version=0.0.4`. A text describes one cache: do not concatenate the texts of several caches, but use `metricsOf`.
   *
   * @param options - `signal` aborts.
   * @returns The text.
   * @throws No errors of its own. The call does not fail while servers are down.
   * @example
   * (await cache.metrics()).includes('# TYPE yokedcache_'); // => true
   */
  metrics(options?: CallOptions): Promise<string>;
  /**
   * Checks that every server of the backend replies.
   *
   * @param options - `signal` aborts.
   * @returns Nothing.
   * @throws The error of the first server that does not reply, such as `YC_E_CONNECT` or `YC_E_TIMEOUT`.
   * @example
   * await cache.ping();
   */
  ping(options?: CallOptions): Promise<void>;
  /**
   * Describes the abilities of the current backend. They change with `switchTo`.
   *
   * @throws `YC_E_CLOSED` if the cache is closed.
   * @example
   * cache.capabilities.share; // => false
   */
  readonly capabilities: Capabilities;

  /**
   * Closes the cache. Operations in flight may finish for `timeout` milliseconds; then they are rejected with `YC_E_CLOSED`, as
   * later calls are. When the promise is fulfilled, all connections and memory of the cache are released. Further calls have no
   * effect.
   *
   * @param options - `timeout` in milliseconds; 5000 by default.
   * @returns Nothing.
   * @throws `YC_E_TIMEOUT` if operations in flight were interrupted. The cache is closed nevertheless.
   * @example
   * await cache.close({ timeout: 1000 });
   * const error = await cache.get('user:1').catch((error) => error);
   * error.code; // => 'YC_E_CLOSED'
   */
  close(options?: { timeout?: number }): Promise<void>;
  /**
   * Closes the cache, as `await using cache = await Cache.open(...)` does at the end of its block.
   *
   * @returns Nothing.
   * @throws The errors of `close`.
   * @example
   * if (Symbol.asyncDispose) await cache[Symbol.asyncDispose]();
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Returns the settings that `Cache.open` would use: the backend, its servers and the options by name, with times in milliseconds
 * (`default_ttl_ms`). Nothing is opened: no server is contacted and no certificate is read. `password` is `true` or `false`, never
 * the password.
 *
 * @param config - The configuration, as `Cache.open` takes it.
 * @returns The settings.
 * @throws `YC_E_CONFIG` for a configuration that cannot be used; `YC_E_UNSUPPORTED` for a backend that the library was built
 * without.
 * @example
 * const settings = await checkConfig('redis://:secret@cache.example.com?key_prefix=app');
 * settings.servers; // => [ 'cache.example.com:6379' ]
 * settings.password; // => true
 */
export function checkConfig(config: string | ConfigDocument): Promise<Record<string, any>>;
/**
 * Returns the settings that `Cache.openFile` would use, as `checkConfig` does.
 *
 * @param path - The path of the file, or its `file:` URL.
 * @param environment - The environment to use; by default the variable `ENVIRONMENT` selects it (`development` if unset).
 * @returns The settings.
 * @throws The errors of `checkConfig`; also `YC_E_CONFIG` for a file that cannot be read and an environment that it does not have.
 * @example
 * await writeFile('cache.yaml', 'cache: { test: { backend: memory, memory: { max_size: 7, key_prefix: app } } }');
 * (await checkConfigFile('cache.yaml', 'test')).max_size; // => 7
 */
export function checkConfigFile(path: string | URL, environment?: string): Promise<Record<string, any>>;

/**
 * Returns the metrics of many caches as one text in the format of Prometheus, as `cache.metrics` does for one. Each metric family is
 * declared once. Each sample has the name of its cache as the label `cache`; the samples are in the order of the names. The servers of
 * all caches are asked at the same time. A cache that is closed is left out.
 *
 * @param caches - A plain object of the caches, by their names. A name has 1 to 256 bytes of UTF-8.
 * @param options - `signal` aborts.
 * @returns The text.
 * @throws `YC_E_INVALID` for a name that is empty or too long. The call does not fail while servers are down.
 * @example
 * const pages = await Cache.open('memory://?key_prefix=pages');
 * const text = await metricsOf({ users: cache, pages });
 * text.includes('yokedcache_up{cache="pages",backend="memory",key_prefix="pages"} 1'); // => true
 */
export function metricsOf(caches: Readonly<Record<string, Cache>>, options?: CallOptions): Promise<string>;

/** Describes what `collectInto` needs of a register: a `Registry` of `prom-client` has it. */
export interface Register {
  /** Registers a metric. */
  registerMetric: (metric: any) => void;
}

/**
 * Collects the metrics of caches into a register of `prom-client`, as `metricsOf` returns them. From then on, each scrape of the register
 * asks the caches; the scrape fails only if a metric of another program part has the same name. A metric that a cache has later, such as
 * one of a near cache after a switch, is in the scrapes after the first one that has found it.
 *
 * Further calls with the same register add caches. A name that is given again names the new cache. A cache that is closed is left out.
 *
 * @param register - The register.
 * @param caches - A plain object of the caches, by their names, as for `metricsOf`.
 * @returns A promise that is fulfilled when the metrics are registered.
 * @throws The errors of `metricsOf`, and of `register.registerMetric` for a name that is taken.
 * @example
 * const register = { metrics: [], registerMetric(metric) { this.metrics.push(metric); } }; // new Registry() of prom-client
 * await collectInto(register, { users: cache });
 * register.metrics.some(({ name }) => name === 'yokedcache_hits_total'); // => true
 */
export function collectInto(register: Register, caches: Readonly<Record<string, Cache>>): Promise<void>;

/**
 * Describes a call in the messages of the TracingChannel `yokedcache:command` of `node:diagnostics_channel`. Every method of a cache that
 * returns a promise is published, except `close`; so are `redis.command` and the methods of leases. Without a subscriber nothing is
 * published, and a call does no more than to look for one. A context has no key. TracingChannel exists from Node 18.19 on.
 *
 * The calls of a `getOrLoad` loader run in the store that a subscriber binds to the start of the `getOrLoad`. `setJson` is published as
 * `set`, `invalidateTag` as `invalidateTags`, and the methods of a typed view as those of the cache.
 *
 * @example
 * const { tracingChannel } = await import('node:diagnostics_channel');
 * const seen = [];
 * const subscriber = { asyncEnd: ({ operation, backend, error }) => seen.push([operation, backend, error]) };
 * tracingChannel('yokedcache:command').subscribe(subscriber);
 * await cache.get('user:1');
 * tracingChannel('yokedcache:command').unsubscribe(subscriber);
 * seen.length; // => 1
 */
export interface CommandContext {
  /** Names the method. */
  operation: string;
  /**
   * Names the backend: `'memory'`, `'redis'` or `'memcached'`. The first calls of a cache that was opened without a subscriber do not have this
   * and the next three.
   */
  backend?: string;
  /** Holds the `key_prefix` of the cache. */
  keyPrefix?: string;
  /** Holds the host of the server, or the path of its socket, if the cache has one server alone. */
  serverAddress?: string;
  /** Holds the port of the server. */
  serverPort?: number;
  /** Holds the namespace of the view. */
  namespace?: string;
  /** Holds what the promise of the call is fulfilled with, in the messages `asyncStart` and `asyncEnd`: for a `get` its value. */
  result?: unknown;
  /** Holds what the promise of the call is rejected with, in the messages `error`, `asyncStart` and `asyncEnd`. */
  error?: unknown;
}

/** Names the level of a log line, from the most severe one. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** Holds a log line of the library. */
export interface LogLine {
  /** Names the level. */
  level: LogLevel;
  /** Holds the text, without a line end. It contains no key, value or password. */
  message: string;
  /** Tells when the line was written. */
  time: Date;
  /** Counts the lines that were dropped since the line that was passed before, because 1024 lines waited. */
  dropped: number;
}

/** Receives log lines by level, as loggers such as pino, winston and `console` do. It has at least one of the methods. */
export interface Logger {
  /** Receives errors. */
  error?(message: string): unknown;
  /** Receives warnings. */
  warn?(message: string): unknown;
  /** Receives information. */
  info?(message: string): unknown;
  /** Receives details. */
  debug?(message: string): unknown;
  /** Receives the rest. */
  trace?(message: string): unknown;
}

/**
 * Sets the log of the library for all caches of the process, its workers included, in place of the previous one. Without a log the
 * library writes no lines. The guide's page `reports.md` lists the lines of each level.
 *
 * The function runs in the loop of the thread that called `setLog`, later than the line was written: see `time`. It delays no operation
 * of a cache: up to 1024 lines wait for it, and those beyond are dropped. It does not keep the process alive; lines that wait when the
 * process exits are passed in the event `exit`. An error that it throws is an uncaught exception, as that of a listener of an
 * `EventEmitter` is, and ends the process unless there is a listener of `uncaughtException`. The log of a worker ends with the worker.
 *
 * When `setLog` returns, the previous function of this thread has got the lines that were written before, and is not called any more. If
 * it calls `setLog` itself, the lines that wait are dropped. It may use open caches. If it opens or closes caches, it causes lines of
 * its own.
 *
 * @param log - The function, a logger with some of the methods `error`, `warn`, `info`, `debug` and `trace`, or `null` to end logging. If a
 * logger does not have the method of a level, the next more severe one is called, else the next less severe one.
 * @param options - `level` is the least severe level that is passed; `'info'` by default.
 * @returns Nothing.
 * @throws A `TypeError` for another log; `YC_E_INVALID` for another level.
 * @example
 * setLog(({ level, message }) => console.log(level, message), { level: 'warn' });
 * setLog(console);
 * setLog(null);
 */
export function setLog(log: ((line: LogLine) => void) | Logger | null, options?: { level?: LogLevel }): void;

/**
 * Holds the version of the native library, such as `0.1.0`.
 *
 * @example
 * version.split('.').length; // => 3
 */
export const version: string;
