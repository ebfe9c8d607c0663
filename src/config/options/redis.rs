//! The options of the Redis backend, and the servers they stand for.

use std::path::PathBuf;
use std::time::Duration;

use super::section::{Section, Shape};
use super::{COMMON, check_user, common, connection, fill, names_of, tls};
use crate::config::document::Field;
use crate::config::kind::Kind::{
    Addresses, Choice, Flag, Group, Host, Path, Port, Secret as Password, SmallCount, Text, Time, Url,
};
use crate::config::row::{Row, or_variable, row};
use crate::config::{
    Address, BackendConfig, Config, ConnectionConfig, OnRestart, RedisConfig, RedisTopology, Secret, TlsConfig,
    Variables, refused,
};
use crate::error::Result;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What the rows fill.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Options {
    host: String,
    port: u16,
    socket: Option<PathBuf>,
    cluster: Option<bool>,
    nodes: Vec<Address>,
    sentinels: Vec<Address>,
    master: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<Secret>,
    db: u32,
    username: Option<String>,
    password: Option<Secret>,
    replica_reads: bool,
    tag_index: bool,
    replay_window: Duration,
    on_restart: OnRestart,
    invalidation_replicas: u32,
}

#[rustfmt::skip]
pub(super) const REDIS: &[Row<Options>] = &[
    or_variable("REDIS_URL", row("url redis_url", Url("rediss://user:password@host:6379/0"), "", "Schemes: `redis`, `rediss` (TLS), `redis+unix`, `unix`, `redis+sentinel`, `redis+cluster`, and the last two with `rediss`; `valkey` stands for `redis` in each. An option may also be given together with it if both say the same. The variable is used if nothing else names a server.")),
    row("host", Host(|r| &mut r.host), "localhost", "The server."),
    row("port", Port(|r| &mut r.port), "6379", "Its port."),
    row("socket_path unix_socket_path", Path(|r| &mut r.socket), "", "The server's Unix socket, in place of host and port."),
    row("cluster", Flag(|r, on| r.cluster = Some(on)), "", "`true`: the servers are a cluster, which is found from `nodes`, or from host and port. `false`: a server that is a node of a cluster is refused. Without it the library asks the server."),
    row("nodes", Addresses(REDIS_PORT, |r| &mut r.nodes), "", "Some nodes of a cluster."),
    row("sentinels", Addresses(SENTINEL_PORT, |r| &mut r.sentinels), "", "Sentinels that know the master, in place of host and port; their default port is 26379."),
    row("sentinel_master master_name", Text(|r| &mut r.master), "", "What the sentinels call the master."),
    row("sentinel_username", Text(|r| &mut r.sentinel_username), "", "The ACL user at the sentinels."),
    row("sentinel_password", Password(|r| &mut r.sentinel_password), "", "The password at the sentinels."),
    row("db", SmallCount(0..=0x7fff_ffff, |r| &mut r.db), "0", "The database; a cluster has 0 alone."),
    row("username", Text(|r| &mut r.username), "", "The ACL user; it takes a password beside it."),
    row("password", Password(|r| &mut r.password), "", "The password."),
    row("replica_reads read_from_replicas", Flag(|r, on| r.replica_reads = on), "false", "Reads may go to replicas, which may be behind; for a cluster or sentinels."),
    row("tag_index", Flag(|r, on| r.tag_index = on), "false", "Keeps for each tag an index of its keys."),
    row("replay_window", Time(0..=3_600_000, |r| &mut r.replay_window), "60s", "The time that a process remembers its invalidations, deletes and flushes. When a server restarts or is replaced, the process replays them before it reads. `0`: nothing is remembered."),
    row("on_restart", Choice(&[("replay", |r| r.on_restart = OnRestart::Replay), ("renew", |r| r.on_restart = OnRestart::Renew)]), "replay", "`renew` empties the whole prefix when a server restarts or is replaced, once for all processes."),
    row("invalidation_replicas", SmallCount(0..=100, |r| &mut r.invalidation_replicas), "0", "The number of replicas that have to receive an invalidation, a delete or a flush before it is reported as done; `YC_E_TIMEOUT` if they do not."),
    row("connection_pool_kwargs", Group(&[]), "", "The options in it count as the section's own."),
];

/// The options that name a server.
const SERVERS: &[&str] = &["host", "port", "socket_path", "nodes", "sentinels", "sentinel_master"];

