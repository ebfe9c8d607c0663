import type { Keyv, KeyvOptions } from 'keyv';
import type { Cache } from 'yokedcache';

export { KeyvYokedCache } from './index.js';

/** Creates a Keyv whose entries are in a cache: see index.d.ts. The type Keyv of ES modules is another one than that of CommonJS. */
export function createKeyv(cache: Cache, options?: Omit<KeyvOptions, 'store' | 'useKeyPrefix'>): Keyv;
