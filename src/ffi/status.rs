//! The numbers of `yc_status` and the error kind of each.

use std::ffi::c_char;

use crate::error::ErrorKind;

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

/// The cache or queue is closed.
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
