//! The memory backend: a sharded store in this process. Every call is answered on the caller's own thread.

mod channels;
mod clears;
mod conditional;
mod events;
mod explain;
mod front;
mod lease;
mod loading;
#[cfg(test)]
mod oracle;
mod queues;
mod recency;
mod removal;
mod room;
mod set;
mod shard;
mod store;
mod sweeper;
mod table;
mod tags;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_util::TryFutureExt;

use self::channels::Channels;
use self::events::Events;
pub use self::front::{Front, NearEntry, Unconfirmed};
use self::lease::Attempt;
use self::store::Store;
use self::sweeper::Sweeper;
use super::{
    Activity, Backend, Capabilities, CopiedEntry, Hit, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry,
    OpFuture, Operation, Outcome, Page, Patterns, ScanCursor, barrier, done, no_commands, pending,
};
use crate::config::MemoryConfig;
use crate::entry::TagVersion;
use crate::error::Result;
use crate::event::Origin;
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::inbox::{Delivery, Feed};
use crate::lease::{Fill, Lease, LeaseOptions, Wait, held_back, still_loading};
use crate::message::Filter;
use crate::naming::{GENERATION, generation_of_pattern};
use crate::operation::{Change, PatternMode};
use crate::util::clock::{Created, Deadline, Times};
use crate::value::Value;

/// A backend whose entries are in this process.
pub struct Memory {
    store: Arc<Store>,
    sweeper: Sweeper,
    channels: Channels,
    events: Events,
}

impl Memory {
    /// Creates an empty store.
    pub fn new(config: &MemoryConfig) -> Self {
        Self {
            store: Arc::new(Store::new(config.max_size, config.max_bytes, config.eviction)),
            sweeper: Sweeper::new(config.cleanup_interval),
            channels: Channels::default(),
            events: Events::default(),
        }
    }

    /// Returns the store, whose entries keep the names of their tags or not.
    pub fn with_tag_names(mut self, keeps_tag_names: bool) -> Self {
        if let Some(store) = Arc::get_mut(&mut self.store) {
            store.keeps_tag_names = keeps_tag_names;
        }
        self
    }

    /// Returns the deadline of an entry, and starts the sweeper for it.
    fn deadline(&self, ttl: Option<Duration>) -> Deadline {
        if ttl.is_some() {
            self.sweeper.start(&self.store);
        }
        Deadline::after(ttl)
    }

    /// Returns the times of an entry that is stored now, and starts the sweeper for it.
    #[inline(always)]
    fn times(&self, ttl: Option<Duration>) -> Times {
        if ttl.is_some() {
            self.sweeper.start(&self.store);
        }
        Times::from_now(ttl)
    }

    /// Returns the times of a copy.
    fn times_of(&self, copy: &CopiedEntry) -> Times {
        let times = self.times(copy.ttl());
        let created = copy.created.map_or(times.created, |created| Created::before(created.elapsed()));
        Times { created, ..times }
    }

    fn put(&self, entry: NewEntry) -> Result<()> {
        self.store.set(entry, self.times(entry.ttl))
    }

    // Long operations are functions of their own: the frame of `call` has only what the short ones need.

    #[inline(never)]
    fn get_many(&self, keys: &[&[u8]]) -> Vec<Result<Option<Value>>> {
        self.store.get_many(keys)
    }

    #[inline(never)]
    fn put_many(&self, entries: &[NewEntry]) -> Vec<Result<()>> {
        entries.iter().map(|entry| self.put(*entry)).collect()
    }

    #[inline(never)]
    fn delete_many(&self, keys: &[&[u8]]) -> Vec<Result<bool>> {
        let removed = keys.iter().map(|key| Ok(self.store.delete(key))).collect();
        self.events.tell(&Change::Keys(keys.into()));
        removed
    }

