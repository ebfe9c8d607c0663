service Google Memorystore for Redis
source Memorystore for Redis, "Product constraints" (blocked Redis commands), 2025
# CLIENT is blocked as a whole before Redis 6; later versions support some of its subcommands.
server redis
error ERR unknown command `%s`, with args beginning with: `a`,
refuse ACL BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DEBUG LASTSAVE MIGRATE MODULE MONITOR OBJECT PSYNC REPLICAOF
refuse SAVE SHUTDOWN SLAVEOF SYNC
note A near cache uses published changes where `CLIENT` is blocked (before Redis 6).
