/** Every method, with what it gives as the type that is documented. Where an error is expected there has to be one. */

import {
  Cache, YokedCacheError, checkConfig, checkConfigFile, collectInto, metricsOf, setLog, version, type Bytes, type CacheEvent, CodecError, type EventKind, type Events, type Lease, type Leased, type LogLevel, type LogLine, type Message, type MigrateReport, type SetIfOptions,
  type SetOptions, type Subscription, type SwitchReport, type TextCodec, type Typed, type Versioned,
} from 'yokedcache';

const cache: Cache = await Cache.open('memory://');
const others: Cache[] = [
  await Cache.open({ backend: 'memory', memory: { max_size: 10 } }, { signal: AbortSignal.timeout(10) }),
  await Cache.openFile('cache.yaml', 'production'),
  await Cache.openFile(new URL('file:///cache.yaml')),
  await Cache.openEnv(),
];

const bytes: Buffer | undefined = await cache.get('a');
const text: string | undefined = await cache.get(new Uint8Array(1), { encoding: 'utf8' });
const now: Buffer | undefined = cache.getSync('a');
const nowText: string | undefined = cache.getSync('a', { encoding: 'utf8' });
const near: (Buffer | undefined)[] = [cache.getNear('a'), await cache.get('a', { fresh: true, signal: AbortSignal.timeout(10) })];
const nearText: (string | undefined)[] = [cache.getNear('a', { encoding: 'utf8' }), await cache.get('a', { encoding: 'utf8', fresh: true })];
const fresh: unknown[] = [
  await cache.getJson('a', { fresh: true }), await cache.typed().get('a', { fresh: true }), await cache.getOrLease('a', { fresh: true, wait: 0 }),
  await cache.getOrLoad('a', () => 'v', { fresh: true }), await cache.getOrLoadMany(['a'], () => ({}), { fresh: false }),
];
const json: { a: number } | undefined = await cache.getJson<{ a: number }>('a');
const options: SetOptions = { ttl: Infinity, tags: new Set(['t', Buffer.from('u')]), signal: new AbortController().signal };
const nothing: void = await cache.set('a', Buffer.from('b'), options);
await cache.setJson('a', { a: 1 }, { ttl: 1000 });
const flags: boolean[] = [await cache.delete('a'), await cache.exists('a'), await cache.expire('a', 5), ...(await cache.deleteMany(['a']))];
const left: number | undefined = await cache.ttl('a');

const versioned: Versioned<Buffer> | undefined = await cache.getVersioned('a');
const versionedText: { value: string; version: bigint } | undefined = await cache.getVersioned('a', { encoding: 'utf8' });
const setIf: SetIfOptions = { absent: true, ttl: 1000 };
const stored: (bigint | undefined)[] = [
  await cache.setIf('a', 'b', setIf),
  await cache.setIf('a', Buffer.from('b'), { present: true, tags: ['t'] }),
  await cache.setIf('a', 'b', { version: versioned?.version ?? 0n, signal: AbortSignal.timeout(10) }),
];
const deleted: boolean = await cache.deleteIf('a', { version: 1n });
const renewed: Buffer | undefined = await cache.getAndExpire('a', Infinity);
const renewedText: string | undefined = await cache.getAndExpire('a', undefined, { encoding: 'utf8' });
const sums: bigint[] = [await cache.counterAdd('n', 1), await cache.counterAdd('n', -1n, { initial: 5, ttl: 60_000 })];

const loaded: Buffer | undefined = await cache.getOrLoad('a', async (fill) => {
  fill.ttl = 1000;
  fill.tags.push('t', Buffer.from('u'));
  if (fill.signal.aborted) return undefined;
  return Math.random() < 0.5 ? 'v' : Buffer.from(fill.key);
}, { ttl: 1000, staleFor: 1000, tags: ['t'], wait: 10, lease: 100, staleIfError: true, retryAfter: 10, absentTtl: 10, signal: AbortSignal.timeout(10),
  onRefreshError: (error, keys) => console.log(error, keys.length) });
const loadedText: string | undefined = await cache.getOrLoad(Buffer.from('a'), () => undefined, { encoding: 'utf8' });
const loadedMany: Map<string, Buffer> = await cache.getOrLoadMany(['a', 'b'], async (keys, fill) => {
  fill.for(keys[0]!).ttl = 5;
  return new Map(keys.map((key) => [key, key.toUpperCase()]));
});
const loadedTexts: Map<string, string> = await cache.getOrLoadMany(new Set(['a']), () => ({ a: 'v', b: undefined }), { encoding: 'utf8' });
// @ts-expect-error Other values need a codec.
await cache.getOrLoad('a', async () => 5);
// @ts-expect-error A loader is a function.
await cache.getOrLoad('a', 'v');
// @ts-expect-error The loader of many keys returns values by key.
await cache.getOrLoadMany(['a'], async () => 'v');

