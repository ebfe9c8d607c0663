'use strict';

/** Runs conformance scripts over the cache that YC_TEST_URL names: see tests/conformance/README.md. */

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, YokedCacheError, checkConfig } = require('./package.js');
const { bare, mark, quoted, readWords, readStatement, matches, show } = require('./script.js');

const url = process.env.YC_TEST_URL ?? 'memory://';
/** Options of every cache. */
const optionsOfAll = process.env.YC_TEST_OPTIONS ? `&${process.env.YC_TEST_OPTIONS}` : '';
/** The versions that steps of the current case have remembered, by name. */
const versions = new Map();
/** The leases that steps of the current case have taken, by name. */
const leases = new Map();
/** The subscriptions of the current case, by name. */
const subscriptions = new Map();
/** The readers of events of the current case, by name. */
const readers = new Map();
const tally = { cases: 0, passed: 0, failed: 0, notApplicable: 0 };

// ---- Arguments and results ----

/** A text where the bytes are one, else the bytes: both forms are in use. */
function data(text) {
  const bytes = Buffer.from(text, 'latin1');
  const string = bytes.toString();
  return Buffer.from(string).equals(bytes) ? string : bytes;
}

function ttlOf(text) {
  if (text === undefined || text === 'default') return undefined;
  return text === 'never' ? Infinity : Number(text);
}

const ttlOption = (step) => ttlOf(step.options.get('ttl')?.[0]);
const tagsOption = (step) => step.options.get('tags')?.map(data);
const numberOption = (step, name) => (step.options.has(name) ? Number(step.options.get(name)[0]) : undefined);
const bigintOption = (step, name) => (step.options.has(name) ? BigInt(step.options.get(name)[0]) : undefined);
const wantsOk = (step) => step.wanted.length === 1 && step.wanted[0].text === 'ok';

/** With `wait` the key is read until its value is in the memory of this process, for so long at most. */
// Returns the milliseconds of a time such as 90s or 10m.
function millis(text) {
  return Number.parseInt(text, 10) * (text.endsWith('m') ? 60000 : 1000);
}

async function getNear(cache, step) {
  const key = data(step.arguments[0]);
  const end = performance.now() + (numberOption(step, 'wait') ?? 0);
  for (;;) {
    const value = cache.getNear(key);
    if (value !== undefined || performance.now() >= end) return [valueOr(value)];
    await cache.get(key);
    await sleep(1);
  }
}

const bytesOf = (value) => quoted(value.toString('latin1'));
const valueOr = (value) => (value === undefined ? bare('miss') : bytesOf(value));
const okOr = (there) => bare(there ? 'ok' : 'miss');
const list = (words) => [mark('['), ...words, mark(']')];

function ok(result) {
  if (result !== undefined) throw new Error(`${result} came where nothing should`);
  return [bare('ok')];
}

function countOf(step, count) {
  if (wantsOk(step)) return ok(count);
  return [bare(count === undefined ? 'unknown' : String(count))];
}

function remove(step, call) {
  if (step.options.has('dry_run')) return call({ dryRun: true }).then((count) => countOf(step, count));
  return call({ count: !wantsOk(step) }).then((count) => countOf(step, count));
}

function leftOf(left) {
  return [bare(left === undefined ? 'miss' : left === Infinity ? '-1' : String(left))];
}

/** Remembers a version under the name that the step gives it. */
function remember(step, version) {
  if (step.options.has('as')) versions.set(step.options.get('as')[0], version);
}

/** The version that a step names, or has in digits. */
function versionOf(step) {
  const [name] = step.options.get('if');
  return versions.get(name) ?? BigInt(name);
}

function conditionOf(step) {
  const [name] = step.options.get('if');
  return name === 'absent' || name === 'present' ? { [name]: true } : { version: versionOf(step) };
}

async function getVersioned(cache, step) {
  const found = await cache.getVersioned(data(step.arguments[0]));
  if (found !== undefined) remember(step, found.version);
  return [valueOr(found?.value)];
}

async function getInfo(cache, step) {
  const found = await cache.getInfo(data(step.arguments[0]), { maxAge: numberOption(step, 'max_age') });
  if (found === undefined) return [bare('miss')];
  remember(step, found.version);
  const { value, age, ttl, tagCount, tags } = found;
  const names = (tags ?? []).map((tag) => bytesOf(Buffer.from(tag)));
  return list([bytesOf(value), bare(age === undefined ? 'unknown' : String(age)), ...leftOf(ttl), bare(String(tagCount)), ...names]);
}

