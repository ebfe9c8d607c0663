'use strict';

/** Credentials that a function supplies: renewal, errors with their cause, and the end of the process. */

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache, directory } = require('./package.js');
const { freePort, startServer } = require('./server.js');

/** Starts a Redis whose user app has a password, which change() replaces; it ends the connections of the user. */
async function startLocked(t) {
  const port = await freePort();
  await startServer(t, port);
  const admin = await Cache.open(`redis://127.0.0.1:${port}?key_prefix=admin`);
  t.after(() => admin.close());
  const change = async (password) => {
    await admin.redis.command(['ACL', 'SETUSER', 'app', 'on', 'resetpass', `>${password}`, '~*', '&*', '+@all']);
    await admin.redis.command(['CLIENT', 'KILL', 'USER', 'app']);
  };
  await change('first');
  return { url: `redis://127.0.0.1:${port}?credentials=callback&key_prefix=app`, change };
}

test('a function supplies credentials, also after a server has refused them', async (t) => {
  const { url, change } = await startLocked(t);
  let [asked, password] = [0, 'first'];
  const credentials = async () => {
    asked++;
    await sleep(10);
    return { username: 'app', password, validFor: 3_600_000 };
  };
  const cache = await Cache.open(url, { credentials });
  await cache.set('k', 'v');
  assert.equal(asked, 1);
  password = 'second';
  await change(password);
  let value;
  for (const end = Date.now() + 20_000; value === undefined && Date.now() < end; await sleep(10)) value = await cache.get('k').catch(() => undefined);
  assert.equal(String(value), 'v');
  assert.equal(asked, 2);
  await cache.close();
});

test('an error has its cause and no password', async (t) => {
  const { url } = await startLocked(t);
  const cases = [
    [() => { throw new Error('the identity service is away'); }, /the identity service is away/],
    [async () => undefined, /the password of the credentials is not a string/],
    [async () => ({ password: 'c4n4ry', validFor: -1 }), /validFor is -1/],
    [async () => ({ username: 'app', password: '' }), /the password is empty/],
    [async () => ({ username: 'app', password: 'c4n4ry' }), /WRONGPASS/],
  ];
  for (const [credentials, expected] of cases) {
    await assert.rejects(Cache.open(url, { credentials }), (error) => {
      assert.equal(error.code, 'YC_E_AUTH');
      assert.match(error.message, expected);
      assert.doesNotMatch(error.message, /c4n4ry/);
      return true;
    });
  }
});

test('the configuration has to leave the credentials to a function', async () => {
  await assert.rejects(Cache.open('memory://', { credentials: async () => ({ password: 'p' }) }), { code: 'YC_E_UNSUPPORTED' });
  await assert.rejects(Cache.open('memory://', { credentials: 5 }), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('an open cache does not keep the process alive', async (t) => {
  const { url } = await startLocked(t);
  const code = `require(${JSON.stringify(directory)}).Cache.open(${JSON.stringify(url)}, {
    credentials: async () => ({ username: 'app', password: 'first', validFor: 60_000 }),
  }).then((cache) => cache.set('k', 'v')).then(() => console.log('done'));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', timeout: 60_000 });
  assert.deepEqual([status, stdout, stderr], [0, 'done\n', '']);
});
