//! The shards and what spans them: which one has a key, room, tags, listing, sweeping.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::lru::{Entry, NONE, SlotId};
use super::room::Room;
use super::shard::{Lookup, Removed, Shard, entry_cost};
use super::tags::TagName;
use crate::backend::{Counters, NewEntry, Page, Position, Usage, Wanted};
use crate::clock::Deadline;
use crate::error::Result;
use crate::value::Value;

/// Below this many entries one shard keeps the order of use exact for the whole cache.
const ONE_SHARD_BELOW: u64 = 4096;
/// Shards for each processor: few meet at a lock, and invalidating a tag visits each once.
const SHARDS_PER_CPU: usize = 8;
/// The most shards, on the largest machines.
const MAX_SHARDS: usize = 256;
/// How many slots are looked at under one hold of a lock.
const STEP: usize = 256;

/// Two cache lines, so that neighbours do not share what the processor fetches.
#[repr(align(128))]
#[derive(Default)]
struct Aligned<T>(T);

pub(super) struct Store {
    /// A power of two many.
    shards: Box<[Aligned<Mutex<Shard>>]>,
    hasher: RandomState,
    room: Room,
}

/// A hash of a key: the upper half chooses the shard, the lower stays with the entry.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    #[allow(clippy::cast_possible_truncation)] // The half that is kept.
    #[inline]
    fn of_entry(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn of_shard(self) -> usize {
        (self.0 >> 32) as usize
    }
}

