//! One shard: an index of keys, slots in order of use, and tags, under one lock.

use std::collections::HashMap;

use hashbrown::HashTable;

use super::loading::{End, KEPT_OVERHEAD, Kept, Lease, Loading, spread};
use super::lru::{Entry, Lru, NONE, SlotId};
use super::tags::{TagName, Tags};
use crate::backend::{Counters, KeyFilter, Page, ScanCursor};
use crate::util::allocation;
use crate::util::clock::Moment;
use crate::value::Value;

/// Bytes of an entry in addition to its key and value: reference count and lengths, slot, record of use, and its share
/// of the index. The allocator's rounding is not counted.
const ENTRY_OVERHEAD: usize = 20 + 32 + 12 + 8;
/// Bytes of each tag of an entry.
const MEMBER_OVERHEAD: usize = 20;

/// The growth of a shard after which memory is checked again.
const STEP: usize = 32 * 1024;
/// The memory that has to be there then: other shards grow meanwhile.
const HEADROOM: usize = 2 << 20;
/// The same for each entry: tables double, and are copied.
const TABLES: usize = 128;

/// Returns the bytes of an entry: key, value and overhead.
pub(super) fn entry_cost(len: usize, tags: usize, kept: bool) -> usize {
    len + ENTRY_OVERHEAD + tags * MEMBER_OVERHEAD + usize::from(kept) * KEPT_OVERHEAD
}

/// A removed entry, to be dropped after the lock is released.
pub(super) struct Removed {
    entry: Entry,
    /// The bytes of the entry.
    pub(super) cost: usize,
}

/// The result of a read.
pub(super) enum Lookup<'a> {
    Hit(&'a Value),
    Miss,
    /// A dead entry, which is to be removed.
    Dead(SlotId),
}

/// A shard. A hit reads and writes two cache lines, in addition to the lock.
#[derive(Default)]
#[repr(C)]
pub(super) struct Shard {
    pub(super) counters: Counters,
    index: HashTable<SlotId>,
    lru: Lru,
    tags: Tags,
    /// Bytes of keys and values.
    bytes: usize,
    /// The bytes up to which the shard may grow until memory for more is checked.
    checked: usize,
    /// The versions of the entries whose versions were asked for. A set or a removal ends a version.
    versions: HashMap<SlotId, u64>,
    /// The last version that was given; none is given twice.
    last_version: u64,
    /// `None` until the first lease.
    loading: Option<Box<Loading>>,
}

impl Shard {
    /// Returns an empty shard that counts versions from a number on.
    pub(super) fn counting_from(last_version: u64) -> Self {
        Self { last_version, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of the entries.
    pub(super) fn bytes(&self) -> usize {
        let kept = self.loading.as_ref().map_or(0, |loading| loading.kept_count());
        self.bytes_without_kept() + kept * KEPT_OVERHEAD
    }

    #[inline]
    fn bytes_without_kept(&self) -> usize {
        self.bytes + self.len() * ENTRY_OVERHEAD + self.tags.members() * MEMBER_OVERHEAD
    }

    /// Returns whether an entry of this cost would make the shard larger than memory was checked for.
    #[inline]
    pub(super) fn outgrows(&self, cost: usize) -> bool {
        self.bytes_without_kept() + cost > self.checked
    }

    /// Returns whether there is memory for such an entry, the next ones, and larger tables.
    #[cold]
    pub(super) fn may_grow(&mut self, cost: usize) -> bool {
        let is_there = allocation::is_there(HEADROOM + TABLES * self.len() + cost);
        if is_there {
            self.checked = self.bytes_without_kept() + cost + STEP;
        }
        is_there
    }

    /// Returns the value of a key, which becomes the most recently used.
    #[inline(always)]
    pub(super) fn get(&mut self, hash: u32, key: &[u8]) -> Lookup<'_> {
        match self.find(hash, key) {
            Some(id) => self.serve(id),
            None => self.miss(Lookup::Miss),
        }
    }

    /// Returns the value of a slot, which becomes the most recently used.
    #[inline(always)]
    pub(super) fn serve(&mut self, id: SlotId) -> Lookup<'_> {
        if !self.is_live(id) {
            return self.miss(Lookup::Dead(id));
        }
        self.counters.hits += 1;
        self.lru.touch(id).map_or(Lookup::Miss, |entry| Lookup::Hit(entry.value()))
    }

