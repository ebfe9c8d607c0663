'use strict';

/** Adds the metrics of caches to a register of prom-client. The package is not needed here: a register has these methods. */

const { metricsOf } = require('./cache.js');
const { invalidType } = require('./error.js');

/** The collectors of registers: one each, because a register takes each name once. */
const collectors = new WeakMap();

/** The samples of the caches that are collected into one register. */
class Collector {
  constructor(register) {
    this.register = register;
    this.caches = {};
    this.metrics = new Map();
    this.families = undefined;
  }

  /** Returns a promise of the families. The metrics of one scrape, which asks for all of them at once, share it. */
  ask() {
    if (this.families === undefined) {
      const forget = () => (this.families = undefined);
      this.families = metricsOf(this.caches).then((text) => this.#read(text));
      queueMicrotask(forget);
    }
    return this.families;
  }

  /** Reads a text, and registers the families that are new in it: the register asks for them from the next scrape on. */
  #read(text) {
    const families = familiesOf(text);
    for (const [name, { help, type }] of families) {
      if (this.metrics.has(name)) continue;
      const metric = new Metric(this, name, help, type);
      this.register.registerMetric(metric);
      this.metrics.set(name, metric);
    }
    return families;
  }
}

/** A family, as a register asks for it. */
class Metric {
  #collector;
  #family;

  constructor(collector, family, help, type) {
    this.#collector = collector;
    this.#family = family;
    // A register of OpenMetrics changes the names of counters.
    this.name = family;
    this.help = help;
    this.type = type;
    this.aggregator = 'sum';
  }

  async get() {
    const families = await this.#collector.ask();
    const values = families.get(this.#family)?.values ?? [];
    return { name: this.name, help: this.help, type: this.type, values, aggregator: this.aggregator };
  }

  /** Has no effect: the library counts. */
  reset() {}
}

// ---- The text format of Prometheus ----

const ESCAPES = { n: '\n', '"': '"', '\\': '\\' };

function unescaped(text) {
  return text.replace(/\\(.)/g, (_, character) => ESCAPES[character] ?? character);
}

/** Returns the families of a text by their names, each with the values of its samples. */
function familiesOf(text) {
  const families = new Map();
  let family;
  for (const line of text.split('\n')) {
    const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === 'HELP') families.set(name, (family = { name, help: unescaped(rest), type: undefined, values: [] }));
    else if (keyword === 'TYPE') family.type = rest;
    else if (line !== '') family.values.push(sampleOf(family.name, line));
  }
  return families;
}

/** Returns a sample as prom-client has it: `metricName` only where it is not that of the family, as in histograms. */
function sampleOf(family, line) {
  const [, metricName, text, number] = /^(\w+)\{(.*)\} (\S+)$/.exec(line);
  const pairs = text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
  const labels = Object.fromEntries(Array.from(pairs, ([, label, value]) => [label, unescaped(value)]));
  const sample = { value: Number(number), labels };
  return metricName === family ? sample : { ...sample, metricName };
}

/** Collects caches, by their names, into a register. */
async function collectInto(register, caches) {
  if (typeof register?.registerMetric !== 'function') throw invalidType('the register has no method registerMetric: pass a Registry of prom-client');
  await metricsOf(caches); // Refuses what is no cache and no name.
  if (!collectors.has(register)) collectors.set(register, new Collector(register));
  const collector = collectors.get(register);
  collector.caches = { ...collector.caches, ...caches };
  await collector.ask();
}

module.exports = { collectInto };
