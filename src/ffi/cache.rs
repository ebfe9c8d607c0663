//! `yc_cache`: opening, closing, freeing, the checks of every call, and the check of a configuration.

use std::env;
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::arguments::{null, out};
use super::boundary::{self, answer};
use super::error::{YC_OK, yc_error, yc_status};
use super::fork::watch;
use super::report;
use super::value::yc_value;
use crate::cache::{Cache, CacheHandle};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::blocking::wait;
use crate::queue::Queue;
use crate::util::lock;

/// The timeout of a close for -1: long enough for calls in flight, and short enough not to look like a hang.
const DEFAULT_CLOSE_MS: u64 = 5000;
/// A hundred years: in effect no limit, and within the range of the clock.
const LONGEST_CLOSE_MS: u64 = 100 * 365 * 24 * 3_600_000;

/// A cache. Any thread may call any function on it at any time, also while
/// another thread closes it. yc_cache_free() must be the last call. In the child
/// process after a fork, every call returns YC_E_FORKED at once: open a new
/// cache there.
pub struct yc_cache {
    pub(super) handle: Arc<CacheHandle>,
    /// Closed with the cache.
    queues: Arc<Queues>,
    /// Those of the cache of a view, which are closed with that too.
    queues_of_root: Option<Arc<Queues>>,
}

/// The queues of a cache and of its views.
#[derive(Default)]
struct Queues(Mutex<Vec<Weak<Queue>>>);

impl Queues {
    fn add(&self, queue: &Arc<Queue>, check: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut queues = lock(&self.0);
        check()?;
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(queue));
        Ok(())
    }
}

impl yc_cache {
    /// Has a queue closed with the cache.
    pub(super) fn add_queue(&self, queue: &Arc<Queue>) -> Result<()> {
        self.queues.add(queue, || self.handle.check_open())?;
        self.queues_of_root.as_ref().map_or(Ok(()), |queues| queues.add(queue, || self.handle.check_open()))
    }

    /// Refuses later calls, and returns the queues to close.
    fn refuse_calls(&self) -> Vec<Arc<Queue>> {
        self.handle.refuse_calls();
        lock(&self.queues.0).iter().filter_map(Weak::upgrade).collect()
    }

    fn close(&self, deadline: Instant) -> Result<()> {
        self.handle.check_process()?;
        let (queues, closed) = (self.refuse_calls(), CacheHandle::closed);
        let cut_short = queues.iter().filter(|queue| !queue.close(closed(), &closed(), deadline)).count();
        wait(|context| self.handle.close(context, deadline))?;
        if cut_short == 0 {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Timeout, "operations of a queue were interrupted"))
        }
    }

    fn close_now(&self) {
        self.refuse_calls().iter().for_each(|queue| queue.close_now(CacheHandle::closed()));
    }

    /// Returns the cache as the caller owns it.
    pub(super) fn into_raw(cache: Cache) -> *mut Self {
        watch();
        let handle = Arc::new(CacheHandle::new(cache));
        Box::into_raw(Box::new(Self { handle, queues: Arc::default(), queues_of_root: None }))
    }

    /// Opens a view, and returns it as the caller owns it.
    pub(super) fn view(&self, options: &str) -> Result<*mut Self> {
        let handle = self.handle.view(options)?;
        let queues_of_root = Some(self.queues_of_root.as_ref().unwrap_or(&self.queues).clone());
        Ok(Box::into_raw(Box::new(Self { handle, queues: Arc::default(), queues_of_root })))
    }
}

/// Returns the deadline of a close.
pub(super) fn close_deadline(timeout_ms: i64) -> Result<Instant> {
    let millis = match timeout_ms {
        -1 => DEFAULT_CLOSE_MS,
        0.. => timeout_ms.unsigned_abs().min(LONGEST_CLOSE_MS),
        _ => {
            let text = format!("timeout_ms is {timeout_ms}; it must be 0 or more, or -1");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    };
    Ok(Instant::now() + Duration::from_millis(millis))
}

/// Runs the body of the export `name` with the cache behind a handle.
#[inline]
pub(super) unsafe fn with_handle_of(
    name: &'static str,
    cache: *const yc_cache,
    err: *mut *mut yc_error,
    body: impl FnOnce(&Arc<CacheHandle>, &Cache) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live cache of ours.
        let cache = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        cache.handle.check_open()?;
        body(&cache.handle, &cache.handle.load())
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call(name, err, checked) }
}

