//! Invalidation by tag and by pattern, and flush.

use std::ffi::c_void;

use super::arguments::{bytes, slices, yc_slice};
use super::cache::{with_cache, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use super::trace::call;
use crate::cache::Cache;
use crate::error::Result;
use crate::operation::{Operation, PatternMode, Removed};

/// A number that is not known: of removed entries, of receivers, or of lost
/// messages.
pub const YC_COUNT_UNKNOWN: u64 = u64::MAX;

/// Converts a count to the number of the ABI.
pub(super) fn count(removed: Removed) -> u64 {
    removed.unwrap_or(YC_COUNT_UNKNOWN)
}

/// Runs an operation that removes entries, and writes their number if the caller wants it.
unsafe fn run(cache: &Cache, operation: Operation<'_>, removed: *mut u64) -> Result<yc_status> {
    let outcome = call(cache, operation)?;
    if !removed.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { removed.write(count(outcome.removed())) };
    }
    Ok(YC_OK)
}

/// Invalidates every entry that was set with a tag. After the call has returned,
/// no process reads an entry that was set with the tag before the call.
///
/// *removed is the number of readable entries that were invalidated, or
/// YC_COUNT_UNKNOWN if the backend cannot count them. If removed is NULL, the
/// library counts nothing; the memory backend then needs the same time for any
/// number of entries. An unknown tag removes 0 entries.
///
/// A Redis server that fails may lose the invalidation. Each process replays its
/// invalidations of the last `replay_window` before it reads from a server that
/// restarted or was replaced. Until then another process may read an invalidated
/// entry again. With `invalidation_replicas`, YC_E_TIMEOUT reports that too few
/// replicas received the invalidation.
///
/// Errors: YC_E_INVALID for an empty tag; the errors of the backend.
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

/// Invalidates every entry that has at least one of the tags. An entry with
/// several of the tags is counted once. Nothing is removed if n_tags is 0.
/// Result and errors: see yc_invalidate_tag().
///
/// A dry run counts the entries that an invalidation or a flush would remove, and
/// removes nothing: set YC_OP_DRY_RUN in a yc_op of yc_batch() or
/// yc_queue_submit(). It lists the keys of the cache, which takes time in
/// proportion to their number, and about 20 bytes of memory for each counted key
/// of a shared store. `removed` is the number of keys that were readable during
/// the whole walk; an entry that is set or removed meanwhile may be counted. It is
/// YC_COUNT_UNKNOWN if a fallback serves. With a near cache the entries of the
/// servers are counted. Errors: YC_E_UNSUPPORTED if the backend cannot list
/// keys, also where the invalidation itself works: Memcached servers without their
/// crawler. yc_keys_open_tagged() and yc_keys_open() list the keys.
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

/// Removes every key that matches a glob. The glob matches the whole key and is
/// case-sensitive: "*" matches any sequence of bytes, "?" any byte, "[a-z]" one
/// byte of the set, "[^a]" or "[!a]" one byte outside the set, and "\x" the byte
/// x itself. Entries that are set during the call may remain.
///
/// The call lists the keys. With the option `patterns: barrier` of the cache or
/// view it makes misses of the entries that match and were set before, in the same
/// time for any number of entries, also where a server cannot list keys.
///
/// *removed is the number of removed entries, or YC_COUNT_UNKNOWN, as with a
/// barrier. removed may be NULL.
///
/// Errors: YC_E_TOO_LARGE for a pattern over 64 KiB, with a barrier over 1,024
/// bytes; YC_E_UNSUPPORTED if the backend cannot list keys, or for a barrier cannot
/// compare (YC_CAN_COMPARE).
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
            run(cache, Operation::InvalidatePatterns { patterns: &patterns, mode: PatternMode::Walk }, removed)
        })
    }
}

/// Makes a miss of every entry of a view with a namespace, or of a cache with the
/// option `generations`, in one write for any number of entries, also where a
/// server cannot list keys. After the call has returned, no process reads an entry
/// that was set before the call, and the fill of a lease that was given before is
/// not stored (YC_E_SUPERSEDED). Entries of other namespaces stay.
///
/// Each entry has a tag of the namespace that no caller can name; the call replaces
/// its version as yc_invalidate_tag() does, which says what a server that fails
/// may lose. The memory of the entries is freed by their times to live and by
/// eviction, in memory also by the sweeper; until then yc_size() of a server may
/// count them.
///
/// *removed is the number of readable entries in memory, which takes time in
/// proportion to their number, and YC_COUNT_UNKNOWN on servers. removed may be NULL.
///
/// Errors: YC_E_UNSUPPORTED if the entries have no generations: use yc_flush(), or
/// set `generations: true` in every program that shares the key_prefix. Entries
/// that were set without the option are not reached: flush the cache once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_clear(cache: *mut yc_cache, removed: *mut u64, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_clear", cache, err, |cache| run(cache, Operation::Clear { count: !removed.is_null() }, removed))
    }
}

/// Removes every entry under the key_prefix of this cache, and no other entry.
/// *removed is the number of readable entries that were removed, or
/// YC_COUNT_UNKNOWN. removed may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_flush(cache: *mut yc_cache, removed: *mut u64, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_flush", cache, err, |cache| run(cache, Operation::Flush { count: !removed.is_null() }, removed))
    }
}
