//! Replacing the backend of a cache, and copying one cache into another.

use std::ffi::{c_char, c_void};

use super::arguments::{null, out};
use super::cache::{options_text, read_config, with_handle, yc_cache};
use super::error::yc_error;
use super::report::text;
use super::status::{YC_OK, yc_status};
use super::user_data::{UserData, yc_finalise_fn};
use super::value::yc_value;
use crate::cache::Progress;
use crate::config::{MigrationConfig, SwitchConfig};
use crate::error::Result;
use crate::wait::wait;

/// How far a migration is. Later versions may add fields in place of the
/// reserved words.
#[repr(C)]
pub struct yc_progress {
    /// sizeof(yc_progress) of the library.
    pub struct_size: usize,
    /// Keys looked at.
    pub examined: u64,
    /// Entries stored at the target, or that would be.
    pub copied: u64,
    /// Entries that were not, for a reason that is no failure: the target has
    /// one, or it is gone from the source.
    pub skipped: u64,
    /// Entries that could not be.
    pub failed: u64,
    /// What the option resume takes to go on from here, or a little before,
    /// also in another process; NULL at the end. Valid during the call.
    pub resume: *const c_char,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Told how far a migration is, after each few hundred keys, on the thread that
/// called yc_migrate(). 0 goes on; anything else ends the migration there,
/// with a report that can be resumed. It must not throw or longjmp; it may
/// call the library.
pub type yc_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, progress: *const yc_progress) -> i32>;

/// Tells the host; whether to go on.
fn tell(progress: &Progress, told: yc_progress_fn, data: &UserData) -> bool {
    let resume = progress.resume.clone().map(|token| token + "\0");
    let progress = yc_progress {
        struct_size: size_of::<yc_progress>(),
        examined: progress.examined,
        copied: progress.copied,
        skipped: progress.skipped,
        failed: progress.failed,
        resume: resume.as_ref().map_or(std::ptr::null(), |token| token.as_ptr().cast()),
        reserved: [0; 4],
    };
    // SAFETY: the host's own function with the host's own data; the progress outlives the call.
    told.is_none_or(|told| unsafe { told(data.pointer(), &raw const progress) } == 0)
}

/// Copies the entries of one cache into another: values, tags, and what is
/// left of their times to live. What the target has already stays, and so does
/// what is written there meanwhile. Both caches stay in use. Entries that are
/// written to the source meanwhile may be copied or not: yc_switch() copies
/// and follows.
///
/// No copy undoes an invalidation of this process, by any handle. Tags,
/// patterns, deletes and flushes at the target stop the copying of the entries
/// that they name. Those at the source are made at the target too, before this
/// returns. Tag invalidations of other processes are followed, except at the
/// target before the migration has met an entry with the tag. Repeat other
/// processes' deletes, patterns and flushes at the target after the migration.
///
/// options is a YAML or JSON map, or NULL: "{pattern: 'user:*', rate: 5000,
/// dry_run: true, resume: '…'}"; the README lists them. progress (may be NULL)
/// is told how far it is; the finaliser (may be NULL) gets user_data before
/// this returns, whatever comes of it. A server that fails is tried again for
/// about three seconds.
///
/// On success *report (may be NULL as a place) is one JSON object, to be
/// released with yc_value_free(): examined, copied, skipped and why, failed
/// and why, largest_ttl_drift_ms of a sample, complete, and resume where it is
/// not complete.
///
/// Errors: YC_E_INVALID for a cache onto itself (the same servers and
/// prefix), or a wrong resume; YC_E_CONFIG for wrong options;
/// YC_E_UNSUPPORTED where the source cannot list keys; YC_E_CLOSED when one of
/// the two is closed meanwhile; a server's failure. What was copied until then
/// stays, and can be resumed from the last progress.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_migrate(
    source: *mut yc_cache,
    target: *mut yc_cache,
    options: *const c_char,
    progress: yc_progress_fn,
    user_data: *mut c_void,
    finalise: yc_finalise_fn,
    report: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    let data = UserData::new(user_data, finalise);
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_migrate", source, err, |source| {
            let (source, target) = (&source.handle, &target.as_ref().ok_or_else(|| null("target"))?.handle);
            let options = options_text(options)?.map_or(Ok(MigrationConfig::default()), MigrationConfig::from_text)?;
            let (from, to) = (source.cache()?, target.cache()?);
            let open = || source.check_open().and_then(|()| target.check_open());
            let mut told = |at: &Progress| tell(at, progress, &data) && open().is_ok();
            let done = wait(from.migrate(&to, &options, &mut told))?;
            open()?;
            give(report, &done)
        })
    }
}

/// Replaces the backend of an open cache by the one that a configuration asks
/// for (a text as yc_open() takes). Calls that are under way finish on the old
/// one, later ones are served by the new one, and none fails. The key prefix,
/// default TTL and fallback are the new configuration's; what was counted and
/// timed stays. Returns once the old backend is closed.
///
/// options is a YAML or JSON map, or NULL. "{copy: true}" copies what the
/// cache holds first, as yc_migrate() does, while the old backend serves; what
/// changes meanwhile follows, and an invalidation is not lost. Without it the
/// new backend begins with what it has. Either way an entry that the new
/// backend has already stays, though it may be older: flush it before, if that
/// may be.
///
/// On success *report (may be NULL as a place) is one JSON object, to be
/// released with yc_value_free(): backend, and copied, the report of the copy.
///
/// Errors: YC_E_CONFIG; what opening the new backend fails with;
/// YC_E_BUSY when another switch of this cache is under way; YC_E_UNSUPPORTED
/// where the old backend cannot list keys to be copied. The cache goes on as
/// it was then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_switch(
    cache: *mut yc_cache,
    config: *const c_char,
    options: *const c_char,
    report: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_switch", cache, err, |cache| {
            let config = read_config(config)?;
            let options = options_text(options)?.map_or(Ok(SwitchConfig::default()), SwitchConfig::from_text)?;
            let done = wait(cache.handle.switch(config, &options))?;
            give(report, &done)
        })
    }
}

/// A report for a caller who may not want it.
unsafe fn give(place: *mut *mut yc_value, report: &serde_json::Value) -> Result<yc_status> {
    if !place.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { out(place, "report") }?.write(text(report));
    }
    Ok(YC_OK)
}
