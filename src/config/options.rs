//! The table of options: parser, validator and reference all read it.

use std::time::Duration;

use super::document::Field;
use super::row::{Kind::*, Row, or_variable, row};
use super::{BackendConfig, Config, MemoryConfig, Variables, refused, wording};
use crate::error::Result;

/// The longest time accepted, in milliseconds: ten years of 365 days.
const TEN_YEARS: u64 = 3_650 * 86_400_000;
/// Entries are numbered with 32 bits.
const MAX_ENTRIES: u64 = 4_000_000_000;
const MIB: u64 = 1 << 20;
const PIB: u64 = 1 << 50;

// An option is a line: its name (aliases may follow, after spaces), what it takes, its default, and what it means.

#[rustfmt::skip]
const COMMON: &[Row<Config>] = &[
    or_variable("YOKEDCACHE_KEY_PREFIX", row("key_prefix", Prefix(|c| &mut c.key_prefix), "yokedcache", "What every stored name starts with; caches on one server stay apart.")),
    or_variable("YOKEDCACHE_DEFAULT_TTL", row("default_ttl", Time(0..=TEN_YEARS, |c| &mut c.default_ttl), "300s", "The life of an entry set without a TTL; 0: it never expires.")),
    row("ttl_jitter", Percent(|c| &mut c.ttl_jitter), "10%", "How far default TTLs are spread, so that entries set together do not expire together."),
    row("max_value_bytes", Size(1..=512 * MIB, |c| &mut c.max_value_bytes), "8MiB", "The longest value accepted."),
];

#[rustfmt::skip]
const MEMORY: &[Row<MemoryConfig>] = &[
    row("max_size", Count(1..=MAX_ENTRIES, |m| &mut m.max_size), "10000", "Entries kept at most; the least recently used go first."),
    row("max_bytes", Size(0..=PIB, |m| &mut m.max_bytes), "0", "Bytes kept at most, keys included; 0: no bound."),
    row("cleanup_interval", Time(0..=TEN_YEARS, |m| &mut m.cleanup_interval), "60s", "Time between two sweeps of expired entries; 0: never sweeps."),
];

/// Every name of every option.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    row_names(COMMON).chain(row_names(MEMORY))
}

/// The table as Markdown, for the README.
pub fn reference() -> String {
    let title = "| option | section | takes | default | variable | meaning |\n|---|---|---|---|---|---|\n";
    let lines = COMMON.iter().map(|row| row.line("every")).chain(MEMORY.iter().map(|row| row.line("memory")));
    title.to_owned() + &lines.collect::<String>()
}

/// The configuration of a memory backend: its section's fields, else the variables, else the defaults.
pub(super) fn memory(fields: &[Field], variables: Variables) -> Result<Config> {
    check_names(fields, MEMORY)?;
    let mut memory = MemoryConfig { max_size: 0, max_bytes: 0, cleanup_interval: Duration::ZERO };
    fill(&mut memory, MEMORY, fields, variables)?;
    common(BackendConfig::Memory(memory), fields, variables)
}

#[rustfmt::skip]
fn common(backend: BackendConfig, fields: &[Field], variables: Variables) -> Result<Config> {
    let mut config = Config { key_prefix: String::new(), default_ttl: Duration::ZERO, ttl_jitter: 0.0, max_value_bytes: 0, backend };
    fill(&mut config, COMMON, fields, variables)?;
    Ok(config)
}

fn check_names<T: 'static>(fields: &[Field], section: &'static [Row<T>]) -> Result<()> {
    let known = || row_names(COMMON).chain(row_names(section));
    let Some(field) = fields.iter().find(|field| known().all(|name| name != field.name)) else { return Ok(()) };
    let hint = wording::did_you_mean(&field.name, known());
    Err(refused(format!("option {} is unknown{hint}", field.label())))
}

fn row_names<T: 'static>(rows: &'static [Row<T>]) -> impl Iterator<Item = &'static str> {
    rows.iter().flat_map(Row::names)
}

fn fill<T>(target: &mut T, rows: &[Row<T>], fields: &[Field], variables: Variables) -> Result<()> {
    rows.iter().try_for_each(|row| row.fill(target, fields, variables))
}
