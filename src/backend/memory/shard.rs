//! One shard: an index of keys, slots in order of use, tags. All of it under one lock.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::index::Index;
use super::lru::{Entry, Lru, NONE, SlotId};
use super::tags::{Condemned, TagName, Tags};
use crate::backend::{Counters, Page, Position, Wanted};
use crate::value::Value;

/// What an entry takes beside its key and value: reference count and lengths,
/// slot, and its share of the index. The allocator's rounding is not counted.
const ENTRY_OVERHEAD: usize = 20 + 32 + 16;
/// What each tag of an entry takes.
const MEMBER_OVERHEAD: usize = 20;

/// Bytes an entry takes: key and value, and what surrounds them.
pub(super) fn entry_cost(len: usize, tags: usize) -> usize {
    len + ENTRY_OVERHEAD + tags * MEMBER_OVERHEAD
}

/// An entry that was taken out, to be dropped once the lock is released.
pub(super) struct Removed {
    entry: Entry,
    /// The bytes it took.
    pub(super) cost: usize,
}

/// What a read met.
pub(super) enum Lookup {
    Hit(Value),
    Miss,
    /// An entry that cannot be served any more and is to be removed.
    Dead(SlotId),
}

/// A hash of a key: the upper half chooses the shard, the lower the place in its index.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    #[inline]
    pub(super) fn of(hasher: &RandomState, key: &[u8]) -> Self {
        Self(hasher.hash_one(key))
    }

    #[allow(clippy::cast_possible_truncation)] // The half that is kept.
    #[inline]
    pub(super) fn of_slot(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(super) fn of_shard(self) -> usize {
        (self.0 >> 32) as usize
    }
}

pub(super) struct Shard {
    hasher: RandomState,
    index: Index,
    lru: Lru,
    tags: Tags,
    /// Bytes of keys and values.
    bytes: usize,
    pub(super) counters: Counters,
}

