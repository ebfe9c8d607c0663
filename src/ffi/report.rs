//! What a cache tells of itself.

use super::arguments::out;
use super::cache::{with_cache, yc_cache};
use super::cancellation::{answer, wait};
use super::error::yc_error;
use super::status::{YC_OK, yc_status};
use super::value::yc_value;
use crate::operation::Operation;
use crate::value::Value;

/// Capability: keys can be listed; keys, patterns and search work.
pub const YC_CAN_LIST: u64 = 1;
/// Capability: invalidations know how many entries they removed.
pub const YC_CAN_COUNT: u64 = 2;
/// Capability: other processes see the same entries.
pub const YC_CAN_SHARE: u64 = 4;
/// Capability: yc_size() is exact, no estimate.
pub const YC_CAN_SIZE: u64 = 8;

/// Text as a value.
pub(super) fn value_of(text: &str) -> *mut yc_value {
    yc_value::into_raw(Value::from(text.as_bytes()))
}

/// JSON text as a value.
pub(super) fn text(json: &serde_json::Value) -> *mut yc_value {
    value_of(&json.to_string())
}

/// Counters since the cache was opened, what it holds, and latencies of a
/// sample of the calls in microseconds, as one JSON object; the README lists
/// its names, and later versions add some. A number that nobody can know now
/// is null: the keys of a server that is down, say, of which yc_size() tells
/// why. *json is UTF-8 without a NUL: print it with its length, and release it
/// with yc_value_free().
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
            place.write(text(&wait(cache, cache.stats())?));
            Ok(YC_OK)
        })
    }
}

/// Whether the cache can serve, as one JSON object: "status" is "healthy",
/// "degraded" (a part does not work: one of several servers is down) or
/// "unhealthy", "reasons" says why, "details" has what each server tells of
/// itself. Asks each server within the time of one call. An idle cache is
/// healthy. Asking changes no counter. *json as in yc_stats(). YC_OK also when
/// the cache is unhealthy.
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
            place.write(text(&wait(cache, cache.health())));
            Ok(YC_OK)
        })
    }
}

/// Counters, gauges and a histogram of latencies as the text that Prometheus
/// scrapes (format 0.0.4, "text/plain; version=0.0.4"); the README lists the
/// names, and later versions add some. Each sample has the labels backend and
/// key_prefix. One text is one cache: two are not to be joined, since each names
/// its families. It asks each server how it is, as yc_health() does,
/// changes no counter, and does not walk the keys on servers. *text as in
/// yc_stats(). Returns YC_OK also if a server is down: yokedcache_up reports
/// that.
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
            place.write(value_of(&wait(cache, cache.metrics())?));
            Ok(YC_OK)
        })
    }
}

/// Reports the size of the cache: *keys entries that take *bytes bytes, keys,
/// values and bookkeeping together (each place may be NULL). An exact count is
/// the number of keys that a listing returns: entries that expired or were
/// invalidated do not count. The count is exact with YC_CAN_SIZE. Without it
/// the count is exact while the prefix has up to 1000 entries on each server
/// and the server has few other names. "size_estimated" of yc_stats() reports
/// whether the count is an estimate. The memory backend is walked in small
/// steps that block no other call.
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
            let usage = wait(cache, cache.usage())?;
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

/// Asks the backend for a sign of life; every server of it, where there are
/// several. YC_OK, or what is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_ping(cache: *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { with_cache("yc_ping", cache, err, |cache| answer(cache.call(Operation::Ping)).map(|_| YC_OK)) }
}

/// What the backend can do beyond the basics: *flags is a sum of YC_CAN_
/// numbers. An operation it cannot do answers YC_E_UNSUPPORTED.
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
                + flag(can.size, YC_CAN_SIZE);
            out(flags, "flags")?.write(sum);
            Ok(YC_OK)
        })
    }
}
