//! Clears in one step: a clear notes the tag of its generation, and each shard invalidates it when it is locked next.
//!
//! A shard that is locked compares the number of clears with the number that it knows, before anything else is done with
//! it. A clear that has returned has raised the number, so that whoever comes later finds it. A set that has the lock
//! already is not later: it runs at the same time, and the clear may take it for an entry that was there before.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};

use super::shard::Shard;
use super::store::Store;
use super::tags::TagName;
use crate::util::lock;

/// The largest number of generations whose clears a shard may have to make up for.
const MAX_NOTED: usize = 64;

/// The clears of a store.
#[derive(Default)]
pub(super) struct Clears {
    count: AtomicU64,
    /// The generations that were cleared, each with the number of its last clear. `count` is written under this lock.
    noted: Mutex<Vec<(u64, TagName<'static>)>>,
}

impl Clears {
    /// Returns the number of clears.
    #[inline(always)]
    pub(super) fn count(&self) -> u64 {
        self.count.load(Acquire)
    }

    /// Notes a clear. Returns false if there are too many.
    fn note(&self, tag: TagName<'_>) -> bool {
        let mut noted = lock(&self.noted);
        noted.retain(|(_, other)| other.tag != tag.tag);
        if noted.len() == MAX_NOTED {
            return false;
        }
        let number = self.count() + 1;
        noted.push((number, TagName { text: &[], ..tag }));
        self.count.store(number, Release);
        true
    }

    /// Invalidates in a shard the generations that were cleared since it was locked last.
    fn make_up(&self, shard: &mut Shard) {
        let noted = lock(&self.noted);
        let unknown = noted.iter().filter(|(number, _)| *number > shard.known_clears);
        let tags: Vec<TagName> = unknown.map(|(_, tag)| *tag).collect();
        tags.into_iter().for_each(|tag| shard.invalidate(tag));
        shard.known_clears = self.count();
    }

    /// Forgets the clears up to a number, which all shards know.
    fn forget(&self, known: u64) {
        lock(&self.noted).retain(|(number, _)| *number > known);
    }
}

impl Store {
    /// Makes dead the entries of a generation. Returns false, and does nothing, if each shard has to be visited, because
    /// leases may have to end.
    pub(super) fn clear(&self, generation: TagName) -> bool {
        // The first lease may be taken meanwhile: its load begins after this clear has begun.
        if self.loads.were_used() {
            return false;
        }
        self.invalidations.fetch_add(1, SeqCst);
        self.clears.note(generation) || self.make_up_all(generation)
    }

    /// Returns a shard that knows all clears.
    #[cold]
    #[inline(never)]
    pub(super) fn made_up<'a>(&self, mut shard: MutexGuard<'a, Shard>) -> MutexGuard<'a, Shard> {
        self.clears.make_up(&mut shard);
        shard
    }

    /// Visits the shards, so that there is room for another note.
    #[cold]
    fn make_up_all(&self, generation: TagName) -> bool {
        let known = self.clears.count();
        (0..self.shards.len()).for_each(|at| drop(self.shard(at)));
        self.clears.forget(known);
        self.clears.note(generation)
    }
}

#[cfg(test)]
impl Clears {
    /// Returns the number of clears that are noted.
    pub(super) fn noted(&self) -> usize {
        lock(&self.noted).len()
    }
}
