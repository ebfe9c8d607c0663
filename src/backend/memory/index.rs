//! Finds slots by hash: open addressing with linear probing.
//!
//! A place holds 32 bits of hash beside the slot number, so a lookup reads
//! one cache line here where a table that keeps control bytes apart reads
//! two, and growing never looks at a key. Robust against tombstones by
//! Knuth's deletion (The Art of Computer Programming 3, 6.4, algorithm R):
//! what follows a removed place moves up.

use super::lru::SlotId;

/// Places are a power of two many; at most three in four are taken.
#[derive(Default)]
pub(super) struct Index {
    places: Vec<Place>,
    len: usize,
}

/// A hash in the upper half and a slot number, never 0, in the lower; 0 is free.
type Place = u64;

const FREE: Place = 0;
const SMALLEST: usize = 16;

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot with this hash that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(SlotId) -> bool) -> Option<SlotId> {
        let at = self.position(hash, is_it)?;
        Some(slot_of(self.places[at]))
    }

    /// Adds a slot that is not in.
    pub(super) fn insert(&mut self, hash: u32, slot: SlotId) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        self.put(u64::from(hash) << 32 | u64::from(slot));
        self.len += 1;
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, hash: u32, slot: SlotId) {
        if let Some(at) = self.position(hash, |found| found == slot) {
            self.close_gap(at);
            self.len -= 1;
        }
    }

    #[inline]
    fn position(&self, hash: u32, is_it: impl Fn(SlotId) -> bool) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            match self.places[at] {
                FREE => return None,
                place if hash_of(place) == hash && is_it(slot_of(place)) => return Some(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Moves up what would not be found across the gap.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.places.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let place = self.places[at];
            if place == FREE {
                self.places[gap] = FREE;
                return;
            }
            let home = hash_of(place) as usize & mask;
            let distance = |from: usize| at.wrapping_sub(from) & mask;
            if distance(home) >= distance(gap) {
                self.places[gap] = place;
                gap = at;
            }
        }
    }

    fn grow(&mut self) {
        let larger = vec![FREE; (self.places.len() * 2).max(SMALLEST)];
        let old = std::mem::replace(&mut self.places, larger);
        old.into_iter().filter(|place| *place != FREE).for_each(|place| self.put(place));
    }

    fn put(&mut self, place: Place) {
        let mask = self.places.len() - 1;
        let mut at = hash_of(place) as usize & mask;
        while self.places[at] != FREE {
            at = (at + 1) & mask;
        }
        self.places[at] = place;
    }
}

#[inline]
fn hash_of(place: Place) -> u32 {
    (place >> 32) as u32
}

#[allow(clippy::cast_possible_truncation)] // The lower half.
#[inline]
fn slot_of(place: Place) -> SlotId {
    place as SlotId
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_finds_what_is_in_and_nothing_else() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut index, mut model) = (Index::default(), HashMap::new());
        for step in 0..200_000_u32 {
            let slot = random.u32(1..3000);
            // Few hashes, so that runs of places touch and wrap around.
            let hash = slot.wrapping_mul(0x9E37_79B9) & 0xF000_03FF;
            if model.remove(&slot).is_some() {
                index.remove(hash, slot);
            } else {
                model.insert(slot, hash);
                index.insert(hash, slot);
            }
            assert_eq!(index.len(), model.len());
            let probe = random.u32(1..3000);
            let hash = probe.wrapping_mul(0x9E37_79B9) & 0xF000_03FF;
            let found = index.find(hash, |found| found == probe).is_some();
            assert_eq!(found, model.contains_key(&probe), "step {step}");
        }
    }
}
