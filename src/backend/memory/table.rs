//! The entries of a shard: an index of keys, a number for each entry, and an order of eviction.
//!
//! The index leads to an entry in one step. The notes that a hit reads and writes (deadline, uses, slot) are in front of
//! the key and the value, so a hit misses the cache of the processor twice: in the index and at the entry. What a hit does
//! not need is in the slot of the entry. Other tables refer to an entry by the number of its slot, and listings and sweeps
//! visit the slots in their order; the hash in the slot leads to the entry.

use std::collections::TryReserveError;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashTable;

use super::loading::spread;
use super::queues::{Queues, count_use};
use super::recency::Recency;
use crate::config::Eviction;
use crate::util::allocation;
use crate::util::clock::{Created, Deadline, Moment, Times};
use crate::value::{Notes, Value};

/// The number of a slot: 30 bits. A shard has far fewer entries.
pub(super) type SlotId = u32;
/// No slot, no tag, no member: number 0 of each slab represents it.
pub(super) const NONE: u32 = 0;

/// The bit of the slot number in the notes of an entry that has tags: its slot has the first membership.
const TAGGED: u32 = 1 << 31;
/// The memory that has to be left when a table grows, or a shard by some entries: other shards grow meanwhile.
pub(super) const HEADROOM: usize = 2 << 20;
/// The memory that larger tables need for each entry: they double, and are copied.
const GROWTH: usize = 128;
/// Number of slots whose earliest deadline is noted.
pub(super) const BLOCK: usize = 16;

/// The bit of an entry whose creation time is known: its slot has the time.
const DATED: u32 = 1 << 30;

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

    fn is_dated(&self) -> bool {
        self.notes().slot.load(Relaxed) & DATED != 0
    }

    #[inline]
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::from_nanos(self.notes().deadline.load(Relaxed))
    }

    fn set_deadline(&self, deadline: Deadline) {
        self.notes().deadline.store(deadline.nanos(), Relaxed);
    }

    /// Returns what the order of eviction noted about the uses.
    #[inline]
    pub(super) fn used(&self) -> u32 {
        self.notes().used.load(Relaxed)
    }

    #[inline]
    pub(super) fn use_at(&self, note: u32) {
        self.notes().used.store(note, Relaxed);
    }
}

/// The part of an entry that a hit does not need. A set of an entry that has neither tags nor a time to live in place of
/// such an entry leaves it as it is.
#[derive(Clone, Copy)]
struct Slot {
    /// The hash of the key.
    hash: u32,
    /// The first membership in a tag, if the entry has tags. In a free slot, the next free slot.
    members: u32,
    /// The creation time, if it is known.
    created: Created,
}

/// The entries, by key and by slot.
#[repr(C)]
pub(super) struct Entries {
    index: HashTable<Value>,
    /// The slots. Number 0 stays empty.
    slots: Vec<Slot>,
}

impl Entries {
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

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns true if the index makes room for one more entry in place: its full places are those of removed entries.
    fn is_index_half_empty(&self) -> bool {
        self.index.len() < self.index.num_buckets() * 7 / 16
    }

    /// Makes room for one more entry in the index. Returns false if there is no memory for it.
    fn enlarge_index(&mut self) -> bool {
        let slots = &self.slots;
        self.index.try_reserve(1, |entry| spread(slots[entry.slot() as usize].hash)).is_ok()
    }

    fn insert(&mut self, hash: u32, entry: Value) {
        let slots = &self.slots;
        self.index.insert_unique(spread(hash), entry, |entry| spread(slots[entry.slot() as usize].hash));
    }
}

/// Converts a slot number, which has 32 bits: a table has no others.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn slot_id(number: usize) -> SlotId {
    number as SlotId
}

/// Notes the slot of an entry, whether it has tags (`TAGGED` or 0), its creation time, and its deadline for the sweeps.
#[inline]
fn note_times(entry: &Value, id: SlotId, created: Created, tagged: u32, slots: &mut [Slot], earliest: &mut [Deadline]) {
    let is_dated = created != Created::UNKNOWN;
    if is_dated {
        slots[id as usize].created = created;
    }
    expires(earliest, id, entry.deadline());
    entry.notes().slot.store(tagged | if is_dated { id | DATED } else { id }, Relaxed);
}

