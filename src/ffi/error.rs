//! The numbers of `yc_status` with the error kind of each, and `yc_error`: an error that the caller owns.

use std::ffi::{CString, c_char};

use super::boundary;
use crate::error::{Error, ErrorKind};

/// The status that a function returns: 0 is success, a positive number is an
/// outcome that is not a failure, and a negative number is a failure. A number
/// never changes its meaning. Later versions may add numbers: treat an unknown
/// negative number as a failure.
pub type yc_status = i32;

/// The operation succeeded.
pub const YC_OK: yc_status = 0;
/// The key does not exist, has expired, or was invalidated through a tag.
pub const YC_MISS: yc_status = 1;
/// The listing has no more keys.
pub const YC_END: yc_status = 2;
/// The value is past its time to live, but may still be served.
pub const YC_STALE: yc_status = 3;
/// An earlier load found nothing, and the cache remembers that.
pub const YC_ABSENT: yc_status = 4;
/// There is no value to serve; the caller holds the lease and must load it.
pub const YC_LEASED: yc_status = 5;
/// The loaded value was not stored: since its lease was taken, the key was set,
/// deleted or invalidated, or the lease expired.
pub const YC_SUPERSEDED: yc_status = 6;
/// The condition does not hold. Nothing changed.
pub const YC_UNMET: yc_status = 7;

/// An argument is not allowed: it is NULL, empty or out of range.
pub const YC_E_INVALID: yc_status = -101;
/// The configuration is not usable. The message names the option.
pub const YC_E_CONFIG: yc_status = -102;
/// A key, value or list of tags exceeds the limit of this cache. Nothing was
/// stored.
pub const YC_E_TOO_LARGE: yc_status = -103;
/// The buffer is too small. The required length was written.
pub const YC_E_BUFFER_TOO_SMALL: yc_status = -104;
/// The backend or server does not support the operation. The message gives
/// the reason.
pub const YC_E_UNSUPPORTED: yc_status = -105;
/// The program was compiled against a header that this library does not
/// support.
pub const YC_E_ABI_MISMATCH: yc_status = -106;

/// The cache, queue or subscription is closed.
pub const YC_E_CLOSED: yc_status = -201;
/// The handle was opened before a fork, and this process is the child. Open a
/// new cache.
pub const YC_E_FORKED: yc_status = -202;
/// The operation was cancelled.
pub const YC_E_CANCELLED: yc_status = -203;
/// Too many operations are in flight, or the process has no memory or file
/// descriptor left for the call. Retry later.
pub const YC_E_BUSY: yc_status = -204;

/// The server is not reachable: connection refused, unknown host, no route.
pub const YC_E_CONNECT: yc_status = -301;
/// The server rejected the credentials.
pub const YC_E_AUTH: yc_status = -302;
/// The server accepted the user but denies the command.
pub const YC_E_DENIED: yc_status = -303;
/// The TLS handshake failed: certificate, host name or version.
pub const YC_E_TLS: yc_status = -304;
/// The deadline passed before the server replied.
pub const YC_E_TIMEOUT: yc_status = -305;
/// The server is out of memory.
pub const YC_E_SERVER_MEMORY: yc_status = -306;
/// The reply violates the protocol of the server.
pub const YC_E_PROTOCOL: yc_status = -307;
/// The server replied with an error that has no status of its own.
pub const YC_E_SERVER: yc_status = -308;

/// The library failed inside the function: this is a bug. The cache remains
/// usable. Please report it.
pub const YC_E_PANIC: yc_status = -901;

/// Returns the status of an error kind.
pub fn status_of(kind: ErrorKind) -> yc_status {
    match kind {
        ErrorKind::Invalid => YC_E_INVALID,
        ErrorKind::Config => YC_E_CONFIG,
        ErrorKind::TooLarge => YC_E_TOO_LARGE,
        ErrorKind::BufferTooSmall => YC_E_BUFFER_TOO_SMALL,
        ErrorKind::Unsupported => YC_E_UNSUPPORTED,
        ErrorKind::AbiMismatch => YC_E_ABI_MISMATCH,
        ErrorKind::Closed => YC_E_CLOSED,
        ErrorKind::Forked => YC_E_FORKED,
        ErrorKind::Cancelled => YC_E_CANCELLED,
        ErrorKind::Busy => YC_E_BUSY,
        ErrorKind::Connect => YC_E_CONNECT,
        ErrorKind::Auth => YC_E_AUTH,
        ErrorKind::Denied => YC_E_DENIED,
        ErrorKind::Tls => YC_E_TLS,
        ErrorKind::Timeout => YC_E_TIMEOUT,
        ErrorKind::ServerMemory => YC_E_SERVER_MEMORY,
        ErrorKind::Protocol => YC_E_PROTOCOL,
        ErrorKind::Server => YC_E_SERVER,
        ErrorKind::Panic => YC_E_PANIC,
    }
}