    fn miss<'a>(&mut self, lookup: Lookup<'a>) -> Lookup<'a> {
        self.counters.misses += 1;
        lookup
    }

    /// Returns the slots of keys of this shard. All hashes are looked up before any key is read, so that the cache
    /// misses of one key overlap with those of the others.
    pub(super) fn find_many<'a>(&self, keys: impl Iterator<Item = (u32, &'a [u8])> + Clone, found: &mut Vec<SlotId>) {
        found.clear();
        found.extend(keys.clone().map(|(hash, _)| self.find_hash(hash).unwrap_or(NONE)));
        for (slot, (hash, key)) in found.iter_mut().zip(keys) {
            *slot = self.confirm(*slot, hash, key).unwrap_or(NONE);
        }
    }

    /// Returns the slot of a key, dead or alive.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<SlotId> {
        self.confirm(self.find_hash(hash)?, hash, key)
    }

    /// Returns the first slot with this hash, which is nearly always that of the key.
    #[inline]
    fn find_hash(&self, hash: u32) -> Option<SlotId> {
        self.index.find(spread(hash), |id| self.lru.get(*id).is_some_and(|entry| entry.hash == hash)).copied()
    }

    #[inline]
    fn confirm(&self, slot: SlotId, hash: u32, key: &[u8]) -> Option<SlotId> {
        if self.lru.get(slot)?.key() == key { Some(slot) } else { self.find_among_equal_hashes(hash, key) }
    }

    #[cold]
    fn find_among_equal_hashes(&self, hash: u32, key: &[u8]) -> Option<SlotId> {
        let is_it = |id: &SlotId| self.lru.get(*id).is_some_and(|entry| entry.hash == hash && entry.key() == key);
        self.index.find(spread(hash), is_it).copied()
    }

    /// Returns the hashes of the tags of an entry.
    pub(super) fn tags_of(&self, entry: &Entry) -> Vec<u64> {
        self.tags.names_of(entry.members).collect()
    }

    /// Returns the hashes of the tags of an entry, and whether each is valid.
    pub(super) fn tag_states(&self, entry: &Entry) -> impl Iterator<Item = (u64, bool)> {
        self.tags.states_of(entry.members)
    }

    /// Marks a slot as the most recently used.
    pub(super) fn touch(&mut self, id: SlotId) {
        self.lru.touch(id);
    }

    /// Returns the bytes of an entry.
    pub(super) fn cost_of(&self, id: SlotId) -> usize {
        let kept = self.kept(id).is_some();
        self.lru.get(id).map_or(0, |entry| entry_cost(entry.len(), self.tags.count(entry.members), kept))
    }

    pub(super) fn entry(&self, id: SlotId) -> Option<&Entry> {
        self.lru.get(id)
    }

    pub(super) fn entry_mut(&mut self, id: SlotId) -> Option<&mut Entry> {
        self.lru.get_mut(id)
    }

    /// Returns the version of an entry, which is given to it when it is first asked for.
    pub(super) fn version(&mut self, id: SlotId) -> u64 {
        let last = &mut self.last_version;
        *self.versions.entry(id).or_insert_with(|| {
            *last = last.wrapping_add(1);
            *last
        })
    }

    /// Ends the version of the entry of a slot.
    #[inline]
    fn end_version(&mut self, id: SlotId) {
        if !self.versions.is_empty() {
            self.versions.remove(&id);
        }
    }

    /// Replaces the entry of a key, and returns the previous one.
    #[inline]
    pub(super) fn replace(&mut self, id: SlotId, entry: Entry, tags: &[TagName]) -> Option<Entry> {
        self.bytes += entry.len();
        self.end_version(id);
        let old = self.lru.replace(id, entry)?;
        self.bytes -= old.len();
        // In this order a tag that both have keeps its record.
        self.join(id, tags);
        self.tags.leave(old.members);
        Some(old)
    }

    /// Adds an entry for a new key. Room was made before.
    pub(super) fn insert(&mut self, entry: Entry, tags: &[TagName]) -> SlotId {
        self.bytes += entry.len();
        let hash = spread(entry.hash);
        let id = self.lru.insert(entry);
        let lru = &self.lru;
        self.index.insert_unique(hash, id, |id| lru.get(*id).map_or(0, |entry| spread(entry.hash)));
        self.join(id, tags);
        id
    }

    #[inline]
    fn join(&mut self, id: SlotId, tags: &[TagName]) {
        self.counters.sets += 1;
        if !tags.is_empty() {
            self.join_some(id, tags);
        }
    }

    fn join_some(&mut self, id: SlotId, tags: &[TagName]) {
        let members = tags.iter().fold(NONE, |members, tag| self.tags.join(*tag, id, members));
        if let Some(entry) = self.lru.get_mut(id) {
            entry.members = members;
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Removed> {
        let entry = self.lru.remove(id)?;
        self.end_version(id);
        if let Ok(found) = self.index.find_entry(spread(entry.hash), |indexed| *indexed == id) {
            found.remove();
        }
        let kept = self.loading.as_mut().is_some_and(|loading| loading.keep(id, None));
        Some(self.removed(entry, kept))
    }

    /// Removes the entry of a slot from the tags and the sums.
    #[inline]
    fn removed(&mut self, entry: Entry, kept: bool) -> Removed {
        let tags = self.tags.leave(entry.members);
        self.bytes -= entry.len();
        Removed { cost: entry_cost(entry.len(), tags, kept), entry }
    }

    /// Evicts an invalidated entry if there is one, else the least recently used entry. `keep`, the most recently used
    /// entry, remains: the room is for it.
    pub(super) fn evict(&mut self, keep: SlotId) -> Option<Removed> {
        let dead = self.tags.any_invalidated().filter(|id| *id != keep);
        let id = dead.unwrap_or_else(|| self.lru.least_recent());
        if id == keep {
            return None;
        }
        let kept = self.is_kept(id);
        let removed = self.remove(id)?;
        let expired = !kept && removed.entry.deadline.has_passed();
        self.counters.expirations += u64::from(expired);
        self.counters.evictions += u64::from(!expired && dead.is_none());
        Some(removed)
    }

    /// Returns true if an entry may be served: it has not expired, and none of its tags was invalidated.
    #[inline]
    pub(super) fn is_live(&self, id: SlotId) -> bool {
        let Some(entry) = self.lru.get(id) else { return false };
        !entry.deadline.has_passed() && (entry.members == NONE || self.tags.all_live(entry.members))
    }

    /// Removes a dead entry, and counts it if it has expired. A stale value and a remembered absence stay.
    #[cold]
    pub(super) fn remove_dead(&mut self, id: SlotId) -> Option<Removed> {
        if self.is_kept(id) {
            return None;
        }
        let removed = self.remove(id)?;
        self.counters.expirations += u64::from(removed.entry.deadline.has_passed());
        Some(removed)
    }

    /// Invalidates all members of a tag.
    pub(super) fn invalidate(&mut self, tag: TagName) {
        self.tags.invalidate(tag);
    }

    /// Invalidates all members of a tag. Returns the number of those that could be served.
    pub(super) fn invalidate_and_count(&mut self, tag: TagName) -> usize {
        let live = |id: &SlotId| self.is_live(*id);
        let count = self.tags.members_of(tag).filter(live).count();
        self.tags.invalidate(tag);
        count
    }

    /// Removes some entries that invalidated tags left behind.
    pub(super) fn remove_invalidated(&mut self, count: usize, removed: &mut Vec<Removed>) {
        removed.extend(std::iter::from_fn(|| self.remove(self.tags.any_invalidated()?)).take(count));
    }

    /// Removes the dead entries among some slots. Returns the slot to continue at, or `None` at the end.
    pub(super) fn sweep(
        &mut self,
        from: usize,
        count: usize,
        now: Moment,
        removed: &mut Vec<Removed>,
    ) -> Option<usize> {
        let end = (from + count).min(self.lru.end());
        for id in (from..end).map(slot_id) {
            let expired = self.lru.get(id).is_some_and(|entry| entry.deadline.has_passed_at(now)) && !self.is_kept(id);
            self.counters.expirations += u64::from(expired);
            removed.extend(if expired { self.remove(id) } else { None });
        }
        (end < self.lru.end()).then_some(end)
    }

    /// Adds the wanted keys of `count` slots to a page, up to `limit` keys.
    pub(super) fn list(
        &self,
        wanted: &KeyFilter,
        tags: &[TagName],
        at: ScanCursor,
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
        page.next = (next < self.lru.end()).then_some(ScanCursor { part: at.part, offset: next as u64, ..at });
    }

    fn wanted_key(&self, id: SlotId, wanted: &KeyFilter, tags: &[u32]) -> Option<&[u8]> {
        let entry = self.lru.get(id)?;
        let tagged = wanted.tags.is_empty() || self.tags.any_of(entry.members, tags);
        (tagged && entry.key().starts_with(wanted.literal_prefix) && self.is_live(id)).then(|| entry.key())
    }

    /// Returns the number of entries that can be served.
    pub(super) fn count_live(&self) -> usize {
        (0..self.lru.end()).map(slot_id).filter(|id| self.is_live(*id)).count()
    }

    /// Replaces this shard by an empty one with the same counters, which continues to count versions.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self { counters: self.counters, last_version: self.last_version, ..Self::default() };
        std::mem::replace(self, empty)
    }
}