/// Notes the deadline of a slot for the sweeps.
#[inline]
fn expires(earliest: &mut [Deadline], id: SlotId, deadline: Deadline) {
    if deadline != Deadline::NEVER {
        let earliest = &mut earliest[id as usize / BLOCK];
        *earliest = deadline.min(*earliest);
    }
}

/// The order in which entries are evicted.
enum Order {
    Lru(Recency),
    S3Fifo(Box<Queues>),
}

/// The entries of a shard in an order of eviction.
#[repr(C)]
pub(super) struct Table {
    order: Order,
    entries: Entries,
    /// The free slot that was freed last, or `NONE`.
    free: SlotId,
    /// For each block of slots a time before which none of its entries expires. A sweep skips the block until then.
    earliest: Vec<Deadline>,
}

impl Table {
    /// Returns an empty table.
    pub(super) fn new(eviction: Eviction) -> Self {
        let none = Slot { hash: 0, members: NONE, created: Created::UNKNOWN };
        let order = match eviction {
            Eviction::Lru => Order::Lru(Recency::default()),
            Eviction::S3Fifo => Order::S3Fifo(Box::default()),
        };
        let entries = Entries { index: HashTable::new(), slots: vec![none] };
        Self { order, entries, free: NONE, earliest: Vec::new() }
    }

    /// Returns the order of eviction.
    pub(super) fn eviction(&self) -> Eviction {
        match self.order {
            Order::Lru(_) => Eviction::Lru,
            Order::S3Fifo(_) => Eviction::S3Fifo,
        }
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the highest slot number plus one.
    pub(super) fn end(&self) -> usize {
        self.entries.slots.len()
    }

    /// Returns the entry of a key, dead or alive.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<&Value> {
        self.entries.index.find(spread(hash), |entry| entry.has_key(key))
    }

    /// Returns the entry of a slot.
    pub(super) fn get(&self, id: SlotId) -> Option<&Value> {
        self.entries.get(id)
    }

    /// Returns the hash of the key of a slot.
    pub(super) fn hash_of(&self, id: SlotId) -> u32 {
        self.entries.hash_of(id)
    }

