//! Leases: the right to load one key.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use super::arguments::{bytes, null, out, slices, yc_slice};
use super::boundary;
use super::cache::{with_handle_of, yc_cache};
use super::error::{YC_ABSENT, YC_LEASED, YC_OK, YC_STALE, YC_SUPERSEDED, yc_error, yc_status};
use super::trace::call;
use super::value::yc_value;
use crate::cache::{Cache, CacheHandle};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Fill, Lease, LeaseOptions, LoadState, Loaded};
use crate::operation::{Operation, Outcome};
use crate::ttl::Ttl;

/// Flag of a fill: the load found nothing, and the cache remembers that.
pub const YC_FILL_ABSENT: u32 = 1;
/// Value of stale_for_ms: use the stale_for of the cache.
pub const YC_STALE_FOR_DEFAULT: i64 = -1;

/// The right to load one key. One caller at a time has it, among all processes
/// that share a store and a prefix. A set, a delete, a pattern that matches the
/// key, or a flush ends a lease. A lease is used once, by yc_lease_fill() or
/// yc_lease_abandon(), on any thread. The caller frees it with yc_lease_free(),
/// also after the cache is closed or freed.
pub struct yc_lease {
    handle: Arc<CacheHandle>,
    lease: Arc<Lease>,
}

/// The options of yc_get_or_lease(). Set the struct to zero, then set struct_size
/// and the fields that you need.
#[repr(C)]
pub struct yc_lease_options {
    /// Set to sizeof(yc_lease_options).
    pub struct_size: u32,
    /// 0.
    pub flags: u32,
    /// The time for which the lease is valid if its holder does nothing: 1 to
    /// 86400000; 0 selects the option `lease` of the cache (10 s).
    pub lease_ms: i64,
    /// The time to wait for the load of another holder: 1 to 86400000. 0 waits
    /// until the deadline of a call (socket_timeout, or 1 s on the memory
    /// backend); -1 does not wait.
    pub wait_ms: i64,
    /// The tags of the value to be loaded, as far as they are known before the
    /// load. May be NULL if n_tags is 0.
    pub tags: *const yc_slice,
    /// Number of tags.
    pub n_tags: usize,
    /// Set to zero.
    pub reserved: [u64; 4],
}

/// The result of a load. Set the struct to zero, then set struct_size and the
/// fields that you need.
#[repr(C)]
pub struct yc_fill {
    /// Set to sizeof(yc_fill).
    pub struct_size: u32,
    /// 0 or YC_FILL_ABSENT.
    pub flags: u32,
    /// The loaded value. May be NULL if value_len is 0. YC_FILL_ABSENT ignores it.
    pub value: *const c_void,
    /// Length of value in bytes.
    pub value_len: usize,
    /// Time to live, see yc_set(). With YC_FILL_ABSENT, YC_TTL_DEFAULT selects the
    /// option `negative_ttl` of the cache.
    pub ttl_ms: i64,
    /// The time after ttl_ms in which the value may be served as stale; 0: not at
    /// all. YC_STALE_FOR_DEFAULT selects the option `stale_for` of the cache.
    pub stale_for_ms: i64,
    /// Tags in addition to those of the lease, known only after the load. May be
    /// NULL if n_tags is 0.
    pub tags: *const yc_slice,
    /// Number of tags.
    pub n_tags: usize,
    /// Set to zero.
    pub reserved: [u64; 4],
}

impl yc_lease {
    /// Returns the lease as the caller owns it, or NULL.
    pub(super) fn into_raw(lease: Option<Arc<Lease>>, handle: &Arc<CacheHandle>) -> *mut Self {
        lease.map_or(null_mut(), |lease| Box::into_raw(Box::new(Self { handle: handle.clone(), lease })))
    }

    /// Returns the lease of an operation of a queue or a batch on this cache.
    pub(super) unsafe fn of_op<'a>(lease: *const Self, handle: &Arc<CacheHandle>) -> Result<&'a Arc<Lease>> {
        // SAFETY: the caller hands NULL or a live lease of ours.
        let lease = unsafe { lease.as_ref() }.ok_or_else(|| null("lease"))?;
        if !Arc::ptr_eq(&lease.handle, handle) {
            return Err(Error::new(ErrorKind::Invalid, "the lease belongs to another cache"));
        }
        Ok(&lease.lease)
    }
}

/// Returns the status of a read for loading.
pub(super) fn status_of_load(state: LoadState) -> yc_status {
    match state {
        LoadState::Fresh => YC_OK,
        LoadState::Stale => YC_STALE,
        LoadState::Absent => YC_ABSENT,
        LoadState::Vacant => YC_LEASED,
    }
}

