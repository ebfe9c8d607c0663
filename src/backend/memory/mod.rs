//! The memory backend: a sharded LRU in this process. Every call is answered on the caller's own thread.

mod copy;
mod lru;
mod removal;
mod room;
mod set;
mod shard;
mod slab;
mod store;
mod sweeper;
mod tags;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::store::Store;
use self::sweeper::Sweeper;
use super::{
    Backend, Capabilities, CopiedEntry, Counters, IfPresent, Imported, NewEntry, Page, Position, Removed, Reply, Usage,
    Wanted, done,
};
use crate::clock::Deadline;
use crate::config::MemoryConfig;
use crate::entry::TagStamp;
use crate::error::Result;
use crate::value::Value;

/// Entries in this process.
pub struct Memory {
    store: Arc<Store>,
    sweeper: Sweeper,
}

impl Memory {
    /// An empty store.
    pub fn new(config: &MemoryConfig) -> Self {
        Self {
            store: Arc::new(Store::new(config.max_size, config.max_bytes)),
            sweeper: Sweeper::new(config.cleanup_interval),
        }
    }

    /// A deadline, and the sweeper for it.
    fn deadline(&self, ttl: Option<Duration>) -> Deadline {
        if ttl.is_some() {
            self.sweeper.start(&self.store);
        }
        Deadline::after(ttl)
    }
}

impl Backend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { list: true, count: true, shared: false, size: true }
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Value>> {
        done(Ok(self.store.get(key)))
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<Value>>>> {
        done(Ok(self.store.get_many(keys).into_iter().map(Ok).collect()))
    }

    fn set<'a>(&'a self, entry: NewEntry<'a>) -> Reply<'a, ()> {
        done(self.store.set(entry, self.deadline(entry.ttl)))
    }

    fn set_many<'a>(&'a self, entries: &'a [NewEntry<'a>]) -> Reply<'a, Vec<Result<()>>> {
        let set = |entry: &NewEntry| self.store.set(*entry, self.deadline(entry.ttl));
        done(Ok(entries.iter().map(set).collect()))
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        done(Ok(self.store.delete(key)))
    }

    fn delete_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<bool>>> {
        done(Ok(keys.iter().map(|key| Ok(self.store.delete(key))).collect()))
    }

    fn exists<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        done(Ok(self.store.deadline(key).is_some()))
    }

    fn expire<'a>(&'a self, key: &'a [u8], ttl: Option<Duration>) -> Reply<'a, bool> {
        done(Ok(self.store.expire(key, self.deadline(ttl))))
    }

    fn ttl<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Option<Duration>>> {
        done(Ok(self.store.deadline(key).map(Deadline::remaining)))
    }

    fn invalidate_tags<'a>(&'a self, tags: &'a [&'a [u8]], count: bool) -> Reply<'a, Removed> {
        self.sweeper.start(&self.store);
        done(Ok(self.store.invalidate(tags, count)))
    }

    fn flush(&self, count: bool) -> Reply<'_, Removed> {
        done(Ok(self.store.flush(count)))
    }

    fn scan<'a>(&'a self, wanted: Wanted<'a>, from: Position, limit: usize) -> Reply<'a, Page> {
        done(Ok(self.store.list(wanted, from, limit)))
    }

    fn export<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<CopiedEntry>>>> {
        done(Ok(keys.iter().map(|key| Ok(self.store.export(key))).collect()))
    }

    fn tag_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<TagStamp>> {
        done(Ok(self.store.versions(tags)))
    }

    fn invalidate_hashes<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, ()> {
        self.sweeper.start(&self.store);
        self.store.invalidate_found(&self.store.find_tags(tags.iter().copied()), false);
        done(Ok(()))
    }

    fn import<'a>(
        &'a self,
        entries: &'a [CopiedEntry],
        versions: &'a [TagStamp],
        if_present: IfPresent,
    ) -> Reply<'a, Vec<Result<Imported>>> {
        let import = |it: &CopiedEntry| self.store.import(it, self.deadline(it.ttl()), versions, if_present);
        done(Ok(entries.iter().map(import).collect()))
    }

    fn usage(&self) -> Reply<'_, Usage> {
        done(Ok(self.store.usage()))
    }

    fn ping(&self) -> Reply<'_, ()> {
        done(Ok(()))
    }

    fn counters(&self) -> Counters {
        self.store.counters()
    }

    fn close(&self, _deadline: Instant) -> Reply<'_, ()> {
        self.sweeper.join();
        done(Ok(()))
    }
}
