//! Slots of entries, and which of them was used least recently.
//!
//! A use writes its time into the slot that is being read anyway. A list that
//! is kept in order would write two neighbours more, each a cache miss. The
//! order is found when room is needed: a heap has one record for each slot,
//! whose time may lie behind the slot's. The oldest record that is up to date
//! is the least recently used entry, exactly; one that is not is brought up to
//! date and sinks. Each use is paid for at most once, and only near eviction.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Deadline;
use crate::value::Value;

/// The number of a slot.
pub(super) type SlotId = u32;
/// No slot, no tag, no member: number 0 of each slab stands for it.
pub(super) const NONE: u32 = 0;

/// When more than one record in so many turns out to be old, all are renewed.
const PATIENCE: usize = 32;

/// An entry: half a cache line, which never lies across two.
#[repr(align(32))]
pub(super) struct Entry {
    /// Its key lies with its value.
    value: Value,
    pub(super) deadline: Deadline,
    /// When it was last used, in uses of the shard.
    used: u64,
    /// Of the key: tells most others from it without reading it.
    pub(super) hash: u32,
    /// The first of its memberships in tags.
    pub(super) members: u32,
}

const _: () = assert!(size_of::<Option<Entry>>() == 32);

impl Entry {
    /// Copies key and value.
    pub(super) fn new(key: &[u8], value: &[u8], hash: u32, deadline: Deadline) -> Self {
        Self { value: Value::keyed(key, value), deadline, used: 0, hash, members: NONE }
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.value.key()
    }

    #[inline]
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// The bytes of key and value.
    pub(super) fn len(&self) -> usize {
        self.value.key().len() + self.value.as_bytes().len()
    }
}

/// When a slot was used, or earlier. Twelve bytes: a `u64` would pad it to sixteen.
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
    /// Uses so far.
    uses: u64,
    /// Number 0 stays empty.
    slots: Vec<Option<Entry>>,
    free: Vec<SlotId>,
    /// One record for each slot, also a free one; never later than its use.
    oldest_first: BinaryHeap<Reverse<Record>>,
}

impl Default for Lru {
    fn default() -> Self {
        Self { slots: vec![None], free: Vec::new(), oldest_first: BinaryHeap::new(), uses: 0 }
    }
}

impl Lru {
    /// One past the highest slot number.
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

    /// Makes an entry the most recently used.
    #[inline]
    pub(super) fn touch(&mut self, id: SlotId) -> Option<&Entry> {
        self.uses += 1;
        let entry = self.slots.get_mut(id as usize)?.as_mut()?;
        entry.used = self.uses;
        Some(entry)
    }

    /// The least recently used entry; `NONE` when there is none.
    pub(super) fn least_recent(&mut self) -> SlotId {
        for _ in 0..self.slots.len() / PATIENCE + PATIENCE {
            if let Some(found) = self.look_at_oldest() {
                return found;
            }
        }
        self.bring_up_to_date();
        self.look_at_oldest().unwrap_or(NONE)
    }

    /// The slot of the oldest record if that is up to date; else the record is brought up to date.
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

    /// All records at once: one after the other, each sinking, would hold up
    /// the first eviction after a time of reading only.
    fn bring_up_to_date(&mut self) {
        let mut records = std::mem::take(&mut self.oldest_first).into_vec();
        for Reverse(record) in &mut records {
            *record = Record::new(used(&self.slots, self.uses, record.slot), record.slot);
        }
        self.oldest_first = records.into();
    }

    /// A new slot for an entry, the most recently used.
    pub(super) fn insert(&mut self, entry: Entry) -> SlotId {
        let id = self.free.pop().unwrap_or_else(|| self.grow());
        self.slots[id as usize] = Some(entry);
        self.touch(id);
        id
    }

    /// Puts another entry into the slot, the most recently used; what was in it.
    #[inline]
    pub(super) fn replace(&mut self, id: SlotId, mut entry: Entry) -> Option<Entry> {
        self.uses += 1;
        entry.used = self.uses;
        self.slots[id as usize].replace(entry)
    }

    /// Takes an entry out and frees its slot.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Entry> {
        let entry = self.slots.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(entry)
    }

    /// Room for one more. Growth is by an eighth: doubling would waste up to
    /// half, and the allocator remaps large blocks instead of copying them.
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

/// When a slot was used; a free one will be later than any other, if ever.
fn used(slots: &[Option<Entry>], uses: u64, slot: SlotId) -> u64 {
    slots[slot as usize].as_ref().map_or(uses + 1, |entry| entry.used)
}
