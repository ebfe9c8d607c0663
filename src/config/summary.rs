//! The summary of a configuration, for people: every option that is used, and never a password.

use serde_json::{Map, Value as Json, json};

use super::option::{FallbackOptions, Kind, MemcachedKeys, Options, RedisServers, Row, Scope};
use super::table;
use super::types::{
    Address, BackendConfig, Config, ConnectionConfig, FallbackConfig, MemcachedConfig, NearConfig, RedisConfig,
    RedisTopology, TlsConfig,
};
use crate::util::millis;

/// The members of a JSON object.
type Members = Map<String, Json>;

impl Config {
    /// Returns the configuration as one JSON object: the backend, its servers, and the options by their names, times in
    /// milliseconds (`_ms`). A password is shown as `true`.
    pub fn summary(&self) -> Json {
        let mut options = Options {
            key_prefix: self.key_prefix.clone(),
            default_ttl: self.default_ttl,
            ttl_jitter: self.ttl_jitter,
            generations: self.generations,
            tag_names: self.tag_names,
            patterns: self.patterns,
            max_value_bytes: self.max_value_bytes,
            loading: self.loading.clone(),
            ..Options::default()
        };
        let mut summary = backend(&self.backend);
        summary.extend(shown(table::with_scope(&[Scope::Every]), &mut options));
        summary.insert("near".to_owned(), json!(self.near.as_ref().map(near)));
        summary.insert("fallback".to_owned(), json!(self.fallback.as_deref().map(fallback)));
        summary.insert("notes".to_owned(), json!(self.notes));
        Json::Object(summary)
    }
}

fn near(config: &NearConfig) -> Members {
    let mut options = Options { near: config.clone(), ..Options::default() };
    shown(table::with_scope(&[Scope::Near]), &mut options).collect()
}

fn fallback(config: &FallbackConfig) -> Members {
    let FallbackConfig { max_ttl, follow, probe_interval, .. } = *config;
    let mut options = Options { fallback: FallbackOptions { max_ttl, follow, probe_interval }, ..Options::default() };
    let mut summary = backend(&config.backend);
    summary.extend(shown(table::with_scope(&[Scope::Fallback]), &mut options));
    summary.insert("key_prefix".to_owned(), json!(config.key_prefix));
    summary
}

fn backend(config: &BackendConfig) -> Members {
    let (servers, mut options) = match config {
        BackendConfig::Memory(memory) => (Vec::new(), Options { memory: memory.clone(), ..Options::default() }),
        BackendConfig::Redis(config) => (redis_servers(&config.topology), redis(config)),
        BackendConfig::Memcached(config) => {
            (names(config.servers.iter().map(|server| &server.address)), memcached(config))
        }
    };
    let is_sentinel = options.redis_servers.master.is_some();
    let ssl = options.ssl;
    let rows = table::of_backend(config.name()).filter(|row| match row.name() {
        // It is among the servers.
        "socket_path" => false,
        name if name.starts_with("sentinel_") => is_sentinel,
        name if name.starts_with("ssl_") => ssl,
        _ => true,
    });
    let mut summary: Members = shown(rows, &mut options).collect();
    summary.insert("backend".to_owned(), json!(config.name().text()));
    summary.insert("servers".to_owned(), json!(servers));
    match config {
        BackendConfig::Memory(_) => {}
        BackendConfig::Redis(config) => {
            summary.insert("topology".to_owned(), json!(topology(&config.topology)));
        }
        BackendConfig::Memcached(config) => {
            let events = config.events.as_deref().map(|events| backend(&BackendConfig::Redis(events.clone())));
            summary.insert("events".to_owned(), json!(events));
        }
    }
    summary
}

