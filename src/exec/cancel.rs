//! Cancels a call on a caller's own thread from another thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Poll;

use futures_util::task::AtomicWaker;

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    /// The token of the call that this thread runs: a thread that leads a connection or sleeps looks at it.
    static CURRENT: RefCell<Option<Arc<State>>> = const { RefCell::new(None) };
}

/// Cancels one call at a time. A cancelled token also cancels every later call.
#[derive(Default)]
pub struct CancelToken(Arc<State>);

#[derive(Default)]
struct State {
    is_cancelled: AtomicBool,
    is_used: AtomicBool,
    waker: AtomicWaker,
}

/// The use of a token by a call of this thread. Restores the token of an outer call, such as one whose log callback calls
/// the library.
struct Use<'a> {
    token: &'a CancelToken,
    outer: Option<Arc<State>>,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer.take());
        self.token.0.waker.take();
        self.token.0.is_used.store(false, SeqCst);
    }
}

/// Returns true if the call of this thread that a token can cancel was cancelled.
pub fn is_cancelled() -> bool {
    CURRENT.with_borrow(|state| state.as_ref().is_some_and(|state| state.is_cancelled.load(SeqCst)))
}

impl CancelToken {
    /// Cancels the call that uses the token, and those that will.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, SeqCst);
        self.0.waker.wake();
    }

    /// Runs a call on this thread until it ends or is cancelled.
    pub async fn run<F: Future>(&self, call: F) -> Result<F::Output> {
        let _use = self.begin()?;
        let mut call = pin!(call);
        poll_fn(|context| {
            // Registered first: the call may lead a connection while it is polled.
            self.0.waker.register(context.waker());
            if self.0.is_cancelled.load(SeqCst) {
                return Poll::Ready(Err(cancelled()));
            }
            call.as_mut().poll(context).map(Ok)
        })
        .await
    }

    fn begin(&self) -> Result<Use<'_>> {
        if self.0.is_used.swap(true, SeqCst) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the token is in use by another call: use one token for each call",
            ));
        }
        Ok(Use { token: self, outer: CURRENT.replace(Some(self.0.clone())) })
    }
}

#[cold]
fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the call was cancelled; its operations may have been executed")
}
