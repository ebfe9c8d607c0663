//! A backend with a fallback: when its servers fail the fallback serves, until they are back.
//!
//! The circuit is closed while the primary serves. A failure of its servers opens it, never a caller's mistake: from
//! then on calls go to the fallback at once. The primary is probed (half-open); when it answers, the changes that it
//! missed are replayed before any call reaches it, and the circuit closes.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as StdMutex, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::replay::{Changed, Replay};
use crate::backend::health::{self, CircuitState, FallbackHealth, Health, Status};
use crate::backend::{
    Activity, Backend, Capabilities, CopiedEntry, Hit, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry,
    OpFuture, Operation, Outcome, Page, Route, ScanCursor, done, pending,
};
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Origin};
use crate::exec::context::CallContext;
use crate::exec::runtime::Runtime;
use crate::inbox::{Delivery, Feed, Inbox};
use crate::message::Filter;
use crate::operation::Change;
use crate::util::lock;
use crate::value::Value;

/// Marks a cursor in a listing of the fallback.
const FALLBACK: u32 = 1 << 31;

/// The behaviour of a fallback.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The longest life of an entry there, which misses the invalidations of other processes.
    pub max_ttl: Duration,
    /// The replay of entries that were written meanwhile.
    pub changed: Changed,
    /// Time between two probes of the primary.
    pub probe_interval: Duration,
}

/// A backend with a fallback.
pub struct Fallback(Arc<Circuit>);

struct Circuit {
    primary: Arc<dyn Backend>,
    fallback: Arc<dyn Backend>,
    policy: Policy,
    /// The layer while the circuit is open.
    open: ArcSwapOption<Outage>,
    /// Held while it is opened or closed.
    turn: Mutex<()>,
    is_closed: AtomicBool,
    answers: AtomicU64,
    outages: AtomicU64,
    /// The readers of events, which receive those of the fallback.
    readers: StdMutex<Vec<Weak<Inbox>>>,
    /// The runtime that probes run on.
    runtime: ArcSwapOption<Runtime>,
}

/// A time in which the fallback serves.
struct Outage {
    replay: Replay,
    reason: Error,
    since: Instant,
    is_probing: AtomicBool,
}

/// Returns the error that a server may be to blame for.
fn failed<T>(answer: &Result<T>) -> Option<&Error> {
    answer.as_ref().err().filter(|error| may_be_outage(error))
}

fn some_failed<T>(answers: &Result<Vec<Result<T>>>) -> Option<&Error> {
    match answers {
        Ok(answers) => answers.iter().find_map(failed),
        Err(_) => failed(answers),
    }
}

fn outcome_failed(outcome: &Result<Outcome>) -> Option<&Error> {
    match outcome {
        Ok(outcome) => outcome.find_error(may_be_outage),
        Err(_) => failed(outcome),
    }
}

fn may_be_outage(error: &Error) -> bool {
    error.is_outage() || error.kind() == ErrorKind::Server
}

/// The number of times that a call changes the backend when the primary comes and goes.
const TURNS: usize = 5;

/// Asks the primary, or the fallback if the circuit is open or this opens it.
macro_rules! serve {
    ($self:ident, $context:ident, $failed:path, |$backend:ident| $call:expr) => {
        pending(async move {
            let circuit = &$self.0;
            let mut turns = 0..TURNS;
            loop {
                let outage = circuit.open.load_full();
                let answer = match &outage {
                    None => {
                        let $backend = &*circuit.primary;
                        $call.await
                    }
                    Some(outage) => {
                        circuit.answers.fetch_add(1, Relaxed);
                        let $backend = &outage.replay;
                        $call.await
                    }
                };
                match $failed(&answer) {
                    // An operation that may have been done is not repeated.
                    Some(error)
                        if circuit.changes_for($context, outage.as_ref(), error).await
                            && !error.is_in_doubt()
                            && turns.next().is_some() => {}
                    _ => return answer,
                }
            }
        })
    };
}

impl Fallback {
    /// A backend with a fallback.
    pub fn new(primary: Arc<dyn Backend>, fallback: Arc<dyn Backend>, policy: Policy) -> Result<Self> {
        Ok(Self(Arc::new(Circuit {
            primary,
            fallback,
            policy,
            open: ArcSwapOption::empty(),
            turn: Mutex::new(()),
            is_closed: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            readers: StdMutex::default(),
            runtime: ArcSwapOption::new(Some(Runtime::acquire()?)),
        })))
    }
}

impl Fallback {
    /// Runs a command, or sends a message, which the fallback has no servers for. It does not open the circuit.
    fn at_primary<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        match &*self.0.open.load() {
            Some(outage) => done(Err(not_sent(&outage.reason))),
            None => self.0.primary.call(context, operation),
        }
    }
}

#[cold]
fn not_sent(reason: &Error) -> Error {
    let text = format!("the fallback serves, it runs no commands and sends no messages; nothing was sent: {reason}");
    Error::new(ErrorKind::Connect, text)
}