/// Converts a slot number, which has 32 bits: `Lru::insert` returns no others.
#[allow(clippy::cast_possible_truncation)]
fn slot_id(number: usize) -> SlotId {
    number as SlotId
}

/// The result of a read for loading.
pub(super) enum Read {
    /// The value is fresh, and due for an early refresh or not.
    Fresh(Value, bool),
    Stale(Value),
    Absent,
    /// The key has no entry, or this one, which is dead.
    Vacant(SlotId),
}

/// Loads: leases, stale values and remembered absences. To plain operations an entry that is only kept is dead.
impl Shard {
    /// Returns the value of a key if it is fresh. An entry that may be due for an early refresh is left to `read`.
    #[inline(always)]
    pub(super) fn hit(&mut self, hash: u32, key: &[u8], refresh_ahead: bool) -> Option<&Value> {
        let id = self.find(hash, key).filter(|id| self.is_live(*id))?;
        if refresh_ahead && self.kept(id).is_some() {
            return None;
        }
        self.counters.hits += 1;
        self.lru.touch(id).map(Entry::value)
    }

    /// Reads a key for loading.
    #[inline]
    pub(super) fn read(&mut self, hash: u32, key: &[u8], refresh_ahead: bool) -> Read {
        match self.find(hash, key) {
            Some(id) if self.is_live(id) => {
                let is_due = refresh_ahead && self.is_due(id);
                self.used(id).map_or(Read::Vacant(NONE), |value| Read::Fresh(value, is_due))
            }
            Some(id) => self.read_kept(id),
            None => Read::Vacant(NONE),
        }
    }

