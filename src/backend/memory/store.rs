//! The store: its shards, and operations on all of them.

use std::hash::{BuildHasher, Hasher};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::fast::SeedableRandomState;

use super::clears::Clears;
use super::lease::Loads;
use super::loading::Kept;
use super::room::Room;
use super::shard::{AT_ONCE, Lookup, Removed, Shard};
use super::table::SlotId;
use super::tags::TagName;
use crate::backend::{CopiedEntry, Counters, Hit, KeyFilter, Page, ScanCursor};
use crate::config::Eviction;
use crate::entry::{TagVersion, tag_hash};
use crate::error::Result;
use crate::tag_names::TagNames;
use crate::util::clock::{Deadline, ends};
use crate::util::{processors, random};
use crate::value::Value;

/// Below this number of entries, one shard keeps the exact order of use of the whole cache.
const ONE_SHARD_BELOW: u64 = 4096;
/// The largest number of entries, limited by 32 bits: 800 GB of the smallest entries.
const MAX_ENTRIES: u64 = 4_000_000_000;
/// The smallest room of a shard otherwise: an idle cache with the default of 10,000 entries takes less than 10 kB.
const ENTRIES_PER_SHARD: u64 = 1024;
/// Number of shards for each processor: enough to avoid contention, few because an invalidation visits each.
const SHARDS_PER_CPU: usize = 16;
/// Largest number of shards.
const MAX_SHARDS: usize = 256;
/// The bits of a range of versions: 64 bits have room for one range for each of `MAX_SHARDS`.
const VERSION_BITS: u32 = 56;
/// Number of slots that a listing examines while a lock is held.
const LIST_STEP: usize = 256;

/// The longest value that is copied while the lock of its shard is held: a few cache lines.
pub(super) const SHORT: usize = 256;

/// Two cache lines, so that neighbours do not share what the processor fetches.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Aligned<T>(T);

pub(super) struct Store {
    /// The shards. Their number is a power of two.
    pub(super) shards: Box<[Aligned<Mutex<Shard>>]>,
    hasher: SeedableRandomState,
    /// True if tags keep their names.
    pub(super) keeps_tag_names: bool,
    pub(super) room: Room,
    pub(super) clears: Clears,
    /// Counts invalidations by tag: the version of every tag.
    pub(super) invalidations: AtomicU64,
    pub(super) loads: Loads,
}

/// The hash of a key: the upper half selects the shard, the entry stores the lower half.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    #[allow(clippy::cast_possible_truncation)] // The half that is kept.
    #[inline]
    pub(super) fn of_entry(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(super) fn of_shard(self) -> usize {
        (self.0 >> 32) as usize
    }
}

/// One of many keys that are read.
pub(super) struct Wanted<'a> {
    pub(super) key: &'a [u8],
    pub(super) hash: u32,
    /// The place of its value.
    pub(super) place: usize,
    shard: usize,
    /// The next key of the same shard, or `END`.
    next: usize,
}

/// The end of a chain of keys.
const END: usize = usize::MAX;

