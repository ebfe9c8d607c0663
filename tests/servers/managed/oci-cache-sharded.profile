service OCI Cache (sharded)
source OCI Cache, "Unsupported Valkey and Redis Commands", 2025
# The document lists CLUSTER as a whole. The profile leaves the subcommands by which clients find the shards.
server redis cluster
error ERR unknown command '%s', with args beginning with: 'a'
refuse ACL BGREWRITEAOF BGSAVE DEBUG MIGRATE MODULE PSYNC REPLICAOF SAVE SHUTDOWN SYNC
refuse EVAL EVAL_RO EVALSHA EVALSHA_RO FCALL FCALL_RO FUNCTION SCRIPT
error ERR unknown subcommand '%s'. Try HELP.
refuse CONFIG|SET CLUSTER|INFO CLUSTER|MEET CLUSTER|SETSLOT CLUSTER|FAILOVER CLUSTER|FORGET
lacks compare the service refuses `EVAL` on sharded clusters
unsupported absences 3
unsupported barrier 27
unsupported clear 7
unsupported commands 2
unsupported conditional 17
unsupported counters 15
unsupported events 1
unsupported explain 2
unsupported info 3
unsupported ages 1
unsupported touch 5
unsupported max_age 1
unsupported tag_names 5
unsupported leases 28
unsupported loading 9
unsupported near 3
unsupported views 3
