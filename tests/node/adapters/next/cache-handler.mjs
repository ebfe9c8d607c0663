import { createCacheHandler } from '@yokedcache/next';

export default createCacheHandler(process.env.CACHE_URL ?? 'redis://localhost:6379/0?key_prefix=shop');
