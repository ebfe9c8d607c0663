//! `yc_error`: what went wrong, handed to the caller.

use std::ffi::{CString, c_char};

use super::boundary;
use super::status::{YC_OK, status_of, yc_status};
use crate::error::Error;

/// What went wrong: a status, a sentence, whether a retry can help. Every
/// function that can fail takes a trailing `yc_error **`, which may be NULL.
/// Where it is not NULL the library writes it on every call: NULL on success
/// and on a miss, or an error to release with yc_error_free(). Immutable:
/// any thread may read it.
pub struct yc_error {
    status: yc_status,
    retryable: bool,
    message: CString,
}

impl yc_error {
    /// The error as the caller owns it.
    pub(super) fn into_raw(error: &Error) -> *mut Self {
        let text = error.message().replace('\0', "\\0");
        Box::into_raw(Box::new(Self {
            status: status_of(error.kind()),
            retryable: error.is_retryable(),
            message: CString::new(text).unwrap_or_default(),
        }))
    }
}

/// The status of an error; YC_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_status(error: *const yc_error) -> yc_status {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(YC_OK, |error| error.status)
}

/// What happened, to which thing, and what to do about it: one line of UTF-8
/// that never holds a password or a value. Lives as long as the error; ""
/// for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_message(error: *const yc_error) -> *const c_char {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Returns 1 if the same call may succeed later with nothing changed by the
/// caller, else 0; 0 for NULL. An error with YC_E_SERVER is retryable if the
/// state of the server passes (LOADING, CLUSTERDOWN, TRYAGAIN, READONLY,
/// MASTERDOWN, BUSY, MISCONF, NOREPLICAS; a Memcached server that is busy).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_retryable(error: *const yc_error) -> i32 {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(0, |error| i32::from(error.retryable))
}

/// Releases an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_free(error: *mut yc_error) {
    // SAFETY: the caller hands NULL or an error of ours, once.
    unsafe { boundary::free(error) }
}
