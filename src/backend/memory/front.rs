//! Copies of entries of another store, in front of it: the part of a near cache that keeps them.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use super::loading::{End, Kept};
use super::shard::Read;
use super::store::Store;
use super::sweeper::Sweeper;
use crate::backend::{Hit, Patterns, Usage};
use crate::config::{Eviction, NearConfig};
use crate::util::clock::{Created, Deadline, Times};
use crate::value::Value;

/// The time between two sweeps of copies that have expired.
const CLEANUP: Duration = Duration::from_secs(60);

/// A store of copies. It never asks the store that they come from.
pub struct Front {
    store: Arc<Store>,
    sweeper: Sweeper,
}

/// A copy that is served again once the store has confirmed it.
pub struct Unconfirmed {
    /// The value of the copy.
    pub value: Value,
    /// The number by which the store knows the entry.
    pub number: u64,
    /// The hashes of its tags.
    pub tags: Vec<u64>,
}

/// A copy of an entry.
pub struct NearEntry<'a> {
    /// The user's key.
    pub key: &'a [u8],
    /// The user's value.
    pub value: &'a [u8],
    /// The hashes of the tags of the entry.
    pub tags: &'a [u64],
    /// The end of its life.
    pub ends: Deadline,
    /// The time at which the store has to confirm it, and the number by which the store knows it.
    pub unconfirmed: Option<(Deadline, u64)>,
    /// The duration of the load of the entry; zero if it is not known.
    pub load_time: Duration,
}

impl Front {
    /// Creates an empty store.
    pub fn new(config: &NearConfig) -> Self {
        let store = Store::new(config.max_size, config.max_bytes, Eviction::Lru);
        Self { store: Arc::new(store), sweeper: Sweeper::new(CLEANUP) }
    }

    /// Returns the value of a copy, if a time has not passed until which copies are served.
    #[inline]
    pub fn get(&self, key: &[u8], until: Deadline) -> Option<Value> {
        self.store.hit(key, false, until)
    }

    /// Returns the value of a copy, and copies a short one to a buffer that has room for it.
    #[inline]
    pub fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>], until: Deadline) -> Option<Hit> {
        self.store.hit_into(key, buffer, until)
    }

    /// Returns the value of a copy whose entry is not due for an early refresh.
    pub fn get_unless_due(&self, key: &[u8]) -> Option<Value> {
        let hash = self.store.hash(key);
        match self.store.shard_of(hash).read(hash.of_entry(), key, true) {
            Read::Fresh(value, false) => Some(value),
            _ => None,
        }
    }

    /// Returns the values of copies.
    pub fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<Value>> {
        self.store.get_many(keys).into_iter().map(|value| value.ok().flatten()).collect()
    }

    /// Keeps a copy if `is_allowed` returns true under the lock that a removal of the key or of a tag takes too, and if there
    /// is room. Returns whether it is kept.
    pub fn keep(&self, copy: &NearEntry<'_>, is_allowed: impl Fn() -> bool) -> bool {
        let deadline = copy.unconfirmed.map_or(copy.ends, |(first, _)| first.min(copy.ends));
        if deadline != Deadline::NEVER {
            self.sweeper.start(&self.store);
        }
        let tags = self.store.find_tags(copy.tags.iter().copied());
        let kept = match copy.unconfirmed {
            Some((_, number)) => Some(Kept { end: End::Copy(number, rest(copy.ends, deadline)), load_micros: 0 }),
            None => Kept::from_copy(Duration::ZERO, copy.load_time).filter(|_| copy.ends != Deadline::NEVER),
        };
        let times = Times { deadline, created: Created::UNKNOWN };
        let kept = self.store.put(copy.key, copy.value, &tags, times, kept.as_ref(), |_| is_allowed());
        // A copy that has no room is no failure: the entry is in the other store.
        kept.unwrap_or(false)
    }

    /// Returns the copy of a key if it is served again once the store has confirmed it.
    pub fn unconfirmed(&self, key: &[u8]) -> Option<Unconfirmed> {
        let hash = self.store.hash(key);
        let shard = self.store.shard_of(hash);
        let id = shard.find(hash.of_entry(), key)?;
        match shard.kept(id)?.end {
            End::Copy(number, _) if !shard.is_slot_live(id) && shard.is_kept(id) => {
                let entry = shard.entry(id)?;
                Some(Unconfirmed { value: entry.clone(), number, tags: shard.tags_of(entry) })
            }
            _ => None,
        }
    }

    /// Serves a copy until a time, which the store has confirmed, if it is still the same and `is_allowed` returns true under
    /// the lock that a removal takes too. Returns whether it is served.
    pub fn confirm(&self, key: &[u8], copy: &Unconfirmed, until: Deadline, is_allowed: impl Fn() -> bool) -> bool {
        let hash = self.store.hash(key);
        let mut shard = self.store.shard_of(hash);
        let Some(id) = shard.find(hash.of_entry(), key).filter(|id| shard.is_kept(*id)) else { return false };
        let Some((entry, kept)) = shard.entry(id).zip(shard.kept(id).copied()) else { return false };
        let is_same = std::ptr::eq(entry.as_bytes(), copy.value.as_bytes());
        let (End::Copy(number, left), true, true) = (kept.end, is_same, is_allowed()) else { return false };
        let ends = entry.deadline().later(Duration::from_millis(left.into()));
        let deadline = until.min(ends);
        shard.set_deadline(id, deadline);
        shard.keep(id, Kept { end: End::Copy(number, rest(ends, deadline)), ..kept });
        true
    }

    /// Removes the copy of a key.
    pub fn remove(&self, key: &[u8]) {
        self.store.delete(key);
    }

    /// Removes the copies that have one of these tags.
    pub fn invalidate(&self, tags: &[u64]) {
        self.sweeper.start(&self.store);
        self.store.invalidate_found(&self.store.find_tags(tags.iter().copied()), false);
    }

    /// Removes the copies whose keys match one of the globs.
    pub fn remove_matching(&self, patterns: &[&[u8]]) {
        let patterns = Patterns::new(patterns);
        for at in 0..self.store.shards.len() {
            let mut next = Some(0);
            while let Some(from) = next {
                next = self.store.remove_matching_step(at, from, &patterns).1;
            }
        }
    }

    /// Removes all copies.
    pub fn flush(&self) {
        self.store.flush(false);
    }

    /// Ends the sweeping.
    pub fn close(&self) {
        self.sweeper.join();
        self.flush();
    }

    /// Returns the number of reads that were served.
    pub fn hits(&self) -> u64 {
        self.store.counters().hits
    }

    /// Returns the number of copies, with those that are over and not removed yet, and their bytes.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for at in 0..self.store.shards.len() {
            let shard = self.store.shard(at);
            usage.keys += shard.len() as u64;
            usage.bytes += shard.bytes() as u64;
        }
        usage
    }
}

/// Returns the time in milliseconds for which a copy may be served after a deadline.
fn rest(ends: Deadline, deadline: Deadline) -> u32 {
    let left = Duration::from_nanos(ends.nanos().saturating_sub(deadline.nanos()));
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX)
}
