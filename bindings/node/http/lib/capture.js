'use strict';

/** Takes the response of a handler, which writes it to the ServerResponse of its request. */

const { createHash, randomUUID } = require('node:crypto');
const { encode, finish } = require('./entry.js');
const { ageOf, lifetimeOf } = require('./freshness.js');
const { entriesOf, isFresh, listOf } = require('./headers.js');

const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range'];
const OF_THE_CONNECTION = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'];
const STORED = new Set([200, 301, 308, 404, 410]);

/** The least time for which the cache remembers the names of Vary, in milliseconds. Responses are lost with them. */
const SELECTION_TTL = 24 * 60 * 60 * 1000;

/** The error of a load whose client has left before the response was complete. */
class Left extends Error {}

const OPEN = 'open'; // Nothing was written.
const HELD = 'held'; // What was written is kept here until the end.
const SENT = 'sent'; // What is written goes to the client.
const DROPPED = 'dropped'; // The client has the response: what is written is dropped.

class Capture {
  #response;
  #options;
  #original;
  #state = OPEN;
  #chunks = [];
  #size = 0;
  // Of a load, not of a response that passes:
  #condition = {}; // The conditions of the request.
  #before; // The headers that earlier middleware has set, as it does for each response.
  #selection; // What selected the response so far.
  #asked = Date.now();
  #fill; // The settings of the entry.
  #settle; // Ends the load with the entry.

  /** Lets a response pass, without the header of the tags. */
  static pass(response, options) {
    const capture = new Capture(response, options);
    capture.#state = SENT;
    response.setHeader('cache-status', 'yokedcache; fwd=bypass');
  }

  /** Returns a promise of what is stored of a response, which goes to its client too. */
  static begin(request, response, options, fill, selection) {
    const capture = new Capture(response, options);
    capture.#fill = fill;
    capture.#selection = selection;
    // The response is for others, too.
    for (const name of CONDITIONS) {
      capture.#condition[name] = request.headers[name];
      delete request.headers[name];
    }
    capture.#before = { ...response.getHeaders() };
    response.setHeader('cache-status', 'yokedcache; fwd=miss');
    return new Promise((resolve, reject) => {
      capture.#settle = resolve;
      response.once('close', () => reject(new Left('the client has left')));
    });
  }

