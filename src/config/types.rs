//! The checked configuration: the types that the rest of the library reads.
//!
//! Their `Default` holds zeros: the table of options has the defaults that users see.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::credentials::Renewal;
pub use crate::credentials::Secret;
use crate::operation::PatternMode;

/// Everything `open` needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Prefix of every stored name, so that caches on one server stay apart: 1 to 64 of `A-Z a-z 0-9 _ . -`.
    /// Default `yokedcache`.
    pub key_prefix: String,
    /// TTL of an entry whose `set` names none; zero: it never expires. Default 300 s.
    pub default_ttl: Duration,
    /// Percent, 0 to 100, by which the default TTL is spread, so entries set together do not expire together.
    /// A TTL that the caller gives is exact. Default 10.
    pub ttl_jitter: f64,
    /// The longest value accepted, in bytes, 1 to 512 MiB; a longer one is refused before it is sent. Default 8 MiB.
    pub max_value_bytes: u64,
    /// True if one call makes misses of all entries without a namespace (`Operation::Clear`). Default false.
    pub generations: bool,
    /// True if entries store the names of their tags in addition to the hashes. Default false.
    pub tag_names: bool,
    /// The way in which entries are invalidated by a pattern. A barrier needs generations.
    pub patterns: PatternMode,
    /// The options of loads.
    pub loading: LoadingConfig,
    /// The backend that stores the entries.
    pub backend: BackendConfig,
    /// The copies that the process keeps of entries of the servers; `None`: it keeps none.
    pub near: Option<NearConfig>,
    /// The backend that serves while the servers of the first one fail; `None`: calls fail then.
    pub fallback: Option<Box<FallbackConfig>>,
    /// The credentials that the application supplies, for servers that are configured so.
    pub renewal: Renewal,
    /// Accepted parts of the text that are probably a mistake, each as one sentence; a log and `config check` show them.
    pub notes: Vec<String>,
}

/// The options of loads: of leases and of the values that their holders fill in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadingConfig {
    /// The time after its TTL in which a loaded value may be served as stale. Default 0: not at all.
    pub stale_for: Duration,
    /// Has one caller refresh a value shortly before it expires. Default false.
    pub refresh_ahead: bool,
    /// The time for which a lease is valid if its holder does nothing. Default 10 s.
    pub lease: Duration,
    /// The time for which a load that found nothing is remembered. Default 30 s.
    pub negative_ttl: Duration,
}

/// The options of a near cache: copies of entries in the memory of the process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NearConfig {
    /// Copies kept at most. Default 10,000.
    pub max_size: u64,
    /// Bytes kept at most, keys included; 0: no bound. Default 64 MiB.
    pub max_bytes: u64,
    /// The longest life of a copy; zero: as long as its entry. Default 0.
    pub ttl: Duration,
    /// The time after which a change by another process is seen at the latest. Default 2 s on Redis, none on Memcached.
    pub max_staleness: Duration,
}

/// The backend that stores the entries, and its own options.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendConfig {
    /// Inside this process.
    Memory(MemoryConfig),
    /// On Redis servers.
    Redis(RedisConfig),
    /// On Memcached servers.
    Memcached(MemcachedConfig),
}

/// The name of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendName {
    /// `memory`
    Memory,
    /// `redis`
    Redis,
    /// `memcached`
    Memcached,
}

impl BackendName {
    /// Every backend.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Memcached];

    /// Returns the name in configurations.
    pub fn text(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
        }
    }
}

/// The options of the memory backend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MemoryConfig {
    /// Entries kept at most, up to 4,000,000,000. 0: no limit. Default 10,000.
    pub max_size: u64,
    /// Bytes kept at most, keys included; 0: no bound. Default 0.
    pub max_bytes: u64,
    /// Time between two sweeps that remove expired entries; zero: never sweeps. Default 60 s.
    pub cleanup_interval: Duration,
    /// The order in which live entries are evicted.
    pub eviction: Eviction,
}

