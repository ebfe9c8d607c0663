//! `yc_results`: the results of an operation on many keys in a queue.

use std::ptr::{null, null_mut};

use super::boundary;
use super::entry::hit;
use super::status::{YC_OK, status_of, yc_status};
use super::value::{yc_value, yc_value_free};
use crate::error::{Error, Result};
use crate::operation::Outcome;

/// The results of yc_queue_get_many(), yc_queue_set_many() or
/// yc_queue_delete_many(), in the order of the keys. They are immutable: any
/// thread may read them. They remain valid after the cache is freed. The caller
/// frees them with yc_results_free().
pub struct yc_results {
    statuses: Vec<yc_status>,
    values: Vec<*mut yc_value>,
}

impl yc_results {
    /// Returns the results as the caller owns them, and the first failure among them.
    pub(super) fn into_raw(outcomes: impl Iterator<Item = Result<Outcome>>) -> (*mut Self, Option<Error>) {
        let (mut failure, mut results) = (None, Self { statuses: Vec::new(), values: Vec::new() });
        for outcome in outcomes {
            let (status, value) = result(outcome, &mut failure);
            results.statuses.push(status);
            results.values.push(value);
        }
        (Box::into_raw(Box::new(results)), failure)
    }
}

/// Returns the status and the value of one of many keys as the caller owns them, and keeps the first failure.
pub(super) fn result(outcome: Result<Outcome>, failure: &mut Option<Error>) -> (yc_status, *mut yc_value) {
    match outcome {
        Ok(Outcome::Value(value)) => (YC_OK, yc_value::into_raw(value)),
        Ok(outcome) => (hit(&outcome), null_mut()),
        Err(error) => {
            let status = status_of(error.kind());
            failure.get_or_insert(error);
            (status, null_mut())
        }
    }
}

impl Drop for yc_results {
    fn drop(&mut self) {
        for value in self.values.drain(..) {
            // SAFETY: NULL or a value of ours, which nobody else releases.
            unsafe { yc_value_free(value) };
        }
    }
}

/// Returns the status of each key (YC_OK, YC_MISS or a failure) and writes their
/// number to *count. count may be NULL. The results own the array. For NULL the
/// function returns NULL and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_results_statuses(results: *const yc_results, count: *mut usize) -> *const yc_status {
    // SAFETY: the caller hands NULL or live results of ours, and a place or NULL.
    unsafe { list(results.as_ref().map(|results| results.statuses.as_slice()), count) }
}

/// Returns the value of each key, NULL for a key without a value, and writes
/// their number to *count. count may be NULL. The results own the array and the
/// values; use yc_value_clone() to keep a value. For NULL the function returns
/// NULL and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_results_values(results: *const yc_results, count: *mut usize) -> *const *const yc_value {
    // SAFETY: as above; what the caller reads it may not change.
    unsafe { list(results.as_ref().map(|results| results.values.as_slice()), count) }.cast()
}

/// Returns a list for C and writes its length.
unsafe fn list<T>(items: Option<&[T]>, count: *mut usize) -> *const T {
    if !count.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { count.write(items.map_or(0, <[T]>::len)) };
    }
    items.map_or(null(), <[T]>::as_ptr)
}

/// Frees results and their values. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_results_free(results: *mut yc_results) {
    // SAFETY: the caller hands NULL or results of ours, once.
    unsafe { boundary::free(results) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn each_key_that_failed_has_a_status_of_its_own() {
        let kinds = [ErrorKind::Connect, ErrorKind::Timeout];
        let outcomes = kinds.map(|kind| Err(Error::new(kind, "a failure")));
        let (results, first) = yc_results::into_raw(outcomes.into_iter());
        // SAFETY: results of ours, which nobody else releases.
        let results = unsafe { Box::from_raw(results) };
        assert_eq!(results.statuses, kinds.map(status_of));
        assert_eq!(first.map(|error| error.kind()), Some(ErrorKind::Connect));
    }
}
