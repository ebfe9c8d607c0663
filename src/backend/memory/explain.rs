//! Explains a key: looks at its slot and at its lease, and changes neither.

use std::time::Duration;

use super::loading::End;
use super::shard::Shard;
use super::store::Store;
use super::table::SlotId;
use crate::explanation::{EntryFacts, Explanation, KeyState, LeaseFacts, Location, MissReason, TagFacts, TagState};
use crate::util::clock::Deadline;
use crate::value::Value;

impl Store {
    /// Reports on a key. An entry that is dead stays, and the order of use is the same afterwards.
    #[inline(never)]
    pub(super) fn explain(&self, key: &[u8]) -> Box<Explanation> {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let lease = shard.lease(hash.of_entry(), key).map(|lease| (lease.is_held_back, lease.ends));
        let lease = lease
            .filter(|(_, ends)| !ends.has_passed())
            .map(|(is_held_back, ends)| LeaseFacts { is_held_back, left: ends.remaining().unwrap_or(Duration::MAX) });
        let id = shard.find(hash.of_entry(), key);
        let entry = id.and_then(|id| shard.facts(id));
        let state = match (id, &entry) {
            (Some(id), Some(entry)) => shard.state_of(id, entry),
            _ => KeyState::Missing(lease.map_or(MissReason::NotStored, LeaseFacts::reason)),
        };
        Box::new(Explanation {
            backend: "memory",
            is_fallback: false,
            location: Location { server: "memory".to_owned(), ..Location::default() },
            stored_name: None,
            stored_bytes: id.map(|id| shard.cost_of(id) as u64),
            state,
            entry,
            lease,
        })
    }
}

impl Shard {
    /// Returns the properties of the entry of a slot. Its version is given to it now, if no caller has asked for it.
    fn facts(&mut self, id: SlotId) -> Option<EntryFacts> {
        let version = self.version(id);
        let stale_for = self.kept(id).map_or(Duration::ZERO, |kept| match kept.end {
            End::Stale(time) => time,
            End::Absent(_) | End::Copy(..) => Duration::ZERO,
        });
        let entry = self.entry(id)?;
        let tags = self.tag_states(entry).map(|(tag, is_live)| TagFacts {
            tag,
            state: if is_live { TagState::Current } else { TagState::Invalidated },
        });
        Some(EntryFacts {
            version,
            age: self.times_of(entry).created.age(),
            value_bytes: entry.as_bytes().len() as u64,
            stale_for,
            tags: tags.collect(),
            tag_names: self.tag_names_of(entry),
        })
    }

    /// Returns what a get would answer for the entry of a slot.
    fn state_of(&self, id: SlotId, facts: &EntryFacts) -> KeyState {
        let deadline = self.entry(id).map_or(Deadline::PASSED, Value::deadline);
        if !facts.is_current() {
            return KeyState::Missing(MissReason::Invalidated);
        }
        if !deadline.has_passed() {
            return KeyState::Fresh(deadline.remaining());
        }
        match self.kept(id).filter(|kept| kept.is_kept(deadline)).map(|kept| kept.end) {
            Some(End::Stale(time)) => KeyState::Stale(deadline.later(time).remaining()),
            Some(End::Absent(ends)) => KeyState::Absent(ends.remaining()),
            Some(End::Copy(..)) | None => KeyState::Missing(MissReason::Expired),
        }
    }
}
