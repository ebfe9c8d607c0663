//! A backend with a stand-in: when its servers fail the stand-in serves, until they are back.
//!
//! The circuit is closed while the primary serves. A failure of its servers opens it, never a caller's mistake: from
//! then on calls go to the stand-in at once. The primary is probed (half-open); when it answers, what it missed is
//! made up for before any call reaches it, and the circuit closes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::{BoxFuture, Either};
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

use super::catchup::{Catchup, Changed};
use crate::backend::health::{Health, Status};
use crate::backend::{
    Backend, Capabilities, CopiedEntry, Counters, FallbackState, IfPresent, Imported, NewEntry, Page, Position,
    Removed, Reply, Usage, Wanted,
};
use crate::entry::TagStamp;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;
use crate::value::Value;

/// Marks a position in a listing of the stand-in.
const STAND_IN: u32 = 1 << 31;

/// How it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The longest life of an entry there: other processes' invalidations are not heard of.
    pub max_ttl: Duration,
    /// What becomes of what is written meanwhile.
    pub changed: Changed,
    /// Time between two probes of the primary.
    pub probe_interval: Duration,
}

/// A backend with a stand-in.
pub struct Fallback(Arc<Circuit>);

struct Circuit {
    primary: Arc<dyn Backend>,
    stand_in: Arc<dyn Backend>,
    policy: Policy,
    /// While it is open.
    open: ArcSwapOption<Outage>,
    /// Held by who opens or closes it.
    turn: Mutex<()>,
    is_closed: AtomicBool,
    answers: AtomicU64,
    outages: AtomicU64,
    /// Probes run there.
    runtime: ArcSwapOption<Runtime>,
}

/// The time the stand-in serves.
struct Outage {
    catchup: Catchup,
    reason: Error,
    since: Instant,
    is_probing: AtomicBool,
}

/// The error that a server may be to blame for.
fn failed<T>(answer: &Result<T>) -> Option<&Error> {
    answer.as_ref().err().filter(|error| may_be_outage(error))
}

fn some_failed<T>(answers: &Result<Vec<Result<T>>>) -> Option<&Error> {
    match answers {
        Ok(answers) => answers.iter().find_map(failed),
        Err(_) => failed(answers),
    }
}

fn may_be_outage(error: &Error) -> bool {
    error.is_outage() || error.kind() == ErrorKind::Server
}

/// How often a call goes from one to the other when the primary comes and goes.
const TURNS: usize = 5;

/// Asks the primary, and the stand-in if the circuit is open or this opens it.
macro_rules! serve {
    ($self:ident, $failed:path, |$backend:ident| $call:expr) => {
        Either::Right(Box::pin(async move {
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
                        let $backend = &outage.catchup;
                        $call.await
                    }
                };
                match $failed(&answer) {
                    Some(error) if circuit.changes_for(outage.as_ref(), error).await && turns.next().is_some() => {}
                    _ => return answer,
                }
            }
        }))
    };
}

impl Fallback {
    /// A backend with a stand-in.
    pub fn new(primary: Arc<dyn Backend>, stand_in: Arc<dyn Backend>, policy: Policy) -> Result<Self> {
        Ok(Self(Arc::new(Circuit {
            primary,
            stand_in,
            policy,
            open: ArcSwapOption::empty(),
            turn: Mutex::new(()),
            is_closed: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            runtime: ArcSwapOption::new(Some(Runtime::acquire()?)),
        })))
    }
}

impl Circuit {
    /// Whether a call that failed is to be served by the other: an error of the primary opens the circuit, or it was
    /// closed while the call was late.
    async fn changes_for(self: &Arc<Self>, outage: Option<&Arc<Outage>>, error: &Error) -> bool {
        match (outage, self.open.load().as_ref()) {
            (None, None) => self.opens(error).await,
            (None, Some(_)) | (Some(_), None) => true,
            (Some(then), Some(now)) => !Arc::ptr_eq(then, now),
        }
    }

    /// Whether an error of the primary opens the circuit, or it is open.
    async fn opens(self: &Arc<Self>, error: &Error) -> bool {
        // A server that answers may have been asked for something that it cannot do.
        let is_outage = error.is_outage() || self.primary.ping().await.is_err_and(|error| may_be_outage(&error));
        is_outage && self.open_for(error).await
    }

