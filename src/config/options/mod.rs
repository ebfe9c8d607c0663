//! The table of options: parser, validator and reference all read it.

mod connection;
mod memcached;
mod memory;
mod redis;
mod section;
mod tls;

use std::time::Duration;

use super::document::Field;
use super::kind::Kind::{Choice, Count, Flag, Percent, Prefix, Size, Text, Time};
use super::row::{Row, or_variable, row};
use super::{
    BackendConfig, Config, FallbackConfig, MigrationConfig, Secret, SwitchConfig, Variables, notes, refused, wording,
};
use crate::error::Result;
pub(super) use connection::timeouts;
pub(super) use memcached::memcached;
pub(super) use memory::memory;
pub(super) use redis::redis;

/// The longest time accepted, in milliseconds: ten years of 365 days.
const TEN_YEARS: u64 = 3_650 * 86_400_000;
const MIB: u64 = 1 << 20;

// An option is a line: its name (aliases may follow, after spaces), what it takes, its default, and what it means.

#[rustfmt::skip]
const COMMON: &[Row<Config>] = &[
    or_variable("YOKEDCACHE_KEY_PREFIX", row("key_prefix", Prefix(|c| &mut c.key_prefix), "yokedcache", "What every stored name starts with; caches on one server stay apart. On Redis and Memcached a missing prefix causes a warning.")),
    or_variable("YOKEDCACHE_DEFAULT_TTL", row("default_ttl", Time(0..=TEN_YEARS, |c| &mut c.default_ttl), "300s", "The life of an entry set without a TTL; 0: it never expires.")),
    row("ttl_jitter", Percent(|c| &mut c.ttl_jitter), "10%", "How far default TTLs are spread, so that entries set together do not expire together."),
    row("max_value_bytes", Size(1..=512 * MIB, |c| &mut c.max_value_bytes), "8MiB", "The longest value accepted."),
];

#[rustfmt::skip]
const FALLBACK: &[Row<FallbackConfig>] = &[
    row("max_ttl", Time(1..=TEN_YEARS, |f| &mut f.max_ttl), "60s", "The longest life of an entry in the fallback, which does not hear of other processes' invalidations."),
    row("writes", Choice(&[("drop", |f| f.follow = false), ("follow", |f| f.follow = true)]), "drop", "What becomes of keys written meanwhile when the backend is back: it forgets them, or gets what they hold then."),
    row("probe_interval", Time(10..=3_600_000, |f| &mut f.probe_interval), "250ms", "Time between two looks whether the backend is back."),
];

#[rustfmt::skip]
pub(super) const MIGRATION: &[Row<MigrationConfig>] = &[
    row("pattern", Text(|m| &mut m.pattern), "", "Only keys that match this glob."),
    row("rate", Count(0..=1_000_000_000, |m| &mut m.rate), "0", "The most entries a second; 0: no limit."),
    row("dry_run", Flag(|m, on| m.dry_run = on), "false", "Counts what would be copied, and stores nothing."),
    row("resume", Text(|m| &mut m.resume), "", "Goes on where an earlier run was: what its progress told last."),
];

#[rustfmt::skip]
pub(super) const SWITCH: &[Row<SwitchConfig>] = &[
    row("copy", Flag(|s, on| s.copy = on), "false", "Copies what the cache holds before the new backend serves."),
    row("rate", Count(0..=1_000_000_000, |s| &mut s.rate), "0", "The most entries copied a second; 0: no limit."),
];

/// Whether an option of this name is the fallback's own, and not its backend's.
pub(super) fn is_of_fallback(name: &str) -> bool {
    FALLBACK.iter().flat_map(Row::names).any(|known| known == name)
}

/// How a fallback stands in.
pub(super) fn fill_fallback(fallback: &mut FallbackConfig, mut fields: Vec<Field>) -> Result<()> {
    fields.retain(|field| !field.is_null());
    fill(fallback, FALLBACK, &fields, &|_| None)
}

/// Options that are a document of their own.
pub(super) fn fill_alone<T: Clone + PartialEq>(
    target: &mut T,
    rows: &'static [Row<T>],
    mut fields: Vec<Field>,
) -> Result<()> {
    check_names(&fields, &names_of(rows).collect::<Names>())?;
    fields.retain(|field| !field.is_null());
    fill(target, rows, &fields, &|_| None)
}

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
        names_of(FALLBACK).collect(),
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
        lines(FALLBACK, "fallback"),
        lines(MIGRATION, "of a migration"),
        lines(SWITCH, "of a switch"),
    ]
    .concat()
}

fn lines<T: Clone + PartialEq>(rows: &[Row<T>], section: &str) -> String {
    rows.iter().map(|row| row.line(section)).collect()
}

#[rustfmt::skip]
fn common(backend: BackendConfig, fields: &[Field], variables: Variables) -> Result<Config> {
    let notes = notes::of(&backend, fields, variables);
    let mut config = Config { key_prefix: String::new(), default_ttl: Duration::ZERO, ttl_jitter: 0.0, max_value_bytes: 0, backend, fallback: None, notes };
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