impl Store {
    /// A store of so many entries, and bytes unless that is 0.
    pub(super) fn new(max_size: u64, max_bytes: u64) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = (cpus * SHARDS_PER_CPU).next_power_of_two().min(MAX_SHARDS);
        let shards = if max_size < ONE_SHARD_BELOW { 1 } else { shards };
        Self {
            shards: (0..shards).map(|_| Aligned::default()).collect(),
            hasher: RandomState::default(),
            room: Room::new(max_size, max_bytes),
        }
    }

    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<Value> {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let dead = match shard.get(hash.of_entry(), key) {
            Lookup::Hit(value) => return Some(value.clone()),
            Lookup::Miss => return None,
            Lookup::Dead(id) => id,
        };
        self.release(shard.remove_dead(dead), shard);
        None
    }

    /// The values of many keys in their order; each shard is locked once.
    pub(super) fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<Value>> {
        let hashes: Vec<Hash> = keys.iter().map(|key| self.hash(key)).collect();
        let shard_of = |at: &usize| hashes[*at].of_shard() & (self.shards.len() - 1);
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(shard_of);
        let (mut values, mut found) = (vec![None; keys.len()], Vec::new());
        for group in order.chunk_by(|one, other| shard_of(one) == shard_of(other)) {
            let mut shard = self.shard(shard_of(&group[0]));
            let asked = group.iter().map(|at| (hashes[*at].of_entry(), keys[*at]));
            shard.find_many(asked, &mut found);
            for (at, slot) in group.iter().zip(&found) {
                values[*at] = self.serve(&mut shard, *slot);
            }
        }
        values
    }

    fn serve(&self, shard: &mut Shard, slot: SlotId) -> Option<Value> {
        match shard.serve(slot) {
            Lookup::Hit(value) => Some(value.clone()),
            Lookup::Miss => None,
            Lookup::Dead(id) => {
                self.give_back(shard.remove_dead(id).as_slice());
                None
            }
        }
    }

    pub(super) fn set(&self, entry: NewEntry, deadline: Deadline) -> Result<()> {
        let hash = self.hash(entry.key);
        let tags = self.hash_tags(entry.tags);
        let cost = entry_cost(entry.key.len() + entry.value.len(), tags.len());
        self.room.check_fits(cost)?;
        let mut fresh = Entry::new(entry.key, entry.value, hash.of_entry(), deadline);
        while let Err(refused) = self.try_set(hash, fresh, &tags, cost) {
            self.evict_elsewhere(hash);
            fresh = refused;
        }
        Ok(())
    }

    /// Stores the entry, or gives it back when its shard has no room and can make none.
    fn try_set(&self, hash: Hash, fresh: Entry, tags: &[TagName], cost: usize) -> std::result::Result<(), Entry> {
        let mut shard = self.shard_of(hash);
        match shard.find(hash.of_entry(), fresh.key()) {
            None => self.add(shard, fresh, tags, cost),
            Some(old) if self.room.bounds_bytes() => self.overwrite_in_bounds(shard, old, fresh, tags, cost),
            Some(old) => {
                let replaced = shard.replace(old, fresh, tags);
                drop(shard);
                drop(replaced);
                Ok(())
            }
        }
    }

    fn add(
        &self,
        shard: MutexGuard<Shard>,
        fresh: Entry,
        tags: &[TagName],
        cost: usize,
    ) -> std::result::Result<(), Entry> {
        // Dropped in the other order: the lock first, then what was evicted.
        let (mut evicted, mut shard) = (Evicted::default(), shard);
        if !self.make_room(&mut shard, &mut evicted) || !self.make_bytes(&mut shard, NONE, cost, &mut evicted) {
            return Err(fresh);
        }
        shard.insert(fresh, tags);
        Ok(())
    }

    /// An overwrite takes or gives back the difference in bytes.
    #[cold]
    fn overwrite_in_bounds(
        &self,
        shard: MutexGuard<Shard>,
        old: SlotId,
        fresh: Entry,
        tags: &[TagName],
        cost: usize,
    ) -> std::result::Result<(), Entry> {
        let (mut evicted, mut shard) = (Evicted::default(), shard);
        let freed = shard.cost_of(old);
        shard.touch(old);
        if !self.make_bytes(&mut shard, old, cost.saturating_sub(freed), &mut evicted) {
            return Err(fresh);
        }
        let replaced = shard.replace(old, fresh, tags);
        drop(shard);
        self.room.give_bytes(freed.saturating_sub(cost));
        drop(replaced);
        Ok(())
    }

    /// Takes a place for one more entry.
    fn make_room(&self, shard: &mut Shard, evicted: &mut Evicted) -> bool {
        self.room.take_place() || self.pass_place_on(shard, evicted)
    }

    /// Takes bytes, from the least recently used but `keep` if they must be.
    fn make_bytes(&self, shard: &mut Shard, keep: SlotId, need: usize, evicted: &mut Evicted) -> bool {
        while !self.room.take_bytes(need) {
            let Some(removed) = shard.evict(keep) else {
                self.room.give_places(usize::from(keep == NONE));
                return false;
            };
            self.give_back(std::slice::from_ref(&removed));
            evicted.more.push(removed);
        }
        true
    }

    /// A full store evicts one entry and uses its place, which changes no count.
    fn pass_place_on(&self, shard: &mut Shard, evicted: &mut Evicted) -> bool {
        evicted.first = shard.evict(NONE);
        self.room.give_bytes(evicted.first.as_ref().map_or(0, |removed| removed.cost));
        evicted.first.is_some()
    }

    /// Makes room in the next shard that has an entry: this key's own has none.
    #[cold]
    fn evict_elsewhere(&self, hash: Hash) {
        for at in 1..self.shards.len() {
            let mut shard = self.shard(hash.of_shard() + at);
            if let Some(removed) = shard.evict(NONE) {
                return self.release(Some(removed), shard);
            }
        }
    }

    pub(super) fn delete(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let Some(id) = shard.find(hash.of_entry(), key) else { return false };
        let was_there = shard.is_live(id);
        shard.counters.deletes += u64::from(was_there);
        self.release(shard.remove(id), shard);
        was_there
    }

    /// When a key ends, if it is there.
    pub(super) fn deadline(&self, key: &[u8]) -> Option<Deadline> {
        let hash = self.hash(key);
        let shard = self.shard_of(hash);
        let id = shard.find(hash.of_entry(), key).filter(|id| shard.is_live(*id))?;
        shard.entry(id).map(|entry| entry.deadline)
    }

    pub(super) fn expire(&self, key: &[u8], deadline: Deadline) -> bool {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let live = shard.find(hash.of_entry(), key).filter(|id| shard.is_live(*id));
        let entry = live.and_then(|id| shard.entry_mut(id));
        entry.map(|entry| entry.deadline = deadline).is_some()
    }

    /// Makes all members of the tags dead, and removes and counts them if asked.
    pub(super) fn invalidate(&self, tags: &[&[u8]], count: bool) -> Option<u64> {
        let mut removed = 0;
        for tag in self.hash_tags(tags) {
            for at in 0..self.shards.len() {
                removed += self.invalidate_in(at, tag, count);
            }
        }
        count.then_some(removed)
    }

    fn invalidate_in(&self, at: usize, tag: TagName, count: bool) -> u64 {
        let condemned = self.shard(at).condemn(tag);
        let Some(condemned) = condemned.filter(|_| count) else { return 0 };
        let mut counted = 0;
        self.remove_in_steps(at, |shard| {
            let (removed, counts) = shard.remove_member(condemned)?;
            counted += u64::from(counts);
            Some(removed)
        });
        counted
    }

    /// Removes what `next` takes out of a shard until there is no more, the
    /// lock released and the memory freed after every few.
    fn remove_in_steps(&self, at: usize, mut next: impl FnMut(&mut Shard) -> Option<Removed>) {
        loop {
            let mut shard = self.shard(at);
            let removed: Vec<Removed> = std::iter::from_fn(|| next(&mut shard)).take(STEP).collect();
            drop(shard);
            self.give_back(&removed);
            if removed.len() < STEP {
                return;
            }
        }
    }

    /// Takes all entries out, and counts those that could be served if asked.
    pub(super) fn flush(&self, count: bool) -> Option<u64> {
        let mut removed = 0;
        for at in 0..self.shards.len() {
            let mut shard = self.shard(at);
            let taken = shard.take();
            drop(shard);
            removed += if count { taken.count_live() as u64 } else { 0 };
            self.room.give_places(taken.len());
            self.room.give_bytes(taken.bytes());
        }
        count.then_some(removed)
    }

    /// A page of keys. No lock is held for longer than a step.
    pub(super) fn list(&self, wanted: Wanted, from: Position, limit: usize) -> Page {
        let tags = self.hash_tags(wanted.tags);
        let mut page = Page { next: Some(from), ..Page::default() };
        while let Some(at) = page.next.filter(|_| page.keys.len() < limit) {
            let Some(shard) = self.shards.get(at.part as usize) else {
                page.next = None;
                break;
            };
            lock(shard, &self.room).list(&wanted, &tags, at, STEP, limit, &mut page);
            page.next = page.next.or(Some(Position { part: at.part + 1, offset: 0 }));
        }
        page
    }

    /// Removes all that is dead, in small steps, until asked to stop.
    pub(super) fn sweep(&self, stop: &dyn Fn() -> bool) {
        for at in 0..self.shards.len() {
            self.remove_in_steps(at, |shard| if stop() { None } else { shard.remove_condemned() });
            let mut from = Some(0);
            while let Some(slot) = from.filter(|_| !stop()) {
                from = self.sweep_step(at, slot);
            }
        }
    }

    fn sweep_step(&self, at: usize, from: usize) -> Option<usize> {
        let mut removed = Vec::new();
        let next = self.shard(at).sweep(from, STEP, &mut removed);
        self.give_back(&removed);
        next
    }

    /// What it holds. What invalidated tags left behind is removed first.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for at in 0..self.shards.len() {
            self.remove_in_steps(at, Shard::remove_condemned);
            let shard = self.shard(at);
            usage.keys += shard.len() as u64;
            usage.bytes += shard.bytes() as u64;
        }
        usage
    }

    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        (0..self.shards.len()).for_each(|at| sum += self.shard(at).counters);
        sum
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> Hash {
        Hash(self.hasher.hash_one(key))
    }

    /// The tags, each once.
    #[inline]
    fn hash_tags<'a>(&self, names: &[&'a [u8]]) -> Vec<TagName<'a>> {
        if names.is_empty() { Vec::new() } else { self.hash_some_tags(names) }
    }

    fn hash_some_tags<'a>(&self, names: &[&'a [u8]]) -> Vec<TagName<'a>> {
        let first = |at: usize| !names[..at].contains(&names[at]);
        let hashed = |name: &'a [u8]| TagName { name, hash: self.hasher.hash_one(name) };
        (0..names.len()).filter(|at| first(*at)).map(|at| hashed(names[at])).collect()
    }

    #[inline]
    fn shard_of(&self, hash: Hash) -> MutexGuard<'_, Shard> {
        self.shard(hash.of_shard())
    }

    /// The shard of this number, counted round and round.
    #[inline]
    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[number & (self.shards.len() - 1)], &self.room)
    }

    /// Frees an entry's room, and its memory once the shard is unlocked.
    fn release(&self, removed: Option<Removed>, shard: MutexGuard<Shard>) {
        drop(shard);
        self.give_back(removed.as_slice());
    }

    fn give_back(&self, removed: &[Removed]) {
        self.room.give_places(removed.len());
        self.room.give_bytes(removed.iter().map(|removed| removed.cost).sum());
    }
}

