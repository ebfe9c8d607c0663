//! A near cache: copies of entries of a shared store in the memory of the process.
//!
//! ```text
//! Near (reads, changes)  →  Copies (front: the memory; guards: late replies; freshness: how long)  ←  the task that hears of changes
//!       ↓
//!    Remote (the store)
//! ```
//!
//! Results in this process are those without a near cache: a change removes the copies of what it may change before it is
//! sent, and until it has ended nothing is kept that it may change. What other processes change is seen after
//! `max_staleness` at the latest: either the store tells of changes, and copies are served only while that is known to
//! work, or each copy is served for that time alone.

mod copies;
mod freshness;
mod guards;

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;

pub use self::copies::Copies;
pub use self::freshness::Staleness;
use super::health::{Health, Status};
use super::remote::{Known, Remote, Store};
use super::{
    Activity, Backend, Capabilities, CopiedEntry, Hit, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry,
    OpFuture, Operation, Outcome, Page, Route, ScanCursor, done, pending,
};
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Origin;
use crate::exec::context::CallContext;
use crate::inbox::{Delivery, Feed};
use crate::lease::{LeaseOptions, LoadState, Loaded, Wait};
use crate::message::Filter;
use crate::operation::Change;
use crate::util::lock;
use crate::value::Value;

/// The longest time that the opening of a cache waits for what tells of changes.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// A shared store with a near cache.
pub struct Near<S> {
    remote: Remote<S>,
    copies: Arc<Copies>,
    /// The task that hears of changes; `None` if no store tells of them, and once the cache is closed.
    source: Mutex<Option<Feed>>,
}

impl<S: Store> Near<S> {
    /// Puts copies in front of a store. `source` keeps alive the task that hears of changes, if the store tells of them.
    pub fn new(remote: Remote<S>, copies: Arc<Copies>, source: Option<Feed>) -> Self {
        Self { remote, copies, source: Mutex::new(source) }
    }

    /// Returns the value of a copy, unless the call asks for that of the store.
    #[inline]
    fn copy_of(&self, context: CallContext, key: &[u8]) -> Option<Value> {
        if context.is_fresh() { None } else { self.copies.get(key) }
    }

    /// Returns the context of a call of several requests, which share its time.
    fn within(&self, context: CallContext) -> CallContext {
        self.remote.info().call_timeout.map_or(context, |limit| context.until(Instant::now() + limit))
    }

    /// Makes a change, and tells of it.
    async fn change<T>(
        &self,
        context: CallContext,
        change: &Change<'_>,
        changing: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let writing = self.copies.begin(change);
        let changed = changing.await;
        drop(writing);
        // If it failed and was made nevertheless, the copies of others end by themselves.
        if changed.is_ok() {
            self.remote.tell(context, change).await;
        }
        changed
    }

    async fn read_one(&self, context: CallContext, key: &[u8]) -> Result<Option<Value>> {
        // Only `read` asks the primary, which a fresh value has to come from.
        if self.copies.freshness.is_over() && !context.is_fresh() {
            return self.remote.get(context, key).await;
        }
        let value = self.read(self.within(context), key).await?;
        self.remote.count_reads(u64::from(value.is_some()), u64::from(value.is_none()));
        Ok(value)
    }

    /// Reads an entry, and keeps a copy of it. The read is not counted.
    async fn read(&self, context: CallContext, key: &[u8]) -> Result<Option<Value>> {
        let before = self.copies.before(self.remote.redirections());
        let unconfirmed = if context.is_fresh() { None } else { self.copies.unconfirmed(key) };
        if let Some(copy) = unconfirmed {
            let known = [Known { key, number: copy.number, tags: &copy.tags }];
            let is_unchanged = self.remote.are_unchanged(context, &known).await?.pop();
            if is_unchanged.unwrap_or_else(|| Err(no_answer()))? {
                self.copies.confirm(before, key, &copy);
                return Ok(Some(copy.value));
            }
        }
        let read = self.remote.to_keep(context, key).await?;
        if let Some(read) = &read {
            self.copies.keep(before, self.remote.redirections(), key, read);
        }
        Ok(read.map(|read| read.value))
    }

