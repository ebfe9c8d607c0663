'use strict';

/** Channels: subscriptions, whose messages are received one after another. */

const native = require('./native.js');
const { attempt, encodingOf } = require('./arguments.js');
const { Inbox, bytesOfLists, maxBytesOf, namesOf, readyOf } = require('./inbox.js');
const { optionsOf, optionsSet } = require('./options.js');

const SUBSCRIBE = optionsSet('channels', 'patterns', 'maxBytes', 'encoding', 'signal');

class Subscription extends Inbox {}

const messageOf = ([channel, data, lost]) => ({ channel, data, lost });

/** Returns a promise of a subscription. */
function subscribe(exchange, options) {
  return attempt(() => {
    const { channels, patterns, maxBytes, encoding, signal } = optionsOf(options, SUBSCRIBE);
    const [names, globs] = [namesOf(channels, 'channels'), namesOf(patterns, 'patterns')];
    const limit = maxBytesOf(maxBytes);
    const asText = encodingOf(encoding, 'buffer') === 'utf8';
    exchange.check(signal);
    const list = bytesOfLists(names, 'channel', globs, 'pattern');
    const opening = native.subscribe(exchange.handle, list, names.length, globs.length, limit);
    const subscription = new Subscription('subscription', opening, messageOf, asText, signal);
    return readyOf(subscription).then(() => subscription);
  });
}

module.exports = { subscribe };