async function setIf(cache, step) {
  const options = { ...conditionOf(step), ttl: ttlOption(step), tags: tagsOption(step) };
  const version = await cache.setIf(data(step.arguments[0]), data(step.arguments[1]), options);
  if (version !== undefined) remember(step, version);
  return [bare(version === undefined ? 'unmet' : 'ok')];
}

/** The binding reports unmet and miss alike. `exists` tells which: nothing else uses the key meanwhile. */
async function deleteIf(cache, step) {
  const key = data(step.arguments[0]);
  if (await cache.deleteIf(key, { version: versionOf(step) })) return [bare('ok')];
  return [bare((await cache.exists(key)) ? 'unmet' : 'miss')];
}

async function counterAdd(cache, step) {
  const [key, delta] = step.arguments;
  return [bare(String(await cache.counterAdd(data(key), BigInt(delta), { initial: bigintOption(step, 'initial'), ttl: ttlOption(step) })))];
}

async function redis(cache, step) {
  const index = numberOption(step, 'key') ?? -1;
  const args = step.arguments.map(data);
  // Keys are marked in this binding: it has no index that could be wrong.
  if (index === 0 || index < -1 || index >= args.length) return step.wanted;
  if (index > 0) args[index] = cache.redis.key(args[index]);
  return replied(await cache.redis.command(args));
}

function replied(reply) {
  if (reply === null) return [bare('miss')];
  if (typeof reply === 'number' || typeof reply === 'bigint') return [bare(String(reply))];
  return Array.isArray(reply) ? list(reply.flatMap(replied)) : [bytesOf(Buffer.from(reply))];
}

async function getOrLease(cache, step) {
  const [key] = step.arguments;
  const options = { lease: numberOption(step, 'lease'), wait: numberOption(step, 'wait') ?? 0, tags: tagsOption(step) };
  const { state, value, lease } = await cache.getOrLease(data(key), options);
  if (lease !== undefined) leases.set(step.options.get('as')?.[0] ?? key, lease);
  const words = [
    ...(value === undefined ? [] : [bytesOf(value)]), ...(state === 'stale' || state === 'absent' ? [bare(state)] : []),
    ...(lease === undefined ? [] : [bare('leased')]),
  ];
  return words.length > 1 ? list(words) : words;
}

async function fill(step, value) {
  const stored = await leases.get(step.arguments[0]).fill(value, { ttl: ttlOption(step), staleFor: numberOption(step, 'stale'), tags: tagsOption(step) });
  return [bare(stored ? 'ok' : 'superseded')];
}

async function publish(cache, step) {
  const receivers = await cache.publish(data(step.arguments[0]), data(step.arguments[1]));
  if (typeof receivers !== 'number') throw new Error(`${receivers} came where a number should`);
  return [bare(wantsOk(step) ? 'ok' : String(receivers))];
}

async function subscribe(cache, step) {
  const list = (name) => step.options.get(name)?.map(data);
  const subscription = await cache.subscribe({ channels: list('channels'), patterns: list('patterns'), maxBytes: numberOption(step, 'max_bytes') });
  subscriptions.set(step.arguments[0], subscription);
  return [bare('ok')];
}

async function next(step) {
  const message = await subscriptions.get(step.arguments[0]).receive({ timeout: numberOption(step, 'wait') ?? 10_000 });
  if (message === undefined) return [bare('miss')];
  const { channel, data: bytes, lost } = message;
  return list(bytes === undefined ? [bare('lost'), bare(String(lost))] : [bare(Buffer.from(channel).toString('latin1')), bytesOf(bytes)]);
}

async function unsubscribe(step) {
  subscriptions.get(step.arguments[0]).close();
  return [bare('ok')];
}

/** The names of the scripts for kinds of events that have another name here. */
const KINDS = { begin: 'fallbackBegin', end: 'fallbackEnd' };
const kindOf = (word) => KINDS[word] ?? word;
const wordOf = (kind) => Object.keys(KINDS).find((word) => KINDS[word] === kind) ?? kind;

