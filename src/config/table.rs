//! The table of options: the parser, the summary and the documents all read it.

use super::option::Kind::{
    Addresses, Choice, Count, Flag, Group, Host, Maybe, MaybeTime, Name, Password, Path, Percent, Port, Prefix, Rows,
    Seconds, Servers, Size, SmallCount, Text, Texts, Time, Url, Weights,
};
use super::option::Scope::{Every, Fallback, Memcached, Memory, Migration, Near, Redis, Remote, Switch, View};
use super::option::{Choices, Row, Scope, row};
use super::types::{BackendName, Connect, Discovery, Distribution, Eviction, Failover, KeyHash, OnRestart, Verify};
use crate::operation::PatternMode;

/// A day in milliseconds, the longest time of a connection.
const DAY: u64 = 86_400_000;
const HOUR: u64 = 3_600_000;
/// The longest time accepted, in milliseconds: ten years of 365 days.
const TEN_YEARS: u64 = 3_650 * DAY;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const PIB: u64 = 1 << 50;
/// Entries are numbered with 32 bits.
const MAX_ENTRIES: u64 = 4_000_000_000;
const MAX_JOURNAL: u64 = 100_000_000;
const MAX_RATE: u64 = 1_000_000_000;
const MAX_DATABASE: u32 = 0x7fff_ffff;
/// The most seconds and probes that Linux takes (`MAX_TCP_KEEPIDLE` and its like).
const MAX_KEEPALIVE: u64 = 32_767;
const MAX_PROBES: u32 = 127;
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The behaviors of libmemcached that are options here.
const BEHAVIORS: &[&str] = &["ketama", "ketama_weighted", "distribution", "hash", "tcp_nodelay"];

const DISTRIBUTION: Choices = &[
    ("ketama_weighted", |o| o.keys.distribution = Some(Distribution::KetamaWeighted)),
    ("ketama", |o| o.keys.distribution = Some(Distribution::Ketama)),
    ("modula", |o| o.keys.distribution = Some(Distribution::Modula)),
];
const HASH: Choices =
    &[("md5", |o| o.keys.hash = Some(KeyHash::Md5)), ("default", |o| o.keys.hash = Some(KeyHash::Default))];
const FAILOVER: Choices =
    &[("none", |o| o.memcached.failover = Failover::None), ("eject", |o| o.memcached.failover = Failover::Eject)];
const DISCOVERY: Choices =
    &[("none", |o| o.memcached.discovery = Discovery::None), ("config", |o| o.memcached.discovery = Discovery::Config)];
const VERIFY: Choices = &[
    ("required", |o| o.tls.verify = Verify::Required),
    ("optional", |o| o.tls.verify = Verify::Optional),
    ("none", |o| o.tls.verify = Verify::None),
];
const CONNECT: Choices =
    &[("eager", |o| o.connection.connect = Connect::Eager), ("lazy", |o| o.connection.connect = Connect::Lazy)];
const CREDENTIALS: Choices = &[
    ("configured", |o| o.connection.renews_credentials = false),
    ("callback", |o| o.connection.renews_credentials = true),
];
const ON_RESTART: Choices =
    &[("replay", |o| o.redis.on_restart = OnRestart::Replay), ("renew", |o| o.redis.on_restart = OnRestart::Renew)];
const EVICTION: Choices =
    &[("lru", |o| o.memory.eviction = Eviction::Lru), ("s3fifo", |o| o.memory.eviction = Eviction::S3Fifo)];
const PATTERNS: Choices =
    &[("walk", |o| o.patterns = PatternMode::Walk), ("barrier", |o| o.patterns = PatternMode::Barrier)];
const VIEW_PATTERNS: Choices = &[
    ("walk", |o| o.view.patterns = Some(PatternMode::Walk)),
    ("barrier", |o| o.view.patterns = Some(PatternMode::Barrier)),
];
const WRITES: Choices = &[("drop", |o| o.fallback.follow = false), ("follow", |o| o.fallback.follow = true)];

// An option is a line: its scope, its name (aliases follow, after spaces), its kind, its default, an example and its
// meaning.

