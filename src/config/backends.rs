//! The configuration of each backend: what the options of its section mean together.

use super::document::Field;
use super::environment::Variables;
use super::message::refused;
use super::option::{MemcachedKeys, Options, RedisServers};
use super::section::Section;
use super::types::{
    Address, BackendConfig, BackendName, Config, ConnectionConfig, Discovery, Distribution, Failover, KeyHash,
    MemcachedConfig, MemcachedServer, RedisConfig, RedisTopology, TlsConfig,
};
use crate::credentials::Renewal;
use crate::error::Result;
use crate::operation::PatternMode;

/// Ways to name Redis servers that exclude others.
const EXCLUSIVE: &[(&str, &[&str])] = &[
    ("socket_path", &["host", "port", "nodes", "sentinels"]),
    ("nodes", &["host", "port", "sentinels"]),
    ("sentinels", &["host", "port", "replicas"]),
];

/// Ways to give the password that exclude each other.
const ONE_PASSWORD: &[(&str, &[&str])] = &[("password", &["password_file"])];

/// The options that TLS alone uses.
const TLS_DETAILS: [&str; 7] = [
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_server_name",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
];

/// Returns the configuration that the fields of a backend's section give, else the variables, else the defaults.
pub(super) fn build(backend: BackendName, fields: Vec<Field>, variables: Variables) -> Result<Config> {
    let section = Section::read(backend, fields, variables)?;
    let mut options = section.options(variables)?;
    let Options { default_ttl, ttl_jitter, max_value_bytes, generations, tag_names, patterns, .. } = options;
    Ok(Config {
        key_prefix: std::mem::take(&mut options.key_prefix),
        default_ttl,
        ttl_jitter,
        generations: generations || patterns == PatternMode::Barrier,
        tag_names,
        patterns,
        max_value_bytes,
        loading: options.loading.clone(),
        backend: match backend {
            BackendName::Memory => BackendConfig::Memory(options.memory),
            BackendName::Redis => BackendConfig::Redis(redis(options, &section)?),
            BackendName::Memcached => BackendConfig::Memcached(memcached(options, &section)?),
        },
        near: None,
        fallback: None,
        renewal: Renewal::default(),
        notes: section.notes(variables),
    })
}

fn redis(options: Options, section: &Section) -> Result<RedisConfig> {
    let (tls, connection) = (tls(&options, section)?, connection(&options));
    let (redis, servers) = (options.redis, options.redis_servers);
    section.check_exclusive(EXCLUSIVE)?;
    section.check_exclusive(ONE_PASSWORD)?;
    let has_password = redis.password.is_some() || redis.password_file.is_some();
    check_credentials(&connection, section)?;
    check_user("username", redis.username.as_ref(), has_password)?;
    let topology = topology(&servers, &redis, tls.is_some(), section)?;
    // A cluster knows its replicas.
    let single_only = servers.cluster == Some(false) || !redis.replicas.is_empty();
    if redis.replicas.is_empty() && !redis.replica_reads {
        section.check_needs("availability_zone", "`replica_reads` or `replicas`")?;
    }
    let events = redis.events || redis.events_journal > 0;
    Ok(RedisConfig { topology, single_only, events, tls, connection, ..redis })
}

fn topology(servers: &RedisServers, redis: &RedisConfig, tls: bool, section: &Section) -> Result<RedisTopology> {
    if servers.cluster == Some(true) {
        return cluster(servers, section);
    }
    section.check_needs("nodes", "`cluster: true`")?;
    if !servers.sentinels.is_empty() {
        return sentinel(servers);
    }
    for option in ["sentinel_master", "sentinel_username", "sentinel_password"] {
        section.check_needs(option, "sentinels")?;
    }
    if redis.replica_reads {
        section.check_needs("replica_reads", "a cluster or sentinels, which know the replicas")?;
    }
    single(servers, tls).map(RedisTopology::Single)
}

fn cluster(servers: &RedisServers, section: &Section) -> Result<RedisTopology> {
    section.check_exclusive(&[("cluster", &["socket_path", "sentinels", "sentinel_master", "replicas"])])?;
    let nodes = if servers.nodes.is_empty() { vec![server(servers)] } else { servers.nodes.clone() };
    Ok(RedisTopology::Cluster(nodes))
}

fn sentinel(servers: &RedisServers) -> Result<RedisTopology> {
    check_user("sentinel_username", servers.sentinel_username.as_ref(), servers.sentinel_password.is_some())?;
    let master = servers.master.clone();
    Ok(RedisTopology::Sentinel {
        sentinels: servers.sentinels.clone(),
        master: master.ok_or_else(|| {
            refused("sentinels take the name of the master: give `sentinel_master`, or the name as the URL's path")
        })?,
        username: servers.sentinel_username.clone(),
        password: servers.sentinel_password.clone(),
    })
}

fn single(servers: &RedisServers, tls: bool) -> Result<Address> {
    match &servers.socket {
        Some(_) if tls => Err(socket_without_tls()),
        Some(path) => Ok(Address::Unix(path.clone())),
        None => Ok(server(servers)),
    }
}

fn server(servers: &RedisServers) -> Address {
    Address::Tcp { host: servers.host.clone(), port: servers.port }
}

fn memcached(options: Options, section: &Section) -> Result<MemcachedConfig> {
    let (tls, connection) = (tls(&options, section)?, connection(&options));
    let (memcached, keys) = (options.memcached, options.keys);
    section.check_exclusive(ONE_PASSWORD)?;
    check_sasl(&memcached, &connection, section)?;
    let servers = weighted(memcached.servers, &keys.weights)?;
    if tls.is_some() && servers.iter().any(|server| matches!(server.address, Address::Unix(_))) {
        return Err(socket_without_tls());
    }
    check_discovery(memcached.discovery, memcached.failover, &servers)?;
    let chosen = distribution(&keys)?;
    let distribution = with_weights(chosen, &servers)?;
    let hash = keys.hash.unwrap_or_else(|| usual_hash(chosen));
    Ok(MemcachedConfig { servers, distribution, hash, tls, connection, ..memcached })
}

