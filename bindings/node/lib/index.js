'use strict';

/** The package: see index.d.ts for what each thing means. */

const { Cache, checkConfig, checkConfigFile } = require('./cache.js');
const { CodecError, YokedCacheError } = require('./error.js');
const { setLog } = require('./log.js');
const native = require('./native.js');

exports.Cache = Cache;
exports.checkConfig = checkConfig;
exports.checkConfigFile = checkConfigFile;
exports.CodecError = CodecError;
exports.YokedCacheError = YokedCacheError;
exports.setLog = setLog;
exports.version = native.version;