impl Shard {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            hasher,
            index: Index::default(),
            lru: Lru::default(),
            tags: Tags::default(),
            bytes: 0,
            counters: Counters::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes the entries take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.len() * ENTRY_OVERHEAD + self.tags.members() * MEMBER_OVERHEAD
    }

    /// The value of a key, which becomes the most recently used.
    #[inline]
    pub(super) fn get(&mut self, hash: u32, key: &[u8]) -> Lookup {
        let found = self.find(hash, key);
        let live = found.filter(|id| self.is_live(*id));
        self.counters.hits += u64::from(live.is_some());
        self.counters.misses += u64::from(live.is_none());
        if let Some(id) = live {
            self.lru.touch(id);
        }
        match (live.and_then(|id| self.lru.get(id)), found) {
            (Some(entry), _) => Lookup::Hit(entry.value().clone()),
            (None, Some(dead)) => Lookup::Dead(dead),
            (None, None) => Lookup::Miss,
        }
    }

    /// The slot of a key, dead or alive.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<SlotId> {
        self.index.find(hash, |id| self.lru.get(id).is_some_and(|entry| entry.key() == key))
    }

    /// Makes it the most recently used.
    pub(super) fn touch(&mut self, id: SlotId) {
        self.lru.touch(id);
    }

    /// Bytes one entry takes.
    pub(super) fn cost_of(&self, id: SlotId) -> usize {
        self.lru.get(id).map_or(0, |entry| entry_cost(entry.len(), self.tags.count(entry.members)))
    }

    pub(super) fn entry(&self, id: SlotId) -> Option<&Entry> {
        self.lru.get(id)
    }

    pub(super) fn entry_mut(&mut self, id: SlotId) -> Option<&mut Entry> {
        self.lru.get_mut(id)
    }

    /// Puts a new entry where an old one of the same key was.
    pub(super) fn replace(&mut self, id: SlotId, entry: Entry, tags: &[TagName]) -> Option<Removed> {
        self.bytes += entry.len();
        let old = self.lru.replace(id, entry).map(|entry| self.removed(entry));
        self.join(id, tags);
        old
    }

    /// Adds an entry whose key is not there. Room was made before.
    pub(super) fn insert(&mut self, hash: u32, entry: Entry, tags: &[TagName]) {
        self.bytes += entry.len();
        let id = self.lru.insert(entry);
        self.index.insert(hash, id);
        self.join(id, tags);
    }

    fn join(&mut self, id: SlotId, tags: &[TagName]) {
        self.counters.sets += 1;
        let members = tags.iter().fold(NONE, |members, tag| self.tags.join(*tag, id, members));
        if let Some(entry) = self.lru.get_mut(id).filter(|_| members != NONE) {
            entry.members = members;
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Removed> {
        let entry = self.lru.remove(id)?;
        self.index.remove(Hash::of(&self.hasher, entry.key()).of_slot(), id);
        Some(self.removed(entry))
    }

    /// Takes what was in a slot out of the tags and the sums.
    fn removed(&mut self, entry: Entry) -> Removed {
        let tags = self.tags.leave(entry.members);
        self.bytes -= entry.len();
        Removed { cost: entry_cost(entry.len(), tags), entry }
    }

    /// Removes what nobody can read any more, else the least recently used.
    /// `keep`, the most recently used, stays: it is what the room is for.
    pub(super) fn evict(&mut self, keep: SlotId) -> Option<Removed> {
        let dead = self.tags.any_condemned().filter(|id| *id != keep);
        let id = dead.unwrap_or_else(|| self.lru.back());
        if id == keep {
            return None;
        }
        let removed = self.remove(id)?;
        let expired = removed.entry.deadline.has_passed();
        self.counters.expirations += u64::from(expired);
        self.counters.evictions += u64::from(!expired && dead.is_none());
        Some(removed)
    }

    /// Whether an entry may be served: its time is not over, no tag of it was invalidated.
    #[inline]
    pub(super) fn is_live(&self, id: SlotId) -> bool {
        self.lru.get(id).is_some_and(|entry| {
            !entry.deadline.has_passed() && (entry.members == NONE || self.tags.all_live(entry.members))
        })
    }

    /// Removes a dead entry, and counts it if it was its time that was over.
    #[cold]
    pub(super) fn remove_dead(&mut self, id: SlotId) -> Option<Removed> {
        let removed = self.remove(id)?;
        self.counters.expirations += u64::from(removed.entry.deadline.has_passed());
        Some(removed)
    }

    /// Makes all members of a tag dead.
    pub(super) fn condemn(&mut self, tag: TagName) -> Option<Condemned> {
        self.tags.condemn(tag)
    }

    /// Removes a member of a condemned tag, and tells whether it could have
    /// been served but for that; `None` when there are no more.
    pub(super) fn remove_member(&mut self, condemned: Condemned) -> Option<(Removed, bool)> {
        let id = self.tags.member_of(condemned)?;
        let entry = self.lru.get(id)?;
        let counts = !entry.deadline.has_passed() && self.tags.all_live_but(entry.members, condemned);
        self.remove(id).map(|removed| (removed, counts))
    }

    /// Removes an entry that an invalidated tag left behind.
    pub(super) fn remove_condemned(&mut self) -> Option<Removed> {
        self.remove(self.tags.any_condemned()?)
    }

    /// Removes the dead among some slots; where to go on, `None` at the end.
    pub(super) fn sweep(&mut self, from: usize, count: usize, removed: &mut Vec<Removed>) -> Option<usize> {
        let end = (from + count).min(self.lru.end());
        for id in (from..end).map(slot_id) {
            if self.lru.get(id).is_some() && !self.is_live(id) {
                removed.extend(self.remove_dead(id));
            }
        }
        (end < self.lru.end()).then_some(end)
    }

    /// Adds the wanted keys among `count` slots to a page, up to `limit` in all.
    pub(super) fn list(
        &self,
        wanted: &Wanted,
        tags: &[TagName],
        at: Position,
        count: usize,
        limit: usize,
        page: &mut Page,
    ) {
        let from = usize::try_from(at.offset).unwrap_or(usize::MAX);
        let end = from.saturating_add(count).min(self.lru.end());
        let tag_ids: Vec<u32> = tags.iter().filter_map(|tag| self.tags.find(*tag)).collect();
        let mut next = from;
        while next < end && page.keys.len() < limit {
            if let Some(key) = self.wanted_key(slot_id(next), wanted, &tag_ids) {
                page.keys.push(key);
            }
            next += 1;
        }
        page.next = (next < self.lru.end()).then_some(Position { part: at.part, offset: next as u64 });
    }

    fn wanted_key(&self, id: SlotId, wanted: &Wanted, tags: &[u32]) -> Option<&[u8]> {
        let entry = self.lru.get(id)?;
        let tagged = wanted.tags.is_empty() || self.tags.any_of(entry.members, tags);
        (tagged && entry.key().starts_with(wanted.literal_prefix) && self.is_live(id)).then(|| entry.key())
    }

    /// How many entries can be served.
    pub(super) fn count_live(&self) -> usize {
        (0..self.lru.end()).map(slot_id).filter(|id| self.is_live(*id)).count()
    }

    /// An empty shard with the counters of this one takes its place.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self { counters: self.counters, ..Self::new(self.hasher.clone()) };
        std::mem::replace(self, empty)
    }
}

/// Slot numbers are 32 bits wide: `Lru::insert` gives out no others.
#[allow(clippy::cast_possible_truncation)]
fn slot_id(number: usize) -> SlotId {
    number as SlotId
}

#[cfg(test)]
impl Shard {
    pub(super) fn tag_count(&self) -> usize {
        self.tags.len()
    }
}