/// The order in which live entries are evicted from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// The least recently used entry goes first.
    #[default]
    Lru,
    /// Entries that were used once go first (S3-FIFO).
    S3Fifo,
}

/// The options of the Redis backend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RedisConfig {
    /// The servers and their roles.
    pub topology: RedisTopology,
    /// True if a single server that is a node of a cluster is refused, and not used as the cluster it belongs to.
    pub single_only: bool,
    /// The database; only some clusters have others than 0.
    pub db: u32,
    /// The ACL user, never without a password; `None`: the user `default`.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The file that has the password, in place of it.
    pub password_file: Option<PathBuf>,
    /// TLS, to sentinels as well; `None`: plain connections.
    pub tls: Option<TlsConfig>,
    /// True if reads may go to replicas, which may lag; never with a single server.
    pub replica_reads: bool,
    /// The replicas of a single server that reads may go to.
    pub replicas: Vec<Address>,
    /// The zone whose servers are preferred for reads.
    pub availability_zone: Option<String>,
    /// Keeps for each tag an index of its keys.
    pub tag_index: bool,
    /// True if the names of channels are used as they are, without the prefix.
    pub raw_channels: bool,
    /// True if events tell of what is removed.
    pub events: bool,
    /// The number of events that the journal keeps; 0: there is none.
    pub events_journal: u64,
    /// The time that this process remembers its removals, to replay them on a server that lost them; zero: not at all.
    pub replay_window: Duration,
    /// The action when a server restarted or was replaced.
    pub on_restart: OnRestart,
    /// The number of replicas that have to receive an invalidation before it is done.
    pub invalidation_replicas: u32,
    /// The limits of the connections.
    pub connection: ConnectionConfig,
}

/// The Redis servers that are used, and how they were named.
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
        /// The name of the master at the sentinels.
        master: String,
        /// The ACL user at the sentinels, never without a password.
        username: Option<String>,
        /// The password at the sentinels.
        password: Option<Secret>,
    },
}

impl Default for RedisTopology {
    fn default() -> Self {
        Self::Cluster(Vec::new())
    }
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

/// The options of the Memcached backend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MemcachedConfig {
    /// In the order given, which `Modula` counts by; never empty, no server twice.
    pub servers: Vec<MemcachedServer>,
    /// The distribution of keys among servers.
    pub distribution: Distribution,
    /// The hash of a key that chooses its server.
    pub hash: KeyHash,
    /// The treatment of the keys of a server that is down.
    pub failover: Failover,
    /// The source of the list of servers.
    pub discovery: Discovery,
    /// The time between two requests for the list of servers.
    pub discovery_interval: Duration,
    /// Speaks the binary protocol, not the meta protocol.
    pub binary: bool,
    /// The SASL user; given together with its password.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The file that has the password, in place of it.
    pub password_file: Option<PathBuf>,
    /// TLS; `None`: plain connections.
    pub tls: Option<TlsConfig>,
    /// The limits of the connections.
    pub connection: ConnectionConfig,
    /// The Redis servers that carry the channels; `None`: there are no channels.
    pub events: Option<Box<RedisConfig>>,
}

/// One Memcached server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemcachedServer {
    /// The address at which it listens.
    pub address: Address,
    /// Its share of the keys relative to the other servers, from 1; all are 1 unless the distribution is
    /// `KetamaWeighted`.
    pub weight: u32,
}

/// The distribution of keys among servers, as in libmemcached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Consistent: a hundred points a server, whatever its weight.
    Ketama,
    /// Consistent, as libketama: points by weight.
    #[default]
    KetamaWeighted,
    /// The hash modulo the number of servers: nearly every key moves when that number changes.
    Modula,
}

/// The hash of a key that chooses its server, by libmemcached's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyHash {
    /// Jenkins's one-at-a-time.
    Default,
    /// The first four bytes of the MD5 digest.
    #[default]
    Md5,
}

