//! Lists keys, page by page.

use std::ffi::c_void;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::arguments::{bytes, out, slices, yc_slice};
use super::boundary;
use super::cache::{with_handle, yc_cache};
use super::error::{YC_END, YC_OK, yc_error, yc_status};
use crate::cache::{CacheHandle, Cursor};
use crate::error::{Error, ErrorKind};
use crate::exec::blocking::wait;
use crate::util::byte_strings::ByteStrings;

/// A cursor of a listing of keys. It remains valid after yc_close(), and then
/// returns YC_E_CLOSED. Several threads may share it; each page is returned to
/// one of them. The caller frees it with yc_cursor_free().
pub struct yc_cursor {
    pub(super) handle: Arc<CacheHandle>,
    pub(super) cursor: Arc<Mutex<Cursor>>,
}

impl yc_cursor {
    /// Returns a handle that the caller owns.
    fn into_raw(cache: &yc_cache, cursor: Cursor) -> *mut Self {
        Box::into_raw(Box::new(Self { handle: cache.handle.clone(), cursor: Arc::new(Mutex::new(cursor)) }))
    }
}

/// A page of keys. It is immutable: any thread may read it. It remains valid
/// after the cursor and the cache are freed. The caller frees it with
/// yc_keys_free().
pub struct yc_keys {
    slices: Vec<yc_slice>,
    /// Owns the bytes of the slices.
    _keys: ByteStrings,
}

impl yc_keys {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(keys: ByteStrings) -> *mut Self {
        let slices = keys.iter().map(|key| yc_slice { data: key.as_ptr().cast(), len: key.len() }).collect();
        Box::into_raw(Box::new(Self { slices, _keys: keys }))
    }
}

/// Returns the largest number of keys of a page.
pub(super) fn page_limit(limit: usize) -> usize {
    if limit == 0 { 512 } else { limit }
}

/// Opens a cursor for the keys that match a glob. For the syntax see
/// yc_invalidate_pattern(); "*" matches all keys. The call reads no key.
///
/// On success *out is the cursor. The caller frees it with yc_cursor_free().
///
/// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_keys_open(
    cache: *mut yc_cache,
    pattern: *const c_void,
    pattern_len: usize,
    out: *mut *mut yc_cursor,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_keys_open", cache, err, |cache| {
            let place = self::out(out, "out")?;
            place.write(yc_cursor::into_raw(cache, Cursor::new(bytes(pattern, pattern_len, "pattern")?)?));
            Ok(YC_OK)
        })
    }
}

/// Opens a cursor for the keys that match a glob and whose entry has at least one
/// of the tags. With the pattern "*" these are the keys that yc_invalidate_tags()
/// would invalidate; but if n_tags is 0, the tags restrict nothing. Otherwise as
/// yc_keys_open(). The library copies the tags. The listing reads the tags of every
/// entry whose key may match.
///
/// Errors: YC_E_INVALID for an empty tag; YC_E_TOO_LARGE for a pattern or a tag over
/// 64 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_keys_open_tagged(
    cache: *mut yc_cache,
    pattern: *const c_void,
    pattern_len: usize,
    tags: *const yc_slice,
    n_tags: usize,
    out: *mut *mut yc_cursor,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_keys_open_tagged", cache, err, |cache| {
            let place = self::out(out, "out")?;
            let (pattern, tags) = (bytes(pattern, pattern_len, "pattern")?, slices(tags, n_tags, "tags")?);
            place.write(yc_cursor::into_raw(cache, Cursor::new(pattern)?.tagged(&tags)?));
            Ok(YC_OK)
        })
    }
}

/// Reads the next page of a listing: at least 1 and at most limit keys. limit 0
/// selects 512. A key that exists during the whole listing is returned at least
/// once. It is returned more than once only if the set of servers changed and
/// servers were listed again. A key that is added or removed during the listing
/// may be returned. The listing does not block writers.
///
/// Returns:
/// - YC_OK: *out is the page. The caller frees it with yc_keys_free().
/// - YC_END: there are no more keys. *out is not written.
/// - Errors: YC_E_UNSUPPORTED if the backend cannot list keys; YC_E_CLOSED; the
///   errors of the backend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_keys_next(
    cursor: *mut yc_cursor,
    limit: usize,
    out: *mut *mut yc_keys,
    err: *mut *mut yc_error,
) -> yc_status {
    let body = || {
        // SAFETY: the caller hands NULL or a live cursor of ours, and a place or NULL.
        let (cursor, place) = unsafe { (cursor.as_ref(), self::out(out, "out")?) };
        let cursor = cursor.ok_or_else(|| Error::new(ErrorKind::Invalid, "cursor is NULL"))?;
        let cache = cursor.handle.cache()?;
        let keys = wait(|context| cache.next_of(context, &cursor.cursor, page_limit(limit)))?;
        if keys.is_empty() {
            return Ok(YC_END);
        }
        place.write(yc_keys::into_raw(keys));
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_keys_next", err, body) }
}

/// Returns the keys of a page as an array and writes their number to *count.
/// count may be NULL. The page owns the array. For NULL the function returns NULL
/// and writes 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_keys_data(keys: *const yc_keys, count: *mut usize) -> *const yc_slice {
    // SAFETY: the caller hands NULL or a live page of ours.
    let slices = unsafe { keys.as_ref() }.map(|keys| &keys.slices);
    if !count.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { count.write(slices.map_or(0, Vec::len)) };
    }
    slices.map_or(core::ptr::null(), |slices| slices.as_ptr())
}

/// Frees a page of keys. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_keys_free(keys: *mut yc_keys) {
    // SAFETY: the caller hands NULL or a page of ours, once.
    unsafe { boundary::free(keys) }
}

/// Frees a cursor. The listing need not have ended. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_cursor_free(cursor: *mut yc_cursor) {
    // SAFETY: the caller hands NULL or a live cursor of ours.
    let foreign = unsafe { cursor.as_ref() }.is_some_and(|cursor| cursor.handle.check_process().is_err());
    // In the child of a fork it may be the last to hold the parent's cache: leaked, as yc_cache_free() leaks it.
    if !foreign {
        // SAFETY: the caller hands NULL or a cursor of ours, once.
        unsafe { boundary::free(cursor) }
    }
}