#[cold]
fn wrong_size(name: &str, size: u32) -> Error {
    let text = format!("struct_size is {size}; set the {name} to zero and struct_size to sizeof({name})");
    Error::new(ErrorKind::Invalid, text)
}

#[cold]
pub(super) fn wrong_flags(name: &str, flags: u32, accepted: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("flags of {name} is {flags}; it must be {accepted}"))
}

/// Returns a struct of the caller that begins with its size; `None` for NULL.
pub(super) unsafe fn sized<'a, T>(pointer: *const T, name: &str) -> Result<Option<&'a T>> {
    // SAFETY: the caller hands NULL or a struct of the size that it begins with, which is read first.
    let Some(size) = (unsafe { pointer.cast::<u32>().as_ref() }) else { return Ok(None) };
    if (*size as usize) < size_of::<T>() {
        return Err(wrong_size(name, *size));
    }
    // SAFETY: as above.
    Ok(unsafe { pointer.as_ref() })
}

/// Reads the tags of options.
pub(super) unsafe fn lease_tags<'a>(options: *const yc_lease_options) -> Result<Vec<&'a [u8]>> {
    // SAFETY: the caller's options, or NULL.
    unsafe {
        let options = sized(options, "yc_lease_options")?;
        options.map_or(Ok(Vec::new()), |options| slices(options.tags, options.n_tags, "options.tags"))
    }
}

/// Reads options, whose tags were read before.
pub(super) unsafe fn lease_options<'a>(
    cache: &Cache,
    options: *const yc_lease_options,
    tags: &'a [&'a [u8]],
) -> Result<LeaseOptions<'a>> {
    // SAFETY: the caller's options, or NULL.
    match unsafe { sized(options, "yc_lease_options") }? {
        None => cache.lease_options(0, 0, tags),
        Some(options) if options.flags != 0 => Err(wrong_flags("yc_lease_options", options.flags, "0")),
        Some(options) => cache.lease_options(options.lease_ms, options.wait_ms, tags),
    }
}

/// Reads the tags of a fill.
pub(super) unsafe fn fill_tags<'a>(fill: *const yc_fill) -> Result<Vec<&'a [u8]>> {
    // SAFETY: the caller's fill, or NULL.
    unsafe {
        let fill = sized(fill, "yc_fill")?.ok_or_else(|| null("fill"))?;
        slices(fill.tags, fill.n_tags, "fill.tags")
    }
}

/// Reads a fill, whose tags were read before.
pub(super) unsafe fn read_fill<'a>(cache: &Cache, fill: *const yc_fill, tags: &'a [&'a [u8]]) -> Result<Fill<'a>> {
    // SAFETY: the caller's fill, or NULL.
    unsafe {
        let fill = sized(fill, "yc_fill")?.ok_or_else(|| null("fill"))?;
        if fill.flags & !YC_FILL_ABSENT != 0 {
            return Err(wrong_flags("yc_fill", fill.flags, "0 or YC_FILL_ABSENT"));
        }
        let absent = fill.flags & YC_FILL_ABSENT != 0;
        let value = if absent { &[] } else { bytes(fill.value, fill.value_len, "fill.value")? };
        let ttl = cache.fill_ttl(Ttl::from_millis(fill.ttl_ms)?, absent);
        let stale_for = cache.stale_for(fill.stale_for_ms)?;
        Ok(Fill { value, absent, ttl, stale_for, tags, keeps_load: false })
    }
}

/// Runs the body of the export `name` with a lease, and the cache that serves now.
unsafe fn with_lease(
    name: &'static str,
    lease: *const yc_lease,
    err: *mut *mut yc_error,
    body: impl FnOnce(&Arc<Lease>, &Cache) -> Result<yc_status>,
) -> yc_status {
    let checked = || {
        // SAFETY: the caller hands NULL or a live lease of ours.
        let lease = unsafe { lease.as_ref() }.ok_or_else(|| null("lease"))?;
        lease.handle.check_open()?;
        body(&lease.lease, &lease.handle.load())
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call(name, err, checked) }
}

/// Reads the value of a key, or gives the caller the right to load it. If another
/// caller loads the key, the function waits for that load. options may be NULL.
///
/// Returns:
/// - YC_OK: *value is the fresh value. *lease is NULL; or the lease, if the value
///   is due for an early refresh (option `refresh_ahead`) and this caller must
///   refresh it.
/// - YC_STALE: *value is past its time to live, but within stale_for. *lease is
///   the lease for one caller, which must load the value again; it is NULL for the
///   others.
/// - YC_ABSENT: an earlier load found nothing. *value and *lease are NULL.
/// - YC_LEASED: there is no value. *value is NULL. The caller holds *lease and must
///   load the value, then call yc_lease_fill() or yc_lease_abandon().
/// - YC_E_BUSY (retryable): wait_ms has elapsed and the holder is still loading;
///   or the last load failed, and its holder asked for a pause.
/// - Other errors: see yc_get(). YC_E_INVALID also for options out of range;
///   YC_E_TOO_LARGE for more than 128 tags; YC_E_UNSUPPORTED if the backend has no
///   leases.
///
/// The caller frees *value with yc_value_free() and *lease with yc_lease_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_or_lease(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    options: *const yc_lease_options,
    value: *mut *mut yc_value,
    lease: *mut *mut yc_lease,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle_of("yc_get_or_lease", cache, err, |handle, cache| {
            let (value, lease) = (out(value, "value")?, out(lease, "lease")?);
            let (key, tags) = (bytes(key, key_len, "key")?, lease_tags(options)?);
            let options = lease_options(cache, options, &tags)?;
            if tags.is_empty()
                && !cache.is_traced_closely()
                && let Some(found) = cache.fresh_hit(key)
            {
                value.write(yc_value::into_raw(found));
                lease.write(null_mut());
                return Ok(YC_OK);
            }
            match call(cache, Operation::GetOrLease { key, options })? {
                Outcome::Loaded(Loaded { value: found, state, lease: given, .. }) => {
                    value.write(found.map_or(null_mut(), yc_value::into_raw));
                    lease.write(yc_lease::into_raw(given, handle));
                    Ok(status_of_load(state))
                }
                _ => Err(Error::new(ErrorKind::Server, "the backend gave no outcome of a read for loading")),
            }
        })
    }
}

