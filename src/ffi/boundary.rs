//! Wraps every export: a panic does not leave the library, every failure becomes a status and an error, and the
//! cancellation (`pthread_cancel`) of a thread inside a call is deferred until the call returns.
//!
//! A cancellation would unwind through frames of Rust, which ends the process. Calls that the memory backend answers
//! reach no cancellation point, and have no cost here.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::{BoxFuture, Either};

use super::error::{status_of, yc_error, yc_status};
use crate::backend::OpFuture;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::exec::cancel::CancelToken;
use crate::exec::context::CallContext;

/// Runs the body of the export `name` and hands its error to the caller.
#[inline]
pub(super) unsafe fn call(
    name: &'static str,
    err: *mut *mut yc_error,
    body: impl FnOnce() -> Result<yc_status>,
) -> yc_status {
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Error::panicked(name, payload))) {
        Ok(status) => {
            if !err.is_null() {
                // SAFETY: not NULL, and the caller's to be written.
                unsafe { err.write(std::ptr::null_mut()) };
            }
            status
        }
        // SAFETY: the caller's `err`, handed on.
        Err(error) => unsafe { report(&error, err) },
    }
}

/// Does the same as `call` for functions that may block or make a system call that is a cancellation point.
pub(super) unsafe fn call_uncancelled(
    name: &'static str,
    err: *mut *mut yc_error,
    body: impl FnOnce() -> Result<yc_status>,
) -> yc_status {
    let _uncancelled = Uncancelled::begin();
    // SAFETY: the caller's arguments, handed on.
    unsafe { call(name, err, body) }
}

/// Writes the error to the caller and returns its status.
#[cold]
unsafe fn report(error: &Error, err: *mut *mut yc_error) -> yc_status {
    if !err.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { err.write(yc_error::into_raw(error)) };
    }
    status_of(error.kind())
}

/// Frees an object of `into_raw`. A panic of its destructor does not leave the library.
pub(super) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        let _uncancelled = Uncancelled::begin();
        // SAFETY: made by Box::into_raw, and released once, as the header asks.
        let owned = unsafe { Box::from_raw(handle) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(owned))) {
            std::mem::forget(payload);
        }
    }
}

#[cfg(target_vendor = "apple")]
const DISABLE: c_int = 0;
#[cfg(not(target_vendor = "apple"))]
const DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Defers the cancellation of its thread while it exists.
pub(super) struct Uncancelled {
    before: c_int,
    /// The guard belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Uncancelled {
    pub(super) fn begin() -> Self {
        let mut before = DISABLE;
        // SAFETY: the function changes the calling thread alone, and writes to a variable of ours.
        unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
        Self { before, _not_send: PhantomData }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        let mut ours = DISABLE;
        // SAFETY: as above; the thread is the same, as the guard is not Send.
        unsafe { pthread_setcancelstate(self.before, &raw mut ours) };
    }
}

/// Returns the result of a backend, and waits for it if necessary.
#[inline(always)]
pub(super) fn answer<'a, T>(operation: impl FnOnce(CallContext) -> OpFuture<'a, T>) -> Result<T> {
    match operation(CallContext::thread()) {
        Either::Left(ready) => ready.into_inner(),
        Either::Right(on_its_way) => wait_uncancelled(on_its_way),
    }
}

#[inline(never)]
fn wait_uncancelled<T>(on_its_way: BoxFuture<'_, Result<T>>) -> Result<T> {
    let _uncancelled = Uncancelled::begin();
    crate::exec::blocking::finish(Either::Right(on_its_way))
}

/// Runs an operation of a cache to its end.
#[inline]
pub(super) fn wait<F: Future>(cache: &Cache, operation: impl FnOnce(CallContext) -> F) -> F::Output {
    let _uncancelled = (!cache.answers_at_once()).then(Uncancelled::begin);
    crate::exec::blocking::wait(operation)
}

/// Runs an operation of a cache to its end, or until the token is cancelled.
pub(super) fn wait_cancellable<F: Future>(
    token: &CancelToken,
    operation: impl FnOnce(CallContext) -> F,
) -> Result<F::Output> {
    let _uncancelled = Uncancelled::begin();
    crate::exec::blocking::wait_cancellable(token, operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_before_is_restored() {
        let enabled = 1 - DISABLE;
        let outer = Uncancelled::begin();
        let inner = Uncancelled::begin();
        assert_eq!((outer.before, inner.before), (enabled, DISABLE));
        drop(inner);
        drop(outer);
        assert_eq!(Uncancelled::begin().before, enabled);
    }
}
