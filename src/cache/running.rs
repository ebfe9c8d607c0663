//! The migrations of this process, and the invalidations at either side during a migration.
//!
//! An invalidation at the target concerns entries that are still to be copied: its names are recorded, and an entry
//! with one of them is no longer copied. It waits for copies of the same names in flight. An invalidation at the source
//! concerns entries that were copied: it is repeated at the target before the migration ends. An invalidation of tags
//! does not wait: a copy contains the versions that were read before.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::Either;
use tokio::sync::watch;

use super::Cache;
use crate::backend::{Backend, CopiedEntry, IfPresent, Imported, OpFuture, pending};
use crate::entry::{TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::fork;
use crate::naming::StoredGlob;
use crate::operation::{Change, Operation, Outcome};
use crate::util::lock;

/// The number of running migrations. Raised before `STARTED`.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// The number of migrations that were ever started. A thread that reads a higher number than before has missed one.
static STARTED: AtomicU64 = AtomicU64::new(0);
/// Locked in steps that a fork does not interrupt: a child could inherit it held by a thread that it does not have.
static RUNS: Mutex<Vec<Arc<Run>>> = Mutex::new(Vec::new());

/// Largest number of names. Beyond it all names are assumed: a migration may skip entries, but never revives one.
const MOST: usize = 200_000;

/// One side of a migration. It also identifies other handles of the same store.
struct Side {
    number: u64,
    backend: Arc<dyn Backend>,
    store: Option<Arc<str>>,
}

impl Side {
    fn of(cache: &Cache) -> Self {
        Self { number: cache.common.number, backend: cache.backend.clone(), store: cache.common.store.clone() }
    }

    fn is(&self, cache: &Cache) -> bool {
        let one_backend = std::ptr::addr_eq(Arc::as_ptr(&self.backend), Arc::as_ptr(&cache.backend));
        self.number == cache.common.number || one_backend || self.store.is_some() && self.store == cache.common.store
    }
}

/// Names of entries that were invalidated.
#[derive(Default)]
pub(super) struct Names {
    pub all: bool,
    pub patterns: Vec<Vec<u8>>,
    globs: Vec<StoredGlob>,
    pub tags: HashSet<u64>,
    pub keys: HashSet<Vec<u8>>,
}

impl Names {
    fn add(&mut self, change: &Change<'_>) {
        match change {
            Change::Keys(keys) => self.keys.extend(keys.iter().map(|key| key.to_vec())),
            Change::Tags(tags) => self.tags.extend(tags.iter().map(|tag| tag_hash(tag))),
            Change::Hashes(tags) => self.tags.extend(*tags),
            Change::Patterns(patterns) => {
                for pattern in *patterns {
                    if !self.patterns.iter().any(|known| known == pattern) {
                        self.patterns.push(pattern.to_vec());
                        self.globs.push(StoredGlob::new(pattern));
                    }
                }
            }
            Change::Flush => *self = Self { all: true, ..Self::default() },
        }
        if self.patterns.len() + self.tags.len() + self.keys.len() > MOST {
            *self = Self { all: true, ..Self::default() };
        }
    }

    /// Adds the names of others that are still to be invalidated.
    fn extend(&mut self, others: Self) {
        self.all |= others.all;
        for (pattern, glob) in others.patterns.into_iter().zip(others.globs) {
            if !self.patterns.contains(&pattern) {
                self.patterns.push(pattern);
                self.globs.push(glob);
            }
        }
        self.tags.extend(others.tags);
        self.keys.extend(others.keys);
    }

    pub(super) fn clear_patterns(&mut self) {
        self.patterns.clear();
        self.globs.clear();
    }

    fn have(&self, entry: &CopiedEntry) -> bool {
        self.all
            || self.keys.contains(&entry.key)
            || entry.tags.iter().any(|tag| self.tags.contains(tag))
            || self.globs.iter().any(|glob| glob.matches(&entry.key))
    }

    fn is_empty(&self) -> bool {
        !self.all && self.patterns.is_empty() && self.tags.is_empty() && self.keys.is_empty()
    }
}

#[derive(Default)]
struct State {
    /// Names that were invalidated at the source, to be invalidated at the target.
    pending: Names,
    /// Names that were invalidated at the target: they are no longer copied.
    refused: Names,
    /// The keys of the copies in flight to the target.
    in_flight: HashSet<Vec<u8>>,
}

impl State {
    /// Returns true if a copy in flight could undo a change.
    fn races(&self, change: &Change<'_>) -> bool {
        match change {
            Change::Keys(keys) => keys.iter().any(|key| self.in_flight.contains(*key)),
            Change::Patterns(patterns) => {
                let globs: Vec<StoredGlob> = patterns.iter().map(|pattern| StoredGlob::new(pattern)).collect();
                self.in_flight.iter().any(|key| globs.iter().any(|glob| glob.matches(key)))
            }
            Change::Flush => !self.in_flight.is_empty(),
            Change::Tags(_) | Change::Hashes(_) => false,
        }
    }
}

/// One migration.
pub(super) struct Run {
    /// The process that copies. A child of a fork inherits the list and copies nothing.
    generation: u32,
    /// `None`: another component follows the changes there.
    source: Option<Side>,
    target: Side,
    state: Mutex<State>,
    /// Notifies when copies have arrived.
    arrived: watch::Sender<()>,
}

impl Run {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn concerns(&self, cache: &Cache) -> bool {
        self.generation == fork::generation() && (self.target.is(cache) || self.is_source(cache))
    }

    fn is_source(&self, cache: &Cache) -> bool {
        self.source.as_ref().is_some_and(|source| source.is(cache))
    }

    /// Stops copies of names that are about to be invalidated at the target. Returns when none is in flight.
    async fn refuse(&self, change: &Change<'_>) {
        let mut arrived = self.arrived.subscribe();
        self.lock().refused.add(change);
        while self.lock().races(change) {
            // The sender lives as long as this.
            let _ = arrived.changed().await;
        }
    }

    /// Stops copies of entries with a tag that another process has invalidated at the target.
    pub(super) fn refuse_tags(&self, tags: &[u64]) {
        self.lock().refused.add(&Change::Hashes(tags));
    }

    /// Returns the names that were invalidated at the source since the last call.
    pub(super) fn take(&self) -> Names {
        mem::take(&mut self.lock().pending)
    }

    /// Gives back names that could not be invalidated at the target yet.
    pub(super) fn put_back(&self, names: Names) {
        self.lock().pending.extend(names);
    }

    /// Stores copies for keys that the target does not have, except those that were invalidated there since the start.
    pub(super) async fn import(
        &self,
        context: CallContext,
        to: &dyn Backend,
        entries: &[&CopiedEntry],
        versions: &[TagVersion],
    ) -> Result<Vec<Result<Imported>>> {
        let (allowed, places) = {
            let mut state = self.lock();
            let places: Vec<usize> = (0..entries.len()).filter(|at| !state.refused.have(entries[*at])).collect();
            let allowed: Vec<CopiedEntry> = places.iter().map(|at| entries[*at].clone()).collect();
            if to.info().answers_at_once {
                // An invalidation here waits for the lock, and for nothing else.
                let imported = to.import(context, &allowed, versions, IfPresent::Keep);
                return match imported {
                    Either::Left(done) => Ok(in_their_places(entries.len(), &places, done.into_inner()?)),
                    Either::Right(_) => Err(late()),
                };
            }
            state.in_flight.extend(allowed.iter().map(|entry| entry.key.clone()));
            (allowed, places)
        };
        let _on_their_way = InFlight(self);
        let imported = to.import(context, &allowed, versions, IfPresent::Keep).await?;
        Ok(in_their_places(entries.len(), &places, imported))
    }
}

#[cold]
fn late() -> Error {
    Error::new(ErrorKind::Server, "a local backend did not complete the operation at once")
}

fn in_their_places(count: usize, places: &[usize], outcomes: Vec<Result<Imported>>) -> Vec<Result<Imported>> {
    let mut all: Vec<Result<Imported>> = (0..count).map(|_| Ok(Imported::Refused)).collect();
    places.iter().zip(outcomes).for_each(|(place, outcome)| all[*place] = outcome);
    all
}

/// Registers copies in flight until it is dropped.
struct InFlight<'a>(&'a Run);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight.clear();
        self.0.arrived.send_replace(());
    }
}