  constructor(response, options) {
    this.#response = response;
    this.#options = options;
    const { write, end, writeHead, flushHeaders } = response;
    this.#original = {
      write: write.bind(response), end: end.bind(response), writeHead: writeHead.bind(response), flushHeaders: flushHeaders?.bind(response),
    };
    response.writeHead = (...args) => this.#writeHead(...args);
    response.write = (...args) => this.#write(...args);
    response.end = (...args) => this.#end(...args);
    if (flushHeaders !== undefined) response.flushHeaders = () => this.#flushHeaders();
    const sent = propertyOf(response, 'headersSent');
    const isAnswered = () => this.#state === HELD || this.#state === DROPPED || sent.get.call(response);
    Object.defineProperty(response, 'headersSent', { configurable: true, get: isAnswered });
  }

  // ---- What the handler calls ----

  #writeHead(status, ...rest) {
    const message = typeof rest[0] === 'string' ? rest.shift() : undefined;
    if (this.#state === SENT) {
      this.#hideTags(rest[0]);
      return this.#original.writeHead(...[status, message, rest[0]].filter((arg) => arg !== undefined));
    }
    if (this.#response.headersSent) throw Object.assign(new Error('the headers are already sent'), { code: 'ERR_HTTP_HEADERS_SENT' });
    this.#response.statusCode = status;
    if (message !== undefined) this.#response.statusMessage = message;
    for (const [name, value] of entriesOf(rest[0])) this.#response.setHeader(name, value);
    this.#decide();
    return this.#response;
  }

  #write(chunk, encoding, callback) {
    if (this.#state === OPEN) this.#decide();
    if (this.#state === SENT) return this.#original.write(chunk, encoding, callback);
    if (this.#state === HELD) this.#hold(chunk, encoding);
    if (this.#state === HELD && this.#size > this.#options.maxBytes) this.#release();
    this.#drop(typeof encoding === 'function' ? encoding : callback);
    return true;
  }

  #end(chunk, encoding, callback) {
    if (typeof chunk === 'function') [chunk, callback] = [undefined, chunk];
    if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    if (this.#state === OPEN) this.#decide();
    if (this.#state === SENT) return this.#original.end(chunk, encoding, callback);
    if (this.#state === DROPPED) return this.#drop(callback);
    if (chunk !== undefined && chunk !== null) this.#hold(chunk, encoding);
    const life = this.#life(); // A response may have got other headers since it began.
    if (this.#size > this.#options.maxBytes || life <= 0) {
      this.#release();
      return this.#state === DROPPED ? this.#drop(callback) : this.#original.end(callback);
    }
    return this.#store(life, (data) => this.#original.end(data, callback));
  }

  /** A handler that flushes streams its response. */
  #flushHeaders() {
    if (this.#state === OPEN || this.#state === HELD) this.#release();
    if (this.#state === SENT) this.#original.flushHeaders();
  }

  // ---- What becomes of the response ----

  /** Holds a response that may be stored, and lets others go. */
  #decide() {
    this.#state = HELD;
    if (this.#life() <= 0) this.#release();
  }

  /** Returns the milliseconds for which the response may be stored: not at all unless they are positive. */
  #life() {
    const { statusCode } = this.#response;
    const headers = this.#response.getHeaders();
    if (!STORED.has(statusCode) || headers['set-cookie'] !== undefined || listOf(headers.vary).includes('*')) return 0;
    const lifetime = lifetimeOf(headers, Date.now()) ?? (statusCode === 200 ? this.#options.ttl : 0);
    return lifetime - ageOf(headers, this.#asked, Date.now());
  }

  /** Ends a write that does not reach the client. */
  #drop(callback) {
    if (typeof callback === 'function') process.nextTick(callback);
    return this.#response;
  }

  #hold(chunk, encoding) {
    const bytes = bytesOf(chunk, encoding);
    this.#chunks.push(bytes);
    this.#size += bytes.length;
  }

  /** Sends what is held, and what follows, and stores that the response is for its client alone. */
  #release() {
    this.#fill.ttl = this.#options.passFor;
    this.#settle(encode({ pass: true }));
    const response = this.#response;
    this.#state = SENT;
    if (response.statusCode === 200 && isFresh(this.#condition, response.getHeaders())) {
      finish(response, 200, undefined, this.#condition, response.getHeaders(), this.#original.end);
      this.#state = DROPPED;
    } else {
      for (const chunk of this.#chunks) this.#original.write(chunk);
    }
    this.#chunks = [];
  }

  /** Stores the response, and sends it. */
  #store(life, end) {
    const response = this.#response;
    const body = Buffer.concat(this.#chunks);
    const status = response.statusCode;
    const now = Date.now();
    const time = Math.floor((now - ageOf(response.getHeaders(), this.#asked, now)) / 1000);
    const tags = listOf(response.getHeader(this.#options.tagHeader));
    this.#state = SENT;
    this.#hideTags();
    if (!response.hasHeader('date')) response.setHeader('date', new Date(now).toUTCString());
    if (status === 200 && !response.hasHeader('etag')) {
      response.setHeader('etag', `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`);
    }
    const headers = Object.fromEntries(Object.entries(response.getHeaders()).filter(([name, value]) => this.#isStored(name, value)));
    const { varying, id = randomUUID() } = this.#selection;
    const names = [...new Set([...varying, ...listOf(response.getHeader('vary')).map((name) => name.toLowerCase())])].sort();
    if (names.length > varying.length) {
      // The key that selects the response is known now.
      Object.assign(this.#fill, { ttl: Math.max(life, SELECTION_TTL), staleFor: 0 });
      this.#settle(encode({ varying: names, id }));
    } else {
      Object.assign(this.#fill, { ttl: life, staleFor: 0, tags: [...new Set(tags)] });
      this.#settle(encode({ status, headers, time }, body));
    }
    return finish(response, status, body, this.#condition, response.getHeaders(), end);
  }

  #isStored(name, value) {
    return name !== 'cache-status' && !OF_THE_CONNECTION.includes(name) && String(value) !== String(this.#before[name]);
  }

  #hideTags(more) {
    const hidden = this.#options.tagHeader.toLowerCase();
    this.#response.removeHeader(hidden);
    for (const name of Object.keys(more ?? {})) if (name.toLowerCase() === hidden) delete more[name];
  }
}

/** Returns the descriptor of a property that an object inherits. */
function propertyOf(object, name) {
  return Object.getOwnPropertyDescriptor(object, name) ?? propertyOf(Object.getPrototypeOf(object), name);
}

function bytesOf(chunk, encoding) {
  return typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(chunk);
}

module.exports = { Capture, Left };
