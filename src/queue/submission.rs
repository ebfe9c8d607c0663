//! A submission: operations that are about to enter a queue.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::driver::{self, MOST, Operations};
use super::owned::Owned;
use super::state::{Begun, State, Tickets};
use super::{Label, Queue, Ticket};
use crate::cache::trace::Span;
use crate::cache::{Cache, CacheGuard, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::operation::Outcome;
use crate::util::lock;

/// The longest time for which the submitter of a lone submission waits for its reply.
const MOMENT: Duration = Duration::from_micros(200);
/// The binary logarithm of the number of lone submissions after which one is begun again, at most.
const MOST_DOUBLINGS: u32 = 6;

/// Decides which lone submissions are begun on the thread of their submitter. After a reply that took longer than a
/// moment, the next one is not; after each further one in a row, twice as many are not.
#[derive(Default)]
pub(super) struct Patience {
    /// The number of lone submissions that go to the driver before one is begun.
    skip: AtomicU32,
    /// The number of replies in a row that took longer.
    late: AtomicU32,
}

impl Patience {
    /// Returns true if the next lone submission is begun.
    pub(super) fn begins(&self) -> bool {
        let skip = self.skip.load(Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Relaxed);
        }
        skip == 0
    }

    /// Records that the reply came within a moment.
    pub(super) fn was_in_time(&self) {
        if self.late.load(Relaxed) > 0 {
            self.late.store(0, Relaxed);
        }
    }

    /// Records that the reply takes longer.
    pub(super) fn was_late(&self) {
        let late = (self.late.load(Relaxed) + 1).min(MOST_DOUBLINGS);
        self.late.store(late, Relaxed);
        self.skip.store((1 << late) - 1, Relaxed);
    }
}

/// Operations that have room in the queue and enter it together.
pub struct Submission<'a> {
    queue: &'a Queue,
    /// The cache that serves all of its operations.
    cache: CacheGuard,
    answers_at_once: bool,
    /// True if the backend has copies of entries.
    has_copies: bool,
    /// True if one of its operations may walk all entries: it must not hold up the submitter.
    has_long: bool,
    room: usize,
    works: Vec<(Label, Option<Box<Span>>, Work)>,
    /// Copies of those that are not done at once. Neighbours of one kind share one.
    copies: Operations,
}

enum Work {
    Done(Result<Outcome>),
    /// It is the next one of the copies.
    ToDo,
}

impl<'a> Submission<'a> {
    pub(super) fn begin(queue: &'a Queue, n: usize) -> Result<Self> {
        let room = queue.shared.change(|state| state.reserve(n))?;
        let cache = queue.handle.load();
        let answers_at_once = cache.answers_at_once();
        let has_copies = !answers_at_once && cache.capabilities().near;
        let (works, copies) = (Vec::with_capacity(room), Operations::new());
        Ok(Self { queue, cache, answers_at_once, has_copies, has_long: false, room, works, copies })
    }

    /// Runs a request if the backend answers it at once, else copies it. A request that was refused, or is refused now,
    /// completes with its error. Returns false, and adds nothing, if the queue is full.
    pub fn add(&mut self, label: Label, request: Result<Request<'_>>) -> bool {
        if self.works.len() == self.room {
            return false;
        }
        let mut span = None;
        let work = match request {
            Ok(request) => {
                if self.cache.is_traced() {
                    span = self.cache.begin_request(label.kind, label.user_data, &request).map(Box::new);
                }
                self.begin_work(request, span.as_deref_mut())
            }
            Err(refused) => Some(Work::Done(Err(refused))),
        };
        if let Some(work) = work {
            self.works.push((label, span, work));
            return true;
        }
        if let Some(span) = span {
            span.refuse(ErrorKind::Busy);
        }
        false
    }

    fn begin_work(&mut self, request: Request<'_>, span: Option<&mut Span>) -> Option<Work> {
        self.has_long |= request.is_long();
        if self.answers_at_once && !request.is_long() {
            let outcome = run(&self.cache, request.at_once());
            if !request.waits_after(&outcome) {
                return Some(Work::Done(outcome));
            }
        }
        if self.has_copies {
            if let Some(outcome) = self.cache.at_hand(&request) {
                span.map(Span::was_at_hand);
                return Some(Work::Done(Ok(outcome)));
            }
            // The operations that are submitted after it read no copy from before it.
            self.cache.announce(&request);
        }
        match self.cache.check(&request) {
            Ok(()) => self.copy(&request).then_some(Work::ToDo),
            Err(refused) => Some(Work::Done(Err(refused))),
        }
    }

