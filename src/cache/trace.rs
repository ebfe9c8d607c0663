//! Traces: reports the beginning and the end of a sample of the calls to a listener of the host.
//!
//! A call that is sampled has a span. Its beginning is reported where the call is made, and its end where the caller gets
//! the outcome: no thread of the library calls the listener, and no lock is held meanwhile. A span that is dropped without
//! an outcome reports an end too.
//!
//! Hits in the memory of this process take a path without a guard (`CacheHandle::first`). If every call is sampled, or
//! nearly so, that path is closed by the flag that a switch closes it with. If few are, those are sampled that the
//! latencies are measured of, which leave that path anyway.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::Either;

use super::latency::{self, Operation as Timed, SAMPLE};
use super::{Cache, Request};
use crate::backend::{OpFuture, Route, done};
use crate::error::{ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::key::check_key;
use crate::lease::LoadState;
use crate::operation::{Addition, NewEntry, Operation, Outcome};
use crate::util::{lock, random};
use crate::value::Value;

/// A receiver of spans.
pub trait Listener: Send + Sync {
    /// Receives the beginning of a call.
    fn begin(&self, span: &Span);
    /// Receives the end of a call.
    fn end(&self, span: &Span, end: End);
}

/// The result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The outcome or the failure.
    pub status: Status,
    /// The bytes of the values that were written or read.
    pub bytes: u64,
    /// The time from the beginning to the outcome.
    pub took: Duration,
}

/// The outcome or the failure of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the statuses of the ABI.
pub enum Status {
    Ok,
    Miss,
    End,
    Stale,
    Absent,
    Leased,
    Superseded,
    Unmet,
    Failed(ErrorKind),
}

impl Status {
    /// Returns the status of an outcome. Many keys fail as the first of them that failed.
    pub fn of(outcome: &Result<Outcome>) -> Self {
        match outcome {
            Err(error) => Self::Failed(error.kind()),
            Ok(Outcome::Miss) => Self::Miss,
            Ok(Outcome::Unmet) => Self::Unmet,
            Ok(Outcome::Superseded) => Self::Superseded,
            Ok(Outcome::Keys(keys)) if keys.is_empty() => Self::End,
            Ok(Outcome::Loaded(loaded)) => match loaded.state {
                LoadState::Fresh => Self::Ok,
                LoadState::Stale => Self::Stale,
                LoadState::Absent => Self::Absent,
                LoadState::Vacant => Self::Leased,
            },
            Ok(many) => many.find_error(|_| true).map_or(Self::Ok, |error| Self::Failed(error.kind())),
        }
    }
}

fn bytes_of(outcome: &Outcome) -> usize {
    let len = |value: &Value| value.as_bytes().len();
    match outcome {
        Outcome::Value(value) | Outcome::Versioned(value, _) => len(value),
        Outcome::Info(info) => len(&info.value),
        Outcome::Loaded(loaded) => loaded.value.as_ref().map_or(0, len),
        Outcome::Values(values) => values.iter().flatten().flatten().map(len).sum(),
        _ => 0,
    }
}

// ---- What is listened to ----

/// A listener with its options.
pub struct Listening {
    /// The receiver.
    pub listener: Box<dyn Listener>,
    /// One call in so many is sampled; at least 1.
    pub interval: u64,
    /// True if spans have the keys of their calls.
    pub with_keys: bool,
}

impl Listening {
    /// Returns true if calls are sampled so rarely that those suffice of which the latencies are measured.
    fn is_rare(&self) -> bool {
        self.interval >= u64::from(SAMPLE)
    }

    /// Decides about a call.
    fn takes(&self) -> bool {
        self.interval == 1 || random::cheap().is_multiple_of(self.interval)
    }

    /// Decides about a call that the latencies may be measured of.
    fn takes_timed(&self) -> bool {
        if !self.is_rare() {
            return self.takes();
        }
        let one_of_them = u64::from(SAMPLE);
        latency::is_due() && (self.interval == one_of_them || random::cheap() % self.interval < one_of_them)
    }
}