    #[cold]
    fn read_kept(&mut self, id: SlotId) -> Read {
        match self.kept(id).map(|kept| kept.end).filter(|_| self.is_kept(id)) {
            Some(End::Absent(_)) => {
                self.lru.touch(id);
                Read::Absent
            }
            Some(End::Stale(_)) => self.used(id).map_or(Read::Vacant(NONE), Read::Stale),
            None => Read::Vacant(id),
        }
    }

    /// Returns the value of a slot, which becomes the most recently used.
    #[inline]
    fn used(&mut self, id: SlotId) -> Option<Value> {
        self.counters.hits += 1;
        self.lru.touch(id).map(|entry| entry.value().clone())
    }

    fn is_due(&self, id: SlotId) -> bool {
        self.kept(id).zip(self.lru.get(id)).is_some_and(|(kept, entry)| kept.is_due(entry.deadline))
    }

    /// Returns true if an entry whose time to live is over is still kept, and none of its tags was invalidated.
    fn is_kept(&self, id: SlotId) -> bool {
        self.kept(id).zip(self.lru.get(id)).is_some_and(|(kept, entry)| {
            kept.is_kept(entry.deadline) && (entry.members == NONE || self.tags.all_live(entry.members))
        })
    }

    #[inline]
    pub(super) fn kept(&self, id: SlotId) -> Option<&Kept> {
        self.loading.as_ref()?.kept(id)
    }

