//! `yc_set_log`: sends log lines to a callback of the host.

use std::ffi::{c_char, c_void};

use tracing::Level;

use super::arguments::{UserData, yc_finalise_fn};
use super::boundary;
use super::error::{YC_OK, yc_error, yc_status};
use super::fork::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Sink, clear_sink, set_sink};

/// Log level: no lines.
pub const YC_LOG_OFF: i32 = 0;
/// Log level: failures that should not occur.
pub const YC_LOG_ERROR: i32 = 1;
/// Log level: problems that the library has handled.
pub const YC_LOG_WARN: i32 = 2;
/// Log level: events for an operator: opened, closed, reconnected.
pub const YC_LOG_INFO: i32 = 3;
/// Log level: details that help to find a fault.
pub const YC_LOG_DEBUG: i32 = 4;
/// Log level: all lines.
pub const YC_LOG_TRACE: i32 = 5;

/// Receives a log line: len bytes of UTF-8, followed by a NUL, without a line
/// end. A line never contains a value or a password. The library calls the
/// function from any thread, also from several at the same time. The function may
/// call the library; such calls write no log lines. It must not block for long,
/// throw or call longjmp().
pub type yc_log_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, line: *const c_char, len: usize)>;

struct Callback {
    log: yc_log_fn,
    data: UserData,
}

impl Sink for Callback {
    fn write(&self, level: Level, line: &str) {
        let mut text = line.replace('\0', "\\0");
        let len = text.len();
        text.push('\0');
        if let Some(log) = self.log {
            // SAFETY: the host's own function with the host's own data; the text outlives the call.
            unsafe { log(self.data.pointer(), number_of(level), text.as_ptr().cast(), len) };
        }
    }
}

fn number_of(level: Level) -> i32 {
    match level {
        Level::ERROR => YC_LOG_ERROR,
        Level::WARN => YC_LOG_WARN,
        Level::INFO => YC_LOG_INFO,
        Level::DEBUG => YC_LOG_DEBUG,
        Level::TRACE => YC_LOG_TRACE,
    }
}

fn level_of(number: i32) -> Result<Option<Level>> {
    Ok(Some(match number {
        YC_LOG_OFF => return Ok(None),
        YC_LOG_ERROR => Level::ERROR,
        YC_LOG_WARN => Level::WARN,
        YC_LOG_INFO => Level::INFO,
        YC_LOG_DEBUG => Level::DEBUG,
        YC_LOG_TRACE => Level::TRACE,
        _ => {
            let text = format!("level is {number}; it must be YC_LOG_OFF (0) to YC_LOG_TRACE (5)");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    }))
}

/// Sets the log callback of the process for all caches, in place of the previous
/// one. The callback receives the lines of a level and of the more severe ones.
/// If log is NULL or level is YC_LOG_OFF, logging ends. Logging is off by
/// default. The library calls finalise, which may be NULL, with user_data after
/// the last line, unless this function fails.
///
/// Errors: YC_E_INVALID for an unknown level.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_set_log(
    level: i32,
    log: yc_log_fn,
    user_data: *mut c_void,
    finalise: yc_finalise_fn,
    err: *mut *mut yc_error,
) -> yc_status {
    let body = || {
        let level = level_of(level)?;
        // Before anything that a fork must not interrupt.
        watch();
        // Without a level or a function there is nothing to keep the data for: the finaliser runs now.
        let callback = Box::new(Callback { log, data: UserData::new(user_data, finalise) });
        match level.filter(|_| log.is_some()) {
            Some(level) => set_sink(level, callback),
            None => clear_sink(),
        }
        Ok(YC_OK)
    };
    // SAFETY: the caller's `err`, handed on.
    unsafe { boundary::call_uncancelled("yc_set_log", err, body) }
}
