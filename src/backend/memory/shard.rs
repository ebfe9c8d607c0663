//! One shard: entries and tags under one lock.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::loading::{End, KEPT_OVERHEAD, Kept, Lease, Loading};
use super::store::Wanted;
use super::table::{BLOCK, Fresh, HEADROOM, NONE, SlotId, Table, slot_id};
use super::tags::{TagName, Tags};
use crate::backend::barrier::BarrierPattern;
use crate::backend::{Counters, KeyFilter, Page, ScanCursor};
use crate::config::Eviction;
use crate::entry::tag_hash;
use crate::error::Result;
use crate::naming::generation_of;
use crate::tag_names::TagNames;
use crate::util::allocation;
use crate::util::clock::{Deadline, Moment, Times};
use crate::value::Value;

/// Bytes of an entry in addition to its key and value: reference count and lengths, notes, slot, record of use, and its
/// share of the index. The allocator's rounding is not counted.
const ENTRY_OVERHEAD: usize = 20 + 16 + 12 + 8 + 16;
/// Bytes of each tag of an entry.
const MEMBER_OVERHEAD: usize = 20;

/// Number of keys that are read at once: enough to overlap their cache misses.
pub(super) const AT_ONCE: usize = 16;

/// The growth of a shard after which memory is checked again.
const STEP: usize = 32 * 1024;

/// Returns the bytes of an entry: key, value and overhead.
pub(super) fn entry_cost(len: usize, tags: usize, kept: bool) -> usize {
    len + ENTRY_OVERHEAD + tags * MEMBER_OVERHEAD + usize::from(kept) * KEPT_OVERHEAD
}

/// A removed entry, to be dropped after the lock is released.
pub(super) struct Removed {
    entry: Value,
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

/// A shard.
#[repr(C)]
pub(super) struct Shard {
    /// The number of clears that it has made up for: see `Clears`.
    pub(super) known_clears: u64,
    pub(super) counters: Counters,
    table: Table,
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
    /// Returns an empty shard with an order of eviction, which counts versions from a number on.
    pub(super) fn new(eviction: Eviction, last_version: u64) -> Self {
        Self {
            known_clears: 0,
            counters: Counters::default(),
            table: Table::new(eviction),
            tags: Tags::default(),
            bytes: 0,
            checked: 0,
            versions: HashMap::new(),
            last_version,
            loading: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
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
        self.grown() + cost > self.checked
    }

    /// The bytes that memory is checked for: those of the entries, and the names of their tags.
    #[inline]
    fn grown(&self) -> usize {
        self.bytes_without_kept() + self.tags.text_bytes()
    }

    /// Returns whether there is memory for such an entry and the next ones.
    #[cold]
    pub(super) fn may_grow(&mut self, cost: usize) -> bool {
        let is_there = allocation::is_there(HEADROOM + cost);
        if is_there {
            self.checked = self.grown() + cost + STEP;
        }
        is_there
    }

    /// Gives a part of the memory that was checked for this shard to another one. Returns the bytes.
    pub(super) fn give_growth(&mut self, bytes: usize) -> usize {
        let given = bytes.min(self.checked);
        self.checked -= given;
        given
    }

    /// Takes what another shard has given. It is not added to what this shard has not used.
    pub(super) fn take_growth(&mut self, bytes: usize) {
        self.checked = self.checked.max(self.grown() + bytes);
    }

    /// Makes room in the tables for one more entry with some tags, of which something may be kept. Returns false if there is
    /// no memory for larger tables.
    #[inline]
    pub(super) fn reserve(&mut self, tags: &[TagName], is_kept: bool) -> bool {
        let is_room = self.table.reserve() && (tags.is_empty() || self.tags.reserve(tags.len()));
        is_room && (!is_kept || self.loading.get_or_insert_default().reserve())
    }

    /// Returns the value of a key, which becomes the most recently used.
    #[inline(always)]
    pub(super) fn get(&mut self, hash: u32, key: &[u8]) -> Lookup<'_> {
        let now = self.table.tick();
        let Some(entry) = self.table.find(hash, key) else {
            self.counters.misses += 1;
            return Lookup::Miss;
        };
        if entry.deadline().has_passed() || !has_valid_tags_now(&self.table, &mut self.tags, entry) {
            self.counters.misses += 1;
            return Lookup::Dead(entry.slot());
        }
        now.note(entry);
        self.counters.hits += 1;
        Lookup::Hit(entry)
    }

