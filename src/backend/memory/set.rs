//! Stores an entry and makes room for it.

use std::cell::Cell;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};

use super::loading::{Kept, Lease};
use super::shard::{Removed, Shard, entry_cost};
use super::store::{Hash, SHORT, Store};
use super::table::{Fresh, NONE, SlotId};
use super::tags::TagName;
use crate::backend::{CopiedEntry, IfPresent, Imported, NewEntry};
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::util::clock::Times;
use crate::value::Value;

/// Number of times that room in another shard may be lost to another thread.
pub(super) const ATTEMPTS: usize = 1000;

/// The result: an error is the entry, for which its shard has no room.
type Stored = std::result::Result<(), Fresh>;

impl Store {
    pub(super) fn set(&self, entry: NewEntry, times: Times) -> Result<()> {
        let tags = self.hash_tags(entry.tags);
        self.put(entry.key, entry.value, &tags, times, None, |_| true).map(drop)
    }

    /// Stores an entry, unless a flag is true under the lock of the shard. Returns whether it was stored.
    #[inline]
    pub(super) fn set_unless(&self, is_replaced: &AtomicBool, entry: NewEntry, times: Times) -> Result<bool> {
        let tags = self.hash_tags(entry.tags);
        self.put(entry.key, entry.value, &tags, times, None, |_| !is_replaced.load(Acquire))
    }

    /// Stores a copy, unless an entry exists or a tag was invalidated since `versions` was read.
    pub(super) fn import(
        &self,
        entry: &CopiedEntry,
        times: Times,
        versions: &[TagVersion],
        if_present: IfPresent,
    ) -> Result<Imported> {
        let tags = self.find_named(entry.tags.iter().copied(), entry.tag_names.iter());
        let outcome = Cell::new(Imported::Stored);
        let kept = entry.ends.and_then(|_| Kept::from_copy(entry.stale_for, entry.load_time));
        let hash = self.hash(&entry.key).of_entry();
        // Under the shard's lock: an invalidation is counted before it comes to the shard.
        self.put(&entry.key, entry.value.as_bytes(), &tags, times, kept.as_ref(), |shard| {
            outcome.set(if if_present == IfPresent::Keep && shard.live(hash, &entry.key).is_some() {
                Imported::Present
            } else if self.are_current(&entry.tags, versions) {
                Imported::Stored
            } else {
                Imported::Outdated
            });
            outcome.get() == Imported::Stored
        })?;
        Ok(outcome.get())
    }

    /// Stores the entry if `allowed` returns true under the lock of its shard, and ends the lease of the key.
    #[inline]
    pub(super) fn put(
        &self,
        key: &[u8],
        value: &[u8],
        tags: &[TagName],
        times: Times,
        kept: Option<&Kept>,
        allowed: impl Fn(&mut Shard) -> bool,
    ) -> Result<bool> {
        let hash = self.hash(key);
        let cost = entry_cost(key.len() + value.len(), tags.len(), kept.is_some());
        self.room.check_fits(cost)?;
        let terms = Terms { tags, cost, kept };
        let new = || Fresh::new(key, value, hash.of_entry(), times);
        // A short entry is copied with the lock held, so that its value can take the place of one of the same length.
        let mut fresh = (key.len() + value.len() > SHORT || self.needs_room(terms)).then(new);
        for _ in 0..ATTEMPTS {
            let mut shard = self.shard_of(hash);
            if !allowed(&mut shard) {
                return Ok(false);
            }
            let may_overwrite = fresh.is_none() && !shard.outgrows(cost);
            let overwritten = match tags {
                _ if !may_overwrite => None,
                [] => shard.overwrite(hash.of_entry(), key, value, times),
                _ => shard.overwrite_tagged(hash.of_entry(), key, value, times, tags),
            };
            if let Some((id, replaced)) = overwritten {
                let ended = shard.saw_set(id, None);
                drop(shard);
                drop((replaced, ended));
                return Ok(true);
            }
            let is_new = may_overwrite && tags.is_empty();
            let old = if is_new { None } else { shard.find(hash.of_entry(), key) };
            match self.try_put(shard, old, fresh.unwrap_or_else(new), terms) {
                Ok(()) => return Ok(true),
                Err(refused) => fresh = Some(refused),
            }
            self.evict_elsewhere(hash);
            std::thread::yield_now();
        }
        Err(no_room())
    }

    /// Stores an entry under the lock of its shard, ends the lease of the key, and returns the slot; or the entry, if there
    /// is no room.
    pub(super) fn store_locked(
        &self,
        shard: &mut Shard,
        old: Option<SlotId>,
        fresh: Fresh,
        tags: &[TagName],
        evicted: &mut Evicted,
    ) -> std::result::Result<SlotId, Fresh> {
        let cost = entry_cost(fresh.len(), tags.len(), false);
        if let Some(old) = old {
            shard.keep_longest(old);
        }
        if !self.make_memory(shard, old.unwrap_or(NONE), Terms { tags, cost, kept: None }, evicted) {
            return Err(fresh);
        }
        let Some(old) = old else {
            if !self.make_room(shard, evicted) || !self.make_bytes(shard, NONE, cost, evicted) {
                return Err(fresh);
            }
            let id = shard.insert(fresh, tags);
            evicted.ended = shard.saw_set(id, None);
            return Ok(id);
        };
        let freed = shard.cost_of(old);
        if !self.make_bytes(shard, old, cost.saturating_sub(freed), evicted) {
            return Err(fresh);
        }
        evicted.replaced = shard.replace(old, fresh, tags);
        evicted.ended = shard.saw_set(old, None);
        self.room.give_bytes(freed.saturating_sub(cost));
        Ok(old)
    }

