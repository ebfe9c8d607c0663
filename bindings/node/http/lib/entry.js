'use strict';

/** The stored form: the length of the head in four bytes, the head as JSON, and the body. */

const { isFresh, listOf } = require('./headers.js');

function encode(head, body = Buffer.alloc(0)) {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text, body]);
}

/**
 * Returns an entry: `pass`; `varying` and `id`, which are in the keys of the responses that these request headers select; or a response with
 * `status`, `headers`, `body`, and the `time` at which its age was 0.
 */
function decode(data) {
  try {
    const end = 4 + data.readUInt32BE();
    const { pass, varying, id, status, headers, time } = JSON.parse(data.toString('utf8', 4, end));
    if (pass === true || Array.isArray(varying)) return { pass, varying, id };
    const isResponse = Number.isInteger(status) && status >= 100 && status <= 999 && headers !== null && typeof headers === 'object';
    if (isResponse) return { status, headers, time, body: data.subarray(end) };
  } catch {
    // Neither is a value without a head.
  }
  throw new TypeError('the value is no response of this version: use a key prefix or namespace of its own');
}

/** Sends a response that was stored. */
function send({ status, headers, time, body }, request, response) {
  for (const [name, value] of Object.entries(headers)) {
    // A middleware before this one may have named more.
    response.setHeader(name, name === 'vary' ? [...new Set([...listOf(response.getHeader('vary')), ...listOf(value)])].join(', ') : value);
  }
  response.setHeader('cache-status', 'yokedcache; hit');
  response.setHeader('age', Math.max(Math.floor(Date.now() / 1000) - time, 0));
  finish(response, status, body, request.headers, headers, response.end.bind(response));
}

/** Ends a response, with 304 if the client has it. */
function finish(response, status, body, condition, headers, end) {
  if (status === 200 && isFresh(condition, headers)) {
    for (const name of ['content-encoding', 'content-language', 'content-length', 'content-type']) response.removeHeader(name);
    response.statusCode = 304;
    response.statusMessage = '';
    return end();
  }
  response.statusCode = status;
  return end(body);
}

module.exports = { decode, encode, finish, send };
