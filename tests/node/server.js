'use strict';

/** A Redis server of a test's own, which it may stop. */

const { spawn } = require('node:child_process');
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
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...options], { stdio: 'ignore' });
  const gone = new Promise((resolve) => server.once('exit', resolve));
  t.after(() => {
    server.kill('SIGKILL');
    return gone;
  });
  for (let turn = 0; turn < 500; turn++) {
    const answers = await Cache.open(`redis://127.0.0.1:${port}`).catch(() => undefined);
    if (answers !== undefined) {
      await answers.close();
      return { server, gone };
    }
    await sleep(20);
  }
  throw new Error('the server did not start');
}

module.exports = { freePort, startServer };
