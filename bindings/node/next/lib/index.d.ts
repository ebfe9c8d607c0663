import type { Cache, ConfigDocument } from 'yokedcache';

/** Selects how a cache handler works. */
export interface NextCacheOptions {
  /** Sets the time to live of entries for which Next names none, in milliseconds; a year by default. */
  ttl?: number;
  /** Separates the pages of builds; the ID of the build that is served by default. */
  buildId?: string;
  /** Receives the errors of reads and writes. They never fail a request: the page is rendered. `console.error` by default. */
  onError?(error: unknown): void;
}

/** Describes the class that Next creates an instance of for each request. */
export interface NextCacheHandler {
  /** Returns a page, route or fetch that was stored, or null. */
  get(key: string, context?: any): Promise<{ lastModified: number; value: any } | null>;
  /** Stores a page, route or fetch with its tags. */
  set(key: string, value: any, context?: any): Promise<void>;
  /** Removes what has any of the tags, in all processes. It is rejected if the cache fails. */
  revalidateTag(tags: string | string[], ...rest: any[]): Promise<void>;
  /** Does nothing: the handler keeps nothing for a request. */
  resetRequestCache(): void;
}

/**
 * Returns the class of a cache handler, for the option `cacheHandler` of Next 15.
 *
 * The cache is opened when it is first needed, once for the process. A build does not use it.
 *
 * @param cache - The configuration of a cache, as `Cache.open` takes it, or a function that returns a cache that the program has opened.
 * @param options - The settings of the handler.
 * @returns The class.
 * @throws A `TypeError` for unknown options.
 */
export function createCacheHandler(
  cache: string | ConfigDocument | (() => Cache | Promise<Cache>),
  options?: NextCacheOptions,
): new (context: any) => NextCacheHandler;