/// What made room: nearly always one entry, which takes no list.
#[derive(Default)]
struct Evicted {
    first: Option<Removed>,
    more: Vec<Removed>,
}

/// Locks a shard. One that a panic left half changed is emptied: a cache may
/// lose entries, never serve wrong ones.
#[inline]
fn lock<'a>(shard: &'a Aligned<Mutex<Shard>>, room: &Room) -> MutexGuard<'a, Shard> {
    shard.0.lock().unwrap_or_else(|poisoned| recover(shard, poisoned, room))
}

#[cold]
fn recover<'a>(
    shard: &Aligned<Mutex<Shard>>,
    poisoned: PoisonError<MutexGuard<'a, Shard>>,
    room: &Room,
) -> MutexGuard<'a, Shard> {
    let mut guard = poisoned.into_inner();
    let lost = guard.take();
    room.give_places(lost.len());
    room.give_bytes(lost.bytes());
    shard.0.clear_poison();
    guard
}

#[cfg(test)]
impl Store {
    /// How many tags have a record.
    pub(super) fn tags(&self) -> usize {
        (0..self.shards.len()).map(|at| self.shard(at).tag_count()).sum()
    }

    pub(super) fn panic_in_a_shard(&self) {
        let _locked = self.shard(0);
        panic!("as a test asks");
    }
}
