//! Loads through the cache: its options for leases, and what it counts of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::Either;
use tokio::sync::watch;

use super::Cache;
use crate::backend::{Backend, OpFuture, done, pending};
use crate::cache::latency::Operation as Timed;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::Runtime;
use crate::key::{MAX_TAGS, check_tags};
use crate::lease::{AbandonFn, Claim, Fill, InDoubt, LONGEST, Lease, LeaseData, LeaseOptions, LoadState, Loaded, Wait};
use crate::operation::{Operation, Outcome};
use crate::ttl::{MAX_TTL, Ttl};
use crate::value::Value;

/// The numbers of events of loads since the cache was opened, and of the leases that are being abandoned now.
#[derive(Default)]
pub(super) struct LoadCounters {
    abandoning: watch::Sender<usize>,
    pub loads: AtomicU64,
    pub waits: AtomicU64,
    pub stale_answers: AtomicU64,
    pub superseded_fills: AtomicU64,
    pub lease_timeouts: AtomicU64,
}

impl LoadCounters {
    /// Returns each number with its name and its meaning.
    pub fn all(&self) -> [(&'static str, &'static str, u64); 5] {
        [
            ("loads", "Leases that were given to callers: loads that began.", self.loads.load(Relaxed)),
            ("load_waits", "Reads that waited for the load of another caller.", self.waits.load(Relaxed)),
            ("stale_answers", "Reads that were answered with a stale value.", self.stale_answers.load(Relaxed)),
            (
                "superseded_fills",
                "Loaded values that were not stored, because the key changed during the load or the lease expired.",
                self.superseded_fills.load(Relaxed),
            ),
            (
                "lease_timeouts",
                "Leases that were given to another caller because their holder did nothing until their end.",
                self.lease_timeouts.load(Relaxed),
            ),
        ]
    }

    /// Waits until no lease that was dropped is still being abandoned, or the deadline passes.
    pub async fn abandoned(&self, context: CallContext, deadline: Instant) {
        let mut abandoning = self.abandoning.subscribe();
        // The sender lives as long as this.
        let _ = context.run_until(deadline, |_| abandoning.wait_for(|number| *number == 0)).await;
    }

    fn note(&self, loaded: &Loaded) {
        let add = |counter: &AtomicU64, happened| _ = counter.fetch_add(u64::from(happened), Relaxed);
        add(&self.loads, loaded.lease.is_some());
        add(&self.waits, loaded.waited);
        add(&self.stale_answers, loaded.state == LoadState::Stale);
        add(&self.lease_timeouts, loaded.took_over);
    }
}

