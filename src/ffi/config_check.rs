//! Checks a configuration without opening a cache.

use std::ffi::c_char;

use super::boundary;
use super::cache::{from_file, read_config};
use super::error::yc_error;
use super::report::text;
use super::status::{YC_OK, yc_status};
use super::value::yc_value;
use crate::config::Config;
use crate::error::Result;

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
            unsafe { json.write(text(&summary)) };
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
