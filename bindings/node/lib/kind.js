'use strict';

/** The numbers of operations in yokedcache.h. */

exports.Kind = Object.freeze({
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
});