/// The treatment of the keys of a server that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failover {
    /// They fail: no other server has them.
    #[default]
    None,
    /// They go to the remaining servers.
    Eject,
}

/// The source of the list of Memcached servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discovery {
    /// The configuration names the servers.
    #[default]
    None,
    /// The one configured server is an endpoint that tells the list (`config get cluster`).
    Config,
}

/// The connections of a cache to each of its servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionConfig {
    /// Multiplexed connections a server, 1 to 1000; callers share them.
    pub pool_size: u32,
    /// The deadline of a call, with queueing, connecting and retries.
    pub timeout: Duration,
    /// The longest time to make one connection.
    pub connect_timeout: Duration,
    /// TCP keepalive; `None`: off.
    pub keepalive: Option<Keepalive>,
    /// True if an idempotent command whose reply was lost is retried within the deadline.
    pub retry_on_timeout: bool,
    /// Time between two checks of an idle connection; zero: never.
    pub health_check_interval: Duration,
    /// The time of the first connection.
    pub connect: Connect,
    /// Calls in flight to a server before another is refused as busy.
    pub max_pending: u32,
    /// Bytes in flight to a server before another call is refused as busy.
    pub max_pending_bytes: u64,
    /// Sends small packets at once.
    pub nodelay: bool,
    /// True if the application supplies the credentials while the cache is in use.
    pub renews_credentials: bool,
}

/// The probes of TCP on an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepalive {
    /// Silence before the first probe; whole seconds.
    pub idle: Duration,
    /// Time between two probes; whole seconds.
    pub interval: Duration,
    /// Probes without an answer until the connection counts as lost.
    pub count: u32,
}

/// The time of the first connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connect {
    /// While the cache is opened, which fails if the server does.
    #[default]
    Eager,
    /// At the first call.
    Lazy,
}

/// The options of TLS. Files are named here, and read again when they have changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// Certificates of the authorities to trust, PEM; `None`, as the folder: those of the system.
    pub ca_file: Option<PathBuf>,
    /// A folder of files with more of them.
    pub ca_folder: Option<PathBuf>,
    /// The name that the certificate has to have, and that the handshake names; `None`: that of the host.
    pub server_name: Option<String>,
    /// The client's certificate, PEM; given together with its key.
    pub cert_file: Option<PathBuf>,
    /// The key of the client's certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// The check of the server's certificate.
    pub verify: Verify,
    /// True if the certificate has to name the host; nothing is checked with [`Verify::None`].
    pub check_hostname: bool,
}

/// The check of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// It has to be there and be trusted.
    #[default]
    Required,
    /// It has to be trusted if there is one. Every TLS server sends one, so this is `Required` in practice.
    Optional,
    /// Nothing: a man in the middle can read and change the traffic.
    None,
}

/// A second backend, for when the servers of the first fail.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackConfig {
    /// The second backend; its other options are not used.
    pub backend: BackendConfig,
    /// Prefix of its stored names.
    pub key_prefix: String,
    /// The longest life of an entry there. Default 60 s.
    pub max_ttl: Duration,
    /// True if keys written meanwhile are copied to the first backend when it is back; false: it drops these keys.
    /// Default false.
    pub follow: bool,
    /// Time between two probes of the first backend. Default 250 ms.
    pub probe_interval: Duration,
}

/// The options of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationConfig {
    /// Only keys that match this glob; `None`: all.
    pub pattern: Option<String>,
    /// The most entries a second; 0: no limit.
    pub rate: u64,
    /// Counts the entries that would be copied, and stores nothing.
    pub dry_run: bool,
    /// The position of an earlier run, from its last progress report.
    pub resume: Option<String>,
}

/// The options of a switch to another backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchConfig {
    /// Copies the entries of the cache before the new backend serves.
    pub copy: bool,
    /// The most entries copied a second; 0: no limit.
    pub rate: u64,
}