/// Returns the name of a status, such as "YC_E_TIMEOUT", or "YC_E_UNKNOWN" for a
/// number that this version does not know. The string is static: do not free it.
#[unsafe(no_mangle)]
pub extern "C" fn yc_status_name(status: yc_status) -> *const c_char {
    let name = match status {
        YC_OK => c"YC_OK",
        YC_MISS => c"YC_MISS",
        YC_END => c"YC_END",
        YC_STALE => c"YC_STALE",
        YC_ABSENT => c"YC_ABSENT",
        YC_LEASED => c"YC_LEASED",
        YC_SUPERSEDED => c"YC_SUPERSEDED",
        YC_UNMET => c"YC_UNMET",
        YC_E_INVALID => c"YC_E_INVALID",
        YC_E_CONFIG => c"YC_E_CONFIG",
        YC_E_TOO_LARGE => c"YC_E_TOO_LARGE",
        YC_E_BUFFER_TOO_SMALL => c"YC_E_BUFFER_TOO_SMALL",
        YC_E_UNSUPPORTED => c"YC_E_UNSUPPORTED",
        YC_E_ABI_MISMATCH => c"YC_E_ABI_MISMATCH",
        YC_E_CLOSED => c"YC_E_CLOSED",
        YC_E_FORKED => c"YC_E_FORKED",
        YC_E_CANCELLED => c"YC_E_CANCELLED",
        YC_E_BUSY => c"YC_E_BUSY",
        YC_E_CONNECT => c"YC_E_CONNECT",
        YC_E_AUTH => c"YC_E_AUTH",
        YC_E_DENIED => c"YC_E_DENIED",
        YC_E_TLS => c"YC_E_TLS",
        YC_E_TIMEOUT => c"YC_E_TIMEOUT",
        YC_E_SERVER_MEMORY => c"YC_E_SERVER_MEMORY",
        YC_E_PROTOCOL => c"YC_E_PROTOCOL",
        YC_E_SERVER => c"YC_E_SERVER",
        YC_E_PANIC => c"YC_E_PANIC",
        _ => c"YC_E_UNKNOWN",
    };
    name.as_ptr()
}

/// An error: a status, a message, and a flag that tells whether a retry can
/// succeed. Every function that can fail has a last parameter `yc_error **err`,
/// which may be NULL. If it is not NULL, every call writes *err: an error if the
/// status is negative, else NULL. The caller frees the error with
/// yc_error_free(). An error is immutable: any thread may read it.
pub struct yc_error {
    status: yc_status,
    retryable: bool,
    message: CString,
}

impl yc_error {
    /// Returns a handle that the caller owns.
    pub(super) fn into_raw(error: &Error) -> *mut Self {
        let text = error.message().replace('\0', "\\0");
        Box::into_raw(Box::new(Self {
            status: status_of(error.kind()),
            retryable: error.is_retryable(),
            message: CString::new(text).unwrap_or_default(),
        }))
    }
}

/// Returns the status of an error, or YC_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_status(error: *const yc_error) -> yc_status {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(YC_OK, |error| error.status)
}

/// Returns the message of an error: one line of UTF-8 that names the object that
/// failed, the cause and the remedy. It never contains a password or a value.
/// The error owns the string. Returns "" for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_message(error: *const yc_error) -> *const c_char {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// Returns 1 if the same call may succeed later without a change by the caller,
/// else 0. Returns 0 for NULL. An error with YC_E_SERVER is retryable if the
/// state of the server is temporary (LOADING, CLUSTERDOWN, TRYAGAIN, READONLY,
/// MASTERDOWN, BUSY, MISCONF, NOREPLICAS, or a Memcached server that is busy).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_retryable(error: *const yc_error) -> i32 {
    // SAFETY: the caller hands NULL or a live error of ours.
    unsafe { error.as_ref() }.map_or(0, |error| i32::from(error.retryable))
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_error_free(error: *mut yc_error) {
    // SAFETY: the caller hands NULL or an error of ours, once.
    unsafe { boundary::free(error) }
}
