// A typed cache whose values are MessagePack.
//
//   npm install @msgpack/msgpack
//   node messagepack.mjs [URL]                       URL: for example memory:// or redis://localhost

import { decode, encode } from '@msgpack/msgpack';
import { Cache } from 'yokedcache';

const cache = await Cache.open(process.argv[2] ?? 'memory://?key_prefix=example');
const users = cache.typed({ name: 'MessagePack', encode, decode });
const table = new Map([[1, { name: 'Ada', born: new Date('1815-12-10') }]]);

/** Returns a user, or undefined. The cache remembers an absence, too. */
const userOf = (id) => users.getOrLoad(`user:${id}`, async () => table.get(id), { ttl: 60_000, tags: ['users'] });

const ada = await userOf(1);
console.log(`${ada.name}, born ${ada.born.toISOString().slice(0, 10)}`); // MessagePack has dates; JSON would return a string.
console.log(`${(await cache.get('user:1')).length} bytes of MessagePack`);
console.log((await userOf(3)) ?? 'no user 3');
await cache.invalidateTag('users');
await cache.close();
