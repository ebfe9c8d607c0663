//! Reports of a cache: statistics, health, metrics, size and capabilities.

use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use arc_swap::Guard;

use super::arguments::{array, bytes, null, out, slices, yc_slice};
use super::boundary::{self, wait};
use super::cache::{with_cache, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};
use super::invalidate::YC_COUNT_UNKNOWN;
use super::trace::call;
use super::value::yc_value;
use crate::cache::{Cache, metrics_of_many};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::blocking;
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
/// Capability: yc_set_if(), yc_delete_if(), yc_get_and_expire(),
/// yc_counter_add() and yc_get_or_lease() work. Redis needs the permission for
/// scripts (+eval), Memcached must not run with -C.
pub const YC_CAN_COMPARE: u64 = 16;
/// Capability: yc_redis_command() works.
pub const YC_CAN_COMMAND: u64 = 32;
/// Capability: yc_publish() and yc_subscribe() work.
pub const YC_CAN_PUBLISH: u64 = 64;
/// Capability: the memory of this process may have values, which yc_get_near()
/// reads: the memory backend, or a near cache.
pub const YC_CAN_NEAR: u64 = 128;
/// Capability: yc_events_open() works.
pub const YC_CAN_EVENTS: u64 = 256;

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

/// Explains a key as one JSON object: whether yc_get() returns its value, why, and
/// where the key is. The call is not counted as a hit or a miss, is no use of the
/// entry, changes nothing, and does not load anything. tags is an array of names
/// of tags, or NULL if n_tags is 0: entries contain hashes of their tags, and
/// those of the named ones are reported by name.
///
/// The object has these fields. A field that does not apply is null:
/// - "exists": true if yc_get() returns a value.
/// - "state": "fresh"; "stale" (past the time to live, but yc_get_or_lease() may
///   return it); "absent" (the cache remembers that a load found nothing); or
///   "missing".
/// - "reason": null if the key exists, else the reason of the miss: "not_stored",
///   "expired", "invalidated", "absent", "leased" (a caller loads the key),
///   "held_back" (the last load failed), "damaged", "foreign" (another program
///   wrote the bytes), "later_version" (a later version of the library did) or
///   "outdated" (on Memcached with failover: eject or discovery: config).
/// - "message": the state and its reason as text, which may change.
/// - "ttl_ms": the time left of a fresh value or of an absence; null if it never
///   ends.
/// - "stale_ms": the time left of a stale value, or the time after "ttl_ms" in
///   which a fresh one may be served as stale; null for none.
/// - "age_ms": the time since the entry was set, up to two seconds more; a change
///   of the time to live and a copy do not change it. Null with "age_unknown", the
///   reason as text, if the time of the set is not stored: in memory with entries
///   that never expire, on Redis with counters, and with entries of earlier
///   versions of the library.
/// - "version": the version of the entry in decimal digits, as a string: it has 64
///   bits.
/// - "value_bytes": the length of the value. "stored_bytes": the bytes that the
///   server stores under the name, or the memory that the entry takes.
/// - "tags": an array with an object for each tag of the entry: "name" (null if it
///   is not among tags and the entry does not store it), "hash" (16 hexadecimal
///   digits, as in the stored name of its version) and "status": "current",
///   "invalidated", or "lost" if the server does not have its version any more,
///   which counts as an invalidation.
/// - "tags_not_carried": an array with the names among tags that the entry does not
///   have; empty without an entry.
/// - "lease": null, or an object: "kind" is "held" or "held_back", "left_ms" the
///   time after which it ends by itself.
/// - "serving": "primary", or "fallback" if the fallback serves.
/// - "backend": "memory", "redis" or "memcached"; "server": the server of the key
///   as yc_health() names it, or "memory".
/// - "topology": "single", "sentinel" or "cluster" on Redis; "slot": the slot of
///   the key in a cluster.
/// - "stored_name": the name under which the server stores the entry; null on
///   memory.
///
/// In names of tags and in "stored_name", backslashes and bytes that cannot be
/// printed are escaped (\\ \n \r \t \xNN). Servers count the read among their own
/// hits. Redis, and Memcached over the binary protocol, also take it for a use of
/// the entry when they evict.
///
/// Returns YC_OK also if the key does not exist. *json: see yc_stats(). Errors:
/// see yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_explain(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    tags: *const yc_slice,
    n_tags: usize,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_explain", cache, err, |cache| {
            let (key, tags, place) = (bytes(key, key_len, "key")?, slices(tags, n_tags, "tags")?, out(json, "json")?);
            place.write(text(&wait(cache, |context| cache.explain(context, key, &tags))?));
            Ok(YC_OK)
        })
    }
}

