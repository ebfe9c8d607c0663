//! The tables of a shard for loads, in addition to its entries: leases by key, and by slot the entries that have more to
//! them than a time to live (stale values, remembered absences, costs of loads).
//!
//! Both tables are separate from the entries, and a shard without leases and such entries has neither: a plain get or set
//! reads one pointer more.

use std::time::Duration;

use hashbrown::HashTable;

use std::task::Waker;

use super::table::SlotId;
use crate::lease::is_due;
use crate::util::clock::Deadline;

/// Bytes of the record of an entry that has more to it than a time to live.
pub(super) const KEPT_OVERHEAD: usize = 32;
/// The most tags that a lease notes as invalidated, besides those that it names. Beyond it all others are assumed.
const MOST_INVALIDATED: usize = 256;

/// The end of an entry whose time to live is over.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// The value may be served as stale for this time.
    Stale(Duration),
    /// A load found nothing, which is remembered until then. The entry itself has expired from the start.
    Absent(Deadline),
    /// A copy of an entry of another store, known there by this number: once the store has confirmed it, it may be served
    /// again, for so many milliseconds altogether.
    Copy(u64, u32),
}

/// The properties of an entry in addition to its time to live.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) end: End,
    /// The duration of the load in microseconds; 0 if it is not known.
    pub(super) load_micros: u32,
}

/// A lease, or a key that is held back after a failed load. Dropping it wakes the callers that wait: it has to be dropped
/// after the lock of the shard is released.
pub(super) struct Lease {
    hash: u32,
    key: Box<[u8]>,
    pub(super) token: u64,
    pub(super) ends: Deadline,
    /// True after a load that failed: no caller has the lease.
    pub(super) is_held_back: bool,
    /// True if the key had an entry, which the holder refreshes.
    pub(super) refreshes: bool,
    /// The hashes of the tags that the lease names.
    tags: Box<[u64]>,
    /// True if a tag that the lease names was invalidated since it was taken: nothing is stored with it.
    is_outdated: bool,
    /// The hashes of the other tags that were invalidated since then.
    invalidated: Vec<u64>,
    waiters: Vec<(u64, Waker)>,
}

impl Lease {
    pub(super) fn new(
        hash: u32,
        key: &[u8],
        token: u64,
        ends: Deadline,
        refreshes: bool,
        tags: Box<[u64]>,
    ) -> Box<Self> {
        Box::new(Self {
            hash,
            key: key.into(),
            token,
            ends,
            is_held_back: false,
            refreshes,
            tags,
            is_outdated: false,
            invalidated: Vec::new(),
            waiters: Vec::new(),
        })
    }

    /// Returns true if a value with these tags, in addition to those that the lease names, may be stored: the lease is
    /// valid, and no tag was invalidated.
    pub(super) fn allows(&self, token: u64, mut added: impl Iterator<Item = u64>) -> bool {
        let is_valid = self.token == token && !self.is_held_back && !self.is_outdated && !self.ends.has_passed();
        is_valid && added.all(|tag| self.tags.contains(&tag) || self.is_unchanged(tag))
    }

    fn is_unchanged(&self, tag: u64) -> bool {
        self.invalidated.len() < MOST_INVALIDATED && !self.invalidated.contains(&tag)
    }

    fn note(&mut self, tag: u64) {
        if self.tags.contains(&tag) {
            self.is_outdated = true;
        } else if self.is_unchanged(tag) {
            self.invalidated.push(tag);
        }
    }

    /// Holds the key back until a deadline. Returns the callers to wake: none of them has to wait for that.
    pub(super) fn hold_back(&mut self, ends: Deadline) -> Vec<(u64, Waker)> {
        (self.is_held_back, self.ends) = (true, ends);
        std::mem::take(&mut self.waiters)
    }

    /// Registers a waiter, or renews its waker.
    pub(super) fn wait(&mut self, id: u64, waker: &Waker) {
        match self.waiters.iter_mut().find(|(waiter, _)| *waiter == id) {
            Some((_, known)) => known.clone_from(waker),
            None => self.waiters.push((id, waker.clone())),
        }
    }

    /// Removes a waiter.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(at) = self.waiters.iter().position(|(waiter, _)| *waiter == id) {
            self.waiters.swap_remove(at);
        }
    }

    /// Returns the callers that wait.
    pub(super) fn waiters(&self) -> impl Iterator<Item = Waker> {
        self.waiters.iter().map(|(_, waker)| waker.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.waiters.drain(..).for_each(|(_, waker)| waker.wake());
    }
}

/// The tables of a shard.
#[derive(Default)]
pub(super) struct Loading {
    leases: HashTable<Box<Lease>>,
    kept: HashTable<(SlotId, Kept)>,
}

impl Loading {
    /// Returns the lease of a key, also one that has expired.
    pub(super) fn lease(&mut self, hash: u32, key: &[u8]) -> Option<&mut Lease> {
        self.leases.find_mut(spread(hash), |lease| *lease.key == *key).map(|lease| &mut **lease)
    }

    /// Registers a lease. Returns the one before it.
    pub(super) fn put(&mut self, lease: Box<Lease>) -> Option<Box<Lease>> {
        let before = self.end(lease.hash, &lease.key);
        self.leases.insert_unique(spread(lease.hash), lease, |lease| spread(lease.hash));
        before
    }

