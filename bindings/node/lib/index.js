'use strict';

/** The package: see index.d.ts for what each thing means. */

const { Cache, checkConfig, checkConfigFile } = require('./cache.js');
const { CodecError, YokedCacheError } = require('./error.js');
const native = require('./native.js');

exports.Cache = Cache;
exports.checkConfig = checkConfig;
exports.checkConfigFile = checkConfigFile;
exports.CodecError = CodecError;
exports.YokedCacheError = YokedCacheError;
exports.version = native.version;