async function events(cache, step) {
  const list = (name) => step.options.get(name)?.map(data);
  const own = step.options.has('own') ? numberOption(step, 'own') !== 0 : undefined;
  const reader = cache.events({
    kinds: list('kinds')?.map(kindOf), tags: list('tags'), keys: list('keys'), own, maxBytes: numberOption(step, 'max_bytes'), encoding: 'buffer',
  });
  await reader.ready;
  readers.set(step.arguments[0], reader);
  return [bare('ok')];
}

async function nextEvent(step) {
  const event = await readers.get(step.arguments[0]).receive({ timeout: numberOption(step, 'wait') ?? 10_000 });
  if (event === undefined) return [bare('miss')];
  const { kind, name, own, lost } = event;
  if (kind === 'gap') return list([bare('gap'), bare(String(lost))]);
  return list([bare(wordOf(kind)), bytesOf(name), ...(own ? [bare('own')] : [])]);
}

async function readKeys(cache, step) {
  const limit = numberOption(step, 'page');
  const keys = [];
  for await (const key of cache.keys(data(step.arguments[0]), { encoding: 'buffer', pageSize: limit, tags: tagsOption(step) })) keys.push(key);
  return list(keys.sort(Buffer.compare).map(bytesOf));
}

async function search(cache, step) {
  const options = { threshold: numberOption(step, 'threshold'), limit: numberOption(step, 'limit'), tags: tagsOption(step), encoding: 'buffer' };
  const found = await cache.search(data(step.arguments[0]), step.options.size ? options : { encoding: 'buffer' });
  return list(found.flatMap(({ key, score }) => [bytesOf(key), mark('@'), bare(score.toFixed(4))]));
}

function pairsOf(texts) {
  const pairs = [];
  for (let at = 0; at < texts.length; at += 2) pairs.push([data(texts[at]), data(texts[at + 1])]);
  return pairs;
}

/** A number of a report; null if it is unknown. */
const numberOf = (number, otherwise) => bare(number === undefined ? otherwise : number === null ? 'unknown' : String(number));

/** A field of an explanation; of a tag its status, of a lease its kind. */
async function explain(cache, step) {
  const [key, field] = step.arguments;
  const tags = tagsOption(step);
  const report = await cache.explain(data(key), { tags });
  const fields = {
    tag: tags && (report.tags.find(({ name }) => name === tags[0])?.status ?? null),
    lease: report.lease?.kind ?? null,
    left_ms: report.lease?.left_ms,
  };
  const found = field in fields ? fields[field] : report[field];
  if (typeof found === 'string') return [quoted(found)];
  return [typeof found === 'boolean' ? okOr(found) : numberOf(found, 'not-in-the-report')];
}

/** The whole part of the first sample of a family. */
function sampleOf(text, family) {
  const line = text.split('\n').find((each) => each.startsWith(`${family}{`));
  return line === undefined ? undefined : Math.trunc(Number(line.slice(line.lastIndexOf(' '))));
}

