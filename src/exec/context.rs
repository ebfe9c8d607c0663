//! The context of a call, an argument of everything that a call runs: it says whether the thread may block, and when the
//! call ends.
//!
//! The code that starts a call creates its context: an export for a caller's thread, the driver of a queue or another
//! task for the runtime. What the call runs may narrow it, so that nested operations end no later than the whole.

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep, sleep_until};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::{cancel, parker, runtime};

/// Returns to the token of a cancelled call, which ends it.
async fn never_again() {
    poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// The longest time for which a thread sleeps whose call another thread may cancel.
const STEP: Duration = Duration::from_millis(10);

/// The conditions under which an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallContext {
    end: Option<Instant>,
    may_block: bool,
    is_cancellable: bool,
    is_short: bool,
    /// The time until which the thread that polls the call drives its connections, though it must not block.
    drives_until: Option<Instant>,
    /// True if it reads without sleeping at first.
    spins: bool,
    /// True if it reads no copies.
    is_fresh: bool,
    /// The time limit in milliseconds in place of that of the cache; `None`: the call has none of its own.
    limit_ms: Option<NonZeroU32>,
}

impl CallContext {
    /// Returns the context of a call on a caller's own thread, which may block. `blocking::wait` has to poll the call: its
    /// thread leads connections and is its own timer.
    pub(crate) const fn thread() -> Self {
        Self { may_block: true, ..Self::task() }
    }

    /// Returns the context of a task on the runtime, which must not block and has the timers of the runtime.
    pub const fn task() -> Self {
        Self {
            end: None,
            may_block: false,
            is_cancellable: false,
            is_short: false,
            drives_until: None,
            spins: false,
            is_fresh: false,
            limit_ms: None,
        }
    }

    /// Returns the context of the same call if a thread of the host polls it first. That thread sends and reads for the
    /// call itself until `end`, so that a fast server costs no switch of threads. `end` has to be a moment away. `spins`: it
    /// does not sleep at first, because the reply takes no longer than a thread needs to wake up.
    #[must_use]
    pub fn driven_until(self, end: Instant, spins: bool) -> Self {
        Self { drives_until: Some(end), spins, ..self }
    }

    /// Returns the context of the same call if it waits for several replies: the tasks of the connections read them.
    #[must_use]
    pub fn not_driven(self) -> Self {
        Self { drives_until: None, ..self }
    }

    /// Returns the time until which this thread drives the connections of the call; `None` if others do.
    pub fn drives_until(self) -> Option<Instant> {
        self.drives_until.filter(|end| !runtime::is_inside() && Instant::now() < *end)
    }

    /// Returns true if the thread that drives the connections does not sleep at first.
    pub fn spins(self) -> bool {
        self.spins
    }

    /// Returns true if another thread than that of the runtime may have polled the call.
    pub fn was_driven(self) -> bool {
        self.drives_until.is_some()
    }

    /// Returns the context of the same call if another thread may cancel it.
    #[must_use]
    pub(crate) const fn cancellable(self) -> Self {
        Self { is_cancellable: true, ..self }
    }

    /// Returns the context of the same call if it reads no copies of a near cache.
    #[must_use]
    pub fn fresh(self) -> Self {
        Self { is_fresh: true, ..self }
    }

    /// Returns true if the call reads no copies of a near cache.
    #[inline]
    pub fn is_fresh(self) -> bool {
        self.is_fresh
    }

    /// Returns the context of the same call if it has this time limit in place of that of the cache.
    #[must_use]
    pub fn limited(self, limit: Duration) -> Self {
        let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        Self { limit_ms: NonZeroU32::new(millis.max(1)), ..self }
    }

    /// Returns the time limit of the call: its own, or that of the cache.
    #[inline]
    pub fn limit(self, of_cache: Duration) -> Duration {
        self.limit_ms.map_or(of_cache, |millis| Duration::from_millis(u64::from(millis.get())))
    }

    /// Returns true if the call was cancelled while it leads a connection or sleeps.
    pub fn is_cancelled(self) -> bool {
        self.is_cancellable && cancel::is_cancelled()
    }

    /// Returns the deadline; `None` if the call has none.
    pub fn end(self) -> Option<Instant> {
        self.end
    }

    /// Returns the deadline; without one, the end of the time limit from now on, by default this one.
    pub fn end_or(self, limit: Duration) -> Instant {
        self.end.unwrap_or_else(|| Instant::now() + self.limit(limit))
    }

    /// Returns the time until the deadline; without one, the time limit, by default this one.
    pub fn left_or(self, limit: Duration) -> Duration {
        self.end.map_or_else(|| self.limit(limit), |end| end.saturating_duration_since(Instant::now()))
    }

    /// Returns true if the thread that polls the operation may block.
    pub fn may_block(self) -> bool {
        self.may_block
    }

