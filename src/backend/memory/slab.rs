//! Records under small numbers that are reused.

use std::ops::{Index, IndexMut};

/// The records. Number 0 is never used: it represents no record.
pub(super) struct Slab<T> {
    records: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Default for Slab<T> {
    fn default() -> Self {
        Self { records: vec![T::default()], free: Vec::new() }
    }
}

impl<T: Default> Slab<T> {
    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.records.len() - 1 - self.free.len()
    }

    /// Members are fewer than 64 times the slots of a shard, whose count the
    /// memory of a process keeps far below what would wrap here.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn insert(&mut self, record: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.records[id as usize] = record;
            return id;
        }
        self.records.push(record);
        (self.records.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        std::mem::take(&mut self.records[id as usize])
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        &self.records[id as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.records[id as usize]
    }
}