    /// Reads a key or takes its lease. A caller that waits for the load of another is pending.
    #[inline(never)]
    fn get_or_lease<'a>(
        &'a self,
        context: CallContext,
        key: &'a [u8],
        options: LeaseOptions<'a>,
    ) -> OpFuture<'a, Outcome> {
        match self.store.get_or_lease(key, &options) {
            Attempt::Done(loaded) => {
                if loaded.lease.is_some() {
                    self.sweeper.start(&self.store);
                }
                done(Ok(Outcome::Loaded(loaded)))
            }
            other => self.wait_for_load(context, key, options, other),
        }
    }

    // Apart, so that the frame of `call` has only what a short operation needs.
    #[cold]
    #[inline(never)]
    fn wait_for_load<'a>(
        &'a self,
        context: CallContext,
        key: &'a [u8],
        options: LeaseOptions<'a>,
        after: Attempt,
    ) -> OpFuture<'a, Outcome> {
        match after {
            Attempt::Done(loaded) => done(Ok(Outcome::Loaded(loaded))),
            Attempt::HeldBack(left) => done(Err(held_back(left))),
            Attempt::Taken(_) if options.wait == Wait::No => done(Err(still_loading())),
            Attempt::Taken(holder) => {
                pending(self.store.wait_for(context, key, options, holder).map_ok(Outcome::Loaded))
            }
        }
    }

    #[inline(never)]
    fn fill(&self, lease: &Lease, fill: &Fill) -> Result<Outcome> {
        self.sweeper.start(&self.store);
        Ok(if self.store.fill(lease, fill)? { Outcome::Done } else { Outcome::Superseded })
    }

    #[inline(never)]
    fn abandon(&self, lease: &Lease, retry_after: Duration) -> Outcome {
        self.store.abandon(lease, retry_after);
        Outcome::Done
    }

    #[inline(never)]
    fn remove_matching<'a>(&'a self, patterns: &'a [&'a [u8]]) -> OpFuture<'a, Outcome> {
        pending(self.remove_all_matching(patterns))
    }

    /// Makes misses of the entries of a generation that match one of the globs.
    fn bar(&self, patterns: &[&[u8]]) -> Result<Outcome> {
        patterns.iter().try_for_each(|pattern| barrier::check(pattern))?;
        if let Some(first) = patterns.first() {
            self.sweeper.start(&self.store);
            self.store.bar(generation_of_pattern(first), patterns);
            self.events.tell(&Change::Patterns(patterns));
        }
        Ok(Outcome::Removed(None))
    }

    /// Removes every key that matches one of the globs.
    async fn remove_all_matching(&self, patterns: &[&[u8]]) -> Result<Outcome> {
        let _told = self.events.at_end(Change::Patterns(patterns));
        let (patterns, mut removed) = (Patterns::new(patterns), 0);
        for at in 0..self.store.shards.len() {
            let mut next = Some(0);
            while let Some(from) = next {
                let (count, following) = self.store.remove_matching_step(at, from, &patterns);
                (removed, next) = (removed + count, following);
                yield_now().await;
            }
        }
        Ok(Outcome::Removed(Some(removed)))
    }
}

impl Backend for Memory {
    fn info(&self) -> Info {
        Info {
            name: "memory",
            capabilities: Capabilities {
                list: true,
                count: true,
                shared: false,
                size: true,
                compare: true,
                command: false,
                publish: true,
                near: true,
                events: true,
            },
            answers_at_once: true,
            is_one_server: false,
            call_timeout: None,
        }
    }

    fn instance(&self) -> u64 {
        self.store.instance()
    }

