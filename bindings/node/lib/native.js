'use strict';

/** The native part of this platform: a source build in `out`, else the package `@yokedcache/<platform>` of the same version. */

const fs = require('node:fs');
const path = require('node:path');
const { version } = require('../package.json');

/** The platforms that have a package. bindings/node/package makes them. */
const PLATFORMS = ['linux-x64-gnu', 'linux-arm64-gnu', 'linux-x64-musl', 'linux-arm64-musl'];
const BUILT = path.join(__dirname, '../out/yokedcache.node');

/**
 * Returns true if this process runs on glibc; other systems map a libc of another name. Node's report is the second
 * choice: it waits for every worker, for as long as a worker is in a synchronous call.
 */
function isGlibc() {
  try {
    return /\/libc(\.so\.6|-2\.\d+\.so)( \(deleted\))?$/m.test(fs.readFileSync('/proc/self/maps', 'latin1'));
  } catch {
    const { report } = process;
    if (report === undefined) return true;
    report.excludeNetwork = true;
    return report.getReport().header.glibcVersionRuntime !== undefined;
  }
}

function platformName() {
  const libc = process.platform === 'linux' ? (isGlibc() ? '-gnu' : '-musl') : '';
  return `${process.platform}-${process.arch}${libc}`;
}

/** Returns the file of a platform's package; undefined if the package is not installed. */
function fileOf(platform) {
  try {
    return require.resolve(`@yokedcache/${platform}/yokedcache.node`);
  } catch {
    return undefined;
  }
}

function nothingFound(platform) {
  const installed = PLATFORMS.filter(fileOf);
  const lines = [`yokedcache ${version} has no native part for ${platform}, the platform of this process.`];
  if (PLATFORMS.includes(platform)) {
    lines.push(`Its package @yokedcache/${platform} is not installed. Install yokedcache again on this platform, without --omit=optional,`);
    const [os, cpu, libc] = platform.split('-');
    lines.push(`or for it: npm install --os=${os} --cpu=${cpu} --libc=${libc === 'gnu' ? 'glibc' : libc} yokedcache`);
  }
  lines.push(`Platforms with a package: ${PLATFORMS.join(', ')}. Installed here: ${installed.join(', ') || 'none'}.`);
  lines.push('To build the native part from source instead: npx yokedcache-build');
  return new Error(lines.join('\n'));
}

/** Versions are compared first, because the files of two releases do not fit together. */
function checkVersion(file, platform) {
  const { version: other } = require(path.join(path.dirname(file), 'package.json'));
  if (other === version) return;
  throw new Error(`yokedcache ${version} needs @yokedcache/${platform} ${version}, but ${other} is installed: ${file}`);
}

function load(file) {
  try {
    return require(file);
  } catch (cause) {
    throw new Error(`The native part of yokedcache ${version} does not load: ${file}\n${cause.message}`, { cause });
  }
}

function find() {
  if (fs.existsSync(BUILT)) return load(BUILT);
  const platform = platformName();
  const file = fileOf(platform);
  if (file === undefined) throw nothingFound(platform);
  checkVersion(file, platform);
  return load(file);
}

module.exports = find();
