//! The configuration of the Memcached backend.

use super::{Address, ConnectionConfig, Secret, TlsConfig};

/// The options of the Memcached backend.
#[derive(Debug, Clone, PartialEq)]
pub struct MemcachedConfig {
    /// In the order given, which `Modula` counts by; never empty, no server twice.
    pub servers: Vec<MemcachedServer>,
    /// How keys are distributed among servers.
    pub distribution: Distribution,
    /// The hash of a key that chooses its server.
    pub hash: KeyHash,
    /// What becomes of the keys of a server that is down.
    pub failover: Failover,
    /// Speaks the binary protocol, not the meta protocol.
    pub binary: bool,
    /// The SASL user; given together with its password.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// TLS; `None`: plain connections.
    pub tls: Option<TlsConfig>,
    /// How connections are made, kept and limited.
    pub connection: ConnectionConfig,
}

/// One Memcached server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemcachedServer {
    /// Where it listens.
    pub address: Address,
    /// Its share of the keys beside the others', from 1; all are 1 unless the distribution is `KetamaWeighted`.
    pub weight: u32,
}

/// How keys are distributed among servers, as libmemcached does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Consistent: a hundred points a server, whatever its weight.
    Ketama,
    /// Consistent, as libketama: points by weight.
    KetamaWeighted,
    /// The hash modulo the number of servers: nearly every key moves when that number changes.
    Modula,
}

/// The hash of a key that chooses its server, by libmemcached's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHash {
    /// Jenkins's one-at-a-time.
    Default,
    /// The first four bytes of the MD5 digest.
    Md5,
}

/// What becomes of the keys of a server that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// They fail: no other server has them.
    None,
    /// They go to the servers left.
    Eject,
}
