'use strict';

/**
 * A registry of npm on loopback, with the packages of a folder: registry.js FOLDER [NAME...]. With names it has only the files
 * whose names contain one of them. Prints its URL.
 */

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const [folder, ...names] = process.argv.slice(2);
const files = fs.readdirSync(folder).filter((file) => file.endsWith('.tgz') && (names.length === 0 || names.some((name) => file.includes(name))));

function describe(file, url) {
  const bytes = fs.readFileSync(path.join(folder, file));
  const description = JSON.parse(execFileSync('tar', ['xzOf', path.join(folder, file), 'package/package.json']));
  const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  return { ...description, dist: { tarball: `${url}/files/${file}`, integrity } };
}

const server = http.createServer((request, response) => {
  const wanted = decodeURIComponent(request.url).slice(1);
  const [, file] = wanted.match(/^files\/(.*)$/) ?? [];
  if (files.includes(file)) return response.end(fs.readFileSync(path.join(folder, file)));
  const found = packages.find(({ name }) => name === wanted);
  if (found === undefined) return response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}');
  const { name, version } = found;
  const document = { name, 'dist-tags': { latest: version }, versions: { [version]: found } };
  return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
});

let packages;
server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  packages = files.map((file) => describe(file, url));
  console.log(url);
});
