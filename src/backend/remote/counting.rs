//! Counters of events.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::backend::Counters;

/// Counters that many threads add to.
#[derive(Default)]
pub struct Counting {
    hits: AtomicU64,
    misses: AtomicU64,
    sets: AtomicU64,
    deletes: AtomicU64,
    decode_errors: AtomicU64,
}

impl Counting {
    /// Reads that found their key, or did not.
    pub fn reads(&self, hits: u64, misses: u64) {
        add(&self.hits, hits);
        add(&self.misses, misses);
    }

    /// Entries stored.
    pub fn sets(&self, sets: u64) {
        add(&self.sets, sets);
    }

    /// Keys deleted that were there.
    pub fn deletes(&self, deletes: u64) {
        add(&self.deletes, deletes);
    }

    /// Stored bytes that are no entry of their name.
    pub fn decode_error(&self) {
        add(&self.decode_errors, 1);
    }

    /// So far.
    pub fn read(&self) -> Counters {
        Counters {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            sets: self.sets.load(Relaxed),
            deletes: self.deletes.load(Relaxed),
            decode_errors: self.decode_errors.load(Relaxed),
            ..Counters::default()
        }
    }
}

fn add(counter: &AtomicU64, number: u64) {
    if number > 0 {
        counter.fetch_add(number, Relaxed);
    }
}
