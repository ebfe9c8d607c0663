'use strict';

/** The log of the library. Its lines wait in the native part until Node's loop passes them to the function. */

const native = require('./native.js');
const { errorOf, invalidType, outOfRange } = require('./error.js');
const { optionsOf, optionsSet } = require('./options.js');

const SET_LOG = optionsSet('level');
/** By the numbers of the library, from 1: the methods of a logger, too. */
const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
/** What is passed at once before Node's loop has its turn. */
const AT_ONCE = 64;

/** The log that this thread has set last; undefined without one. */
let current;
let isAtExit = false;

class Log {
  #native;
  #write;
  #isWriting = false;

  constructor(write, level) {
    this.#write = write;
    const made = native.setLog(level, this, this.#onLines);
    if (Array.isArray(made)) throw errorOf(made);
    this.#native = made;
  }

  /** Passes lines. The native part calls it again while some wait, also after the function has thrown. */
  #onLines() {
    this.pass(AT_ONCE);
  }

  pass(most) {
    this.#isWriting = true;
    try {
      for (let count = 0; count < most; count++) {
        const line = native.takeLine(this.#native);
        if (line === undefined) return;
        this.#write(lineOf(line));
      }
    } finally {
      this.#isWriting = false;
    }
  }

  /** Passes what was written before, unless the function itself ends the log. */
  end() {
    try {
      if (!this.#isWriting) this.pass(Infinity);
    } catch (error) {
      process.nextTick(() => { throw error; });
    } finally {
      native.endLog(this.#native);
    }
  }
}

function lineOf([level, message, time, dropped]) {
  return { level: LEVELS[level - 1], message, time: new Date(time), dropped };
}

/** Returns the function of a log, which is a function or a logger. */
function writerOf(log) {
  if (typeof log === 'function') return log;
  if (log === undefined || nearestMethod(log, 0) === undefined) {
    throw invalidType(`the log is not a function, null, or a logger with one of the methods ${LEVELS.join(', ')}`);
  }
  return ({ level, message, dropped }) => {
    const text = dropped === 0 ? message : `${message} (${dropped} lines were dropped)`;
    // A logger may replace its methods when its level changes.
    const method = nearestMethod(log, LEVELS.indexOf(level));
    if (method !== undefined) log[method](text);
  };
}

/** Returns the name of the method of a level, else that of the next more severe one, else of the next less severe one. */
function nearestMethod(logger, level) {
  const has = (name) => typeof logger[name] === 'function';
  return LEVELS.slice(0, level + 1).reverse().find(has) ?? LEVELS.slice(level + 1).find(has);
}

function levelOf(level) {
  if (typeof level !== 'string') throw invalidType('level is not a string');
  const at = LEVELS.indexOf(level);
  if (at < 0) throw outOfRange(`level is ${JSON.stringify(level.slice(0, 64))}; it takes ${LEVELS.join(', ')}`);
  return at + 1;
}

/** Passes the last lines: Node's loop has no turn any more. */
function passAtExit() {
  if (isAtExit) return;
  isAtExit = true;
  process.on('exit', () => current?.pass(Infinity));
}

function setLog(log, options) {
  const level = levelOf(optionsOf(options, SET_LOG).level ?? 'info');
  const previous = current;
  if (log === null) {
    const failed = native.setLog(0);
    if (failed !== undefined) throw errorOf(failed);
    current = undefined;
  } else {
    current = new Log(writerOf(log), level);
    passAtExit();
  }
  previous?.end();
}

module.exports = { setLog };