interface User { name: string; born?: number }
const users: Typed<User> = cache.typed<User>();
const user: User | undefined = await users.getOrLoad('a', async (fill) => (fill.signal.aborted ? undefined : { name: 'Ada' }), { ttl: 1000, tags: ['t'] });
const byKey: Map<string, User> = await users.getOrLoadMany(['a'], async (keys) => Object.fromEntries(keys.map((key) => [key, { name: key }])));
await users.set('a', { name: 'Ada' }, { ttl: 5 });
await users.setMany([['a', { name: 'Ada' }]]);
const typedResults: (User | undefined)[] = [await users.get('a'), (await users.getVersioned('a'))?.value, await users.getAndExpire('a', 5), ...(await users.getMany(['a']))];
const typedFlags: (boolean | bigint | undefined)[] = [await users.delete('a'), ...(await users.deleteMany(['a'])), await users.setIf('a', { name: 'Ada' }, { absent: true })];
const codec: TextCodec<Date> = { name: 'date', encoding: 'utf8', encode: (date) => date.toISOString(), decode: (text) => new Date(text) };
const date: Date | undefined = await cache.typed(codec).get('a');
const bigints: Typed<bigint> = cache.typed({ encode: (value: bigint) => Buffer.from(value.toString()), decode: (bytes) => BigInt(bytes.toString()) });
// @ts-expect-error A value of another type.
await users.set('a', { nom: 'Ada' });
// @ts-expect-error A loaded value of another type.
await users.getOrLoad('a', async () => 5);
// @ts-expect-error A typed value has no encoding.
await users.get('a', { encoding: 'utf8' });

const leased: Leased<Buffer> = await cache.getOrLease('a', { lease: 1000, wait: 0, tags: ['t'], signal: AbortSignal.timeout(10) });
const leasedText: Leased<string> = await cache.getOrLease('a', { encoding: 'utf8' });
const lease: Lease | undefined = leased.lease;
const filled: boolean | undefined = await lease?.fill('v', { ttl: 1000, staleFor: 1000, tags: ['u'] });
await leasedText.lease?.fill(undefined);
await lease?.abandon({ retryAfter: 1000 });
lease?.release();

const values: (Buffer | undefined)[] = await cache.getMany(['a']);
const texts: (string | undefined)[] = await cache.getMany(new Set<Bytes>(['a']), { encoding: 'utf8' });
await cache.setMany(new Map([['a', 'b']]), options);
await cache.setMany([['a', Buffer.alloc(1)]]);

const removed: (number | undefined)[] = [
  await cache.invalidateTag('t', { count: true }),
  await cache.invalidateTags(['t', 'u']),
  await cache.invalidatePattern('user:*'),
  await cache.flush(),
];
for await (const key of cache.keys()) key.toUpperCase();
for await (const key of cache.keys('*', { encoding: 'buffer', pageSize: 10 })) key.readUInt8();
const match: { key: string; score: number } | undefined = (await cache.search('a', { threshold: 10, limit: 1, tags: ['t'] }))[0];
const bytesMatch: { key: Buffer } | undefined = (await cache.search('a', { encoding: 'buffer' }))[0];
const reports: string[] = [(await cache.stats())['backend'], (await cache.health())['status'], await cache.metrics(), version];
const checks: string[] = [(await checkConfig('memory://'))['backend'], (await checkConfigFile('/a.yaml', 'test'))['backend']];
if (cache.capabilities.list && cache.capabilities.near) await cache.ping();
const switched: SwitchReport = await cache.switchTo('redis://localhost', { copy: true, rate: 1000 });
await cache.switchTo({ backend: 'memory' });
const migrated: MigrateReport = await cache.migrateTo(others[0]!, {
  pattern: 'user:*', rate: 1000, dryRun: true, resume: '0.0', signal: AbortSignal.timeout(10),
  onProgress: ({ examined, resume }) => examined < 1000 || resume === undefined,
});
await cache.migrateTo(others[1]!, { onProgress: ({ copied }) => console.log(copied) });
const receivers: number = await cache.publish('news', new Uint8Array(3), { signal: AbortSignal.timeout(10) });
const subscription = await cache.subscribe({ channels: ['news'], patterns: new Set(['n*']), maxBytes: 1000, signal: AbortSignal.timeout(10) });
const received: Message<Buffer> | undefined = await subscription.receive({ timeout: 10, signal: AbortSignal.timeout(10) });
const heard: string[] = [];
for await (const message of await cache.subscribe({ channels: ['news'], encoding: 'utf8' })) {
  if (message.data === undefined) console.log(message.lost);
  else heard.push(message.channel, message.data);
}
{
  await using scoped: Subscription<string> = await cache.subscribe({ patterns: ['*'], encoding: 'utf8' });
  const one: IteratorResult<Message<string>, undefined> = await scoped.next();
  if (!one.done) console.log(one.value.lost);
  const disposed: AsyncDisposable = scoped;
  scoped.close();
  console.log(disposed);
}
const kinds: EventKind[] = ['tag', 'pattern', 'flush', 'delete', 'switch', 'fallbackBegin', 'fallbackEnd'];
const reader: Events<string> = cache.events({ kinds, tags: new Set(['t', Buffer.from('u')]), keys: ['user:*'], own: true, maxBytes: 1000, signal: AbortSignal.timeout(10) });
const opened: void = await reader.ready;
const event: CacheEvent<string> | undefined = await reader.receive({ timeout: 10, signal: AbortSignal.timeout(10) });
const origins: bigint[] = [];
if (event !== undefined && event.kind !== 'gap') origins.push(event.origin + BigInt(event.sequence + event.time.getTime()));
if (event?.kind === 'gap') console.log(event.lost, event.name satisfies undefined);
for await (const { kind, name, own } of cache.events({ encoding: 'buffer' })) console.log(kind === 'gap', name?.readUInt8(), own);
for await (const { name } of cache.events({ encoding: 'utf8' })) heard.push(name ?? '');
{
  await using scoped: Events<Buffer> = cache.events({ encoding: 'buffer' });
  const one: IteratorResult<CacheEvent<Buffer>, undefined> = await scoped.next();
  if (!one.done) console.log(one.value.lost);
  scoped.close();
}
await cache.close({ timeout: 100 });
{
  await using scoped = await Cache.open('memory://');
  await scoped.set('a', 'b');
}
const disposed: Promise<void> = cache[Symbol.asyncDispose]();
const disposable: AsyncDisposable = cache;

