//! Operations on one entry.

use std::ffi::c_void;
use std::mem::{self, MaybeUninit};

use super::arguments::{array_out, bytes, out, slices, yc_slice};
use super::boundary::answer;
use super::cache::{with_cache, with_open_handle, yc_cache};
use super::error::{YC_MISS, YC_OK, yc_error, yc_status};
use super::trace::{begin, call, call_traced};
use super::value::yc_value;
use crate::backend::Hit;
use crate::cache::{Cache, CacheHandle};
use crate::error::{Error, ErrorKind, Result};
use crate::key::check_key;
use crate::operation::{NewEntry, Operation, Outcome};
use crate::ttl::Ttl;
use crate::value::Value;

/// Value of ttl_ms: use the default_ttl of the cache, varied by its ttl_jitter.
pub const YC_TTL_DEFAULT: i64 = -1;
/// Value of ttl_ms: the entry never expires.
pub const YC_TTL_NEVER: i64 = 0;

/// Returns the status of an operation on a key that may not exist.
#[inline]
fn hit(outcome: Outcome) -> yc_status {
    let status = if outcome.is_hit() { YC_OK } else { YC_MISS };
    // The code that frees an outcome costs as much as a check of the key, and these own nothing.
    if matches!(outcome, Outcome::Done | Outcome::Miss | Outcome::Remaining(_)) {
        mem::forget(outcome);
    }
    status
}

/// Runs an operation on a key that may not exist.
#[inline(always)]
fn run(cache: &Cache, operation: Operation<'_>) -> Result<yc_status> {
    call(cache, operation).map(hit)
}

/// Reads the value of a key without copying it. A key is 1 byte to 64 KiB of any
/// bytes.
///
/// Returns:
/// - YC_OK: *out is the value. The caller frees it with yc_value_free().
/// - YC_MISS: the key does not exist. *out is not written.
/// - Errors: YC_E_INVALID, YC_E_TOO_LARGE, and the errors of the backend. A
///   failure of the backend is never reported as a miss.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    out: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_open_handle("yc_get", cache, err, |handle| {
            let (key, place) = (bytes(key, key_len, "key")?, self::out(out, "out")?);
            let hit = handle.hit(key);
            let Some(value) = (if hit.is_some() { hit } else { read(handle, key)? }) else { return Ok(YC_MISS) };
            place.write(yc_value::into_raw(value));
            Ok(YC_OK)
        })
    }
}

/// Reads the value of a key into a buffer of the caller. cap is the size of the
/// buffer in bytes; buf may be NULL if cap is 0. The memory backend allocates no
/// memory in this call.
///
/// Returns:
/// - YC_OK: the value was copied. *len is its length.
/// - YC_MISS: the key does not exist. Nothing is written.
/// - YC_E_BUFFER_TOO_SMALL: *len is the required length. buf is not written. The
///   value may have another length in the next call.
/// - Other errors: see yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_into(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    buf: *mut c_void,
    cap: usize,
    len: *mut usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_open_handle("yc_get_into", cache, err, |handle| {
            let (key, len) = (bytes(key, key_len, "key")?, out(len, "len")?);
            bytes(buf, cap, "buf")?;
            let value = match handle.hit_into(key, buffer(buf, cap, key)?) {
                Some(Hit::Copied(copied)) => {
                    len.write(copied);
                    return Ok(YC_OK);
                }
                Some(Hit::Shared(value)) => Some(value),
                None => read(handle, key)?,
            };
            value.map_or(Ok(YC_MISS), |value| copy(&value, buf, cap, len))
        })
    }
}

/// Reads the value of a key into a buffer of the caller if the value is in the
/// memory of this process: that of the memory backend, or of a near cache (option
/// near). The call sends no request and never waits, so that an event loop may
/// use it. cap and buf: see yc_get_into().
///
/// Returns:
/// - YC_OK: the value was copied. *len is its length.
/// - YC_MISS: this process has no such value. On Redis and Memcached the key may
///   exist nevertheless: call yc_get(). A miss is not counted.
/// - YC_E_BUFFER_TOO_SMALL: see yc_get_into().
/// - YC_E_INVALID, YC_E_TOO_LARGE: the key is empty, or exceeds 64 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_near(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    buf: *mut c_void,
    cap: usize,
    len: *mut usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_open_handle("yc_get_near", cache, err, |handle| {
            let (key, len) = (bytes(key, key_len, "key")?, out(len, "len")?);
            bytes(buf, cap, "buf")?;
            match handle.near_into(key, buffer(buf, cap, key)?) {
                Some(Hit::Copied(copied)) => {
                    len.write(copied);
                    Ok(YC_OK)
                }
                Some(Hit::Shared(value)) => copy(&value, buf, cap, len),
                None => check_key(key).map(|()| YC_MISS),
            }
        })
    }
}

/// Returns the caller's buffer. It is empty if it overlaps the key: Rust may not write to what it reads.
#[inline(always)]
unsafe fn buffer<'a>(buf: *mut c_void, cap: usize, key: &[u8]) -> Result<&'a mut [MaybeUninit<u8>]> {
    let (key, start) = (key.as_ptr_range(), buf.cast_const().cast());
    let overlaps = start < key.end && key.start < start.wrapping_add(cap);
    // SAFETY: as the caller's promise for `array_out`; no reference to these bytes exists.
    unsafe { array_out(buf.cast(), if overlaps { 0 } else { cap }, "buf") }
}