impl Store {
    /// Creates a store with a limit of entries and bytes (0: no limit), and an order of eviction.
    pub(super) fn new(max_size: u64, max_bytes: u64, eviction: Eviction) -> Self {
        let max_size = if max_size == 0 { MAX_ENTRIES } else { max_size };
        // From the system: a child of a fork inherits the state of other generators.
        let first_version = random::random().unwrap_or_else(|_| random::cheap());
        // Each shard counts in a range of its own.
        let counting = |at: usize| Shard::new(eviction, first_version.wrapping_add((at as u64) << VERSION_BITS));
        Self {
            shards: (0..shard_count(max_size)).map(|at| Aligned(Mutex::new(counting(at)))).collect(),
            hasher: random::hasher(),
            keeps_tag_names: false,
            room: Room::new(max_size, max_bytes),
            clears: Clears::default(),
            invalidations: AtomicU64::new(0),
            loads: Loads::default(),
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, key: &[u8]) -> Option<Value> {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let dead = match shard.get(hash.of_entry(), key) {
            Lookup::Hit(value) => return Some(value.clone()),
            Lookup::Miss => return None,
            Lookup::Dead(id) => id,
        };
        self.remove_dead(dead, shard);
        None
    }

    #[cold]
    fn remove_dead(&self, dead: SlotId, mut shard: MutexGuard<Shard>) {
        self.release(shard.remove_dead(dead), shard);
    }

    /// Returns the value of a key. Copies it to the buffer, with the lock held, if it is short and there is room: a copy costs
    /// less than two changes of the count of references, for which the threads that read a key contend.
    #[inline(always)]
    pub(super) fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>], until: Deadline) -> Option<Hit> {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let value = shard.hit(hash.of_entry(), key, false, until)?;
        let bytes = value.as_bytes();
        match buffer.get_mut(..bytes.len()) {
            Some(place) if bytes.len() <= SHORT => {
                place.write_copy_of_slice(bytes);
                Some(Hit::Copied(bytes.len()))
            }
            _ => Some(Hit::Shared(value.clone())),
        }
    }

    /// Returns the values of many keys in their order. Each shard is locked once for a few keys.
    pub(super) fn get_many(&self, keys: &[&[u8]]) -> Vec<Result<Option<Value>>> {
        let mut values: Vec<_> = keys.iter().map(|_| Ok(None)).collect();
        let mut first = [END; MAX_SHARDS];
        let wanted = self.chain_by_shard(keys, &mut first);
        for key in wanted.iter().rev() {
            let mut next = std::mem::replace(&mut first[key.shard], END);
            while next != END {
                let chain = std::iter::from_fn(|| {
                    let wanted = wanted.get(next)?;
                    next = wanted.next;
                    Some(wanted)
                });
                let mut shard = self.shard(key.shard);
                for dead in shard.get_some(chain.take(AT_ONCE), &mut values) {
                    self.give_back(shard.remove_dead(dead).as_slice());
                }
            }
        }
        values
    }

    /// Links the keys of each shard in their order. Returns them, the last one first, and sets the first key of each shard.
    fn chain_by_shard<'a>(&self, keys: &[&'a [u8]], first: &mut [usize; MAX_SHARDS]) -> Vec<Wanted<'a>> {
        let mut wanted = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate().rev() {
            let hash = self.hash(key);
            let shard = hash.of_shard() & (self.shards.len() - 1);
            let next = std::mem::replace(&mut first[shard], wanted.len());
            wanted.push(Wanted { key, hash: hash.of_entry(), shard, place, next });
        }
        wanted
    }

    pub(super) fn delete(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let ended = shard.end_lease(hash.of_entry(), key);
        let Some(id) = shard.find(hash.of_entry(), key) else {
            drop(shard);
            drop(ended);
            return false;
        };
        let was_there = shard.is_slot_live(id);
        shard.counters.deletes += u64::from(was_there);
        self.release(shard.remove(id), shard);
        drop(ended);
        was_there
    }

    /// Returns the deadline of a key if it exists.
    pub(super) fn deadline(&self, key: &[u8]) -> Option<Deadline> {
        let hash = self.hash(key);
        let shard = self.shard_of(hash);
        shard.live(hash.of_entry(), key).map(Value::deadline)
    }

    pub(super) fn expire(&self, key: &[u8], deadline: Deadline) -> bool {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let live = shard.live(hash.of_entry(), key).map(Value::slot);
        live.map(|id| shard.set_deadline(id, deadline)).is_some()
    }

    /// Returns a page of keys. No lock is held for longer than a step.
    pub(super) fn list(&self, wanted: KeyFilter, from: ScanCursor, limit: usize) -> Page {
        let tags = self.hash_tags(wanted.tags);
        let mut page = Page { next: Some(from), ..Page::default() };
        while let Some(at) = page.next.filter(|_| page.keys.len() < limit) {
            let number = at.part as usize;
            if number >= self.shards.len() {
                page.next = None;
                break;
            }
            self.shard(number).list(&wanted, &tags, at, LIST_STEP, limit, &mut page);
            page.next = page.next.or(Some(ScanCursor { part: at.part + 1, offset: 0, ..at }));
        }
        page
    }

    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        (0..self.shards.len()).for_each(|at| sum += self.shard(at).counters);
        sum
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> Hash {
        // `hash_one` would also hash the length, which tells apart the parts of what has several.
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        Hash(hasher.finish())
    }

    /// Returns the tags without duplicates.
    #[inline]
    pub(super) fn hash_tags<'a>(&self, names: &[&'a [u8]]) -> Vec<TagName<'a>> {
        if names.is_empty() { Vec::new() } else { self.hash_some_tags(names) }
    }

    // Apart: most sets name no tags.
    #[inline(never)]
    fn hash_some_tags<'a>(&self, names: &[&'a [u8]]) -> Vec<TagName<'a>> {
        let tags = self.find_tags(names.iter().map(|name| tag_hash(name)));
        if self.keeps_tag_names { named(tags, names.iter().copied()) } else { tags }
    }

    /// Returns the tags with these hashes, without duplicates.
    #[inline]
    pub(super) fn find_tags<'a>(&self, hashes: impl Iterator<Item = u64>) -> Vec<TagName<'a>> {
        let mut tags: Vec<TagName> = Vec::new();
        for tag in hashes {
            if tags.iter().all(|known| known.tag != tag) {
                tags.push(TagName { tag, hash: self.hasher.hash_one(tag), text: &[] });
            }
        }
        tags
    }

    /// Returns the tags with these hashes, without duplicates, and with those of the names that are theirs.
    pub(super) fn find_named<'a>(
        &self,
        hashes: impl Iterator<Item = u64>,
        names: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Vec<TagName<'a>> {
        let tags = self.find_tags(hashes);
        if self.keeps_tag_names { named(tags, names) } else { tags }
    }

    #[inline]
    pub(super) fn shard_of(&self, hash: Hash) -> MutexGuard<'_, Shard> {
        self.shard(hash.of_shard())
    }

    /// Returns the shard of a number, modulo the number of shards.
    #[inline]
    pub(super) fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        let shard = lock(&self.shards[number & (self.shards.len() - 1)], &self.room);
        if shard.known_clears == self.clears.count() { shard } else { self.made_up(shard) }
    }

    /// Releases the room of an entry, and its memory after the shard is unlocked.
    pub(super) fn release(&self, removed: Option<Removed>, shard: MutexGuard<Shard>) {
        self.give_back(removed.as_slice());
        drop(shard);
        drop(removed);
    }

    /// Releases the room of entries, always under the lock of their shard: a thread that holds it and finds the store
    /// full then finds an entry to evict.
    pub(super) fn give_back(&self, removed: &[Removed]) {
        self.room.give_places(removed.len());
        self.room.give_bytes(removed.iter().map(|removed| removed.cost).sum());
    }
}

