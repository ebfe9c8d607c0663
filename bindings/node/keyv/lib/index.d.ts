import { EventEmitter } from 'node:events';
import type { Keyv, KeyvOptions } from 'keyv';
import type { Cache } from 'yokedcache';

/**
 * Stores the entries of a Keyv in a cache: `new Keyv({ store: new KeyvYokedCache(cache) })`.
 *
 * The entries are in a namespace of the cache, which is that of the Keyv, or `keyv`. A namespace that is not 1 to 64 of A-Z a-z 0-9 _ . -
 * is replaced by its SHA-256. A store belongs to one Keyv: a second one would change its namespace.
 *
 * The methods are those that Keyv calls. They are rejected with the errors of the cache. The event `error` tells the errors of `get`,
 * which Keyv otherwise returns as misses; see the option `throwOnErrors` of Keyv.
 */
export class KeyvYokedCache extends EventEmitter {
  /**
   * Creates a store.
   *
   * @param cache - The cache, without a namespace. The caller closes it.
   * @param options - `namespace` is the namespace without a Keyv.
   */
  constructor(cache: Cache, options?: { namespace?: string });

  /** Holds what Keyv reads of a store. */
  opts: any;
  /** Names the namespace. Keyv sets it. */
  namespace?: string;

  /** Returns the value of a key, or `undefined`. */
  get(key: string): Promise<any>;
  /** Returns the values of keys, `undefined` for those that do not exist. */
  getMany(keys: string[]): Promise<any[]>;
  /** Sets a value that Keyv has serialized, for `ttl` milliseconds, or for ever. */
  set(key: string, value: any, ttl?: number): Promise<boolean>;
  /** Sets many values, in one call of the cache for each time to live. Without an error, each element is true. */
  setMany(entries: { key: string; value: any; ttl?: number }[]): Promise<any>;
  /** Deletes a key. Returns whether it existed. */
  delete(key: string): Promise<boolean>;
  /** Deletes keys. Returns whether all existed. */
  deleteMany(keys: string[]): Promise<boolean>;
  /** Removes the entries of the namespace in one write, on all backends. */
  clear(): Promise<void>;
  /** Returns whether a key exists. */
  has(key: string): Promise<boolean>;
  /** Returns for each key whether it exists. */
  hasMany(keys: string[]): Promise<boolean[]>;
  /** Yields the keys and values of a namespace. Fails with `YC_E_UNSUPPORTED` if the server cannot list keys. */
  iterator(namespace?: string): AsyncGenerator<any, void>;
  /** Closes the views of the store, not the cache. */
  disconnect(): Promise<void>;
}

/**
 * Creates a Keyv whose entries are in a cache. Its keys have no second prefix, and errors of the cache reject its calls: an error is never
 * a miss.
 *
 * @param cache - The cache, without a namespace. The caller closes it.
 * @param options - The options of Keyv, except `store` and `useKeyPrefix`. `namespace` is `'keyv'` by default; `throwOnErrors` is true by
 * default.
 * @returns The Keyv.
 */
export function createKeyv(cache: Cache, options?: Omit<KeyvOptions, 'store' | 'useKeyPrefix'>): Keyv;
