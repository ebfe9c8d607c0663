//! Slots of entries, and the order of their use.
//!
//! A use writes its time into the slot, which is read anyway. A list that is kept in order would also write two
//! neighbours, each a cache miss. The order is determined when room is needed: a heap has one record for each slot,
//! whose time may be older than the slot's. The oldest record that is up to date is exactly the least recently used
//! entry; a record that is not up to date is updated and sinks. Each use costs at most one update, and only near
//! eviction.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::util::clock::{Created, Deadline, Times};
use crate::value::Value;

/// The number of a slot.
pub(super) type SlotId = u32;
/// No slot, no tag, no member: number 0 of each slab represents it.
pub(super) const NONE: u32 = 0;

/// The number of uses of a shard that an entry can note: 30 hours of ten million in each second. Before it is reached,
/// the times of all uses are reduced.
const MAX_USES: u64 = 1 << (u64::BITS - Created::BITS);

/// If more than one record in this number is old, all are renewed.
const PATIENCE: usize = 32;

/// An entry: half a cache line, aligned so that it never spans two.
#[repr(align(32))]
pub(super) struct Entry {
    /// The value, preceded by its key.
    value: Value,
    pub(super) deadline: Deadline,
    /// The time of the last use, in uses of the shard, above the bits of the creation time.
    used: u64,
    /// Hash of the key: distinguishes most other keys without reading them.
    pub(super) hash: u32,
    /// The first membership in a tag.
    pub(super) members: u32,
}

const _: () = assert!(size_of::<Option<Entry>>() == 32);

impl Entry {
    /// Copies a key and a value.
    pub(super) fn new(key: &[u8], value: &[u8], hash: u32, times: Times) -> Self {
        let (value, used) = (Value::keyed(key, value), times.created.bits());
        Self { value, deadline: times.deadline, used, hash, members: NONE }
    }

    /// Returns the deadline and the creation time.
    pub(super) fn times(&self) -> Times {
        Times { deadline: self.deadline, created: Created::from_bits(self.used) }
    }

    #[inline]
    fn used(&self) -> u64 {
        self.used >> Created::BITS
    }

    #[inline]
    fn use_at(&mut self, uses: u64) {
        self.used = uses << Created::BITS | Created::from_bits(self.used).bits();
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.value.key()
    }

    #[inline]
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the number of bytes of key and value.
    pub(super) fn len(&self) -> usize {
        self.value.key().len() + self.value.as_bytes().len()
    }
}

/// The time of the last use of a slot, or an earlier one. Twelve bytes: a `u64` would pad it to sixteen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    used_high: u32,
    used_low: u32,
    slot: SlotId,
}

impl Record {
    #[allow(clippy::cast_possible_truncation)] // Both halves are kept.
    fn new(used: u64, slot: SlotId) -> Self {
        Self { used_high: (used >> 32) as u32, used_low: used as u32, slot }
    }

    fn used(self) -> u64 {
        u64::from(self.used_high) << 32 | u64::from(self.used_low)
    }
}

/// The slots of a shard.
#[repr(C)]
pub(super) struct Lru {
    /// Number of uses so far.
    uses: u64,
    /// The slots. Number 0 stays empty.
    slots: Vec<Option<Entry>>,
    free: Vec<SlotId>,
    /// One record for each slot, also for a free one. It is never later than the use of the slot.
    oldest_first: BinaryHeap<Reverse<Record>>,
}

impl Default for Lru {
    fn default() -> Self {
        Self { slots: vec![None], free: Vec::new(), oldest_first: BinaryHeap::new(), uses: 0 }
    }
}

