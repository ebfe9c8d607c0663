//! Many keys in one call, with one round trip per server.

use std::ptr::null_mut;

use super::arguments::{array, array_out, slices, yc_slice};
use super::cache::{with_cache, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use super::results::write_each;
use super::trace::call;
use super::value::yc_value;
use crate::cache::Cache;
use crate::error::Result;
use crate::operation::{NewEntry, Operation, Outcome};
use crate::ttl::Ttl;

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

/// The arrays that a call on many keys fills.
struct Places {
    n: usize,
    values: *mut *mut yc_value,
    statuses: *mut yc_status,
}

impl Places {
    /// Refuses arrays of an impossible length before anything is run.
    unsafe fn check(&self) -> Result<()> {
        // SAFETY: the caller's arrays.
        unsafe { array_out(self.values, self.n, "values").and(array_out(self.statuses, self.n, "statuses")).map(drop) }
    }

    /// Writes the outcome of each key. The call itself fails as the first key that failed.
    unsafe fn write(&self, outcome: Outcome) -> Result<yc_status> {
        // SAFETY: the caller's arrays, which are not written yet.
        let (values, statuses) =
            unsafe { (array_out(self.values, self.n, "values")?, array_out(self.statuses, self.n, "statuses")?) };
        let (mut values, mut statuses) = (values.iter_mut(), statuses.iter_mut());
        let failure = write_each(outcome, |status, value| {
            statuses.next().map(|place| place.write(status));
            values.next().map(|place| place.write(value));
        });
        failure.map_or(Ok(YC_OK), Err)
    }
}

/// Runs the body of the export `name`, which runs one operation and writes its outcome. If the call is refused, writes
/// that status for every key.
unsafe fn many(
    name: &'static str,
    cache: *mut yc_cache,
    err: *mut *mut yc_error,
    places: &Places,
    body: impl FnOnce(&Cache) -> Result<Outcome>,
) -> yc_status {
    let mut is_written = false;
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        let status = with_cache(name, cache, err, |cache| {
            let outcome = body(cache)?;
            is_written = true;
            places.write(outcome)
        });
        if status < 0 && !is_written {
            fill(places.values, places.n, null_mut());
            fill(places.statuses, places.n, status);
        }
        status
    }
}

/// Reads n keys. values is an array of n elements. The library sets each element
/// to a value, which the caller frees with yc_value_free(), or to NULL. statuses
/// is an array of n elements, or NULL. The library sets each element to YC_OK,
/// YC_MISS or the failure of that key.
///
/// Returns YC_OK if every key was a hit or a miss. Otherwise it returns the
/// status and the error of the first key that failed. Both arrays are always
/// written, even if the deadline ends the call: a server that does not reply
/// fails only its own keys (YC_E_TIMEOUT), and the other keys keep their outcome.
/// If the call is refused (YC_E_INVALID, YC_E_TOO_LARGE, YC_E_CLOSED,
/// YC_E_FORKED), nothing is read: every element of values is NULL, and every
/// element of statuses has that status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_many(
    cache: *mut yc_cache,
    keys: *const yc_slice,
    n: usize,
    values: *mut *mut yc_value,
    statuses: *mut yc_status,
    err: *mut *mut yc_error,
) -> yc_status {
    let places = Places { n, values, statuses };
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        many("yc_get_many", cache, err, &places, |cache| {
            let keys = slices(keys, n, "keys")?;
            array(values, n, "values")?;
            places.check()?;
            call(cache, Operation::GetMany { keys: &keys })
        })
    }
}

/// Returns entries with one time to live and the same tags.
pub(super) fn entries<'a>(
    cache: &Cache,
    keys: &[&'a [u8]],
    values: &[&'a [u8]],
    ttl: Ttl,
    tags: &'a [&'a [u8]],
) -> Vec<NewEntry<'a>> {
    let entry = |(key, value): (&&'a [u8], &&'a [u8])| NewEntry { key, value, ttl: cache.resolve(ttl), tags };
    keys.iter().zip(values).map(entry).collect()
}

/// Stores n entries: values[i] under keys[i]. All entries have the same time to
/// live and the same tags, see yc_set(); use yc_batch() for different ones.
/// statuses may be NULL, see yc_get_many().
///
/// If one entry is refused (YC_E_INVALID, YC_E_TOO_LARGE), no entry is stored.
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
    let places = Places { n, values: null_mut(), statuses };
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        many("yc_set_many", cache, err, &places, |cache| {
            let (keys, values) = (slices(keys, n, "keys")?, slices(values, n, "values")?);
            let (ttl, tags) = (Ttl::from_millis(ttl_ms)?, slices(tags, n_tags, "tags")?);
            places.check()?;
            let entries = entries(cache, &keys, &values, ttl, &tags);
            call(cache, Operation::SetMany { entries: &entries })
        })
    }
}

/// Deletes n keys. statuses may be NULL, see yc_get_many(): YC_OK if the key
/// existed, YC_MISS if it did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_delete_many(
    cache: *mut yc_cache,
    keys: *const yc_slice,
    n: usize,
    statuses: *mut yc_status,
    err: *mut *mut yc_error,
) -> yc_status {
    let places = Places { n, values: null_mut(), statuses };
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        many("yc_delete_many", cache, err, &places, |cache| {
            let keys = slices(keys, n, "keys")?;
            places.check()?;
            call(cache, Operation::DeleteMany { keys: &keys })
        })
    }
}
