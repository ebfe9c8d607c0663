//! Conditional operations and counters: each finds, decides and changes under the lock of one shard.

use std::time::Duration;

use super::set::{ATTEMPTS, Evicted, no_room};
use super::shard::{Lookup, Shard, entry_cost};
use super::store::{Hash, Store};
use super::table::{Fresh, SlotId};
use super::tags::TagName;
use crate::backend::{Addition, NewEntry, Outcome, SetCondition};
use crate::entry::count_tags;
use crate::error::Result;
use crate::operation::{EntryInfo, is_within};
use crate::util::clock::{Deadline, Times};
use crate::value::Value;

impl Store {
    /// Returns the value of a key and its version. This is a use of the entry.
    pub(super) fn get_versioned(&self, key: &[u8]) -> Option<(Value, u64)> {
        self.read(key, None, |shard, id, value| (value, shard.version(id)))
    }

    /// Returns the value of a key and its properties. This is a use of the entry, unless it is older than `max_age`: then it
    /// counts as a miss, and stays.
    #[inline(never)]
    pub(super) fn get_info(&self, key: &[u8], max_age: Option<Duration>) -> Option<EntryInfo> {
        self.read(key, max_age, |shard, id, value| EntryInfo {
            version: shard.version(id),
            age: shard.times_of(&value).created.age(),
            left: value.deadline().remaining(),
            tags: count_tags(key, shard.tags_of(&value).into_iter()),
            tag_names: shard.tag_names_of(&value),
            value,
        })
    }

    /// Returns the value of a key, and gives the key another deadline.
    pub(super) fn get_and_expire(&self, key: &[u8], deadline: Deadline) -> Option<Value> {
        self.read(key, None, |shard, id, value| {
            shard.set_deadline(id, deadline);
            value
        })
    }

    /// Reads a key as a get does, and does more under the same lock. An entry that is older than `max_age` counts as a miss.
    #[inline(always)]
    fn read<T>(
        &self,
        key: &[u8],
        max_age: Option<Duration>,
        more: impl FnOnce(&mut Shard, SlotId, Value) -> T,
    ) -> Option<T> {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        if max_age.is_some()
            && let Some(entry) = shard.live(hash.of_entry(), key)
            && !is_within(shard.times_of(entry).created.age(), max_age)
        {
            shard.counters.misses += 1;
            return None;
        }
        let found = shard.find(hash.of_entry(), key);
        let dead = match shard.get(hash.of_entry(), key) {
            Lookup::Hit(value) => {
                let value = value.clone();
                return found.map(|id| more(&mut shard, id, value));
            }
            Lookup::Miss => return None,
            Lookup::Dead(id) => id,
        };
        self.release(shard.remove_dead(dead), shard);
        None
    }

    /// Stores an entry if the condition holds, and returns its version.
    pub(super) fn set_if(&self, entry: NewEntry, times: Times, condition: SetCondition) -> Result<Option<u64>> {
        let (hash, tags) = (self.hash(entry.key), self.hash_tags(entry.tags));
        self.room.check_fits(entry_cost(entry.key.len() + entry.value.len(), tags.len(), false))?;
        let mut fresh = Fresh::new(entry.key, entry.value, hash.of_entry(), times);
        for _ in 0..ATTEMPTS {
            match self.try_set_if(hash, fresh, &tags, condition) {
                Ok(version) => return Ok(version),
                Err(refused) => fresh = refused,
            }
            self.make_way(hash);
        }
        Err(no_room())
    }

    /// Stores the entry, or returns it if its shard has no room and cannot make any.
    fn try_set_if(
        &self,
        hash: Hash,
        fresh: Fresh,
        tags: &[TagName],
        condition: SetCondition,
    ) -> std::result::Result<Option<u64>, Fresh> {
        // Dropped in the other order: the lock first, then what was evicted.
        let (mut evicted, mut shard) = (Evicted::default(), self.shard_of(hash));
        let old = shard.find(hash.of_entry(), fresh.key());
        let live = old.filter(|id| shard.is_slot_live(*id));
        let version = live.map(|id| shard.version(id));
        if !condition.holds(version) {
            return Ok(None);
        }
        let id = self.store_locked(&mut shard, old, fresh, tags, &mut evicted)?;
        Ok(Some(shard.version(id)))
    }

    /// Removes a key if it has this version.
    pub(super) fn delete_if(&self, key: &[u8], version: u64) -> Outcome {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        let Some(id) = shard.find(hash.of_entry(), key) else { return Outcome::Miss };
        let is_live = shard.is_slot_live(id);
        if is_live && shard.version(id) != version {
            return Outcome::Unmet;
        }
        let removed = if is_live { shard.remove(id) } else { shard.remove_dead(id) };
        let ended = if is_live { shard.end_lease(hash.of_entry(), key) } else { None };
        shard.counters.deletes += u64::from(is_live);
        self.release(removed, shard);
        drop(ended);
        Outcome::hit(is_live)
    }

    /// Adds to a counter, which keeps its times and its tags; a counter that does not exist gets these times.
    pub(super) fn counter_add(&self, addition: &Addition, times: Times) -> Result<i64> {
        let hash = self.hash(addition.key);
        for _ in 0..ATTEMPTS {
            if let Some(value) = self.try_counter_add(hash, addition, times)? {
                return Ok(value);
            }
            self.make_way(hash);
        }
        Err(no_room())
    }

    /// Returns the sum, or `None` if the shard has no room and cannot make any.
    fn try_counter_add(&self, hash: Hash, addition: &Addition, times: Times) -> Result<Option<i64>> {
        // Dropped in the other order: the lock first, then what was evicted.
        let (mut evicted, mut shard) = (Evicted::default(), self.shard_of(hash));
        let old = shard.find(hash.of_entry(), addition.key);
        if let Some(old) = old {
            // So that the tags of an older entry keep their names.
            shard.renew_tags(old);
        }
        let live = shard.live(hash.of_entry(), addition.key);
        let sum = addition.apply(live.map(|entry| entry.as_bytes()))?;
        let times = live.map_or(times, |entry| shard.times_of(entry));
        let tags = match live {
            None => self.hash_tags(addition.tags),
            Some(entry) => self.find_tags(shard.tags_of(entry).into_iter()),
        };
        let text = sum.to_string();
        self.room.check_fits(entry_cost(addition.key.len() + text.len(), tags.len(), false))?;
        let fresh = Fresh::new(addition.key, text.as_bytes(), hash.of_entry(), times);
        Ok(self.store_locked(&mut shard, old, fresh, &tags, &mut evicted).ok().map(|_| sum))
    }

    /// Makes room in another shard, for the next attempt.
    fn make_way(&self, hash: Hash) {
        self.evict_elsewhere(hash);
        std::thread::yield_now();
    }
}