    /// Replaces what is kept of an entry that was stored in a slot, and ends the lease of its key. The result is to be
    /// dropped after the shard is unlocked.
    #[inline]
    pub(super) fn saw_set(&mut self, id: SlotId, kept: Option<&Kept>) -> Option<Box<Lease>> {
        // The only cost of loads for a plain set.
        if self.loading.is_none() && kept.is_none() { None } else { self.keep_and_end_lease(id, kept) }
    }

    #[inline(never)]
    fn keep_and_end_lease(&mut self, id: SlotId, kept: Option<&Kept>) -> Option<Box<Lease>> {
        let loading = self.loading.get_or_insert_default();
        loading.keep(id, kept);
        let entry = self.lru.get(id)?;
        loading.end(entry.hash, entry.key())
    }

    /// Returns the number of entries that are only kept, and their bytes.
    pub(super) fn hidden(&self) -> (usize, usize) {
        let Some(loading) = &self.loading else { return (0, 0) };
        let hidden = loading.slots().filter(|id| !self.is_live(*id));
        hidden.fold((0, 0), |(count, bytes), id| (count + 1, bytes + self.cost_of(id)))
    }

    /// Returns the lease of a key, also one that has expired.
    pub(super) fn lease(&mut self, hash: u32, key: &[u8]) -> Option<&mut Lease> {
        self.loading.as_mut()?.lease(hash, key)
    }

    /// Registers a lease. Returns the one before it, to be dropped after the shard is unlocked.
    pub(super) fn put_lease(&mut self, lease: Box<Lease>) -> Option<Box<Lease>> {
        self.loading.get_or_insert_default().put(lease)
    }

    /// Ends the lease of a key. The result is to be dropped after the shard is unlocked: it wakes the callers that wait.
    #[inline]
    pub(super) fn end_lease(&mut self, hash: u32, key: &[u8]) -> Option<Box<Lease>> {
        self.loading.as_mut()?.end(hash, key)
    }

    /// Ends the leases of the keys for which `ends` is true.
    pub(super) fn end_leases(&mut self, ends: impl Fn(&[u8], &Lease) -> bool) -> Vec<Lease> {
        self.loading.as_mut().map(|loading| loading.end_where(ends)).unwrap_or_default()
    }

    /// Notes that a tag is about to be invalidated: a value that is loaded now is not stored with it. Ends the leases of
    /// the keys whose entries have the tag.
    pub(super) fn note_invalidation(&mut self, tag: TagName) -> Vec<Lease> {
        let Some(mut loading) = self.loading.take() else { return Vec::new() };
        let tag_id = self.tags.find(tag);
        let has_tag = |hash: u32, key: &[u8]| {
            let entry = self.find(hash, key).and_then(|id| self.lru.get(id));
            entry.zip(tag_id).is_some_and(|(entry, tag)| self.tags.any_of(entry.members, &[tag]))
        };
        let ended = loading.note(tag.tag, has_tag);
        self.loading = Some(loading);
        ended
    }

    /// Returns the callers that wait for a load.
    pub(super) fn waiters(&self) -> Vec<std::task::Waker> {
        self.loading.as_ref().map(|loading| loading.waiters()).unwrap_or_default()
    }

    /// Removes the entries among some slots whose keys are wanted, also those that are only kept. Returns the number of
    /// those that could be served, and the slot to continue at.
    pub(super) fn remove_wanted(
        &mut self,
        from: usize,
        count: usize,
        wanted: impl Fn(&[u8]) -> bool,
        removed: &mut Vec<Removed>,
    ) -> (u64, Option<usize>) {
        let (end, mut live) = ((from + count).min(self.lru.end()), 0);
        for id in (from..end).map(slot_id) {
            if self.lru.get(id).is_some_and(|entry| wanted(entry.key())) {
                live += u64::from(self.is_live(id));
                removed.extend(self.remove(id));
            }
        }
        self.counters.deletes += live;
        (live, (end < self.lru.end()).then_some(end))
    }
}

#[cfg(test)]
impl Shard {
    pub(super) fn tag_count(&self) -> usize {
        self.tags.len()
    }
}