    /// Removes the lease of a key.
    pub(super) fn end(&mut self, hash: u32, key: &[u8]) -> Option<Box<Lease>> {
        if self.leases.is_empty() {
            return None;
        }
        let found = self.leases.find_entry(spread(hash), |lease| *lease.key == *key);
        found.ok().map(|found| found.remove().0)
    }

    /// Removes the leases for which `ends` is true.
    pub(super) fn end_where(&mut self, mut ends: impl FnMut(&[u8], &Lease) -> bool) -> Vec<Lease> {
        self.leases.extract_if(|lease| ends(&lease.key, lease)).map(|lease| *lease).collect()
    }

    /// Notes with every lease that a tag was invalidated. Removes those for which `ends` is true.
    pub(super) fn note(&mut self, tag: u64, ends: impl Fn(u32, &[u8]) -> bool) -> Vec<Lease> {
        self.leases.iter_mut().for_each(|lease| lease.note(tag));
        self.end_where(|key, lease| lease.refreshes && ends(lease.hash, key))
    }

    /// Returns the callers that wait for any lease.
    pub(super) fn waiters(&self) -> Vec<Waker> {
        self.leases.iter().flat_map(|lease| lease.waiters()).collect()
    }

    /// Returns what is kept of the entry of a slot.
    pub(super) fn kept(&self, id: SlotId) -> Option<&Kept> {
        self.kept.find(spread(id), |(slot, _)| *slot == id).map(|(_, kept)| kept)
    }

    /// Makes room for what is kept of one more entry. Returns false if there is no memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.kept.try_reserve(1, |(slot, _)| spread(*slot)).is_ok()
    }

    /// Replaces what is kept of the entry of a slot. Returns true if something was kept.
    pub(super) fn keep(&mut self, id: SlotId, kept: Option<&Kept>) -> bool {
        let found = self.kept.find_entry(spread(id), |(slot, _)| *slot == id).ok();
        let was_there = found.map(|found| found.remove()).is_some();
        if let Some(kept) = kept {
            self.kept.insert_unique(spread(id), (id, *kept), |(slot, _)| spread(*slot));
        }
        was_there
    }

    /// Returns the number of entries of which something is kept.
    pub(super) fn kept_count(&self) -> usize {
        self.kept.len()
    }

    /// Returns the slots of which something is kept.
    pub(super) fn slots(&self) -> impl Iterator<Item = SlotId> {
        self.kept.iter().map(|(slot, _)| *slot)
    }
}

impl Kept {
    /// Returns true if an entry with this deadline is still kept, though its time to live is over.
    pub(super) fn is_kept(&self, deadline: Deadline) -> bool {
        match self.end {
            End::Stale(time) => !deadline.later(time).has_passed(),
            End::Absent(ends) => !ends.has_passed(),
            End::Copy(_, rest) => !deadline.later(Duration::from_millis(rest.into())).has_passed(),
        }
    }

    /// Returns the stale time and the load time of an entry for a copy.
    pub(super) fn of_copy(&self) -> (Duration, Duration) {
        let stale_for = if let End::Stale(time) = self.end { time } else { Duration::ZERO };
        (stale_for, Duration::from_micros(self.load_micros.into()))
    }

    /// Returns what is kept of a copy.
    pub(super) fn from_copy(stale_for: Duration, load_time: Duration) -> Option<Self> {
        let load_micros = u32::try_from(load_time.as_micros()).unwrap_or(u32::MAX);
        let is_plain = stale_for.is_zero() && load_micros == 0;
        (!is_plain).then_some(Self { end: End::Stale(stale_for), load_micros })
    }

    /// Returns true if a fresh entry is due for an early refresh.
    pub(super) fn is_due(&self, deadline: Deadline) -> bool {
        is_due(Duration::from_micros(self.load_micros.into()), deadline.remaining())
    }
}

/// The tables look at both ends of 64 bits.
#[inline]
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_refresh_is_probable_near_the_end_alone() {
        let kept = Kept { end: End::Stale(Duration::ZERO), load_micros: 1_000_000 };
        let due = |left: u64| {
            let deadline = Deadline::after(Some(Duration::from_millis(left)));
            (0..400).filter(|_| kept.is_due(deadline)).count()
        };
        assert_eq!(due(60_000), 0);
        assert!((80..220).contains(&due(1000)), "one of e");
        assert!(due(1) > 350);
        assert!(!kept.is_due(Deadline::NEVER));
        let unknown = Kept { load_micros: 0, ..kept };
        assert!(!unknown.is_due(Deadline::after(Some(Duration::from_millis(50)))));
    }

    #[test]
    fn a_lease_that_noted_too_many_tags_refuses_all_tags_that_it_does_not_name() {
        let mut lease = Lease::new(1, b"k", 7, Deadline::NEVER, false, [1].into());
        assert!(lease.allows(7, [1, 2].into_iter()) && !lease.allows(8, [].into_iter()));
        (0..2 * MOST_INVALIDATED as u64).for_each(|tag| lease.note(tag + 10));
        assert!(!lease.allows(7, [2].into_iter()) && lease.allows(7, [1].into_iter()));
        lease.note(1);
        assert!(!lease.allows(7, [1].into_iter()) && !lease.allows(7, [].into_iter()));
    }
}