/// A migration that invalidations know, until this is dropped.
pub(super) struct Running(Arc<Run>);

impl Running {
    /// Starts the migration: it receives invalidations that end from now on.
    pub(super) fn begin(source: Option<&Cache>, target: &Cache) -> Self {
        let (source, target) = (source.map(Side::of), Side::of(target));
        let (generation, arrived) = (fork::generation(), watch::Sender::new(()));
        let run = Arc::new(Run { generation, source, target, state: Mutex::default(), arrived });
        RUNNING.fetch_add(1, SeqCst);
        with_runs(|runs| runs.push(run.clone()));
        STARTED.fetch_add(1, SeqCst);
        Self(run)
    }

    pub(super) fn run(&self) -> &Run {
        &self.0
    }

    /// Ends the migration unless an invalidation is left for the target. Returns true if it has ended.
    pub(super) fn ends(&self) -> bool {
        with_runs(|runs| {
            let is_done = self.0.lock().pending.is_empty();
            if is_done {
                runs.retain(|run| !Arc::ptr_eq(run, &self.0));
            }
            is_done
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        with_runs(|runs| runs.retain(|run| !Arc::ptr_eq(run, &self.0)));
        RUNNING.fetch_sub(1, SeqCst);
    }
}

fn with_runs<T>(use_them: impl FnOnce(&mut Vec<Arc<Run>>) -> T) -> T {
    fork::whole(|| use_them(&mut lock(&RUNS)))
}

impl Cache {
    fn runs(&self) -> Vec<Arc<Run>> {
        if RUNNING.load(SeqCst) == 0 {
            return Vec::new();
        }
        with_runs(|runs| runs.iter().filter(|run| run.concerns(self)).cloned().collect())
    }

    /// Runs an operation that removes entries, and reports its change to the migrations that it concerns. If no
    /// migration runs, an operation that the backend answers at once is answered at once.
    #[inline]
    pub(super) fn remove<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        let before = STARTED.load(SeqCst);
        if RUNNING.load(SeqCst) != 0 {
            return self.remove_in_migrations(context, operation, before);
        }
        let outcome = self.backend.call(context, operation);
        let is_done = matches!(outcome, Either::Left(_)) && STARTED.load(SeqCst) == before;
        if is_done { outcome } else { self.remove_and_follow(context, outcome, operation, before) }
    }

    /// Waits for the outcome, then reports the change to the migrations that began meanwhile.
    #[inline(never)]
    fn remove_and_follow<'a>(
        &'a self,
        context: CallContext,
        outcome: OpFuture<'a, Outcome>,
        operation: Operation<'a>,
        before: u64,
    ) -> OpFuture<'a, Outcome> {
        pending(async move {
            let outcome = outcome.await;
            if outcome.is_ok() {
                self.follow_migrations(context, operation, before, Vec::new()).await?;
            }
            outcome
        })
    }

    /// Reports the change to the migrations that run.
    #[cold]
    fn remove_in_migrations<'a>(
        &'a self,
        context: CallContext,
        operation: Operation<'a>,
        before: u64,
    ) -> OpFuture<'a, Outcome> {
        pending(async move {
            let runs = self.runs();
            let outcome = self.make_known(context, &runs, operation).await?;
            self.follow_migrations(context, operation, before, runs).await?;
            Ok(outcome)
        })
    }

    /// Repeats an operation for the migrations that began meanwhile: one may have copied an entry before it knew.
    async fn follow_migrations(
        &self,
        context: CallContext,
        operation: Operation<'_>,
        before: u64,
        mut known: Vec<Arc<Run>>,
    ) -> Result<()> {
        let mut before = before;
        loop {
            let now = STARTED.load(SeqCst);
            if now == before {
                return Ok(());
            }
            let mut news = self.runs();
            news.retain(|run| !known.iter().any(|it| Arc::ptr_eq(it, run)));
            if !news.is_empty() {
                self.make_known(context, &news, operation).await?;
            }
            known.extend(news);
            before = now;
        }
    }

    /// Runs the operation once no copy that could undo it is on its way.
    async fn make_known(&self, context: CallContext, runs: &[Arc<Run>], operation: Operation<'_>) -> Result<Outcome> {
        let Some(change) = operation.change() else { return self.backend.call(context, operation).await };
        for run in runs.iter().filter(|run| run.target.is(self)) {
            run.refuse(&change).await;
        }
        let outcome = self.backend.call(context, operation).await;
        // If a server failed, the change may have been made nevertheless.
        let is_unmet = matches!(outcome, Ok(Outcome::Unmet));
        if !is_unmet && outcome.as_ref().err().is_none_or(|error| error.kind().is_outage()) {
            runs.iter().filter(|run| run.is_source(self)).for_each(|run| run.lock().pending.add(&change));
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