impl Cache {
    /// Returns the options of a lease. Times are in milliseconds: 0 selects the default, a wait of -1 does not wait.
    pub fn lease_options<'a>(&self, lease_ms: i64, wait_ms: i64, tags: &'a [&'a [u8]]) -> Result<LeaseOptions<'a>> {
        let lease = match lease_ms {
            0 => self.common.loading.lease,
            _ => time("lease_ms", lease_ms, "0 for the default, or 1 to 86400000 (a day)")?,
        };
        let wait = match wait_ms {
            -1 => Wait::No,
            0 => Wait::Call,
            _ => Wait::AtMost(time("wait_ms", wait_ms, "-1, 0, or 1 to 86400000 (a day)")?),
        };
        Ok(LeaseOptions { lease, wait, tags, refresh_ahead: self.common.loading.refresh_ahead, in_doubt: None })
    }

    /// Returns the pause after a failed load, from milliseconds.
    pub fn retry_after(retry_after_ms: i64) -> Result<Duration> {
        time("retry_after_ms", retry_after_ms, "0 to 86400000 (a day)")
    }

    /// Returns the time to live of a load's result: the default of an absence is `negative_ttl`.
    pub fn fill_ttl(&self, ttl: Ttl, absent: bool) -> Option<Duration> {
        if absent && ttl == Ttl::Default { Some(self.common.loading.negative_ttl) } else { self.resolve(ttl) }
    }

    /// Returns the time in which a value may be served as stale, from milliseconds; -1 selects `stale_for`.
    pub fn stale_for(&self, stale_for_ms: i64) -> Result<Duration> {
        let refused = || {
            let text = format!("stale_for_ms is {stale_for_ms}; it must be -1 for the default, or 0 to 100 years");
            Error::new(ErrorKind::Invalid, text)
        };
        match u64::try_from(stale_for_ms).map(Duration::from_millis) {
            Ok(time) if time <= MAX_TTL => Ok(time),
            Err(_) if stale_for_ms == -1 => Ok(self.common.loading.stale_for),
            _ => Err(refused()),
        }
    }

    /// Refuses a fill whose lease was used, or whose arguments are not allowed.
    pub(super) fn check_fill(&self, lease: &Lease, fill: &Fill<'_>) -> Result<()> {
        lease.check_unused()?;
        check_tags(fill.tags)?;
        let tags = if lease.tags.len() + fill.tags.len() > MAX_TAGS { self.all_tags(lease, fill) } else { 0 };
        let tags = tags.saturating_sub(usize::from(self.naming.has_generations()));
        if tags > MAX_TAGS {
            let text = format!("{tags} tags in the lease and the fill; an entry may have up to {MAX_TAGS}");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        if fill.absent { Ok(()) } else { self.check_value(fill.value) }
    }

    /// Returns the number of different tags in a lease and its fill.
    #[cold]
    fn all_tags(&self, lease: &Lease, fill: &Fill<'_>) -> usize {
        let named = lease.tags.iter().map(|named| named.tag);
        named.chain(fill.tags.iter().map(|tag| self.naming.tag_hash(tag))).collect::<HashSet<u64>>().len()
    }

    /// Returns the value of a key if the backend has a fresh one at hand; `None` says nothing about the key. Does what
    /// `call` of a `GetOrLease` without tags does for such a key, at the cost of a `get`.
    #[inline(always)]
    pub fn fresh_hit(&self, key: &[u8]) -> Option<Value> {
        if !self.naming.keeps(key) {
            return self.renamed_hit(key, self.common.loading.refresh_ahead);
        }
        self.latencies.untimed(|| self.backend.hit(key, self.common.loading.refresh_ahead))
    }

    /// Runs an operation on a lease.
    pub(super) fn load<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        match operation {
            Operation::GetOrLease { key, options } if !self.backend.info().answers_at_once => pending(async move {
                let asked = AskedLease { cache: self, in_doubt: InDoubt::default() };
                let options = LeaseOptions { in_doubt: Some(&asked.in_doubt), ..options };
                let outcome = self.backend.call(context, Operation::GetOrLease { key, options }).await;
                if let Ok(Outcome::Loaded(Loaded { lease: Some(lease), .. })) = &outcome {
                    asked.in_doubt.remove(lease);
                }
                self.loaded(outcome, options.wait != Wait::No)
            }),
            Operation::GetOrLease { options, .. } => {
                let waits = options.wait != Wait::No;
                then(self.backend.call(context, operation), move |outcome| self.loaded(outcome, waits))
            }
            Operation::LeaseFill { lease, fill } => match lease.claim() {
                Ok(claim) => self.fill(context, lease, fill, claim),
                Err(used) => done(Err(used)),
            },
            Operation::LeaseAbandon { lease, .. } => match lease.claim() {
                Ok(claim) => then(self.backend.call(context, operation), move |outcome| kept(claim, outcome)),
                Err(used) => done(Err(used)),
            },
            other => self.backend.call(context, other),
        }
    }

    /// Counts what a caller got, and has its lease abandoned if it is dropped unused.
    fn loaded(&self, outcome: Result<Outcome>, waits: bool) -> Result<Outcome> {
        match outcome {
            Ok(Outcome::Loaded(mut loaded)) => {
                if loaded.lease.is_some() || loaded.waited || loaded.state == LoadState::Stale {
                    self.load_counters.note(&loaded);
                }
                if let Some(lease) = loaded.lease.as_mut().and_then(Arc::get_mut) {
                    lease.abandon_by(self.abandon(&[]));
                }
                Ok(Outcome::Loaded(loaded))
            }
            Err(error) => {
                let waited = waits && error.kind() == ErrorKind::Busy;
                self.load_counters.waits.fetch_add(u64::from(waited), Relaxed);
                Err(error)
            }
            other => other,
        }
    }

    /// Returns the function that abandons a lease of this cache, and does so again after each pause.
    fn abandon(&self, pauses: &'static [Duration]) -> AbandonFn {
        // A view may be freed before its leases.
        let backend = match &self.view {
            Some(view) => Arc::downgrade(&view.root().load().backend),
            None => Arc::downgrade(&self.backend),
        };
        let counters = self.load_counters.clone();
        Box::new(move |data| _ = backend.upgrade().map(|backend| abandon(backend, data, pauses, counters)))
    }

    fn fill<'a>(
        &'a self,
        context: CallContext,
        lease: &'a Arc<Lease>,
        fill: Fill<'a>,
        claim: Claim<'a>,
    ) -> OpFuture<'a, Outcome> {
        let took = lease.taken.elapsed();
        let fill = Fill { keeps_load: self.common.loading.refresh_ahead, ..fill };
        self.latencies.record(Timed::Load, took);
        then(self.backend.call(context, Operation::LeaseFill { lease, fill }), move |outcome| {
            let superseded = matches!(outcome, Ok(Outcome::Superseded));
            self.load_counters.superseded_fills.fetch_add(u64::from(superseded), Relaxed);
            kept(claim, outcome)
        })
    }
}