    /// Reads up to `AT_ONCE` keys of this shard, which count as used in their order. All entries are found before any value
    /// is shared: the count of references is an atomic operation, which waits for the cache misses before it, and the
    /// misses of the keys overlap until then. Returns the dead entries, which are to be removed.
    pub(super) fn get_some<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a Wanted<'a>>,
        values: &mut [Result<Option<Value>>],
    ) -> Vec<SlotId> {
        let (mut now, mut dead, mut hits) = (self.table.tick_many(AT_ONCE as u32), Vec::new(), 0);
        let find = |wanted: &Wanted| (wanted.place, self.table.find(wanted.hash, wanted.key));
        // Extended where it is: `collect` would move it.
        let mut found: SmallVec<[(usize, Option<&Value>); AT_ONCE]> = SmallVec::new();
        found.extend(keys.map(find));
        for (place, found) in &found {
            let is_live = |entry: &&Value| {
                !entry.deadline().has_passed() && has_valid_tags_now(&self.table, &mut self.tags, entry)
            };
            if let Some(entry) = found.filter(is_live) {
                now.next().note(entry);
                values[*place] = Ok(Some(entry.clone()));
                hits += 1;
            } else {
                dead.extend(found.map(Value::slot));
            }
        }
        self.counters.hits += hits;
        self.counters.misses += found.len() as u64 - hits;
        dead
    }

