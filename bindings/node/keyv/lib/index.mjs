import keyv from './index.js';

export const { KeyvYokedCache, createKeyv } = keyv;