/// Reports counters, gauges and a latency histogram in the text format of
/// Prometheus (0.0.4, "text/plain; version=0.0.4"). The guide lists the names;
/// later versions may add some. Each sample has the labels backend and
/// key_prefix. One text describes one cache. Do not concatenate the texts of two
/// caches, because each of them declares the metric families: use
/// yc_metrics_many(). The function asks each server for its health, as
/// yc_health() does, changes no counter, and does not list the keys of servers.
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

/// Reports the metrics of many caches as one text, as yc_metrics() does for one.
/// Each metric family is declared once. Each sample has the label cache, the name
/// of its cache, in addition to those of yc_metrics(). caches and names are arrays
/// of count items; both may be NULL if count is 0. A name is a string of 1 to 256
/// bytes of UTF-8, and no two names are equal. The samples are in the order of the
/// arrays. The servers of all caches are asked at the same time.
///
/// A cache that is closed is left out. Without any other cache, *text is empty.
/// *text: see *json of yc_stats().
///
/// Errors: YC_E_INVALID for a cache or a name that is NULL, for a name that is
/// empty, too long, not UTF-8 or given twice; YC_E_FORKED for a cache of the parent
/// process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_metrics_many(
    caches: *const *mut yc_cache,
    names: *const *const c_char,
    count: usize,
    text: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    let body = || {
        // SAFETY: the caller's arguments, each checked before use.
        let (named, place) = unsafe { (named_caches(caches, names, count)?, out(text, "text")?) };
        place.write(value_of(&blocking::wait(|context| metrics_of_many(context, named))?));
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_metrics_many", err, body) }
}

/// The longest name of a cache, which each of its samples has.
const LONGEST_NAME: usize = 256;

/// Returns the open caches with their names.
unsafe fn named_caches(
    caches: *const *mut yc_cache,
    names: *const *const c_char,
    count: usize,
) -> Result<Vec<(Box<str>, Arc<Cache>)>> {
    // SAFETY: the caller promises that many items of both.
    let (caches, names) = unsafe { (array(caches, count, "caches")?, array(names, count, "names")?) };
    let (mut named, mut known) = (Vec::new(), HashSet::new());
    for (at, (cache, name)) in caches.iter().zip(names).enumerate() {
        // SAFETY: the caller hands NULL or a live cache of ours, and NULL or a string with a NUL.
        let (cache, name) = unsafe { (cache.as_ref(), cache_name(*name, at)?) };
        let cache = cache.ok_or_else(|| null(&format!("caches[{at}]")))?;
        if !known.insert(name) {
            return Err(invalid_name(at, &format!("is given twice: {name:?}")));
        }
        match cache.handle.cache() {
            Ok(open) => named.push((name.into(), Guard::into_inner(open))),
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => return Err(error),
        }
    }
    Ok(named)
}

unsafe fn cache_name<'a>(name: *const c_char, at: usize) -> Result<&'a str> {
    if name.is_null() {
        return Err(null(&format!("names[{at}]")));
    }
    // SAFETY: not NULL, and the caller promises a NUL at the end.
    let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| invalid_name(at, "is not UTF-8"))?;
    match name.len() {
        0 => Err(invalid_name(at, "is empty")),
        1..=LONGEST_NAME => Ok(name),
        len => Err(invalid_name(at, &format!("has {len} bytes; it must have {LONGEST_NAME} at most"))),
    }
}

#[cold]
fn invalid_name(at: usize, fault: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("names[{at}] {fault}"))
}

/// Reports the size of the cache: *keys is the number of entries, and *bytes is
/// the size of keys, values and bookkeeping. Each of the two pointers may be
/// NULL. An exact count is the number of keys that a listing returns: entries
/// that expired or were invalidated are not counted. The count is exact with
/// YC_CAN_SIZE. Without it, the count is exact while the prefix has up to 1000
/// entries on each server and the server has few other names. "size_estimated" of
/// yc_stats() reports whether the count is an estimate. The memory backend counts
/// in small steps that do not block other calls. For the view of a namespace (see
/// yc_view()), the call lists the keys, and *bytes is YC_COUNT_UNKNOWN.
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
            let (number, size) = wait(cache, |context| cache.size(context))?;
            if let Some(keys) = keys.as_mut() {
                *keys = number;
            }
            if let Some(bytes) = bytes.as_mut() {
                *bytes = size.unwrap_or(YC_COUNT_UNKNOWN);
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
    unsafe { with_cache("yc_ping", cache, err, |cache| call(cache, Operation::Ping).map(|_| YC_OK)) }
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
                + flag(can.compare, YC_CAN_COMPARE)
                + flag(can.command, YC_CAN_COMMAND)
                + flag(can.publish, YC_CAN_PUBLISH)
                + flag(can.near, YC_CAN_NEAR)
                + flag(can.events, YC_CAN_EVENTS);
            out(flags, "flags")?.write(sum);
            Ok(YC_OK)
        })
    }
}
