//! Replaces the backend of a cache, and copies one cache into another.

use std::ffi::{c_char, c_void};

use super::arguments::{UserData, yc_finalise_fn};
use super::arguments::{null, out};
use super::cache::{options_text, read_config, with_handle, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use super::report::text;
use super::value::yc_value;
use crate::cache::Progress;
use crate::config::{MigrationConfig, SwitchConfig};
use crate::error::Result;
use crate::exec::blocking::wait;

/// The progress of a migration. Later versions may use the reserved fields.
#[repr(C)]
pub struct yc_progress {
    /// sizeof(yc_progress) in the library.
    pub struct_size: usize,
    /// Number of keys that were examined.
    pub examined: u64,
    /// Number of entries that were stored in the target. In a dry run: that would
    /// be stored.
    pub copied: u64,
    /// Number of entries that were skipped without a failure: the target already
    /// has the key, or the source has it no longer.
    pub skipped: u64,
    /// Number of entries that could not be copied.
    pub failed: u64,
    /// Value for the option `resume` that continues the migration here or slightly
    /// earlier, also in another process. NULL at the end. Valid during the call.
    pub resume: *const c_char,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Receives the progress of a migration. The library calls the function every few
/// hundred keys on the thread that called yc_migrate(). Return 0 to continue.
/// Return another number to stop the migration; its report can be resumed. The
/// function may call the library. It must not throw or call longjmp().
pub type yc_progress_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, progress: *const yc_progress) -> i32>;

/// Reports the progress to the host. Returns true to continue.
fn report_progress(progress: &Progress, on_progress: yc_progress_fn, data: &UserData) -> bool {
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
    on_progress.is_none_or(|on_progress| unsafe { on_progress(data.pointer(), &raw const progress) } == 0)
}

/// Copies the entries of one cache to another: values, tags and remaining times to
/// live. Entries that the target already has, or that are written there during
/// the migration, are kept. Both caches remain in use. An entry that is written
/// to the source during the migration may or may not be copied; use yc_switch()
/// to copy and to follow writes.
///
/// A migration does not undo an invalidation that this process makes through any
/// handle. Tag, pattern, delete and flush operations on the target stop the
/// copying of the entries that they name. Those on the source are repeated on the
/// target before this function returns. Tag invalidations by other processes are
/// followed, except on the target for a tag that the migration has not yet met.
/// Repeat deletes, patterns and flushes by other processes on the target after
/// the migration.
///
/// options is a YAML or JSON map, or NULL: "{pattern: 'user:*', rate: 5000,
/// dry_run: true, resume: '…'}". The guide lists the options. The library calls
/// progress, which may be NULL, with user_data. It calls finalise, which may be
/// NULL, with user_data before this function returns, also on failure. The
/// migration retries a server that fails for about three seconds.
///
/// On success *report is one JSON object: examined, copied, skipped and failed
/// with their reasons, largest_ttl_drift_ms of a sample, complete, and, if it is
/// not complete, resume. The caller frees it with yc_value_free(). report may be
/// NULL.
///
/// Errors: YC_E_INVALID if both caches have the same servers and prefix, or for
/// an invalid resume; YC_E_CONFIG for invalid options; YC_E_UNSUPPORTED if the
/// source cannot list keys; YC_E_CLOSED if one of the caches is closed; the
/// errors of the servers. Entries that were copied before the error remain. The
/// last progress can be resumed.
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
            let mut on_progress = |at: &Progress| report_progress(at, progress, &data) && open().is_ok();
            let done = wait(|context| from.migrate(context, &to, &options, &mut on_progress))?;
            open()?;
            give(report, &done)
        })
    }
}

/// Replaces the backend of an open cache. config is a text that yc_open()
/// accepts. Calls in flight finish on the old backend, later calls use the new
/// one, and no call fails. Key prefix, default TTL and fallback come from the new
/// configuration; counters and latencies are kept. The function returns after the
/// old backend is closed.
///
/// options is a YAML or JSON map, or NULL. "{copy: true}" first copies the
/// entries as yc_migrate() does, while the old backend serves calls. Writes and
/// invalidations during the copy are applied to the new backend too. Without
/// copy, the new backend starts with its own entries. Existing entries in the new
/// backend are kept, even if they are older. Flush the new backend first if it
/// may hold stale data.
///
/// On success *report is one JSON object: backend, and copied, which is the
/// report of the copy. The caller frees it with yc_value_free(). report may be
/// NULL.
///
/// Errors: YC_E_CONFIG; the errors of opening the new backend; YC_E_BUSY during
/// another switch of this cache; YC_E_UNSUPPORTED if the old backend cannot list
/// the keys to copy. After an error the cache uses the old backend.
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
            let done = wait(|context| cache.handle.switch(context, config, &options))?;
            give(report, &done)
        })
    }
}

/// Writes a report if the caller wants it.
unsafe fn give(place: *mut *mut yc_value, report: &serde_json::Value) -> Result<yc_status> {
    if !place.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { out(place, "report") }?.write(text(report));
    }
    Ok(YC_OK)
}
