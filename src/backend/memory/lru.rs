//! Slots of entries in order of use: a slab whose links are a list.
//!
//! The links lie apart from the slots: moving an entry to the front writes
//! three links, and eight bytes a link stay in a nearer cache than a slot.

use std::sync::Arc;

use crate::clock::Deadline;
use crate::value::Value;

/// The number of a slot; `NONE` is the end of every list.
pub(super) type SlotId = u32;
/// No slot, no tag, no member: number 0 of each slab stands for it.
pub(super) const NONE: u32 = 0;

/// One entry. Key and value share one allocation.
pub(super) struct Slot {
    bytes: Arc<[u8]>,
    key_len: u32,
    /// Of the key: finds the slot's place in the index without reading the key.
    pub(super) hash: u32,
    pub(super) deadline: Deadline,
    /// The first of its memberships in tags.
    pub(super) members: u32,
}

impl Slot {
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len as usize]
    }

    #[inline]
    pub(super) fn value(&self) -> Value {
        Value::window(self.bytes.clone(), self.key_len as usize, self.bytes.len())
    }

    /// The bytes of key and value.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What a set brings: key and value in one allocation made outside any lock.
pub(super) struct Fresh {
    pub(super) bytes: Arc<[u8]>,
    pub(super) key_len: u32,
    pub(super) hash: u32,
    pub(super) deadline: Deadline,
}

impl Fresh {
    /// Copies key and value into one allocation.
    #[allow(clippy::cast_possible_truncation)] // A key has up to 64 KiB.
    pub(super) fn new(key: &[u8], value: &[u8], hash: u32, deadline: Deadline) -> Self {
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, key.len() + value.len()).collect();
        if let Some(unshared) = Arc::get_mut(&mut bytes) {
            unshared[..key.len()].copy_from_slice(key);
            unshared[key.len()..].copy_from_slice(value);
        }
        Self { bytes, key_len: key.len() as u32, hash, deadline }
    }

    fn into_slot(self) -> Slot {
        Slot { bytes: self.bytes, key_len: self.key_len, hash: self.hash, deadline: self.deadline, members: NONE }
    }
}

#[derive(Clone, Copy)]
struct Link {
    previous: SlotId,
    next: SlotId,
}

/// The slots of a shard, most recently used first.
pub(super) struct Lru {
    slots: Vec<Option<Slot>>,
    /// A ring through number 0: its next is the front, its previous the back.
    links: Vec<Link>,
    /// The first free slot; free ones are linked by `next`.
    free: SlotId,
}

impl Default for Lru {
    fn default() -> Self {
        Self { slots: vec![None], links: vec![Link { previous: NONE, next: NONE }], free: NONE }
    }
}

impl Lru {
    /// One past the highest slot number.
    pub(super) fn end(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// The least recently used.
    pub(super) fn back(&self) -> SlotId {
        self.links[NONE as usize].previous
    }

    /// Makes it the most recently used.
    #[inline]
    pub(super) fn touch(&mut self, id: SlotId) {
        if self.links[NONE as usize].next != id {
            self.unlink(id);
            self.link_front(id);
        }
    }

    /// A new slot at the front.
    pub(super) fn insert(&mut self, fresh: Fresh) -> SlotId {
        let id = if self.free == NONE { self.grow() } else { self.free };
        self.free = self.links[id as usize].next;
        self.slots[id as usize] = Some(fresh.into_slot());
        self.link_front(id);
        id
    }

    /// Puts another entry into the slot, at the front; what was in it.
    pub(super) fn replace(&mut self, id: SlotId, fresh: Fresh) -> Option<Slot> {
        self.touch(id);
        self.slots[id as usize].replace(fresh.into_slot())
    }

    /// Takes an entry out and frees its slot.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        let slot = self.slots.get_mut(id as usize)?.take()?;
        self.unlink(id);
        self.links[id as usize].next = self.free;
        self.free = id;
        Some(slot)
    }

    /// Room for one more. Growth is by an eighth: doubling would waste up to
    /// half, and large blocks are remapped by the allocator, not copied.
    #[allow(clippy::cast_possible_truncation)] // `MAX_PER_SHARD` bounds it.
    fn grow(&mut self) -> SlotId {
        if self.slots.len() == self.slots.capacity() {
            let more = self.slots.len() / 8 + 64;
            self.slots.reserve_exact(more);
            self.links.reserve_exact(more);
        }
        self.slots.push(None);
        self.links.push(Link { previous: NONE, next: NONE });
        (self.slots.len() - 1) as SlotId
    }

    #[inline]
    fn unlink(&mut self, id: SlotId) {
        let Link { previous, next } = self.links[id as usize];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
    }

    #[inline]
    fn link_front(&mut self, id: SlotId) {
        let front = self.links[NONE as usize].next;
        self.links[id as usize] = Link { previous: NONE, next: front };
        self.links[front as usize].previous = id;
        self.links[NONE as usize].next = id;
    }
}