impl Lru {
    /// Returns the highest slot number plus one.
    pub(super) fn end(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn get(&self, id: SlotId) -> Option<&Entry> {
        self.slots.get(id as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Entry> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Keeps the times of uses below the most that an entry can note.
    #[inline]
    fn bound_uses(&mut self) {
        if self.uses >= MAX_USES / 8 * 7 {
            self.reduce_uses();
        }
    }

    /// Reduces the times of all uses. Entries that were not used for very long are equally old from then on. If the times
    /// have begun again (no insert or eviction for 2^40 uses), all entries count as equally old.
    #[cold]
    fn reduce_uses(&mut self) {
        let by = if self.uses < MAX_USES { MAX_USES / 2 } else { MAX_USES };
        for entry in self.slots.iter_mut().flatten() {
            entry.use_at(entry.used().saturating_sub(by));
        }
        self.uses = MAX_USES / 2;
        self.bring_up_to_date();
    }

    /// Marks an entry as the most recently used.
    #[inline]
    pub(super) fn touch(&mut self, id: SlotId) -> Option<&Entry> {
        self.uses += 1;
        let entry = self.slots.get_mut(id as usize)?.as_mut()?;
        entry.use_at(self.uses);
        Some(entry)
    }

    /// Returns the least recently used entry, or `NONE` if there is no entry.
    pub(super) fn least_recent(&mut self) -> SlotId {
        self.bound_uses();
        for _ in 0..self.slots.len() / PATIENCE + PATIENCE {
            if let Some(found) = self.look_at_oldest() {
                return found;
            }
        }
        self.bring_up_to_date();
        self.look_at_oldest().unwrap_or(NONE)
    }

    /// Returns the slot of the oldest record if the record is up to date. Otherwise updates the record.
    fn look_at_oldest(&mut self) -> Option<SlotId> {
        let Some(mut oldest) = self.oldest_first.peek_mut() else { return Some(NONE) };
        let slot = oldest.0.slot;
        let used = used(&self.slots, self.uses, slot);
        if oldest.0.used() == used {
            return Some(self.slots[slot as usize].as_ref().map_or(NONE, |_| slot));
        }
        oldest.0 = Record::new(used, slot);
        None
    }

    /// Renews all records at once: renewing them one by one would delay the first eviction after a time of reading
    /// only.
    fn bring_up_to_date(&mut self) {
        let mut records = std::mem::take(&mut self.oldest_first).into_vec();
        for Reverse(record) in &mut records {
            *record = Record::new(used(&self.slots, self.uses, record.slot), record.slot);
        }
        self.oldest_first = records.into();
    }

    /// Stores an entry in a new slot, as the most recently used one.
    pub(super) fn insert(&mut self, entry: Entry) -> SlotId {
        self.bound_uses();
        let id = self.free.pop().unwrap_or_else(|| self.grow());
        self.slots[id as usize] = Some(entry);
        self.touch(id);
        id
    }

    /// Replaces the entry of a slot, as the most recently used one. Returns the previous entry.
    #[inline]
    pub(super) fn replace(&mut self, id: SlotId, mut entry: Entry) -> Option<Entry> {
        self.uses += 1;
        entry.use_at(self.uses);
        self.slots[id as usize].replace(entry)
    }

    /// Removes an entry and frees its slot.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Entry> {
        let entry = self.slots.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(entry)
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
        self.slots.push(None);
        self.oldest_first.push(Reverse(Record::new(self.uses, id)));
        id
    }
}

/// Returns the time of the last use of a slot. That of a free slot is later than any other.
fn used(slots: &[Option<Entry>], uses: u64, slot: SlotId) -> u64 {
    slots[slot as usize].as_ref().map_or(uses + 1, Entry::used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(lru: &mut Lru, key: u8) -> SlotId {
        lru.insert(Entry::new(&[key], b"v", 0, Times::from_now(None)))
    }

    /// Returns the keys in the order of their use, and removes them.
    fn in_order(lru: &mut Lru) -> Vec<u8> {
        let oldest = |lru: &mut Lru| Some(lru.least_recent()).filter(|id| *id != NONE);
        std::iter::from_fn(|| oldest(lru).and_then(|id| lru.remove(id)).map(|entry| entry.key()[0])).collect()
    }

    #[test]
    fn the_order_of_use_survives_the_reduction_of_the_times() {
        let mut lru = Lru::default();
        let ids: Vec<SlotId> = (0..6).map(|key| insert(&mut lru, key)).collect();
        for (uses, id) in [(MAX_USES / 2, 4), (MAX_USES / 2 + 9, 3), (MAX_USES / 8 * 7 - 2, 1), (MAX_USES - 9, 5)] {
            lru.uses = uses;
            lru.touch(ids[id]);
        }
        insert(&mut lru, 6);
        assert_eq!(lru.uses, MAX_USES / 2 + 1);
        let order = in_order(&mut lru);
        assert_eq!(order[3..], [3, 1, 5, 6], "the others were not used for very long");
    }

    #[test]
    fn times_that_began_again_say_nothing() {
        let mut lru = Lru::default();
        let ids: Vec<SlotId> = (0..3).map(|key| insert(&mut lru, key)).collect();
        lru.uses = MAX_USES + 5;
        lru.touch(ids[1]);
        insert(&mut lru, 3);
        lru.touch(ids[0]);
        let order = in_order(&mut lru);
        assert_eq!((order.len(), &order[2..]), (4, &[3, 0][..]));
    }
}
