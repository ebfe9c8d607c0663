'use strict';

/** The package under test: that of YC_TEST_PACKAGE, else the one in the repository. */

const path = require('node:path');

exports.directory = process.env.YC_TEST_PACKAGE ?? path.join(__dirname, '../../bindings/node');
Object.assign(exports, require(exports.directory));

/** The URL of the test's cache, with the options of YC_TEST_OPTIONS and these too. */
exports.testUrl = (options = '') => {
  const url = process.env.YC_TEST_URL ?? 'memory://';
  // Time enough for a machine that is busy: a call that is lost fails all the same.
  const patience = url.startsWith('memory:') ? '' : '&socket_timeout=10s';
  const all = [`key_prefix=n${process.pid}${patience}`, process.env.YC_TEST_OPTIONS, options].filter(Boolean);
  return url + (url.includes('?') ? '&' : '?') + all.join('&');
};