/// Stores the result of a load with the tags of the lease and of the fill, if the
/// lease is still valid and none of the tags was invalidated since the lease was
/// taken. The library copies all arguments before it returns.
///
/// Returns:
/// - YC_OK: the value, or its absence, was stored.
/// - YC_SUPERSEDED: nothing was stored. Since the lease was taken, the key was set
///   or deleted, the key or one of the tags was invalidated, the lease expired, or
///   the cache was switched to another backend.
/// - YC_E_INVALID: the lease was used already, or an argument is not allowed.
///   YC_E_TOO_LARGE: the value exceeds max_value_bytes, or the lease and the fill
///   have more than 128 tags. YC_E_CLOSED, YC_E_FORKED, and the errors of the
///   backend. After an error the lease is unused: it can be filled again or
///   abandoned.
///
/// An error does not show that the lease is still valid: limits of sizes are also
/// checked before a server is asked. After YC_E_TOO_LARGE or YC_E_SERVER_MEMORY the
/// value may go to callers that asked for the key before its load began. Others
/// must read the key again: it may have changed during the load.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_lease_fill(
    lease: *mut yc_lease,
    fill: *const yc_fill,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_lease("yc_lease_fill", lease, err, |lease, cache| {
            let tags = fill_tags(fill)?;
            let fill = read_fill(cache, fill, &tags)?;
            let outcome = call(cache, Operation::LeaseFill { lease, fill })?;
            Ok(if matches!(outcome, Outcome::Superseded) { YC_SUPERSEDED } else { YC_OK })
        })
    }
}

/// Ends a lease without a result: the load failed. No caller gets a lease for the
/// key for retry_after_ms, 0 to 86400000; callers get a stale value, or YC_E_BUSY.
/// With 0 another caller may load the key at once.
///
/// Returns YC_OK, also if the lease has ended before. Errors: see yc_lease_fill().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_lease_abandon(
    lease: *mut yc_lease,
    retry_after_ms: i64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_lease("yc_lease_abandon", lease, err, |lease, cache| {
            let retry_after = Cache::retry_after(retry_after_ms)?;
            call(cache, Operation::LeaseAbandon { lease, retry_after }).map(|_| YC_OK)
        })
    }
}

/// Frees a lease, and abandons one that was neither filled nor abandoned. Does not
/// wait for a server. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_lease_free(lease: *mut yc_lease) {
    // SAFETY: the caller hands NULL or a live lease of ours.
    let foreign = unsafe { lease.as_ref() }.is_some_and(|lease| lease.handle.check_process().is_err());
    // In the child of a fork it is the parent's: leaked, as yc_cache_free() leaks the cache.
    if !foreign {
        // SAFETY: the caller hands NULL or a lease of ours, once.
        unsafe { boundary::free(lease) }
    }
}
