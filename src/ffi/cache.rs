//! `yc_cache`: opening, closing, freeing, and what every call checks first.

use std::env;
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::arguments::{null, out};
use super::boundary;
use super::error::yc_error;
use super::fork::watch;
use super::status::{YC_OK, yc_status};
use crate::cache::Cache;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::fork;
use crate::wait::answer;

/// A cache. Any thread may call any function on it at any time, also while
/// another closes it; only yc_cache_free() must come last. After a fork the
/// child gets YC_E_FORKED from it at once and opens one of its own.
pub struct yc_cache(pub(super) Arc<Handle>);

/// A cache and what may have become of it. Cursors share it.
pub(super) struct Handle {
    cache: Cache,
    closed: AtomicBool,
    /// The process that opened it.
    generation: u32,
}

impl Handle {
    /// The cache, if it may be used here and now.
    #[inline]
    pub(super) fn cache(&self) -> Result<&Cache> {
        self.check_process()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(&self.cache)
    }

    #[inline]
    pub(super) fn check_process(&self) -> Result<()> {
        if self.generation == fork::generation() { Ok(()) } else { Err(forked()) }
    }

    fn close(&self, limit: Duration) -> Result<()> {
        self.check_process()?;
        self.closed.store(true, Ordering::Release);
        answer(self.cache.close(Instant::now() + limit))
    }
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the cache was closed")
}

#[cold]
fn forked() -> Error {
    let text = "the cache was opened before a fork, in the parent process; open one in the child";
    Error::new(ErrorKind::Forked, text)
}

/// Runs the body of the export `name` with the cache behind a handle.
#[inline]
pub(super) unsafe fn with_cache(
    name: &'static str,
    cache: *const yc_cache,
    err: *mut *mut yc_error,
    body: impl FnOnce(&Cache) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live cache of ours.
        let handle = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        body(handle.0.cache()?)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call(name, err, checked) }
}

impl yc_cache {
    /// The cache as the caller owns it.
    pub(super) fn into_raw(cache: Cache) -> *mut Self {
        watch();
        let handle = Handle { cache, closed: AtomicBool::new(false), generation: fork::generation() };
        Box::into_raw(Box::new(Self(Arc::new(handle))))
    }
}

unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a CStr> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL; the caller promises a NUL-terminated string.
    Ok(unsafe { CStr::from_ptr(text) })
}

fn utf8<'a>(text: &'a CStr, name: &str) -> Result<&'a str> {
    text.to_str().map_err(|error| Error::new(ErrorKind::Config, format!("{name} is not UTF-8: {error}")))
}

/// What is no UTF-8 is not passed over: its replacement characters make the option's own check refuse it.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// A cache that can be used; nothing of one that cannot stays open.
fn open_ready(config: Config) -> Result<Cache> {
    let cache = Cache::open(config)?;
    match answer(cache.ready()) {
        Ok(()) => Ok(cache),
        Err(error) => answer(cache.close(Instant::now() + Duration::from_secs(1))).and(Err(error)),
    }
}

/// Opens what a configuration asks for and hands it to the caller.
unsafe fn open(
    name: &'static str,
    place: *mut *mut yc_cache,
    err: *mut *mut yc_error,
    config: impl FnOnce() -> Result<Config>,
) -> yc_status {
    let body = || {
        // SAFETY: the caller's place for the cache, or NULL.
        let place = unsafe { out(place, "out") }?;
        // Before the threads and connections that a child must know for its parent's.
        watch();
        place.write(yc_cache::into_raw(open_ready(config()?)?));
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call(name, err, body) }
}