/// Returns the options that a Redis configuration came from, as far as the summary shows them.
fn redis(config: &RedisConfig) -> Options {
    let redis_servers = match config.topology.clone() {
        RedisTopology::Sentinel { master, username, password, .. } => RedisServers {
            master: Some(master),
            sentinel_username: username,
            sentinel_password: password,
            ..RedisServers::default()
        },
        RedisTopology::Single(_) | RedisTopology::Cluster(_) => RedisServers::default(),
    };
    Options { redis: config.clone(), redis_servers, ..remote(config.tls.as_ref(), &config.connection) }
}

/// Returns the options that a Memcached configuration came from, as far as the summary shows them.
fn memcached(config: &MemcachedConfig) -> Options {
    let keys = MemcachedKeys {
        weights: config.servers.iter().map(|server| server.weight).collect(),
        distribution: Some(config.distribution),
        hash: Some(config.hash),
        ..MemcachedKeys::default()
    };
    Options { memcached: config.clone(), keys, ..remote(config.tls.as_ref(), &config.connection) }
}

fn remote(tls: Option<&TlsConfig>, connection: &ConnectionConfig) -> Options {
    Options {
        ssl: tls.is_some(),
        tls: tls.cloned().unwrap_or_default(),
        keepalive: connection.keepalive.is_some(),
        connection: connection.clone(),
        ..Options::default()
    }
}

fn topology(topology: &RedisTopology) -> &'static str {
    match topology {
        RedisTopology::Single(_) => "single",
        RedisTopology::Cluster(_) => "cluster",
        RedisTopology::Sentinel { .. } => "sentinel",
    }
}

fn redis_servers(topology: &RedisTopology) -> Vec<String> {
    match topology {
        RedisTopology::Single(address) => names([address]),
        RedisTopology::Cluster(nodes) => names(nodes),
        RedisTopology::Sentinel { sentinels, .. } => names(sentinels),
    }
}

fn names<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Vec<String> {
    addresses.into_iter().map(ToString::to_string).collect()
}

/// Returns the names and values of options.
fn shown(rows: impl Iterator<Item = &'static Row>, options: &mut Options) -> impl Iterator<Item = (String, Json)> {
    rows.filter_map(|row| {
        let unit = if matches!(row.kind, Kind::Time(..)) { "_ms" } else { "" };
        Some((format!("{}{unit}", row.name()), value(&row.kind, options)?))
    })
}

/// Returns the value of an option; `None` for one that stands for others, or that the servers show.
fn value(kind: &Kind, options: &mut Options) -> Option<Json> {
    match kind {
        Kind::Time(_, field) => Some(json!(millis(*field(options)))),
        Kind::Size(_, field) | Kind::Count(_, field) => Some(json!(field(options))),
        Kind::SmallCount(_, field) => Some(json!(field(options))),
        Kind::Percent(field) => Some(json!(field(options))),
        Kind::Prefix(field) => Some(json!(field(options))),
        Kind::Flag(field) => Some(json!(field(options))),
        Kind::Text(field) => Some(json!(field(options))),
        Kind::Password(field) => Some(json!(field(options).is_some())),
        Kind::Path(field) => Some(json!(field(options).as_ref().map(|path| path.display().to_string()))),
        Kind::Weights(field) => Some(json!(field(options))),
        Kind::Choice(choices) => {
            choices.iter().find(|(_, store)| is_stored(*store, options)).map(|(word, _)| json!(word))
        }
        Kind::Seconds(..)
        | Kind::MaybeTime(..)
        | Kind::Name(_)
        | Kind::Texts(_)
        | Kind::Maybe(_)
        | Kind::Host(_)
        | Kind::Port(_)
        | Kind::Addresses(..)
        | Kind::Servers(_)
        | Kind::Rows(_)
        | Kind::Url(_)
        | Kind::Group(_) => None,
    }
}

/// Returns true if a word of a choice is the one that the options hold: storing it changes nothing.
fn is_stored(store: fn(&mut Options), options: &Options) -> bool {
    let mut changed = options.clone();
    store(&mut changed);
    changed == *options
}