#[rustfmt::skip]
pub(super) static OPTIONS: &[Row] = &[
    // Every section.
    row(Every, "key_prefix", Prefix(|o| &mut o.key_prefix), "yokedcache", "app", "Prefix of every stored name; caches with different prefixes can share a server. On Redis and Memcached a missing prefix causes a warning.").or_variable("YOKEDCACHE_KEY_PREFIX"),
    row(Every, "default_ttl", Time(0..=TEN_YEARS, |o| &mut o.default_ttl), "300s", "10m", "TTL of an entry that is set without one; 0: it never expires.").or_variable("YOKEDCACHE_DEFAULT_TTL"),
    row(Every, "ttl_jitter", Percent(|o| &mut o.ttl_jitter), "10%", "5%", "Spreads default TTLs by up to this percentage, so that entries set together do not expire together."),
    row(Every, "max_value_bytes", Size(1..=512 * MIB, |o| &mut o.max_value_bytes), "8MiB", "1MiB", "The longest value accepted."),
    row(Every, "lease", Time(1..=DAY, |o| &mut o.loading.lease), "10s", "30s", "The time for which a lease to load a key is valid if its holder does nothing."),
    row(Every, "stale_for", Time(0..=TEN_YEARS, |o| &mut o.loading.stale_for), "0", "1h", "The time after its TTL in which a loaded value may be served as stale, while one caller loads it again; 0: not at all. It is the default of fills (`stale_for_ms` -1)."),
    row(Every, "refresh_ahead", Flag(|o| &mut o.loading.refresh_ahead), "false", "true", "One caller loads a value again shortly before it expires: the earlier, the longer its last load took (XFetch with beta 1)."),
    row(Every, "negative_ttl", Time(1..=TEN_YEARS, |o| &mut o.loading.negative_ttl), "30s", "5s", "The time for which the cache remembers that a load found nothing, if the fill has the default TTL."),
    row(Every, "generations", Flag(|o| &mut o.generations), "false", "true", "Each entry has a generation, so that `yc_clear` makes misses of all in one step; each read fetches the version of the generation too. All programs that share the key_prefix need the same value. The entries of a namespace always have one."),
    row(Every, "patterns", Choice(PATTERNS), "walk", "barrier", "How a pattern invalidates. `walk`: lists the keys, removes those that match and counts them. `barrier`: makes misses of the older entries that match in one step, also on a server that cannot list; it implies `generations`, and counts nothing."),
    row(Every, "tag_names", Flag(|o| &mut o.tag_names), "false", "true", "Entries store the names of their tags, up to 2 KiB each, in addition to the hashes: `yc_get_info` returns them. Without it an entry stores 16 bytes for each tag, however long its name."),
    // Section `memory`.
    row(Memory, "max_size", Count(0..=MAX_ENTRIES, |o| &mut o.memory.max_size), "10000", "100000", "Entries kept at most. 0: no limit, so that `max_bytes` alone limits the store."),
    row(Memory, "max_bytes", Size(0..=PIB, |o| &mut o.memory.max_bytes), "0", "256MiB", "Bytes kept at most, keys included; 0: no bound."),
    row(Memory, "cleanup_interval", Time(0..=TEN_YEARS, |o| &mut o.memory.cleanup_interval), "60s", "30s", "Time between two sweeps of expired entries; 0: never sweeps."),
    row(Memory, "eviction", Choice(EVICTION), "lru", "s3fifo", "The entry that goes when the store is full. `lru`: the least recently used one, exactly. `s3fifo`: entries that were used once go first, so that a scan of many keys does not evict those in use."),
    // Section `redis`.
    row(Redis, "url redis_url", Url("rediss://user:password@host:6379/0"), "", "rediss://redis.example.com:6380/0", "Schemes: `redis`, `rediss` (TLS), `redis+unix`, `unix`, `redis+sentinel`, `redis+cluster`, and the last two with `rediss`; `valkey` stands for `redis` in each. An option may also be given together with it if both say the same. The variable is used if nothing else names a server.").or_variable("REDIS_URL"),
    row(Redis, "host", Host(|o| &mut o.redis_servers.host), "localhost", "redis.example.com", "Host name or address of the server."),
    row(Redis, "port", Port(|o| &mut o.redis_servers.port), "6379", "6380", "Port of the server."),
    row(Redis, "socket_path unix_socket_path", Path(|o| &mut o.redis_servers.socket), "", "/run/redis/redis.sock", "The server's Unix socket, in place of host and port."),
    row(Redis, "cluster", Maybe(|o| &mut o.redis_servers.cluster), "", "true", "`true`: the servers are a cluster, which is found from `nodes`, or from host and port. `false`: a server that is a node of a cluster is refused. Without it the library asks the server."),
    row(Redis, "nodes", Addresses(REDIS_PORT, |o| &mut o.redis_servers.nodes), "", "[\"a.example.com:7000\", \"b.example.com:7000\"]", "Some nodes of a cluster."),
    row(Redis, "sentinels", Addresses(SENTINEL_PORT, |o| &mut o.redis_servers.sentinels), "", "[\"a.example.com\", \"b.example.com:26380\"]", "Sentinels that know the master, in place of host and port; their default port is 26379."),
    row(Redis, "sentinel_master master_name", Text(|o| &mut o.redis_servers.master), "", "mymaster", "Name of the master at the sentinels."),
    row(Redis, "sentinel_username", Text(|o| &mut o.redis_servers.sentinel_username), "", "sentinel", "The ACL user at the sentinels."),
    row(Redis, "sentinel_password", Password(|o| &mut o.redis_servers.sentinel_password), "", "\"${SENTINEL_PASSWORD}\"", "The password at the sentinels."),
    row(Redis, "db", SmallCount(0..=MAX_DATABASE, |o| &mut o.redis.db), "0", "2", "The database. A cluster has 0 alone, except Valkey 9 with `cluster-databases`."),
    row(Redis, "username", Text(|o| &mut o.redis.username), "", "app", "ACL user; requires a password."),
    row(Redis, "password", Password(|o| &mut o.redis.password), "", "\"${CACHE_PASSWORD}\"", "Password of the user."),
    row(Redis, "password_file", Path(|o| &mut o.redis.password_file), "", "/run/secrets/cache", "A file with the password of the user, in place of `password`. It is read each time that a connection is made, so that a new password counts without a restart; a line end after the password is dropped."),
    row(Redis, "replica_reads read_from_replicas", Flag(|o| &mut o.redis.replica_reads), "false", "true", "Allows reads from replicas, which may lag; for a cluster or sentinels."),
    row(Redis, "replicas", Addresses(6379, |o| &mut o.redis.replicas), "", "[\"reader.example.com:6379\"]", "Replicas of one server, such as the reader endpoint of a service: reads go to them as with `replica_reads`."),
    row(Redis, "availability_zone", Text(|o| &mut o.redis.availability_zone), "", "us-east-1a", "The zone of the program, with `replica_reads` or `replicas`: reads go to a replica that reports this zone (`availability_zone` of Valkey 8), else to the primary if it does, else to another replica."),
    row(Redis, "raw_channels", Flag(|o| &mut o.redis.raw_channels), "false", "true", "Uses the names of channels as they are, without key_prefix, to exchange messages with other programs."),
    row(Redis, "events", Flag(|o| &mut o.redis.events), "false", "true", "Tells the readers of events (`yc_events_open`) what this cache removes. All programs that share the key_prefix need the same value: one without it removes entries without an event."),
    row(Redis, "events_journal", Count(0..=MAX_JOURNAL, |o| &mut o.redis.events_journal), "0", "10000", "The number of messages with events that a stream of the server keeps at least, for readers whose connection was lost; 0: none. It includes `events: true`. All programs that share the key_prefix need a journal, or none of them: those with one read the stream."),
    row(Redis, "tag_index", Flag(|o| &mut o.redis.tag_index), "false", "true", "Keeps for each tag an index of its keys."),
    row(Redis, "replay_window", Time(0..=HOUR, |o| &mut o.redis.replay_window), "60s", "5m", "The time that a process remembers its invalidations, deletes and flushes. When a server restarts or is replaced, the process replays them before it reads. `0`: nothing is remembered."),
    row(Redis, "on_restart", Choice(ON_RESTART), "replay", "renew", "`renew` empties the whole prefix when a server restarts or is replaced, once for all processes."),
    row(Redis, "invalidation_replicas", SmallCount(0..=100, |o| &mut o.redis.invalidation_replicas), "0", "1", "The number of replicas that have to receive an invalidation, a delete or a flush before it is reported as done; `YC_E_TIMEOUT` if they do not."),
    row(Redis, "connection_pool_kwargs", Group(&[]), "", "{max_connections: 4}", "Options that count as the section's own."),
    // Section `memcached`.
    row(Memcached, "url", Url("memcached://host1:11211,host2:11211"), "", "memcached://a.example.com,b.example.com:11212", "Schemes: `memcached`, `memcacheds` (TLS), `memcached+unix`. An option may also be given together with it if both say the same."),
    row(Memcached, "servers", Servers(|o| &mut o.memcached.servers), "localhost:11211", "[\"a.example.com\", \"b.example.com:11212 3\"]", "The servers; the default port is 11211, the default weight 1."),
    row(Memcached, "weights", Weights(|o| &mut o.keys.weights), "", "[1, 3]", "The servers' weights in their order, for URLs: `?weights=3,1`."),
    row(Memcached, "distribution", Choice(DISTRIBUTION), "", "modula", "How keys are distributed among servers, as libmemcached does it. Without it `ketama_weighted`, which is libketama's; or what `ketama` and `ketama_weighted` say. `ketama` with a weight over 1 has weighted points."),
    row(Memcached, "ketama", Maybe(|o| &mut o.keys.ketama), "", "true", "libmemcached's behavior: consistent, or `modula`."),
    row(Memcached, "ketama_weighted", Maybe(|o| &mut o.keys.ketama_weighted), "", "true", "libmemcached's behavior: consistent with weights, or `ketama`."),
    row(Memcached, "hash", Choice(HASH), "", "default", "The hash of a key that chooses its server; `default` is one-at-a-time. Without it `md5` for `ketama_weighted` and `default` for the others, as in libmemcached."),
    row(Memcached, "failover", Choice(FAILOVER), "none", "eject", "The keys of a server that is down fail, or go to the servers left."),
    row(Memcached, "discovery", Choice(DISCOVERY), "none", "config", "`config`: the one server of `servers` is the configuration endpoint of a managed service, which tells the list of the servers (`config get cluster`). A change of the list empties the cache."),
    row(Memcached, "discovery_interval", Time(100..=DAY, |o| &mut o.memcached.discovery_interval), "60s", "10s", "Time between two requests for the list of the servers; shorter while a server is down."),
    row(Memcached, "binary", Flag(|o| &mut o.memcached.binary), "false", "true", "Speaks the binary protocol, not the meta protocol."),
    row(Memcached, "username", Text(|o| &mut o.memcached.username), "", "app", "SASL user; requires a password."),
    row(Memcached, "password", Password(|o| &mut o.memcached.password), "", "\"${CACHE_PASSWORD}\"", "Password of the user; requires a user."),
    row(Memcached, "password_file", Path(|o| &mut o.memcached.password_file), "", "/run/secrets/cache", "A file with the password of the user, in place of `password`; requires a user. It is read each time that a connection is made; a line end after the password is dropped."),
    row(Memcached, "behaviors", Group(BEHAVIORS), "", "{ketama: true}", "Options that count as the section's own."),
    // TLS, in sections `redis` and `memcached`.
    row(Remote, "ssl tls", Flag(|o| &mut o.ssl), "false", "true", "Uses TLS, as a URL with `rediss://` or `memcacheds://` does. The other `ssl_` options are refused without it."),
    row(Remote, "ssl_ca_certs", Path(|o| &mut o.tls.ca_file), "", "/etc/ssl/cache-ca.pem", "A PEM file of the authorities to trust, in place of the system's. A server's own certificate in it is trusted for itself, also a self-signed one."),
    row(Remote, "ssl_ca_path", Path(|o| &mut o.tls.ca_folder), "", "/etc/ssl/cache-ca", "A folder of PEM files with authorities to trust, in addition to `ssl_ca_certs` and in place of the system's. Files without a certificate are skipped."),
    row(Remote, "ssl_server_name", Text(|o| &mut o.tls.server_name), "", "cache.example.com", "The host name that is sent in the handshake (SNI) and that the server's certificate has to have, in place of the host that is connected to: for addresses, tunnels and proxies."),
    row(Remote, "ssl_certfile", Path(|o| &mut o.tls.cert_file), "", "/etc/ssl/app.pem", "A PEM file with the client's certificate; given together with its key."),
    row(Remote, "ssl_keyfile", Path(|o| &mut o.tls.key_file), "", "/etc/ssl/app.key", "A PEM file with the key of the client's certificate, without a password (`openssl pkey` removes one)."),
    row(Remote, "ssl_cert_reqs", Choice(VERIFY), "required", "none", "Check of the server's certificate. `none` accepts every certificate and does not check that the server holds its key: a man in the middle can read and change the traffic."),
    row(Remote, "ssl_check_hostname", Flag(|o| &mut o.tls.check_hostname), "true", "false", "The server's certificate has to name the host; `ssl_cert_reqs: none` checks nothing."),
    // Connections, in sections `redis` and `memcached`.
    row(Remote, "pool_size connection_pool_size max_connections", SmallCount(1..=1000, |o| &mut o.connection.pool_size), "2", "4", "Multiplexed connections a server; callers share them. The variable counts for Redis.").or_variable("REDIS_POOL_SIZE"),
    row(Remote, "socket_timeout timeout", Time(1..=DAY, |o| &mut o.connection.timeout), "1s", "500ms", "The deadline of a call, with queueing, connecting and retries. A bare number is in seconds; one over 60 causes a warning."),
    row(Remote, "socket_connect_timeout connect_timeout", Time(1..=DAY, |o| &mut o.connection.connect_timeout), "2s", "1s", "The longest time to make one connection. A bare number is in seconds; one over 60 causes a warning."),
    row(Remote, "socket_keepalive", Flag(|o| &mut o.keepalive), "true", "false", "Enables TCP keepalive, which probes an idle connection."),
    row(Remote, "socket_keepalive_options", Rows(PROBES), "", "{TCP_KEEPIDLE: 60}", "Seconds of silence before the first probe (30), seconds between two (5), and probes without an answer until the connection is lost (3). Also `idle`, `interval`, `count`."),
    row(Remote, "retry_on_timeout", Flag(|o| &mut o.connection.retry_on_timeout), "true", "false", "Retries an idempotent command within the deadline if its reply was lost. A `set` that was sent twice can overwrite a newer value that another process stored in between; with `false` such a call fails instead."),
    row(Remote, "health_check_interval", Time(0..=DAY, |o| &mut o.connection.health_check_interval), "30s", "10s", "Time between two checks of an idle connection; 0: never."),
    row(Remote, "credentials", Choice(CREDENTIALS), "configured", "callback", "`callback`: the application supplies user and password while the cache is in use (`yc_set_credentials`), for tokens that expire; in place of `username`, `password` and `password_file`. Opening does not wait for the servers then."),
    row(Remote, "connect", Choice(CONNECT), "eager", "lazy", "`eager` connects while the cache is opened, which fails if the server does; `lazy` connects at the first call."),
    row(Remote, "max_pending", SmallCount(1..=1_000_000, |o| &mut o.connection.max_pending), "1000", "5000", "Calls in flight to a server; a call beyond gets `YC_E_BUSY`."),
    row(Remote, "max_pending_bytes", Size(1..=TIB, |o| &mut o.connection.max_pending_bytes), "64MiB", "16MiB", "Bytes in flight to a server; a call beyond gets `YC_E_BUSY`."),
    row(Remote, "tcp_nodelay", Flag(|o| &mut o.connection.nodelay), "true", "false", "Sends small packets at once."),
    // `near`.
    row(Near, "max_staleness", Time(20..=HOUR, |o| &mut o.near.max_staleness), "", "500ms", "The time after which a change by another process is seen at the latest. `2s` on Redis if it is not given; Memcached requires it."),
    row(Near, "max_size", Count(0..=MAX_ENTRIES, |o| &mut o.near.max_size), "10000", "100000", "Copies kept at most; 0: no limit."),
    row(Near, "max_bytes", Size(0..=PIB, |o| &mut o.near.max_bytes), "64MiB", "256MiB", "Bytes kept at most, keys included; 0: no bound."),
    row(Near, "ttl", Time(0..=TEN_YEARS, |o| &mut o.near.ttl), "0", "1m", "The longest life of a copy. It never exceeds the TTL of its entry. 0: as long as that."),
    // `fallback`.
    row(Fallback, "max_ttl", Time(1..=TEN_YEARS, |o| &mut o.fallback.max_ttl), "60s", "5m", "The longest life of an entry in the fallback, which does not receive other processes' invalidations."),
    row(Fallback, "writes", Choice(WRITES), "drop", "follow", "Treatment of keys that were written during an outage, once the backend is back: `drop` deletes them there, `follow` copies their current values."),
    row(Fallback, "probe_interval", Time(10..=HOUR, |o| &mut o.fallback.probe_interval), "250ms", "1s", "Time between two probes of the failed backend."),
    // The options of a migration.
    row(Migration, "pattern", Text(|o| &mut o.migration.pattern), "", "\"user:*\"", "Only keys that match this glob."),
    row(Migration, "rate", Count(0..=MAX_RATE, |o| &mut o.migration.rate), "0", "5000", "Maximum number of entries a second; 0: no limit."),
    row(Migration, "dry_run", Flag(|o| &mut o.migration.dry_run), "false", "true", "Counts the entries that would be copied, and stores nothing."),
    row(Migration, "resume", Text(|o| &mut o.migration.resume), "", "\"1.42\"", "Position of an earlier run, from its last progress report; the run continues there."),
    // The options of a switch.
    row(Switch, "copy", Flag(|o| &mut o.switch.copy), "false", "true", "Copies the entries of the cache before the new backend serves."),
    row(Switch, "rate", Count(0..=MAX_RATE, |o| &mut o.switch.rate), "0", "5000", "Maximum number of entries copied a second; 0: no limit."),
    // Options of a view.
    row(View, "namespace", Name(|o| &mut o.view.namespace), "", "users", "Keys and tags of the view are apart from those of the cache and of other namespaces."),
    row(View, "timeout", MaybeTime(1..=DAY, |o| &mut o.view.timeout), "", "20ms", "Time limit of a call, in place of `socket_timeout`: shorter or longer."),
    row(View, "default_ttl", MaybeTime(0..=TEN_YEARS, |o| &mut o.view.default_ttl), "", "1m", "TTL of an entry that is set without one; 0: it never expires. `ttl_jitter` of the cache applies."),
    row(View, "tags", Texts(|o| &mut o.view.tags), "", "[a, b]", "Tags that each entry gets when it is stored, in addition to those of the call."),
    row(View, "touch_on_get", Maybe(|o| &mut o.view.touch_on_get), "", "true", "Sliding expiry: a get, also of many keys or for loading, gives its entry the default TTL of the view again."),
    row(View, "max_age", MaybeTime(1..=TEN_YEARS, |o| &mut o.view.max_age), "", "10s", "Maximum age of an entry that a read accepts; an older entry is a miss for the view, and stays. Such a view does not load."),
    row(View, "patterns", Choice(VIEW_PATTERNS), "", "barrier", "How a pattern invalidates, as the option of the cache. `barrier` needs generations: those of the cache, or those that a namespace has."),
];

