/// <reference types="node" />

/**
 * One cache with one meaning over memory, Redis and Memcached.
 *
 * Every method of `Cache` but `getSync` answers a promise at once; what is wrong with its arguments rejects it. Rejections
 * are `TypeError` (code `ERR_INVALID_ARG_TYPE`) for an argument of a wrong type and for an unknown option, the reason of a signal that was aborted,
 * and `YokedCacheError` for everything else. A miss is `undefined`, never an error; an error is never a miss.
 */

/** Bytes, or a text, which stands for its UTF-8 bytes. A text with half a surrogate pair is refused with a TypeError. */
export type Bytes = string | Uint8Array;

/** What went wrong. */
export class YokedCacheError extends Error {
  /** The name of a status of yokedcache.h, such as `YC_E_TIMEOUT`; the README lists them. */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Of `getMany`, `setMany` and `deleteMany` that failed for some keys: `YC_OK`, `YC_MISS` or an error, for each key. */
  readonly codes?: string[];
  /** And what came for each key; `undefined` where it failed. */
  readonly results?: unknown[];
  constructor(code: string, message: string, retryable?: boolean);
}

export interface CallOptions {
  /**
   * Rejects the promise with its reason when it is aborted. What was submitted already may be carried out all the same.
   */
  signal?: AbortSignal;
}

export interface SetOptions extends CallOptions {
  /**
   * Milliseconds, rounded up. 0 and Infinity never expire; without it the cache's `default_ttl` counts, shortened at random by
   * its `ttl_jitter`.
   */
  ttl?: number;
  /** Up to 64. They replace those that the key has. */
  tags?: Iterable<Bytes>;
}

export interface CountOptions extends CallOptions {
  /** Count what goes: takes longer, and gives `undefined` where the backend cannot know. */
  count?: boolean;
}

export interface TextOptions extends CallOptions {
  encoding: 'utf8' | 'utf-8';
}

export interface BufferOptions extends CallOptions {
  encoding?: 'buffer';
}

export interface ListOptions extends CallOptions {
  /** The most keys that are read at once; 512 if left out. */
  pageSize?: number;
}

export interface SearchOptions extends CallOptions {
  /** The lowest score that counts, 0 to 100; 80 if left out. */
  threshold?: number;
  /** The most matches; 10 if left out. */
  limit?: number;
  /** Only entries that have one of these tags. */
  tags?: Iterable<Bytes>;
}

export interface Match<Key> {
  key: Key;
  /** From 0 to 100. */
  score: number;
}

export interface Capabilities {
  /** Keys can be listed: `keys`, `search` and `invalidatePattern` work. */
  list: boolean;
  /** Invalidations know how many entries they removed. */
  count: boolean;
  /** Other processes see the same entries. */
  share: boolean;
  /** The sizes in `stats` are exact. */
  size: boolean;
}

export interface SwitchOptions {
  /** Copy what the cache holds before the new backend serves; without it the new one begins with what it has. */
  copy?: boolean;
  /** The most entries copied a second; no limit if left out. */
  rate?: number;
}

export interface SwitchReport {
  /** The name of the backend that serves now. */
  backend: string;
  /** What was copied; `null` when nothing was to be. */
  copied: MigrateReport | null;
  [name: string]: unknown;
}

export interface MigrateProgress {
  /** Keys looked at. */
  examined: number;
  /** Entries stored at the target, or that would be. */
  copied: number;
  /** Entries that were not, for a reason that is no failure: the target has one, or it is gone from the source. */
  skipped: number;
  /** Entries that could not be. */
  failed: number;
  /** What `MigrateOptions` take to go on from here, or a little before, also in another process; `undefined` at the end. */
  resume: string | undefined;
}

export interface MigrateOptions {
  /** Only keys that match this glob; all if left out. */
  pattern?: string;
  /** The most entries a second; no limit if left out. */
  rate?: number;
  /** Count what would be copied, and store nothing. */
  dryRun?: boolean;
  /** Go on where an earlier run was: the `resume` that it told last. */
  resume?: string;
  /**
   * Told how far it is after each few hundred keys; the migration waits for it, the event loop does not. `false` ends it
   * there, with a report that can be resumed. What it throws ends it too, and rejects the promise.
   */
  onProgress?: (progress: MigrateProgress) => boolean | void;
  /** Ends it at the next progress; then the promise is rejected with the signal's reason. What was copied stays. */
  signal?: AbortSignal;
}

