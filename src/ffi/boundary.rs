//! Wraps every export: a panic does not leave the library, and every failure becomes a status and an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::cancellation::Uncancelled;
use super::error::yc_error;
use super::status::{status_of, yc_status};
use crate::error::{Error, Result};

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
