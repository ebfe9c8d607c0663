//! The version of the library and of its header.

use std::ffi::c_char;

use super::boundary;
use super::error::{YC_OK, yc_error, yc_status};
use crate::error::{Error, ErrorKind};

/// The version of this header: major * 10000 + minor * 100 + patch.
pub const YC_VERSION_NUMBER: u32 = 100;

/// Returns the version of the library, such as "0.1.0". The string is static: do
/// not free it.
#[unsafe(no_mangle)]
pub extern "C" fn yc_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Checks that this library supports a program that was compiled against a
/// header of the given version. Call yc_check_abi(YC_VERSION_NUMBER, &err) once
/// when the program starts. The check succeeds if the library is at least as new
/// as the header and has the same major version, or before 1.0 the same minor
/// version.
///
/// Errors: YC_E_ABI_MISMATCH. The message contains both versions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_check_abi(header_version: u32, err: *mut *mut yc_error) -> yc_status {
    let body = || if serves(header_version) { Ok(YC_OK) } else { Err(mismatch(header_version)) };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call("yc_check_abi", err, body) }
}

fn serves(header: u32) -> bool {
    let series = |version: u32| if version < 10_000 { version / 100 } else { 1000 + version / 10_000 };
    series(header) == series(YC_VERSION_NUMBER) && header <= YC_VERSION_NUMBER
}

fn mismatch(header: u32) -> Error {
    let (major, minor, patch) = (header / 10_000, header / 100 % 100, header % 100);
    let library = env!("CARGO_PKG_VERSION");
    let text = format!(
        "the program was compiled against yokedcache.h {major}.{minor}.{patch} and runs with the library {library}; \
         install both from one release"
    );
    Error::new(ErrorKind::AbiMismatch, text)
}
