//! Keeps copies of what has changed out of a near cache.
//!
//! A reply may be late: it has the entry as it was before a change that the process has already heard of. A read takes a
//! token before it asks the store. Its reply is kept if nothing that it depends on has changed since then, and if no
//! change of it is under way in this process. A change marks a slot for its key or tag; others may share the slot, so
//! that a reply may be refused that could have been kept, never the other way round.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use foldhash::fast::SeedableRandomState;
use smallvec::SmallVec;

use crate::entry::tag_hash;
use crate::operation::Change;
use crate::util::random;

/// The number of slots: a power of two.
const SLOTS: usize = 4096;

/// The changes of keys and tags, in slots.
pub struct Guards {
    /// The number of changes.
    changes: AtomicU64,
    slots: Box<[Slot]>,
    /// The slot that every key and tag has too.
    all: Slot,
    hasher: SeedableRandomState,
}

#[derive(Default)]
struct Slot {
    /// The number of the last change.
    changed: AtomicU64,
    /// The number of changes under way.
    writers: AtomicU32,
}

/// The moment before a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(u64);

/// A change that is under way in this process. Dropping it ends it.
pub struct Writing<'a> {
    guards: &'a Guards,
    slots: SmallVec<[&'a Slot; 2]>,
}

impl Slot {
    fn is_unchanged_since(&self, token: Token) -> bool {
        self.writers.load(SeqCst) == 0 && self.changed.load(SeqCst) <= token.0
    }
}

impl Guards {
    pub fn new() -> Self {
        Self {
            changes: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            all: Slot::default(),
            hasher: random::hasher(),
        }
    }

    /// Returns a token for a read that begins now.
    pub fn token(&self) -> Token {
        Token(self.changes.load(SeqCst))
    }

    /// Returns true if an entry that was read after the token was taken is as it was.
    pub fn allows(&self, token: Token, key: &[u8], tags: &[u64]) -> bool {
        let tags = || tags.iter().all(|tag| self.of_tag(*tag).is_unchanged_since(token));
        self.all.is_unchanged_since(token) && self.of_key(key).is_unchanged_since(token) && tags()
    }

    /// Marks a key as changed.
    pub fn mark_key(&self, key: &[u8]) {
        self.mark(self.of_key(key));
    }

    /// Marks a tag as changed.
    pub fn mark_tag(&self, tag: u64) {
        self.mark(self.of_tag(tag));
    }

    /// Marks everything as changed.
    pub fn mark_all(&self) {
        self.mark(&self.all);
    }

    /// Begins a change in this process.
    pub fn begin(&self, change: &Change<'_>) -> Writing<'_> {
        let mut slots = SmallVec::new();
        match change {
            Change::Keys(keys) => slots.extend(keys.iter().map(|key| self.of_key(key))),
            Change::Tags(tags) => slots.extend(tags.iter().map(|tag| self.of_tag(tag_hash(tag)))),
            Change::Hashes(tags) => slots.extend(tags.iter().map(|tag| self.of_tag(*tag))),
            Change::Patterns(_) | Change::Flush => slots.push(&self.all),
        }
        slots.iter().for_each(|slot: &&Slot| {
            slot.writers.fetch_add(1, SeqCst);
        });
        Writing { guards: self, slots }
    }

    fn mark(&self, slot: &Slot) {
        slot.changed.fetch_max(self.changes.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    fn of_key(&self, key: &[u8]) -> &Slot {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        self.of_tag(hasher.finish())
    }

    #[allow(clippy::cast_possible_truncation)] // The low bits are what counts.
    fn of_tag(&self, tag: u64) -> &Slot {
        &self.slots[tag as usize % SLOTS]
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for slot in &self.slots {
            // In this order no reply finds the slot without its writer and without its mark.
            self.guards.mark(slot);
            slot.writers.fetch_sub(1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_kept_unless_its_key_or_a_tag_of_it_changed_since_the_read_began() {
        let guards = Guards::new();
        let (a, b) = (b"a", b"b");
        let token = guards.token();
        assert!(guards.allows(token, a, &[7, 8]));
        guards.mark_key(a);
        assert!(!guards.allows(token, a, &[]) && guards.allows(token, b, &[]));
        assert!(guards.allows(guards.token(), a, &[]));
        guards.mark_tag(8);
        assert!(!guards.allows(token, b, &[7, 8]) && guards.allows(token, b, &[7]));
        guards.mark_all();
        assert!(!guards.allows(token, b, &[]) && guards.allows(guards.token(), b, &[8]));
    }

    #[test]
    fn nothing_that_was_read_during_a_change_is_kept() {
        let guards = Guards::new();
        let keys: &[&[u8]] = &[b"a", b"c"];
        let changes = [Change::Keys(keys.into()), Change::Hashes(&[7]), Change::Flush, Change::Patterns(&[b"*"])];
        for change in changes {
            let before = guards.token();
            let writing = guards.begin(&change);
            let during = guards.token();
            assert!(!guards.allows(before, b"a", &[7]) && !guards.allows(during, b"a", &[7]), "{change:?}");
            drop(writing);
            assert!(!guards.allows(before, b"a", &[7]) && !guards.allows(during, b"a", &[7]), "{change:?}");
            assert!(guards.allows(guards.token(), b"a", &[7]), "{change:?}");
        }
    }

    #[test]
    fn a_change_ends_after_all_that_overlap_it() {
        let guards = Guards::new();
        let keys: &[&[u8]] = &[b"a"];
        let (first, second) = (guards.begin(&Change::Keys(keys.into())), guards.begin(&Change::Keys(keys.into())));
        drop(first);
        assert!(!guards.allows(guards.token(), b"a", &[]));
        drop(second);
        assert!(guards.allows(guards.token(), b"a", &[]));
    }
}