/// Ways to name servers that exclude others.
const EXCLUSIVE: &[(&str, &[&str])] = &[
    ("socket_path", &["host", "port", "nodes", "sentinels"]),
    ("nodes", &["host", "port", "sentinels"]),
    ("sentinels", &["host", "port"]),
];

/// The configuration of a Redis backend: its section's fields, else the variables, else the defaults.
pub(in crate::config) fn redis(fields: Vec<Field>, variables: Variables) -> Result<Config> {
    let section = Section::read(shape(), fields, variables, check_alone)?;
    let fields = &section.fields;
    let (mut options, mut tls, mut connection) = (Options::default(), tls::UNFILLED, connection::UNFILLED);
    fill(&mut options, REDIS, fields, variables)?;
    fill(&mut tls, tls::TLS, fields, variables)?;
    fill(&mut connection, connection::CONNECTION, fields, variables)?;
    let redis = config(options, tls::config(tls, &section)?, connection::config(connection), &section)?;
    common(BackendConfig::Redis(redis), fields, variables)
}

fn shape() -> Shape {
    let names =
        names_of(COMMON).chain(names_of(REDIS)).chain(names_of(tls::TLS)).chain(names_of(connection::CONNECTION));
    Shape {
        backend: "redis",
        names: names.collect(),
        url: &["url", "redis_url"],
        groups: &[("connection_pool_kwargs", &[])],
        variable: Some("REDIS_URL"),
        servers: SERVERS,
    }
}

/// Whether each of the fields is well by itself.
fn check_alone(fields: &[Field]) -> Result<()> {
    let nothing = &|_: &str| None;
    fill(&mut Options::default(), REDIS, fields, nothing)?;
    fill(&mut tls::UNFILLED.clone(), tls::TLS, fields, nothing)?;
    fill(&mut connection::UNFILLED.clone(), connection::CONNECTION, fields, nothing)
}

fn config(
    options: Options,
    tls: Option<TlsConfig>,
    connection: ConnectionConfig,
    section: &Section,
) -> Result<RedisConfig> {
    section.check_exclusive(EXCLUSIVE)?;
    check_user("username", options.username.as_ref(), options.password.as_ref())?;
    Ok(RedisConfig {
        topology: topology(&options, tls.is_some(), section)?,
        single_only: options.cluster == Some(false),
        db: options.db,
        username: options.username,
        password: options.password,
        tls,
        replica_reads: options.replica_reads,
        tag_index: options.tag_index,
        replay_window: options.replay_window,
        on_restart: options.on_restart,
        invalidation_replicas: options.invalidation_replicas,
        connection,
    })
}

fn topology(options: &Options, tls: bool, section: &Section) -> Result<RedisTopology> {
    if options.cluster == Some(true) {
        return cluster(options, section);
    }
    section.check_needs("nodes", "`cluster: true`")?;
    if !options.sentinels.is_empty() {
        return sentinel(options);
    }
    for option in ["sentinel_master", "sentinel_username", "sentinel_password"] {
        section.check_needs(option, "sentinels")?;
    }
    if options.replica_reads {
        section.check_needs("replica_reads", "a cluster or sentinels, which know the replicas,")?;
    }
    single(options, tls).map(RedisTopology::Single)
}

fn cluster(options: &Options, section: &Section) -> Result<RedisTopology> {
    section.check_exclusive(&[("cluster", &["socket_path", "sentinels", "sentinel_master"])])?;
    if options.db != 0 {
        return Err(refused("a cluster has the database 0 alone: leave out `db`"));
    }
    let nodes = if options.nodes.is_empty() { vec![server(options)] } else { options.nodes.clone() };
    Ok(RedisTopology::Cluster(nodes))
}

fn sentinel(options: &Options) -> Result<RedisTopology> {
    check_user("sentinel_username", options.sentinel_username.as_ref(), options.sentinel_password.as_ref())?;
    let master = options.master.clone();
    Ok(RedisTopology::Sentinel {
        sentinels: options.sentinels.clone(),
        master: master.ok_or_else(|| {
            refused("sentinels take the name of the master: give `sentinel_master`, or the name as the URL's path")
        })?,
        username: options.sentinel_username.clone(),
        password: options.sentinel_password.clone(),
    })
}

fn single(options: &Options, tls: bool) -> Result<Address> {
    match &options.socket {
        Some(_) if tls => Err(refused("a Unix socket has no TLS: leave out `ssl`")),
        Some(path) => Ok(Address::Unix(path.clone())),
        None => Ok(server(options)),
    }
}

fn server(options: &Options) -> Address {
    Address::Tcp { host: options.host.clone(), port: options.port }
}
