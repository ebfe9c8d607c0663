//! Conditional operations on one entry, and counters.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use super::arguments::{bytes, out, slices, yc_slice};
use super::cache::{with_cache, yc_cache};
use super::error::yc_error;
use super::error::{YC_MISS, YC_OK, YC_UNMET, yc_status};
use super::trace::call;
use super::value::yc_value;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Addition, NewEntry, Operation, Outcome, SetCondition};
use crate::ttl::Ttl;

/// Condition of yc_set_if(): the key does not exist.
pub const YC_IF_ABSENT: i32 = 1;
/// Condition of yc_set_if(): the key exists.
pub const YC_IF_PRESENT: i32 = 2;
/// Condition of yc_set_if(): the key has the entry of this version.
pub const YC_IF_VERSION: i32 = 3;

/// Returns the condition of a number and a version.
pub(super) fn set_condition(condition: i32, version: u64) -> Result<SetCondition> {
    match condition {
        YC_IF_ABSENT => Ok(SetCondition::Absent),
        YC_IF_PRESENT => Ok(SetCondition::Present),
        YC_IF_VERSION => Ok(SetCondition::Version(version)),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!("condition is {condition}; it must be YC_IF_ABSENT (1), YC_IF_PRESENT (2) or YC_IF_VERSION (3)"),
        )),
    }
}

/// Returns an output place that the caller may leave out.
unsafe fn place<'a, T>(place: *mut T) -> Option<&'a mut MaybeUninit<T>> {
    // SAFETY: the caller promises a valid place, or NULL.
    unsafe { place.cast::<MaybeUninit<T>>().as_mut() }
}

/// Reads the value of a key and the version of its entry. Each set gives the
/// entry of a key another version, also a set of the same value. A change of the
/// time to live keeps the version. A version is valid for its key in its store:
/// after a switch or a migration the entry has another one.
///
/// Returns:
/// - YC_OK: *value is the value, which the caller frees with yc_value_free();
///   *version is the version.
/// - YC_MISS: the key does not exist. Nothing is written.
/// - Errors: see yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_versioned(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    value: *mut *mut yc_value,
    version: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_get_versioned", cache, err, |cache| {
            let (key, value, version) = (bytes(key, key_len, "key")?, out(value, "value")?, out(version, "version")?);
            let Outcome::Versioned(found, of) = call(cache, Operation::GetVersioned { key })? else {
                return Ok(YC_MISS);
            };
            value.write(yc_value::into_raw(found));
            version.write(of);
            Ok(YC_OK)
        })
    }
}

/// Stores a value as yc_set() does, if a condition holds: YC_IF_ABSENT,
/// YC_IF_PRESENT or YC_IF_VERSION with the version that yc_get_versioned() or an
/// earlier yc_set_if() reported. A key is absent if yc_get() would return
/// YC_MISS. Comparison and set are one step: of several callers with the same
/// version, one succeeds. new_version may be NULL.
///
/// Returns:
/// - YC_OK: the value was stored. *new_version is the version of the new entry.
/// - YC_UNMET: the condition does not hold. Nothing changed or was written.
/// - YC_E_TIMEOUT: no reply came; the value may have been stored. The library
///   does not repeat the call.
/// - YC_E_BUSY: other callers changed the key at each attempt. Nothing changed.
/// - YC_E_UNSUPPORTED: see YC_CAN_COMPARE.
/// - Other errors: YC_E_INVALID for an unknown condition; see yc_set().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_set_if(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    ttl_ms: i64,
    tags: *const yc_slice,
    n_tags: usize,
    condition: i32,
    version: u64,
    new_version: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_set_if", cache, err, |cache| {
            let (key, value) = (bytes(key, key_len, "key")?, bytes(value, value_len, "value")?);
            let (tags, condition) = (slices(tags, n_tags, "tags")?, set_condition(condition, version)?);
            let ttl = cache.resolve(Ttl::from_millis(ttl_ms)?);
            let entry = NewEntry { key, value, ttl, tags: &tags };
            let Outcome::Version(stored) = call(cache, Operation::SetIf { entry, condition })? else {
                return Ok(YC_UNMET);
            };
            place(new_version).map(|place| place.write(stored));
            Ok(YC_OK)
        })
    }
}

/// Deletes a key if its entry has this version.
///
/// Returns:
/// - YC_OK: the entry was deleted.
/// - YC_UNMET: the entry has another version. Nothing changed.
/// - YC_MISS: the key does not exist.
/// - Errors: see yc_set_if().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_delete_if(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    version: u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_delete_if", cache, err, |cache| {
            let key = bytes(key, key_len, "key")?;
            Ok(match call(cache, Operation::DeleteIf { key, version })? {
                Outcome::Done => YC_OK,
                Outcome::Unmet => YC_UNMET,
                _ => YC_MISS,
            })
        })
    }
}

/// Reads the value of a key and sets a new time to live for it, as one step.
/// Value, tags and version stay. ttl_ms: see yc_set().
///
/// Returns:
/// - YC_OK: *value is the value. The caller frees it with yc_value_free().
/// - YC_MISS: the key does not exist. *value is not written.
/// - Errors: see yc_set_if().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_and_expire(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    ttl_ms: i64,
    value: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_get_and_expire", cache, err, |cache| {
            let (key, place) = (bytes(key, key_len, "key")?, out(value, "value")?);
            let ttl = cache.resolve(Ttl::from_millis(ttl_ms)?);
            let Outcome::Value(value) = call(cache, Operation::GetAndExpire { key, ttl })? else {
                return Ok(YC_MISS);
            };
            place.write(yc_value::into_raw(value));
            Ok(YC_OK)
        })
    }
}

/// Adds delta, which may be negative, to the counter of a key, as one step. A
/// counter that does not exist begins with initial and lives for ttl_ms from
/// then on (see yc_set()); an addition changes neither its time to live nor its
/// tags. The value of a counter is its number in decimal digits: every function
/// on entries works on it, and an entry with such a value is a counter. value may
/// be NULL.
///
/// Returns:
/// - YC_OK: *value is the sum.
/// - YC_E_INVALID: the value of the key is not a number, or the sum does not fit
///   in 64 bits. Nothing changed.
/// - YC_E_TIMEOUT: no reply came; delta may have been added. The library does not
///   repeat the call.
/// - Other errors: see yc_set_if().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_counter_add(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    delta: i64,
    initial: i64,
    ttl_ms: i64,
    value: *mut i64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_counter_add", cache, err, |cache| {
            let key = bytes(key, key_len, "key")?;
            let ttl = cache.resolve(Ttl::from_millis(ttl_ms)?);
            let sum = call(cache, Operation::CounterAdd(Addition { key, delta, initial, ttl, tags: &[] }))?;
            if let (Outcome::Number(sum), Some(place)) = (sum, place(value)) {
                place.write(sum);
            }
            Ok(YC_OK)
        })
    }
}
