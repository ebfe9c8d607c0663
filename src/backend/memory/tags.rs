//! The tags of a shard and their members.
//!
//! An entry belongs to the record that its tag had when the entry was set. Invalidating a tag removes its record from
//! the names, which costs the same for any number of members: they are dead from then on, and are removed when they are
//! read, by the sweeper, or first when room is needed. A later set under the same name makes a new record.

use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

use super::table::{NONE, SlotId};

type TagId = u32;
type MemberId = u32;

/// A tag to look up: the hash of its name, as in every backend, and its hash in the index.
#[derive(Clone, Copy, Default)]
pub(super) struct TagName {
    pub(super) tag: u64,
    pub(super) hash: u64,
}

#[derive(Default)]
struct Tag {
    name: TagName,
    first: MemberId,
    /// Position in the list of invalidated tags. `None` while the tag is valid.
    invalidated_at: Option<u32>,
}

/// The membership of an entry in a tag: a link in the list of the tag and in that of the entry.
#[derive(Default)]
struct Member {
    slot: SlotId,
    tag: TagId,
    previous_of_tag: MemberId,
    next_of_tag: MemberId,
    next_of_slot: MemberId,
}

/// All tags of a shard.
#[derive(Default)]
pub(super) struct Tags {
    names: HashTable<TagId>,
    tags: Slab<Tag>,
    members: Slab<Member>,
    /// Invalidated tags that still have members.
    invalidated: Vec<TagId>,
}

impl Tags {
    /// Makes room for an entry with a number of tags. Returns false if there is no memory for it.
    pub(super) fn reserve(&mut self, count: usize) -> bool {
        let tags = &self.tags;
        let names = self.names.try_reserve(count, |id| tags[*id].name.hash);
        let invalidated = self.invalidated.try_reserve(self.tags.len() + count - self.invalidated.len());
        names.is_ok() && invalidated.is_ok() && self.tags.reserve(count) && self.members.reserve(count)
    }

    /// Makes the slot a member of the tag and returns the new head of the slot's list.
    pub(super) fn join(&mut self, tag: TagName, slot: SlotId, first_of_slot: MemberId) -> MemberId {
        let tag = self.find(tag).unwrap_or_else(|| self.create(tag));
        let next_of_tag = self.tags[tag].first;
        let member = Member { slot, tag, previous_of_tag: NONE, next_of_tag, next_of_slot: first_of_slot };
        let id = self.members.insert(member);
        if next_of_tag != NONE {
            self.members[next_of_tag].previous_of_tag = id;
        }
        self.tags[tag].first = id;
        id
    }

    /// Removes a slot with this list from all its tags. Returns their number.
    #[inline]
    pub(super) fn leave(&mut self, first_of_slot: MemberId) -> usize {
        let (mut next, mut count) = (first_of_slot, 0);
        while next != NONE {
            let member = self.members.remove(next);
            (next, count) = (member.next_of_slot, count + 1);
            self.unlink(&member);
        }
        count
    }

    /// Returns true if no tag of a slot with this list was invalidated.
    #[inline]
    pub(super) fn all_live(&self, first_of_slot: MemberId) -> bool {
        self.of_slot(first_of_slot).all(|member| self.tags[member.tag].invalidated_at.is_none())
    }

    /// Returns true if a slot with this list has one of the tags.
    pub(super) fn any_of(&self, first_of_slot: MemberId, tags: &[TagId]) -> bool {
        self.of_slot(first_of_slot).any(|member| tags.contains(&member.tag))
    }

    /// Returns the tag of this name, if an entry was set with it since its last invalidation.
    pub(super) fn find(&self, tag: TagName) -> Option<TagId> {
        self.names.find(tag.hash, |id| self.tags[*id].name.tag == tag.tag).copied()
    }

    /// Returns the slots that are members of a tag.
    pub(super) fn members_of(&self, tag: TagName) -> impl Iterator<Item = SlotId> {
        let first = self.find(tag).map_or(NONE, |id| self.tags[id].first);
        let member = |id: MemberId| (id != NONE).then(|| &self.members[id]);
        std::iter::successors(member(first), move |found| member(found.next_of_tag)).map(|member| member.slot)
    }