    async fn open_for(self: &Arc<Self>, reason: &Error) -> bool {
        let _turn = self.turn.lock().await;
        if self.open.load().is_some() {
            return true;
        }
        // Nothing of an earlier outage is served in this one.
        if self.is_closed.load(Relaxed) || self.stand_in.flush(false).await.is_err() {
            return false;
        }
        let Policy { max_ttl, changed, probe_interval } = self.policy;
        let catchup = Catchup::stand_in(self.stand_in.clone(), self.primary.clone(), changed, max_ttl);
        let (since, is_probing) = (Instant::now(), AtomicBool::new(false));
        self.open.store(Some(Arc::new(Outage { catchup, reason: reason.clone(), since, is_probing })));
        self.outages.fetch_add(1, Relaxed);
        tracing::warn!(stand_in = self.stand_in.name(), "the fallback serves: {reason}");
        if let Some(runtime) = self.runtime.load_full() {
            runtime.spawn(Box::pin(probe(Arc::downgrade(self), probe_interval)));
        }
        true
    }

    /// Whether the primary is back and the circuit closed; the reason why not is in the log.
    async fn closes(&self) -> bool {
        let Some(outage) = self.open.load_full() else { return true };
        if self.primary.ping().await.is_err() {
            return false;
        }
        let _turn = self.turn.lock().await;
        outage.is_probing.store(true, Relaxed);
        let done = outage.catchup.finish(|| self.open.store(None)).await;
        outage.is_probing.store(false, Relaxed);
        match done {
            Ok(()) => {
                tracing::info!(primary = self.primary.name(), "it serves again after {:?}", outage.since.elapsed());
                // What it holds is of no more use.
                let _ = self.stand_in.flush(false).await;
                true
            }
            Err(error) => {
                tracing::warn!(primary = self.primary.name(), "it answers and cannot be brought up to date: {error}");
                false
            }
        }
    }

    fn state(&self) -> FallbackState {
        let outage = self.open.load_full();
        let state = match &outage {
            None => "closed",
            Some(outage) if outage.is_probing.load(Relaxed) => "half-open",
            Some(_) => "open",
        };
        let answers = self.answers.load(Relaxed);
        let reason = outage.as_ref().map(|it| format!("the fallback serves: {}", it.reason));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let report = json!({
            "backend": self.stand_in.name(),
            "active": outage.is_some(),
            "circuit": state,
            "answers": answers,
            "outages": self.outages.load(Relaxed),
            "open_for_ms": outage.as_ref().map(|it| millis(it.since.elapsed())),
            "changes_to_replay": outage.as_ref().map(|it| it.catchup.missed()),
        });
        FallbackState { reason, answers, report }
    }
}

