//! The entries of a shard: an index of keys, a number for each entry, and the order of use.
//!
//! The index leads to an entry in one step. The notes that a hit reads and writes (deadline, time of the last use, slot)
//! are in front of the key and the value, so a hit misses the cache twice: in the index and at the entry. What a hit does
//! not need is in the slot of the entry. Other tables refer to an entry by the number of its slot, and listings and sweeps
//! visit the slots in their order; the hash in the slot leads to the entry.
//!
//! A use writes its time into the notes. A list that is kept in order would also write two neighbours, each a cache miss.
//! The order is determined when room is needed: a heap has one record for each slot, whose time may be older than that of
//! the entry. The oldest record that is up to date is exactly the least recently used entry; a record that is not up to
//! date is updated and sinks. Each use costs at most one update, and only near eviction.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashTable;

use super::loading::spread;
use crate::util::clock::{Created, Deadline, Times};
use crate::value::{Notes, Value};

/// The number of a slot: 30 bits. A store has far fewer entries in a shard.
pub(super) type SlotId = u32;
/// No slot, no tag, no member: number 0 of each slab represents it.
pub(super) const NONE: u32 = 0;

/// The bit of the slot number in the notes of an entry that has tags: its slot has the first membership.
const TAGGED: u32 = 1 << 31;
/// The bit of an entry whose creation time is known: its slot has the time.
const DATED: u32 = 1 << 30;

/// The times of use are numbered again when they have reached this one.
const MAX_USES: u32 = u32::MAX - 1024;

/// If more than one record in this number is old, all are renewed.
const PATIENCE: usize = 32;

/// An entry that is not stored yet.
pub(super) struct Fresh {
    value: Value,
    hash: u32,
    created: Created,
}

impl Fresh {
    /// Copies a key and a value.
    pub(super) fn new(key: &[u8], value: &[u8], hash: u32, times: Times) -> Self {
        let value = Value::keyed(key, value, Notes::until(times.deadline.nanos()));
        Self { value, hash, created: times.created }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.value.key()
    }

    /// Returns the number of bytes of key and value.
    pub(super) fn len(&self) -> usize {
        self.value.len()
    }
}

/// The notes of an entry. They change only under the lock of the shard.
impl Value {
    #[inline]
    pub(super) fn slot(&self) -> SlotId {
        self.notes().slot.load(Relaxed) & !(TAGGED | DATED)
    }

    #[inline]
    pub(super) fn is_tagged(&self) -> bool {
        self.notes().slot.load(Relaxed) & TAGGED != 0
    }

    #[inline]
    fn is_dated(&self) -> bool {
        self.notes().slot.load(Relaxed) & DATED != 0
    }

    #[inline]
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::from_nanos(self.notes().deadline.load(Relaxed))
    }

    pub(super) fn set_deadline(&self, deadline: Deadline) {
        self.notes().deadline.store(deadline.nanos(), Relaxed);
    }

    /// Returns the number of bytes of key and value.
    pub(super) fn len(&self) -> usize {
        self.key().len() + self.as_bytes().len()
    }

    #[inline]
    fn used(&self) -> u32 {
        self.notes().used.load(Relaxed)
    }

    #[inline]
    fn use_at(&self, time: u32) {
        self.notes().used.store(time, Relaxed);
    }
}

/// The part of an entry that a hit does not need. A set of an entry that has neither tags nor a time to live in place of
/// such an entry leaves it as it is.
#[derive(Clone, Copy)]
struct Slot {
    /// The hash of the key.
    hash: u32,
    /// The first membership in a tag, if the entry has tags.
    members: u32,
    /// The creation time, if it is known.
    created: Created,
}

/// The time of the last use of a slot, or an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    used: u32,
    slot: SlotId,
}

/// The entries of a shard.
#[repr(C)]
pub(super) struct Table {
    /// The number of uses so far, which is the time of the last one.
    uses: u32,
    index: HashTable<Value>,
    /// The slots. Number 0 stays empty.
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    /// One record for each slot, also for a free one. It is never later than the use of the slot.
    oldest_first: BinaryHeap<Reverse<Record>>,
}

impl Default for Table {
    fn default() -> Self {
        let none = Slot { hash: 0, members: NONE, created: Created::UNKNOWN };
        Self { uses: 0, index: HashTable::new(), slots: vec![none], free: Vec::new(), oldest_first: BinaryHeap::new() }
    }
}

