service Azure Managed Redis (Enterprise clustering policy)
source Azure Managed Redis, "Client libraries", and Redis Software, "Server management", "Connection management" and "Cluster management commands compatibility", 2025
# One endpoint for all shards.
server redis
options pool_size=1
error ERR unknown command '%s', with args beginning with: 'a'
refuse BGREWRITEAOF BGSAVE CLUSTER DEBUG FAILOVER LASTSAVE MIGRATE MODULE MOVE OBJECT PSYNC READONLY READWRITE REPLCONF
refuse REPLICAOF ROLE SAVE SELECT SHUTDOWN SLAVEOF SWAPDB SYNC WAITAOF
error ERR command is not allowed
refuse ACL|DELUSER ACL|GENPASS ACL|LOAD ACL|LOG ACL|SAVE ACL|SETUSER CONFIG|REWRITE CONFIG|RESETSTAT LATENCY MEMORY
refuse CLIENT|CACHING CLIENT|GETREDIR CLIENT|PAUSE CLIENT|REPLY CLIENT|TRACKING CLIENT|TRACKINGINFO CLIENT|UNPAUSE
hide master_replid master_replid2 redis_mode
note A near cache uses published changes (no `CLIENT TRACKING`).
note The profile hides the replication ids too: each new connection replays the removals of `replay_window`.
