'use strict';

/** Events: readers, which receive what caches with the same servers and prefix remove. */

const native = require('./native.js');
const { encodingOf, listOf } = require('./arguments.js');
const { invalidType, outOfRange } = require('./error.js');
const { Inbox, bytesOfLists, maxBytesOf, namesOf, readyOf } = require('./inbox.js');
const { flagOf, optionsOf, optionsSet } = require('./options.js');

const EVENTS = optionsSet('kinds', 'tags', 'keys', 'own', 'maxBytes', 'encoding', 'signal');

/** The numbers of the kinds in yokedcache.h. */
const KINDS = Object.freeze({ tag: 1, pattern: 2, flush: 4, delete: 8, switch: 16, fallbackBegin: 32, fallbackEnd: 64 });
const GAP = 128;
const NAMES = new Map(Object.entries(KINDS).map(([name, number]) => [number, name]));

class Events extends Inbox {
  get ready() {
    return readyOf(this);
  }
}

function eventOf([name, kind, lost, origin, sequence, time, own]) {
  if (kind === GAP) return { kind: 'gap', name: undefined, origin: undefined, sequence: undefined, time: undefined, own: false, lost };
  return { kind: NAMES.get(kind), name, origin, sequence, time: new Date(time), own, lost };
}

/** An empty list selects nothing, and a reader without events is a mistake. */
function filled(list, what) {
  if (list !== undefined && list.length === 0) throw outOfRange(`the ${what} are empty: leave ${what} out to select all`);
  return list;
}

function kindOf(name) {
  if (typeof name !== 'string') throw invalidType('a kind of events is not a string');
  if (!Object.hasOwn(KINDS, name)) {
    throw outOfRange(`there is no kind of events ${JSON.stringify(name.slice(0, 64))}; there are ${Object.keys(KINDS).join(', ')}`);
  }
  return KINDS[name];
}

/** Returns the sum of the numbers of kinds; 0 selects the default. */
function kindsOf(kinds) {
  const list = kinds === undefined ? [] : filled(listOf(kinds, 'kinds'), 'kinds');
  return list.reduce((sum, name) => sum | kindOf(name), 0);
}

const selection = (list, what) => (list === undefined ? [] : filled(namesOf(list, what), what));

/** Returns a reader of events, which begins to open. */
function events(exchange, options) {
  const { kinds, tags, keys, own, maxBytes, encoding, signal } = optionsOf(options, EVENTS);
  const [wanted, names, globs] = [kindsOf(kinds), selection(tags, 'tags'), selection(keys, 'keys')];
  const limit = maxBytesOf(maxBytes);
  const asText = encodingOf(encoding, 'utf8') === 'utf8';
  const withOwn = flagOf(own, 'own') === true;
  exchange.check(signal);
  const list = bytesOfLists(names, 'tag', globs, 'pattern');
  const opening = native.events(exchange.handle, list, names.length, globs.length, wanted, withOwn, limit);
  return new Events('reader of events', opening, eventOf, asText, signal);
}

module.exports = { events, KINDS, GAP };
