'use strict';

/** The numbers of operations in yokedcache.h. */

const Kind = Object.freeze({
  GET: 1,
  SET: 2,
  DELETE: 3,
  EXISTS: 4,
  EXPIRE: 5,
  TTL: 6,
  INVALIDATE_TAGS: 7,
  INVALIDATE_PATTERN: 8,
  FLUSH: 9,
  PING: 10,
  STATS: 11,
  HEALTH: 12,
  METRICS: 13,
  GET_MANY: 14,
  SET_MANY: 15,
  DELETE_MANY: 16,
  SEARCH: 18,
  GET_VERSIONED: 19,
  SET_IF: 20,
  DELETE_IF: 21,
  GET_AND_EXPIRE: 22,
  COUNTER_ADD: 23,
  GET_OR_LEASE: 24,
  LEASE_FILL: 25,
  LEASE_ABANDON: 26,
  EXPLAIN: 27,
  REDIS_COMMAND: 28,
  PUBLISH: 29,
  GET_INFO: 32,
  CLEAR: 33,
});

/** Returns true for an operation that a backend in this process completes within the call: GET_OR_LEASE if it does not wait. */
const isShort = (kind) =>
  kind <= Kind.INVALIDATE_TAGS || (kind >= Kind.GET_VERSIONED && kind <= Kind.LEASE_ABANDON) || kind === Kind.PUBLISH ||
  kind === Kind.GET_INFO || kind === Kind.CLEAR;

const CHANGES = new Set([
  Kind.SET, Kind.DELETE, Kind.EXPIRE, Kind.INVALIDATE_TAGS, Kind.INVALIDATE_PATTERN, Kind.CLEAR, Kind.FLUSH, Kind.SET_MANY, Kind.DELETE_MANY,
  Kind.SET_IF, Kind.DELETE_IF, Kind.GET_AND_EXPIRE, Kind.COUNTER_ADD, Kind.LEASE_FILL,
]);

/** Returns true for an operation that may change entries. */
const isChange = (kind) => CHANGES.has(kind);

module.exports = { Kind, isShort, isChange };