export interface MigrateReport {
  /** Whether it came to its end. */
  complete: boolean;
  dry_run: boolean;
  /** Keys looked at. */
  examined: number;
  /** Entries stored at the target, or that would be. */
  copied: number;
  /** Entries that were not, by reason: `present` at the target, `gone` from the source. */
  skipped: Record<string, number>;
  /** Entries that could not be. */
  failed: number;
  /** And why. */
  failures: Record<string, number>;
  /** The most that the end of an entry of a sample has moved; `null` when none of the sample has an end. */
  largest_ttl_drift_ms: number | null;
  elapsed_ms: number;
  /** What `MigrateOptions` take to go on from here, or a little before; `null` at the end. */
  resume: string | null;
  [name: string]: unknown;
}

/** A configuration as a document: `{ backend: 'redis', redis: { url: 'redis://localhost' } }`. */
export interface ConfigDocument {
  [name: string]: unknown;
}

export class Cache {
  private constructor();

  /** Opens a cache from a URL, a YAML or JSON text, or an object in place of such a text. */
  static open(config: string | ConfigDocument, options?: CallOptions): Promise<Cache>;
  /** Opens a cache from a file; `environment` (else the variable ENVIRONMENT, else `development`) names the part that counts. */
  static openFile(path: string | URL, environment?: string, options?: CallOptions): Promise<Cache>;
  /** Opens a cache from the process's YOKEDCACHE_URL, else YOKEDCACHE_CONFIG, else REDIS_URL. */
  static openEnv(options?: CallOptions): Promise<Cache>;

  /** The value of a key, as a Buffer or as text; `undefined` for a miss. */
  get(key: Bytes, options: TextOptions): Promise<string | undefined>;
  get(key: Bytes, options?: BufferOptions): Promise<Buffer | undefined>;
  /** As `get`, in this very call: on the memory backend. Throws `YC_E_UNSUPPORTED` where it would have to wait for a server. */
  getSync(key: Bytes, options: { encoding: 'utf8' | 'utf-8' }): string | undefined;
  getSync(key: Bytes, options?: { encoding?: 'buffer' }): Buffer | undefined;
  /** The value parsed as JSON; `undefined` for a miss, a SyntaxError for what is no JSON. */
  getJson<T = unknown>(key: Bytes, options?: CallOptions): Promise<T | undefined>;
  /** Stores a value in place of any other. The arguments may change as soon as this has returned. */
  set(key: Bytes, value: Bytes, options?: SetOptions): Promise<void>;
  /** Stores `JSON.stringify(value)`. */
  setJson(key: Bytes, value: unknown, options?: SetOptions): Promise<void>;
  /** Removes a key; whether it was there. */
  delete(key: Bytes, options?: CallOptions): Promise<boolean>;
  /** Whether a key is there. No use of the entry, for eviction. */
  exists(key: Bytes, options?: CallOptions): Promise<boolean>;
  /** Gives a key another time to live from now on (`undefined`: the default); whether it was there. */
  expire(key: Bytes, ttl: number | undefined, options?: CallOptions): Promise<boolean>;
  /** The milliseconds left, Infinity when it never expires, `undefined` for a miss. */
  ttl(key: Bytes, options?: CallOptions): Promise<number | undefined>;

  /** The value of each key. Where one fails the error has `codes` and `results`. */
  getMany(keys: Iterable<Bytes>, options: TextOptions): Promise<(string | undefined)[]>;
  getMany(keys: Iterable<Bytes>, options?: BufferOptions): Promise<(Buffer | undefined)[]>;
  /** Stores pairs, such as those of a Map, with one time to live and the same tags. When one is refused none is stored. */
  setMany(entries: Iterable<readonly [Bytes, Bytes]>, options?: SetOptions): Promise<void>;
  /** Removes keys; whether each was there. */
  deleteMany(keys: Iterable<Bytes>, options?: CallOptions): Promise<boolean[]>;