    /// Ends the record of a tag: all its members are dead from now on.
    pub(super) fn invalidate(&mut self, tag: TagName) {
        let tags = &self.tags;
        let found = self.names.find_entry(tag.hash, |id| tags[*id].name.tag == tag.tag);
        if let Ok(found) = found {
            let (id, _) = found.remove();
            self.tags[id].invalidated_at = u32::try_from(self.invalidated.len()).ok();
            self.invalidated.push(id);
        }
    }

    /// Returns a slot that is dead because one of its tags was invalidated.
    #[inline]
    pub(super) fn any_invalidated(&self) -> Option<SlotId> {
        let tag = *self.invalidated.last()?;
        Some(self.members[self.tags[tag].first].slot)
    }

    /// Returns the tags of a slot with this list.
    pub(super) fn names_of(&self, first_of_slot: MemberId) -> impl Iterator<Item = u64> {
        self.of_slot(first_of_slot).map(|member| self.tags[member.tag].name.tag)
    }

    /// Returns the tags of a slot with this list, and whether each is valid.
    pub(super) fn states_of(&self, first_of_slot: MemberId) -> impl Iterator<Item = (u64, bool)> {
        self.of_slot(first_of_slot).map(|member| {
            let tag = &self.tags[member.tag];
            (tag.name.tag, tag.invalidated_at.is_none())
        })
    }

    /// Returns the number of memberships.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    /// Returns the number of tags of a slot with this list.
    pub(super) fn count(&self, first_of_slot: MemberId) -> usize {
        self.of_slot(first_of_slot).count()
    }

    #[inline]
    fn of_slot(&self, first_of_slot: MemberId) -> impl Iterator<Item = &Member> {
        let member = |id: MemberId| (id != NONE).then(|| &self.members[id]);
        std::iter::successors(member(first_of_slot), move |found| member(found.next_of_slot))
    }

    fn create(&mut self, tag: TagName) -> TagId {
        let id = self.tags.insert(Tag { name: tag, ..Tag::default() });
        let tags = &self.tags;
        self.names.insert_unique(tag.hash, id, |id| tags[*id].name.hash);
        id
    }

    fn unlink(&mut self, member: &Member) {
        if member.next_of_tag != NONE {
            self.members[member.next_of_tag].previous_of_tag = member.previous_of_tag;
        }
        if member.previous_of_tag != NONE {
            self.members[member.previous_of_tag].next_of_tag = member.next_of_tag;
        } else if member.next_of_tag != NONE {
            self.tags[member.tag].first = member.next_of_tag;
        } else {
            self.forget(member.tag);
        }
    }

    /// Removes a tag without members: an unused name takes no room.
    fn forget(&mut self, id: TagId) {
        let tag = self.tags.remove(id);
        if let Some(position) = tag.invalidated_at {
            self.invalidated.swap_remove(position as usize);
            if let Some(moved) = self.invalidated.get(position as usize) {
                self.tags[*moved].invalidated_at = Some(position);
            }
        } else if let Ok(found) = self.names.find_entry(tag.name.hash, |named| *named == id) {
            found.remove();
        }
    }
}

#[cfg(test)]
impl Tags {
    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }
}

/// Records under small numbers that are reused. Number 0 is never used: it represents no record.
struct Slab<T> {
    records: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Default for Slab<T> {
    fn default() -> Self {
        Self { records: vec![T::default()], free: Vec::new() }
    }
}

impl<T: Default> Slab<T> {
    /// Makes room for more records, and for the removal of all. Returns false if there is no memory for it.
    fn reserve(&mut self, more: usize) -> bool {
        let fresh = more.saturating_sub(self.free.len());
        let removals = self.records.len() + fresh - self.free.len();
        self.free.try_reserve(removals).is_ok() && self.records.try_reserve(fresh).is_ok()
    }

    /// Returns the number of records.
    fn len(&self) -> usize {
        self.records.len() - 1 - self.free.len()
    }

    /// Members are fewer than 64 times the slots of a shard, whose count the
    /// memory of a process keeps far below what would wrap here.
    #[allow(clippy::cast_possible_truncation)]
    fn insert(&mut self, record: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.records[id as usize] = record;
            return id;
        }
        self.records.push(record);
        (self.records.len() - 1) as u32
    }

    fn remove(&mut self, id: u32) -> T {
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
