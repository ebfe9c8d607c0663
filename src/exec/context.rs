//! The context of a call: a caller's own thread, which may block until a deadline, or a task, which may not.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, sleep_until};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::parker::Parker;
use crate::exec::runtime::Runtime;

thread_local! {
    /// The deadline of the operation that is polled now, on a thread or in a task.
    static ENDING: Cell<Option<Instant>> = const { Cell::new(None) };
    /// True if the operation has less than the time of a call.
    static IS_SHORT: Cell<bool> = const { Cell::new(false) };
    static WAITING: Cell<Option<Waiting>> = const { Cell::new(None) };
    /// One for each thread: a wake-up needs no allocation for each call.
    static PARKER: Arc<Parker> = Arc::default();
}

/// A caller's thread that waits for a reply.
#[derive(Clone, Copy)]
struct Waiting {
    deadline: Option<Instant>,
}

/// Restores the previous context: a log callback may call the library from inside a call.
struct Restore(Option<Waiting>, Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        WAITING.set(self.0);
        ENDING.set(self.1);
    }
}

/// Runs `poll` as a caller that may block, with a waker that ends its `park`.
pub fn blocking<T>(poll: impl FnOnce(&mut Context<'_>, &Parker) -> T) -> T {
    let _restore = Restore(WAITING.replace(Some(Waiting { deadline: None })), ENDING.replace(None));
    // At the very end of a thread there is none left.
    let parker = PARKER.try_with(Arc::clone).unwrap_or_default();
    poll(&mut Context::from_waker(&Waker::from(Arc::clone(&parker))), &parker)
}

/// Returns true if the current future may block the thread that polls it.
pub fn may_block() -> bool {
    WAITING.get().is_some()
}

/// Returns the deadline of the call of this thread. `None`: no call, or no deadline.
pub fn deadline() -> Option<Instant> {
    WAITING.get().and_then(|waiting| waiting.deadline)
}

/// Returns the deadline of the operation that is polled now, on a thread or in a task.
pub fn call_deadline() -> Option<Instant> {
    ENDING.get()
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

pin_project! {
    /// A part of a longer operation with one deadline: operations inside of it end no later.
    pub struct Within<F> {
        #[pin]
        part: F,
        end: Instant,
    }
}

impl<F> Within<F> {
    /// Creates a part that starts no operation that would end after `end`.
    pub fn new(end: Instant, part: F) -> Self {
        Self { part, end }
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let before = ENDING.get();
        ENDING.set(Some(before.map_or(*this.end, |ending| ending.min(*this.end))));
        let polled = this.part.poll(context);
        ENDING.set(before);
        polled
    }
}

pin_project! {
    /// An operation with one deadline for all its steps: queueing, connecting, retries.
    pub struct Bounded<'a, F> {
        #[pin]
        operation: F,
        limit: Duration,
        deadline: Instant,
        // It begins after the deadline of the call that it is a part of, or when much of the time is over.
        is_late: bool,
        is_short: bool,
        timer: Option<Pin<Box<Sleep>>>,
        server: &'a str,
        runtime: &'a ArcSwapOption<Runtime>,
    }
}

impl<'a, F> Bounded<'a, F> {
    /// Runs an operation on a server, which ends within `limit`, and no later than the call that it belongs to.
    pub fn new(limit: Duration, runtime: &'a ArcSwapOption<Runtime>, server: &'a str, operation: F) -> Self {
        let now = Instant::now();
        let outer = ENDING.get();
        let deadline = outer.map_or(now + limit, |ending| ending.min(now + limit));
        let is_late = outer.is_some_and(|ending| ending <= now);
        let is_short = outer.is_some_and(|ending| ending < now + limit / 4 * 3);
        Self { operation, limit, deadline, is_late, is_short, timer: None, server, runtime }
    }
}

impl<T, F: Future<Output = Result<T>>> Future for Bounded<'_, F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.is_late {
            return Poll::Ready(Err(timed_out(this.server, *this.limit).of_short_time()));
        }
        let blocking = may_block();
        if blocking {
            WAITING.set(Some(Waiting { deadline: Some(*this.deadline) }));
        }
        let (before, was_short) = (ENDING.replace(Some(*this.deadline)), IS_SHORT.replace(*this.is_short));
        let polled = this.operation.as_mut().poll(context);
        ENDING.set(before);
        IS_SHORT.set(was_short);
        if let Poll::Ready(result) = polled {
            if blocking {
                WAITING.set(Some(Waiting { deadline: None }));
            }
            return Poll::Ready(result);
        }
        // A blocked thread is its own timer; a task needs the runtime's.
        let over = if blocking {
            Instant::now() >= *this.deadline
        } else {
            let runtime = this.runtime.load();
            // Closed meanwhile: what it waits for fails by itself.
            let Some(runtime) = &*runtime else { return Poll::Pending };
            let _entered = runtime.handle().enter();
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until((*this.deadline).into())));
            timer.as_mut().poll(context).is_ready()
        };
        if !over {
            return Poll::Pending;
        }
        // The deadline may have passed since it was polled: it ends its parts itself, and keeps what it has of them.
        let (before, was_short) = (ENDING.replace(Some(*this.deadline)), IS_SHORT.replace(*this.is_short));
        let polled = this.operation.poll(context);
        let late = timed_out(this.server, *this.limit);
        ENDING.set(before);
        IS_SHORT.set(was_short);
        if blocking {
            WAITING.set(Some(Waiting { deadline: None }));
        }
        match polled {
            Poll::Pending => Poll::Ready(Err(late)),
            ended => ended,
        }
    }
}

