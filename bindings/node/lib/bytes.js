'use strict';

/** Writes keys, values and tags into an arena. Strings must be well-formed, so that no two become the same key. */

const { isUint8Array } = require('node:util').types;
const { invalidType } = require('./error.js');

/** Strings up to this length are written letter by letter, which is cheaper than a call into Node. */
const SHORT = 48;

/** Returns the most bytes that a string or a Uint8Array can take; throws for anything else. */
function roomFor(data, what) {
  if (typeof data === 'string') return data.length * 3;
  // Accepts a Uint8Array of any realm: each realm has a class of its own.
  if (!isUint8Array(data)) throw invalidType(`the ${what} is ${kindOf(data)}; it takes a string or a Uint8Array`);
  if (data.length === 0) checkAttached(data, what);
  return data.length;
}

function kindOf(data) {
  if (data === null || data === undefined) return String(data);
  return typeof data === 'object' ? `of ${data.constructor?.name ?? 'no class'}` : `a ${typeof data}`;
}

/** A detached ArrayBuffer looks like an empty one. */
function checkAttached(data, what) {
  try {
    new Uint8Array(data.buffer, 0, 0);
  } catch {
    throw invalidType(`the ${what} belongs to a detached ArrayBuffer`);
  }
}

const isWhole = String.prototype.isWellFormed
  ? (text) => text.isWellFormed()
  : (text) => !/\p{Surrogate}/u.test(text);

/** Writes at a place with enough room; returns the end. */
function write(arena, at, data, what) {
  if (typeof data !== 'string') {
    arena.set(data, at);
    return at + data.length;
  }
  const { length } = data;
  if (length <= SHORT) {
    let index = 0;
    for (; index < length; index++) {
      const letter = data.charCodeAt(index);
      if (letter > 0x7f) break;
      arena[at + index] = letter;
    }
    if (index === length) return at + length;
  }
  return writeText(arena, at, data, what);
}

function writeText(arena, at, text, what) {
  if (!isWhole(text)) throw invalidType(`the ${what} contains half a surrogate pair, which has no UTF-8 bytes: pass a Uint8Array instead`);
  return at + arena.utf8Write(text, at);
}

/** Writes a length of four bytes, then the bytes; returns the end. */
function writeItem(arena, at, data, what) {
  const end = write(arena, at + 4, data, what);
  arena.writeUInt32LE(end - at - 4, at);
  return end;
}

/** Returns the room for the items of a list. */
function roomForList(list, what) {
  let room = 0;
  for (let index = 0; index < list.length; index++) room += 4 + roomFor(list[index], what);
  return room;
}

function writeList(arena, at, list, what) {
  for (let index = 0; index < list.length; index++) at = writeItem(arena, at, list[index], what);
  return at;
}

module.exports = { roomFor, write, roomForList, writeList };
