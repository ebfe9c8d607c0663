//! Who polls a future: a caller's own thread, which may be blocked until a deadline, or a task, which may not.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, sleep_until};

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    /// When the operation that is polled now has to be over, whoever polls it.
    static ENDING: Cell<Option<Instant>> = const { Cell::new(None) };
    static WAITING: Cell<Option<Waiting>> = const { Cell::new(None) };
    /// Made once a thread: waking is one futex, and costs no allocation a call.
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// A caller's thread that waits for an answer.
#[derive(Clone, Copy)]
struct Waiting {
    deadline: Option<Instant>,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Puts back what was before: a log callback may call the library from inside a call.
struct Restore(Option<Waiting>);

impl Drop for Restore {
    fn drop(&mut self) {
        WAITING.set(self.0);
    }
}

/// Runs `poll` as a caller that may be blocked, with a waker that unparks this thread.
pub fn blocking<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let _restore = Restore(WAITING.replace(Some(Waiting { deadline: None })));
    let waker = WAKER.try_with(Waker::clone).unwrap_or_else(|_| Waker::from(Arc::new(Unpark(thread::current()))));
    poll(&mut Context::from_waker(&waker))
}

/// Whether the future that asks may block the thread it is polled on.
pub fn may_block() -> bool {
    WAITING.get().is_some()
}

/// When the call of this thread has to be over; `None`: no call, or no end.
pub fn deadline() -> Option<Instant> {
    WAITING.get().and_then(|waiting| waiting.deadline)
}

/// When the operation that is polled now has to be over, by a thread or as a task.
pub fn call_deadline() -> Option<Instant> {
    ENDING.get()
}

/// Parks this thread until it is woken, or its deadline.
pub fn park() {
    match deadline() {
        None => thread::park(),
        Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

pin_project! {
    /// An operation with one deadline for all it does: queueing, connecting, retries.
    pub struct Bounded<'a, F> {
        #[pin]
        operation: F,
        limit: Duration,
        deadline: Instant,
        timer: Option<Pin<Box<Sleep>>>,
        server: &'a str,
        runtime: &'a Handle,
    }
}

impl<'a, F> Bounded<'a, F> {
    /// An operation on a server, which ends within `limit`.
    pub fn new(limit: Duration, runtime: &'a Handle, server: &'a str, operation: F) -> Self {
        Self { operation, limit, deadline: Instant::now() + limit, timer: None, server, runtime }
    }
}

impl<T, F: Future<Output = Result<T>>> Future for Bounded<'_, F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let blocking = may_block();
        if blocking {
            WAITING.set(Some(Waiting { deadline: Some(*this.deadline) }));
        }
        let before = ENDING.replace(Some(*this.deadline));
        let polled = this.operation.poll(context);
        ENDING.set(before);
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
            let _entered = this.runtime.enter();
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until((*this.deadline).into())));
            timer.as_mut().poll(context).is_ready()
        };
        if over { Poll::Ready(Err(timed_out(this.server, *this.limit))) } else { Poll::Pending }
    }
}

pin_project! {
    /// A part of an operation that may end before the whole does: `None` when its time is over.
    pub struct Until<'a, F> {
        #[pin]
        part: F,
        end: Instant,
        timer: Option<Pin<Box<Sleep>>>,
        runtime: &'a Handle,
    }
}

impl<'a, F> Until<'a, F> {
    /// A part that ends by `end`.
    pub fn new(end: Instant, runtime: &'a Handle, part: F) -> Self {
        Self { part, end, timer: None, runtime }
    }
}

impl<T, F: Future<Output = T>> Future for Until<'_, F> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut this = self.project();
        if may_block() {
            // Nobody else would wake the thread at this end.
            let _restore = Restore(WAITING.replace(Some(Waiting { deadline: Some(*this.end) })));
            loop {
                match this.part.as_mut().poll(context) {
                    Poll::Ready(answer) => return Poll::Ready(Some(answer)),
                    Poll::Pending if Instant::now() >= *this.end => return Poll::Ready(None),
                    Poll::Pending => park(),
                }
            }
        }
        if let Poll::Ready(answer) = this.part.poll(context) {
            return Poll::Ready(Some(answer));
        }
        let _entered = this.runtime.enter();
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until((*this.end).into())));
        timer.as_mut().poll(context).map(|()| None)
    }
}

/// Waits a while between two attempts, at most until the deadline.
pub async fn pause(time: Duration) {
    match WAITING.get() {
        None => sleep(time).await,
        Some(Waiting { deadline }) => {
            let left = deadline.map_or(time, |deadline| deadline.saturating_duration_since(Instant::now()));
            thread::sleep(time.min(left));
        }
    }
}

/// The error of a call whose deadline passed.
#[cold]
pub fn timed_out(server: &str, limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!(
            "{server}: no answer within {limit:?} (socket_timeout): the server is slow, stopped or out of reach; check it and the network, or raise socket_timeout"
        ),
    )
}
