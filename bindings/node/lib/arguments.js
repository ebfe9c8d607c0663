'use strict';

/** Reads the arguments of methods: each function returns the checked value, or throws. */

const { isUint8Array } = require('node:util').types;
const { roomFor, write } = require('./bytes.js');
const { invalidType, outOfRange } = require('./error.js');

const TTL_DEFAULT = -1;
const TTL_NEVER = 0;
const IF_ABSENT = 1;
const IF_PRESENT = 2;
const IF_VERSION = 3;

function textOf(text, what) {
  if (typeof text !== 'string') throw invalidType(`the ${what} is not a string`);
  if (text.includes('\0')) throw invalidType(`the ${what} contains a NUL character`);
  return text;
}

function given(data, what) {
  if (data === undefined) throw invalidType(`the ${what} is missing`);
  return data;
}

/** Returns a TTL in whole milliseconds, rounded up: an entry whose TTL is rounded to 0 would never expire. */
function ttlOf(ttl) {
  if (ttl === undefined) return TTL_DEFAULT;
  if (typeof ttl !== 'number') throw invalidType('ttl is not a number of milliseconds');
  if (ttl === Infinity) return TTL_NEVER;
  if (!(ttl >= 0)) throw outOfRange(`ttl is ${ttl}; it takes 0 or more milliseconds`);
  return Math.min(Math.ceil(ttl), Number.MAX_SAFE_INTEGER);
}

function versionOf(version) {
  if (typeof version !== 'bigint') throw invalidType('version is not a bigint');
  if (BigInt.asUintN(64, version) !== version) throw outOfRange(`version is ${version}; it takes a version that getVersioned or setIf returned`);
  return version;
}

/** Returns the condition of a write. It must be explicit: a write whose condition was misspelled must not happen. */
function conditionOf({ absent, present, version }) {
  const count = (absent !== undefined) + (present !== undefined) + (version !== undefined);
  if (count !== 1) throw invalidType('the options need one of absent: true, present: true and version');
  if (version !== undefined) return { limit: IF_VERSION, first: versionOf(version) };
  if ((absent ?? present) !== true) throw invalidType(`${absent === undefined ? 'present' : 'absent'} is not true`);
  return { limit: absent === undefined ? IF_PRESENT : IF_ABSENT, first: 0n };
}

/** Returns a bigint of 64 bits with a sign. */
function wholeOf(value, what) {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value !== 'number' && typeof value !== 'bigint') throw invalidType(`the ${what} is not a bigint or a number`);
  if (typeof value === 'number') throw outOfRange(`the ${what} is ${value}; it takes a whole number, or a bigint for one above 2 ** 53`);
  if (BigInt.asIntN(64, value) !== value) throw outOfRange(`the ${what} is ${value}; it takes a number of 64 bits with a sign`);
  return value;
}

function numberOf(value, otherwise, what) {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number') throw invalidType(`${what} is not a number`);
  return value;
}

/** Refuses numbers that JSON cannot express; the library checks the others. */
function rateOf(rate) {
  if (!Number.isFinite(numberOf(rate, 0, 'rate'))) throw outOfRange(`rate is ${rate}; it takes a number of entries a second`);
}

function sizeOf(value, otherwise, what) {
  const number = numberOf(value, otherwise, what);
  if (!Number.isInteger(number) || number < 0 || number > 0x7fffffff) throw outOfRange(`${what} is ${number}; it takes a whole number`);
  return number;
}

function listOf(list, what) {
  if (Array.isArray(list)) return list;
  if (list === null || typeof list !== 'object' || typeof list[Symbol.iterator] !== 'function' || isUint8Array(list)) {
    throw invalidType(`the ${what} are not a list: pass an array`);
  }
  return Array.from(list);
}

function tagsOf(tags) {
  return tags === undefined ? undefined : listOf(tags, 'tags');
}

/** Returns tags that are texts. */
function tagTextsOf(tags) {
  return Array.from(listOf(tags, 'tags'), (tag) => textOf(tag, 'tag'));
}

/** Returns the form of a result, 'utf8' or 'buffer'. `fs.readFile()` has the same names. */
function encodingOf(encoding, otherwise) {
  const wanted = encoding ?? otherwise;
  if (wanted === 'utf8' || wanted === 'utf-8') return 'utf8';
  if (wanted === 'buffer') return 'buffer';
  throw outOfRange(`encoding is ${String(encoding)}; it takes 'utf8' or 'buffer'`);
}

/** Returns a time in whole milliseconds, rounded up; the library checks its range. */
function timeOf(time, otherwise, what) {
  if (time === undefined) return otherwise;
  if (typeof time !== 'number') throw invalidType(`${what} is not a number of milliseconds`);
  if (!(time >= 0 && time <= Number.MAX_SAFE_INTEGER)) throw outOfRange(`${what} is ${time}; it takes 0 or more milliseconds`);
  return Math.ceil(time);
}

/** Calls a function; an exception becomes a rejected promise. `get` and `set` do without it: it allocates a closure. */
function attempt(begin) {
  try {
    return begin();
  } catch (error) {
    return Promise.reject(error);
  }
}

function bytesOf(data, what) {
  const bytes = Buffer.allocUnsafeSlow(roomFor(given(data, what), what));
  return bytes.subarray(0, write(bytes, 0, data, what));
}

/** Returns the largest age of an entry in milliseconds; 0 of the library is any age. */
function maxAgeOf(maxAge) {
  const time = timeOf(maxAge, 0, 'maxAge');
  if (maxAge !== undefined && time < 1) throw outOfRange(`maxAge is ${maxAge}; it takes 1 millisecond or more`);
  return time;
}

module.exports = {
  TTL_DEFAULT, attempt, bytesOf, conditionOf, encodingOf, given, listOf, maxAgeOf, numberOf, rateOf, sizeOf, tagTextsOf, tagsOf, textOf, timeOf, ttlOf, versionOf, wholeOf,
};
