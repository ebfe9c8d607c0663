//! The bounds of a memory store, shared by its shards: `max_size` entries and `max_bytes`.
//!
//! A place is taken before an entry goes in, so the bounds hold at any time;
//! a full store passes a place on from the evicted entry to the new one
//! without a write here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, ErrorKind, Result};

pub(super) struct Room {
    max_entries: u64,
    entries: AtomicU64,
    max_bytes: Option<u64>,
    bytes: AtomicU64,
}

impl Room {
    /// Creates the bounds. `max_bytes` 0 is no bound.
    pub(super) fn new(max_entries: u64, max_bytes: u64) -> Self {
        let max_bytes = Some(max_bytes).filter(|max| *max > 0);
        Self { max_entries, entries: AtomicU64::new(0), max_bytes, bytes: AtomicU64::new(0) }
    }

    /// Returns true if there is a bound in bytes.
    pub(super) fn bounds_bytes(&self) -> bool {
        self.max_bytes.is_some()
    }

    /// Rejects an entry that an empty store could not hold.
    pub(super) fn check_fits(&self, cost: usize) -> Result<()> {
        match self.max_bytes {
            Some(max) if cost as u64 > max => Err(too_large(cost, max)),
            _ => Ok(()),
        }
    }

    /// Takes a place for one more entry.
    pub(super) fn take_place(&self) -> bool {
        let more = |taken| (taken < self.max_entries).then_some(taken + 1);
        self.entries.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Releases places.
    pub(super) fn give_places(&self, count: usize) {
        self.entries.fetch_sub(count as u64, Relaxed);
    }

    /// Reserves bytes if they are free. Always succeeds without a bound.
    pub(super) fn take_bytes(&self, count: usize) -> bool {
        let Some(max) = self.max_bytes else { return true };
        let more = |taken: u64| Some(taken + count as u64).filter(|taken| *taken <= max);
        self.bytes.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Releases bytes.
    pub(super) fn give_bytes(&self, count: usize) {
        if self.max_bytes.is_some() {
            self.bytes.fetch_sub(count as u64, Relaxed);
        }
    }
}

#[cold]
fn too_large(cost: usize, max: u64) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the entry takes {cost} bytes and max_bytes is {max}; raise max_bytes"))
}
