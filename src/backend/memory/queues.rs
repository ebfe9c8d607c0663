//! S3-FIFO: an order of eviction in which entries that are used once go soon, so that a scan of many keys does not evict
//! those in use.
//!
//! A new entry is queued in a small queue, a tenth of the entries. At its end an entry that was used meanwhile moves to the
//! main queue; any other is evicted, and its hash is remembered: if the key is set again soon, the entry is queued in the
//! main queue at once. At the end of the main queue an entry that was used is queued again, up to three times.
//!
//! Source: Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023,
//! <https://dl.acm.org/doi/10.1145/3600006.3613147>.

use std::collections::{TryReserveError, VecDeque};

use hashbrown::HashTable;

use super::loading::spread;
use super::table::{Entries, NONE, SlotId};
use crate::value::Value;

/// The most uses that count.
const MOST_USES: u32 = 3;
/// The bit of the uses of an entry in the main queue.
const MAIN: u32 = 4;
/// The share of the small queue: one entry in this number.
const SMALL: usize = 10;
/// The most entries that are queued again for one eviction, which takes less than a millisecond: the lock of the shard is
/// held.
const PATIENCE: usize = 1000;

/// The queues of a shard.
#[derive(Default)]
pub(super) struct Queues {
    /// The neighbours of each slot in its queue.
    links: Vec<Link>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

#[derive(Clone, Copy, Default)]
struct Link {
    older: SlotId,
    newer: SlotId,
}

/// A queue, by its ends.
#[derive(Clone, Copy, Default)]
struct Queue {
    oldest: SlotId,
    newest: SlotId,
    len: usize,
}

/// Counts a use of an entry.
#[inline]
pub(super) fn count_use(entry: &Value) {
    let uses = entry.used();
    if uses & !MAIN < MOST_USES {
        entry.use_at(uses + 1);
    }
}

impl Queues {
    /// Makes room for a number of slots.
    pub(super) fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        self.links.try_reserve_exact(slots.saturating_sub(self.links.len()))
    }

    /// Adds the links of a new slot.
    pub(super) fn grow(&mut self, id: SlotId) {
        self.links.resize(id as usize + 1, Link::default());
    }

    /// Queues a new entry.
    pub(super) fn insert(&mut self, hash: u32, entry: &Value) {
        entry.use_at(if self.ghosts.remove(hash) { MAIN } else { 0 });
        self.push(entry);
    }

    /// Counts the set of an entry, which takes the place of the previous one, as a use.
    pub(super) fn replace(old: &Value, fresh: &Value) {
        fresh.use_at(old.used());
        count_use(fresh);
    }

    /// Removes an entry from its queue.
    pub(super) fn remove(&mut self, entry: &Value) {
        let (id, links) = (entry.slot(), &mut self.links);
        let Link { older, newer } = links[id as usize];
        let queue = if entry.used() & MAIN == 0 { &mut self.small } else { &mut self.main };
        queue.len -= 1;
        *(if older == NONE { &mut queue.oldest } else { &mut links[older as usize].newer }) = newer;
        *(if newer == NONE { &mut queue.newest } else { &mut links[newer as usize].older }) = older;
    }

    fn push(&mut self, entry: &Value) {
        let (id, links) = (entry.slot(), &mut self.links);
        let queue = if entry.used() & MAIN == 0 { &mut self.small } else { &mut self.main };
        links[id as usize] = Link { older: queue.newest, newer: NONE };
        *(if queue.newest == NONE { &mut queue.oldest } else { &mut links[queue.newest as usize].newer }) = id;
        queue.newest = id;
        queue.len += 1;
    }

    /// Returns the next entry to evict except `keep`. Returns `NONE` without such an entry.
    pub(super) fn victim(&mut self, keep: SlotId, entries: &Entries) -> SlotId {
        for turn in 0.. {
            let is_small = self.small.len * SMALL > self.main.len + self.small.len || self.main.len == 0;
            let id = if is_small { self.small.oldest } else { self.main.oldest };
            let Some(found) = entries.get(id) else { return NONE };
            let is_used = found.used() & !MAIN != 0 && turn < PATIENCE;
            if id == keep && self.small.len + self.main.len == 1 {
                return NONE;
            }
            if id != keep && !is_used {
                if is_small {
                    self.ghosts.add(entries.hash_of(id), self.main.len + self.small.len);
                }
                return id;
            }
            self.remove(found);
            let uses = found.used() & !MAIN;
            found.use_at(MAIN | if is_small { 0 } else { uses.saturating_sub(1) });
            self.push(found);
        }
        NONE
    }
}

