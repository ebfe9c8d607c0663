service Amazon ElastiCache Serverless (Valkey, Redis OSS)
source Amazon ElastiCache User Guide, "Supported and restricted Valkey, Memcached, and Redis OSS commands", 2025
# One virtual shard has all slots. TLS, which the service requires, is not part of the profile.
server redis cluster
options pool_size=1
error ERR unknown command '%s', with args beginning with: 'a'
refuse BGREWRITEAOF BGSAVE CONFIG DEBUG FAILOVER KEYS LASTSAVE LATENCY MEMORY MIGRATE MODULE MONITOR MOVE OBJECT PSYNC
refuse REPLCONF REPLICAOF SAVE SELECT SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC WAIT WAITAOF
error ERR unknown subcommand '%s'. Try HELP.
refuse ACL|DELUSER ACL|LOAD ACL|LOG ACL|SAVE ACL|SETUSER
refuse CLIENT|CACHING CLIENT|GETREDIR CLIENT|ID CLIENT|INFO CLIENT|KILL CLIENT|LIST CLIENT|NO-EVICT CLIENT|PAUSE
refuse CLIENT|TRACKING CLIENT|TRACKINGINFO CLIENT|UNBLOCK CLIENT|UNPAUSE
refuse CLUSTER|ADDSLOTS CLUSTER|ADDSLOTSRANGE CLUSTER|BUMPEPOCH CLUSTER|COUNT-FAILURE-REPORTS CLUSTER|DELSLOTS
refuse CLUSTER|DELSLOTSRANGE CLUSTER|FAILOVER CLUSTER|FLUSHSLOTS CLUSTER|FORGET CLUSTER|LINKS CLUSTER|MEET CLUSTER|RESET
refuse CLUSTER|SAVECONFIG CLUSTER|SETSLOT
# No ids of a process: each connection counts as one to another server.
hide run_id master_replid master_replid2
note A near cache uses published changes (no `CLIENT TRACKING`).
note `invalidation_replicas` is unsupported (no `WAIT`).
note The profile hides the ids of the server too: each new connection replays the removals of `replay_window`.
