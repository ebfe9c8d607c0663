//! A submission: operations that are about to enter a queue.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::owned::Owned;
use super::state::{Begun, Stage, State};
use super::{Label, Queue, Ticket, driver};
use crate::cache::{Cache, CacheGuard, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::operation::Outcome;
use crate::util::lock;

/// The longest time for which the submitter of a lone operation waits for its reply.
const MOMENT: Duration = Duration::from_micros(200);
/// The number of lone operations that are not waited for after one whose reply took longer than a moment.
const SKIPPED: u32 = 63;

/// Operations that have room in the queue and enter it together.
pub struct Submission<'a> {
    queue: &'a Queue,
    /// The cache that serves all of its operations.
    cache: CacheGuard,
    answers_at_once: bool,
    /// True if one of its operations may walk all entries: it must not hold up the submitter.
    has_long: bool,
    room: usize,
    works: Vec<(Label, Work)>,
}

enum Work {
    Done(Result<Outcome>),
    ToDo(Owned),
    Begun(Begun),
}

impl<'a> Submission<'a> {
    pub(super) fn begin(queue: &'a Queue, n: usize) -> Result<Self> {
        let room = queue.shared.change(|state| state.reserve(n))?;
        let cache = queue.handle.load();
        let answers_at_once = cache.answers_at_once();
        Ok(Self { queue, cache, answers_at_once, has_long: false, room, works: Vec::with_capacity(room) })
    }

    /// Runs a request if the backend answers it at once, else copies it. A request that was refused, or is refused now,
    /// completes with its error. Returns false, and adds nothing, if the queue is full.
    pub fn add(&mut self, label: Label, request: Result<Request<'_>>) -> bool {
        if self.works.len() == self.room {
            return false;
        }
        let work = match request {
            Ok(request) => self.begin_work(request),
            Err(refused) => Some(Work::Done(Err(refused))),
        };
        work.map(|work| self.works.push((label, work))).is_some()
    }

    fn begin_work(&mut self, request: Request<'_>) -> Option<Work> {
        self.has_long |= request.is_long();
        if self.answers_at_once && !request.is_long() {
            let outcome = run(&self.cache, request.at_once());
            if !request.waits_after(&outcome) {
                return Some(Work::Done(outcome));
            }
        }
        match self.cache.check(&request) {
            Ok(()) => Owned::copy(&request, &self.queue.shared.in_flight).map(Work::ToDo),
            Err(refused) => Some(Work::Done(Err(refused))),
        }
    }

    /// Enters them all into the queue and returns their number. Calls `tell` with the ticket of each, in their order,
    /// before a completion can be taken.
    pub fn commit(mut self, mut tell: impl FnMut(Ticket)) -> usize {
        let mut works = mem::take(&mut self.works);
        let accepted = works.len();
        let to_do = works.iter().any(|(_, work)| matches!(work, Work::ToDo(_)));
        let driver = if to_do { self.queue.ensure_driver() } else { Ok(()) };
        if driver.is_ok() && accepted == 1 && to_do && !self.has_long && self.queue.is_alone(self.room) {
            works = works.into_iter().map(|(label, work)| (label, self.queue.begin(work))).collect();
        }
        let room = mem::take(&mut self.room);
        // Dropped without the lock of the queue: an operation that was begun holds a connection's.
        let mut refused = Vec::new();
        self.queue.shared.change(|state| {
            state.unreserve(room);
            for (label, work) in works {
                tell(enter(state, label, work, &driver, &mut refused));
            }
        });
        drop(refused);
        accepted
    }
}

impl Queue {
    /// Returns true if an operation for which this room is reserved is the only one, and its reply may come in a moment.
    fn is_alone(&self, room: usize) -> bool {
        let skip = self.skip.load(Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Relaxed);
            return false;
        }
        self.shared.change(|state| state.to_come() == room && state.ready() == 0)
    }

    /// Runs an operation on this thread until it has to wait for longer than a moment. Passing it to the driver and its
    /// result back would take longer than the reply of a near server.
    fn begin(&self, work: Work) -> Work {
        let runtime = lock(&self.runtime).as_ref().filter(|it| !it.is_this_thread()).map(|it| it.handle().clone());
        let Some(runtime) = runtime else { return work };
        let Work::ToDo(operation) = work else { return work };
        let _timers = runtime.enter();
        let context = CallContext::task().driven_until(Instant::now() + MOMENT);
        let mut begun: Begun = Box::pin(driver::run(context, self.handle.clone(), operation));
        let mut waker = Context::from_waker(&self.shared.driver);
        match catch_unwind(AssertUnwindSafe(|| begun.as_mut().poll(&mut waker))) {
            Ok(Poll::Ready(result)) => Work::Done(result),
            Ok(Poll::Pending) => {
                self.skip.store(SKIPPED, Relaxed);
                Work::Begun(begun)
            }
            Err(payload) => Work::Done(Err(Error::panicked("an operation of a queue", payload))),
        }
    }
}

/// Completes operations without a driver with the reason.
fn enter(state: &mut State, label: Label, work: Work, driver: &Result<()>, refused: &mut Vec<Work>) -> Ticket {
    match (work, driver, &state.stage) {
        (Work::Done(result), ..) => state.done_at_once(label, result),
        (work, Err(error), _) => {
            refused.push(work);
            state.done_at_once(label, Err(error.clone()))
        }
        (work, _, Stage::Closed(reason)) => {
            let reason = reason.clone();
            refused.push(work);
            state.done_at_once(label, Err(reason))
        }
        (Work::ToDo(operation), ..) => state.start(label, operation),
        (Work::Begun(begun), ..) => state.continue_with(label, begun),
    }
}

/// Returns the result of a backend that replies at once.
fn run(cache: &Cache, request: Request<'_>) -> Result<Outcome> {
    let ran = catch_unwind(AssertUnwindSafe(|| cache.run(CallContext::task(), &request).now_or_never()));
    match ran {
        Ok(Some(result)) => result,
        Ok(None) => Err(Error::new(ErrorKind::Panic, "a local backend did not complete the operation at once")),
        Err(payload) => Err(Error::panicked("an operation of a queue", payload)),
    }
}

impl Drop for Submission<'_> {
    /// Releases the room of a submission that was not committed.
    fn drop(&mut self) {
        if self.room > 0 {
            let room = self.room;
            self.queue.shared.change(|state| state.unreserve(room));
        }
    }
}