/// The options of a view. Those that are not given are those of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewConfig {
    /// The namespace of its keys and tags; `None`: those of the cache itself.
    pub namespace: Option<String>,
    /// The time limit of a call.
    pub timeout: Option<Duration>,
    /// TTL of an entry that is set without one; 0: it never expires.
    pub default_ttl: Option<Duration>,
    /// Tags that each entry gets in addition to its own.
    pub tags: Vec<String>,
    /// True if a read gives its entry the default TTL again.
    pub touch_on_get: Option<bool>,
    /// The largest age of an entry that a read accepts.
    pub max_age: Option<Duration>,
    /// The way in which entries are invalidated by a pattern.
    pub patterns: Option<PatternMode>,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A name or an IP address, and a port.
    Tcp {
        /// As given; an IPv6 address without its brackets.
        host: String,
        /// From 1.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Writes `host:port`, `[v6]:port` or the path.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Address::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

impl BackendConfig {
    /// Returns the name of the backend.
    pub fn name(&self) -> BackendName {
        match self {
            Self::Memory(_) => BackendName::Memory,
            Self::Redis(_) => BackendName::Redis,
            Self::Memcached(_) => BackendName::Memcached,
        }
    }

    /// Returns the time to make a connection to servers whose credentials the application supplies; `None`: there are no such
    /// servers.
    pub fn renewed_within(&self) -> Option<Duration> {
        let (connection, events) = match self {
            Self::Memory(_) => return None,
            Self::Redis(redis) => (&redis.connection, None),
            Self::Memcached(memcached) => (&memcached.connection, memcached.events.as_ref()),
        };
        let events = events.map(|events| &events.connection);
        [connection].into_iter().chain(events).filter(|it| it.renews_credentials).map(|it| it.connect_timeout).max()
    }

    /// Returns true if opening does not wait for the servers.
    pub fn is_lazy(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Redis(redis) => redis.connection.connect == Connect::Lazy,
            Self::Memcached(memcached) => memcached.connection.connect == Connect::Lazy,
        }
    }
}

impl Config {
    /// Returns the time to make a connection to servers whose credentials the application supplies; `None`: there are no such
    /// servers.
    pub fn renewed_within(&self) -> Option<Duration> {
        let fallback = self.fallback.as_ref().map(|fallback| &fallback.backend);
        [&self.backend].into_iter().chain(fallback).filter_map(BackendConfig::renewed_within).max()
    }

    /// Returns a text that is equal for equal stores and prefixes, which share their entries; `None`: a store of its
    /// own.
    pub fn store(&self) -> Option<String> {
        let prefix = &self.key_prefix;
        match &self.backend {
            BackendConfig::Memory(_) => None,
            BackendConfig::Redis(redis) => {
                Some(format!("redis {} {} {prefix}", redis_servers(&redis.topology), redis.db))
            }
            BackendConfig::Memcached(memcached) => {
                // With another distribution keys are on other servers, and entries are not shared.
                let how = (memcached.distribution, memcached.hash);
                let servers = memcached.servers.iter().map(|server| format!("{} {}", server.address, server.weight));
                Some(format!("memcached {} {how:?} {prefix}", sorted(servers)))
            }
        }
    }
}

fn redis_servers(topology: &RedisTopology) -> String {
    match topology {
        RedisTopology::Single(address) => address.to_string(),
        RedisTopology::Cluster(nodes) => sorted(nodes.iter().map(Address::to_string)),
        RedisTopology::Sentinel { sentinels, master, .. } => {
            format!("{master} of {}", sorted(sentinels.iter().map(Address::to_string)))
        }
    }
}

fn sorted(servers: impl Iterator<Item = String>) -> String {
    let mut servers: Vec<String> = servers.collect();
    servers.sort_unstable();
    servers.join(",")
}