    /// Returns the slot of a key, dead or alive.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<SlotId> {
        self.table.find(hash, key).map(Value::slot)
    }

    /// Returns the hashes of the tags of an entry, in the order in which it was set with them.
    pub(super) fn tags_of(&self, entry: &Value) -> Vec<u64> {
        let mut tags: Vec<u64> = self.tags.names_of(self.table.members_of(entry)).collect();
        tags.reverse();
        tags
    }

    /// Makes the entry of a slot a member of the present records of its tags, unless it is dead.
    pub(super) fn renew_tags(&mut self, id: SlotId) {
        if let Some(entry) = self.table.get(id) {
            has_valid_tags_now(&self.table, &mut self.tags, entry);
        }
    }

    /// Returns the names of the tags of an entry, if all are known.
    pub(super) fn tag_names_of(&self, entry: &Value) -> TagNames {
        self.tags.texts_of(self.table.members_of(entry), tag_hash(generation_of(entry.key())))
    }

    /// Returns the hashes of the tags of an entry, and whether each is valid.
    pub(super) fn tag_states(&self, entry: &Value) -> impl Iterator<Item = (u64, bool)> {
        self.tags.states_of(self.table.members_of(entry), entry.key())
    }

    /// Returns the deadline and the creation time of an entry.
    pub(super) fn times_of(&self, entry: &Value) -> Times {
        self.table.times_of(entry)
    }

    /// Gives the entry of a slot another deadline.
    pub(super) fn set_deadline(&mut self, id: SlotId, deadline: Deadline) {
        self.table.set_deadline(id, deadline);
    }

    /// Makes the entry of a slot the last to be evicted: room is made for what is stored in its place.
    pub(super) fn keep_longest(&mut self, id: SlotId) {
        self.table.keep_longest(id);
    }

    /// Returns the bytes of an entry.
    pub(super) fn cost_of(&self, id: SlotId) -> usize {
        let kept = self.kept(id).is_some();
        let cost = |entry: &Value| entry_cost(entry.len(), self.tags.count(self.table.members_of(entry)), kept);
        self.table.get(id).map_or(0, cost)
    }

    pub(super) fn entry(&self, id: SlotId) -> Option<&Value> {
        self.table.get(id)
    }

    /// Returns the entry of a key if it can be served.
    #[inline]
    pub(super) fn live(&self, hash: u32, key: &[u8]) -> Option<&Value> {
        self.table.find(hash, key).filter(|entry| self.is_live(entry))
    }

    /// Returns the version of an entry, which is given to it when it is first asked for. If there is no memory for one more
    /// version, all entries get new ones.
    pub(super) fn version(&mut self, id: SlotId) -> u64 {
        if self.versions.try_reserve(1).is_err() {
            self.versions = HashMap::new();
        }
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

    /// Replaces the entry of a key by one without tags, if it has one: see `Table::overwrite`. Returns its slot, and the
    /// previous entry unless the value was written over it.
    #[inline]
    pub(super) fn overwrite(
        &mut self,
        hash: u32,
        key: &[u8],
        value: &[u8],
        times: Times,
    ) -> Option<(SlotId, Option<Value>)> {
        let stay = |members| Some(members == NONE);
        let (id, old) = self.table.overwrite(hash, key, value, times, stay)?;
        Some((id, self.overwritten(id, key, value, old)))
    }

    /// Does the same with an entry that has these tags already; others are not replaced.
    #[inline(never)]
    pub(super) fn overwrite_tagged(
        &mut self,
        hash: u32,
        key: &[u8],
        value: &[u8],
        times: Times,
        tags: &[TagName],
    ) -> Option<(SlotId, Option<Value>)> {
        let stay = |members| self.tags.are_those_of(members, tags).then_some(true);
        let (id, old) = self.table.overwrite(hash, key, value, times, stay)?;
        Some((id, self.overwritten(id, key, value, old)))
    }

    #[inline]
    fn overwritten(&mut self, id: SlotId, key: &[u8], value: &[u8], old: Option<(Value, u32)>) -> Option<Value> {
        self.end_version(id);
        self.counters.sets += 1;
        let (old, members) = old?;
        self.bytes = self.bytes + key.len() + value.len() - old.len();
        self.tags.leave(members);
        Some(old)
    }

    /// Replaces the entry of a key, and returns the previous one.
    #[inline]
    pub(super) fn replace(&mut self, id: SlotId, fresh: Fresh, tags: &[TagName]) -> Option<Value> {
        self.bytes += fresh.len();
        self.end_version(id);
        let (old, members) = self.table.replace(id, fresh)?;
        self.bytes -= old.len();
        // In this order a tag that both have keeps its record.
        self.join(id, tags);
        self.tags.leave(members);
        Some(old)
    }

    /// Adds an entry for a new key. Room was made before.
    pub(super) fn insert(&mut self, fresh: Fresh, tags: &[TagName]) -> SlotId {
        self.bytes += fresh.len();
        let id = self.table.insert(fresh);
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
        self.table.set_members(id, members);
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Removed> {
        let (entry, members) = self.table.remove(id)?;
        self.end_version(id);
        let kept = self.loading.as_mut().is_some_and(|loading| loading.keep(id, None));
        let tags = self.tags.leave(members);
        self.bytes -= entry.len();
        Some(Removed { cost: entry_cost(entry.len(), tags, kept), entry })
    }

    /// Evicts an invalidated entry if there is one, else the first in the order of eviction. `keep`, the most recently used
    /// entry, remains: the room is for it.
    pub(super) fn evict(&mut self, keep: SlotId) -> Option<Removed> {
        let dead = self.tags.any_invalidated().filter(|id| *id != keep);
        let id = dead.unwrap_or_else(|| self.table.victim(keep));
        let kept = self.is_kept(id);
        let removed = self.remove(id)?;
        let expired = !kept && removed.entry.deadline().has_passed();
        self.counters.expirations += u64::from(expired);
        self.counters.evictions += u64::from(!expired && dead.is_none());
        Some(removed)
    }

    /// Returns true if an entry may be served: it has not expired, and none of its tags was invalidated.
    #[inline]
    pub(super) fn is_live(&self, entry: &Value) -> bool {
        !entry.deadline().has_passed() && self.has_valid_tags(entry)
    }

    /// Returns true if a slot has an entry that may be served.
    pub(super) fn is_slot_live(&self, id: SlotId) -> bool {
        self.table.get(id).is_some_and(|entry| self.is_live(entry))
    }

    #[inline(always)]
    fn has_valid_tags(&self, entry: &Value) -> bool {
        !entry.is_tagged() || self.tags.none_dead() || self.are_tags_valid(entry)
    }

    #[inline(never)]
    fn are_tags_valid(&self, entry: &Value) -> bool {
        self.tags.all_live(self.table.members_of(entry), entry.key())
    }

    /// Removes a dead entry, and counts it if it has expired. A stale value and a remembered absence stay.
    #[cold]
    pub(super) fn remove_dead(&mut self, id: SlotId) -> Option<Removed> {
        if self.is_kept(id) {
            return None;
        }
        let removed = self.remove(id)?;
        self.counters.expirations += u64::from(removed.entry.deadline().has_passed());
        Some(removed)
    }

    /// Invalidates all members of a tag.
    pub(super) fn invalidate(&mut self, tag: TagName) {
        self.tags.invalidate(tag);
    }

    /// Invalidates all members of a tag. Returns the number of those that could be served.
    pub(super) fn invalidate_and_count(&mut self, tag: TagName) -> usize {
        let live = |id: &SlotId| self.is_slot_live(*id);
        let count = self.tags.members_of(tag).filter(live).count();
        self.tags.invalidate(tag);
        count
    }

    /// Makes dead the entries of a generation whose keys match one of the patterns, and ends the leases of such keys.
    pub(super) fn bar(&mut self, generation: TagName, patterns: &[Arc<BarrierPattern>]) -> Vec<Lease> {
        self.tags.bar(generation, patterns);
        let is_barred = |key: &[u8]| {
            tag_hash(generation_of(key)) == generation.tag && patterns.iter().any(|pattern| pattern.matches(key))
        };
        self.end_leases(|key, _| is_barred(key))
    }

    /// Removes some entries that invalidated tags left behind.
    pub(super) fn remove_invalidated(&mut self, count: usize, removed: &mut Vec<Removed>) {
        removed.extend(std::iter::from_fn(|| self.remove(self.tags.any_invalidated()?)).take(count));
    }

    /// Removes the dead entries among some slots, from the first one of a block on. Returns the slot to continue at, or
    /// `None` at the end.
    pub(super) fn sweep(
        &mut self,
        from: usize,
        count: usize,
        now: Moment,
        removed: &mut Vec<Removed>,
    ) -> Option<usize> {
        let end = (from + count).min(self.table.end());
        // A barrier says nothing of the entries that it makes dead.
        let all = self.tags.has_barriers();
        for first in (from..end).step_by(BLOCK) {
            if all || self.table.is_block_due(first, now) {
                self.sweep_block(first, now, removed);
            }
        }
        (end < self.table.end()).then_some(end)
    }

    fn sweep_block(&mut self, first: usize, now: Moment, removed: &mut Vec<Removed>) {
        for id in (first..first + BLOCK).map(slot_id) {
            let Some(entry) = self.table.get(id) else { continue };
            let has_passed = entry.deadline().has_passed_at(now);
            let (expired, is_barred) = (has_passed && !self.is_kept(id), !self.has_valid_tags(entry));
            self.counters.expirations += u64::from(expired);
            removed.extend(if expired || is_barred { self.remove(id) } else { None });
        }
        self.table.renew_block(first);
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
        let end = from.saturating_add(count).min(self.table.end());
        let tag_ids: Vec<u32> = tags.iter().flat_map(|tag| self.tags.records_of(*tag)).collect();
        let mut next = from;
        while next < end && page.keys.len() < limit {
            if let Some(key) = self.wanted_key(slot_id(next), wanted, &tag_ids) {
                page.keys.push(key);
            }
            next += 1;
        }
        page.next = (next < self.table.end()).then_some(ScanCursor { part: at.part, offset: next as u64, ..at });
    }

    fn wanted_key(&self, id: SlotId, wanted: &KeyFilter, tags: &[u32]) -> Option<&[u8]> {
        let entry = self.table.get(id)?;
        let tagged = wanted.tags.is_empty() || self.tags.any_of(self.table.members_of(entry), tags);
        (tagged && entry.key().starts_with(wanted.literal_prefix) && self.is_live(entry)).then(|| entry.key())
    }

    /// Returns the number of entries that can be served.
    pub(super) fn count_live(&self) -> usize {
        self.table.iter().filter(|entry| self.is_live(entry)).count()
    }

    /// Replaces this shard by an empty one with the same counters, which continues to count versions.
    pub(super) fn take(&mut self) -> Self {
        let (known_clears, counters) = (self.known_clears, self.counters);
        let empty = Self { known_clears, counters, ..Self::new(self.table.eviction(), self.last_version) };
        std::mem::replace(self, empty)
    }
}

/// Returns true if no tag of an entry that is read was invalidated, and no barrier concerns it.
#[inline(always)]
fn has_valid_tags_now(table: &Table, tags: &mut Tags, entry: &Value) -> bool {
    !entry.is_tagged() || tags.none_dead() || tags_are_valid_now(table, tags, entry)
}

// Apart: most entries have no tags, and few of the others are read while some are dead.
#[inline(never)]
fn tags_are_valid_now(table: &Table, tags: &mut Tags, entry: &Value) -> bool {
    tags.all_live_now(table.members_of(entry), entry.key())
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
    /// Returns the value of a key if it is fresh, and if a time has not passed until which values are served. An entry that
    /// may be due for an early refresh is left to `read`.
    #[inline(always)]
    pub(super) fn hit(&mut self, hash: u32, key: &[u8], refresh_ahead: bool, until: Deadline) -> Option<&Value> {
        let now = self.table.tick();
        let entry = self.table.find(hash, key)?;
        // One look at the clock for both times.
        let is_over = entry.deadline().min(until).has_passed();
        if is_over
            || !has_valid_tags_now(&self.table, &mut self.tags, entry)
            || refresh_ahead && self.kept(entry.slot()).is_some()
        {
            return None;
        }
        now.note(entry);
        self.counters.hits += 1;
        Some(entry)
    }

    /// Reads a key for loading.
    #[inline]
    pub(super) fn read(&mut self, hash: u32, key: &[u8], refresh_ahead: bool) -> Read {
        let now = self.table.tick();
        let Some(entry) = self.table.find(hash, key) else { return Read::Vacant(NONE) };
        if entry.deadline().has_passed() || !has_valid_tags_now(&self.table, &mut self.tags, entry) {
            let id = entry.slot();
            return self.read_kept(id);
        }
        let is_due = refresh_ahead && self.kept(entry.slot()).is_some_and(|kept| kept.is_due(entry.deadline()));
        now.note(entry);
        self.counters.hits += 1;
        Read::Fresh(entry.clone(), is_due)
    }

    #[cold]
    fn read_kept(&mut self, id: SlotId) -> Read {
        match self.kept(id).map(|kept| kept.end).filter(|_| self.is_kept(id)) {
            Some(End::Absent(_)) => {
                self.table.touch(id);
                Read::Absent
            }
            Some(End::Stale(_)) => {
                self.counters.hits += 1;
                self.table.touch(id).map_or(Read::Vacant(NONE), |entry| Read::Stale(entry.clone()))
            }
            Some(End::Copy(..)) | None => Read::Vacant(id),
        }
    }

    /// Returns true if an entry whose time to live is over is still kept, and none of its tags was invalidated.
    pub(super) fn is_kept(&self, id: SlotId) -> bool {
        self.kept(id)
            .zip(self.table.get(id))
            .is_some_and(|(kept, entry)| kept.is_kept(entry.deadline()) && self.has_valid_tags(entry))
    }

    /// Replaces what is kept of an entry of which something is kept.
    pub(super) fn keep(&mut self, id: SlotId, kept: Kept) {
        if let Some(loading) = &mut self.loading {
            loading.keep(id, Some(&kept));
        }
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
        loading.end(self.table.hash_of(id), self.table.get(id)?.key())
    }

    /// Returns the number of entries that are only kept, and their bytes.
    pub(super) fn hidden(&self) -> (usize, usize) {
        let Some(loading) = &self.loading else { return (0, 0) };
        let hidden = loading.slots().filter(|id| !self.is_slot_live(*id));
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
        let records: SmallVec<[u32; 1]> = self.tags.records_of(tag).collect();
        let has_tag = |hash: u32, key: &[u8]| {
            let entry = self.table.find(hash, key);
            entry.is_some_and(|entry| self.tags.any_of(self.table.members_of(entry), &records))
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
        let (end, mut live) = ((from + count).min(self.table.end()), 0);
        for id in (from..end).map(slot_id) {
            if self.table.get(id).is_some_and(|entry| wanted(entry.key())) {
                live += u64::from(self.is_slot_live(id));
                removed.extend(self.remove(id));
            }
        }
        self.counters.deletes += live;
        (live, (end < self.table.end()).then_some(end))
    }
}

#[cfg(test)]
impl Shard {
    pub(super) fn tag_count(&self) -> usize {
        self.tags.len()
    }

    pub(super) fn tag_text_bytes(&self) -> usize {
        self.tags.text_bytes()
    }
}
