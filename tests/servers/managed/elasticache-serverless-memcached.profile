service Amazon ElastiCache Serverless (Memcached)
source Amazon ElastiCache for Memcached User Guide, "Supported Memcached commands", 2025
# TLS, which the service requires, is not part of the profile.
server memcached
no-binary
refuse stats|* lru lru_crawler watch verbosity me cache_memlimit slabs
limit get 16384
limit gets 16384
lacks list the service refuses `lru_crawler`
note The limit of an item is unknown (no `stats settings`): a value over it removes the older entry.
note No binary protocol.
