/** CommonJS has the same types. */

import yokedcache = require('yokedcache');

async function main(): Promise<Buffer | undefined> {
  const cache: yokedcache.Cache = await yokedcache.Cache.open('memory://');
  return cache.get('a');
}

main().catch((error: yokedcache.YokedCacheError) => error.code);
