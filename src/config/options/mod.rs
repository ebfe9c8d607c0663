//! The table of options: parser, validator and reference all read it.

mod connection;
mod memcached;
mod memory;
mod redis;
mod section;
mod tls;

use std::time::Duration;

use super::document::Field;
use super::kind::Kind::{Percent, Prefix, Size, Time};
use super::row::{Row, or_variable, row};
use super::{BackendConfig, Config, Secret, Variables, refused, wording};
use crate::error::Result;
pub(super) use memcached::memcached;
pub(super) use memory::memory;
pub(super) use redis::redis;

/// The longest time accepted, in milliseconds: ten years of 365 days.
const TEN_YEARS: u64 = 3_650 * 86_400_000;
const MIB: u64 = 1 << 20;

// An option is a line: its name (aliases may follow, after spaces), what it takes, its default, and what it means.

#[rustfmt::skip]
const COMMON: &[Row<Config>] = &[
    or_variable("YOKEDCACHE_KEY_PREFIX", row("key_prefix", Prefix(|c| &mut c.key_prefix), "yokedcache", "What every stored name starts with; caches on one server stay apart.")),
    or_variable("YOKEDCACHE_DEFAULT_TTL", row("default_ttl", Time(0..=TEN_YEARS, |c| &mut c.default_ttl), "300s", "The life of an entry set without a TTL; 0: it never expires.")),
    row("ttl_jitter", Percent(|c| &mut c.ttl_jitter), "10%", "How far default TTLs are spread, so that entries set together do not expire together."),
    row("max_value_bytes", Size(1..=512 * MIB, |c| &mut c.max_value_bytes), "8MiB", "The longest value accepted."),
];

/// The names of some options, each with its aliases after spaces.
type Names = Vec<&'static str>;

/// Every name of every option.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let tables = [
        names_of(COMMON).collect(),
        names_of(memory::MEMORY).collect(),
        names_of(redis::REDIS).collect(),
        names_of(memcached::MEMCACHED).collect(),
        names_of(tls::TLS).collect(),
        names_of(connection::CONNECTION).collect::<Names>(),
    ];
    tables.into_iter().flatten().flat_map(|names| names.split(' '))
}

/// The table as Markdown, for the README.
pub fn reference() -> String {
    const BOTH: &str = "redis, memcached";
    [
        "| option | section | takes | default | variable | meaning |\n|---|---|---|---|---|---|\n".to_owned(),
        lines(COMMON, "every"),
        lines(memory::MEMORY, "memory"),
        lines(redis::REDIS, "redis"),
        lines(memcached::MEMCACHED, "memcached"),
        lines(tls::TLS, BOTH),
        lines(connection::CONNECTION, BOTH),
    ]
    .concat()
}

fn lines<T: Clone + PartialEq>(rows: &[Row<T>], section: &str) -> String {
    rows.iter().map(|row| row.line(section)).collect()
}

#[rustfmt::skip]
fn common(backend: BackendConfig, fields: &[Field], variables: Variables) -> Result<Config> {
    let mut config = Config { key_prefix: String::new(), default_ttl: Duration::ZERO, ttl_jitter: 0.0, max_value_bytes: 0, backend };
    fill(&mut config, COMMON, fields, variables)?;
    Ok(config)
}

fn names_of<T>(rows: &'static [Row<T>]) -> impl Iterator<Item = &'static str> {
    rows.iter().map(Row::all_names)
}

fn check_names(fields: &[Field], names: &[&'static str]) -> Result<()> {
    let known = || names.iter().flat_map(|names| names.split(' '));
    let Some(field) = fields.iter().find(|field| known().all(|name| name != field.name)) else { return Ok(()) };
    let hint = wording::did_you_mean(&field.name, known());
    Err(refused(format!("option {} is unknown{hint}", field.doubtful_label())))
}

fn fill<T: Clone + PartialEq>(target: &mut T, rows: &[Row<T>], fields: &[Field], variables: Variables) -> Result<()> {
    rows.iter().try_for_each(|row| row.fill(target, fields, variables))
}

/// A user without a password would go unnoticed: no server takes one.
fn check_user(option: &str, username: Option<&String>, password: Option<&Secret>) -> Result<()> {
    match (username, password) {
        (Some(_), None) => Err(refused(format!("a {option} takes a password beside it"))),
        _ => Ok(()),
    }
}