    /// Copies a request, together with those before it if they run as one. Returns false if there is no room for it.
    fn copy(&mut self, request: &Request<'_>) -> bool {
        let key = request.batch_key().filter(|_| self.cache.is_one_server());
        match self.copies.last_mut() {
            Some(last) if key.is_some() && last.batch_key() == key && last.len() < MOST => last.add(request),
            _ => match Owned::copy(request, &self.queue.shared.in_flight) {
                Some(copy) => {
                    self.copies.push(copy);
                    true
                }
                None => false,
            },
        }
    }

    /// Enters them all into the queue and returns their number. Calls `tell` with the ticket of each, in their order,
    /// before a completion can be taken.
    pub fn commit(mut self, mut tell: impl FnMut(Ticket)) -> usize {
        let (mut works, mut copies) = (mem::take(&mut self.works), mem::take(&mut self.copies));
        let accepted = works.len();
        let driver = if copies.is_empty() { Ok(()) } else { self.queue.ensure_driver() };
        // Several run as one if they are of one kind, for a single server.
        let is_one =
            !self.has_long && copies.len() == 1 && copies.iter().all(|copy| copy.len() == accepted && copy.is_short());
        let is_lone = is_one && driver.is_ok() && self.queue.is_alone(self.room);
        let mut begun = if is_lone { self.queue.begin(&mut works, &mut copies) } else { None };
        let room = mem::take(&mut self.room);
        self.queue.shared.change(|state| {
            state.unreserve(room);
            let (refused, mut tickets) = (driver.err().or_else(|| state.closed()), Tickets::new());
            for (label, span, work) in works {
                tell(match (work, &refused) {
                    (Work::Done(result), _) => state.done_at_once(label, span, result),
                    (Work::ToDo, Some(reason)) => state.done_at_once(label, span, Err(reason.clone())),
                    (Work::ToDo, None) => {
                        tickets.push(state.fly(label, span));
                        tickets[tickets.len() - 1]
                    }
                });
            }
            if refused.is_none() {
                pass_on(state, tickets, begun.take(), &mut copies);
            }
        });
        // Dropped without the lock of the queue: operations that were begun hold a connection's.
        drop((begun, copies));
        accepted
    }
}

/// Passes operations to the driver: those that were begun, or each of the copies.
fn pass_on(state: &mut State, tickets: Tickets, begun: Option<Begun>, copies: &mut Operations) {
    if let Some(begun) = begun {
        return state.continue_with(tickets, begun);
    }
    let mut tickets = tickets.into_iter();
    for copy in copies.drain(..) {
        state.start(tickets.by_ref().take(copy.len()).collect(), copy);
    }
}

impl Queue {
    /// Returns true if the operations for which this room is reserved are the only ones, and the reply may come in a moment.
    fn is_alone(&self, room: usize) -> bool {
        self.shared.change(|state| state.to_come() == room && state.ready() == 0) && self.patience.begins()
    }

    /// Runs operations as one on this thread, until they have to wait for longer than a moment; then returns them.
    /// Passing them to the driver and their results back would take longer than the reply of a near server.
    fn begin(&self, works: &mut [(Label, Option<Box<Span>>, Work)], copies: &mut Operations) -> Option<Begun> {
        let runtime = lock(&self.runtime).as_ref().filter(|it| !it.is_this_thread()).map(|it| it.handle().clone())?;
        let _timers = runtime.enter();
        let end = Instant::now() + MOMENT;
        // The replies to many take longer than a thread needs to wake up.
        let context = CallContext::task().driven_until(end, works.len() == 1);
        let mut begun = driver::run(context, self.handle.clone(), mem::take(copies));
        let mut waker = Context::from_waker(&self.shared.driver);
        let outcomes = match catch_unwind(AssertUnwindSafe(|| begun.as_mut().poll(&mut waker))) {
            Ok(Poll::Pending) => {
                // Where another thread reads the replies, this one has not waited.
                if Instant::now() >= end {
                    self.patience.was_late();
                }
                return Some(begun);
            }
            Ok(Poll::Ready(outcomes)) if Instant::now() >= end => {
                self.patience.was_late();
                Ok(outcomes)
            }
            Ok(Poll::Ready(outcomes)) => {
                self.patience.was_in_time();
                Ok(outcomes)
            }
            Err(payload) => Err(payload),
        };
        let results = driver::results_of(outcomes, works.len());
        works.iter_mut().zip(results).for_each(|((_, _, work), result)| *work = Work::Done(result));
        None
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
