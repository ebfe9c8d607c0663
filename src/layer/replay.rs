//! A backend that serves while another is behind: changes are recorded, and replayed before the other serves.
//!
//! A change is made here first and recorded then, so that the replay finds it. If the other backend has begun to serve
//! in between, the change is made there as well before its caller hears of it.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;

use super::deferred::Deferred;
use super::replay_log::{Names, ReplayLog};
use crate::backend::health::Health;
use crate::backend::{
    Activity, Addition, Backend, CopiedEntry, Hit, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry, OpFuture,
    Operation, Outcome, Page, Route, ScanCursor, done, pending,
};
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Origin;
use crate::exec::context::CallContext;
use crate::inbox::{Delivery, Feed};
use crate::lease::Fill;
use crate::message::Filter;
use crate::operation::{Change, PatternMode};
use crate::value::Value;

/// The number of keys or tags that are replayed at once.
const CHUNK: usize = 256;
/// The number of rounds of a replay before callers that change entries have to wait: each round is shorter.
const ROUNDS: usize = 10;

/// The replay of entries that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The other backend removes its entries of the changed keys.
    Drop,
    /// The other backend gets the entries of the changed keys.
    Follow,
}

/// A backend that serves, and one that is behind.
pub struct Replay {
    active: Arc<dyn Backend>,
    behind: Arc<dyn Backend>,
    log: ReplayLog,
    /// The leases of the backend that is behind.
    abandonments: Deferred,
    changed: Changed,
    /// The longest life of an entry here; `None`: as requested. With a limit, `active` does not have all entries.
    max_ttl: Option<Duration>,
}

impl Replay {
    /// Creates a layer whose `active` has all entries that `behind` is to have.
    pub fn whole(active: Arc<dyn Backend>, behind: Arc<dyn Backend>) -> Self {
        Self::new(active, behind, Changed::Follow, None)
    }

    /// `active` is a fallback, empty at first, and keeps entries no longer than `max_ttl`.
    pub fn fallback(active: Arc<dyn Backend>, behind: Arc<dyn Backend>, changed: Changed, max_ttl: Duration) -> Self {
        Self::new(active, behind, changed, Some(max_ttl))
    }

    fn new(active: Arc<dyn Backend>, behind: Arc<dyn Backend>, changed: Changed, max_ttl: Option<Duration>) -> Self {
        let log = ReplayLog::new(behind.capabilities().list);
        Self { active, behind, log, abandonments: Deferred::default(), changed, max_ttl }
    }

    /// Returns the number of names that are to be replayed.
    pub fn pending(&self) -> usize {
        self.log.len()
    }

    /// Replays all changes; `then` lets the other backend serve. A caller that changes something during the last round
    /// waits for its end.
    pub async fn finish(&self, context: CallContext, then: impl FnOnce()) -> Result<()> {
        for _ in 0..ROUNDS {
            self.apply_or_resume(context, self.log.take()).await?;
            if self.log.len() <= CHUNK {
                break;
            }
        }
        let last = self.take_last().await;
        self.apply_or_resume(context, last).await?;
        self.log.end(then);
        Ok(())
    }

    /// Abandons, after the end of the replay, the leases of the other backend that were abandoned meanwhile.
    pub async fn abandon_deferred(&self, context: CallContext) {
        self.abandonments.run(context, &*self.behind).await;
    }

    /// Takes the last changes, and gives the turn back to the log if it is dropped meanwhile.
    async fn take_last(&self) -> Names {
        let mut attempt = Attempt { log: &self.log, names: Some(Names::default()) };
        let last = self.log.take_last().await;
        attempt.names = None;
        last
    }

    async fn apply_or_resume(&self, context: CallContext, names: Names) -> Result<()> {
        let mut attempt = Attempt { log: &self.log, names: Some(names) };
        let applied = match &attempt.names {
            Some(names) => self.apply(context, names).await,
            None => Ok(()),
        };
        if applied.is_ok() {
            attempt.names = None;
        }
        applied
    }

    /// Makes recorded changes at the other backend.
    async fn apply(&self, context: CallContext, names: &Names) -> Result<()> {
        if names.flush {
            self.behind.call(context, Operation::Flush { count: false }).await?;
        }
        let patterns: Vec<&[u8]> = names.patterns.iter().map(Vec::as_slice).collect();
        if !patterns.is_empty() {
            // Where nothing can be listed, only barriers were recorded.
            let can_list = self.behind.capabilities().list;
            let mode = if can_list { PatternMode::Walk } else { PatternMode::Barrier };
            self.behind.call(context, Operation::InvalidatePatterns { patterns: &patterns, mode }).await?;
        }
        let tags: Vec<&[u8]> = names.tags.iter().map(Vec::as_slice).collect();
        for tags in tags.chunks(CHUNK) {
            self.behind.call(context, Operation::InvalidateTags { tags, count: false }).await?;
        }
        let hashes: Vec<u64> = names.hashes.iter().copied().collect();
        for hashes in hashes.chunks(CHUNK) {
            self.behind.invalidate_hashes(context, hashes).await?;
        }
        let keys: Vec<&[u8]> = names.keys.iter().map(Vec::as_slice).collect();
        for keys in keys.chunks(CHUNK) {
            match self.changed {
                Changed::Drop => self.remove(context, keys).await?,
                Changed::Follow => self.copy(context, keys).await?,
            }
        }
        Ok(())
    }

