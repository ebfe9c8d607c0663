'use strict';

/** Reads the headers that the cache depends on. */

const { createHash } = require('node:crypto');

const LONGEST_SECONDS = 2 ** 31;

/** Returns the elements of a header that is a list. */
function listOf(value) {
  return [value ?? []].flat().join(',').split(',').map((element) => element.trim()).filter(Boolean);
}

/** Returns the seconds that a Cache-Control allows to a shared cache, 0 if there are none. */
function secondsIn(value) {
  const ages = {};
  for (const directive of listOf(value)) {
    const [, name, text] = /^([^=]*?)\s*(?:=\s*"?([^"]*)"?)?$/.exec(directive.toLowerCase()) ?? [];
    if (name === undefined || name === 'no-store' || name === 'private' || name === 'no-cache') return 0;
    if (name !== 'max-age' && name !== 's-maxage') continue;
    if (!/^\d+$/.test(text ?? '')) return 0;
    ages[name] = Math.min(Number(text), LONGEST_SECONDS);
  }
  return ages['s-maxage'] ?? ages['max-age'] ?? 0;
}

/** Returns whether the client has the response. */
function isFresh(request, { etag, 'last-modified': modified }) {
  const weak = (tag) => tag.replace(/^W\//, '');
  const tags = listOf(request['if-none-match']);
  if (tags.length > 0) return tags.some((tag) => tag === '*' || (etag !== undefined && weak(tag) === weak(etag)));
  return Date.parse(modified) <= Date.parse(request['if-modified-since']);
}

/** Returns a hash of request headers, '' without names. */
function hashOf(headers, names) {
  if (names.length === 0) return '';
  const hash = createHash('sha256');
  for (const name of names) hash.update(JSON.stringify([name, headers[name] ?? null]));
  return `\n${hash.digest('hex')}`;
}

module.exports = { hashOf, isFresh, listOf, secondsIn };
