//! The configuration of the Redis backend.

use std::time::Duration;

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
    /// The time that this process remembers its removals, to replay them on a server that lost them; zero: not at all.
    pub replay_window: Duration,
    /// The action when a server restarted or was replaced.
    pub on_restart: OnRestart,
    /// The number of replicas that have to receive an invalidation before it is done.
    pub invalidation_replicas: u32,
    /// How connections are made, kept and limited.
    pub connection: ConnectionConfig,
}

/// The action when a server restarted or was replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRestart {
    /// The recent removals of this process are replayed.
    #[default]
    Replay,
    /// Everything of the prefix is removed.
    Renew,
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
