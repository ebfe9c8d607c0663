'use strict';

/** Checks the options of methods: an unknown option is refused, never ignored. */

const { types } = require('node:util');
const { invalidType } = require('./error.js');

const NONE = Object.freeze({});

/** Returns the set of the options that a method takes, in which each option of a call is looked up. */
function optionsSet(...names) {
  return new Set(names);
}

/** Returns the options of a call; throws for one that is not in `known`. */
function optionsOf(options, known) {
  if (options === undefined) return NONE;
  if (options === null || typeof options !== 'object') throw invalidType(`the options are not an object: pass { ${[...known].join(', ')} }, of these those that you need`);
  let count = 0;
  for (const name in options) {
    if (!known.has(name)) throw unknown(name, known);
    count++;
  }
  if (count === 0 && holdsNoOptions(options)) throw invalidType('the options are not a plain object');
  return options;
}

/** Returns true if an object is of a kind that has no options: its contents would be ignored. */
function holdsNoOptions(options) {
  return Array.isArray(options) || ArrayBuffer.isView(options) || types.isMap(options) || types.isSet(options) ||
    types.isPromise(options) || types.isDate(options) || types.isBoxedPrimitive(options);
}

function unknown(name, known) {
  const names = [...known];
  const near = nearest(name, names);
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  return invalidType(`option ${JSON.stringify(name.slice(0, 64))} is unknown${hint} (it takes ${names.join(', ')})`);
}

/** The names of these options in other libraries. */
const ALIASES = { ex: 'ttl', px: 'ttl', expires: 'ttl', expire: 'ttl', expiry: 'ttl', maxage: 'ttl', abortsignal: 'signal', batchsize: 'pageSize', nx: 'absent', xx: 'present' };

function nearest(name, names) {
  const lower = name.slice(0, 64).toLowerCase();
  const alias = ALIASES[lower];
  if (names.includes(alias)) return alias;
  const far = (other) => distance(lower, other.toLowerCase());
  const best = names.reduce((one, other) => (far(other) < far(one) ? other : one));
  return far(best) <= Math.ceil(best.length / 3) ? best : undefined;
}

/** Returns the Levenshtein distance. */
function distance(from, to) {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[to.length];
}

function flagOf(value, what) {
  if (value !== undefined && typeof value !== 'boolean') throw invalidType(`${what} is not a boolean`);
  return value;
}

module.exports = { optionsOf, optionsSet, flagOf };
