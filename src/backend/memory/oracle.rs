//! Compares the order of use with that of the crate `lru`, over random operations; `PROPTEST_CASES` sets their number.

use std::collections::HashMap;

use fastrand::Rng;
use lru::LruCache;

use super::store::Store;
use super::table::{Fresh, NONE, SlotId, Table};
use crate::backend::NewEntry;
use crate::config::Eviction;
use crate::util::clock::Times;
use crate::util::test_cases;

/// The keys that operations choose from.
const KEYS: u32 = 300;
/// The entries that the store has room for.
const ROOM: usize = 100;

fn entry(key: u32) -> Fresh {
    Fresh::new(&key.to_be_bytes(), b"value", key, Times::from_now(None))
}

/// Slots of entries and the same keys in the crate's cache.
struct Pair {
    ours: Table,
    slots: HashMap<u32, SlotId>,
}

impl Pair {
    fn new() -> Self {
        Self { ours: Table::new(Eviction::Lru), slots: HashMap::new() }
    }

    fn set(&mut self, key: u32) {
        match self.slots.get(&key) {
            Some(id) => drop(self.ours.replace(*id, entry(key))),
            None => drop(self.slots.insert(key, self.ours.insert(entry(key)))),
        }
    }

    fn remove(&mut self, key: u32) -> bool {
        self.slots.remove(&key).and_then(|id| self.ours.remove(id)).is_some()
    }

    fn least_recent(&mut self) -> Option<u32> {
        let id = self.ours.victim(NONE);
        (id != NONE).then(|| u32::from_be_bytes(self.ours.get(id).unwrap().key().try_into().unwrap()))
    }
}

#[test]
fn slots_are_in_the_order_of_use_of_the_crate() {
    let (mut random, mut pair, mut theirs) = (Rng::with_seed(1), Pair::new(), LruCache::unbounded());
    for turn in 0..test_cases() {
        let key = random.u32(..KEYS);
        match random.u8(..8) {
            // A time of reading only, after which many records are behind.
            0..=3 => {
                let found = pair.slots.get(&key).and_then(|id| pair.ours.touch(*id)).is_some();
                assert_eq!(found, theirs.get(&key).is_some());
            }
            4 | 5 => {
                pair.set(key);
                theirs.put(key, ());
            }
            6 => assert_eq!(pair.remove(key), theirs.pop(&key).is_some()),
            _ => {
                let oldest = pair.least_recent();
                assert_eq!(oldest, theirs.peek_lru().map(|(key, ())| *key), "turn {turn}");
                if let Some(key) = oldest {
                    pair.remove(key);
                    theirs.pop_lru();
                }
            }
        }
    }
    while let Some((key, ())) = theirs.pop_lru() {
        assert_eq!(pair.least_recent(), Some(key));
        pair.remove(key);
    }
    assert_eq!(pair.least_recent(), None);
}

/// The whole store: what it evicts, and what it keeps.
#[test]
fn a_store_keeps_what_the_crate_keeps() {
    let store = Store::new(ROOM as u64, 0, Eviction::Lru);
    let mut theirs = LruCache::new(ROOM.try_into().unwrap());
    let mut random = Rng::with_seed(2);
    for turn in 0..test_cases() {
        let (key, number) = (random.u32(..KEYS), turn as u64);
        let name = key.to_be_bytes();
        match random.u8(..4) {
            0 | 1 => {
                let found = store.get(&name).map(|value| value.as_bytes().to_vec());
                assert_eq!(found, theirs.get(&key).map(|number: &u64| number.to_be_bytes().to_vec()), "turn {turn}");
            }
            2 => {
                let value = number.to_be_bytes();
                store.set(NewEntry { key: &name, value: &value, ttl: None, tags: &[] }, Times::from_now(None)).unwrap();
                theirs.put(key, number);
            }
            _ => assert_eq!(store.delete(&name), theirs.pop(&key).is_some(), "turn {turn}"),
        }
    }
}
