//! Common parts of all shared stores: entries in their stored form, tag versions, one deadline for each call.
//!
//! Each tag has a tag version in the store, a random number. An entry carries the
//! tag versions its tags had when it was set; a read compares them; an invalidation
//! replaces the tag version. A tag version that is missing, evicted or another is a miss,
//! so that losing any of it costs a reload and never revives an entry.

mod age;
mod barrier;
mod conditional;
mod copy;
mod counting;
mod entries;
pub(in crate::backend) mod executor;
mod expire;
mod explain;
mod fresh;
mod hints;
mod index;
mod info;
mod keep;
mod lasting;
mod lease;
mod listing;
mod nonce;
mod outbox;
mod reclaim;
mod roll_call;
mod size;
mod slice;
mod store;
mod tags;
mod trailer;
mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;

use self::barrier::Barriers;
pub use self::barrier::Replaceable;
use self::counting::Counting;
pub use self::executor::Outcomes;
use self::hints::Hints;
pub use self::keep::{Keepable, Known};
pub use self::lasting::first_lifetime;
pub use self::lease::PREFIX_TAG;
pub use self::outbox::{Announcement, Outbox};
use self::reclaim::Reclaim;
pub use self::roll_call::RollCall;
pub use self::size::{SAMPLE, Sample};
pub use self::slice::Slice;
pub use self::store::{
    Change, Condition, EncodedEntry, Indexed, Inspected, Lasting, Mark, MarkedEntry, Removal, RemovedEntry, ScanScope,
    Store, StoredPart, TimeLeft, TimedEntry, Traffic, VersionedEntry,
};
pub use self::watches::Watches;
use super::health::{Details, Health};
use super::{
    Activity, Backend, CopiedEntry, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry, OpFuture, Operation,
    Outcome, Page, Route, ScanCursor, pending,
};
use crate::command::Command;
use crate::config::Config;
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Origin;
use crate::exec::context::{CallContext, share};
use crate::exec::runtime::Runtime;
use crate::inbox::{Delivery, Feed};
use crate::lease::new_instance;
use crate::message::Filter;
use crate::naming::GENERATION;
use crate::operation::Change as ChangedEntries;
use crate::operation::PatternMode;
use crate::value::Value;

/// The longest time that a removal waits until its events are sent.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// A store that processes share, as a backend.
pub struct Remote<S> {
    store: Arc<S>,
    prefix: String,
    /// True if entries without a namespace have a generation.
    has_generations: bool,
    /// True if entries store the names of their tags.
    keeps_tag_names: bool,
    /// The deadline of a call.
    timeout: Duration,
    /// The name of the server, for a call that exceeds its deadline.
    server: String,
    counting: Counting,
    hints: Hints,
    barriers: Arc<Barriers>,
    reclaim: Reclaim,
    watches: Arc<Watches>,
    /// Identifies the backend: a lease of another one fills nothing here.
    instance: u64,
    /// None once it is closed.
    runtime: ArcSwapOption<Runtime>,
}

impl<S: Store> Remote<S> {
    /// A backend over the store of a cache.
    pub fn new(store: S, config: &Config, timeout: Duration, runtime: Arc<Runtime>) -> Self {
        Self {
            server: store.server(),
            store: Arc::new(store),
            prefix: config.key_prefix.clone(),
            has_generations: config.generations,
            keeps_tag_names: config.tag_names,
            timeout,
            counting: Counting::default(),
            hints: Hints::default(),
            barriers: Arc::default(),
            reclaim: Reclaim::default(),
            watches: Arc::default(),
            instance: new_instance(),
            runtime: ArcSwapOption::new(Some(runtime)),
        }
    }

    /// Returns the callers that wait for loads.
    pub fn watches(&self) -> Arc<Watches> {
        Arc::clone(&self.watches)
    }

