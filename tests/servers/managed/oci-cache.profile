service OCI Cache (non-sharded)
source OCI Cache, "Unsupported Valkey and Redis Commands", 2025
server redis
error ERR unknown command '%s', with args beginning with: 'a'
refuse ACL BGREWRITEAOF BGSAVE CLUSTER DEBUG MIGRATE MODULE PSYNC REPLICAOF SAVE SHUTDOWN SYNC
error ERR unknown subcommand '%s'. Try HELP.
refuse CONFIG|SET