  /** Makes every entry that was set with the tag a miss, for every process. How many, if `count` asks for it. */
  invalidateTag(tag: Bytes, options?: CountOptions): Promise<number | undefined>;
  /** As `invalidateTag`, for entries that have any of the tags. */
  invalidateTags(tags: Iterable<Bytes>, options?: CountOptions): Promise<number | undefined>;
  /** Removes the keys that match a glob: `*`, `?`, `[a-z]`, `[^a]`, and `\x` for x itself. */
  invalidatePattern(pattern: Bytes, options?: CountOptions): Promise<number | undefined>;
  /** Removes every entry of this cache's key_prefix, and nobody else's. */
  flush(options?: CountOptions): Promise<number | undefined>;

  /** The keys that match a glob (all if left out), read page by page. As text, like the names of `fs.readdir`, or as Buffers. */
  keys(pattern: Bytes | undefined, options: ListOptions & { encoding: 'buffer' }): AsyncGenerator<Buffer, void, void>;
  keys(pattern?: Bytes, options?: ListOptions & { encoding?: 'utf8' | 'utf-8' }): AsyncGenerator<string, void, void>;
  /** Finds the keys most like a query of at most 1 KiB, best first, scored by rapidfuzz's partial ratio. */
  search(query: Bytes, options: SearchOptions & { encoding: 'buffer' }): Promise<Match<Buffer>[]>;
  search(query: Bytes, options?: SearchOptions & { encoding?: 'utf8' | 'utf-8' }): Promise<Match<string>[]>;

  /**
   * Replaces the backend by the one that a configuration asks for, as `open` takes it. Calls under way finish on the old one,
   * later ones are served by the new one, and none fails. Key prefix, default TTL and fallback are the new configuration's. It runs
   * on a thread of its own until the old backend is closed; only `close` ends it early. Rejected with `YC_E_CONFIG`, with what
   * opening fails with, with `YC_E_BUSY` while another switch of this cache is under way, with `YC_E_UNSUPPORTED` where keys
   * cannot be listed to be copied; the cache goes on as it was then.
   */
  switchTo(config: string | ConfigDocument, options?: SwitchOptions): Promise<SwitchReport>;
  /**
   * Copies the entries of this cache into another: values, tags, and what is left of their times to live. What the target has
   * stays, no copy undoes an invalidation that this process makes on either side, and both caches stay in use. It runs on a thread of its own. Rejected
   * with `YC_E_INVALID` for a cache onto itself (the same servers and prefix) and for a wrong `resume`, with `YC_E_CONFIG` for
   * wrong options, `YC_E_UNSUPPORTED` where keys cannot be listed, `YC_E_CLOSED` when one of the two is closed meanwhile, and
   * with a server's failure that lasts longer than about three seconds. What was copied until then stays.
   */
  migrateTo(target: Cache, options?: MigrateOptions): Promise<MigrateReport>;

  /** Counters, sizes and latencies; a number that nobody can know now is null. */
  stats(options?: CallOptions): Promise<Record<string, any>>;
  /** `status` is `healthy`, `degraded` or `unhealthy`; `reasons` says why, `details.servers` what each server tells of itself. */
  health(options?: CallOptions): Promise<Record<string, any>>;
  /**
   * Counters, gauges and a histogram as the text that Prometheus scrapes, to be served as `text/plain; version=0.0.4`. One
   * text is one cache: the texts of two are not to be joined. Does not fail while servers are down.
   */
  metrics(options?: CallOptions): Promise<string>;
  /** Asks the backend for a sign of life. */
  ping(options?: CallOptions): Promise<void>;
  /** What the backend can do beyond the basics. */
  readonly capabilities: Capabilities;

  /**
   * Closes the cache: what is in flight may finish for `timeout` milliseconds (5000 if left out), later calls are rejected with
   * `YC_E_CLOSED`. Rejected with `YC_E_TIMEOUT` when the time was over first; the cache is closed all the same. Once more is fine.
   */
  close(options?: { timeout?: number }): Promise<void>;
  /** Closes the cache, as `await using cache = await Cache.open(...)` does at the end of its block. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * What `Cache.open` would use, and nothing is opened: the backend, its servers and the options by their names, times in
 * milliseconds (`default_ttl_ms`). `password` is whether there is one. Rejects as `Cache.open` does, with `YC_E_CONFIG`.
 */
export function checkConfig(config: string | ConfigDocument): Promise<Record<string, any>>;
/** What `Cache.openFile` would use. */
export function checkConfigFile(path: string | URL, environment?: string): Promise<Record<string, any>>;

/** The version of the native library. */
export const version: string;