/// Opens a cache from a configuration text: a URL
/// ("memory://?max_size=1000&key_prefix=app"), or a YAML or JSON document of
/// at most 256 KiB ("{backend: memory, memory: {max_size: 1000}}"). A document
/// with environments takes that of the variable ENVIRONMENT, "development" if
/// unset.
///
/// On success *out is the cache: yc_close() it, then yc_cache_free() it.
///
/// Errors: YC_E_CONFIG names the option and its nearest known name;
/// YC_E_UNSUPPORTED for a backend this build lacks. Nothing stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_open(config: *const c_char, out: *mut *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { open("yc_open", out, err, || Config::from_text(utf8(text(config, "config")?, "config")?, &variable)) }
}

/// Opens a cache from a YAML or JSON file with environments ("cache:
/// {development: {…}, production: {…}}") or with the body of one.
/// `environment` names the one to take; NULL takes that of the variable
/// ENVIRONMENT, "development" if unset.
///
/// Result and errors as yc_open(); YC_E_CONFIG also for a file that cannot be
/// read and for an environment the file does not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_open_file(
    path: *const c_char,
    environment: *const c_char,
    out: *mut *mut yc_cache,
    err: *mut *mut yc_error,
) -> yc_status {
    let config = || {
        // SAFETY: the caller's strings, each checked for NULL.
        let path = unsafe { text(path, "path") }?;
        let named = (!environment.is_null()).then(|| {
            // SAFETY: as above.
            unsafe { text(environment, "environment") }.and_then(|text| utf8(text, "environment"))
        });
        Config::from_file(Path::new(OsStr::from_bytes(path.to_bytes())), named.transpose()?, &variable)
    };
    // SAFETY: the caller's `out` and `err`, handed on.
    unsafe { open("yc_open_file", out, err, config) }
}

/// Opens a cache from the environment variables: YOKEDCACHE_URL (a
/// URL), else YOKEDCACHE_CONFIG (the path of a file, see yc_open_file()), else
/// REDIS_URL (a Redis URL).
///
/// Result and errors as yc_open(); YC_E_CONFIG when none is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_open_env(out: *mut *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's `out` and `err`, handed on.
    unsafe { open("yc_open_env", out, err, || Config::from_variables(&variable)) }
}

/// Closes a cache: calls that are in flight finish or get YC_E_CLOSED, later
/// ones get YC_E_CLOSED, and every thread and connection of it is gone when
/// this returns. Waits at most timeout_ms milliseconds (-1: 5000). Values and
/// pages handed out stay valid. Closing again is YC_OK and does nothing.
///
/// Errors: YC_E_TIMEOUT when the time was over first; the cache is closed
/// all the same. YC_E_FORKED in a child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_close(cache: *mut yc_cache, timeout_ms: i64, err: *mut *mut yc_error) -> yc_status {
    let body = || {
        let limit = close_limit(timeout_ms)?;
        // SAFETY: the caller hands NULL or a live cache of ours.
        let handle = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        handle.0.close(limit).map(|()| YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call("yc_close", err, body) }
}

fn close_limit(timeout_ms: i64) -> Result<Duration> {
    match u64::try_from(timeout_ms) {
        // A year is as good as any number beyond, and an Instant can hold it.
        Ok(timeout_ms) => Ok(Duration::from_millis(timeout_ms.min(365 * 24 * 3600 * 1000))),
        Err(_) if timeout_ms == -1 => Ok(Duration::from_secs(5)),
        Err(_) => {
            let text = format!("timeout_ms is {timeout_ms}; it takes 0 or more, or -1");
            Err(Error::new(ErrorKind::Invalid, text))
        }
    }
}

/// Releases a cache, once no thread uses the handle any more. One that was
/// not closed is closed without waiting. Never blocks; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_cache_free(cache: *mut yc_cache) {
    // SAFETY: the caller hands NULL or a live cache of ours.
    let foreign = unsafe { cache.as_ref() }.is_some_and(|cache| cache.0.check_process().is_err());
    // The child of a fork leaks it on purpose: its locks and threads are the parent's.
    if !foreign {
        // SAFETY: the caller hands NULL or a cache of ours, once.
        unsafe { boundary::free(cache) }
    }
}
