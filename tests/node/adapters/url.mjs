import { inspect } from 'node:util';
import assert from 'node:assert/strict';
import fs from 'node:fs';

/** Returns the URL of the cache under test, with the options and a key prefix of this process. */
export function testUrl(options = '') {
  const url = process.env.YC_TEST_URL ?? 'memory://';
  const patience = url.startsWith('memory:') ? '' : '&socket_timeout=10s';
  return `${url}${url.includes('?') ? '&' : '?'}key_prefix=a${process.pid}${patience}${options && `&${options}`}`;
}

/** Runs the programs of a README. `await f(); // { a: 1 }` checks the result. */
export async function runReadme(t, adapter) {
  const text = fs.readFileSync(new URL(`node_modules/@yokedcache/${adapter}/README.md`, import.meta.url), 'utf8');
  const programs = [...text.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code);
  assert.ok(programs.length > 0);
  let checks = 0;
  for (const [at, code] of programs.entries()) {
    const checked = code.replace(/^(await .*);  *\/\/ (\{.*\}|undefined|true|false|'.*'|\d+)$/gm, (line, call, result) => {
      checks++;
      return `assert.equal(inspect(${call}), ${JSON.stringify(result)});`;
    });
    const file = new URL(`readme-${adapter}-${process.pid}-${at}.mjs`, import.meta.url);
    t.after(() => fs.rmSync(file));
    fs.writeFileSync(file, `import assert from 'node:assert/strict';\nimport { inspect } from 'node:util';\n${checked}`);
    await import(file);
  }
  assert.ok(checks > 0);
}
