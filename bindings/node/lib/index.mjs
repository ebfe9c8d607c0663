import yokedcache from './index.js';

export const { Cache, CodecError, YokedCacheError, checkConfig, checkConfigFile, setLog, version } = yokedcache;