    /// Returns all entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.entries.index.iter()
    }

    /// Returns the first membership of an entry in a tag.
    #[inline]
    pub(super) fn members_of(&self, entry: &Value) -> u32 {
        if entry.is_tagged() { self.entries.slots[entry.slot() as usize].members } else { NONE }
    }

    /// Gives the entry of a slot, which has no tags, its first membership in a tag.
    pub(super) fn set_members(&mut self, id: SlotId, members: u32) {
        self.entries.slots[id as usize].members = members;
        if let Some(entry) = self.get(id) {
            let slot = &entry.notes().slot;
            slot.store(slot.load(Relaxed) | TAGGED, Relaxed);
        }
    }

    /// Returns the deadline and the creation time of an entry.
    pub(super) fn times_of(&self, entry: &Value) -> Times {
        let created =
            if entry.is_dated() { self.entries.slots[entry.slot() as usize].created } else { Created::UNKNOWN };
        Times { deadline: entry.deadline(), created }
    }

    /// Gives the entry of a slot another deadline.
    pub(super) fn set_deadline(&mut self, id: SlotId, deadline: Deadline) {
        expires(&mut self.earliest, id, deadline);
        if let Some(entry) = self.get(id) {
            entry.set_deadline(deadline);
        }
    }

    /// Returns true if an entry of the block that begins with this slot may have expired.
    pub(super) fn is_block_due(&self, first: usize, now: Moment) -> bool {
        self.earliest.get(first / BLOCK).is_some_and(|earliest| earliest.has_passed_at(now))
    }

    /// Notes the earliest deadline of a block, as its entries are now.
    pub(super) fn renew_block(&mut self, first: usize) {
        let slots = (first..first + BLOCK).map(slot_id);
        let deadlines = slots.filter_map(|id| self.get(id)).map(Value::deadline);
        self.earliest[first / BLOCK] = deadlines.min().unwrap_or(Deadline::NEVER);
    }

    /// Returns a use that happens now.
    #[inline]
    pub(super) fn tick(&mut self) -> Use {
        self.tick_many(1)
    }

    /// Returns the first of some uses that happen now.
    #[inline]
    pub(super) fn tick_many(&mut self, count: u32) -> Use {
        match &mut self.order {
            Order::Lru(recency) => Use::At(recency.tick(count, &self.entries)),
            Order::S3Fifo(_) => Use::Counted,
        }
    }

    /// Uses the entry of a slot.
    pub(super) fn touch(&mut self, id: SlotId) -> Option<&Value> {
        let now = self.tick();
        self.get(id).inspect(|entry| now.note(entry))
    }

    /// Makes the entry of a slot the last to be evicted, if the order of use decides: room is made for what is stored in
    /// its place.
    pub(super) fn keep_longest(&mut self, id: SlotId) {
        if let Order::Lru(_) = self.order {
            self.touch(id);
        }
    }

    /// Returns the next entry to evict except `keep`, the most recently used one. Returns `NONE` without such an entry.
    pub(super) fn victim(&mut self, keep: SlotId) -> SlotId {
        match &mut self.order {
            Order::Lru(recency) => recency.victim(keep, &self.entries),
            Order::S3Fifo(queues) => queues.victim(keep, &self.entries),
        }
    }

    /// Makes room for one more entry. Returns false if there is no memory for larger tables.
    #[inline]
    pub(super) fn reserve(&mut self) -> bool {
        let Entries { index, slots } = &self.entries;
        let is_room = index.len() < index.capacity() && (self.free != NONE || slots.len() < slots.capacity());
        is_room || self.enlarge()
    }

    #[cold]
    fn enlarge(&mut self) -> bool {
        let takes_none = self.free != NONE && self.entries.is_index_half_empty();
        (takes_none || allocation::is_there(HEADROOM + GROWTH * self.len()))
            && self.entries.enlarge_index()
            && (self.free != NONE || self.enlarge_slots().is_ok())
    }

    /// Makes room for one more slot. The growth is by an eighth: doubling would waste up to half, and the allocator
    /// remaps large blocks instead of copying them.
    fn enlarge_slots(&mut self) -> Result<(), TryReserveError> {
        let slots = &mut self.entries.slots;
        let more = if slots.len() == slots.capacity() { slots.len() / 8 + 64 } else { slots.capacity() - slots.len() };
        let capacity = slots.len() + more;
        self.earliest.try_reserve_exact((capacity / BLOCK + 1).saturating_sub(self.earliest.len()))?;
        match &mut self.order {
            Order::Lru(recency) => recency.reserve(capacity)?,
            Order::S3Fifo(queues) => queues.reserve(capacity)?,
        }
        // Last: room for a slot means that each of the others has room for it.
        slots.try_reserve_exact(more)
    }

    /// Stores an entry in a new slot. This is a use of it.
    pub(super) fn insert(&mut self, fresh: Fresh) -> SlotId {
        let (id, hash) = (self.take_slot(), fresh.hash);
        self.entries.slots[id as usize].hash = hash;
        let entry = self.place(id, fresh);
        match &mut self.order {
            Order::Lru(recency) => entry.use_at(recency.tick(1, &self.entries)),
            Order::S3Fifo(queues) => queues.insert(hash, &entry),
        }
        self.entries.insert(hash, entry);
        id
    }

    /// Replaces the entry of a slot. This is a use of it. Returns the previous entry and its first membership in a tag.
    #[inline]
    pub(super) fn replace(&mut self, id: SlotId, fresh: Fresh) -> Option<(Value, u32)> {
        let (now, hash) = (self.tick(), fresh.hash);
        let fresh = self.place(id, fresh);
        let place = self.entries.index.find_mut(spread(hash), |entry| entry.slot() == id)?;
        let old = std::mem::replace(place, fresh);
        now.note_set(&old, place);
        let members = self.members_of(&old);
        Some((old, members))
    }

    /// Gives the entry of a key another value and other times. This is a use of it. `keeps` says of its first membership in a
    /// tag whether its memberships stay; `None` refuses. If they stay, a value of the same length is written over the
    /// previous one, unless a reader shares that. Otherwise also returns the previous entry and the first membership that it
    /// has to leave. Returns `None` if the key has no entry, too.
    #[inline]
    pub(super) fn overwrite(
        &mut self,
        hash: u32,
        key: &[u8],
        value: &[u8],
        times: Times,
        keeps: impl FnOnce(u32) -> Option<bool>,
    ) -> Option<(SlotId, Option<(Value, u32)>)> {
        let now = self.tick();
        let entry = self.entries.index.find_mut(spread(hash), |entry| entry.has_key(key))?;
        let id = entry.slot();
        let members = if entry.is_tagged() { self.entries.slots[id as usize].members } else { NONE };
        let stay = keeps(members)?;
        let tagged = if stay && members != NONE { TAGGED } else { 0 };
        let (slots, earliest) = (&mut self.entries.slots, &mut self.earliest);
        if stay && entry.overwrite(value) {
            entry.set_deadline(times.deadline);
            note_times(entry, id, times.created, tagged, slots, earliest);
            now.note(entry);
            return Some((id, None));
        }
        let fresh = Value::keyed(key, value, Notes::until(times.deadline.nanos()));
        note_times(&fresh, id, times.created, tagged, slots, earliest);
        let old = std::mem::replace(entry, fresh);
        now.note_set(&old, entry);
        Some((id, Some((old, if stay { NONE } else { members }))))
    }

    /// Makes the notes of an entry for its slot.
    #[inline]
    fn place(&mut self, id: SlotId, fresh: Fresh) -> Value {
        note_times(&fresh.value, id, fresh.created, 0, &mut self.entries.slots, &mut self.earliest);
        fresh.value
    }

    /// Removes an entry and frees its slot. Returns the entry and its first membership in a tag.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<(Value, u32)> {
        let hash = self.entries.slots.get(id as usize)?.hash;
        let found = self.entries.index.find_entry(spread(hash), |entry| entry.slot() == id).ok()?;
        let entry = found.remove().0;
        if let Order::S3Fifo(queues) = &mut self.order {
            queues.remove(&entry);
        }
        let members = self.members_of(&entry);
        self.entries.slots[id as usize].members = std::mem::replace(&mut self.free, id);
        Some((entry, members))
    }

    /// Returns a free slot, or a new one.
    #[inline]
    fn take_slot(&mut self) -> SlotId {
        let id = self.free;
        if id == NONE {
            return self.grow();
        }
        self.free = self.entries.slots[id as usize].members;
        id
    }

    /// Adds a slot.
    fn grow(&mut self) -> SlotId {
        let slots = &mut self.entries.slots;
        let id = slot_id(slots.len());
        slots.push(slots[0]);
        self.earliest.resize(slots.len().div_ceil(BLOCK), Deadline::NEVER);
        match &mut self.order {
            Order::Lru(recency) => recency.grow(id),
            Order::S3Fifo(queues) => queues.grow(id),
        }
        id
    }
}

