//! Checking a configuration without opening what it asks for.

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

/// Checks a configuration as yc_open() takes it, and opens nothing: no server
/// is asked and no certificate read. *json (the place may be NULL) is what
/// would be used, as one JSON object: "backend", "servers", "key_prefix" and
/// the options by their names, times in milliseconds ("default_ttl_ms").
/// "password" is true or false, never the password. "notes" lists accepted
/// options that are probably a mistake, each as a sentence. Opening the cache
/// logs them at YC_LOG_WARN. *json is UTF-8 without a NUL; release it with
/// yc_value_free().
///
/// Errors: those of yc_open() that tell of the configuration, YC_E_CONFIG
/// and YC_E_UNSUPPORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_config_check(
    config: *const c_char,
    json: *mut *mut yc_value,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe { check("yc_config_check", json, err, || read_config(config)) }
}

/// As yc_config_check(), for a file as yc_open_file() takes it. With
/// environments it checks the one that is named; NULL is that of the variable
/// ENVIRONMENT, "development" if unset.
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
