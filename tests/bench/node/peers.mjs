// The peers that are ES modules only, found from the folder where they are installed.
export { BentoCache, bentostore } from 'bentocache';
export { memoryDriver } from 'bentocache/drivers/memory';
export { Cacheable } from 'cacheable';