#[cfg(test)]
impl Table {
    pub(super) fn queues(&self) -> (&Queues, &Entries) {
        match &self.order {
            Order::Lru(_) => panic!("the test uses S3-FIFO"),
            Order::S3Fifo(queues) => (queues, &self.entries),
        }
    }

    pub(super) fn recency(&mut self) -> &mut Recency {
        match &mut self.order {
            Order::Lru(recency) => recency,
            Order::S3Fifo(_) => panic!("the test uses LRU"),
        }
    }
}

/// A use of an entry, to be noted with it.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// The time of the use.
    At(u32),
    /// Uses are counted.
    Counted,
}

impl Use {
    /// Notes the use of an entry.
    #[inline]
    pub(super) fn note(self, entry: &Value) {
        match self {
            Self::At(time) => entry.use_at(time),
            Self::Counted => count_use(entry),
        }
    }

    /// Notes the use of an entry that takes the place of another one.
    #[inline]
    fn note_set(self, old: &Value, fresh: &Value) {
        match self {
            Self::At(time) => fresh.use_at(time),
            Self::Counted => Queues::replace(old, fresh),
        }
    }

    /// Returns this use and turns to the next one.
    pub(super) fn next(&mut self) -> Self {
        let now = *self;
        if let Self::At(time) = self {
            *time += 1;
        }
        now
    }
}
