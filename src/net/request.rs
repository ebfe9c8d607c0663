//! Requests in flight: the permit that each holds, and the future that becomes its reply.
//!
//! A caller's thread drives the connection until its reply has come, or for a moment; a task waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::lock;

/// A request whose replies are still to come, or have come.
pub struct Request {
    slot: Mutex<Slot>,
    /// True if its caller's thread can lead the connection.
    pub blocking: bool,
    cancelled: AtomicBool,
}

enum Slot {
    Waiting(Option<Waker>),
    /// The caller no longer waits; the replies are still to come.
    Cancelled,
    Done(Result<Vec<u8>>),
    Taken,
}

impl Request {
    pub fn new(blocking: bool) -> Self {
        Self { slot: Mutex::new(Slot::Waiting(None)), blocking, cancelled: AtomicBool::new(false) }
    }

    /// Completes the request with its replies or an error; returns whether its caller still waited.
    pub fn complete(&self, result: Result<Vec<u8>>) -> bool {
        // The lock is released first: the woken caller takes it at once.
        let before = std::mem::replace(&mut *self.lock(), Slot::Done(result));
        let wanted = !matches!(before, Slot::Cancelled);
        if let Slot::Waiting(Some(waker)) = before {
            waker.wake();
        }
        wanted
    }

    /// Cancels the request; false if it is complete already. `count` is raised before this returns true, and before the
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

    /// Wakes the caller before its replies have come, so that it leads.
    pub fn wake(&self) {
        let waker = match &*self.lock() {
            Slot::Waiting(waker) => waker.clone(),
            _ => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns whether the request is neither complete nor cancelled.
    pub fn is_waiting(&self) -> bool {
        matches!(*self.lock(), Slot::Waiting(_))
    }

    /// Returns whether a caller still waits for the replies.
    pub fn is_awaited(&self) -> bool {
        !self.cancelled.load(Relaxed)
    }

    /// Returns the replies if they have come, and keeps the waker if not.
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

    fn lock(&self) -> MutexGuard<'_, Slot> {
        lock(&self.slot)
    }
}

/// The replies to one request, as they were received.
pub struct RawReplies {
    /// Whole replies, one after another, as many as the request expects.
    pub bytes: Vec<u8>,
    /// The connection that they came from.
    pub connection: Arc<Connection>,
}

/// A future of the replies to a request. Dropping it cancels the request: its replies are discarded when they come.
pub struct PendingReply {
    connection: Arc<Connection>,
    request: Arc<Request>,
    context: CallContext,
}

impl PendingReply {
    pub(super) fn new(context: CallContext, connection: Arc<Connection>, request: Arc<Request>) -> Self {
        Self { connection, request, context }
    }

    /// Awaits the reply as a part of the call that sent the request: the thread of a caller leads until the part ends.
    #[must_use]
    pub fn within(mut self, part: CallContext) -> Self {
        self.context = part;
        self
    }

    fn finish(&self, result: Result<Vec<u8>>) -> Result<RawReplies> {
        result.map(|bytes| RawReplies { bytes, connection: Arc::clone(&self.connection) })
    }

    /// Drives the connection until the reply has come, until the caller's deadline, or until the call is cancelled;
    /// pending while another leads. After the deadline, a reply that has come is still taken.
    fn block(&self, waker: &Waker) -> Poll<Result<RawReplies>> {
        loop {
            if let Some(result) = self.request.take(waker) {
                return Poll::Ready(self.finish(result));
            }
            if self.context.is_cancelled() {
                // The token of the call ends it, when the thread polls it again.
                waker.wake_by_ref();
                return Poll::Pending;
            }
            let is_over = self.context.is_over();
            if !self.connection.drive_until(self.context, &self.request) {
                return Poll::Pending;
            }
            if is_over {
                return self.request.take(waker).map_or(Poll::Pending, |result| Poll::Ready(self.finish(result)));
            }
        }
    }

    /// Drives the connection for a moment on a thread that must not block, if another does not lead. The connection's own
    /// task continues.
    fn drive_briefly(&self, waker: &Waker) -> Poll<Result<RawReplies>> {
        if self.request.is_waiting()
            && let Some(end) = self.context.drives_until()
        {
            self.connection.drive_for_a_moment(end, self.context.spins(), &self.request);
        }
        match self.request.take(waker) {
            Some(result) => Poll::Ready(self.finish(result)),
            None => {
                self.connection.task_wakeup.notify_one();
                Poll::Pending
            }
        }
    }
}

impl Future for PendingReply {
    type Output = Result<RawReplies>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.context.may_block() {
            return self.block(context.waker());
        }
        if self.context.was_driven() {
            return self.drive_briefly(context.waker());
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

/// The requests in flight to one server, and their limits.
pub struct InFlight {
    max_requests: u64,
    max_bytes: u64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// The permit of one request. It is released when the replies have come, or cannot come any more.
pub struct Permit {
    in_flight: Arc<InFlight>,
    bytes: u64,
}

impl InFlight {
    pub fn new(max_requests: u64, max_bytes: u64) -> Self {
        Self { max_requests, max_bytes, requests: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Returns the number of requests in flight.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Acquires a permit for a request. A lone request may be of any size.
    pub fn acquire(self: &Arc<Self>, server: &str, bytes: usize) -> Result<Permit> {
        let bytes = bytes as u64;
        let requests = self.requests.fetch_add(1, Relaxed) + 1;
        let taken = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        // Made first, so that a refusal releases it.
        let permit = Permit { in_flight: Arc::clone(self), bytes };
        if requests > self.max_requests {
            return Err(full(server, "requests", self.max_requests, "max_pending"));
        }
        if taken > self.max_bytes && requests > 1 {
            return Err(full(server, "bytes", self.max_bytes, "max_pending_bytes"));
        }
        Ok(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.requests.fetch_sub(1, Relaxed);
        self.in_flight.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cold]
fn full(server: &str, what: &str, most: u64, option: &str) -> Error {
    let text =
        format!("{server}: {most} {what} are in flight already ({option}); send less at once, or raise the option");
    Error::new(ErrorKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_refuses_until_a_permit_is_released() {
        let in_flight = Arc::new(InFlight::new(2, 100));
        let large = in_flight.acquire("s", 1000).unwrap();
        assert_eq!(in_flight.acquire("s", 1).err().unwrap().kind(), ErrorKind::Busy);
        drop(large);
        let _two = (in_flight.acquire("s", 40).unwrap(), in_flight.acquire("s", 40).unwrap());
        assert!(in_flight.acquire("s", 1).err().unwrap().message().contains("max_pending"));
        assert_eq!(in_flight.requests(), 2);
    }
}