    async fn remove(&self, context: CallContext, keys: &[&[u8]]) -> Result<()> {
        self.behind.call(context, Operation::DeleteMany { keys }).await?.expect_ok()
    }

    /// Copies the entries of changed keys; keys whose entries cannot be copied are removed.
    async fn copy(&self, context: CallContext, keys: &[&[u8]]) -> Result<()> {
        let exported = self.active.export(context, keys).await?;
        let entries: Vec<CopiedEntry> = exported.into_iter().filter_map(|entry| entry.ok().flatten()).collect();
        let mut tags: Vec<u64> = entries.iter().flat_map(|entry| entry.tags.iter().copied()).collect();
        tags.sort_unstable();
        tags.dedup();
        let versions = if tags.is_empty() {
            Vec::new()
        } else {
            self.behind.tag_versions(context, &tags, Missing::CREATED_FOR_IMPORT).await?
        };
        let imported = self.behind.import(context, &entries, &versions, IfPresent::Replace).await?;
        let mut copied: Vec<&[u8]> = Vec::with_capacity(entries.len());
        for (entry, outcome) in entries.iter().zip(imported) {
            match outcome {
                Ok(Imported::Stored) => copied.push(&entry.key),
                Ok(_) => {}
                Err(error) if error.kind().is_outage() || error.is_retryable() => return Err(error),
                Err(error) => tracing::warn!("cannot replay a changed entry, which is removed instead: {error}"),
            }
        }
        copied.sort_unstable();
        let others: Vec<&[u8]> = keys.iter().copied().filter(|key| copied.binary_search(key).is_err()).collect();
        if others.is_empty() { Ok(()) } else { self.remove(context, &others).await }
    }

    /// Records a change that was made here, with the outcome `made`; if the other backend serves already, makes it
    /// there too.
    async fn record<'a, T>(
        &'a self,
        change: &Change<'_>,
        made: Result<T>,
        there: impl FnOnce(&'a dyn Backend) -> OpFuture<'a, T>,
    ) -> Result<T> {
        if self.log.record(change).await? { made } else { there(&*self.behind).await }
    }

    /// Makes and records the change of an operation.
    async fn change(&self, context: CallContext, operation: Operation<'_>, change: Change<'_>) -> Result<Outcome> {
        if change.needs_listing() && !operation.is_barrier() {
            self.check_listing()?;
        }
        if operation.is_conditional() {
            return self.change_once(context, operation, &change).await;
        }
        let made = self.call_bounded(context, operation).await;
        if self.log.record(&change).await? { made } else { self.behind.call(context, operation).await }
    }

    /// Makes a change that must not be made twice: here with its record, or at the other backend alone.
    async fn change_once(
        &self,
        context: CallContext,
        operation: Operation<'_>,
        change: &Change<'_>,
    ) -> Result<Outcome> {
        let Some(turn) = self.log.begin(change).await else { return self.behind.call(context, operation).await };
        let made = self.call_bounded(context, operation).await;
        turn.end()?;
        made
    }