#[rustfmt::skip]
const PROBES: &[Row] = &[
    row(Remote, "TCP_KEEPIDLE idle", Seconds(1..=MAX_KEEPALIVE, |o| &mut o.probes.idle), "30", "60", ""),
    row(Remote, "TCP_KEEPINTVL interval", Seconds(1..=MAX_KEEPALIVE, |o| &mut o.probes.interval), "5", "10", ""),
    row(Remote, "TCP_KEEPCNT count", SmallCount(1..=MAX_PROBES, |o| &mut o.probes.count), "3", "5", ""),
];

/// Returns the options with one of these scopes.
pub(super) fn with_scope(scopes: &'static [Scope]) -> impl Iterator<Item = &'static Row> + Clone {
    OPTIONS.iter().filter(|row| scopes.contains(&row.scope))
}

/// Returns the options of a backend's section that not every section has.
pub(super) fn of_backend(backend: BackendName) -> impl Iterator<Item = &'static Row> {
    with_scope(match backend {
        BackendName::Memory => &[Memory],
        BackendName::Redis => &[Redis, Remote],
        BackendName::Memcached => &[Memcached, Remote],
    })
}

/// The options of a backend's section that are maps of options of their own.
const NESTED: [&str; 1] = ["near"];

/// Returns every name of every option that a configuration may have.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    with_scope(&[Every, Memory, Redis, Memcached, Remote, Fallback]).flat_map(Row::names).chain(NESTED)
}