try {
  await cache.get('a');
} catch (error) {
  if (error instanceof YokedCacheError && error.retryable) console.log(error.code, error.codes?.[0]);
}

// @ts-expect-error A key is no number.
await cache.get(1);
// @ts-expect-error An unknown option.
await cache.set('a', 'b', { tll: 1 });
// @ts-expect-error Many keys are read from copies, too.
await cache.getMany(['a'], { fresh: true });
// @ts-expect-error A read that never waits has no signal.
cache.getNear('a', { signal: AbortSignal.timeout(10) });
// @ts-expect-error A conditional write has a condition.
await cache.setIf('a', 'b', { ttl: 1 });
// @ts-expect-error A version is a bigint.
await cache.deleteIf('a', { version: 1 });
// @ts-expect-error A counter has no tags.
await cache.counterAdd('n', 1, { tags: ['t'] });
// @ts-expect-error Caches are opened.
new Cache();
// @ts-expect-error No such encoding.
await cache.get('a', { encoding: 'latin1' });
// @ts-expect-error A migration takes a cache.
await cache.migrateTo('redis://localhost');
// @ts-expect-error The channels are a list.
await cache.subscribe({ channels: 5 });
// @ts-expect-error A message is no number.
await cache.publish('news', 1);
// @ts-expect-error No such kind.
cache.events({ kinds: ['set'] });
// @ts-expect-error A gap always comes.
cache.events({ kinds: ['gap'] });
// @ts-expect-error The tags are a list.
cache.events({ tags: 5 });
// @ts-expect-error A name may be missing.
for await (const { name } of cache.events()) name.length;
// @ts-expect-error A switch has no signal.
await cache.switchTo('memory://', { signal: AbortSignal.timeout(10) });

const lines: [LogLevel, string, Date, number][] = [];
setLog((line: LogLine) => lines.push([line.level, line.message, line.time, line.dropped]), { level: 'warn' });
setLog(console, { level: 'trace' });
setLog({ warn: async (message: string) => message.length });
setLog(null);
// @ts-expect-error No such level.
setLog(console, { level: 'off' });
// @ts-expect-error Not a log.
setLog('console');
// @ts-expect-error No method of a logger.
setLog({ log: console.log });

const page: string = await metricsOf({ cache, others: others[0]! }, { signal: AbortSignal.timeout(10) });
const collected: void = await collectInto({ registerMetric(metric: { name: string }) { metric.name.length; } }, { cache });
// @ts-expect-error Not caches.
await metricsOf([cache]);
// @ts-expect-error No register.
await collectInto({}, { cache });

console.log(page, collected, lines, opened, origins, receivers, received, heard, user, byKey, typedResults, typedFlags, date, bigints.cache, CodecError.name, loaded, loadedText, loadedMany, loadedTexts, leased.state, filled, versioned, versionedText, stored, deleted, renewed, renewedText, sums, disposed, disposable, switched.copied?.copied, migrated.skipped['present'], others, bytes, text, now, nowText, near, nearText, fresh, json, nothing, flags, left, values, texts, removed, match, bytesMatch, reports, checks);
