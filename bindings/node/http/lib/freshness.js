'use strict';

/** The times of RFC 9111, 4.2. All are milliseconds. */

const { directivesOf, timeOf } = require('./headers.js');

/** The most that a header can name (RFC 9111, 1.2.2). */
const MOST_SECONDS = 2 ** 31;

/** Returns the number of seconds that a text has, which may be in quotes; undefined if it is no number. */
function secondsOf(text) {
  const [, quoted, plain] = /^(?:"(\d+)"|(\d+))$/.exec(text) ?? [];
  return quoted === undefined && plain === undefined ? undefined : Math.min(Number(quoted ?? plain), MOST_SECONDS);
}

/**
 * Returns the time for which a shared cache may serve a response, by its headers and without regard to its age; undefined if they have neither
 * Cache-Control nor Expires.
 */
function lifetimeOf(headers, now) {
  const directives = directivesOf(headers['cache-control']);
  if (['no-store', 'private', 'no-cache'].some((name) => directives.has(name))) return 0;
  const time = directives.get('s-maxage') ?? directives.get('max-age');
  // A value that is no number makes the response stale.
  if (time !== undefined) return (secondsOf(time) ?? 0) * 1000;
  if (headers.expires !== undefined) {
    // Several lines are no date, and no date has passed.
    const end = timeOf(headers.expires);
    return end === undefined ? 0 : Math.min(end - (timeOf(headers.date) ?? now), MOST_SECONDS * 1000);
  }
  return directives.size > 0 ? 0 : undefined;
}

/** Returns the age of a response that was asked for at a time, in whole seconds. */
function ageOf(headers, asked, now) {
  const given = secondsOf(String([headers.age].flat()[0]).split(',')[0].trim());
  const age = Math.max(now - (timeOf(headers.date) ?? now), given === undefined ? 0 : given * 1000 + now - asked, 0);
  return age - age % 1000;
}

module.exports = { ageOf, lifetimeOf };
