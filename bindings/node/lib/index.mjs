import yokedcache from './index.js';

export const { Cache, YokedCacheError, version } = yokedcache;
