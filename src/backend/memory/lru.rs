//! Slots of entries in order of use: a slab whose links are a list.

use crate::clock::Deadline;
use crate::value::Value;

/// The number of a slot.
pub(super) type SlotId = u32;
/// No slot, no tag, no member: number 0 of each slab stands for it.
pub(super) const NONE: u32 = 0;

/// How many uses are noted before the list is brought up to date. Moving a
/// slot to the front writes three others; in a row those cache misses overlap,
/// which one at a time between locks they cannot.
const NOTED_USES: usize = 32;

/// An entry: its key lies with its value.
pub(super) struct Entry {
    value: Value,
    pub(super) deadline: Deadline,
    /// The first of its memberships in tags.
    pub(super) members: u32,
}

impl Entry {
    /// Copies key and value.
    pub(super) fn new(key: &[u8], value: &[u8], deadline: Deadline) -> Self {
        Self { value: Value::keyed(key, value), deadline, members: NONE }
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

/// An entry and its neighbours: half a cache line, which never lies across two.
#[repr(align(32))]
struct Slot {
    entry: Option<Entry>,
    previous: SlotId,
    next: SlotId,
}

const _: () = assert!(size_of::<Slot>() == 32);

/// The slots of a shard, most recently used first.
pub(super) struct Lru {
    /// A ring through number 0, which holds no entry: its next is the front, its previous the back.
    slots: Vec<Slot>,
    /// The first free slot; free ones are linked by `next`.
    free: SlotId,
    /// Slots used since the list was brought up to date, in order.
    noted: [SlotId; NOTED_USES],
    noted_len: usize,
}

impl Default for Lru {
    fn default() -> Self {
        let ring = Slot { entry: None, previous: NONE, next: NONE };
        Self { slots: vec![ring], free: NONE, noted: [NONE; NOTED_USES], noted_len: 0 }
    }
}

impl Lru {
    /// One past the highest slot number.
    pub(super) fn end(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn get(&self, id: SlotId) -> Option<&Entry> {
        self.slots.get(id as usize)?.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Entry> {
        self.slots.get_mut(id as usize)?.entry.as_mut()
    }

    /// The least recently used.
    pub(super) fn back(&mut self) -> SlotId {
        self.settle();
        self.slots[NONE as usize].previous
    }

    /// Makes it the most recently used.
    #[inline]
    pub(super) fn touch(&mut self, id: SlotId) {
        if self.noted_len == NOTED_USES {
            self.settle();
        }
        self.noted[self.noted_len] = id;
        self.noted_len += 1;
    }

    /// A new slot at the front.
    pub(super) fn insert(&mut self, entry: Entry) -> SlotId {
        self.settle();
        let id = if self.free == NONE { self.grow() } else { self.free };
        let slot = &mut self.slots[id as usize];
        self.free = slot.next;
        slot.entry = Some(entry);
        self.link_front(id);
        id
    }

    /// Puts another entry into the slot; what was in it.
    pub(super) fn replace(&mut self, id: SlotId, entry: Entry) -> Option<Entry> {
        self.slots[id as usize].entry.replace(entry)
    }

    /// Takes an entry out and frees its slot.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Entry> {
        let entry = self.slots.get_mut(id as usize)?.entry.take()?;
        self.settle();
        self.unlink(id);
        self.slots[id as usize].next = self.free;
        self.free = id;
        Some(entry)
    }

    /// Brings the list up to date with the uses noted.
    fn settle(&mut self) {
        for at in 0..std::mem::take(&mut self.noted_len) {
            let id = self.noted[at];
            if self.slots[NONE as usize].next != id {
                self.unlink(id);
                self.link_front(id);
            }
        }
    }

    /// Room for one more. Growth is by an eighth: doubling would waste up to
    /// half, and the allocator remaps large blocks instead of copying them.
    #[allow(clippy::cast_possible_truncation)] // The configuration bounds the number of entries.
    fn grow(&mut self) -> SlotId {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 8 + 64);
        }
        self.slots.push(Slot { entry: None, previous: NONE, next: NONE });
        (self.slots.len() - 1) as SlotId
    }

    #[inline]
    fn unlink(&mut self, id: SlotId) {
        let Slot { previous, next, .. } = self.slots[id as usize];
        self.slots[previous as usize].next = next;
        self.slots[next as usize].previous = previous;
    }

    #[inline]
    fn link_front(&mut self, id: SlotId) {
        let front = self.slots[NONE as usize].next;
        let slot = &mut self.slots[id as usize];
        (slot.previous, slot.next) = (NONE, front);
        self.slots[front as usize].previous = id;
        self.slots[NONE as usize].next = id;
    }
}
