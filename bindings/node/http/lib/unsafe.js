'use strict';

/** Requests that may change what is stored (RFC 9111, 4.4). */

const { entriesOf } = require('./headers.js');

/** CONNECT names no URI. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT']);

function isUnsafe({ method }) {
  return !SAFE.has(method);
}

/**
 * Calls `forget(locations)` for a response without an error, which is sent when the returned promise has ended: its client must not get what was
 * stored before.
 */
function forgetBefore(response, forget) {
  const { writeHead, write, end, flushHeaders } = response;
  const named = new Map();
  let isBegun = false;
  let held; // The calls that wait for the promise; undefined unless there is one.

  function begin(status) {
    if (isBegun) return;
    isBegun = true;
    if (status < 200 || status > 399) return;
    held = [];
    const locations = ['location', 'content-location'].map((name) => named.get(name) ?? response.getHeader(name));
    forget(locations.filter((location) => location !== undefined)).then(proceed, proceed);
  }

  function proceed() {
    const calls = held;
    held = undefined;
    delete response.headersSent;
    delete response.writableEnded;
    try {
      for (const call of calls) call();
    } catch (error) {
      response.destroy(error); // The handler that wrote no text and no bytes has gone.
    }
  }

  /** Makes a call, or notes it and returns a result in its place. */
  function pass(call, result, property = 'headersSent') {
    begin(response.statusCode);
    if (held === undefined) return call();
    // As if the call was made.
    Object.defineProperty(response, 'headersSent', { configurable: true, value: true });
    Object.defineProperty(response, property, { configurable: true, value: true });
    held.push(call);
    return result;
  }

  response.writeHead = (status, ...rest) => {
    for (const [name, value] of entriesOf(typeof rest[0] === 'string' ? rest[1] : rest[0])) named.set(name.toLowerCase(), value);
    begin(status);
    return writeHead.call(response, status, ...rest);
  };
  response.write = (...args) => pass(() => write.apply(response, args), true);
  response.flushHeaders = () => pass(() => flushHeaders.call(response));
  response.end = (...args) => {
    if (held !== undefined && response.writableEnded) return response;
    return pass(() => end.apply(response, args), response, 'writableEnded');
  };
}

module.exports = { forgetBefore, isUnsafe };