/// Refuses what a list of servers that is discovered leaves no place for.
fn check_discovery(discovery: Discovery, failover: Failover, servers: &[MemcachedServer]) -> Result<()> {
    if discovery == Discovery::None {
        return Ok(());
    }
    match servers {
        [MemcachedServer { address: Address::Tcp { .. }, weight: 1 }] if failover == Failover::None => Ok(()),
        [MemcachedServer { address: Address::Tcp { .. }, weight: 1 }] => {
            Err(refused("`failover: eject` and `discovery: config` exclude each other: leave out one of them"))
        }
        _ => Err(refused(
            "`discovery: config` takes one server, the configuration endpoint, by its host and port and without a weight",
        )),
    }
}

fn weighted(mut servers: Vec<MemcachedServer>, weights: &[u32]) -> Result<Vec<MemcachedServer>> {
    if weights.is_empty() {
        return Ok(servers);
    }
    if has_weights(&servers) {
        return Err(refused("weights stand in `servers` and in `weights`: give one of them"));
    }
    if weights.len() != servers.len() {
        return Err(refused(format!("`weights` has {} entries for {} servers", weights.len(), servers.len())));
    }
    servers.iter_mut().zip(weights).for_each(|(server, weight)| server.weight = *weight);
    Ok(servers)
}

fn has_weights(servers: &[MemcachedServer]) -> bool {
    servers.iter().any(|server| server.weight != 1)
}

/// Returns the one distribution that fits all that is given; libmemcached's own default is of no use, since nearly
/// every key moves when its number of servers changes.
fn distribution(keys: &MemcachedKeys) -> Result<Distribution> {
    use Distribution::{Ketama, KetamaWeighted, Modula};
    // `ketama: true` alone is libmemcached's plain one.
    let order = if keys.ketama.is_some() { [Ketama, KetamaWeighted, Modula] } else { [KetamaWeighted, Ketama, Modula] };
    let fits = |candidate: &Distribution| {
        keys.distribution.is_none_or(|given| given == *candidate)
            && keys.ketama.is_none_or(|on| on == (*candidate != Modula))
            && keys.ketama_weighted.is_none_or(|on| on == (*candidate == KetamaWeighted))
    };
    order.into_iter().find(fits).ok_or_else(|| {
        refused("options \"distribution\", \"ketama\" and \"ketama_weighted\" contradict each other: give one of them")
    })
}

/// Applies weights: as in libmemcached, one turns `Ketama` into `KetamaWeighted` (and leaves the hash of keys).
fn with_weights(distribution: Distribution, servers: &[MemcachedServer]) -> Result<Distribution> {
    match distribution {
        Distribution::Modula if has_weights(servers) => {
            Err(refused("the distribution modula knows no weights: leave them out, or take `ketama_weighted`"))
        }
        Distribution::Ketama if has_weights(servers) => Ok(Distribution::KetamaWeighted),
        other => Ok(other),
    }
}

fn usual_hash(distribution: Distribution) -> KeyHash {
    match distribution {
        Distribution::KetamaWeighted => KeyHash::Md5,
        Distribution::Ketama | Distribution::Modula => KeyHash::Default,
    }
}

fn connection(options: &Options) -> ConnectionConfig {
    ConnectionConfig { keepalive: options.keepalive.then_some(options.probes), ..options.connection.clone() }
}

fn tls(options: &Options, section: &Section) -> Result<Option<TlsConfig>> {
    let mut details = TLS_DETAILS.iter().filter_map(|name| section.given(name));
    match details.next() {
        Some(detail) if !options.ssl => Err(refused(format!(
            "option {} is for TLS, which is off: give `ssl: true` or a URL of TLS",
            detail.label()
        ))),
        _ => {
            check_certificate(section)?;
            Ok(options.ssl.then(|| options.tls.clone()))
        }
    }
}

/// Refuses a certificate without its key, and a key without its certificate.
fn check_certificate(section: &Section) -> Result<()> {
    match (section.given("ssl_certfile"), section.given("ssl_keyfile")) {
        (Some(_), None) => section.check_needs("ssl_certfile", "ssl_keyfile"),
        (None, Some(_)) => section.check_needs("ssl_keyfile", "ssl_certfile"),
        _ => Ok(()),
    }
}

/// Refuses a user or a password next to a callback that supplies both.
fn check_credentials(connection: &ConnectionConfig, section: &Section) -> Result<()> {
    if !connection.renews_credentials {
        return Ok(());
    }
    section.check_exclusive(&[("credentials", &["username", "password", "password_file"])])
}

/// Refuses a user without a password, who would go unnoticed: no server takes one.
fn check_user(option: &str, username: Option<&String>, has_password: bool) -> Result<()> {
    match username {
        Some(_) if !has_password => Err(refused(format!("a {option} requires a password: set both"))),
        _ => Ok(()),
    }
}

/// Refuses one of user and password alone: SASL takes both or none.
fn check_sasl(memcached: &MemcachedConfig, connection: &ConnectionConfig, section: &Section) -> Result<()> {
    let has_password = memcached.password.is_some() || memcached.password_file.is_some();
    check_credentials(connection, section)?;
    check_user("username", memcached.username.as_ref(), has_password)?;
    match &memcached.username {
        None if has_password => Err(refused("a password requires a username: set both")),
        _ => Ok(()),
    }
}

fn socket_without_tls() -> crate::error::Error {
    refused("a Unix socket has no TLS: leave out `ssl`")
}
