'use strict';

/** The cache handler: see index.d.ts for what each thing means. */

const fs = require('node:fs');
const path = require('node:path');
const v8 = require('node:v8');
const { Cache } = require('yokedcache');

const OPTIONS = new Set(['ttl', 'buildId', 'onError']);
const YEAR = 365 * 24 * 60 * 60 * 1000;
const TAGS_HEADER = 'x-next-cache-tags';

function createCacheHandler(cache, options = {}) {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name)) throw new TypeError(`unknown option ${name}; the options are ${[...OPTIONS].join(', ')}`);
  }
  const settings = { ttl: YEAR, onError: (error) => console.error('cache handler:', error), ...options };
  const open = opener(cache);
  return class CacheHandler extends Handler {
    constructor(context) {
      super(context, open, settings);
    }
  };
}

/** Returns a function that opens a cache once. A later call tries again if it failed. */
function opener(cache) {
  let opened;
  return () => {
    opened ??= Promise.resolve(typeof cache === 'function' ? cache() : Cache.open(cache)).catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
}

class Handler {
  #open;
  #options;
  #buildId;
  // The times at which this request asked for keys: a value that was revalidated since is not stored.
  #began = new Map();

  constructor(context, open, options) {
    this.#open = open;
    this.#options = options;
    this.#buildId = options.buildId ?? buildIdIn(context?.serverDistDir);
  }

  async get(key, context = {}) {
    if (isBuild()) return null;
    this.#began.set(key, Date.now());
    const isFetch = context.kind === 'FETCH';
    try {
      const cache = await this.#open();
      // A fetch is stored with its own tags alone: those of the page that asks for it are known here.
      const tags = isFetch ? [...new Set([...(context.tags ?? []), ...(context.softTags ?? [])])] : [];
      const [found, ...revalidations] = await cache.getMany([this.#keyOf(key, isFetch), ...tags.map(keyOfTag)]);
      if (found === undefined) return null;
      const { began, ...entry } = v8.deserialize(found);
      return wasRevalidated(revalidations, began) ? null : entry;
    } catch (error) {
      this.#options.onError(error);
      return null;
    }
  }

  async set(key, value, context = {}) {
    if (isBuild()) return;
    const now = Date.now();
    const began = this.#began.get(key) ?? now;
    const isFetch = context.fetchCache === true || value?.kind === 'FETCH';
    const tags = [...new Set(isFetch ? [...(context.tags ?? []), ...(value?.tags ?? [])] : tagsOfPage(value))];
    const { expire } = context.cacheControl ?? {};
    const ttl = Number.isFinite(expire) && expire > 0 ? expire * 1000 : this.#options.ttl;
    try {
      const cache = await this.#open();
      const name = this.#keyOf(key, isFetch);
      await cache.set(name, v8.serialize({ began, lastModified: now, value }), { ttl, tags });
      // A revalidation writes its time first, and then removes what has the tag.
      if (wasRevalidated(await cache.getMany(tags.map(keyOfTag)), began)) await cache.delete(name);
    } catch (error) {
      this.#options.onError(error);
    }
  }

  async revalidateTag(tags) {
    const all = [tags].flat();
    if (all.length === 0 || isBuild()) return;
    const cache = await this.#open();
    const now = String(Date.now());
    await cache.setMany(all.map((tag) => [keyOfTag(tag), now]), { ttl: YEAR });
    await cache.invalidateTags(all);
  }

  resetRequestCache() {}

  /** Returns the key of an entry. Pages name files of their build. */
  #keyOf(key, isFetch) {
    return isFetch ? `fetch:${key}` : `page:${this.#buildId}:${key}`;
  }
}

const keyOfTag = (tag) => `tag:${tag}`;

/** Returns whether one of these times of revalidations is not before another time. */
function wasRevalidated(revalidations, began) {
  return revalidations.some((time) => time !== undefined && Number(time) >= began);
}

function tagsOfPage(value) {
  const tags = value?.headers?.[TAGS_HEADER];
  return typeof tags === 'string' ? tags.split(',').filter(Boolean) : [];
}

/** Returns whether Next builds: what it renders then is in the files of the build. */
function isBuild() {
  return process.env.NEXT_PHASE === 'phase-production-build';
}

const buildIds = new Map();

/** Returns the ID of the build in a folder such as `.next/server`; 'development' without a build. */
function buildIdIn(folder) {
  if (folder === undefined) return 'development';
  if (!buildIds.has(folder)) {
    let id = 'development';
    try {
      id = fs.readFileSync(path.join(folder, '../BUILD_ID'), 'utf8').trim();
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    buildIds.set(folder, id);
  }
  return buildIds.get(folder);
}

exports.createCacheHandler = createCacheHandler;