    /// An operation within the deadline of a call.
    fn call<'a, T: 'a, F>(&'a self, context: CallContext, operation: impl FnOnce(CallContext) -> F) -> OpFuture<'a, T>
    where
        F: Future<Output = Result<T>> + Send + 'a,
    {
        pending(context.bounded(self.timeout, &self.server, operation))
    }

    /// An operation within the deadline of a call, which may have been done if the deadline passes.
    fn call_once<'a, T: Send + 'a, F>(
        &'a self,
        context: CallContext,
        operation: impl FnOnce(CallContext) -> F,
    ) -> OpFuture<'a, T>
    where
        F: Future<Output = Result<T>> + Send + 'a,
    {
        let call = self.call(context, operation);
        pending(async move {
            call.await.map_err(|error| match error.kind() {
                ErrorKind::Timeout => error.of_lost_reply(true).in_doubt(),
                _ => error,
            })
        })
    }

    /// Runs a step of an operation on many names, within the time there is for it: of several servers one that is silent
    /// leaves some for the steps that follow. `None`: the time is over, and the step with all that it had.
    async fn step<T, F: Future<Output = T>>(
        &self,
        context: CallContext,
        names: usize,
        is_last: bool,
        step: impl FnOnce(CallContext) -> F,
    ) -> Option<T> {
        // The only name has the whole time, and ends with it.
        let end = if names == 1 { None } else { context.end() };
        let Some(end) = end else { return Some(step(context).await) };
        let followers = if is_last || self.store.is_one_server() { 0 } else { 2 };
        let end = share(end, followers, self.timeout);
        if Instant::now() >= end { None } else { context.run_until(end, step).await }
    }

    /// Runs a step whose outcomes say by themselves which names were too late: its commands end with the time.
    async fn step_of<T, F: Future<Output = Outcomes<T>>>(
        &self,
        context: CallContext,
        names: usize,
        is_last: bool,
        step: impl FnOnce(CallContext) -> F,
    ) -> Outcomes<T> {
        let outcomes = self.step(context, names, is_last, step).await;
        outcomes.unwrap_or_else(|| (0..names).map(|_| Err(self.late(context))).collect())
    }

    fn late(&self, context: CallContext) -> Error {
        context.timed_out(&self.server, self.timeout)
    }
}

impl<S: Store> Remote<S> {
    /// Returns the health of each server.
    async fn details(&self, context: CallContext) -> Result<Details> {
        let servers = self.store.details(context, &self.prefix).await?;
        Ok(Details { servers, in_flight: self.store.traffic().in_flight, topology: self.store.topology() })
    }

    /// Waits until enough replicas have what was removed, where that is asked for.
    async fn confirm(&self, context: CallContext, removal: Removal<'_>) -> Result<()> {
        if !self.store.waits_for_replicas() {
            return Ok(());
        }
        let handle = self.runtime.load().as_ref().map(|runtime| runtime.handle().clone());
        let handle = handle.ok_or_else(closed)?;
        self.store.confirm(context, &self.prefix, removal, &handle).await
    }
}

impl<S: Store> Remote<S> {
    /// Returns the announcement of a change: it is sent when it is dropped.
    fn announcement(&self, change: &ChangedEntries<'_>) -> Option<Announcement> {
        self.store.outbox().map(|outbox| outbox.announcement(change))
    }

    /// Waits for a moment until the events of a removal that has ended are sent: a program that ends now has told of it.
    async fn announced<T>(&self, context: CallContext, removal: impl Future<Output = T>) -> T {
        let removed = removal.await;
        if let Some(outbox) = self.store.outbox() {
            // The outcome of the removal has the other half of the time.
            let limit = LAST_EVENTS.min(context.left_or(self.timeout) / 2);
            context.run_until(Instant::now() + limit, |_| outbox.flushed()).await;
        }
        removed
    }

