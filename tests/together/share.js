// One operation on a shared cache, from Node: share.js set KEY VALUE TAG | get KEY | invalidate TAG. Prints what came back.
'use strict';

const { Cache } = require(process.env.YC_TEST_PACKAGE);

async function main([operation, key, value, tag]) {
  const cache = await Cache.open(process.env.YC_TEST_URL);
  if (operation === 'set') await cache.set(key, value, { tags: [tag] });
  else if (operation === 'invalidate') await cache.invalidateTag(key);
  else console.log((await cache.get(key, { encoding: 'utf8' })) ?? 'miss');
  await cache.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.log(error.message);
  process.exitCode = 1;
});
