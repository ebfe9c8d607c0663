//! The order of use of the entries of a shard: exact LRU.
//!
//! A use writes its time into the notes of the entry. A list that is kept in order would also write two neighbours, each a
//! cache miss. The order is determined when room is needed: a heap has one record for each slot, whose time may be older
//! than that of the entry. The oldest record that is up to date is exactly the least recently used entry; a record that is
//! not up to date is updated and sinks. Each use costs at most one update, and only near eviction.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, TryReserveError};

use super::table::{Entries, NONE, SlotId};
use crate::value::Value;

/// The times of use are numbered again when they have reached this one.
const MAX_USES: u32 = u32::MAX - 1024;

/// If more than one record in this number is old, all are renewed.
const PATIENCE: usize = 32;

/// The time of the last use of a slot, or an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    used: u32,
    slot: SlotId,
}

/// The order of use.
#[derive(Default)]
#[repr(C)]
pub(super) struct Recency {
    /// The number of uses so far, which is the time of the last one.
    uses: u32,
    /// One record for each slot, also for a free one. It is never later than the use of the slot.
    oldest_first: BinaryHeap<Reverse<Record>>,
}

impl Recency {
    /// Makes room for a number of slots.
    pub(super) fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        self.oldest_first.try_reserve_exact(slots.saturating_sub(self.oldest_first.len()))
    }

    /// Adds the record of a new slot.
    pub(super) fn grow(&mut self, id: SlotId) {
        self.oldest_first.push(Reverse(Record { used: self.uses, slot: id }));
    }

    /// Returns the time of the first of some uses that happen now.
    #[inline]
    pub(super) fn tick(&mut self, count: u32, entries: &Entries) -> u32 {
        if self.uses >= MAX_USES {
            self.renumber(entries);
        }
        let first = self.uses + 1;
        self.uses += count;
        first
    }

    /// Replaces the times of use by their order, before they exceed their bits.
    #[cold]
    fn renumber(&mut self, entries: &Entries) {
        self.renew_records(entries);
        let mut records = std::mem::take(&mut self.oldest_first).into_vec();
        records.sort_unstable_by_key(|Reverse(record)| *record);
        self.uses = 0;
        for Reverse(record) in &mut records {
            self.uses += 1;
            record.used = self.uses;
            if let Some(entry) = entries.get(record.slot) {
                entry.use_at(record.used);
            }
        }
        self.oldest_first = records.into();
    }

    /// Returns the least recently used entry except `keep`, the most recently used one. Returns `NONE` without such an entry.
    pub(super) fn victim(&mut self, keep: SlotId, entries: &Entries) -> SlotId {
        let oldest = self.least_recent(entries);
        if oldest == keep { NONE } else { oldest }
    }

    fn least_recent(&mut self, entries: &Entries) -> SlotId {
        for _ in 0..self.oldest_first.len() / PATIENCE + PATIENCE {
            if let Some(found) = self.look_at_oldest(entries) {
                return found;
            }
        }
        self.renew_records(entries);
        self.look_at_oldest(entries).unwrap_or(NONE)
    }

    /// Returns the slot of the oldest record if the record is up to date. Otherwise updates the record.
    fn look_at_oldest(&mut self, entries: &Entries) -> Option<SlotId> {
        let Some(mut oldest) = self.oldest_first.peek_mut() else { return Some(NONE) };
        let Record { used, slot } = oldest.0;
        match entries.get(slot).map(Value::used) {
            Some(last) if last == used => Some(slot),
            // The oldest record is that of a free slot: all slots are free.
            None if used > self.uses => Some(NONE),
            last => {
                oldest.0.used = last.unwrap_or(self.uses + 1);
                None
            }
        }
    }

    /// Renews all records at once: renewing them one by one would delay the first eviction after a time of reading only.
    fn renew_records(&mut self, entries: &Entries) {
        let mut records = std::mem::take(&mut self.oldest_first).into_vec();
        for Reverse(record) in &mut records {
            record.used = entries.get(record.slot).map_or(self.uses + 1, Value::used);
        }
        self.oldest_first = records.into();
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Fresh, Table};
    use super::*;
    use crate::config::Eviction;
    use crate::util::clock::Times;

    fn insert(table: &mut Table, key: u8) -> SlotId {
        table.insert(Fresh::new(&[key], b"v", key.into(), Times::from_now(None)))
    }

    /// Returns the keys in the order of their use, and removes them.
    fn in_order(table: &mut Table) -> Vec<u8> {
        let oldest = |table: &mut Table| Some(table.victim(NONE)).filter(|id| *id != NONE);
        std::iter::from_fn(|| oldest(table).and_then(|id| table.remove(id)).map(|(entry, _)| entry.key()[0])).collect()
    }

    #[test]
    fn the_order_of_use_survives_new_numbers() {
        let mut table = Table::new(Eviction::Lru);
        let ids: Vec<SlotId> = (0..6).map(|key| insert(&mut table, key)).collect();
        table.remove(ids[2]);
        for (uses, id) in [(MAX_USES / 2, 4), (MAX_USES / 2 + 9, 3), (MAX_USES - 3, 1), (MAX_USES - 1, 5)] {
            table.recency().uses = uses;
            table.touch(ids[id]);
        }
        assert_eq!(table.recency().uses, MAX_USES);
        table.touch(ids[0]);
        assert!(table.recency().uses < 10);
        table.touch(ids[4]);
        insert(&mut table, 6);
        assert_eq!(in_order(&mut table), [3, 1, 5, 0, 4, 6]);
    }
}