const OPERATIONS = {
  // The binding gathers what one tick asks for: its batches have no call. A closed cache says so to any.
  batch: async (cache) => [bare((await cache.getMany([])).length === 0 ? 'ok' : 'not-empty')],
  get: async (cache, step) => [valueOr(await cache.get(data(step.arguments[0]), { fresh: step.options.has('fresh') }))],
  get_near: getNear,
  get_into: async (cache, { arguments: [key] }) => [valueOr(await cache.get(data(key)))],
  set: async (cache, step) =>
    ok(await cache.set(data(step.arguments[0]), data(step.arguments[1]), { ttl: ttlOption(step), tags: tagsOption(step) })),
  delete: async (cache, { arguments: [key] }) => [okOr(await cache.delete(data(key)))],
  exists: async (cache, { arguments: [key] }) => [okOr(await cache.exists(data(key)))],
  expire: async (cache, { arguments: [key, ttl] }) => [okOr(await cache.expire(data(key), ttlOf(ttl)))],
  ttl: async (cache, { arguments: [key] }) => leftOf(await cache.ttl(data(key))),
  get_info: getInfo,
  get_versioned: getVersioned,
  set_if: setIf,
  delete_if: deleteIf,
  get_and_expire: async (cache, { arguments: [key, ttl] }) => [valueOr(await cache.getAndExpire(data(key), ttlOf(ttl)))],
  counter_add: counterAdd,
  redis,
  publish,
  subscribe,
  next: (_, step) => next(step),
  unsubscribe: (_, step) => unsubscribe(step),
  events,
  next_event: (_, step) => nextEvent(step),
  get_or_lease: getOrLease,
  fill: (_, step) => fill(step, data(step.arguments[1])),
  fill_absent: (_, step) => fill(step, undefined),
  abandon: async (_, step) => ok(await leases.get(step.arguments[0]).abandon({ retryAfter: numberOption(step, 'retry') })),
  free: async (_, { arguments: [name] }) => ok(leases.get(name).release()),
  invalidate_tag: (cache, step) => remove(step, (options) => cache.invalidateTag(data(step.arguments[0]), options)),
  invalidate_tags: (cache, step) => remove(step, (options) => cache.invalidateTags(step.arguments.map(data), options)),
  invalidate_pattern: (cache, step) => remove(step, (options) => cache.invalidatePattern(data(step.arguments[0]), options)),
  clear: (cache, step) => remove(step, (options) => cache.clear(options)),
  flush: (cache, step) => remove(step, (options) => cache.flush(options)),
  keys: readKeys,
  search,
  get_many: async (cache, step) => list((await cache.getMany(step.arguments.map(data))).map(valueOr)),
  set_many: async (cache, step) =>
    ok(await cache.setMany(pairsOf(step.arguments), { ttl: ttlOption(step), tags: tagsOption(step) })),
  delete_many: async (cache, step) => list((await cache.deleteMany(step.arguments.map(data))).map(okOr)),
  size: async (cache) => [bare(String((await cache.stats()).keys))],
  stats: async (cache, { arguments: [name] }) => [numberOf((await cache.stats())[name], 'not-in-the-report')],
  metrics: async (cache, { arguments: [name] }) => [numberOf(sampleOf(await cache.metrics(), name), 'not-in-the-metrics')],
  health: async (cache) => [quoted((await cache.health()).status)],
  explain,
  ping: async (cache) => ok(await cache.ping()),
  close: async (cache) => ok(await cache.close()),
  switch: async (cache, { arguments: [config, copy] }) => {
    const { backend } = await cache.switchTo(config, { copy: copy === 'copy' });
    return [bare(backend === '' ? 'no-backend' : 'ok')];
  },
  sleep: async (_, { arguments: [milliseconds] }) => ok(await sleep(Number(milliseconds) + 1)),
};

// ---- Cases ----

function withOptions(address, options) {
  return options.reduce((text, [name, [value]]) => `${text}&${name}=${value}`, address);
}

class Case {
  constructor(file, name, conditions) {
    Object.assign(this, { file, name, caches: new Map(), steps: [], ...structuredClone(conditions) });
  }

  urlWith(suffix, options) {
    const address = `${url}${url.includes('?') ? '&' : '?'}key_prefix=${this.prefix}${suffix}${optionsOfAll}`;
    return withOptions(address, [...this.options, ...options]);
  }

  async open(name, suffix, options) {
    this.caches.set(name, await Cache.open(this.urlWith(suffix, options)));
    return [bare('ok')];
  }

  view(step) {
    const options = {};
    for (const [name, values] of step.options) {
      if (name === 'default_ttl') options.defaultTtl = millis(values[0]);
      else if (name === 'max_age') options.maxAge = millis(values[0]);
      else if (name === 'touch_on_get') options.touchOnGet = values[0] === 'true';
      else options[name] = name === 'tags' ? values : values[0];
    }
    this.caches.set(step.arguments[0], this.caches.get(step.cache).view(options));
    return [bare('ok')];
  }

  async checkConfig(options) {
    const { key_prefix: prefix } = await checkConfig(this.urlWith('', options));
    return [bare(prefix === this.prefix ? 'ok' : 'another-prefix')];
  }

  applies() {
    if (this.schemes.length > 0 && !this.schemes.includes(url.split(':')[0])) return false;
    // No cache of a case is a view.
    const can = { ...this.caches.get('').capabilities, root: true };
    return this.needs.every((name) => can[name]) && !this.lacks.some((name) => can[name]);
  }