/// Runs the body of the export `name` with the cache behind a handle. The memory backend may reach a cancellation point of the
/// system, as it wakes another caller or asks for random numbers: the thread is not cancelled in it.
#[inline]
pub(super) unsafe fn with_cache(
    name: &'static str,
    cache: *const yc_cache,
    err: *mut *mut yc_error,
    body: impl FnOnce(&Cache) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live cache of ours.
        let cache = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        cache.handle.check_open()?;
        body(&cache.handle.load())
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled(name, err, checked) }
}

/// Runs the body of the export `name` with the handle of an open cache.
#[inline]
pub(super) unsafe fn with_open_handle(
    name: &'static str,
    cache: *const yc_cache,
    err: *mut *mut yc_error,
    body: impl FnOnce(&CacheHandle) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live cache of ours.
        let cache = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        cache.handle.check_open()?;
        body(&cache.handle)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call(name, err, checked) }
}

/// Does the same as `with_cache` for functions that keep the cache and may wait for it.
pub(super) unsafe fn with_handle(
    name: &'static str,
    cache: *const yc_cache,
    err: *mut *mut yc_error,
    body: impl FnOnce(&yc_cache) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live cache of ours.
        let cache = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        cache.handle.check_open()?;
        body(cache)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled(name, err, checked) }
}

/// The configuration in a text of the caller's.
pub(super) unsafe fn read_config(config: *const c_char) -> Result<Config> {
    // SAFETY: the caller's string, checked for NULL.
    Config::from_text(utf8(unsafe { text(config, "config") }?, "config")?, &variable)
}

/// Returns the caller's text of options, or None for NULL.
pub(super) unsafe fn options_text<'a>(options: *const c_char) -> Result<Option<&'a str>> {
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL; the caller promises a NUL-terminated string.
    utf8(unsafe { text(options, "options") }?, "options").map(Some)
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

/// Returns a variable. Invalid UTF-8 becomes replacement characters, which the check of the option rejects.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Reads the configuration of an environment from a file. NULL selects the environment that the variable names.
pub(super) unsafe fn from_file(path: *const c_char, environment: *const c_char) -> Result<Config> {
    // SAFETY: the caller's strings, each checked for NULL.
    let path = unsafe { text(path, "path") }?;
    let named = (!environment.is_null()).then(|| {
        // SAFETY: as above.
        unsafe { text(environment, "environment") }.and_then(|text| utf8(text, "environment"))
    });
    Config::from_file(Path::new(OsStr::from_bytes(path.to_bytes())), named.transpose()?, &variable)
}

/// Opens a cache and checks that it is usable. Otherwise nothing stays open.
fn open_ready(config: Config) -> Result<Cache> {
    let cache = Cache::open(config)?;
    match answer(|context| cache.ready(context)) {
        Ok(()) => Ok(cache),
        Err(error) => answer(|context| cache.close(context, Instant::now() + Duration::from_secs(1))).and(Err(error)),
    }
}

/// Opens a cache and writes its handle to the caller.
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
    unsafe { boundary::call_uncancelled(name, err, body) }
}

/// Opens a cache from a configuration text: a URL
/// ("memory://?max_size=1000&key_prefix=app"), or a YAML or JSON document of at
/// most 256 KiB ("{backend: memory, memory: {max_size: 1000}}"). If the document
/// has environments, the variable ENVIRONMENT selects one; the default is
/// "development".
///
/// On success *out is the cache. The caller closes it with yc_close() and frees
/// it with yc_cache_free(). On failure nothing stays open.
///
/// Errors: YC_E_CONFIG (the message contains the unknown option and the nearest
/// known name); YC_E_UNSUPPORTED for a backend that this build does not contain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_open(config: *const c_char, out: *mut *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { open("yc_open", out, err, || read_config(config)) }
}