/// The listener of a cache and its views.
#[derive(Default)]
pub struct Tracer {
    is_on: AtomicBool,
    current: ArcSwapOption<Listening>,
    /// The reasons for which calls do not take the short path, as bits.
    detours: AtomicU8,
    setting: Mutex<()>,
}

/// Calls are sampled so often that each may have a span.
const CLOSE: u8 = 1;
/// The cache that the handle was opened with was replaced.
const REPLACED: u8 = 2;

impl Tracer {
    /// Sets the listener in place of the previous one, which receives the ends of its spans and no more beginnings.
    pub fn set(&self, listening: Option<Listening>) {
        let setting = lock(&self.setting);
        let (is_on, is_close) = (listening.is_some(), listening.as_ref().is_some_and(|it| !it.is_rare()));
        let previous = self.current.swap(listening.map(Arc::new));
        self.is_on.store(is_on, Relaxed);
        if is_close {
            self.detours.fetch_or(CLOSE, Release)
        } else {
            self.detours.fetch_and(!CLOSE, Release)
        };
        drop(setting);
        // Its finaliser may call the library.
        drop(previous);
    }

    /// Notes that the cache was replaced.
    pub(super) fn note_replacement(&self) {
        self.detours.fetch_or(REPLACED, Release);
    }

    /// Returns true if calls do not take the short path.
    #[inline(always)]
    pub(super) fn detours(&self) -> bool {
        self.detours.load(Acquire) != 0
    }

    fn is_close(&self) -> bool {
        self.detours.load(Relaxed) & CLOSE != 0
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }
}

thread_local! {
    /// The context of the calls of this thread.
    static CONTEXT: Cell<u64> = const { Cell::new(0) };
    /// True while the listener runs: its own calls are not sampled.
    static REPORTING: Cell<bool> = const { Cell::new(false) };
}

/// The number of spans that have begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Sets the context of the spans of this thread, and returns the one before.
pub fn set_context(context: u64) -> u64 {
    CONTEXT.replace(context)
}

// ---- Spans ----

/// A call that is sampled.
pub struct Span {
    listening: Arc<Listening>,
    /// Identifies the span in this process.
    pub id: u64,
    /// The number of the kind of the operation.
    pub kind: i32,
    /// The context of the thread that made the call.
    pub context: u64,
    /// The data of the caller in the operation.
    pub user_data: u64,
    /// The backend of the cache.
    pub backend: &'static str,
    /// The prefix of the cache.
    pub key_prefix: Arc<str>,
    /// The namespace of the view.
    pub namespace: Option<Box<str>>,
    /// The key, if it is asked for.
    pub key: Option<Box<[u8]>>,
    /// The number of keys.
    pub keys: u64,
    /// The server of the key, and the role of the fallback.
    pub route: Route,
    /// True if the backend has servers, and a value came from the memory of this process.
    pub is_near: bool,
    is_shared: bool,
    written: u64,
    begun: Instant,
    took: Option<Duration>,
    has_ended: bool,
}

impl Span {
    /// Notes that the outcome is there, though its end is reported later.
    pub fn stop(&mut self) -> Duration {
        *self.took.get_or_insert_with(|| self.begun.elapsed())
    }

    /// Notes that the value came from the memory of this process.
    pub fn was_at_hand(&mut self) {
        self.is_near = self.is_shared;
    }

    /// Reports the end with an outcome.
    pub fn end(self, cache: &Cache, outcome: &Result<Outcome>) {
        self.end_as(cache, Status::of(outcome), outcome.as_ref().map_or(0, bytes_of));
    }

    fn end_as(mut self, cache: &Cache, status: Status, read: usize) {
        self.stop();
        // The fallback may have taken over during the call.
        self.route.is_fallback |= self.is_shared && cache.backend.route(None).is_fallback;
        self.report_end(status, read);
    }

    /// Reports the end of a call that was refused.
    pub fn refuse(mut self, kind: ErrorKind) {
        self.report_end(Status::Failed(kind), 0);
    }

