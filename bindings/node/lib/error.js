'use strict';

/** The error of the library: `code` for programs, `message` for people. */

const native = require('./native.js');

const codes = new Map();

/** Returns the name of a status, such as 'YC_E_TIMEOUT'. */
function codeOf(status) {
  let code = codes.get(status);
  if (code === undefined) codes.set(status, (code = native.statusName(status)));
  return code;
}

class YokedCacheError extends Error {
  constructor(code, message, retryable = false) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}
Object.defineProperty(YokedCacheError.prototype, 'name', { value: 'YokedCacheError' });

/** A value that a codec cannot express or read. */
class CodecError extends Error {
  constructor(message, key, codec, cause) {
    super(message, { cause });
    this.code = 'ERR_CODEC';
    this.key = key;
    this.codec = codec;
  }
}
Object.defineProperty(CodecError.prototype, 'name', { value: 'CodecError' });

/** Returns the error that the native part reports as [status, message, retryable]. */
function errorOf([status, message, retryable]) {
  return new YokedCacheError(codeOf(status), message, retryable);
}

function invalidType(message) {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

function outOfRange(message) {
  return new YokedCacheError('YC_E_INVALID', message);
}

/** Returns a key as a message shows it. */
function shown(key) {
  const text = typeof key === 'string' ? key : Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString();
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}...` : text);
}

module.exports = { CodecError, YokedCacheError, codeOf, errorOf, invalidType, outOfRange, shown };
