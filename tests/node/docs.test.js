'use strict';

/** Checks the documentation in index.d.ts, and runs its examples. */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { inspect } = require('node:util');
const { directory, Cache, CodecError, YokedCacheError, checkConfig, checkConfigFile, collectInto, metricsOf, setLog, version } = require('./package.js');

const AsyncFunction = (async () => {}).constructor;
const source = fs.readFileSync(path.join(directory, 'lib/index.d.ts'), 'utf8');

/** Returns the declarations of the file, each with the text of its comment; undefined without a comment. */
function declarations() {
  const found = [];
  let comment;
  for (const { groups } of source.matchAll(/^ *\/\*\*(?<comment>[^]*?)\*\/ *\n|^ *(?<line>[^\s/*}].*)\n/gm)) {
    if (groups.line === undefined) {
      comment = groups.comment.replace(/^ *\* ?/gm, '').trim();
      continue;
    }
    found.push({ line: groups.line, comment, name: nameOf(groups.line) });
    comment = undefined;
  }
  return found.filter(({ name }) => name !== undefined);
}

/** Returns the name that a line declares. */
function nameOf(line) {
  return /^(?:export )?(?:class|interface|type|const|function) (\w+)/.exec(line)?.[1] ??
    /^(?:static |readonly )*(?!private)(\w+|\[Symbol\.\w+\])[?]?[(:<]/.exec(line)?.[1];
}

const isFunction = ({ line, name }) => new RegExp(`^(export function |static )?${name.replace(/[[\].]/g, '\\$&')}[(<]`).test(line);

const header = path.join(__dirname, '../../include/yokedcache.h');

test('the numbers of the binding are those of the header', { skip: !fs.existsSync(header) }, () => {
  const defined = (prefix) => Object.fromEntries(
    [...fs.readFileSync(header, 'utf8').matchAll(new RegExp(`^#define ${prefix}(\\w+) (\\d+)$`, 'gm'))].map(([, name, number]) => [name, Number(number)]));
  const { Kind, isShort } = require(path.join(directory, 'lib/kind.js'));
  const kinds = defined('YC_OP_');
  for (const [name, number] of Object.entries(Kind)) assert.equal(kinds[name], number, name);
  const short = Object.keys(Kind).filter((name) => isShort(Kind[name]));
  assert.deepEqual(short, ['GET', 'SET', 'DELETE', 'EXISTS', 'EXPIRE', 'TTL', 'INVALIDATE_TAGS', 'GET_VERSIONED', 'SET_IF', 'DELETE_IF',
    'GET_AND_EXPIRE', 'COUNTER_ADD', 'GET_OR_LEASE', 'LEASE_FILL', 'LEASE_ABANDON', 'PUBLISH', 'GET_INFO', 'CLEAR']);
  const { KINDS, GAP } = require(path.join(directory, 'lib/events.js'));
  const upper = (name) => name.replace(/[A-Z]/g, '_$&').toUpperCase();
  const events = Object.fromEntries([...Object.entries(KINDS), ['gap', GAP]].map(([name, number]) => [upper(name), number]));
  assert.deepEqual(events, defined('YC_EVENT_'));
  const documented = source.match(/type EventKind = (.*);/)[1].match(/\w+/g);
  assert.deepEqual(documented, Object.keys(KINDS));
  const names = source.match(/interface Capabilities \{[^}]*\}/)[0].match(/(?<=^  )\w+(?=: boolean)/gm);
  assert.deepEqual(names.map((name) => name.toUpperCase()).sort(), Object.keys(defined('YC_CAN_')).sort());
  const levels = source.match(/type LogLevel = (.*);/)[1].match(/\w+/g);
  assert.deepEqual(Object.fromEntries(['off', ...levels].map((name, number) => [name.toUpperCase(), number])), defined('YC_LOG_'));
});

test('every declaration has a comment that starts with a verb', () => {
  const all = declarations();
  assert.ok(all.length > 90, `${all.length} declarations`);
  for (const { line, comment } of all) assert.match(comment ?? 'no comment', /^[A-Z][a-z]+s /, line);
});

test('every function documents parameters, result, errors and use', () => {
  const functions = declarations().filter(isFunction).filter(({ name }) => name !== 'constructor');
  assert.ok(functions.length > 30, `${functions.length} functions`);
  for (const { line, comment } of functions) {
    for (const tag of ['@returns', '@throws', '@example']) assert.ok(comment.includes(tag), `${line}: no ${tag}`);
    const parameters = /\((.*)\): /.exec(line)[1].matchAll(/(?:^|, )(\w+)\??: /g);
    for (const [, parameter] of parameters) assert.ok(comment.includes(`@param ${parameter} - `), `${line}: no @param ${parameter}`);
  }
});

/** Turns `EXPRESSION; // => RESULT` into a check of the result. */
function checked(line) {
  const [, code, wanted] = /^(.*); \/\/ => (.*)$/.exec(line) ?? [];
  return wanted === undefined ? line : `assert.equal(inspect(${code}, { breakLength: Infinity }), ${JSON.stringify(wanted)});`;
}

function exampleOf({ comment }) {
  const [, code] = /@example\n([^]*?)(?=\n@|$)/.exec(comment ?? '') ?? [];
  return code?.split('\n').map(checked).join('\n');
}

test('every example runs and has the result that it shows', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'yokedcache-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const writeFile = (name, text) => fs.promises.writeFile(path.join(folder, name), text);
  // The files of the examples are in a folder of their own.
  const inFolder = (of, name) => (file, ...rest) => of[name](path.join(folder, file), ...rest);
  const Opening = class { static open = Cache.open; static openEnv = Cache.openEnv; static openFile = inFolder(Cache, 'openFile'); };
  const names = {
    assert, inspect, writeFile, Cache: Opening, CodecError, YokedCacheError, checkConfig, collectInto, metricsOf, setLog, version, console: { log() {}, error() {}, warn() {}, info() {} },
    checkConfigFile: inFolder({ checkConfigFile }, 'checkConfigFile'),
  };
  const documented = declarations().map((one) => ({ ...one, code: exampleOf(one) })).filter(({ code }) => code !== undefined);
  assert.ok(documented.length > 30, `${documented.length} examples`);
  for (const { line, code } of documented) {
    await t.test(line, async () => {
      const cache = await Cache.open('memory://?key_prefix=app');
      // A block, in which an example may declare a cache of its own.
      await new AsyncFunction(...Object.keys(names), 'cache', `{ ${code}\n}`)(...Object.values(names), cache);
      await cache.close();
    });
  }
});
