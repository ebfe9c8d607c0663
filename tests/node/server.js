'use strict';

/** A Redis or Memcached server of a test's own, which it may stop. */

const { spawn } = require('node:child_process');
const { readdirSync, readFileSync } = require('node:fs');
const net = require('node:net');
const { setTimeout: sleep } = require('node:timers/promises');
const { Cache } = require('./package.js');

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startServer(t, port, ...options) {
  return start(t, `redis://127.0.0.1:${port}`, 'redis-server', '--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...options);
}

async function startMemcached(t, port) {
  return start(t, `memcached://127.0.0.1:${port}`, 'memcached', '-u', 'nobody', '-l', '127.0.0.1', '-p', port);
}

async function start(t, url, program, ...options) {
  const server = spawn(program, options.map(String), { stdio: 'ignore' });
  const gone = new Promise((resolve) => server.once('exit', resolve));
  t.after(() => {
    server.kill('SIGKILL');
    return gone;
  });
  for (let turn = 0; turn < 500; turn++) {
    const answers = await Cache.open(url).catch(() => undefined);
    if (answers !== undefined) {
      await answers.close();
      return { server, gone };
    }
    await sleep(20);
  }
  throw new Error('the server did not start');
}

/** Stops a server, and returns when none of its threads runs: until then it may still answer. */
async function stop(server) {
  const threads = `/proc/${server.pid}/task`;
  const isStopped = (thread) => / T \d/.test(readFileSync(`${threads}/${thread}/stat`, 'latin1').replace(/.*\)/, ''));
  server.kill('SIGSTOP');
  for (let turn = 0; !readdirSync(threads).every(isStopped); turn++) {
    if (turn === 5000) throw new Error('the server does not stop');
    await sleep(1);
  }
}

module.exports = { freePort, startMemcached, startServer, stop };