impl Circuit {
    /// Returns true if the other backend has to serve a call that failed: an error of the primary opens the circuit, or
    /// it was closed while the call was late.
    async fn changes_for(self: &Arc<Self>, context: CallContext, outage: Option<&Arc<Outage>>, error: &Error) -> bool {
        match (outage, self.open.load().as_ref()) {
            (None, None) => self.opens(context, error).await,
            (None, Some(_)) | (Some(_), None) => true,
            (Some(then), Some(now)) => !Arc::ptr_eq(then, now),
        }
    }

    /// Returns true if an error of the primary opens the circuit, or it is open.
    async fn opens(self: &Arc<Self>, context: CallContext, error: &Error) -> bool {
        // A server that answers may have been asked for something that it cannot do.
        let is_outage = error.is_outage()
            || self.primary.call(context, Operation::Ping).await.is_err_and(|error| may_be_outage(&error));
        is_outage && self.open_for(context, error).await
    }

    async fn open_for(self: &Arc<Self>, context: CallContext, reason: &Error) -> bool {
        let _turn = self.turn.lock().await;
        if self.open.load().is_some() {
            return true;
        }
        // Entries of an earlier outage are not served in this one.
        if self.is_closed.load(Relaxed) || self.fallback.call(context, Operation::Flush { count: false }).await.is_err()
        {
            return false;
        }
        let Policy { max_ttl, changed, probe_interval } = self.policy;
        let replay = Replay::fallback(self.fallback.clone(), self.primary.clone(), changed, max_ttl);
        let (since, is_probing) = (Instant::now(), AtomicBool::new(false));
        self.open.store(Some(Arc::new(Outage { replay, reason: reason.clone(), since, is_probing })));
        self.outages.fetch_add(1, Relaxed);
        tracing::warn!(fallback = self.fallback.name(), "the fallback serves: {reason}");
        self.tell(EventKind::FallbackBegin, self.fallback.name());
        if let Some(runtime) = self.runtime.load_full() {
            runtime.spawn(Box::pin(probe(Arc::downgrade(self), probe_interval)));
        }
        true
    }

    /// Returns true if the primary is back and the circuit closed; the log has the reason why not.
    async fn closes(&self) -> bool {
        let context = CallContext::task();
        let Some(outage) = self.open.load_full() else { return true };
        if self.primary.call(context, Operation::Ping).await.is_err() {
            return false;
        }
        if !self.close_circuit(context, &outage).await {
            return false;
        }
        // The circuit may open again meanwhile.
        outage.replay.abandon_deferred(context).await;
        true
    }

    /// Brings the primary up to date and closes the circuit; the log has the reason if that fails.
    async fn close_circuit(&self, context: CallContext, outage: &Outage) -> bool {
        let _turn = self.turn.lock().await;
        outage.is_probing.store(true, Relaxed);
        let done = outage.replay.finish(context, || self.open.store(None)).await;
        outage.is_probing.store(false, Relaxed);
        match done {
            Ok(()) => {
                tracing::info!(
                    primary = self.primary.name(),
                    "the primary serves again after {:?}",
                    outage.since.elapsed()
                );
                self.tell(EventKind::FallbackEnd, self.primary.name());
                // Its entries are of no more use.
                let _ = self.fallback.call(context, Operation::Flush { count: false }).await;
                true
            }
            Err(error) => {
                tracing::warn!(
                    primary = self.primary.name(),
                    "the primary replies, but cannot be brought up to date: {error}"
                );
                false
            }
        }
    }

    /// Tells the readers of events which backend serves.
    fn tell(&self, kind: EventKind, backend: &str) {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.strong_count() > 0);
        for reader in readers.iter().filter_map(Weak::upgrade) {
            if let Some(origin) = self.primary.origin() {
                reader.tell(origin.event(kind, backend.as_bytes()));
            }
        }
    }

    fn state(&self) -> FallbackHealth {
        let outage = self.open.load_full();
        FallbackHealth {
            backend: self.fallback.name(),
            circuit: match &outage {
                None => CircuitState::Closed,
                Some(outage) if outage.is_probing.load(Relaxed) => CircuitState::HalfOpen,
                Some(_) => CircuitState::Open,
            },
            answers: self.answers.load(Relaxed),
            outages: self.outages.load(Relaxed),
            outage: outage.map(|outage| health::Outage {
                reason: format!("the fallback serves: {}", outage.reason),
                lasted: outage.since.elapsed(),
                pending: outage.replay.pending(),
            }),
        }
    }
}

/// Probes the primary until it is available.
async fn probe(circuit: Weak<Circuit>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match circuit.upgrade() {
            Some(circuit) if !circuit.is_closed.load(Relaxed) => {
                if circuit.closes().await {
                    return;
                }
            }
            _ => return,
        }
    }
}

impl Backend for Fallback {
    /// Returns the properties that hold whichever of the two serves.
    fn info(&self) -> Info {
        let (primary, fallback) = (self.0.primary.info(), self.0.fallback.capabilities());
        let capabilities = Capabilities {
            list: primary.capabilities.list && fallback.list,
            count: false,
            shared: primary.capabilities.shared,
            size: primary.capabilities.size && fallback.size,
            compare: primary.capabilities.compare && fallback.compare,
            command: primary.capabilities.command,
            publish: primary.capabilities.publish,
            near: primary.capabilities.near,
            events: primary.capabilities.events,
        };
        Info { capabilities, answers_at_once: false, ..primary }
    }

