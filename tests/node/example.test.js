'use strict';

/** The example renders a page once for many requests, then serves it from the cache, and after a write a new one. */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { test } = require('node:test');
const { directory, testUrl } = require('./package.js');

/** A folder where the package is installed, and the example next to it. */
function installed(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'yokedcache-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(path.resolve(directory), path.join(folder, 'node_modules/yokedcache'));
  fs.copyFileSync(path.join(directory, 'examples/http.mjs'), path.join(folder, 'http.mjs'));
  return folder;
}

test('examples/http.mjs', { timeout: 30_000 }, async (t) => {
  const server = spawn(process.execPath, [path.join(installed(t), 'http.mjs'), testUrl(), '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  t.after(() => server.kill('SIGKILL'));
  const [page] = await readline.createInterface(server.stdout)[Symbol.asyncIterator]().next().then(({ value }) => [value.replace('localhost', '127.0.0.1')]);
  const ask = async () => {
    const response = await fetch(page);
    return [response.headers.get('x-from'), await response.text()];
  };
  const first = await Promise.all(Array.from({ length: 50 }, ask));
  assert.ok(first.every(([, body]) => body === '<h1>Ada</h1>\n'));
  assert.equal(first.filter(([from]) => from === 'rendered').length, 1, 'of many requests for a page one renders it');
  assert.deepEqual(await ask(), ['cache', '<h1>Ada</h1>\n']);
  assert.equal((await fetch(page, { method: 'PUT', body: 'Ada Lovelace' })).status, 204);
  assert.deepEqual(await ask(), ['rendered', '<h1>Ada Lovelace</h1>\n']);
  assert.deepEqual(await ask(), ['cache', '<h1>Ada Lovelace</h1>\n']);
  server.kill('SIGTERM');
  assert.equal(await ended, 0);
});
