//! The answer to a request: a future that a caller's thread leads to its end, and a task waits for.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::connection::Connection;
use crate::caller;
use crate::error::Result;

/// A request that waits for its replies.
pub struct Request {
    slot: Mutex<Slot>,
    /// Its caller's thread can lead the connection.
    pub blocking: bool,
    cancelled: AtomicBool,
}

enum Slot {
    Waiting(Option<Waker>),
    /// Its caller wants no answer any more; the replies are still to come.
    Cancelled,
    Done(Result<Vec<u8>>),
    Taken,
}

impl Request {
    pub fn new(blocking: bool) -> Self {
        Self { slot: Mutex::new(Slot::Waiting(None)), blocking, cancelled: AtomicBool::new(false) }
    }

    /// Hands over the replies, or why there are none; whether a caller still wanted them.
    pub fn complete(&self, result: Result<Vec<u8>>) -> bool {
        // The lock is given back first: who is woken takes it at once.
        let before = std::mem::replace(&mut *self.lock(), Slot::Done(result));
        let wanted = !matches!(before, Slot::Cancelled);
        if let Slot::Waiting(Some(waker)) = before {
            waker.wake();
        }
        wanted
    }

    /// Gives the answer up; false if it is there already. `count` has one more when this returns true, and before the
    /// replies can come.
    fn cancel(&self, count: &AtomicU32) -> bool {
        let mut slot = self.lock();
        let waits = matches!(*slot, Slot::Waiting(_));
        if waits {
            *slot = Slot::Cancelled;
            self.cancelled.store(true, Relaxed);
            count.fetch_add(1, Relaxed);
        }
        waits
    }

    /// Returns whether the caller's thread sleeps until it is woken. A caller that has not polled yet will try to lead
    /// by itself.
    pub fn is_parked(&self) -> bool {
        self.blocking && matches!(*self.lock(), Slot::Waiting(Some(_)))
    }

    /// Wakes whoever waits, though there is nothing yet: somebody has to lead.
    pub fn wake(&self) {
        let waker = match &*self.lock() {
            Slot::Waiting(waker) => waker.clone(),
            _ => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(*self.lock(), Slot::Waiting(_))
    }

    /// Whether anybody still wants the answer.
    pub fn is_awaited(&self) -> bool {
        !self.cancelled.load(Relaxed)
    }

    /// The replies if they are there; else the waker is kept for when they are.
    fn take(&self, waker: &Waker) -> Option<Result<Vec<u8>>> {
        let mut slot = self.lock();
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Done(result) => Some(result),
            Slot::Waiting(Some(known)) if known.will_wake(waker) => {
                *slot = Slot::Waiting(Some(known));
                None
            }
            _ => {
                *slot = Slot::Waiting(Some(waker.clone()));
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The replies to one request, as they came, one after another.
pub struct RawReplies {
    /// Whole replies, as many as were asked for.
    pub bytes: Vec<u8>,
    /// Where they came from.
    pub connection: Arc<Connection>,
}

/// Becomes the replies to a request. Dropped before, it leaves them to be discarded in their turn.
pub struct PendingReply {
    connection: Arc<Connection>,
    request: Arc<Request>,
}

impl PendingReply {
    pub(super) fn new(connection: Arc<Connection>, request: Arc<Request>) -> Self {
        Self { connection, request }
    }

    fn finish(&self, result: Result<Vec<u8>>) -> Result<RawReplies> {
        result.map(|bytes| RawReplies { bytes, connection: Arc::clone(&self.connection) })
    }

    /// Leads until it is answered, or the caller's deadline; pending while another leads.
    fn block(&self, waker: &Waker) -> Poll<Result<RawReplies>> {
        loop {
            if let Some(result) = self.request.take(waker) {
                return Poll::Ready(self.finish(result));
            }
            let over = caller::deadline().is_some_and(|deadline| deadline <= Instant::now());
            if over || !self.connection.drive_until(&self.request) {
                return Poll::Pending;
            }
        }
    }
}

impl Future for PendingReply {
    type Output = Result<RawReplies>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if caller::may_block() && self.request.blocking {
            return self.block(context.waker());
        }
        match self.request.take(context.waker()) {
            Some(result) => Poll::Ready(self.finish(result)),
            None => Poll::Pending,
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if self.request.cancel(&self.connection.cancelled) {
            self.connection.on_cancel();
        }
    }
}
