//! One shard: an index of keys, slots in order of use, tags. All of it under one lock.

use hashbrown::HashTable;

use super::lru::{Fresh, Lru, NONE, Slot, SlotId};
use super::tags::{Condemned, TagName, Tags};
use crate::backend::{Counters, Page, Position, Wanted};
use crate::value::Value;

/// What an entry takes beside its key and value: two reference counts, slot,
/// links and its share of the index. The allocator's rounding is not counted.
const ENTRY_OVERHEAD: usize = 16 + 48 + 8;
/// What each tag of an entry takes.
const MEMBER_OVERHEAD: usize = 20;

/// Bytes an entry takes: key and value, and what surrounds them.
pub(super) fn entry_cost(len: usize, tags: usize) -> usize {
    len + ENTRY_OVERHEAD + tags * MEMBER_OVERHEAD
}

/// An entry that was taken out, to be dropped once the lock is released.
pub(super) struct Removed {
    slot: Slot,
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

#[derive(Default)]
pub(super) struct Shard {
    index: HashTable<SlotId>,
    lru: Lru,
    tags: Tags,
    /// Bytes of keys and values.
    bytes: usize,
    pub(super) counters: Counters,
}

impl Shard {
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
            (Some(slot), _) => Lookup::Hit(slot.value()),
            (None, Some(dead)) => Lookup::Dead(dead),
            (None, None) => Lookup::Miss,
        }
    }

    /// The slot of a key, dead or alive.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<SlotId> {
        let matches = |id: &SlotId| self.lru.get(*id).is_some_and(|slot| slot.hash == hash && slot.key() == key);
        self.index.find(spread(hash), matches).copied()
    }

    pub(super) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.lru.get(id)
    }

    /// Makes it the most recently used.
    pub(super) fn touch(&mut self, id: SlotId) {
        self.lru.touch(id);
    }

    /// Bytes one entry takes.
    pub(super) fn cost_of(&self, id: SlotId) -> usize {
        self.lru.get(id).map_or(0, |slot| entry_cost(slot.len(), self.tags.count(slot.members)))
    }

    pub(super) fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.lru.get_mut(id)
    }

    /// Puts a new entry where an old one of the same key was.
    pub(super) fn replace(&mut self, id: SlotId, fresh: Fresh, tags: &[TagName]) -> Option<Removed> {
        self.bytes += fresh.bytes.len();
        let old = self.lru.replace(id, fresh).map(|slot| self.removed(slot));
        self.join(id, tags);
        old
    }

    /// Adds an entry whose key is not there. Room was made before.
    pub(super) fn insert(&mut self, fresh: Fresh, tags: &[TagName]) {
        let (hash, len) = (fresh.hash, fresh.bytes.len());
        let id = self.lru.insert(fresh);
        let lru = &self.lru;
        self.index.insert_unique(spread(hash), id, |id| lru.get(*id).map_or(0, |slot| spread(slot.hash)));
        self.bytes += len;
        self.join(id, tags);
    }

    fn join(&mut self, id: SlotId, tags: &[TagName]) {
        self.counters.sets += 1;
        let mut members = NONE;
        for tag in tags {
            members = self.tags.join(*tag, id, members);
        }
        if let Some(slot) = self.lru.get_mut(id) {
            slot.members = members;
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Removed> {
        let slot = self.lru.remove(id)?;
        if let Ok(found) = self.index.find_entry(spread(slot.hash), |indexed| *indexed == id) {
            found.remove();
        }
        Some(self.removed(slot))
    }

    /// Takes what was in a slot out of the tags and the sums.
    fn removed(&mut self, slot: Slot) -> Removed {
        let tags = self.tags.leave(slot.members);
        self.bytes -= slot.len();
        Removed { cost: entry_cost(slot.len(), tags), slot }
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
        let expired = removed.slot.deadline.has_passed();
        self.counters.expirations += u64::from(expired);
        self.counters.evictions += u64::from(!expired && dead.is_none());
        Some(removed)
    }

    /// Whether an entry may be served: its time is not over, no tag of it was invalidated.
    #[inline]
    pub(super) fn is_live(&self, id: SlotId) -> bool {
        self.lru.get(id).is_some_and(|slot| {
            !slot.deadline.has_passed() && (slot.members == NONE || self.tags.all_live(slot.members))
        })
    }

    /// Removes a dead entry, and counts it if it was its time that was over.
    #[cold]
    pub(super) fn remove_dead(&mut self, id: SlotId) -> Option<Removed> {
        let removed = self.remove(id)?;
        self.counters.expirations += u64::from(removed.slot.deadline.has_passed());
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
        let slot = self.lru.get(id)?;
        let counts = !slot.deadline.has_passed() && self.tags.all_live_but(slot.members, condemned);
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
        let slot = self.lru.get(id)?;
        let tagged = wanted.tags.is_empty() || self.tags.any_of(slot.members, tags);
        (tagged && slot.key().starts_with(wanted.literal_prefix) && self.is_live(id)).then(|| slot.key())
    }

    /// How many entries can be served.
    pub(super) fn count_live(&self) -> usize {
        (0..self.lru.end()).map(slot_id).filter(|id| self.is_live(*id)).count()
    }

    /// An empty shard with the counters of this one takes its place.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self { counters: self.counters, ..Self::default() })
    }
}

/// Slot numbers are 32 bits wide: `Lru::insert` gives out no others.
#[allow(clippy::cast_possible_truncation)]
fn slot_id(number: usize) -> SlotId {
    number as SlotId
}

/// A slot keeps 32 bits of its hash; the index looks at both ends of 64.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