    fn get_many<'a>(&'a self, context: CallContext, keys: &'a [&'a [u8]]) -> OpFuture<'a, Outcome> {
        if self.copies.freshness.is_over() && !context.is_fresh() {
            return self.remote.call(context, Operation::GetMany { keys });
        }
        let copies = if context.is_fresh() { vec![None; keys.len()] } else { self.copies.get_many(keys) };
        if copies.iter().all(Option::is_some) {
            return done(Ok(Outcome::Values(copies.into_iter().map(Ok).collect())));
        }
        pending(self.read_others(context, keys, copies))
    }

    /// Reads the entries of the keys that have no copy.
    async fn read_others(&self, context: CallContext, keys: &[&[u8]], copies: Vec<Option<Value>>) -> Result<Outcome> {
        let context = self.within(context);
        let copies = if context.is_fresh() { copies } else { self.confirmed(context, keys, copies).await? };
        let others: Vec<&[u8]> = keys.iter().zip(&copies).filter(|(_, it)| it.is_none()).map(|(key, _)| *key).collect();
        if others.is_empty() {
            return Ok(Outcome::Values(copies.into_iter().map(Ok).collect()));
        }
        let before = self.copies.before(self.remote.redirections());
        let read = self.remote.many_to_keep(context, &others).await?;
        let redirections = self.remote.redirections();
        let mut values = others.into_iter().zip(read).map(|(key, read)| {
            let read = read?;
            if let Some(read) = &read {
                self.copies.keep(before, redirections, key, read);
            }
            Ok(read.map(|read| read.value))
        });
        let mut value = |copy: Option<Value>| match copy {
            Some(copy) => Ok(Some(copy)),
            None => values.next().unwrap_or_else(|| Err(no_answer())),
        };
        Ok(Outcome::Values(copies.into_iter().map(&mut value).collect()))
    }

    /// Adds the copies that the store confirms.
    async fn confirmed(
        &self,
        context: CallContext,
        keys: &[&[u8]],
        mut copies: Vec<Option<Value>>,
    ) -> Result<Vec<Option<Value>>> {
        let before = self.copies.before(self.remote.redirections());
        let others = keys.iter().enumerate().filter(|(at, _)| copies[*at].is_none());
        let found: Vec<_> = others.filter_map(|(at, key)| Some((at, self.copies.unconfirmed(key)?))).collect();
        if found.is_empty() {
            return Ok(copies);
        }
        let known = found.iter().map(|(at, it)| Known { key: keys[*at], number: it.number, tags: &it.tags });
        let known: Vec<Known<'_>> = known.collect();
        // A server that is silent leaves time for the keys of the others.
        let limit = self.remote.info().call_timeout.unwrap_or_default();
        let context = context.until(Instant::now() + context.left_or(limit) / 2);
        for ((at, copy), is_unchanged) in found.iter().zip(self.remote.are_unchanged(context, &known).await?) {
            if let Ok(true) = is_unchanged {
                self.copies.confirm(before, keys[*at], copy);
                self.remote.count_reads(1, 0);
                copies[*at] = Some(copy.value.clone());
            }
        }
        Ok(copies)
    }

    fn get_or_lease<'a>(
        &'a self,
        context: CallContext,
        key: &'a [u8],
        options: LeaseOptions<'a>,
    ) -> OpFuture<'a, Outcome> {
        let of_store = move |context| self.remote.call(context, Operation::GetOrLease { key, options });
        let copies = &self.copies.freshness;
        let is_untold = options.refresh_ahead && copies.limit().is_some();
        if copies.is_over() || context.is_fresh() || is_untold || !self.remote.info().capabilities.compare {
            return of_store(context);
        }
        let fresh = |value| Outcome::Loaded(Loaded::of(LoadState::Fresh, Some(value)));
        if let Some(value) = self.copies.get_to_load(key, options.refresh_ahead) {
            return done(Ok(fresh(value)));
        }
        pending(async move {
            let within = self.within(context);
            // The reply to `GetOrLease` does not say how long a copy may be kept.
            let read = self.read(within, key).await?;
            // An entry may be due for an early refresh, which its copy tells.
            let value =
                if options.refresh_ahead { read.and_then(|_| self.copies.get_to_load(key, true)) } else { read };
            match value {
                Some(value) => {
                    self.remote.count_reads(u64::from(!options.refresh_ahead), 0);
                    Ok(fresh(value))
                }
                // A call that waits for the load of another has the time for that.
                None if options.wait == Wait::No => of_store(within).await,
                None => of_store(context).await,
            }
        })
    }
}