/// Reads a key that is no hit of the short way.
#[inline(never)]
fn read(handle: &CacheHandle, key: &[u8]) -> Result<Option<Value>> {
    handle.read(|cache| match begin(cache, &Operation::Get { key }) {
        None => answer(|context| cache.get(context, key)),
        Some(span) => call_traced(cache, Operation::Get { key }, span).map(|outcome| match outcome {
            Outcome::Value(value) => Some(value),
            _ => None,
        }),
    })
}

/// Copies a value to the caller's buffer, if that has room for it, and writes its length.
unsafe fn copy(value: &Value, buf: *mut c_void, cap: usize, len: &mut MaybeUninit<usize>) -> Result<yc_status> {
    let value = value.as_bytes();
    len.write(value.len());
    if value.len() > cap {
        return Err(too_small(value.len(), cap));
    }
    if !value.is_empty() {
        // SAFETY: the caller's buffer, which has room and is not a part of a value.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), buf.cast(), value.len()) };
    }
    Ok(YC_OK)
}

#[cold]
fn too_small(needed: usize, cap: usize) -> Error {
    Error::new(
        ErrorKind::BufferTooSmall,
        format!("the value has {needed} bytes and the buffer has {cap}: pass a larger buffer"),
    )
}

/// Stores a value under a key and replaces the previous value and tags of the
/// key. ttl_ms is the time to live in milliseconds, YC_TTL_DEFAULT or
/// YC_TTL_NEVER. An entry has at most 128 tags; tags may be NULL if n_tags is 0.
/// The value may be empty. The library copies all arguments before it returns.
///
/// Errors:
/// - YC_E_INVALID: the key or a tag is empty, or ttl_ms is below -1 or over 100
///   years.
/// - YC_E_TOO_LARGE: the key or a tag exceeds 64 KiB, there are more than 128
///   tags, or the value exceeds max_value_bytes or the item size of its Memcached
///   server.
/// - The errors of the backend.
///
/// After YC_E_INVALID or YC_E_TOO_LARGE nothing is stored and the previous entry
/// remains. Exception: Memcached removes the previous entry if the server itself
/// rejects the value. This happens with YC_E_SERVER_MEMORY, and with
/// YC_E_TOO_LARGE behind a proxy that does not report the settings of its
/// servers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_set(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    ttl_ms: i64,
    tags: *const yc_slice,
    n_tags: usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_open_handle("yc_set", cache, err, |handle| {
            let (key, value) = (bytes(key, key_len, "key")?, bytes(value, value_len, "value")?);
            let (ttl, tags) = (Ttl::from_millis(ttl_ms)?, slices(tags, n_tags, "tags")?);
            let entry = |cache: &Cache| NewEntry { key, value, ttl: cache.resolve(ttl), tags: &tags };
            if let Some(stored) = handle.set_in_first(entry) {
                return stored.map(|()| YC_OK);
            }
            let cache = handle.load();
            let set = entry(&cache);
            match begin(&cache, &Operation::Set(set)) {
                None => answer(|context| cache.set(context, set))?,
                Some(span) => call_traced(&cache, Operation::Set(set), span).map(drop)?,
            }
            Ok(YC_OK)
        })
    }
}

/// Deletes a key. Returns YC_OK if the key existed, or YC_MISS if it did not.
/// A delete whose reply is lost is not repeated. It fails with YC_E_CONNECT or
/// YC_E_TIMEOUT, and the server may have executed it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_delete(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_delete", cache, err, |cache| run(cache, Operation::Delete { key: bytes(key, key_len, "key")? }))
    }
}

/// Checks whether a key exists. Returns YC_OK if it exists, or YC_MISS if it does
/// not. The check is not counted as a hit or a miss and does not change the order
/// of eviction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_exists(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_exists", cache, err, |cache| run(cache, Operation::Exists { key: bytes(key, key_len, "key")? }))
    }
}

/// Sets a new time to live for a key and keeps its value and tags. The time
/// starts at the call. ttl_ms: see yc_set(). Returns YC_OK on success, or YC_MISS
/// if the key does not exist.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_expire(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    ttl_ms: i64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_expire", cache, err, |cache| {
            let (key, ttl) = (bytes(key, key_len, "key")?, cache.resolve(Ttl::from_millis(ttl_ms)?));
            run(cache, Operation::Expire { key, ttl })
        })
    }
}

/// Reads the remaining time to live of a key.
///
/// Returns:
/// - YC_OK: *ttl_ms is the remaining time in milliseconds, at least 1, or -1 if
///   the entry never expires.
/// - YC_MISS: the key does not exist. *ttl_ms is not written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_ttl(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    ttl_ms: *mut i64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_ttl", cache, err, |cache| {
            let place = out(ttl_ms, "ttl_ms")?;
            let operation = Operation::Ttl { key: bytes(key, key_len, "key")? };
            let outcome = call(cache, operation)?;
            if let Outcome::Remaining(remaining) = outcome {
                place.write(remaining_ms(remaining));
            }
            Ok(hit(outcome))
        })
    }
}

/// Returns milliseconds for the ABI: -1 for an entry that never expires, else at least 1, so that a caller can set
/// them again.
pub(super) fn remaining_ms(remaining: Option<std::time::Duration>) -> i64 {
    remaining.map_or(-1, |left| i64::try_from(crate::ttl::left_millis(left)).unwrap_or(i64::MAX))
}
