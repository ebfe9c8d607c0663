//! Invalidation by tag and by pattern, and flush.

use std::ffi::c_void;

use super::arguments::{bytes, slices, yc_slice};
use super::cache::{with_cache, yc_cache};
use super::cancellation::answer;
use super::error::yc_error;
use super::status::{YC_OK, yc_status};
use crate::cache::Cache;
use crate::error::Result;
use crate::operation::{Operation, Removed};

/// *removed: the backend cannot know how many entries went.
pub const YC_COUNT_UNKNOWN: u64 = u64::MAX;

/// A count as the ABI writes it.
pub(super) fn count(removed: Removed) -> u64 {
    removed.unwrap_or(YC_COUNT_UNKNOWN)
}

/// Runs an operation that removes entries, and writes their number if the caller wants it.
unsafe fn run(cache: &Cache, operation: Operation<'_>, removed: *mut u64) -> Result<yc_status> {
    let outcome = answer(cache.call(operation))?;
    if !removed.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { removed.write(count(outcome.removed())) };
    }
    Ok(YC_OK)
}

/// Makes every entry that was set with the tag a miss: once this has
/// returned, no process reads one that was set before. *removed is how many
/// entries could be read until now, or YC_COUNT_UNKNOWN where the backend
/// cannot know. With removed NULL nothing is counted, and the memory backend
/// takes the same time for any number of entries. An unknown tag removes 0.
///
/// A Redis server that fails may lose the invalidation. Each process replays
/// its removals of the last `replay_window` before it reads from a server that
/// restarted or was replaced. Until then another process may read an
/// invalidated entry again. With `invalidation_replicas`, YC_E_TIMEOUT reports
/// that too few replicas received the invalidation.
///
/// Errors: YC_E_INVALID for an empty tag, those of the backend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_invalidate_tag(
    cache: *mut yc_cache,
    tag: *const c_void,
    tag_len: usize,
    removed: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_invalidate_tag", cache, err, |cache| {
            let tags = [bytes(tag, tag_len, "tag")?];
            run(cache, Operation::InvalidateTags { tags: &tags, count: !removed.is_null() }, removed)
        })
    }
}

/// As yc_invalidate_tag() for entries that have any of the tags; an entry
/// with several of them is counted once. Without tags nothing is removed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_invalidate_tags(
    cache: *mut yc_cache,
    tags: *const yc_slice,
    n_tags: usize,
    removed: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_invalidate_tags", cache, err, |cache| {
            let tags: Vec<&[u8]> = slices(tags, n_tags, "tags")?;
            run(cache, Operation::InvalidateTags { tags: &tags, count: !removed.is_null() }, removed)
        })
    }
}

/// Removes every key that matches a glob, on the whole key and case-sensitive:
/// "*" any run of bytes, "?" any byte, "[a-z]" one of these, "[^a]" or "[!a]"
/// none of these, "\x" the byte x itself. Entries set while it runs may stay.
///
/// *removed (may be NULL) is how many there were, or YC_COUNT_UNKNOWN.
/// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB; YC_E_UNSUPPORTED where
/// the backend cannot list keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_invalidate_pattern(
    cache: *mut yc_cache,
    pattern: *const c_void,
    pattern_len: usize,
    removed: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_invalidate_pattern", cache, err, |cache| {
            let patterns = [bytes(pattern, pattern_len, "pattern")?];
            run(cache, Operation::InvalidatePatterns { patterns: &patterns }, removed)
        })
    }
}

/// Removes every entry of this cache's key_prefix and nobody else's.
///
/// *removed (may be NULL) is how many could be read, or YC_COUNT_UNKNOWN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_flush(cache: *mut yc_cache, removed: *mut u64, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_flush", cache, err, |cache| run(cache, Operation::Flush { count: !removed.is_null() }, removed))
    }
}
