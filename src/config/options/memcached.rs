//! The options of the Memcached backend, and what they mean together.

use super::section::{Section, Shape};
use super::{COMMON, check_user, common, connection, fill, names_of, tls};
use crate::config::document::Field;
use crate::config::kind::Choices;
use crate::config::kind::Kind::{Choice, Flag, Group, Secret as Password, Servers, Text, Url, Weights};
use crate::config::row::{Row, row};
use crate::config::{
    Address, BackendConfig, Config, ConnectionConfig, Distribution, Failover, KeyHash, MemcachedConfig,
    MemcachedServer, Secret, TlsConfig, Variables, refused,
};
use crate::error::Result;

/// What the rows fill.
#[derive(Clone, PartialEq)]
pub(super) struct Options {
    servers: Vec<MemcachedServer>,
    weights: Vec<u32>,
    distribution: Option<Distribution>,
    ketama: Option<bool>,
    ketama_weighted: Option<bool>,
    hash: Option<KeyHash>,
    failover: Failover,
    binary: bool,
    username: Option<String>,
    password: Option<Secret>,
}

/// Options before the rows fill them.
const UNFILLED: Options = Options {
    servers: Vec::new(),
    weights: Vec::new(),
    distribution: None,
    ketama: None,
    ketama_weighted: None,
    hash: None,
    failover: Failover::None,
    binary: false,
    username: None,
    password: None,
};

const DISTRIBUTION: Choices<Options> = &[
    ("ketama_weighted", |m| m.distribution = Some(Distribution::KetamaWeighted)),
    ("ketama", |m| m.distribution = Some(Distribution::Ketama)),
    ("modula", |m| m.distribution = Some(Distribution::Modula)),
];

const HASH: Choices<Options> =
    &[("md5", |m| m.hash = Some(KeyHash::Md5)), ("default", |m| m.hash = Some(KeyHash::Default))];

const FAILOVER: Choices<Options> =
    &[("none", |m| m.failover = Failover::None), ("eject", |m| m.failover = Failover::Eject)];

/// The behaviors of libmemcached that there are here.
const BEHAVIORS: &[&str] = &["ketama", "ketama_weighted", "distribution", "hash", "tcp_nodelay"];

#[rustfmt::skip]
pub(super) const MEMCACHED: &[Row<Options>] = &[
    row("url", Url("memcached://host1:11211,host2:11211"), "", "Schemes: `memcached`, `memcacheds` (TLS), `memcached+unix`. An option may also stand beside it if both say the same."),
    row("servers", Servers(|m| &mut m.servers), "localhost:11211", "The servers; the default port is 11211, the default weight 1."),
    row("weights", Weights(|m| &mut m.weights), "", "The servers' weights in their order, for URLs: `?weights=3,1`."),
    row("distribution", Choice(DISTRIBUTION), "", "How keys are distributed among servers, as libmemcached does it. Without it `ketama_weighted`, which is libketama's; or what `ketama` and `ketama_weighted` say. `ketama` with a weight over 1 has weighted points."),
    row("ketama", Flag(|m, on| m.ketama = Some(on)), "", "libmemcached's behavior: consistent, or `modula`."),
    row("ketama_weighted", Flag(|m, on| m.ketama_weighted = Some(on)), "", "libmemcached's behavior: consistent with weights, or `ketama`."),
    row("hash", Choice(HASH), "", "The hash of a key that chooses its server; `default` is one-at-a-time. Without it `md5` for `ketama_weighted` and `default` for the others, as in libmemcached."),
    row("failover", Choice(FAILOVER), "none", "The keys of a server that is down fail, or go to the servers left."),
    row("binary", Flag(|m, on| m.binary = on), "false", "Speaks the binary protocol, not the meta protocol."),
    row("username", Text(|m| &mut m.username), "", "The SASL user; it takes a password beside it."),
    row("password", Password(|m| &mut m.password), "", "The password; it takes a user beside it."),
    row("behaviors", Group(BEHAVIORS), "", "The options in it count as the section's own."),
];

/// The configuration of a Memcached backend: its section's fields, else the variables, else the defaults.
pub(in crate::config) fn memcached(fields: Vec<Field>, variables: Variables) -> Result<Config> {
    let section = Section::read(shape(), fields, variables, |_| Ok(()))?;
    let fields = &section.fields;
    let (mut options, mut tls, mut connection) = (UNFILLED, tls::UNFILLED, connection::UNFILLED);
    fill(&mut options, MEMCACHED, fields, variables)?;
    fill(&mut tls, tls::TLS, fields, variables)?;
    // Its variable is Redis's.
    fill(&mut connection, connection::CONNECTION, fields, &|_| None)?;
    let memcached = config(options, tls::config(tls, &section)?, connection::config(connection))?;
    common(BackendConfig::Memcached(memcached), fields, variables)
}

fn shape() -> Shape {
    let names = names_of(COMMON).chain(names_of(MEMCACHED)).chain(names_of(tls::TLS));
    Shape {
        backend: "memcached",
        names: names.chain(names_of(connection::CONNECTION)).collect(),
        url: &["url"],
        groups: &[("behaviors", BEHAVIORS)],
        variable: None,
        servers: &[],
    }
}

fn config(options: Options, tls: Option<TlsConfig>, connection: ConnectionConfig) -> Result<MemcachedConfig> {
    check_credentials(&options)?;
    let servers = weighted(options.servers.clone(), &options.weights)?;
    if tls.is_some() && servers.iter().any(|server| matches!(server.address, Address::Unix(_))) {
        return Err(refused("a Unix socket has no TLS: leave out `ssl`"));
    }
    let chosen = distribution(&options)?;
    Ok(MemcachedConfig {
        distribution: with_weights(chosen, &servers)?,
        servers,
        hash: options.hash.unwrap_or_else(|| usual_hash(chosen)),
        failover: options.failover,
        binary: options.binary,
        username: options.username,
        password: options.password,
        tls,
        connection,
    })
}

/// SASL takes both or none.
fn check_credentials(options: &Options) -> Result<()> {
    check_user("username", options.username.as_ref(), options.password.as_ref())?;
    match (&options.username, &options.password) {
        (None, Some(_)) => Err(refused("a password takes a username beside it")),
        _ => Ok(()),
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

/// The one distribution that fits all that is given; libmemcached's own default is of no use, since nearly every key
/// moves when its number of servers changes.
fn distribution(options: &Options) -> Result<Distribution> {
    use Distribution::{Ketama, KetamaWeighted, Modula};
    // `ketama: true` alone is libmemcached's plain one.
    let order =
        if options.ketama.is_some() { [Ketama, KetamaWeighted, Modula] } else { [KetamaWeighted, Ketama, Modula] };
    let fits = |candidate: &Distribution| {
        options.distribution.is_none_or(|given| given == *candidate)
            && options.ketama.is_none_or(|on| on == (*candidate != Modula))
            && options.ketama_weighted.is_none_or(|on| on == (*candidate == KetamaWeighted))
    };
    order.into_iter().find(fits).ok_or_else(|| {
        refused("options \"distribution\", \"ketama\" and \"ketama_weighted\" contradict each other: give one of them")
    })
}

/// As in libmemcached, a weight turns `Ketama` into `KetamaWeighted` (and leaves the hash of keys).
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