    async fn run_command(&self, context: CallContext, command: Command<'_>) -> Result<Outcome> {
        let reply = self.store.command(context, command).await;
        let in_doubt = |error: Error| if command.is_idempotent { error } else { error.in_doubt() };
        Ok(Outcome::Reply(Box::new(reply.map_err(in_doubt)?)))
    }
}

impl<S> Remote<S> {
    fn release_runtime(&self, deadline: Instant) {
        if let Some(runtime) = self.runtime.swap(None) {
            runtime.release(deadline);
        }
    }
}

impl<S: Store> Backend for Remote<S> {
    fn info(&self) -> Info {
        Info {
            name: S::NAME,
            capabilities: self.store.capabilities(),
            answers_at_once: false,
            is_one_server: self.store.is_one_server(),
            call_timeout: Some(self.timeout),
        }
    }

    fn instance(&self) -> u64 {
        self.instance
    }

    fn route(&self, key: Option<&[u8]>) -> Route {
        let server = match key {
            None if !self.store.is_one_server() => None,
            key => {
                let (name, _) = self.store.entry_name(&self.prefix, key.unwrap_or_default());
                Some(self.store.location(&name).server)
            }
        };
        Route { server, is_fallback: false }
    }

    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        self.call(context, |context| self.read_one(context, key))
    }

    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        self.call(context, |context| self.write_one(context, entry))
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        match operation {
            Operation::Get { key } => self.call(context, |context| self.read_one(context, key).map_ok(Outcome::found)),
            Operation::Set(entry) => {
                self.call(context, |context| self.write_one(context, entry).map_ok(|()| Outcome::Done))
            }
            Operation::Delete { key } => self.call(context, |context| async move {
                only(self.announced(context, self.remove_many(context, &[key], true)).await?).map(Outcome::hit)
            }),
            Operation::Exists { key } => {
                self.call(context, |context| self.head_of(context, key).map_ok(|head| Outcome::hit(head.is_some())))
            }
            Operation::Expire { key, ttl } => {
                self.call(context, |context| self.expire_one(context, key, ttl).map_ok(Outcome::hit))
            }
            Operation::Ttl { key } => {
                self.call(context, |context| self.remaining(context, key).map_ok(Outcome::remaining))
            }
            Operation::GetMany { keys } => {
                self.call(context, |context| self.read_many(context, keys).map_ok(Outcome::Values))
            }
            Operation::SetMany { entries } => {
                self.call(context, |context| self.write_many(context, entries).map_ok(Outcome::Stored))
            }
            Operation::DeleteMany { keys } => self.call(context, |context| {
                self.announced(context, self.remove_many(context, keys, true).map_ok(Outcome::Deleted))
            }),
            Operation::GetVersioned { key } => {
                self.call(context, |context| self.read_versioned(context, key).map_ok(Outcome::versioned))
            }
            Operation::GetInfo { key, max_age } => {
                self.call(context, move |context| self.read_info(context, key, max_age).map_ok(Outcome::info))
            }
            Operation::SetIf { entry, condition } => {
                self.call_once(context, |context| self.set_if(context, entry, condition).map_ok(Outcome::stored_if))
            }
            Operation::DeleteIf { key, version } => {
                self.call_once(context, |context| self.announced(context, self.delete_if(context, key, version)))
            }
            Operation::GetAndExpire { key, ttl } => {
                self.call(context, |context| self.get_and_expire(context, key, ttl).map_ok(Outcome::found))
            }
            Operation::CounterAdd(addition) => {
                self.call_once(context, |context| self.counter_add(context, addition).map_ok(Outcome::Number))
            }
            Operation::InvalidateTags { tags, count } => self.call(context, |context| {
                self.announced(context, self.invalidate(context, tags, count).map_ok(Outcome::Removed))
            }),
            Operation::Clear { count } => {
                Backend::call(self, context, Operation::InvalidateTags { tags: &[GENERATION], count })
            }
            Operation::InvalidatePatterns { patterns, mode: PatternMode::Walk } => {
                pending(self.announced(context, self.remove_matching(context, patterns)))
            }
            Operation::InvalidatePatterns { patterns, mode: PatternMode::Barrier } => {
                self.call(context, |context| self.announced(context, self.raise_barrier(context, patterns)))
            }
            Operation::Flush { count } => pending(async move {
                self.announced(context, async {
                    let _told = self.announcement(&ChangedEntries::Flush);
                    self.remove_all(context, count).await.map(Outcome::Removed)
                })
                .await
            }),
            Operation::Ping => self.call(context, |context| self.store.ping(context).map_ok(|()| Outcome::Done)),
            Operation::Explain { key } => self.call(context, |context| {
                self.explain(context, key).map_ok(|explained| Outcome::Explanation(Box::new(explained)))
            }),
            Operation::Usage => self.call(context, |context| self.size(context).map_ok(Outcome::Usage)),
            Operation::GetOrLease { key, options } => {
                pending(self.get_or_lease(context, key, options).map_ok(Outcome::Loaded))
            }
            Operation::LeaseFill { lease, fill } => {
                self.call_once(context, move |context| async move { self.fill(context, lease, &fill).await })
            }
            Operation::LeaseAbandon { lease, retry_after } => {
                self.call(context, move |context| self.abandon(context, lease, retry_after))
            }
            Operation::Command(command) if command.is_idempotent => {
                self.call(context, move |context| self.run_command(context, command))
            }
            Operation::Command(command) => self.call_once(context, move |context| self.run_command(context, command)),
            Operation::Publish { channel, message } => self.call_once(context, move |context| {
                self.store.publish(context, channel, message).map_ok(Outcome::Received).map_err(Error::in_doubt)
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
        self.call(context, |context| self.list(context, filter, from, limit))
    }

    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        self.call(context, |context| self.copies_of(context, keys))
    }

    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        self.call(context, |context| self.store_copies(context, entries, versions, if_present))
    }

    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>> {
        self.call(context, |context| self.versions_of(context, tags, missing))
    }

    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        self.call(context, |context| self.invalidate_hashes(context, tags))
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        match &*self.runtime.load() {
            Some(runtime) => self.store.subscribe(filter, delivery, runtime.handle()),
            None => Err(closed()),
        }
    }

    fn listen(&self, delivery: Delivery) -> Result<Feed> {
        match &*self.runtime.load() {
            Some(runtime) => self.store.listen(delivery, runtime.handle()),
            None => Err(closed()),
        }
    }

    fn origin(&self) -> Option<&Origin> {
        self.store.outbox().map(|outbox| &outbox.origin)
    }

    fn connected(&self, context: CallContext) -> OpFuture<'_, ()> {
        pending(self.store.connected(context))
    }

    fn activity(&self) -> Activity {
        let (mut counters, traffic) = (self.counting.read(), self.store.traffic());
        counters.reconnects = traffic.reconnects;
        counters.decode_errors += traffic.oversized;
        Activity { counters, in_flight: traffic.in_flight, connections: traffic.connections, ..Activity::default() }
    }

    fn health(&self, context: CallContext) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            match self.call(context, |context| self.details(context)).await {
                Ok(details) if !details.servers.is_empty() => Health::of_servers(details),
                Ok(details) => Health::of_ping(Backend::call(self, context, Operation::Ping), Some(details)).await,
                Err(error) => Health::unhealthy(&error),
            }
        })
    }

    fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()> {
        self.reclaim.end();
        pending(async move {
            self.store.close(context, deadline).await;
            self.release_runtime(deadline);
            Ok(())
        })
    }
}

impl<S> Drop for Remote<S> {
    fn drop(&mut self) {
        // A cache that is freed without being closed waits for nothing.
        self.runtime.store(None);
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache was closed")
}

/// The outcome of the only one.
fn only<T>(outcomes: impl IntoIterator<Item = Result<T>>) -> Result<T> {
    outcomes.into_iter().next().unwrap_or_else(|| Err(store::no_answer()))
}
