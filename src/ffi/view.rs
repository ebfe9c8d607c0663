//! Views of a cache.

use std::ffi::c_char;

use super::arguments::out;
use super::cache::{options_text, with_handle, yc_cache};
use super::error::{YC_OK, yc_error, yc_status};

/// Opens a view of a cache: a second yc_cache on the same connections and
/// threads, with other defaults. Every function accepts a view, except
/// yc_migrate() and yc_switch(), which return YC_E_UNSUPPORTED. A switch of the
/// cache applies to its views.
///
/// options is a YAML or JSON document; NULL selects no options. An option that is
/// not given is that of the cache:
/// - namespace: 1 to 64 of A-Z a-z 0-9 _ . - ; the keys and the tags of the view
///   are apart from those of the cache and of other namespaces. Listings, search
///   and events return them without the namespace. yc_clear() and yc_flush() remove
///   the entries of the namespace. Channels and yc_redis_command() are those of the cache. The
///   namespace, the key and 2 bytes are at most 64 KiB.
/// - timeout: the time limit of a call, shorter or longer than socket_timeout,
///   such as 20ms. It also limits wait_ms of yc_get_or_lease().
/// - default_ttl: the time to live for YC_TTL_DEFAULT, such as 1m; 0 never
///   expires.
/// - tags: a list of tags that each entry gets in addition to those of the call.
/// - touch_on_get: true selects sliding expiry. yc_get(), yc_get_into(),
///   yc_get_many() and a fresh value of yc_get_or_lease() give the entry the default
///   time to live again; near copies are not used.
/// - max_age: the largest age of an entry that reads of the view accept, such as
///   10s. An older entry, or one of unknown age, is a miss for yc_get(),
///   yc_get_into(), yc_get_many(), yc_get_versioned(), yc_get_info() and
///   yc_get_and_expire(), and stays; see yc_get_info() for the accuracy. Near copies
///   are not used. yc_get_or_lease() returns YC_E_UNSUPPORTED.
/// - patterns: walk or barrier, how yc_invalidate_pattern() works.
///
/// A view of a view has the options of both; the later one counts, and the tags
/// are added. All views of a namespace have the same statistics: yc_stats() and
/// yc_metrics() of a view report them, and those of the cache report the first 64
/// namespaces.
///
/// On success *out is the view. The caller closes it with yc_close() and frees it
/// with yc_cache_free(). This closes no connection, and no other view. yc_close()
/// of the cache closes its views: calls on them return YC_E_CLOSED. A view may be
/// freed after its cache.
///
/// Errors: YC_E_CONFIG (the message contains the unknown option); YC_E_INVALID if
/// the view has a namespace and options names another; YC_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_view(
    cache: *mut yc_cache,
    options: *const c_char,
    out: *mut *mut yc_cache,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_handle("yc_view", cache, err, |cache| {
            let place = self::out(out, "out")?;
            place.write(cache.view(options_text(options)?.unwrap_or_default())?);
            Ok(YC_OK)
        })
    }
}