impl Table {
    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the highest slot number plus one.
    pub(super) fn end(&self) -> usize {
        self.slots.len()
    }

    /// Returns the entry of a key, dead or alive.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<&Value> {
        self.index.find(spread(hash), |entry| entry.key() == key)
    }

    /// Returns the first entry that may have this hash, which is nearly always that of the key. It is not read.
    #[inline]
    pub(super) fn find_hash(&self, hash: u32) -> Option<&Value> {
        self.index.find(spread(hash), |_| true)
    }

    /// Returns the entry of a slot.
    #[inline]
    pub(super) fn get(&self, id: SlotId) -> Option<&Value> {
        let slot = self.slots.get(id as usize)?;
        self.index.find(spread(slot.hash), |entry| entry.slot() == id)
    }

    /// Returns the hash of the key of a slot.
    pub(super) fn hash_of(&self, id: SlotId) -> u32 {
        self.slots[id as usize].hash
    }

    /// Returns all entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Value> {
        self.index.iter()
    }

    /// Returns the first membership of an entry in a tag.
    #[inline]
    pub(super) fn members_of(&self, entry: &Value) -> u32 {
        if entry.is_tagged() { self.slots[entry.slot() as usize].members } else { NONE }
    }

    /// Gives the entry of a slot, which has no tags, its first membership in a tag.
    pub(super) fn set_members(&mut self, id: SlotId, members: u32) {
        self.slots[id as usize].members = members;
        if let Some(entry) = self.get(id) {
            entry.notes().slot.store(entry.notes().slot.load(Relaxed) | TAGGED, Relaxed);
        }
    }

    /// Returns the deadline and the creation time of an entry.
    pub(super) fn times_of(&self, entry: &Value) -> Times {
        let created = if entry.is_dated() { self.slots[entry.slot() as usize].created } else { Created::UNKNOWN };
        Times { deadline: entry.deadline(), created }
    }

    /// Returns the time of a use that happens now.
    #[inline]
    pub(super) fn tick(&mut self) -> Use {
        self.tick_many(1)
    }

    /// Returns the time of the first of some uses that happen now.
    #[inline]
    pub(super) fn tick_many(&mut self, count: u32) -> Use {
        if self.uses >= MAX_USES {
            self.renumber();
        }
        let first = Use(self.uses + 1);
        self.uses += count;
        first
    }

    /// Replaces the times of use by their order, before they exceed their bits.
    #[cold]
    fn renumber(&mut self) {
        self.renew_records();
        let mut records = std::mem::take(&mut self.oldest_first).into_vec();
        records.sort_unstable_by_key(|Reverse(record)| *record);
        self.uses = 0;
        for Reverse(record) in &mut records {
            self.uses += 1;
            record.used = self.uses;
            if let Some(entry) = self.get(record.slot) {
                entry.use_at(record.used);
            }
        }
        self.oldest_first = records.into();
    }

    /// Marks an entry as the most recently used.
    pub(super) fn touch(&mut self, id: SlotId) -> Option<&Value> {
        let now = self.tick();
        self.get(id).inspect(|entry| now.note(entry))
    }

    /// Returns the least recently used entry, or `NONE` if there is no entry.
    pub(super) fn least_recent(&mut self) -> SlotId {
        for _ in 0..self.slots.len() / PATIENCE + PATIENCE {
            if let Some(found) = self.look_at_oldest() {
                return found;
            }
        }
        self.renew_records();
        self.look_at_oldest().unwrap_or(NONE)
    }

    /// Returns the slot of the oldest record if the record is up to date. Otherwise updates the record.
    fn look_at_oldest(&mut self) -> Option<SlotId> {
        let Some(Reverse(oldest)) = self.oldest_first.peek().copied() else { return Some(NONE) };
        let used = self.last_use(oldest.slot);
        if oldest.used == used {
            return Some(self.get(oldest.slot).map_or(NONE, |_| oldest.slot));
        }
        if let Some(mut record) = self.oldest_first.peek_mut() {
            record.0.used = used;
        }
        None
    }

    /// Renews all records at once: renewing them one by one would delay the first eviction after a time of reading
    /// only.
    fn renew_records(&mut self) {
        let mut records = std::mem::take(&mut self.oldest_first).into_vec();
        for Reverse(record) in &mut records {
            record.used = self.last_use(record.slot);
        }
        self.oldest_first = records.into();
    }

    /// Returns the time of the last use of a slot. That of a free slot is later than any other.
    fn last_use(&self, id: SlotId) -> u32 {
        self.get(id).map_or(self.uses + 1, Value::used)
    }

    /// Stores an entry in a new slot, as the most recently used one.
    pub(super) fn insert(&mut self, fresh: Fresh) -> SlotId {
        let now = self.tick();
        let (id, hash) = (self.free.pop().unwrap_or_else(|| self.grow()), fresh.hash);
        self.slots[id as usize].hash = hash;
        let entry = self.place(id, fresh, now);
        let slots = &self.slots;
        self.index.insert_unique(spread(hash), entry, |entry| spread(slots[entry.slot() as usize].hash));
        id
    }

    /// Replaces the entry of a slot, as the most recently used one. Returns the previous entry and its first membership in
    /// a tag.
    #[inline]
    pub(super) fn replace(&mut self, id: SlotId, fresh: Fresh) -> Option<(Value, u32)> {
        let (now, hash) = (self.tick(), fresh.hash);
        let fresh = self.place(id, fresh, now);
        let place = self.index.find_mut(spread(hash), |entry| entry.slot() == id)?;
        let old = std::mem::replace(place, fresh);
        let members = self.members_of(&old);
        Some((old, members))
    }

    /// Makes the notes of an entry for its slot.
    #[inline]
    fn place(&mut self, id: SlotId, fresh: Fresh, now: Use) -> Value {
        let is_dated = fresh.created != Created::UNKNOWN;
        if is_dated {
            self.slots[id as usize].created = fresh.created;
        }
        fresh.value.notes().slot.store(if is_dated { id | DATED } else { id }, Relaxed);
        now.note(&fresh.value);
        fresh.value
    }

    /// Removes an entry and frees its slot. Returns the entry and its first membership in a tag.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<(Value, u32)> {
        let hash = self.slots.get(id as usize)?.hash;
        let found = self.index.find_entry(spread(hash), |entry| entry.slot() == id).ok()?;
        let entry = found.remove().0;
        self.free.push(id);
        let members = self.members_of(&entry);
        Some((entry, members))
    }

    /// Reserves room for one more slot. Growth is by an eighth: doubling would waste up to half, and the allocator
    /// remaps large blocks instead of copying them.
    #[allow(clippy::cast_possible_truncation)] // The configuration bounds the number of entries.
    fn grow(&mut self) -> SlotId {
        if self.slots.len() == self.slots.capacity() {
            let more = self.slots.len() / 8 + 64;
            self.slots.reserve_exact(more);
            self.oldest_first.reserve_exact(more);
        }
        let id = self.slots.len() as SlotId;
        self.slots.push(self.slots[0]);
        self.oldest_first.push(Reverse(Record { used: self.uses, slot: id }));
        id
    }
}

