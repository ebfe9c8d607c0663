//! The options of the memory backend.

use std::time::Duration;

use super::{TEN_YEARS, common, fill};
use crate::config::document::Field;
use crate::config::kind::Kind::*;
use crate::config::row::{Row, row};
use crate::config::{BackendConfig, Config, MemoryConfig, Variables};
use crate::error::Result;

/// Entries are numbered with 32 bits.
const MAX_ENTRIES: u64 = 4_000_000_000;
const PIB: u64 = 1 << 50;

#[rustfmt::skip]
pub(super) const MEMORY: &[Row<MemoryConfig>] = &[
    row("max_size", Count(0..=MAX_ENTRIES, |m| &mut m.max_size), "10000", "Entries kept at most; the least recently used go first. 0: no limit, so that `max_bytes` alone limits the store."),
    row("max_bytes", Size(0..=PIB, |m| &mut m.max_bytes), "0", "Bytes kept at most, keys included; 0: no bound."),
    row("cleanup_interval", Time(0..=TEN_YEARS, |m| &mut m.cleanup_interval), "60s", "Time between two sweeps of expired entries; 0: never sweeps."),
];

/// The configuration of a memory backend: its section's fields, else the variables, else the defaults.
pub(in crate::config) fn memory(mut fields: Vec<Field>, variables: Variables) -> Result<Config> {
    super::check_names(&fields, &names())?;
    fields.retain(|field| !field.is_null());
    let mut memory = MemoryConfig { max_size: 0, max_bytes: 0, cleanup_interval: Duration::ZERO };
    fill(&mut memory, MEMORY, &fields, variables)?;
    common(BackendConfig::Memory(memory), &fields, variables)
}

fn names() -> super::Names {
    super::names_of(super::COMMON).chain(super::names_of(MEMORY)).collect()
}
