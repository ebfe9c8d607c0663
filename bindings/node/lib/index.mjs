import yokedcache from './index.js';

export const { Cache, YokedCacheError, checkConfig, checkConfigFile, version } = yokedcache;