    /// Returns true if the deadline has passed.
    pub fn is_over(self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    /// Returns the context of a part of the call, which starts no operation that would end after `end`.
    #[must_use]
    pub fn until(self, end: Instant) -> Self {
        Self { end: Some(self.end.map_or(end, |earlier| earlier.min(end))), ..self }
    }

    /// Runs a part of the call that may end before the whole. Returns `None` if `end` passes first.
    pub fn run_until<F>(self, end: Instant, part: impl FnOnce(Self) -> F) -> Until<F> {
        let context = self.until(end);
        // A task is polled at the end of the whole anyway.
        let needs_timer = self.may_block || context.end != self.end;
        Until { part: part(context), timer: Timer::new(end, self.may_block), needs_timer }
    }

    /// Runs an operation on a server with one deadline for all its steps: queueing, connecting, retries. It ends within
    /// its time limit, by default `limit`, and no later than the call that it is a part of.
    pub fn bounded<F>(self, limit: Duration, server: &str, operation: impl FnOnce(Self) -> F) -> Bounded<'_, F> {
        let (now, usual, limit) = (Instant::now(), limit, self.limit(limit));
        let is_late = self.end.is_some_and(|end| end <= now);
        let end = self.end.map_or(now + limit, |end| end.min(now + limit));
        let context = Self { is_short: end < now + usual / 4 * 3, ..self.until(now + limit) };
        let timer = Timer::new(context.end.unwrap_or(now), self.may_block);
        Bounded { operation: operation(context), context, limit, is_late, timer, server }
    }

    /// Waits between two attempts, at most until the deadline.
    pub async fn pause(self, time: Duration) {
        if self.may_block {
            self.sleep(time.min(self.left_or(time)));
            if self.is_cancelled() {
                never_again().await;
            }
        } else {
            sleep(time).await;
        }
    }

    /// Sleeps on the caller's thread, in short steps if another thread may cancel the call.
    fn sleep(self, time: Duration) {
        let end = Instant::now() + time;
        let step = if self.is_cancellable { STEP } else { time };
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(step));
        }
    }

    /// Returns the error of a call whose deadline has passed.
    #[cold]
    pub fn timed_out(self, server: &str, limit: Duration) -> Error {
        let option = if self.limit_ms.is_some() { "the timeout of the call or of its view" } else { "socket_timeout" };
        let limit = self.limit(limit);
        let text = format!(
            "{server}: no answer within {limit:?} ({option}): the server is slow, stopped or out of reach; check it and the network, or raise {option}"
        );
        let error = Error::new(ErrorKind::Timeout, text);
        // An operation that had less than the time of a call says nothing about its server.
        if self.is_short { error.of_short_time() } else { error }
    }
}

/// The time that is reserved for each server that has not replied yet, so that a silent server takes only its share.
const KEPT: Duration = Duration::from_millis(200);

/// Returns the time until which one server of several is waited for, if so many others have to answer before `end`.
pub fn share(end: Instant, others: usize, limit: Duration) -> Instant {
    if others == 0 {
        return end;
    }
    let kept = KEPT * u32::try_from(others).unwrap_or(u32::MAX);
    end.checked_sub(kept.min(limit / 4)).unwrap_or(end)
}

/// Wakes the caller at a time: a thread that blocks by the timer that it is itself, a task by a timer of the runtime.
struct Timer {
    end: Instant,
    may_block: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new(end: Instant, may_block: bool) -> Self {
        Self { end, may_block, sleep: None }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Returns true if the time has come; otherwise has the caller woken then.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if self.may_block {
            parker::wake_at(self.end);
            return self.is_over();
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(self.end.into())));
        sleep.as_mut().poll(context).is_ready()
    }
}

pin_project! {
    /// A part of a call that may end before the whole: see `CallContext::run_until`.
    pub struct Until<F> {
        #[pin]
        part: F,
        timer: Timer,
        needs_timer: bool,
    }
}

impl<T, F: Future<Output = T>> Future for Until<F> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        match this.part.poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if this.timer.is_over() || *this.needs_timer && this.timer.poll(context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

pin_project! {
    /// An operation with one deadline for all its steps: see `CallContext::bounded`.
    pub struct Bounded<'a, F> {
        #[pin]
        operation: F,
        context: CallContext,
        limit: Duration,
        // It begins after the deadline of the call that it is a part of.
        is_late: bool,
        timer: Timer,
        server: &'a str,
    }
}

impl<T, F: Future<Output = Result<T>>> Future for Bounded<'_, F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let late = || Poll::Ready(Err(this.context.timed_out(this.server, *this.limit)));
        if *this.is_late {
            return late();
        }
        match this.operation.as_mut().poll(context) {
            Poll::Pending if this.timer.poll(context) => {}
            polled => return polled,
        }
        // The deadline may have passed since it was polled: it ends its parts itself, and keeps what it has of them.
        match this.operation.poll(context) {
            Poll::Pending => late(),
            ended => ended,
        }
    }
}

#[cfg(test)]
mod tests;