    /// Runs an operation here, where entries live no longer than `max_ttl`.
    async fn call_bounded(&self, context: CallContext, operation: Operation<'_>) -> Result<Outcome> {
        let Some(max_ttl) = self.max_ttl else { return self.active.call(context, operation).await };
        let bounded = |ttl: Option<Duration>| Some(ttl.map_or(max_ttl, |ttl| ttl.min(max_ttl)));
        let made = match operation {
            Operation::Set(it) => {
                self.active.call(context, Operation::Set(NewEntry { ttl: bounded(it.ttl), ..it })).await
            }
            Operation::SetMany { entries } => {
                let entries: Vec<NewEntry> =
                    entries.iter().map(|entry| NewEntry { ttl: bounded(entry.ttl), ..*entry }).collect();
                self.active.call(context, Operation::SetMany { entries: &entries }).await
            }
            Operation::Expire { key, ttl } => {
                self.active.call(context, Operation::Expire { key, ttl: bounded(ttl) }).await
            }
            Operation::GetAndExpire { key, ttl } => {
                self.active.call(context, Operation::GetAndExpire { key, ttl: bounded(ttl) }).await
            }
            Operation::SetIf { entry, condition } => {
                let entry = NewEntry { ttl: bounded(entry.ttl), ..entry };
                self.active.call(context, Operation::SetIf { entry, condition }).await
            }
            Operation::CounterAdd(it) => {
                self.active.call(context, Operation::CounterAdd(Addition { ttl: bounded(it.ttl), ..it })).await
            }
            Operation::LeaseFill { lease, fill } => {
                let (ttl, stale_for) = (bounded(fill.ttl), fill.stale_for);
                let stale_for = stale_for.min(max_ttl.saturating_sub(ttl.unwrap_or(max_ttl)));
                let fill = Fill { ttl, stale_for, ..fill };
                self.active.call(context, Operation::LeaseFill { lease, fill }).await
            }
            Operation::GetOrLease { .. }
            | Operation::LeaseAbandon { .. }
            | Operation::Get { .. }
            | Operation::GetVersioned { .. }
            | Operation::GetInfo { .. }
            | Operation::DeleteIf { .. }
            | Operation::Delete { .. }
            | Operation::Exists { .. }
            | Operation::Ttl { .. }
            | Operation::GetMany { .. }
            | Operation::DeleteMany { .. }
            | Operation::InvalidateTags { .. }
            | Operation::InvalidatePatterns { .. }
            | Operation::Flush { .. }
            | Operation::Clear { .. }
            | Operation::Ping
            | Operation::Explain { .. }
            | Operation::Command(_)
            | Operation::Publish { .. }
            | Operation::Usage => self.active.call(context, operation).await,
        };
        match made {
            // The other backend may have more entries.
            Ok(Outcome::Removed(_)) => Ok(Outcome::Removed(None)),
            made => made,
        }
    }

    /// Refuses a change that could not be replayed.
    fn check_listing(&self) -> Result<()> {
        if self.behind.capabilities().list {
            return Ok(());
        }
        let text = format!(
            "the {} backend cannot list keys: the removal could not be replayed on it after the outage",
            self.behind.name()
        );
        Err(Error::new(ErrorKind::Unsupported, text))
    }
}

/// Gives names back to the log that were not replayed, also if the replay was dropped.
struct Attempt<'a> {
    log: &'a ReplayLog,
    names: Option<Names>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(names) = self.names.take() {
            self.log.resume(names);
        }
    }
}

impl Backend for Replay {
    fn info(&self) -> Info {
        Info { answers_at_once: false, ..self.active.info() }
    }

    fn instance(&self) -> u64 {
        self.active.instance()
    }

    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        self.active.get(context, key)
    }

    fn hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        self.active.hit(key, refresh_ahead)
    }

    fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        self.active.hit_into(key, buffer)
    }

    fn will_change(&self, change: &Change<'_>) {
        self.active.will_change(change);
    }

    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        pending(async move { self.call(context, Operation::Set(entry)).await.map(drop) })
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        if let (Operation::Explain { .. }, Some(_)) = (operation, self.max_ttl) {
            return pending(self.active.call(context, operation).map_ok(Outcome::of_fallback));
        }
        if let Operation::LeaseAbandon { lease, retry_after } = operation
            && lease.instance == self.behind.instance()
        {
            let is_deferred = self.abandonments.add(lease, retry_after);
            return if is_deferred { done(Ok(Outcome::Done)) } else { self.behind.call(context, operation) };
        }
        if operation.change().is_none() {
            return self.active.call(context, operation);
        }
        pending(async move {
            match operation.change() {
                Some(change) => self.change(context, operation, change).await,
                None => self.active.call(context, operation).await,
            }
        })
    }

    fn scan<'a>(
        &'a self,
        context: CallContext,
        filter: KeyFilter<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> OpFuture<'a, Page> {
        self.active.scan(context, filter, from, limit)
    }

    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        self.active.export(context, keys)
    }

    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        pending(async move {
            let keys: Vec<&[u8]> = entries.iter().map(|entry| &entry.key[..]).collect();
            let made = self.active.import(context, entries, versions, if_present).await;
            self.record(&Change::Keys(keys.into()), made, |there| there.import(context, entries, versions, if_present))
                .await
        })
    }

    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>> {
        self.active.tag_versions(context, tags, missing)
    }

    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        pending(async move {
            let made = self.active.invalidate_hashes(context, tags).await;
            self.record(&Change::Hashes(tags), made, |there| there.invalidate_hashes(context, tags)).await
        })
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        self.active.subscribe(filter, delivery)
    }

    fn listen(&self, delivery: Delivery) -> Result<Feed> {
        self.active.listen(delivery)
    }

    fn origin(&self) -> Option<&Origin> {
        self.active.origin()
    }

    fn route(&self, key: Option<&[u8]>) -> Route {
        self.active.route(key)
    }

    fn activity(&self) -> Activity {
        self.active.activity()
    }

    fn health(&self, context: CallContext) -> BoxFuture<'_, Health> {
        self.active.health(context)
    }

    fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()> {
        self.active.close(context, deadline)
    }
}