    fn report_end(&mut self, status: Status, read: usize) {
        self.has_ended = true;
        let end = End { status, bytes: self.written + read as u64, took: self.stop() };
        self.report(|listener| listener.end(self, end));
    }

    fn report(&self, report: impl FnOnce(&dyn Listener)) {
        let before = REPORTING.replace(true);
        report(&*self.listening.listener);
        REPORTING.set(before);
    }
}

/// A span whose end is to be reported.
pub struct EndedSpan {
    span: Box<Span>,
    status: Status,
    read: usize,
}

impl EndedSpan {
    /// Returns a span with its outcome.
    pub fn new(span: Box<Span>, outcome: &Result<Outcome>) -> Self {
        Self { span, status: Status::of(outcome), read: outcome.as_ref().map_or(0, bytes_of) }
    }

    /// Reports the end.
    pub fn report(self, cache: &Cache) {
        self.span.end_as(cache, self.status, self.read);
    }
}

impl Drop for Span {
    /// Reports the end of a call that has no outcome.
    fn drop(&mut self) {
        if !self.has_ended {
            let kind = if std::thread::panicking() { ErrorKind::Panic } else { ErrorKind::Cancelled };
            self.report_end(Status::Failed(kind), 0);
        }
    }
}

/// The arguments of a call that its span has.
#[derive(Default)]
struct Subject<'a> {
    key: Option<&'a [u8]>,
    keys: usize,
    written: usize,
}

impl<'a> Subject<'a> {
    fn key(key: &'a [u8]) -> Self {
        Self { key: Some(key), keys: 1, written: 0 }
    }

    fn entry(entry: &NewEntry<'a>) -> Self {
        Self { written: entry.value.len(), ..Self::key(entry.key) }
    }

    /// Many keys have no server that is theirs, and one of them does not say which they are.
    fn many(keys: usize, written: usize) -> Self {
        Self { key: None, keys, written }
    }

    fn of(operation: &Operation<'a>) -> Self {
        match operation {
            Operation::Get { key }
            | Operation::Delete { key }
            | Operation::Exists { key }
            | Operation::Expire { key, .. }
            | Operation::Ttl { key }
            | Operation::GetVersioned { key }
            | Operation::GetInfo { key, .. }
            | Operation::DeleteIf { key, .. }
            | Operation::GetAndExpire { key, .. }
            | Operation::CounterAdd(Addition { key, .. })
            | Operation::Explain { key }
            | Operation::GetOrLease { key, .. } => Self::key(key),
            Operation::Set(entry) | Operation::SetIf { entry, .. } => Self::entry(entry),
            Operation::GetMany { keys } | Operation::DeleteMany { keys } => Self::many(keys.len(), 0),
            Operation::SetMany { entries } => {
                Self::many(entries.len(), entries.iter().map(|entry| entry.value.len()).sum())
            }
            Operation::LeaseFill { fill, .. } => Self { key: None, keys: 1, written: fill.value.len() },
            Operation::LeaseAbandon { .. } => Self::many(1, 0),
            Operation::Publish { message, .. } => Self::many(0, message.len()),
            Operation::InvalidateTags { .. }
            | Operation::InvalidatePatterns { .. }
            | Operation::Flush { .. }
            | Operation::Clear { .. }
            | Operation::Ping
            | Operation::Usage
            | Operation::Command(_) => Self::default(),
        }
    }

    fn of_request(request: &Request<'a>) -> Self {
        match request {
            Request::Store(operation)
            | Request::Fresh(operation)
            | Request::Limited { operation, .. }
            | Request::DryRun(operation) => Self::of(operation),
            Request::Explain { key, .. } => Self::key(key),
            _ => Self::default(),
        }
    }
}

impl Cache {
    /// Returns the listener of the cache and its views.
    pub fn tracer(&self) -> &Tracer {
        &self.common.tracer
    }

