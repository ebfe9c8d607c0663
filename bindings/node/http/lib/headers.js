'use strict';

/** Reads the headers that the cache depends on. */

const { createHash } = require('node:crypto');

/** Returns the elements of a header that is a list of tokens. */
function listOf(value) {
  return [value ?? []].flat().join(',').split(',').map((element) => element.trim()).filter(Boolean);
}

/** A quoted string may contain commas. A quote that has no end is a character like others. */
const DIRECTIVE = /(?:"(?:[^"\\]|\\.)*"|[^,])+/g;

/** Returns the values of the directives of Cache-Control by their names in lower case. Of several with one name it has the first. */
function directivesOf(lines) {
  const directives = new Map();
  for (const directive of [lines ?? []].flat().flatMap((line) => String(line).match(DIRECTIVE) ?? [])) {
    const [, name, value] = /^([^=]*)=?(.*)$/s.exec(directive).map((part) => part.trim());
    if (name !== '' && !directives.has(name.toLowerCase())) directives.set(name.toLowerCase(), value);
  }
  return directives;
}

/** The formats of RFC 9110, 5.6.7; `Date.parse` takes many others. The last one names no zone. */
const DATES = [/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/, /^\w{6,9}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT$/];
const ASCTIME = /^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/** Returns the time of a date, in milliseconds since 1970; undefined if it is no date. */
function timeOf(value) {
  const text = [value ?? []].flat().join(', ');
  const time = ASCTIME.test(text) ? Date.parse(`${text} GMT`) : DATES.some((format) => format.test(text)) ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}

/** An entity tag in quotes, or else what is between commas. */
const ENTITY_TAG = /(?:W\/)?"[^"]*"|[^\s,]+/g;

/** Returns whether the client has the response. */
function isFresh(request, { etag, 'last-modified': modified }) {
  const weak = (tag) => String(tag).replace(/^W\//, '');
  const tags = request['if-none-match']?.match(ENTITY_TAG) ?? [];
  if (tags.length > 0) return tags.some((tag) => tag === '*' || (etag !== undefined && weak(tag) === weak(etag)));
  return timeOf(modified) <= timeOf(request['if-modified-since']);
}

/** Returns the headers that writeHead takes, as an object or as a list of names and values. */
function entriesOf(headers) {
  if (!Array.isArray(headers)) return Object.entries(headers ?? {});
  return Array.isArray(headers[0]) ? headers : headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1]]] : []));
}

/** Returns a hash of the request headers with these names. */
function hashOf(headers, names) {
  const hash = createHash('sha256');
  for (const name of names) hash.update(JSON.stringify([name, headers[name] ?? null]));
  return hash.digest('hex');
}

module.exports = { directivesOf, entriesOf, hashOf, isFresh, listOf, timeOf };
