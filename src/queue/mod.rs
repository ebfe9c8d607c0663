//! The completion queue: submissions return at once, completions are taken later.
//!
//! Each accepted operation has exactly one completion. The thread that takes the operation out of `State`, under its
//! lock, makes it; a late result or a second cancel finds the operation gone. Operations that a backend answers at once
//! complete on the submitter's own thread; the others run in one task of the runtime, the `driver`. Operations of one kind
//! that come together run as one. The submitter begins them if no others are in flight, and passes them on only if the
//! reply does not come within a moment.

mod driver;
mod owned;
mod shared;
mod state;
mod submission;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::shared::Shared;
use self::state::{MAX_CAPACITY, Stage};
use self::submission::Patience;
pub use self::submission::Submission;
use crate::cache::CacheHandle;
use crate::cache::trace::{EndedSpan, Span};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::runtime::Runtime;
use crate::operation::Outcome;
use crate::util::lock;

/// The name of an operation until its completion is taken; never 0.
pub type Ticket = u64;
/// Wakes the host. Dropped when it will not be called again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The part of a submission that comes back with the completion, untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The data of the caller.
    pub user_data: u64,
    /// The number of the operation's kind.
    pub kind: i32,
}

/// The end of an operation.
pub struct Completion {
    /// The ticket of the operation.
    pub ticket: Ticket,
    /// The label that was submitted.
    pub label: Label,
    /// The outcome of the operation.
    pub result: Result<Outcome>,
    /// The span of the operation, if it is sampled. Its end is to be reported.
    pub span: Option<Box<Span>>,
}

impl Completion {
    /// Returns its span with the outcome.
    pub fn ended_span(&mut self) -> Option<EndedSpan> {
        self.span.take().map(|span| EndedSpan::new(span, &self.result))
    }
}

/// Additional time, after any deadline, to wait for a call in another thread or for a wake-up.
const GRACE: Duration = Duration::from_secs(1);
/// The default capacity of a queue.
const DEFAULT_CAPACITY: usize = 1024;

/// A queue of one cache. Any thread may call any function at any time.
pub struct Queue {
    shared: Arc<Shared>,
    handle: Arc<CacheHandle>,
    /// The runtime, held from the first operation that was not done at once until the queue is closed.
    runtime: Mutex<Option<Arc<Runtime>>>,
    /// Decides which lone submissions are begun on the thread of their submitter.
    patience: Patience,
}

impl Queue {
    /// Opens a queue for a number of operations that are in flight or not yet taken (0: 1024).
    pub fn open(handle: Arc<CacheHandle>, capacity: usize) -> Result<Self> {
        let capacity = if capacity == 0 { DEFAULT_CAPACITY } else { capacity };
        if capacity > MAX_CAPACITY {
            let text = format!("capacity is {capacity}; the limit is {MAX_CAPACITY}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(Self {
            shared: Arc::new(Shared::new(capacity)),
            handle,
            runtime: Mutex::default(),
            patience: Patience::default(),
        })
    }

    /// Sets the function that wakes the host. It is called only on the thread of the runtime, never in a call of the
    /// host. If that thread cannot be started, the function is not kept.
    pub fn wake_by(&self, wake: impl FnOnce() -> Wake) -> Result<()> {
        self.ensure_driver()?;
        self.shared.wake_by(wake());
        Ok(())
    }

    /// Starts a submission of up to n operations.
    pub fn submit(&self, n: usize) -> Result<Submission<'_>> {
        Submission::begin(self, n)
    }

    /// Passes on up to `max` completions in the order of their arrival. Returns their number.
    pub fn take(&self, max: usize, mut hand_over: impl FnMut(Completion)) -> Result<usize> {
        self.shared.change(|state| {
            let taken = (0..max).map_while(|_| state.take().map(&mut hand_over)).count();
            match &state.stage {
                Stage::Closed(reason) if taken == 0 && max > 0 && state.is_over() => Err(reason.clone()),
                _ => Ok(taken),
            }
        })
    }

    /// Does what `take` does, but waits for the first completion; returns 0 if none came until the deadline.
    pub fn wait(&self, max: usize, deadline: Option<Instant>, mut hand_over: impl FnMut(Completion)) -> Result<usize> {
        loop {
            let in_time = self.shared.wait_until(deadline, |state| state.ready() > 0 || state.is_over());
            let taken = self.take(max, &mut hand_over)?;
            // Another consumer may have been faster.
            if taken > 0 || !in_time {
                return Ok(taken);
            }
        }
    }

    /// Returns a file descriptor that is readable while completions are available.
    pub fn fd(&self) -> Result<i32> {
        self.shared.fd()
    }

    /// Completes an operation as cancelled. Returns true if it was in flight.
    pub fn cancel(&self, ticket: Ticket) -> bool {
        let reason = Error::new(ErrorKind::Cancelled, "the operation was cancelled");
        self.shared.change(|state| state.cancel(ticket, reason))
    }

    /// Accepts no more operations, lets those in flight finish until the deadline and completes the rest with `rest`.
    /// Later calls get the error `closed`. Returns true if there was no rest.
    pub fn close(&self, closed: Error, rest: &Error, deadline: Instant) -> bool {
        self.refuse(closed);
        // The runtime's own thread would wait for itself.
        let inside = lock(&self.runtime).as_ref().is_some_and(|runtime| runtime.is_this_thread());
        if !inside {
            self.shared.wait_until(Some(deadline), |state| state.to_come() == 0);
        }
        let cancelled = self.shared.change(|state| state.cancel_all(rest));
        if !inside {
            let last = deadline.max(Instant::now() + GRACE);
            self.shared.wait_until(Some(last), |state| state.to_come() == 0 && !state.driven);
        }
        self.release();
        cancelled == 0
    }

    /// Accepts no more operations and completes those in flight without waiting.
    pub fn close_now(&self, closed: Error) {
        self.refuse(closed.clone());
        self.shared.change(|state| state.cancel_all(&closed));
    }

    fn refuse(&self, closed: Error) {
        self.shared.change(|state| {
            if matches!(state.stage, Stage::Open) {
                state.stage = Stage::Closed(closed);
            }
        });
    }

    /// Releases the host's function and the runtime.
    fn release(&self) {
        self.shared.forget_wake();
        let runtime = lock(&self.runtime).take();
        if let Some(runtime) = runtime {
            runtime.release(Instant::now() + GRACE);
        }
    }

    /// Starts the driver unless it is running.
    fn ensure_driver(&self) -> Result<()> {
        // Held to the end: a close that comes meanwhile finds what was started.
        let mut runtime = lock(&self.runtime);
        if !self.shared.change(|state| state.begin_driving())? {
            return Ok(());
        }
        let started = runtime.clone().map_or_else(Runtime::acquire, Ok);
        match started {
            Ok(started) => {
                started.spawn(driver::drive(self.shared.clone(), self.handle.clone()));
                *runtime = Some(started);
                Ok(())
            }
            Err(error) => {
                self.shared.change(|state| state.driven = false);
                Err(error)
            }
        }
    }
}

impl Drop for Queue {
    /// Drops the queue and its operations in flight without waiting.
    fn drop(&mut self) {
        for mut completion in self.shared.abandon() {
            if let Some(ended) = completion.ended_span() {
                ended.report(&self.handle.load());
            }
        }
    }
}
