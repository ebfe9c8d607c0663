//! `yc_error`: an error that the caller owns.

use std::ffi::{CString, c_char};

use super::boundary;
use super::status::{YC_OK, status_of, yc_status};
use crate::error::Error;

/// An error: a status, a message, and a flag that tells whether a retry can
/// succeed. Every function that can fail has a last parameter `yc_error **err`,
/// which may be NULL. If it is not NULL, every call writes *err: an error if the
/// status is negative, else NULL. The caller frees the error with
/// yc_error_free(). An error is immutable: any thread may read it.
pub struct yc_error {
    status: yc_status,
    retryable: bool,
    message: CString,
}

impl yc_error {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(error: &Error) -> *mut Self {
        let text = error.message().replace('\0', "\\0");
        Box::into_raw(Box::new(Self {
            status: status_of(error.kind()),
            retryable: error.is_retryable(),
            message: CString::new(text).unwrap_or_default(),
        }))
    }
}

/// Returns the status of an error, or YC_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_status(error: *const yc_error) -> yc_status {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(YC_OK, |error| error.status)
}

/// Returns the message of an error: one line of UTF-8 that names the object that
/// failed, the cause and the remedy. It never contains a password or a value.
/// The error owns the string. Returns "" for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_message(error: *const yc_error) -> *const c_char {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Returns 1 if the same call may succeed later without a change by the caller,
/// else 0. Returns 0 for NULL. An error with YC_E_SERVER is retryable if the
/// state of the server is temporary (LOADING, CLUSTERDOWN, TRYAGAIN, READONLY,
/// MASTERDOWN, BUSY, MISCONF, NOREPLICAS, or a Memcached server that is busy).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_retryable(error: *const yc_error) -> i32 {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(0, |error| i32::from(error.retryable))
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_free(error: *mut yc_error) {
    // SAFETY: the caller hands NULL or an error of ours, once.
    unsafe { boundary::free(error) }
}