    /// Stores the entry in place of an old one if there is one, or returns it if its shard has no room and cannot make any.
    #[inline]
    fn try_put(&self, mut shard: MutexGuard<Shard>, old: Option<SlotId>, fresh: Fresh, terms: Terms) -> Stored {
        match old {
            None => self.add(shard, fresh, terms),
            Some(old) if self.room.bounds_bytes() || !has_memory(&mut shard, terms) => {
                self.overwrite_with_room(shard, old, fresh, terms)
            }
            Some(old) => {
                let replaced = shard.replace(old, fresh, terms.tags);
                let ended = shard.saw_set(old, terms.kept);
                drop(shard);
                drop((replaced, ended));
                Ok(())
            }
        }
    }

    /// Returns true if an entry may need more room than the one that it replaces.
    #[inline]
    fn needs_room(&self, terms: Terms) -> bool {
        self.room.bounds_bytes() || terms.kept.is_some()
    }

    fn add(&self, shard: MutexGuard<Shard>, fresh: Fresh, terms: Terms) -> Stored {
        // Dropped in the other order: the lock first, then what was evicted.
        let (mut evicted, mut shard) = (Evicted::default(), shard);
        let is_room = self.make_memory(&mut shard, NONE, terms, &mut evicted)
            && self.make_room(&mut shard, &mut evicted)
            && self.make_bytes(&mut shard, NONE, terms.cost, &mut evicted);
        if !is_room {
            return Err(fresh);
        }
        let id = shard.insert(fresh, terms.tags);
        evicted.ended = shard.saw_set(id, terms.kept);
        Ok(())
    }

    /// Replaces an entry whose successor may need more room. An overwrite reserves or releases the difference in bytes.
    #[cold]
    fn overwrite_with_room(&self, shard: MutexGuard<Shard>, old: SlotId, fresh: Fresh, terms: Terms) -> Stored {
        let (mut evicted, mut shard) = (Evicted::default(), shard);
        let freed = shard.cost_of(old);
        shard.keep_longest(old);
        let is_room = self.make_memory(&mut shard, old, terms, &mut evicted)
            && self.make_bytes(&mut shard, old, terms.cost.saturating_sub(freed), &mut evicted);
        if !is_room {
            return Err(fresh);
        }
        let replaced = shard.replace(old, fresh, terms.tags);
        evicted.ended = shard.saw_set(old, terms.kept);
        self.room.give_bytes(freed.saturating_sub(terms.cost));
        drop(shard);
        drop(replaced);
        Ok(())
    }

    /// Makes sure that the process has memory for an entry, and for larger tables if the shard needs them: an allocation that
    /// fails would end the process. Evicts entries except `keep` until there is enough. Returns false if they do not suffice.
    #[inline]
    fn make_memory(&self, shard: &mut Shard, keep: SlotId, terms: Terms, evicted: &mut Evicted) -> bool {
        let may_grow = !shard.outgrows(terms.cost) || shard.may_grow(terms.cost);
        while !may_grow && shard.outgrows(terms.cost) || !shard.reserve(terms.tags, terms.kept.is_some()) {
            let Some(removed) = shard.evict(keep) else { return false };
            self.give_back(std::slice::from_ref(&removed));
            evicted.more.push(removed);
        }
        true
    }

    /// Takes a place for one more entry.
    fn make_room(&self, shard: &mut Shard, evicted: &mut Evicted) -> bool {
        self.room.take_place() || self.pass_place_on(shard, evicted)
    }

    /// Reserves bytes. If necessary it evicts entries except `keep`.
    fn make_bytes(&self, shard: &mut Shard, keep: SlotId, need: usize, evicted: &mut Evicted) -> bool {
        while !self.room.take_bytes(need) {
            let Some(removed) = shard.evict(keep) else {
                self.room.give_places(usize::from(keep == NONE));
                return false;
            };
            self.give_back(std::slice::from_ref(&removed));
            evicted.more.push(removed);
        }
        true
    }

    /// Evicts an entry of a full store and uses its place, which changes no count.
    fn pass_place_on(&self, shard: &mut Shard, evicted: &mut Evicted) -> bool {
        evicted.first = shard.evict(NONE);
        self.room.give_bytes(evicted.first.as_ref().map_or(0, |removed| removed.cost));
        evicted.first.is_some()
    }

    /// Makes room in the next shard that has an entry, for the shard of this key: that has no entry to evict.
    #[cold]
    pub(super) fn evict_elsewhere(&self, hash: Hash) {
        for at in 1..self.shards.len() {
            let mut shard = self.shard(hash.of_shard() + at);
            if let Some(removed) = shard.evict(NONE) {
                let given = shard.give_growth(removed.cost);
                self.release(Some(removed), shard);
                return self.shard_of(hash).take_growth(given);
            }
        }
    }
}

/// Returns true if an entry may be stored in its shard without room being made for it.
#[inline]
fn has_memory(shard: &mut Shard, terms: Terms) -> bool {
    !shard.outgrows(terms.cost) && shard.reserve(terms.tags, terms.kept.is_some())
}

/// The properties that an entry is stored with.
#[derive(Clone, Copy)]
struct Terms<'a> {
    tags: &'a [TagName<'a>],
    /// The bytes that it takes.
    cost: usize,
    kept: Option<&'a Kept>,
}

/// The evicted entries: nearly always one, which needs no list. The lease that the set ended.
#[derive(Default)]
pub(super) struct Evicted {
    first: Option<Removed>,
    more: Vec<Removed>,
    replaced: Option<Value>,
    ended: Option<Box<Lease>>,
}

#[cold]
pub(super) fn no_room() -> Error {
    Error::new(
        ErrorKind::Busy,
        "other threads used the freed memory at once; try again, raise max_bytes, or free memory",
    )
}
