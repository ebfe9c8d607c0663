//! `yc_results`: the results of an operation on many keys in a queue.

use std::ptr::{null, null_mut};

use super::boundary;
use super::error::{YC_MISS, YC_OK, status_of, yc_status};
use super::value::{yc_value, yc_value_free};
use crate::error::Error;
use crate::operation::Outcome;
use crate::value::Value;

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
    pub(super) fn into_raw(outcome: Outcome) -> (*mut Self, Option<Error>) {
        let mut results = Self { statuses: Vec::new(), values: Vec::new() };
        let failure = write_each(outcome, |status, value| {
            results.statuses.push(status);
            results.values.push(value);
        });
        (Box::into_raw(Box::new(results)), failure)
    }
}

/// Writes the status and the value of each of many keys as the caller owns them. Returns the first failure.
pub(super) fn write_each(outcome: Outcome, mut write: impl FnMut(yc_status, *mut yc_value)) -> Option<Error> {
    let mut failure = None;
    let mut failed = |error: Error| {
        let status = status_of(error.kind());
        failure.get_or_insert(error);
        (status, null_mut())
    };
    let mut write = |(status, value)| write(status, value);
    match outcome {
        Outcome::Values(values) => values.into_iter().for_each(|value| {
            let found = |it: Option<Value>| it.map_or((YC_MISS, null_mut()), |it| (YC_OK, yc_value::into_raw(it)));
            write(value.map_or_else(&mut failed, found));
        }),
        Outcome::Stored(entries) => entries.into_iter().for_each(|stored| {
            write(stored.map_or_else(&mut failed, |()| (YC_OK, null_mut())));
        }),
        Outcome::Deleted(keys) => keys.into_iter().for_each(|existed| {
            write(existed.map_or_else(&mut failed, |existed| (if existed { YC_OK } else { YC_MISS }, null_mut())));
        }),
        _ => {}
    }
    failure
}

impl Drop for yc_results {
    fn drop(&mut self) {
        for value in self.values.drain(..) {
            // SAFETY: NULL or a value of ours, which is released here only.
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
        let (results, first) = yc_results::into_raw(Outcome::Stored(outcomes.into()));
        // SAFETY: results of ours, which are released here only.
        let results = unsafe { Box::from_raw(results) };
        assert_eq!(results.statuses, kinds.map(status_of));
        assert_eq!(first.map(|error| error.kind()), Some(ErrorKind::Connect));
    }
}
