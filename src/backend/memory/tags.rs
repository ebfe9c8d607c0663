//! The tags of a shard and their members.
//!
//! An entry belongs to the record that its tag had when the entry was set. Invalidating a tag removes its record from
//! the names, which costs the same for any number of members: they are dead from then on, and are removed when they are
//! read, by the sweeper, or first when room is needed. A later set under the same name makes a new record.
//!
//! A barrier seals the record of a generation, and notes its patterns: of the members of sealed records those are dead
//! whose keys a later pattern matches. A record goes with its last member, a pattern with the last record that is older.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use hashbrown::HashTable;

use smallvec::SmallVec;

use super::table::{NONE, SlotId};
use crate::backend::barrier::{BarrierPattern, are_too_many};
use crate::tag_names::TagNames;

type TagId = u32;
type MemberId = u32;
type BarriersId = u32;

/// A tag to look up: the hash of its name, as in every backend, and its hash in the index.
#[derive(Clone, Copy, Default)]
pub(super) struct TagName<'a> {
    pub(super) tag: u64,
    pub(super) hash: u64,
    /// Its stored name, if it is to be kept; else empty.
    pub(super) text: &'a [u8],
}

#[derive(Default)]
struct Tag {
    name: TagName<'static>,
    /// Its stored name; empty if it is not known.
    text: Box<[u8]>,
    first: MemberId,
    /// Position in the list of invalidated tags. `None` while the tag is valid.
    invalidated_at: Option<u32>,
    /// The barriers that concern it, and the number of the first of them; `None` if it is not sealed.
    sealed: Option<(BarriersId, u64)>,
}

/// The barriers of a generation that has sealed records.
#[derive(Default)]
struct Barriers {
    tag: u64,
    /// The number of barriers so far.
    count: u64,
    /// The patterns, each with the number of its barrier.
    patterns: Vec<(u64, Arc<BarrierPattern>)>,
    /// The sealed records, the oldest first.
    sealed: Vec<TagId>,
}

