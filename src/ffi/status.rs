//! The numbers of `yc_status`, and the kind behind each.

use std::ffi::c_char;

use crate::error::ErrorKind;

/// What a function answers: 0 is success, a positive number an outcome that
/// is no failure, a negative one a failure. Numbers never change meaning;
/// later versions may add some, so treat an unknown negative as a failure.
pub type yc_status = i32;

/// Success.
pub const YC_OK: yc_status = 0;
/// The key is not there (or has expired, or a tag of it was invalidated).
pub const YC_MISS: yc_status = 1;
/// The listing is at its end.
pub const YC_END: yc_status = 2;

/// An argument is not allowed: NULL, empty, out of range.
pub const YC_E_INVALID: yc_status = -101;
/// The configuration cannot be used; the message names the option.
pub const YC_E_CONFIG: yc_status = -102;
/// A key, value or tag list is larger than this cache takes; nothing was stored.
pub const YC_E_TOO_LARGE: yc_status = -103;
/// The buffer is too small; the needed length was written.
pub const YC_E_BUFFER_TOO_SMALL: yc_status = -104;
/// This backend or server cannot do it; the message says why.
pub const YC_E_UNSUPPORTED: yc_status = -105;
/// The program was compiled against a header this library does not serve.
pub const YC_E_ABI_MISMATCH: yc_status = -106;

/// The cache was closed.
pub const YC_E_CLOSED: yc_status = -201;
/// The cache was opened before a fork and this is the child: open a new one.
pub const YC_E_FORKED: yc_status = -202;
/// The operation was cancelled.
pub const YC_E_CANCELLED: yc_status = -203;
/// Too much is in flight, or the process has no memory or file descriptor left
/// for the call; try again later.
pub const YC_E_BUSY: yc_status = -204;

/// The server cannot be reached: refused, unknown host, no route.
pub const YC_E_CONNECT: yc_status = -301;
/// The server refused the credentials.
pub const YC_E_AUTH: yc_status = -302;
/// The server knows the user and forbids the command.
pub const YC_E_DENIED: yc_status = -303;
/// TLS could not be agreed on: certificate, host name or version.
pub const YC_E_TLS: yc_status = -304;
/// The deadline passed before the server answered.
pub const YC_E_TIMEOUT: yc_status = -305;
/// The server has no memory for it.
pub const YC_E_SERVER_MEMORY: yc_status = -306;
/// What came back is not the server's protocol.
pub const YC_E_PROTOCOL: yc_status = -307;
/// The server answered with an error of another kind.
pub const YC_E_SERVER: yc_status = -308;

/// The library failed inside this function; the cache stays usable.
/// Please report it.
pub const YC_E_PANIC: yc_status = -901;

/// The status of each kind of error.
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

/// The name of a status, such as "YC_E_TIMEOUT"; "YC_E_UNKNOWN" for a number
/// this version does not know. The text is static: never free it.
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
