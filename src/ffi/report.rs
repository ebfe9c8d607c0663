//! Reports of a cache: statistics, health, metrics, size and capabilities.

use super::arguments::out;
use super::boundary::{answer, wait};
use super::cache::{with_cache, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use super::value::yc_value;
use crate::operation::Operation;
use crate::value::Value;

/// Capability: the backend can list keys. Listing, patterns and search work.
pub const YC_CAN_LIST: u64 = 1;
/// Capability: an invalidation can count the entries that it removes.
pub const YC_CAN_COUNT: u64 = 2;
/// Capability: other processes use the same entries.
pub const YC_CAN_SHARE: u64 = 4;
/// Capability: yc_size() is exact, not an estimate.
pub const YC_CAN_SIZE: u64 = 8;
/// Capability: yc_set_if(), yc_delete_if(), yc_get_and_expire() and
/// yc_counter_add() work. Redis needs the permission for scripts (+eval).
pub const YC_CAN_COMPARE: u64 = 16;

/// Converts text to a value.
pub(super) fn value_of(text: &str) -> *mut yc_value {
    yc_value::into_raw(Value::from(text.as_bytes()))
}

/// Converts JSON to a value.
pub(super) fn text(json: &serde_json::Value) -> *mut yc_value {
    value_of(&json.to_string())
}

/// Reports statistics as one JSON object: the counters since the cache was
/// opened, its size, and latencies in microseconds of a sample of the calls. The
/// guide lists the names; later versions may add some. A number that is not known
/// at the moment is null, such as the number of keys on a server that is down;
/// yc_size() then returns the reason.
///
/// On success *json is UTF-8 without a NUL at the end: use its length. The caller
/// frees it with yc_value_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_stats(
    cache: *mut yc_cache,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_stats", cache, err, |cache| {
            let place = out(json, "json")?;
            place.write(text(&wait(cache, |context| cache.stats(context))?));
            Ok(YC_OK)
        })
    }
}

/// Reports the state of the cache as one JSON object. "status" is "healthy",
/// "degraded" (a part does not work, for example one of several servers is down)
/// or "unhealthy". "reasons" explains the status. "details" contains the report
/// of each server. The function asks each server within the time of one call and
/// changes no counter. An idle cache is healthy.
///
/// Returns YC_OK also if the cache is unhealthy. *json: see yc_stats().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_health(
    cache: *mut yc_cache,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_health", cache, err, |cache| {
            let place = out(json, "json")?;
            place.write(text(&wait(cache, |context| cache.health(context))));
            Ok(YC_OK)
        })
    }
}

/// Reports counters, gauges and a latency histogram in the text format of
/// Prometheus (0.0.4, "text/plain; version=0.0.4"). The guide lists the names;
/// later versions may add some. Each sample has the labels backend and
/// key_prefix. One text describes one cache. Do not concatenate the texts of two
/// caches: each of them declares the metric families. The function asks each
/// server for its health, as yc_health() does, changes no counter, and does not
/// list the keys of servers.
///
/// Returns YC_OK also if a server is down: yokedcache_up reports that. *text: see
/// *json of yc_stats().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_metrics(
    cache: *mut yc_cache,
    text: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_metrics", cache, err, |cache| {
            let place = out(text, "text")?;
            place.write(value_of(&wait(cache, |context| cache.metrics(context))?));
            Ok(YC_OK)
        })
    }
}

/// Reports the size of the cache: *keys is the number of entries, and *bytes is
/// the size of keys, values and bookkeeping. Each of the two pointers may be
/// NULL. An exact count is the number of keys that a listing returns: entries
/// that expired or were invalidated are not counted. The count is exact with
/// YC_CAN_SIZE. Without it, the count is exact while the prefix has up to 1000
/// entries on each server and the server has few other names. "size_estimated" of
/// yc_stats() reports whether the count is an estimate. The memory backend counts
/// in small steps that do not block other calls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_size(
    cache: *mut yc_cache,
    keys: *mut u64,
    bytes: *mut u64,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_size", cache, err, |cache| {
            let usage = wait(cache, |context| cache.usage(context))?;
            if let Some(keys) = keys.as_mut() {
                *keys = usage.keys;
            }
            if let Some(bytes) = bytes.as_mut() {
                *bytes = usage.bytes;
            }
            Ok(YC_OK)
        })
    }
}

/// Checks that every server of the backend replies. Returns YC_OK, or the failure
/// of a server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_ping(cache: *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_ping", cache, err, |cache| answer(|context| cache.call(context, Operation::Ping)).map(|_| YC_OK))
    }
}

/// Reports the capabilities of the backend: *flags is a sum of YC_CAN_ numbers.
/// An operation that the backend does not support returns YC_E_UNSUPPORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_capabilities(cache: *mut yc_cache, flags: *mut u64, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_capabilities", cache, err, |cache| {
            let can = cache.capabilities();
            let flag = |can: bool, flag: u64| if can { flag } else { 0 };
            let sum = flag(can.list, YC_CAN_LIST)
                + flag(can.count, YC_CAN_COUNT)
                + flag(can.shared, YC_CAN_SHARE)
                + flag(can.size, YC_CAN_SIZE)
                + flag(can.compare, YC_CAN_COMPARE);
            out(flags, "flags")?.write(sum);
            Ok(YC_OK)
        })
    }
}
