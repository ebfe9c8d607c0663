import http from './index.js';

export const { expressCache, fastifyCache } = http;
