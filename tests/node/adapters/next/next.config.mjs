export default {
  cacheHandler: `${process.cwd()}/cache-handler.mjs`,
  cacheMaxMemorySize: 0,
  eslint: { ignoreDuringBuilds: true },
};
