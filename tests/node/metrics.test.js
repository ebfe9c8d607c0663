'use strict';

/** The metrics of many caches: one text, and the register of prom-client, that of YC_TEST_PROM or an object with its methods. */

const assert = require('node:assert/strict');
const net = require('node:net');
const { test } = require('node:test');
const { Cache, YokedCacheError, collectInto, metricsOf, testUrl } = require('./package.js');

async function open(t, url) {
  const cache = await Cache.open(url);
  t.after(() => cache.close());
  return cache;
}

/** Returns the samples of a text, `name{labels} value`, of one family. */
const samplesOf = (text, family) => text.split('\n').filter((line) => line.startsWith(`${family}{`));

test('one text of many caches', async (t) => {
  const [one, two] = [await open(t, 'memory://?key_prefix=one'), await open(t, 'memory://?key_prefix=two')];
  const down = await open(t, 'redis://127.0.0.1:1?connect=lazy&key_prefix=down');
  await two.set('a', 'v');
  const text = await metricsOf({ z: one, 'b"\n\\': two, down, ä: two.view({ namespace: 'n' }) });
  assert.deepEqual(samplesOf(text, 'yokedcache_sets_total'), [
    'yokedcache_sets_total{cache="z",backend="memory",key_prefix="one"} 0',
    'yokedcache_sets_total{cache="b\\"\\n\\\\",backend="memory",key_prefix="two"} 1',
    'yokedcache_sets_total{cache="down",backend="redis",key_prefix="down"} 0',
    'yokedcache_sets_total{cache="ä",backend="memory",key_prefix="two",namespace="n"} 0',
  ]);
  assert.equal(samplesOf(text, 'yokedcache_up').at(2), 'yokedcache_up{cache="down",backend="redis",key_prefix="down"} 0');
  const types = text.split('\n').filter((line) => line.startsWith('# TYPE '));
  assert(types.length > 15 && new Set(types).size === types.length);
  assert.equal(await metricsOf({}), '');
  assert.equal(await metricsOf(Object.assign(Object.create(null), { one })).then((own) => samplesOf(own, 'yokedcache_up').length), 1);
});

test('closed caches are left out', async (t) => {
  const [one, closed] = [await open(t, 'memory://'), await open(t, 'memory://')];
  await closed.close();
  assert.match(await metricsOf({ one, closed }), /cache="one"/);
  assert.doesNotMatch(await metricsOf({ one, closed }), /cache="closed"/);
  assert.equal(await metricsOf({ closed }), '');
});

