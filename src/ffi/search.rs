//! Fuzzy search.

use std::ffi::c_void;

use super::arguments::{bytes, out, slices, yc_slice};
use super::boundary;
use super::cache::{with_cache, yc_cache};
use super::cancellation::wait;
use super::error::yc_error;
use super::status::{YC_OK, yc_status};
use crate::cache::SearchOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::fuzzy::Match;

/// The score a match must reach unless another is asked for.
pub const YC_SEARCH_THRESHOLD: f64 = 80.0;
/// The most matches unless another number is asked for.
pub const YC_SEARCH_LIMIT: usize = 10;

/// What a search looks for beside its query. Begin with
/// YC_SEARCH_OPTIONS_INIT, which sets struct_size and the defaults.
#[repr(C)]
pub struct yc_search_options {
    /// sizeof(yc_search_options).
    pub struct_size: usize,
    /// The lowest score that counts, 0 to 100.
    pub threshold: f64,
    /// The most matches, at least 1.
    pub limit: usize,
    /// Only entries with one of these tags; NULL for all.
    pub tags: *const yc_slice,
    /// How many tags.
    pub n_tags: usize,
    /// Zero.
    pub reserved: [u64; 4],
}

/// One match. Later versions may add fields at its end.
#[repr(C)]
pub struct yc_match {
    /// The key.
    pub key: yc_slice,
    /// How like the query it is, 0 to 100.
    pub score: f64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// The matches of a search. Immutable: any thread may read it; it outlives
/// the cache, until yc_matches_free().
pub struct yc_matches {
    matches: Vec<yc_match>,
    /// What the matches point into.
    _found: Vec<Match>,
}

impl yc_matches {
    /// The matches as the caller owns them.
    pub(super) fn into_raw(found: Vec<Match>) -> *mut Self {
        let exported = |found: &Match| yc_match {
            key: yc_slice { data: found.key.as_ptr().cast(), len: found.key.len() },
            score: found.score,
            reserved: [0; 2],
        };
        Box::into_raw(Box::new(Self { matches: found.iter().map(exported).collect(), _found: found }))
    }
}

/// Finds the keys most like a query of 1 byte to 1 KiB, best first, equal
/// scores by key. The score is the partial ratio of rapidfuzz on bytes: the
/// query against the part of the key that suits it best, 100 when the key
/// contains it. options may be NULL: threshold 80, limit 10, all tags.
/// Reads every key of the cache; writers are not blocked. The keys are read
/// in pages, each with the deadline of a call. Scoring all of them may take
/// the time of one more call: socket_timeout, or 5 s on memory.
///
/// On success *out is the matches, perhaps none, to be released with
/// yc_matches_free().
/// Errors: YC_E_INVALID (empty query, threshold outside 0 to 100, limit 0,
/// struct_size unknown); YC_E_TOO_LARGE (query over 1 KiB); YC_E_TIMEOUT
/// (scoring took too long); YC_E_UNSUPPORTED where the backend cannot list
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
            let found = wait(cache, cache.search(query, SearchOptions { threshold, limit, tags: &tags }))?;
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
            let text = format!("options.struct_size is {size}; begin with YC_SEARCH_OPTIONS_INIT");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let options = &*options;
        if options.limit == 0 {
            return Err(Error::new(ErrorKind::Invalid, "options.limit is 0; it takes 1 or more"));
        }
        Ok((options.threshold, options.limit, slices(options.tags, options.n_tags, "options.tags")?))
    }
}

/// How many matches there are; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_matches_count(matches: *const yc_matches) -> usize {
    // SAFETY: the caller hands NULL or live matches of ours.
    unsafe { matches.as_ref() }.map_or(0, |matches| matches.matches.len())
}

/// The match of a rank, 0 the best; NULL beyond the last. It lives as long as
/// the matches.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_matches_at(matches: *const yc_matches, rank: usize) -> *const yc_match {
    // SAFETY: the caller hands NULL or live matches of ours.
    let found = unsafe { matches.as_ref() }.and_then(|matches| matches.matches.get(rank));
    found.map_or(core::ptr::null(), |found| found)
}

/// Releases matches. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_matches_free(matches: *mut yc_matches) {
    // SAFETY: the caller hands NULL or matches of ours, once.
    unsafe { boundary::free(matches) }
}