/// Returns an outcome. A lease that was used stays used.
fn kept(claim: Claim<'_>, outcome: Result<Outcome>) -> Result<Outcome> {
    if outcome.is_ok() {
        claim.keep();
    }
    outcome
}

/// The pauses before further attempts to abandon a lease in doubt: the server may receive the request for it later than
/// the first attempt, by another connection.
const AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// A read that may take a lease at a server. It abandons every lease that it may have and does not return.
struct AskedLease<'a> {
    cache: &'a Cache,
    in_doubt: InDoubt,
}

impl Drop for AskedLease<'_> {
    fn drop(&mut self) {
        for mut lease in self.in_doubt.take() {
            lease.abandon_by(self.cache.abandon(&AGAIN));
        }
    }
}

/// Counts a lease that is being abandoned, until this is dropped.
struct Abandoning(Arc<LoadCounters>);

impl Abandoning {
    fn begin(counters: Arc<LoadCounters>) -> Self {
        counters.abandoning.send_modify(|number| *number += 1);
        Self(counters)
    }
}

impl Drop for Abandoning {
    fn drop(&mut self) {
        self.0.abandoning.send_modify(|number| *number -= 1);
    }
}

/// Abandons a lease that was dropped unused. It waits for no server; the end of the cache waits for it.
fn abandon(backend: Arc<dyn Backend>, data: LeaseData, pauses: &'static [Duration], counters: Arc<LoadCounters>) {
    let (lease, at_once) = (Arc::new(Lease::new(data)), backend.info().answers_at_once);
    let abandoned = async move {
        let mut pauses = pauses.iter();
        loop {
            let abandon = Operation::LeaseAbandon { lease: &lease, retry_after: Duration::ZERO };
            let _ = backend.call(CallContext::task(), abandon).await;
            let Some(pause) = pauses.next() else { return };
            CallContext::task().pause(*pause).await;
        }
    };
    if at_once {
        _ = abandoned.now_or_never();
        return;
    }
    // A lease whose abandonment is lost ends by itself.
    if let Ok(runtime) = Runtime::acquire() {
        let (held, abandoning) = (runtime.clone(), Abandoning::begin(counters));
        runtime.spawn(Box::pin(async move {
            abandoned.await;
            drop((abandoning, held));
        }));
    }
}

/// Hands the outcome of an operation through `finish`.
#[inline]
fn then<'a>(
    reply: OpFuture<'a, Outcome>,
    finish: impl FnOnce(Result<Outcome>) -> Result<Outcome> + Send + 'a,
) -> OpFuture<'a, Outcome> {
    match reply {
        Either::Left(ready) => done(finish(ready.into_inner())),
        Either::Right(on_its_way) => pending(async move { finish(on_its_way.await) }),
    }
}

/// Returns a time of up to a day, from milliseconds.
fn time(name: &str, millis: i64, accepted: &str) -> Result<Duration> {
    let time = u64::try_from(millis).ok().map(Duration::from_millis).filter(|time| *time <= LONGEST);
    time.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{name} is {millis}; it must be {accepted}")))
}
