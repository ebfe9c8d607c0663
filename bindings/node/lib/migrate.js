'use strict';

/** Migrations and switches, which run on threads of their own. A migration reports its progress. */

const native = require('./native.js');
const { YokedCacheError, errorOf } = require('./error.js');

/** Settles a promise with a report or an error of the native part. */
function settle(outcome, resolve, reject) {
  if (Array.isArray(outcome)) reject(errorOf(outcome));
  else resolve(JSON.parse(outcome));
}

/** Returns a promise of the report of a switch. */
async function switchTo(exchange, config, options) {
  exchange.beginSwitch();
  try {
    return await new Promise((resolve, reject) => {
      native.switchTo(exchange.handle, config, JSON.stringify(options), (_, outcome) => settle(outcome, resolve, reject));
    });
  } finally {
    exchange.endSwitch();
  }
}

/** Passes a progress to the caller; returns false if the signal or the caller stops the migration. */
function continues([examined, copied, skipped, failed, resume], onProgress, signal) {
  if (signal?.aborted) return false;
  return onProgress?.({ examined, copied, skipped, failed, resume }) !== false;
}

/** Returns the reason of a migration that was stopped; undefined if the caller stopped it. */
function reasonOf(source, target, signal) {
  if (signal?.aborted) return signal.reason;
  return source.closed || target.closed ? new YokedCacheError('YC_E_CLOSED', 'the cache was closed') : undefined;
}

/** Returns a promise of the report of a migration. */
function migrate(source, target, options, onProgress, signal) {
  return new Promise((resolve, reject) => {
    let thrown;
    const ask = (progress) => {
      try {
        return continues(progress, onProgress, signal);
      } catch (error) {
        thrown = { error };
        return false;
      }
    };
    const finish = (report) => {
      const error = report.complete ? undefined : reasonOf(source, target, signal);
      if (error === undefined) resolve(report);
      else reject(error);
    };
    const tell = (done, what) => {
      if (!done) return ask(what);
      return thrown === undefined ? settle(what, finish, reject) : reject(thrown.error);
    };
    const tells = onProgress !== undefined || signal !== undefined;
    native.migrate(source.handle, target.handle, JSON.stringify(options), tells, tell);
  });
}

module.exports = { migrate, switchTo };