test('what is refused', async (t) => {
  const cache = await open(t, 'memory://');
  for (const caches of [undefined, null, 5, 'a', [cache], new Map([['a', cache]]), cache, { a: undefined }, { a: {} }, { a: null }, { 'a\0b': cache }]) {
    await assert.rejects(metricsOf(caches), { name: 'TypeError' }, String(caches));
  }
  for (const name of ['', 'n'.repeat(257)]) await assert.rejects(metricsOf({ good: cache, [name]: cache }), { code: 'YC_E_INVALID' });
  await assert.rejects(metricsOf({ cache }, { sgnal: 1 }), /did you mean signal/);
  await assert.rejects(metricsOf({ cache }, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  for (const register of [undefined, null, {}, { registerMetric: 5 }]) await assert.rejects(collectInto(register, { cache }), TypeError);
  await assert.rejects(collectInto({ registerMetric() {} }, { '': cache }), YokedCacheError);
});

test('a signal ends the wait', async (t) => {
  const server = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const silent = await Cache.open(`redis://127.0.0.1:${server.address().port}?connect=lazy&socket_timeout=30s&socket_connect_timeout=30s`);
  await assert.rejects(metricsOf({ silent, again: silent }, { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' });
  await silent.close();
});

test('many texts while caches are used, closed and forgotten', async () => {
  const caches = { a: await Cache.open('memory://'), b: await Cache.open(testUrl()), c: await Cache.open(testUrl()) };
  let done = false;
  const work = Array.from({ length: 6 }, async (_, number) => {
    while (!done) {
      if (number % 2) await metricsOf(caches);
      else await caches.b.set('k', 'v').catch((error) => assert.equal(error.code, 'YC_E_CLOSED'));
      await new Promise(setImmediate);
    }
  });
  for (const name of ['c', 'b', 'a']) {
    for (let turn = 0; turn < 10; turn++) metricsOf({ [name]: await Cache.open('memory://') }).catch(() => {});
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await caches[name].close();
  }
  done = true;
  await Promise.all(work);
});

// ---- A register ----

/** An object with the methods of a register that are used. */
class OwnRegister {
  metricsByName = {};

  registerMetric(metric) {
    if (this.metricsByName[metric.name] && this.metricsByName[metric.name] !== metric) throw new Error('already registered');
    this.metricsByName[metric.name] = metric;
  }

  async metrics() {
    const families = await Promise.all(Object.values(this.metricsByName).map((metric) => metric.get()));
    const escaped = (text) => text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"');
    return families.map(({ name, help, type, values }) => [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...values.map(({ metricName = name, labels, value }) =>
      `${metricName}{${Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)}} ${value}`)].join('\n')).join('\n');
  }

  resetMetrics() {
    for (const metric of Object.values(this.metricsByName)) metric.reset();
  }
}

const prom = process.env.YC_TEST_PROM === undefined ? undefined : require(process.env.YC_TEST_PROM);
const Register = prom?.Registry ?? OwnRegister;

test('the register has what the text has', async (t) => {
  const [one, two] = [await open(t, testUrl()), await open(t, 'memory://?key_prefix=two')];
  for (let turn = 0; turn < 100; turn++) await one.set('a', 'v', { tags: ['t'] });
  await one.invalidateTag('t');
  const register = new Register();
  const caches = { 'o"n\\e\n': one, two };
  assert.equal(await collectInto(register, caches), undefined);
  register.resetMetrics();
  // JavaScript writes a small value with an exponent, as 5.46e-7, which the library does not.
  const plain = (line) => (line.startsWith('#') ? line : line.replace(/[^ ]+$/, (value) => String(Number(value))));
  const ofCaches = (text) => text.split('\n').filter((line) => line !== '' && !line.startsWith('yokedcache_uptime')).map(plain).sort();
  assert.deepEqual(ofCaches(await register.metrics()), ofCaches(await metricsOf(caches)));
  // The values are those of the scrape.
  await two.set('a', 'v');
  assert.match(await register.metrics(), /^yokedcache_sets_total\{cache="two",backend="memory",key_prefix="two"\} 1$/m);
});

test('one register, caches one after another', async (t) => {
  const register = new Register();
  const open1 = await open(t, 'memory://?key_prefix=one');
  await Promise.all([collectInto(register, { one: open1 }), collectInto(register, { two: await open(t, 'memory://?key_prefix=two') })]);
  const names = async () => samplesOf(await register.metrics(), 'yokedcache_up').map((line) => /cache="(\w+)"/.exec(line)[1]).sort();
  assert.deepEqual(await names(), ['one', 'two']);
  // A server has metrics that a memory does not have.
  await collectInto(register, { down: await open(t, 'redis://127.0.0.1:1?connect=lazy&key_prefix=down') });
  assert.match(await register.metrics(), /^yokedcache_server_up\{cache="down",backend="redis",key_prefix="down",server="127\.0\.0\.1:1"\} 0$/m);
  await open1.close();
  assert.deepEqual(await names(), ['down', 'two']);
  await collectInto(register, { one: await open(t, 'memory://?key_prefix=again') });
  assert.deepEqual(await names(), ['down', 'one', 'two']);
  // Another register is independent of it.
  const other = new Register();
  await collectInto(other, { one: open1 });
  assert.deepEqual(samplesOf(await other.metrics(), 'yokedcache_up'), []);
});

test('a name that is taken', async (t) => {
  const register = new Register();
  register.registerMetric({ name: 'yokedcache_hits_total', get: async () => ({ name: 'yokedcache_hits_total', help: 'h', type: 'counter', values: [] }) });
  await assert.rejects(collectInto(register, { one: await open(t, 'memory://') }), /already/);
});

test('prom-client: OpenMetrics, JSON and other metrics', { skip: prom === undefined && 'YC_TEST_PROM is not set' }, async (t) => {
  const register = new Register();
  const cache = await open(t, 'memory://?key_prefix=one');
  await cache.invalidateTag('t');
  const own = new prom.Counter({ name: 'own_total', help: 'Own.', registers: [register] });
  own.inc();
  await collectInto(register, { one: cache });
  const json = await register.getMetricsAsJSON();
  assert.deepEqual(json.find(({ name }) => name === 'yokedcache_up').values, [
    { labels: { cache: 'one', backend: 'memory', key_prefix: 'one' }, value: 1 },
  ]);
  assert.match(await register.metrics(), /^own_total 1$/m);
  register.setContentType(prom.Registry.OPENMETRICS_CONTENT_TYPE);
  const text = await register.metrics();
  assert.match(text, /^# TYPE yokedcache_sets counter\nyokedcache_sets_total\{cache="one",backend="memory",key_prefix="one"\} 0$/m);
  assert.match(text, /^yokedcache_operation_duration_seconds_count\{cache="one",.*operation="invalidate"\} 1$/m);
  assert(text.endsWith('# EOF\n'));
});