/// Returns the tags with those of the names that are theirs, unless these are too long together.
#[cold]
fn named<'a>(mut tags: Vec<TagName<'a>>, names: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<TagName<'a>> {
    if !TagNames::of(names.clone()).as_bytes().is_empty() {
        let hashed: Vec<(u64, &[u8])> = names.map(|name| (tag_hash(name), name)).collect();
        for tag in &mut tags {
            tag.text = hashed.iter().find(|(hash, _)| *hash == tag.tag).map_or(&[], |(_, name)| name);
        }
    }
    tags
}

/// Returns the number of shards: a power of two.
fn shard_count(max_size: u64) -> usize {
    if max_size < ONE_SHARD_BELOW {
        return 1;
    }
    let filled = usize::try_from(max_size / ENTRIES_PER_SHARD).map_or(MAX_SHARDS, |count| 1 << count.ilog2());
    (processors() * SHARDS_PER_CPU).next_power_of_two().min(MAX_SHARDS).min(filled)
}

/// Locks a shard. A shard that a panic left half changed is emptied: a cache may lose entries, but must not serve wrong
/// ones.
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

/// Copies to another backend, with the versions of their tags.
impl Store {
    /// Returns an entry if it can be served.
    pub(super) fn export(&self, key: &[u8]) -> Option<CopiedEntry> {
        let hash = self.hash(key);
        let shard = self.shard_of(hash);
        let entry = shard.live(hash.of_entry(), key)?;
        let (stale_for, load_time) = shard.kept(entry.slot()).map_or_else(Default::default, Kept::of_copy);
        Some(CopiedEntry {
            key: key.to_vec(),
            value: entry.clone(),
            created: shard.times_of(entry).created.age().and_then(|age| Instant::now().checked_sub(age)),
            ends: ends(entry.deadline().remaining()),
            tags: shard.tags_of(entry),
            tag_names: shard.tag_names_of(entry),
            stale_for,
            load_time,
        })
    }

    /// Returns the version of a tag. All tags share one: that of the last invalidation.
    pub(super) fn versions(&self, tags: &[u64]) -> Vec<TagVersion> {
        let version = self.invalidations.load(SeqCst);
        tags.iter().map(|tag| TagVersion { tag: *tag, version }).collect()
    }

    /// Returns true if the tags still have these versions.
    pub(super) fn are_current(&self, tags: &[u64], versions: &[TagVersion]) -> bool {
        let now = self.invalidations.load(SeqCst);
        tags.iter().all(|tag| versions.contains(&TagVersion { tag: *tag, version: now }))
    }
}

#[cfg(test)]
impl Store {
    /// Returns the number of tags with a record.
    pub(super) fn tags(&self) -> usize {
        (0..self.shards.len()).map(|at| self.shard(at).tag_count()).sum()
    }

    /// Returns the bytes of the names of tags.
    pub(super) fn tag_text_bytes(&self) -> usize {
        (0..self.shards.len()).map(|at| self.shard(at).tag_text_bytes()).sum()
    }

    pub(super) fn panic_in_a_shard(&self) {
        let _locked = self.shard(0);
        panic!("as a test asks");
    }
}
