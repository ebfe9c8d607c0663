'use strict';

/** Decoders of replies: each takes an exchange and the index of a reply that is not a failure, and returns its result. */

const { YokedCacheError, codeOf } = require('./error.js');

const OK = 0;
const END = 2;
const SMALL_VALUE = 4096;
/** The properties of an entry in front of the names of its tags. */
const INFO_WORDS = 4;

const nothing = () => undefined;
const wasThere = (exchange, index) => exchange.status(index) === OK;
const value = (exchange, index) => exchange.value(index);
const text = (exchange, index) => exchange.text(index);

function json(exchange, index) {
  const found = exchange.text(index);
  return found === undefined ? undefined : JSON.parse(found);
}

/** Returns the version of the entry that was stored. */
const version = (exchange, index) => (exchange.status(index) === OK ? BigInt.asUintN(64, exchange.whole(index)) : undefined);
const counter = (exchange, index) => exchange.whole(index);

/** Returns a decoder of a value with its version. */
function versioned(read) {
  return (exchange, index) =>
    exchange.status(index) === OK ? { value: read(exchange, index), version: version(exchange, index) } : undefined;
}

/** Returns the names of the tags of an entry, or `undefined` if it has tags and does not store their names. */
function namesIn(block, count) {
  if (block.length === 0 && count > 0) return undefined;
  const names = [];
  for (let at = 0; at < block.length; ) {
    const length = block.readUInt32LE(at);
    names.push(textOf(block, at + 4, length));
    at += 4 + length;
  }
  return names;
}

/** Returns a decoder of a value with the properties of its entry; -1 of the library is an unknown age, and a time without end. */
function described(read) {
  return (exchange, index) => {
    if (exchange.status(index) !== OK) return undefined;
    const block = exchange.takeObject(2 * index + 1);
    const [ofEntry, age, left, tags] = new BigInt64Array(block, 0, INFO_WORDS);
    return {
      value: read(exchange, index),
      version: BigInt.asUintN(64, ofEntry),
      age: age < 0n ? undefined : Number(age),
      ttl: left < 0n ? Infinity : Number(left),
      tagCount: Number(tags),
      tags: namesIn(Buffer.from(block, 8 * INFO_WORDS), Number(tags)),
    };
  };
}

/** Returns the remaining time; -1 of the library means that the entry never expires. */
function ttl(exchange, index) {
  if (exchange.status(index) !== OK) return undefined;
  const left = exchange.number(index);
  return left < 0 ? Infinity : left;
}

/** Returns the number of removed entries; -1 of the library means that the backend cannot count. */
function count(exchange, index) {
  const removed = exchange.number(index);
  return removed < 0 ? undefined : removed;
}

/** Returns the number of subscriptions that a message was sent to; -1: unknown. */
const receivers = (exchange, index) => exchange.number(index);

/** Returns a part of a block: a view of it, or a copy of a long part, so that the part does not keep the whole block alive. */
function bytesOf(block, at, length) {
  const view = block.subarray(at, at + length);
  return length > SMALL_VALUE && length < block.length / 2 ? Buffer.from(view) : view;
}

const textOf = (block, at, length) => block.toString('utf8', at, at + length);

/** Calls `each` with status, bytes, place and length of every result of many keys. */
function mapResults(exchange, index, each) {
  const length = exchange.number(index);
  const memory = exchange.takeObject(2 * index);
  if (length === 0) return [];
  const records = new Int32Array(memory, 0, 2 * length);
  const block = Buffer.from(memory);
  let at = 8 * length;
  return Array.from({ length }, (_, item) => {
    const here = at;
    at += records[2 * item + 1];
    return each(records[2 * item], block, here, at - here);
  });
}

/** Returns a decoder of many results. `describe` adds the results of the keys that did not fail to an error. */
function many(each) {
  const decode = (exchange, index) => mapResults(exchange, index, each);
  decode.describe = (exchange, index, error) => {
    error.codes = [];
    error.results = mapResults(exchange, index, (status, block, at, length) => {
      error.codes.push(codeOf(status));
      return status < 0 ? undefined : each(status, block, at, length);
    });
  };
  return decode;
}

const values = many((status, block, at, length) => (status === OK ? bytesOf(block, at, length) : undefined));
const texts = many((status, block, at, length) => (status === OK ? textOf(block, at, length) : undefined));
const stored = many((status) => status === OK);
const allStored = Object.assign((exchange, index) => void exchange.takeObject(2 * index), { describe: stored.describe });

/** The kinds of replies to commands. */
const [NIL, STRING, STATUS, INTEGER, ARRAY] = [0, 1, 2, 3, 4];
const REPLY_RECORD = 16;

/** Reads a reply to a command at the place of `cursor`, which moves behind it. */
function readReply(block, cursor, read) {
  const { at } = cursor;
  const [kind, length] = [block.readInt32LE(at), block.readUInt32LE(at + 4)];
  cursor.at += REPLY_RECORD;
  if (kind === NIL) return null;
  if (kind === INTEGER) return numberOf(block.readBigInt64LE(at + 8));
  if (kind === ARRAY) return Array.from({ length }, () => readReply(block, cursor, read));
  const begin = cursor.at;
  cursor.at += length;
  if (kind === STRING) return read(block, begin, length);
  const words = textOf(block, begin, length);
  return kind === STATUS ? words : new YokedCacheError('YC_E_SERVER', words);
}

/** Returns a number, or a bigint for one that a number does not represent. */
const numberOf = (whole) => (Number.isSafeInteger(Number(whole)) ? Number(whole) : whole);

function replyOf(read) {
  return (exchange, index) => readReply(Buffer.from(exchange.takeObject(2 * index)), { at: 0 }, read);
}

function pageOf(read) {
  return (exchange, index) => {
    if (exchange.status(index) === END) return undefined;
    const length = exchange.number(index);
    const memory = exchange.takeObject(2 * index);
    const lengths = new Uint32Array(memory, 0, length);
    const block = Buffer.from(memory);
    let at = 4 * length;
    return Array.from(lengths, (size) => read(block, (at += size) - size, size));
  };
}

function matchesOf(read) {
  return (exchange, index) => {
    const length = exchange.number(index);
    if (length === 0) return [];
    const memory = exchange.takeObject(2 * index);
    const scores = new Float64Array(memory, 0, 2 * length);
    const lengths = new Uint32Array(memory, 0, 4 * length);
    const block = Buffer.from(memory);
    let at = 16 * length;
    return Array.from({ length }, (_, item) => {
      const size = lengths[4 * item + 2];
      return { key: read(block, (at += size) - size, size), score: scores[2 * item] };
    });
  };
}

module.exports = {
  nothing, wasThere, text, json, ttl, count, receivers, version, counter, stored, allStored,
  value: { utf8: text, buffer: value },
  versioned: { utf8: versioned(text), buffer: versioned(value) },
  described: { utf8: described(text), buffer: described(value) },
  values: { utf8: texts, buffer: values },
  keys: { utf8: pageOf(textOf), buffer: pageOf(bytesOf) },
  reply: { utf8: replyOf(textOf), buffer: replyOf(bytesOf) },
  matches: { utf8: matchesOf(textOf), buffer: matchesOf(bytesOf) },
};
