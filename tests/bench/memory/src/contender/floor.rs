//! The floor: what a get cannot be cheaper than. No lock, no recency, no expiry, no eviction, no reference counts.
//!
//! An open hash table whose places hold half the key's hash and a pointer to
//! one block of key and value. It is filled by one thread and only read from
//! then on, by any number.

use std::cell::UnsafeCell;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::rust::{Fat, Store};

const KEY_LEN: usize = 16;

#[derive(Clone, Default)]
struct Place {
    hash: u32,
    entry: Option<Box<[u8]>>,
}

pub struct Floor {
    hasher: RandomState,
    places: UnsafeCell<Vec<Place>>,
}

// SAFETY: written while one thread has it, only read once others do.
unsafe impl Sync for Floor {}

impl Floor {
    /// At most half full.
    pub fn new(capacity: usize) -> Self {
        let places = vec![Place::default(); (capacity * 2).next_power_of_two()];
        Self { hasher: RandomState::default(), places: UnsafeCell::new(places) }
    }

    /// The place of a key, or the free one it would take.
    #[inline]
    fn find(&self, places: &[Place], key: &[u8]) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        let half = (hash >> 32) as u32;
        let mut at = hash as usize & (places.len() - 1);
        while let Some(entry) = &places[at].entry {
            if places[at].hash == half && &entry[..KEY_LEN] == key {
                break;
            }
            at = (at + 1) & (places.len() - 1);
        }
        (at, half)
    }

    #[inline]
    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        // SAFETY: no thread writes any more.
        let places = unsafe { &*self.places.get() };
        places[self.find(places, key).0].entry.as_deref().map(|entry| &entry[KEY_LEN..])
    }
}

impl Store for Floor {
    #[inline]
    fn read<R>(&self, key: &[u8], with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.value(key).map(with)
    }

    #[inline]
    fn share(&self, key: &[u8]) -> Option<Fat> {
        self.value(key).map(|value| Fat { first: value.as_ptr().cast_mut().cast(), second: value.len() })
    }

    unsafe fn release(_: Fat) {}

    fn put(&self, key: &[u8], value: &[u8]) {
        // SAFETY: the one thread that fills it.
        let places = unsafe { &mut *self.places.get() };
        let (at, hash) = self.find(places, key);
        places[at] = Place { hash, entry: Some([key, value].concat().into()) };
    }
}