impl<S: Store> Backend for Near<S> {
    fn info(&self) -> Info {
        let info = self.remote.info();
        Info { capabilities: Capabilities { near: true, ..info.capabilities }, ..info }
    }

    fn instance(&self) -> u64 {
        self.remote.instance()
    }

    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        match self.copy_of(context, key) {
            Some(value) => done(Ok(Some(value))),
            None => pending(self.read_one(context, key)),
        }
    }

    fn hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        self.copies.get_to_load(key, refresh_ahead)
    }

    fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        self.copies.hit_into(key, buffer)
    }

    /// Leaves patterns and flushes to the change itself: they walk all copies, and this thread may have to be quick.
    fn will_change(&self, change: &Change<'_>) {
        if !matches!(change, Change::Patterns(_) | Change::Flush) {
            drop(self.copies.begin(change));
        }
    }

    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        pending(async move {
            let key = [entry.key];
            self.change(context, &Change::Keys((&key[..]).into()), self.remote.set(context, entry)).await
        })
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        match operation {
            Operation::Get { key } => match self.copy_of(context, key) {
                Some(value) => done(Ok(Outcome::Value(value))),
                None => pending(self.read_one(context, key).map_ok(Outcome::found)),
            },
            Operation::GetMany { keys } => self.get_many(context, keys),
            Operation::GetOrLease { key, options } => self.get_or_lease(context, key, options),
            _ if operation.change().is_none() => self.remote.call(context, operation),
            _ => pending(async move {
                let changing = self.remote.call(context, operation);
                match operation.change() {
                    Some(change) => self.change(context, &change, changing).await,
                    None => changing.await,
                }
            }),
        }
    }

    fn scan<'a>(
        &'a self,
        context: CallContext,
        filter: KeyFilter<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> OpFuture<'a, Page> {
        self.remote.scan(context, filter, from, limit)
    }

    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        self.remote.export(context, keys)
    }

    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        pending(async move {
            let change = Change::Keys(entries.iter().map(|entry| &entry.key[..]).collect());
            self.change(context, &change, self.remote.import(context, entries, versions, if_present)).await
        })
    }

    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>> {
        self.remote.tag_versions(context, tags, missing)
    }

    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        pending(async move {
            let changing = Backend::invalidate_hashes(&self.remote, context, tags);
            self.change(context, &Change::Hashes(tags), changing).await
        })
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        self.remote.subscribe(filter, delivery)
    }

    fn listen(&self, delivery: Delivery) -> Result<Feed> {
        self.remote.listen(delivery)
    }

    fn origin(&self) -> Option<&Origin> {
        self.remote.origin()
    }

    /// Waits also until what tells of changes has begun, or says why it cannot.
    fn connected(&self, context: CallContext) -> OpFuture<'_, ()> {
        pending(async move {
            self.remote.connected(context).await?;
            let answered = context.run_until(Instant::now() + FIRST_ANSWER, |_| self.copies.freshness.answered()).await;
            // Without an answer so far the reads go to the store.
            answered.unwrap_or(Ok(()))
        })
    }

    fn route(&self, key: Option<&[u8]>) -> Route {
        self.remote.route(key)
    }

    fn activity(&self) -> Activity {
        let (mut activity, near) = (self.remote.activity(), self.copies.activity());
        activity.counters.hits += near.hits;
        Activity { near: Some(near), ..activity }
    }

    /// That of the store; degraded while no copies are served.
    fn health(&self, context: CallContext) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            let mut health = self.remote.health(context).await;
            if self.copies.freshness.is_over() {
                if health.status == Status::Healthy {
                    health.status = Status::Degraded;
                }
                health.reasons.push(self.copies.freshness.reason());
            }
            health
        })
    }

    fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()> {
        pending(async move {
            drop(lock(&self.source).take());
            self.copies.close();
            self.remote.close(context, deadline).await
        })
    }
}

#[cold]
fn no_answer() -> Error {
    Error::new(ErrorKind::Protocol, "the store answered fewer keys than it was asked for")
}
