service Azure Managed Redis (OSS clustering policy)
source Azure Managed Redis, "Client libraries", and Redis Software, "Server management", "Connection management" and "Cluster management commands compatibility", 2025
server redis cluster
options pool_size=1
error ERR unknown command '%s', with args beginning with: 'a'
refuse BGREWRITEAOF BGSAVE DEBUG FAILOVER LASTSAVE MIGRATE MODULE MOVE OBJECT PSYNC REPLCONF REPLICAOF ROLE SAVE SELECT
refuse SHUTDOWN SLAVEOF SWAPDB SYNC WAITAOF
error ERR command is not allowed
refuse ACL|DELUSER ACL|GENPASS ACL|LOAD ACL|LOG ACL|SAVE ACL|SETUSER CONFIG|REWRITE CONFIG|RESETSTAT LATENCY MEMORY
refuse CLIENT|CACHING CLIENT|GETREDIR CLIENT|PAUSE CLIENT|REPLY CLIENT|TRACKING CLIENT|TRACKINGINFO CLIENT|UNPAUSE
refuse CLUSTER|ADDSLOTS CLUSTER|ADDSLOTSRANGE CLUSTER|BUMPEPOCH CLUSTER|COUNT-FAILURE-REPORTS CLUSTER|DELSLOTS
refuse CLUSTER|DELSLOTSRANGE CLUSTER|FAILOVER CLUSTER|FLUSHSLOTS CLUSTER|FORGET CLUSTER|LINKS CLUSTER|MEET CLUSTER|RESET
refuse CLUSTER|REPLICATE CLUSTER|SAVECONFIG CLUSTER|SETSLOT CLUSTER|SHARDS
hide master_replid master_replid2
note A near cache uses published changes (no `CLIENT TRACKING`).
note The profile hides the replication ids too: each new connection replays the removals of `replay_window`.