/// The membership of an entry in a tag: a link in the list of the tag and in that of the entry.
#[derive(Clone, Copy, Default)]
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
    barriers: Slab<Barriers>,
    /// The bytes of the names.
    text_bytes: usize,
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
        let id = self.members.insert(Member { slot, next_of_slot: first_of_slot, ..Member::default() });
        self.link(id, tag);
        id
    }

    /// Puts a member in front of those of the present record of a tag.
    fn link(&mut self, id: MemberId, tag: TagName) {
        let text = tag.text;
        let tag = self.find(tag).unwrap_or_else(|| self.create(tag));
        if !text.is_empty() {
            self.name(tag, text);
        }
        let next_of_tag = std::mem::replace(&mut self.tags[tag].first, id);
        let member = &mut self.members[id];
        (member.tag, member.previous_of_tag, member.next_of_tag) = (tag, NONE, next_of_tag);
        if next_of_tag != NONE {
            self.members[next_of_tag].previous_of_tag = id;
        }
    }

    /// Keeps the name of a tag.
    #[cold]
    fn name(&mut self, id: TagId, text: &[u8]) {
        let tag = &mut self.tags[id];
        if tag.text.is_empty() {
            tag.text = text.into();
            self.text_bytes += text.len();
        }
    }

    /// Returns the bytes of the names of tags.
    #[inline]
    pub(super) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Returns the names of the tags of a slot with this list, except that of its generation, in the order in which it joined
    /// them, if all are known.
    pub(super) fn texts_of(&self, first_of_slot: MemberId, generation: u64) -> TagNames {
        let tags = self.of_slot(first_of_slot).map(|member| &self.tags[member.tag]);
        let own = tags.filter(|tag| tag.name.tag != generation);
        let mut texts: SmallVec<[&[u8]; 8]> = own.map(|tag| &*tag.text).collect();
        if texts.iter().any(|text| text.is_empty()) {
            return TagNames::default();
        }
        texts.reverse();
        TagNames::of(texts)
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

    /// Returns true if a slot with this list joined these tags, in this order, and is a member of their present records.
    #[inline]
    pub(super) fn are_those_of(&self, first_of_slot: MemberId, tags: &[TagName]) -> bool {
        let mut wanted = tags.iter().rev();
        self.of_slot(first_of_slot).all(|member| {
            let record = &self.tags[member.tag];
            wanted.next().is_some_and(|tag| tag.tag == record.name.tag && record.has_text_of(tag))
                && record.is_present()
        }) && wanted.next().is_none()
    }

    /// Returns true if no entry can be dead because of its tags.
    #[inline]
    pub(super) fn none_dead(&self) -> bool {
        self.invalidated.is_empty() && self.barriers.is_empty()
    }

    /// Returns true if no tag of a slot with this list was invalidated, and no barrier concerns its key.
    #[inline]
    pub(super) fn all_live(&self, first_of_slot: MemberId, key: &[u8]) -> bool {
        self.of_slot(first_of_slot).all(|member| self.is_live(&self.tags[member.tag], key))
    }

    /// Returns the same for an entry that is read. One that barriers do not concern becomes a member of the present record of
    /// its generation: the patterns are compared once, not with each read.
    #[inline]
    pub(super) fn all_live_now(&mut self, first_of_slot: MemberId, key: &[u8]) -> bool {
        let mut is_older = false;
        for member in self.of_slot(first_of_slot) {
            let tag = &self.tags[member.tag];
            if tag.invalidated_at.is_some() {
                return false;
            }
            is_older |= tag.sealed.is_some();
        }
        !is_older || self.renew(first_of_slot, key)
    }

    #[cold]
    fn renew(&mut self, first_of_slot: MemberId, key: &[u8]) -> bool {
        if !self.all_live(first_of_slot, key) {
            return false;
        }
        let mut id = first_of_slot;
        while id != NONE {
            let (tag, next) = (self.members[id].tag, self.members[id].next_of_slot);
            if self.tags[tag].sealed.is_some() && self.reserve(1) {
                let (name, text, member) = (self.tags[tag].name, self.tags[tag].text.clone(), self.members[id]);
                self.unlink(&member);
                self.link(id, TagName { text: &text, ..name });
            }
            id = next;
        }
        true
    }

    #[inline]
    fn is_live(&self, tag: &Tag, key: &[u8]) -> bool {
        let passes = |(barriers, sealed): (BarriersId, u64)| self.barriers[barriers].pass(sealed, key);
        tag.invalidated_at.is_none() && tag.sealed.is_none_or(passes)
    }

    /// Returns true if a slot with this list has one of the tags.
    pub(super) fn any_of(&self, first_of_slot: MemberId, tags: &[TagId]) -> bool {
        self.of_slot(first_of_slot).any(|member| tags.contains(&member.tag))
    }

    /// Returns the tag of this name, if an entry was set with it since its last invalidation.
    pub(super) fn find(&self, tag: TagName) -> Option<TagId> {
        self.names.find(tag.hash, |id| self.tags[*id].name.tag == tag.tag).copied()
    }

    /// Returns the records of this name that are not invalidated: the present one, and those that barriers have sealed.
    pub(super) fn records_of(&self, tag: TagName) -> impl Iterator<Item = TagId> {
        let sealed = self.barriers_of(tag.tag).map_or(&[][..], |id| &self.barriers[id].sealed);
        self.find(tag).into_iter().chain(sealed.iter().copied())
    }

    /// Returns the slots that are members of a tag.
    pub(super) fn members_of(&self, tag: TagName) -> impl Iterator<Item = SlotId> {
        let member = |id: MemberId| (id != NONE).then(|| &self.members[id]);
        let firsts = self.records_of(tag).map(|id| self.tags[id].first);
        let members = move |first| std::iter::successors(member(first), move |found| member(found.next_of_tag));
        firsts.flat_map(members).map(|member| member.slot)
    }

    /// Ends the records of a tag: all their members are dead from now on.
    pub(super) fn invalidate(&mut self, tag: TagName) {
        if let Some(id) = self.unname(tag) {
            self.end(id);
        }
        if let Some(barriers) = self.barriers_of(tag.tag) {
            for id in self.barriers.remove(barriers).sealed {
                self.end(id);
            }
        }
    }

    /// Makes dead the members of a tag whose keys match one of the patterns.
    pub(super) fn bar(&mut self, tag: TagName, patterns: &[Arc<BarrierPattern>]) {
        let (present, known) = (self.unname(tag), self.barriers_of(tag.tag));
        let Some(id) = known.or_else(|| {
            let barriers = Barriers { tag: tag.tag, ..Barriers::default() };
            present.map(|_| self.barriers.insert(barriers))
        }) else {
            return;
        };
        let barriers = &mut self.barriers[id];
        barriers.count += 1;
        let number = barriers.count;
        if let Some(present) = present {
            self.tags[present].sealed = Some((id, number));
            barriers.sealed.push(present);
        }
        for pattern in patterns {
            barriers.patterns.retain(|(_, it)| !pattern.covers(it));
            barriers.patterns.push((number, pattern.clone()));
        }
        self.bound(id);
    }

    /// Returns true if members may be dead because of barriers.
    pub(super) fn has_barriers(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// Ends the oldest sealed records of a generation while there are too many patterns.
    fn bound(&mut self, id: BarriersId) {
        while are_too_many(self.barriers[id].patterns.iter().map(|(_, it)| &**it)) {
            let barriers = &mut self.barriers[id];
            let oldest = barriers.patterns.first().map_or(0, |(number, _)| *number);
            let older = barriers.sealed.iter().take_while(|it| self.tags[**it].is_sealed_by(oldest)).count();
            let ended: Vec<TagId> = barriers.sealed.drain(..older).collect();
            barriers.patterns.retain(|(number, _)| *number > oldest);
            ended.into_iter().for_each(|it| self.end(it));
        }
        self.drop_unused(id);
    }

    /// Drops the patterns that concern no record, and the barriers of a generation without sealed records.
    fn drop_unused(&mut self, id: BarriersId) {
        let barriers = &mut self.barriers[id];
        match barriers.sealed.first().and_then(|oldest| self.tags[*oldest].sealed) {
            Some((_, first)) => barriers.patterns.retain(|(number, _)| *number >= first),
            None => drop(self.barriers.remove(id)),
        }
    }

    fn barriers_of(&self, tag: u64) -> Option<BarriersId> {
        if self.barriers.is_empty() { None } else { self.barriers.find(|it| it.tag == tag && !it.sealed.is_empty()) }
    }

    /// Removes the name of the present record of a tag, which a later set makes again.
    fn unname(&mut self, tag: TagName) -> Option<TagId> {
        let tags = &self.tags;
        let found = self.names.find_entry(tag.hash, |id| tags[*id].name.tag == tag.tag);
        found.ok().map(|found| found.remove().0)
    }

    /// Makes the members of a record dead that has no name.
    fn end(&mut self, id: TagId) {
        let tag = &mut self.tags[id];
        (tag.invalidated_at, tag.sealed) = (u32::try_from(self.invalidated.len()).ok(), None);
        self.invalidated.push(id);
    }

    /// Returns a slot that is dead because one of its tags was invalidated.
    #[inline]
    pub(super) fn any_invalidated(&self) -> Option<SlotId> {
        let tag = *self.invalidated.last()?;
        Some(self.members[self.tags[tag].first].slot)
    }

    /// Returns the tags of a slot with this list, the last one that it joined first.
    pub(super) fn names_of(&self, first_of_slot: MemberId) -> impl Iterator<Item = u64> {
        self.of_slot(first_of_slot).map(|member| self.tags[member.tag].name.tag)
    }

    /// Returns the tags of a slot with this list, and whether each is valid.
    pub(super) fn states_of(&self, first_of_slot: MemberId, key: &[u8]) -> impl Iterator<Item = (u64, bool)> {
        self.of_slot(first_of_slot).map(|member| {
            let tag = &self.tags[member.tag];
            (tag.name.tag, self.is_live(tag, key))
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
        let id = self.tags.insert(Tag { name: TagName { text: &[], ..tag }, ..Tag::default() });
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
        self.text_bytes -= tag.text.len();
        if let Some(position) = tag.invalidated_at {
            self.invalidated.swap_remove(position as usize);
            if let Some(moved) = self.invalidated.get(position as usize) {
                self.tags[*moved].invalidated_at = Some(position);
            }
        } else if let Some((barriers, _)) = tag.sealed {
            self.barriers[barriers].sealed.retain(|sealed| *sealed != id);
            self.drop_unused(barriers);
        } else if let Ok(found) = self.names.find_entry(tag.name.hash, |named| *named == id) {
            found.remove();
        }
    }
}

impl Tag {
    /// Returns true if it is the record that later sets with its name join.
    fn is_present(&self) -> bool {
        self.invalidated_at.is_none() && self.sealed.is_none()
    }

    /// Returns true if it knows its name, or a set does not name it.
    fn has_text_of(&self, tag: &TagName) -> bool {
        tag.text.is_empty() || !self.text.is_empty()
    }

    /// Returns true if it was sealed by a barrier of this number, or by an earlier one.
    fn is_sealed_by(&self, number: u64) -> bool {
        self.sealed.is_some_and(|(_, sealed)| sealed <= number)
    }
}

impl Barriers {
    /// Returns true if no pattern since a barrier matches a key.
    fn pass(&self, sealed: u64, key: &[u8]) -> bool {
        !self.patterns.iter().any(|(number, pattern)| *number >= sealed && pattern.matches(key))
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

    /// Returns the number of a record.
    fn find(&self, is_wanted: impl Fn(&T) -> bool) -> Option<u32> {
        let at = self.records.iter().skip(1).position(is_wanted)?;
        u32::try_from(at + 1).ok()
    }

    /// Returns true without records.
    #[inline]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of records.
    #[inline]
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