/// Opens a cache from a YAML or JSON file. The file contains environments
/// ("cache: {development: {…}, production: {…}}") or the body of one.
/// environment selects one of them; NULL uses the variable ENVIRONMENT, whose
/// default is "development".
///
/// Result and errors: see yc_open(). Returns YC_E_CONFIG also if the file is not
/// readable or does not contain the environment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_open_file(
    path: *const c_char,
    environment: *const c_char,
    out: *mut *mut yc_cache,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { open("yc_open_file", out, err, || from_file(path, environment)) }
}

/// Opens a cache from environment variables. Uses the first that is set of
/// YOKEDCACHE_URL (a URL), YOKEDCACHE_CONFIG (the path of a file, see
/// yc_open_file()) and REDIS_URL (a Redis URL).
///
/// Result and errors: see yc_open(). Returns YC_E_CONFIG also if no variable is
/// set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_open_env(out: *mut *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's `out` and `err`, handed on.
    unsafe { open("yc_open_env", out, err, || Config::from_variables(&variable)) }
}

/// Closes a cache and its queues. Calls in flight finish or return YC_E_CLOSED.
/// Later calls return YC_E_CLOSED. All threads and connections of the cache have
/// ended when the function returns. It waits at most timeout_ms milliseconds; -1
/// selects 5000. Values and pages that the library has returned remain valid. A
/// second close returns YC_OK and has no effect.
///
/// Errors: YC_E_TIMEOUT if the time ran out (the cache is closed nevertheless);
/// YC_E_FORKED in a child process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_close(cache: *mut yc_cache, timeout_ms: i64, err: *mut *mut yc_error) -> yc_status {
    let body = || {
        let deadline = close_deadline(timeout_ms)?;
        // SAFETY: the caller hands NULL or a live cache of ours.
        let cache = unsafe { cache.as_ref() }.ok_or_else(|| null("cache"))?;
        cache.close(deadline).map(|()| YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_close", err, body) }
}

/// Frees a cache. No other thread may use the handle any more. A cache that is
/// not closed is closed without waiting. Never blocks. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_cache_free(cache: *mut yc_cache) {
    let body = || {
        // SAFETY: the caller hands NULL or a live cache of ours.
        let ours = unsafe { cache.as_ref() }.filter(|cache| cache.handle.check_process().is_ok());
        // The child of a fork leaks it on purpose: its locks and threads are the parent's.
        if let Some(ours) = ours {
            ours.close_now();
            // SAFETY: the caller hands a cache of ours, once.
            unsafe { boundary::free(cache) };
        }
        Ok(YC_OK)
    };
    // SAFETY: no place for an error.
    unsafe { boundary::call_uncancelled("yc_cache_free", std::ptr::null_mut(), body) };
}

/// Checks a configuration and writes its summary.
unsafe fn check(
    name: &'static str,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
    config: impl FnOnce() -> Result<Config>,
) -> yc_status {
    let body = || {
        let summary = config()?.summary();
        if !json.is_null() {
            // SAFETY: not NULL, and the caller's to be written.
            unsafe { json.write(report::text(&summary)) };
        }
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled(name, err, body) }
}

/// Checks a configuration text without opening a cache. config is the text that
/// yc_open() accepts. The function contacts no server and reads no certificate.
///
/// On success *json is one JSON object, in UTF-8 without a NUL, that describes
/// the resulting configuration: "backend", "servers", "key_prefix", and the
/// options by name, with times in milliseconds ("default_ttl_ms"). "password" is
/// true or false, never the password. "notes" lists accepted options that are
/// probably a mistake, one sentence each; yc_open() logs them at YC_LOG_WARN. The
/// caller frees *json with yc_value_free(). json may be NULL.
///
/// Errors: YC_E_CONFIG and YC_E_UNSUPPORTED, as yc_open() returns them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_config_check(
    config: *const c_char,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { check("yc_config_check", json, err, || read_config(config)) }
}

/// Checks a configuration file without opening a cache. path and environment are
/// the arguments of yc_open_file(). Result and errors: see yc_config_check().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_config_check_file(
    path: *const c_char,
    environment: *const c_char,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { check("yc_config_check_file", json, err, || from_file(path, environment)) }
}