/// Asks the primary again and again until it is back.
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
    fn name(&self) -> &'static str {
        self.0.primary.name()
    }

    /// What holds whichever of the two serves.
    fn capabilities(&self) -> Capabilities {
        let (primary, stand_in) = (self.0.primary.capabilities(), self.0.stand_in.capabilities());
        Capabilities {
            list: primary.list && stand_in.list,
            count: false,
            shared: primary.shared,
            size: primary.size && stand_in.size,
        }
    }

    fn is_one_server(&self) -> bool {
        self.0.primary.is_one_server()
    }

    fn call_timeout(&self) -> Option<Duration> {
        self.0.primary.call_timeout()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Value>> {
        serve!(self, failed, |backend| backend.get(key))
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<Value>>>> {
        serve!(self, some_failed, |backend| backend.get_many(keys))
    }

    fn set<'a>(&'a self, entry: NewEntry<'a>) -> Reply<'a, ()> {
        serve!(self, failed, |backend| backend.set(entry))
    }

    fn set_many<'a>(&'a self, entries: &'a [NewEntry<'a>]) -> Reply<'a, Vec<Result<()>>> {
        serve!(self, some_failed, |backend| backend.set_many(entries))
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        serve!(self, failed, |backend| backend.delete(key))
    }

    fn delete_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<bool>>> {
        serve!(self, some_failed, |backend| backend.delete_many(keys))
    }

    fn exists<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        serve!(self, failed, |backend| backend.exists(key))
    }

    fn expire<'a>(&'a self, key: &'a [u8], ttl: Option<Duration>) -> Reply<'a, bool> {
        serve!(self, failed, |backend| backend.expire(key, ttl))
    }

    fn ttl<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Option<Duration>>> {
        serve!(self, failed, |backend| backend.ttl(key))
    }

    fn invalidate_tags<'a>(&'a self, tags: &'a [&'a [u8]], count: bool) -> Reply<'a, Removed> {
        serve!(self, failed, |backend| backend.invalidate_tags(tags, count))
    }

    fn flush(&self, count: bool) -> Reply<'_, Removed> {
        serve!(self, failed, |backend| backend.flush(count))
    }

    fn invalidate_patterns<'a>(&'a self, patterns: &'a [&'a [u8]]) -> Reply<'a, Removed> {
        serve!(self, failed, |backend| backend.invalidate_patterns(patterns))
    }

    /// A listing that began at the other of the two begins anew.
    fn scan<'a>(&'a self, wanted: Wanted<'a>, from: Position, limit: usize) -> Reply<'a, Page> {
        let was_stand_in = from.part & STAND_IN != 0;
        let plain = Position { part: from.part & !STAND_IN, ..from };
        let from = move |is_stand_in| if is_stand_in == was_stand_in { plain } else { Position::default() };
        let marked = |page: Page| {
            let next = page.next.map(|next| Position { part: next.part | STAND_IN, ..next });
            Page { next, ..page }
        };
        Either::Right(Box::pin(async move {
            if self.0.open.load().is_none() {
                let page = self.0.primary.scan(wanted, from(false), limit).await;
                match failed(&page) {
                    Some(error) if self.0.changes_for(None, error).await => {}
                    _ => return page,
                }
            }
            self.0.answers.fetch_add(1, Relaxed);
            self.0.stand_in.scan(wanted, from(true), limit).await.map(marked)
        }))
    }

    fn export<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<CopiedEntry>>>> {
        serve!(self, some_failed, |backend| backend.export(keys))
    }

    fn tag_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<TagStamp>> {
        serve!(self, failed, |backend| backend.tag_versions(tags))
    }

    fn known_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<Option<u64>>> {
        serve!(self, failed, |backend| backend.known_versions(tags))
    }

    fn invalidate_hashes<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, ()> {
        serve!(self, failed, |backend| backend.invalidate_hashes(tags))
    }

    fn import<'a>(
        &'a self,
        entries: &'a [CopiedEntry],
        versions: &'a [TagStamp],
        if_present: IfPresent,
    ) -> Reply<'a, Vec<Result<Imported>>> {
        serve!(self, some_failed, |backend| backend.import(entries, versions, if_present))
    }

    fn usage(&self) -> Reply<'_, Usage> {
        serve!(self, failed, |backend| backend.usage())
    }

    /// A primary that is out of reach, or not ready yet, is stood in for; one that refuses who asks is an error to be seen to.
    fn connected(&self) -> Reply<'_, ()> {
        Either::Right(Box::pin(async move {
            match self.0.primary.connected().await {
                Err(error) if matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout) || error.is_passing() => {
                    if self.0.opens(&error).await {
                        Ok(())
                    } else {
                        Err(error)
                    }
                }
                connected => connected,
            }
        }))
    }

    fn ping(&self) -> Reply<'_, ()> {
        serve!(self, failed, |backend| backend.ping())
    }

    fn counters(&self) -> Counters {
        let mut counters = self.0.primary.counters();
        counters += self.0.stand_in.counters();
        counters
    }

    fn fallback(&self) -> Option<FallbackState> {
        Some(self.0.state())
    }

    fn in_flight(&self) -> u64 {
        self.0.primary.in_flight() + self.0.stand_in.in_flight()
    }

    fn details(&self) -> Reply<'_, Json> {
        self.0.primary.details()
    }

    /// That of the primary, and degraded while the stand-in serves or could.
    fn health(&self) -> BoxFuture<'_, Health> {
        Box::pin(async {
            let mut health = self.0.primary.health().await;
            let reason = self.0.state().reason;
            let serves = health.status != Status::Unhealthy || self.0.stand_in.ping().await.is_ok();
            if serves && (reason.is_some() || health.status == Status::Unhealthy) {
                health.status = Status::Degraded;
            }
            health.reasons.extend(reason);
            health
        })
    }

    fn close(&self, deadline: Instant) -> Reply<'_, ()> {
        Either::Right(Box::pin(async move {
            self.0.is_closed.store(true, Relaxed);
            let closed = self.0.primary.close(deadline).await;
            let stand_in = self.0.stand_in.close(deadline).await;
            if let Some(runtime) = self.0.runtime.swap(None) {
                runtime.release(deadline);
            }
            closed.and(stand_in)
        }))
    }
}
