//! The configuration of the Redis backend.

use super::{Address, ConnectionConfig, Secret, TlsConfig};

/// The options of the Redis backend.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisConfig {
    /// Which servers there are, and what they are to each other.
    pub topology: RedisTopology,
    /// A single server that is a node of a cluster is refused, and not used as the cluster it belongs to.
    pub single_only: bool,
    /// The database; 0 in a cluster.
    pub db: u32,
    /// The ACL user, never without a password; `None`: the user `default`.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// TLS, to sentinels as well; `None`: plain connections.
    pub tls: Option<TlsConfig>,
    /// Reads may go to replicas, which may be behind; never with a single server.
    pub replica_reads: bool,
    /// Keeps for each tag an index of its keys.
    pub tag_index: bool,
    /// How connections are made, kept and limited.
    pub connection: ConnectionConfig,
}

/// Which Redis servers there are.
#[derive(Debug, Clone, PartialEq)]
pub enum RedisTopology {
    /// One server.
    Single(Address),
    /// A cluster, found from any of these nodes; never empty, no socket paths, no node twice.
    Cluster(Vec<Address>),
    /// A master and its replicas, which sentinels know.
    Sentinel {
        /// Never empty, no socket paths, no sentinel twice.
        sentinels: Vec<Address>,
        /// What the sentinels call the master.
        master: String,
        /// The ACL user at the sentinels, never without a password.
        username: Option<String>,
        /// The password at the sentinels.
        password: Option<Secret>,
    },
}
