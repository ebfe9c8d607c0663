import yokedcache from './index.js';

export const { Cache, CodecError, YokedCacheError, checkConfig, checkConfigFile, collectInto, metricsOf, setLog, version } = yokedcache;
