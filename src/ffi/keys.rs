//! Listing keys, page by page.

use std::ffi::c_void;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::arguments::{bytes, out, yc_slice};
use super::boundary;
use super::cache::{with_handle, yc_cache};
use super::error::yc_error;
use super::status::{YC_END, YC_OK, yc_status};
use crate::byte_strings::ByteStrings;
use crate::cache::{CacheHandle, Cursor};
use crate::error::{Error, ErrorKind};
use crate::wait::wait;

/// A listing of keys that is under way. It keeps what it needs of the cache:
/// after yc_close() it answers YC_E_CLOSED. Threads may share it; each page
/// goes to one of them.
pub struct yc_cursor {
    pub(super) handle: Arc<CacheHandle>,
    pub(super) cursor: Arc<Mutex<Cursor>>,
}

/// A page of keys. Immutable: any thread may read it; it outlives cursor and
/// cache, until yc_keys_free().
pub struct yc_keys {
    slices: Vec<yc_slice>,
    /// What the slices point into.
    _keys: ByteStrings,
}

impl yc_keys {
    /// The page as the caller owns it.
    pub(super) fn into_raw(keys: ByteStrings) -> *mut Self {
        let slices = keys.iter().map(|key| yc_slice { data: key.as_ptr().cast(), len: key.len() }).collect();
        Box::into_raw(Box::new(Self { slices, _keys: keys }))
    }
}

/// How many keys a page has at most.
pub(super) fn page_limit(limit: usize) -> usize {
    if limit == 0 { 512 } else { limit }
}

/// Begins a listing of the keys that match a glob (see
/// yc_invalidate_pattern(); "*" is all). Nothing is read yet.
///
/// On success *out is the cursor, to be released with yc_cursor_free().
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
            let cursor = Cursor::new(bytes(pattern, pattern_len, "pattern")?)?;
            let handle = cache.handle.clone();
            place.write(Box::into_raw(Box::new(yc_cursor { handle, cursor: Arc::new(Mutex::new(cursor)) })));
            Ok(YC_OK)
        })
    }
}

/// The next keys of a listing, at least 1 and at most `limit` of them (0: 512).
/// A key that exists for the whole listing is returned at least once. It is
/// returned more than once only if servers changed and were listed again. A
/// key that is added or removed meanwhile may be returned. Writers are not
/// blocked.
///
/// YC_OK: *out is a page, to be released with yc_keys_free().
/// YC_END: there are no more; *out is not written.
/// Errors: YC_E_UNSUPPORTED where the backend cannot list keys.
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
        let keys = wait(cache.next_of(&cursor.cursor, page_limit(limit)))?;
        if keys.is_empty() {
            return Ok(YC_END);
        }
        place.write(yc_keys::into_raw(keys));
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_keys_next", err, body) }
}

/// The keys of a page as an array, and in *count their number (count may be
/// NULL). They live as long as the page. NULL and 0 for NULL.
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

/// Releases a page. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_keys_free(keys: *mut yc_keys) {
    // SAFETY: the caller hands NULL or a page of ours, once.
    unsafe { boundary::free(keys) }
}

/// Releases a cursor, at its end or before. NULL is fine.
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