/// The time of a use.
#[derive(Clone, Copy)]
pub(super) struct Use(u32);

impl Use {
    /// Notes the use of an entry, which becomes the most recently used.
    #[inline]
    pub(super) fn note(self, entry: &Value) {
        entry.use_at(self.0);
    }

    /// Returns this time and turns to the next one.
    pub(super) fn next(&mut self) -> Self {
        let now = *self;
        self.0 += 1;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table, key: u8) -> SlotId {
        table.insert(Fresh::new(&[key], b"v", key.into(), Times::from_now(None)))
    }

    /// Returns the keys in the order of their use, and removes them.
    fn in_order(table: &mut Table) -> Vec<u8> {
        let oldest = |table: &mut Table| Some(table.least_recent()).filter(|id| *id != NONE);
        std::iter::from_fn(|| oldest(table).and_then(|id| table.remove(id)).map(|(entry, _)| entry.key()[0])).collect()
    }

    #[test]
    fn the_order_of_use_survives_new_numbers() {
        let mut table = Table::default();
        let ids: Vec<SlotId> = (0..6).map(|key| insert(&mut table, key)).collect();
        table.remove(ids[2]);
        for (uses, id) in [(MAX_USES / 2, 4), (MAX_USES / 2 + 9, 3), (MAX_USES - 3, 1), (MAX_USES - 1, 5)] {
            table.uses = uses;
            table.touch(ids[id]);
        }
        assert_eq!(table.uses, MAX_USES);
        table.touch(ids[0]);
        assert!(table.uses < 10);
        table.touch(ids[4]);
        insert(&mut table, 6);
        assert_eq!(in_order(&mut table), [3, 1, 5, 0, 4, 6]);
    }
}
