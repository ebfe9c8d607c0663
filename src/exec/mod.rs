//! Execution: who polls an operation and until when, the runtime's one thread, and what a fork means for both.
//!
//! A caller's thread polls its own operation and may block ([`blocking`]); the tasks of a queue run on the runtime and
//! may not. A [`context::CallContext`] is passed to everything that a call runs: it says which of the two polls it, and
//! when the call ends.

pub mod backoff;
pub mod blocking;
pub mod cancel;
pub mod context;
pub(crate) mod fork;
mod parker;
pub mod runtime;
pub(crate) mod thread;

use futures_util::future::{BoxFuture, Either, Ready, ready};

use crate::error::Result;

/// The future of an operation: ready (memory: no allocation, no runtime) or under way.
pub type OpFuture<'a, T> = Either<Ready<Result<T>>, BoxFuture<'a, Result<T>>>;

/// Returns the future of an operation that is done.
#[inline]
pub fn done<'a, T>(outcome: Result<T>) -> OpFuture<'a, T> {
    Either::Left(ready(outcome))
}

/// Returns the future of an operation that is under way.
pub fn pending<'a, T>(outcome: impl Future<Output = Result<T>> + Send + 'a) -> OpFuture<'a, T> {
    Either::Right(Box::pin(outcome))
}
