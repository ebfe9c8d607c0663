// An HTTP server with cached pages. A write invalidates the tags of the pages that depend on it.
//
//   node http.mjs [URL [PORT]]                       URL: for example memory:// or redis://localhost
//   curl localhost:8080/authors/1                    rendered at the first request, then cached
//   curl -X PUT -d 'Ada Lovelace' localhost:8080/authors/1

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { Cache } from 'yokedcache';

const [url = 'memory://?key_prefix=example', port = '8080'] = process.argv.slice(2);
const cache = await Cache.open(url);
const authors = new Map([['1', 'Ada'], ['2', 'Grace']]);

/** Renders a page; stands for templates and databases. */
async function render(id) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  return `<h1>${authors.get(id)}</h1>\n`;
}

/** Returns the page from the cache, or renders and stores it. If the cache fails, the page is rendered again. */
async function page(path, id, signal) {
  const cached = await cache.get(path, { signal }).catch((error) => console.error(error.message));
  if (cached !== undefined) return { body: cached, from: 'cache' };
  const body = await render(id);
  await cache.set(path, body, { ttl: 60_000, tags: [`author:${id}`], signal }).catch((error) => console.error(error.message));
  return { body, from: 'rendered' };
}

async function answer(request, response) {
  const [, id] = /^\/authors\/(\d+)$/.exec(request.url) ?? [];
  if (!authors.has(id)) return response.writeHead(404).end();
  if (request.method === 'PUT') {
    authors.set(id, await text(request));
    await cache.invalidateTag(`author:${id}`); // Before the response: a client that has received it reads no old page.
    return response.writeHead(204).end();
  }
  const { body, from } = await page(request.url, id, AbortSignal.timeout(1000));
  return response.writeHead(200, { 'content-type': 'text/html', 'x-from': from }).end(body);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(Number(port), '127.0.0.1', () => console.log(`http://localhost:${server.address().port}/authors/1`));

process.once('SIGTERM', () => {
  server.close(() => cache.close());
  server.closeIdleConnections();
});