    /// Returns true if calls may be sampled.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.common.tracer.is_on()
    }

    /// Returns true if calls are sampled so often that hits may not take the short path.
    pub fn is_traced_closely(&self) -> bool {
        self.is_traced() && self.common.tracer.is_close()
    }

    /// Begins the span of a call of one operation, if it is sampled.
    pub fn begin_call(&self, kind: i32, operation: &Operation<'_>) -> Option<Span> {
        let is_timed = matches!(operation, Operation::Get { .. } | Operation::Set(_) | Operation::GetOrLease { .. });
        let takes = if is_timed { Listening::takes_timed } else { Listening::takes };
        self.begin(takes, kind, 0, || Subject::of(operation))
    }

    /// Begins the span of a request of a batch or a queue, if it is sampled.
    pub fn begin_request(&self, kind: i32, user_data: u64, request: &Request<'_>) -> Option<Span> {
        self.begin(Listening::takes, kind, user_data, || Subject::of_request(request))
    }

    #[cold]
    fn begin<'a>(
        &self,
        takes: fn(&Listening) -> bool,
        kind: i32,
        user_data: u64,
        subject: impl FnOnce() -> Subject<'a>,
    ) -> Option<Span> {
        if REPORTING.get() {
            return None;
        }
        let listening = self.common.tracer.current.load_full().filter(|it| takes(it))?;
        let (info, subject) = (self.backend.info(), subject());
        let is_shared = info.capabilities.shared;
        let key = subject.key.filter(|_| is_shared || listening.with_keys);
        let span = Span {
            id: BEGUN.fetch_add(1, Relaxed) + 1,
            kind,
            context: CONTEXT.get(),
            user_data,
            backend: info.name,
            key_prefix: self.common.key_prefix.clone(),
            namespace: self.namespace().map(Box::from),
            route: if is_shared { self.route(key) } else { Route::default() },
            key: key.filter(|_| listening.with_keys).map(Box::from),
            keys: subject.keys as u64,
            is_near: false,
            is_shared,
            written: subject.written as u64,
            begun: Instant::now(),
            took: None,
            has_ended: false,
            listening,
        };
        span.report(|listener| listener.begin(&span));
        Some(span)
    }

    /// Runs the operation of a span, and notes if its value came from the memory of this process.
    pub fn call_traced<'a>(
        &'a self,
        context: CallContext,
        operation: Operation<'a>,
        span: &mut Span,
    ) -> OpFuture<'a, Outcome> {
        if !span.is_shared
            && !self.is_view()
            && self.answers_at_once()
            && let Some(outcome) = self.call_at_once(context, operation, span)
        {
            return done(outcome);
        }
        let may_be_near = span.is_shared && self.capabilities().near;
        if may_be_near {
            let timed = match operation {
                Operation::GetOrLease { .. } => Timed::GetOrLease,
                _ => Timed::Get,
            };
            if let Some(outcome) = self.at_hand(&operation.into()) {
                self.latencies.note(timed, span.begun.elapsed());
                span.was_at_hand();
                return done(Ok(outcome));
            }
        }
        let outcome = self.call(context, operation);
        if may_be_near && matches!(operation, Operation::GetMany { .. }) && matches!(outcome, Either::Left(_)) {
            span.was_at_hand();
        }
        outcome
    }

    /// Runs a get or a set on a backend that answers at once. Its latency is measured with its span.
    fn call_at_once(&self, context: CallContext, operation: Operation<'_>, span: &mut Span) -> Option<Result<Outcome>> {
        let (timed, outcome) = match operation {
            Operation::Get { key } if self.naming.keeps(key) && check_key(key).is_ok() => {
                (Timed::Get, self.backend.get(context, key).now_or_never()?.map(Outcome::found))
            }
            Operation::Set(entry) if self.naming.keeps_entry(&entry) && self.check_entry(&entry).is_ok() => {
                (Timed::Set, self.backend.set(context, entry).now_or_never()?.map(|()| Outcome::Done))
            }
            _ => return None,
        };
        self.latencies.note(timed, span.stop());
        Some(outcome)
    }

    fn route(&self, key: Option<&[u8]>) -> Route {
        match key {
            Some(key) if !self.naming.keeps(key) => self.backend.route(Some(&self.naming.stored(key))),
            key => self.backend.route(key),
        }
    }
}
