//! Fuzzy search.

use std::ffi::c_void;

use super::arguments::{bytes, out, slices, yc_slice};
use super::boundary::{self, wait};
use super::cache::{with_cache, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use crate::cache::SearchOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::fuzzy::Match;

/// Default of yc_search_options.threshold.
pub const YC_SEARCH_THRESHOLD: f64 = 80.0;
/// Default of yc_search_options.limit.
pub const YC_SEARCH_LIMIT: usize = 10;

/// The options of yc_search(). Initialise them with YC_SEARCH_OPTIONS_INIT, which
/// sets struct_size and the defaults.
#[repr(C)]
pub struct yc_search_options {
    /// Set to sizeof(yc_search_options).
    pub struct_size: usize,
    /// Lowest score of a match, 0 to 100.
    pub threshold: f64,
    /// Largest number of matches, at least 1.
    pub limit: usize,
    /// Search only entries that have at least one of these tags. NULL searches all
    /// entries.
    pub tags: *const yc_slice,
    /// Number of tags.
    pub n_tags: usize,
    /// Set to zero.
    pub reserved: [u64; 4],
}

/// A match of a search. Later versions may add fields at the end.
#[repr(C)]
pub struct yc_match {
    /// The key. The yc_matches own its bytes.
    pub key: yc_slice,
    /// Similarity of the key to the query, 0 to 100.
    pub score: f64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// The matches of a search. They are immutable: any thread may read them. They
/// remain valid after the cache is freed. The caller frees them with
/// yc_matches_free().
pub struct yc_matches {
    matches: Vec<yc_match>,
    /// Owns the keys of the matches.
    _found: Vec<Match>,
}

impl yc_matches {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(found: Vec<Match>) -> *mut Self {
        let exported = |found: &Match| yc_match {
            key: yc_slice { data: found.key.as_ptr().cast(), len: found.key.len() },
            score: found.score,
            reserved: [0; 2],
        };
        Box::into_raw(Box::new(Self { matches: found.iter().map(exported).collect(), _found: found }))
    }
}

/// Finds the keys that are most similar to a query of 1 byte to 1 KiB. Matches
/// are ordered by score, best first; equal scores are ordered by key. The score
/// is the partial ratio of rapidfuzz on bytes: it compares the query with the
/// best-matching part of the key, and is 100 if the key contains the query.
/// options may be NULL: threshold 80, limit 10, all tags.
///
/// The call reads every key of the cache in pages and does not block writers.
/// Each page has the deadline of a call. The scoring as a whole has the deadline
/// of one more call: socket_timeout, or 5 s on the memory backend.
///
/// On success *out is the list of matches, which may be empty. The caller frees it
/// with yc_matches_free().
///
/// Errors: YC_E_INVALID (empty query, threshold outside 0 to 100, limit 0,
/// unknown struct_size); YC_E_TOO_LARGE (query over 1 KiB); YC_E_TIMEOUT (the
/// scoring exceeded its deadline); YC_E_UNSUPPORTED if the backend cannot list
/// keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_search(
    cache: *mut yc_cache,
    query: *const c_void,
    query_len: usize,
    options: *const yc_search_options,
    out: *mut *mut yc_matches,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_search", cache, err, |cache| {
            let (query, place) = (bytes(query, query_len, "query")?, self::out(out, "out")?);
            let (threshold, limit, tags) = read_options(options)?;
            let found =
                wait(cache, |context| cache.search(context, query, SearchOptions { threshold, limit, tags: &tags }))?;
            place.write(yc_matches::into_raw(found));
            Ok(YC_OK)
        })
    }
}

pub(super) unsafe fn read_options<'a>(options: *const yc_search_options) -> Result<(f64, usize, Vec<&'a [u8]>)> {
    // SAFETY: the caller hands NULL or options of the size they begin with, which is read first.
    unsafe {
        let Some(size) = options.cast::<usize>().as_ref() else {
            return Ok((YC_SEARCH_THRESHOLD, YC_SEARCH_LIMIT, Vec::new()));
        };
        if *size < size_of::<yc_search_options>() {
            let text = format!("options.struct_size is {size}; initialize options with YC_SEARCH_OPTIONS_INIT");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let options = &*options;
        if options.limit == 0 {
            return Err(Error::new(ErrorKind::Invalid, "options.limit is 0; it must be 1 or more"));
        }
        Ok((options.threshold, options.limit, slices(options.tags, options.n_tags, "options.tags")?))
    }
}

/// Returns the number of matches, or 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_matches_count(matches: *const yc_matches) -> usize {
    // SAFETY: the caller hands NULL or live matches of ours.
    unsafe { matches.as_ref() }.map_or(0, |matches| matches.matches.len())
}

/// Returns the match of a rank. Rank 0 is the best match. The matches own the
/// result. Returns NULL if rank is not below yc_matches_count().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_matches_at(matches: *const yc_matches, rank: usize) -> *const yc_match {
    // SAFETY: the caller hands NULL or live matches of ours.
    let found = unsafe { matches.as_ref() }.and_then(|matches| matches.matches.get(rank));
    found.map_or(core::ptr::null(), |found| found)
}

/// Frees the matches of a search. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_matches_free(matches: *mut yc_matches) {
    // SAFETY: the caller hands NULL or matches of ours, once.
    unsafe { boundary::free(matches) }
}
