//! Many keys in one call: one crossing here, one round trip per server.

use std::mem::MaybeUninit;

use super::arguments::{array, array_out, slices, yc_slice};
use super::cache::{with_cache, yc_cache};
use super::cancellation::wait;
use super::entry::hit;
use super::error::yc_error;
use super::status::{YC_MISS, YC_OK, status_of, yc_status};
use super::value::yc_value;
use crate::cache::SetRequest;
use crate::error::Result;
use crate::ttl::Ttl;
use crate::value::Value;

/// Writes the outcome of a refused call for each of its keys. An array that is NULL, or longer than a list of keys can
/// be, is not written.
unsafe fn fill<T: Copy>(places: *mut T, n: usize, refused: T) {
    if n > isize::MAX as usize / size_of::<yc_slice>() {
        return;
    }
    // SAFETY: the caller's array, which is not written yet.
    if let Ok(places) = unsafe { array_out(places, n, "the array") } {
        for place in places {
            place.write(refused);
        }
    }
}

/// Writes a status for each key; the call itself fails as the first that failed.
fn write_statuses(
    places: &mut [MaybeUninit<yc_status>],
    outcomes: impl Iterator<Item = Result<yc_status>>,
) -> Result<yc_status> {
    let mut places = places.iter_mut();
    let mut result = Ok(YC_OK);
    for outcome in outcomes {
        if let Some(place) = places.next() {
            place.write(outcome.as_ref().map_or_else(|error| status_of(error.kind()), |status| *status));
        }
        if result.is_ok() {
            result = outcome.map(|_| YC_OK);
        }
    }
    result
}

/// Reads n keys. values is an array of n places: each gets a value to be
/// released with yc_value_free(), or NULL. statuses (may be NULL) is an array
/// of n places: YC_OK, YC_MISS, or what went wrong with that key.
///
/// Returns YC_OK if every key was a hit or a miss. Otherwise it returns the
/// status and the error of the first key that failed. Both arrays are always
/// written, also when the deadline ends the call: a server that does not
/// answer fails only its own keys (YC_E_TIMEOUT), and keys that were answered
/// keep their outcome. If the call is refused (YC_E_INVALID,
/// YC_E_TOO_LARGE, YC_E_CLOSED, YC_E_FORKED), nothing is read: values holds
/// NULL and statuses holds that status for every key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_many(
    cache: *mut yc_cache,
    keys: *const yc_slice,
    n: usize,
    values: *mut *mut yc_value,
    statuses: *mut yc_status,
    err: *mut *mut yc_error,
) -> yc_status {
    let mut is_written = false;
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        let result = with_cache("yc_get_many", cache, err, |cache| {
            let keys = slices(keys, n, "keys")?;
            array(values, n, "values")?;
            let (values, statuses) = (array_out(values, n, "values")?, array_out(statuses, n, "statuses")?);
            let outcomes = wait(cache, cache.get_many(&keys))?;
            is_written = true;
            let handed = values.iter_mut().zip(outcomes).map(|(place, outcome)| hand_out(place, outcome));
            write_statuses(statuses, handed)
        });
        if result < 0 && !is_written {
            fill(values, n, std::ptr::null_mut());
            fill(statuses, n, result);
        }
        result
    }
}

fn hand_out(place: &mut MaybeUninit<*mut yc_value>, outcome: Result<Option<Value>>) -> Result<yc_status> {
    place.write(std::ptr::null_mut());
    let Some(value) = outcome? else { return Ok(YC_MISS) };
    place.write(yc_value::into_raw(value));
    Ok(YC_OK)
}

/// Stores n entries, keys[i] with values[i], all with one time to live and
/// the same tags (see yc_set(); yc_batch() takes different ones). statuses
/// (may be NULL) as in yc_get_many().
///
/// When one entry is refused (YC_E_INVALID, YC_E_TOO_LARGE) none is stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_set_many(
    cache: *mut yc_cache,
    keys: *const yc_slice,
    values: *const yc_slice,
    n: usize,
    ttl_ms: i64,
    tags: *const yc_slice,
    n_tags: usize,
    statuses: *mut yc_status,
    err: *mut *mut yc_error,
) -> yc_status {
    let mut is_written = false;
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        let result = with_cache("yc_set_many", cache, err, |cache| {
            let (keys, values) = (slices(keys, n, "keys")?, slices(values, n, "values")?);
            let (ttl, tags) = (Ttl::from_millis(ttl_ms)?, slices(tags, n_tags, "tags")?);
            let request = |(key, value)| SetRequest { key, value, ttl, tags: &tags };
            let requests: Vec<SetRequest> = keys.into_iter().zip(values).map(request).collect();
            let places = array_out(statuses, n, "statuses")?;
            let outcomes = wait(cache, cache.set_many(&requests))?;
            is_written = true;
            write_statuses(places, outcomes.into_iter().map(|outcome| outcome.map(|()| YC_OK)))
        });
        if result < 0 && !is_written {
            fill(statuses, n, result);
        }
        result
    }
}

/// Removes n keys. statuses (may be NULL) as in yc_get_many(): YC_OK was
/// there, YC_MISS was not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_delete_many(
    cache: *mut yc_cache,
    keys: *const yc_slice,
    n: usize,
    statuses: *mut yc_status,
    err: *mut *mut yc_error,
) -> yc_status {
    let mut is_written = false;
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        let result = with_cache("yc_delete_many", cache, err, |cache| {
            let (keys, places) = (slices(keys, n, "keys")?, array_out(statuses, n, "statuses")?);
            let outcomes = wait(cache, cache.delete_many(&keys))?;
            is_written = true;
            write_statuses(places, outcomes.into_iter().map(|outcome| outcome.map(hit)))
        });
        if result < 0 && !is_written {
            fill(statuses, n, result);
        }
        result
    }
}