pin_project! {
    /// A part of a call that may end before the whole. Returns `None` if its time is over.
    pub struct Until<F> {
        #[pin]
        part: F,
        end: Instant,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> Until<F> {
    /// Runs a part that ends by `end`.
    pub fn new(end: Instant, part: F) -> Self {
        Self { part, end, timer: None }
    }
}

impl<T, F: Future<Output = T>> Future for Until<F> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        let (before, ending) = (WAITING.get(), ENDING.get());
        if let Some(waiting) = before {
            // The thread parks no longer than that; the whole sets its own again when it is polled.
            let earliest = waiting.deadline.map_or(*this.end, |deadline| deadline.min(*this.end));
            WAITING.set(Some(Waiting { deadline: Some(earliest) }));
        }
        ENDING.set(Some(ending.map_or(*this.end, |ending| ending.min(*this.end))));
        let polled = this.part.poll(context).map(Some);
        ENDING.set(ending);
        let polled = match (polled, before) {
            (Poll::Pending, _) if Instant::now() >= *this.end => Poll::Ready(None),
            // At the end of the whole it is polled anyway; and a task that is polled outside of the runtime, inside again.
            (Poll::Pending, None) if ending != Some(*this.end) && Handle::try_current().is_ok() => {
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until((*this.end).into())));
                timer.as_mut().poll(context).map(|()| None)
            }
            (polled, _) => polled,
        };
        if polled.is_ready() {
            WAITING.set(before);
        }
        polled
    }
}

/// Waits between two attempts, at most until the deadline.
pub async fn pause(time: Duration) {
    match WAITING.get() {
        None => sleep(time).await,
        Some(Waiting { deadline }) => {
            let left = deadline.map_or(time, |deadline| deadline.saturating_duration_since(Instant::now()));
            thread::sleep(time.min(left));
        }
    }
}

/// Returns the error of a call whose deadline has passed.
#[cold]
pub fn timed_out(server: &str, limit: Duration) -> Error {
    let text = format!(
        "{server}: no answer within {limit:?} (socket_timeout): the server is slow, stopped or out of reach; check it and the network, or raise socket_timeout"
    );
    let error = Error::new(ErrorKind::Timeout, text);
    if IS_SHORT.get() { error.of_short_time() } else { error }
}
