'use strict';

/** The package: see index.d.ts for what each thing means. */

const { Cache, checkConfig, checkConfigFile, metricsOf } = require('./cache.js');
const { CodecError, YokedCacheError } = require('./error.js');
const { setLog } = require('./log.js');
const native = require('./native.js');
const { collectInto } = require('./prometheus.js');

exports.Cache = Cache;
exports.checkConfig = checkConfig;
exports.checkConfigFile = checkConfigFile;
exports.CodecError = CodecError;
exports.YokedCacheError = YokedCacheError;
exports.collectInto = collectInto;
exports.metricsOf = metricsOf;
exports.setLog = setLog;
exports.version = native.version;
