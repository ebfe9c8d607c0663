// An HTTP server with cached pages, each rendered once. A write invalidates the tags of the pages that depend on it.
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

/**
 * Returns the page from the cache, or renders and stores it. Of many requests for one page, one renders it. A page that a write
 * makes outdated while it is rendered is not stored. While the cache is down, requests for one page share one rendering.
 */
async function page(path, id, signal) {
  let from = 'cache';
  const load = () => {
    from = 'rendered';
    return render(id);
  };
  return { body: await cache.getOrLoad(path, load, { ttl: 60_000, tags: [`author:${id}`], signal }), from };
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