    fn instance(&self) -> u64 {
        self.0.primary.instance()
    }

    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        serve!(self, context, failed, |backend| backend.get(context, key))
    }

    fn hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        if self.0.open.load().is_none() { self.0.primary.hit(key, refresh_ahead) } else { None }
    }

    fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        if self.0.open.load().is_none() { self.0.primary.hit_into(key, buffer) } else { None }
    }

    fn will_change(&self, change: &Change<'_>) {
        self.0.primary.will_change(change);
    }

    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        serve!(self, context, failed, |backend| backend.set(context, entry))
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        if let Operation::Command(_) | Operation::Publish { .. } = operation {
            return self.at_primary(context, operation);
        }
        serve!(self, context, outcome_failed, |backend| backend.call(context, operation))
    }

    /// A listing that began at the other of the two starts again.
    fn scan<'a>(
        &'a self,
        context: CallContext,
        filter: KeyFilter<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> OpFuture<'a, Page> {
        let was_fallback = from.part & FALLBACK != 0;
        let plain = ScanCursor { part: from.part & !FALLBACK, ..from };
        let from = move |is_fallback| if is_fallback == was_fallback { plain } else { ScanCursor::default() };
        let marked = |page: Page| {
            let next = page.next.map(|next| ScanCursor { part: next.part | FALLBACK, ..next });
            Page { next, ..page }
        };
        pending(async move {
            if self.0.open.load().is_none() {
                let page = self.0.primary.scan(context, filter, from(false), limit).await;
                match failed(&page) {
                    Some(error) if self.0.changes_for(context, None, error).await => {}
                    _ => return page,
                }
            }
            self.0.answers.fetch_add(1, Relaxed);
            self.0.fallback.scan(context, filter, from(true), limit).await.map(marked)
        })
    }

    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        serve!(self, context, some_failed, |backend| backend.export(context, keys))
    }

    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>> {
        serve!(self, context, failed, |backend| backend.tag_versions(context, tags, missing))
    }

    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        serve!(self, context, failed, |backend| backend.invalidate_hashes(context, tags))
    }

    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        serve!(self, context, some_failed, |backend| backend.import(context, entries, versions, if_present))
    }

    /// The fallback serves for a primary that is out of reach or not ready yet; a primary that refuses the caller is an
    /// error.
    fn connected(&self, context: CallContext) -> OpFuture<'_, ()> {
        pending(async move {
            match self.0.primary.connected(context).await {
                Err(error) if matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout) || error.is_passing() => {
                    if self.0.opens(context, &error).await {
                        Ok(())
                    } else {
                        Err(error)
                    }
                }
                connected => connected,
            }
        })
    }

    /// Subscribes at the primary: during an outage there are no messages.
    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        self.0.primary.subscribe(filter, delivery)
    }

    fn listen(&self, delivery: Delivery) -> Result<Feed> {
        let reader = Arc::downgrade(delivery.inbox());
        let feed = self.0.primary.listen(delivery)?;
        let mut readers = lock(&self.0.readers);
        readers.retain(|other| other.strong_count() > 0);
        readers.push(reader);
        Ok(feed)
    }

    fn origin(&self) -> Option<&Origin> {
        self.0.primary.origin()
    }

    fn route(&self, key: Option<&[u8]>) -> Route {
        match &*self.0.open.load() {
            Some(_) => Route { is_fallback: true, ..self.0.fallback.route(key) },
            None => self.0.primary.route(key),
        }
    }

    fn activity(&self) -> Activity {
        let (primary, fallback) = (self.0.primary.activity(), self.0.fallback.activity());
        let mut counters = primary.counters;
        counters += fallback.counters;
        Activity {
            counters,
            in_flight: primary.in_flight + fallback.in_flight,
            connections: primary.connections + fallback.connections,
            fallback: Some(self.0.state()),
            near: primary.near,
        }
    }

    /// That of the primary, and degraded while the fallback serves or could.
    fn health(&self, context: CallContext) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            let mut health = self.0.primary.health(context).await;
            let reason = self.0.state().outage.map(|outage| outage.reason);
            let serves =
                health.status != Status::Unhealthy || self.0.fallback.call(context, Operation::Ping).await.is_ok();
            if serves && (reason.is_some() || health.status == Status::Unhealthy) {
                health.status = Status::Degraded;
            }
            health.reasons.extend(reason);
            health
        })
    }

    fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()> {
        pending(async move {
            self.0.is_closed.store(true, Relaxed);
            let closed = self.0.primary.close(context, deadline).await;
            let fallback = self.0.fallback.close(context, deadline).await;
            if let Some(runtime) = self.0.runtime.swap(None) {
                runtime.release(deadline);
            }
            closed.and(fallback)
        })
    }
}