    fn get<'a>(&'a self, _: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        done(Ok(self.store.get(key)))
    }

    fn hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        self.store.hit(key, refresh_ahead, Deadline::NEVER)
    }

    fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        self.store.hit_into(key, buffer, Deadline::NEVER)
    }

    fn set_unless(&self, is_replaced: &AtomicBool, entry: NewEntry<'_>) -> Option<Result<()>> {
        match self.store.set_unless(is_replaced, entry, self.times(entry.ttl)) {
            Ok(stored) => stored.then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    }

    fn set<'a>(&'a self, _: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        done(self.put(entry))
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        done(Ok(match operation {
            Operation::Get { key } => Outcome::found(self.store.get(key)),
            Operation::Set(entry) => return done(self.put(entry).map(|()| Outcome::Done)),
            Operation::Delete { key } => {
                let was_there = self.store.delete(key);
                self.events.tell_of_key(key);
                Outcome::hit(was_there)
            }
            Operation::Exists { key } => Outcome::hit(self.store.deadline(key).is_some()),
            Operation::Expire { key, ttl } => Outcome::hit(self.store.expire(key, self.deadline(ttl))),
            Operation::Ttl { key } => Outcome::remaining(self.store.deadline(key).map(Deadline::remaining)),
            Operation::GetVersioned { key } => Outcome::versioned(self.store.get_versioned(key)),
            Operation::GetInfo { key, max_age } => Outcome::info(self.store.get_info(key, max_age)),
            Operation::SetIf { entry, condition } => {
                let stored = self.store.set_if(entry, self.times(entry.ttl), condition);
                return done(stored.map(Outcome::stored_if));
            }
            Operation::DeleteIf { key, version } => {
                let outcome = self.store.delete_if(key, version);
                if matches!(outcome, Outcome::Done) {
                    self.events.tell_of_key(key);
                }
                outcome
            }
            Operation::GetAndExpire { key, ttl } => Outcome::found(self.store.get_and_expire(key, self.deadline(ttl))),
            Operation::CounterAdd(addition) => {
                let added = self.store.counter_add(&addition, self.times(addition.ttl));
                return done(added.map(Outcome::Number));
            }
            Operation::GetMany { keys } => Outcome::Values(self.get_many(keys)),
            Operation::SetMany { entries } => Outcome::Stored(self.put_many(entries)),
            Operation::DeleteMany { keys } => Outcome::Deleted(self.delete_many(keys)),
            Operation::InvalidateTags { tags, count } => {
                self.sweeper.start(&self.store);
                let removed = self.store.invalidate(tags, count);
                self.events.tell(&Change::Tags(tags));
                Outcome::Removed(removed)
            }
            Operation::Clear { count } => {
                return self.call(context, Operation::InvalidateTags { tags: &[GENERATION], count });
            }
            Operation::InvalidatePatterns { patterns, mode: PatternMode::Walk } => {
                return self.remove_matching(patterns);
            }
            Operation::InvalidatePatterns { patterns, mode: PatternMode::Barrier } => return done(self.bar(patterns)),
            Operation::Flush { count } => {
                let removed = self.store.flush(count);
                self.events.tell(&Change::Flush);
                Outcome::Removed(removed)
            }
            Operation::Ping => Outcome::Done,
            Operation::Command(_) => return done(Err(no_commands("memory"))),
            Operation::Publish { channel, message } => Outcome::Received(Some(self.channels.publish(channel, message))),
            Operation::Usage => Outcome::Usage(self.store.usage()),
            Operation::Explain { key } => Outcome::Explanation(self.store.explain(key)),
            Operation::GetOrLease { key, options } => return self.get_or_lease(context, key, options),
            Operation::LeaseFill { lease, fill } => return done(self.fill(lease, &fill)),
            Operation::LeaseAbandon { lease, retry_after } => self.abandon(lease, retry_after),
        }))
    }

    fn scan<'a>(&'a self, _: CallContext, filter: KeyFilter<'a>, from: ScanCursor, limit: usize) -> OpFuture<'a, Page> {
        done(Ok(self.store.list(filter, from, limit)))
    }

    fn export<'a>(&'a self, _: CallContext, keys: &'a [&'a [u8]]) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        done(Ok(keys.iter().map(|key| Ok(self.store.export(key))).collect()))
    }

    fn import<'a>(
        &'a self,
        _: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        let import = |it: &CopiedEntry| self.store.import(it, self.times_of(it), versions, if_present);
        done(Ok(entries.iter().map(import).collect()))
    }

    fn tag_versions<'a>(&'a self, _: CallContext, tags: &'a [u64], missing: Missing) -> OpFuture<'a, Vec<TagVersion>> {
        done(Ok(if missing.is_created() { self.store.versions(tags) } else { Vec::new() }))
    }

    fn invalidate_hashes<'a>(&'a self, _: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        self.sweeper.start(&self.store);
        self.store.invalidate_found(&self.store.find_tags(tags.iter().copied()), false);
        self.events.tell(&Change::Hashes(tags));
        done(Ok(()))
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        Ok(self.channels.subscribe(filter, delivery))
    }

    fn listen(&self, delivery: Delivery) -> Result<Feed> {
        self.events.listen(delivery)
    }

    fn origin(&self) -> Option<&Origin> {
        self.events.origin()
    }

    fn activity(&self) -> Activity {
        Activity { counters: self.store.counters(), ..Activity::default() }
    }

    fn close(&self, _: CallContext, _deadline: Instant) -> OpFuture<'_, ()> {
        self.store.close_loads();
        self.sweeper.join();
        // A handle may keep the store longer than it uses it.
        self.store.flush(false);
        done(Ok(()))
    }
}
