//! Operations on one entry.

use std::ffi::c_void;

use super::arguments::{bytes, out, slices, yc_slice};
use super::cache::{with_cache, yc_cache};
use super::cancellation::answer;
use super::error::yc_error;
use super::status::{YC_MISS, YC_OK, yc_status};
use super::value::yc_value;
use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{NewEntry, Operation, Outcome};
use crate::ttl::Ttl;

/// ttl_ms: the cache's default_ttl, spread by its ttl_jitter.
pub const YC_TTL_DEFAULT: i64 = -1;
/// ttl_ms: never expires.
pub const YC_TTL_NEVER: i64 = 0;

/// Returns the status of an operation on a key that may not exist.
pub(super) fn hit(outcome: &Outcome) -> yc_status {
    if outcome.is_hit() { YC_OK } else { YC_MISS }
}

/// Runs an operation on a key that may not exist.
fn run(cache: &Cache, operation: Operation<'_>) -> Result<yc_status> {
    answer(cache.call(operation)).map(|outcome| hit(&outcome))
}

/// Reads a value without copying it. A key is 1 byte to 64 KiB of any bytes.
///
/// YC_OK: *out is the value, to be released with yc_value_free().
/// YC_MISS: no such key; *out is not written.
/// Errors: YC_E_INVALID, YC_E_TOO_LARGE, those of the backend; an error is
/// never a miss, and a miss never an error.
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
        with_cache("yc_get", cache, err, |cache| {
            let (key, place) = (bytes(key, key_len, "key")?, self::out(out, "out")?);
            let Some(value) = answer(cache.get(key))? else { return Ok(YC_MISS) };
            place.write(yc_value::into_raw(value));
            Ok(YC_OK)
        })
    }
}

/// Copies a value into the caller's buffer of cap bytes (buf may be NULL when
/// cap is 0). The memory backend allocates nothing here.
///
/// YC_OK: *len is the value's length, and that many bytes were written.
/// YC_MISS: no such key; nothing is written.
/// YC_E_BUFFER_TOO_SMALL: *len is the length that is needed; buf is not
/// written. The value may have changed when you ask again.
/// Other errors as yc_get().
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
        with_cache("yc_get_into", cache, err, |cache| {
            let (key, len) = (bytes(key, key_len, "key")?, out(len, "len")?);
            bytes(buf, cap, "buf")?;
            let Some(value) = answer(cache.get(key))? else { return Ok(YC_MISS) };
            let value = value.as_bytes();
            len.write(value.len());
            if value.len() > cap {
                return Err(too_small(value.len(), cap));
            }
            if !value.is_empty() {
                std::ptr::copy_nonoverlapping(value.as_ptr(), buf.cast(), value.len());
            }
            Ok(YC_OK)
        })
    }
}

#[cold]
fn too_small(needed: usize, cap: usize) -> Error {
    Error::new(ErrorKind::BufferTooSmall, format!("the value has {needed} bytes and the buffer {cap}"))
}

/// Stores a value, in place of any other under its key, with a time to live
/// in milliseconds (YC_TTL_DEFAULT, YC_TTL_NEVER, or exactly that many) and up
/// to 64 tags, which replace the key's old ones; tags may be NULL when n_tags
/// is 0. Everything is copied before this returns. An empty value is a value.
///
/// Errors: YC_E_INVALID (empty key or tag, ttl_ms below -1 or over 100 years);
/// YC_E_TOO_LARGE (key or tag over 64 KiB, more than 64 tags, value over
/// max_value_bytes, or over the item size of its Memcached server). Nothing is
/// stored then, and an older entry stays. Memcached removes the older entry when
/// it refuses a value itself: with YC_E_SERVER_MEMORY, or with YC_E_TOO_LARGE
/// behind a proxy that does not report the server's settings.
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
        with_cache("yc_set", cache, err, |cache| {
            let (key, value) = (bytes(key, key_len, "key")?, bytes(value, value_len, "value")?);
            let tags = slices(tags, n_tags, "tags")?;
            let ttl = cache.resolve(Ttl::from_millis(ttl_ms)?);
            answer(cache.set(NewEntry { key, value, ttl, tags: &tags }))?;
            Ok(YC_OK)
        })
    }
}

/// Removes a key. YC_OK: it was there. YC_MISS: it was not.
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

/// Whether a key is there: YC_OK or YC_MISS. Does not count as a use of the
/// entry for eviction, nor as a hit or a miss.
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

/// Gives a key another time to live, counted from now (ttl_ms as in yc_set());
/// its value and tags stay. YC_OK: done. YC_MISS: no such key.
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

/// Reports the remaining time to live of a key. YC_OK: *ttl_ms is the
/// milliseconds left, at least 1, or -1 if the entry never expires. YC_MISS:
/// no such key; nothing is written.
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
            let outcome = answer(cache.call(Operation::Ttl { key: bytes(key, key_len, "key")? }))?;
            if let Outcome::Remaining(remaining) = outcome {
                place.write(remaining_ms(remaining));
            }
            Ok(hit(&outcome))
        })
    }
}

/// Returns milliseconds for the ABI: -1 for an entry that never expires, else at least 1, so that a caller can set
/// them again.
pub(super) fn remaining_ms(remaining: Option<std::time::Duration>) -> i64 {
    remaining.map_or(-1, |left| i64::try_from(crate::ttl::left_millis(left)).unwrap_or(i64::MAX))
}