  async run() {
    this.prefix = `t${process.pid}.${tally.cases++}.${Date.now() % 1e9}-`;
    versions.clear();
    leases.clear();
    subscriptions.clear();
    readers.clear();
    if (this.steps.length === 0) throw new Error(`${this.file}: the case ${this.name} has no step`);
    if (this.schemes.length > 0 && !this.schemes.includes(url.split(':')[0])) return void (tally.notApplicable += 1);
    try {
      await this.open('', '', []);
      if (!this.applies()) return void (tally.notApplicable += 1);
      await this.runSteps();
    } catch (error) {
      this.fail(0, [], [bare(error.stack)]);
    } finally {
      await this.closeAll();
    }
  }

  async runSteps() {
    for (const step of this.steps) {
      const came = await this.outcome(step);
      if (!matches(step.wanted, came)) return this.fail(step.line, step.wanted, came);
    }
    tally.passed += 1;
  }

  fail(line, wanted, came) {
    tally.failed += 1;
    console.log(`FAILED ${this.file}:${line}: case ${this.name}\n  wanted: ${show(wanted)}\n  came:   ${show(came)}`);
  }

  async outcome(step) {
    if (step.operation === 'get_into' && step.options.has('cap')) return step.wanted;
    try {
      return await this.call(step);
    } catch (error) {
      if (!(error instanceof YokedCacheError) || !error.message) throw error;
      return [bare('error'), bare(error.code)];
    }
  }

  call(step) {
    if (step.operation === 'open') {
      const options = [...step.options].filter(([name]) => name !== 'suffix');
      return this.open(step.arguments[0], step.options.get('suffix')?.[0] ?? '', options);
    }
    if (step.operation === 'view') return this.view(step);
    if (step.operation === 'check_config') return this.checkConfig([...step.options]);
    if (step.operation === 'migrate') return this.migrate(this.caches.get(step.cache), this.caches.get(step.arguments[0]));
    const [cache, operation] = [this.caches.get(step.cache), OPERATIONS[step.operation]];
    if (!cache || !operation) throw new Error(`${this.file}:${step.line}: no such cache or operation`);
    return operation(cache, step);
  }

  async migrate(source, target) {
    const { copied } = await source.migrateTo(target);
    return [bare(String(copied))];
  }

  /** Leaves nothing in a shared store. */
  async closeAll() {
    for (const inbox of [...subscriptions.values(), ...readers.values()]) inbox.close();
    for (const cache of this.caches.values()) {
      await cache.flush().catch(() => {});
      await cache.close();
    }
  }
}

// ---- Files ----

const noConditions = () => ({ options: [], needs: [], lacks: [], schemes: [] });

function readCondition(step, conditions) {
  if (step.operation === 'with') conditions.options.push(...step.options);
  else if (step.operation === 'needs') conditions.needs.push(...step.arguments);
  else if (step.operation === 'lacks') conditions.lacks.push(...step.arguments);
  else if (step.operation === 'only') conditions.schemes.push(...step.arguments);
  else return false;
  return true;
}

/** The cases of a file. The operations of a batch are steps of their own: the binding has no batch, and they run in order. */
function readFile(file) {
  const ofFile = noConditions();
  const cases = [];
  fs.readFileSync(file, 'latin1').split('\n').forEach((line, at) => {
    if (/^[ \t]*case /.test(line)) return cases.push(new Case(file, line.trim().slice(5), ofFile));
    const words = readWords(line);
    if (words === null) throw new Error(`${file}:${at + 1}: this line has an invalid word`);
    if (words.length === 0) return undefined;
    const ofBatch = words[0].kind === 'mark' && words[0].text === '|';
    const step = { ...readStatement(ofBatch ? words.slice(1) : words), line: at + 1 };
    const current = cases.at(-1);
    if (ofBatch) step.cache = current.steps.findLast(({ operation }) => operation === 'batch').cache;
    return readCondition(step, current ?? ofFile) || current.steps.push(step);
  });
  return cases;
}

async function main() {
  for (const file of process.argv.slice(2)) {
    for (const one of readFile(file)) await one.run();
  }
  const { cases, passed, failed, notApplicable } = tally;
  console.log(`conformance: ${cases} cases, ${passed} passed, ${failed} failed, ${notApplicable} not applicable`);
  process.exitCode = failed > 0 || cases === 0 ? 1 : 0;
}

main();
