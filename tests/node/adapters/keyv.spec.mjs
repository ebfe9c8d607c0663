import keyvTestSuite, { keyvIteratorTests } from '@keyv/test-suite';
import Keyv from 'keyv';
import * as test from 'vitest';
import { Cache } from 'yokedcache';
import { KeyvYokedCache, createKeyv } from '@yokedcache/keyv';
import { testUrl } from './url.mjs';

const cache = await Cache.open(testUrl());
test.afterAll(() => cache.close());

const store = () => new KeyvYokedCache(cache);
keyvTestSuite(test, Keyv, store);
keyvIteratorTests(test, Keyv, store);

// Keyvs as createKeyv makes them, with the namespace that the suite asks for.
const Created = function Created(options = {}) {
  const { store, ...rest } = options;
  return createKeyv(cache, rest);
};
test.describe('createKeyv', () => {
  keyvTestSuite(test, Created, store);
  keyvIteratorTests(test, Created, store);
});