/// The hashes of the keys that were evicted from the small queue, oldest first.
#[derive(Default)]
struct Ghosts {
    hashes: HashTable<u32>,
    oldest_first: VecDeque<u32>,
}

impl Ghosts {
    /// Adds a hash, and removes the oldest ones beyond a number. Adds nothing if there is no memory for it: an entry that
    /// comes back is then queued like any other.
    fn add(&mut self, hash: u32, most: usize) {
        let is_room = self.hashes.try_reserve(1, |hash| spread(*hash)).is_ok();
        if !is_room || self.oldest_first.try_reserve(1).is_err() {
            return;
        }
        if self.hashes.find(spread(hash), |known| *known == hash).is_none() {
            self.hashes.insert_unique(spread(hash), hash, |hash| spread(*hash));
        }
        self.oldest_first.push_back(hash);
        while self.oldest_first.len() > most {
            let oldest = self.oldest_first.pop_front();
            oldest.map(|oldest| self.remove(oldest));
        }
    }

    /// Removes a hash. Returns false if it is not known.
    fn remove(&mut self, hash: u32) -> bool {
        self.hashes.find_entry(spread(hash), |known| *known == hash).map(|found| found.remove()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Fresh, Table};
    use super::*;
    use crate::config::Eviction;
    use crate::util::clock::Times;

    /// Reads a key, or sets it, in a cache of some entries. Returns true for a hit.
    fn load(table: &mut Table, key: u32, room: usize) -> bool {
        let name = key.to_be_bytes();
        let now = table.tick();
        if let Some(found) = table.find(key, &name) {
            now.note(found);
            return true;
        }
        if table.len() == room {
            let victim = table.victim(NONE);
            table.remove(victim).unwrap();
        }
        table.insert(Fresh::new(&name, b"v", key, Times::from_now(None)));
        false
    }

    #[test]
    fn a_scan_does_not_evict_what_is_in_use() {
        let mut table = Table::new(Eviction::S3Fifo);
        for _ in 0..3 {
            (0..80).for_each(|key| _ = load(&mut table, key, 100));
        }
        (1000..5000).for_each(|key| assert!(!load(&mut table, key, 100)));
        assert!((0..80).all(|key| load(&mut table, key, 100)));
    }

    #[test]
    fn an_entry_that_comes_back_soon_stays() {
        let mut table = Table::new(Eviction::S3Fifo);
        (0..101).for_each(|key| _ = load(&mut table, key, 100));
        assert!(!load(&mut table, 0, 100), "it was the oldest one that was not used");
        (1000..1300).for_each(|key| _ = load(&mut table, key, 100));
        assert!(load(&mut table, 0, 100));
    }

    /// Checks that the queues link all entries, each once, in both directions.
    fn check(table: &Table) {
        let (queues, entries) = table.queues();
        assert_eq!(queues.small.len + queues.main.len, entries.len());
        for (queue, bit) in [(queues.small, 0), (queues.main, MAIN)] {
            let (mut id, mut newer, mut count) = (queue.newest, NONE, 0);
            while id != NONE {
                assert_eq!(entries.get(id).unwrap().used() & MAIN, bit);
                assert_eq!(queues.links[id as usize].newer, newer);
                (newer, id, count) = (id, queues.links[id as usize].older, count + 1);
            }
            assert_eq!((newer, count), (queue.oldest, queue.len));
        }
    }

    #[test]
    fn the_queues_link_every_entry_once_under_random_operations() {
        let (mut table, mut random) = (Table::new(Eviction::S3Fifo), fastrand::Rng::with_seed(7));
        for _ in 0..20_000 {
            let key = random.u32(..300);
            let found = table.find(key, &key.to_be_bytes()).map(Value::slot);
            match (random.u8(..6), found) {
                (0, Some(id)) => drop(table.remove(id)),
                (1, Some(id)) => {
                    table.replace(id, Fresh::new(&key.to_be_bytes(), b"w", key, Times::from_now(None)));
                }
                (2, keep) => {
                    let victim = table.victim(keep.unwrap_or(NONE));
                    assert!(victim == NONE || Some(victim) != keep);
                    table.remove(victim);
                }
                _ => _ = load(&mut table, key, 100),
            }
            check(&table);
        }
    }

    #[test]
    fn the_entry_for_which_room_is_made_stays() {
        let mut table = Table::new(Eviction::S3Fifo);
        let only = table.insert(Fresh::new(b"k", b"v", 7, Times::from_now(None)));
        assert_eq!((table.victim(only), table.victim(NONE)), (NONE, only));
        let other = table.insert(Fresh::new(b"l", b"v", 8, Times::from_now(None)));
        assert_eq!((table.victim(only), table.victim(other)), (other, only));
    }
}
