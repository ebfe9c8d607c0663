import next from './index.js';

export const { createCacheHandler } = next;
