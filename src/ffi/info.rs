//! Reads of entries with their properties.

use std::ffi::c_void;
use std::time::Duration;

use super::arguments::{bytes, out};
use super::cache::{with_cache, yc_cache};
use super::entry::remaining_ms;
use super::error::{YC_MISS, YC_OK, yc_error, yc_status};
use super::trace::call;
use super::value::yc_value;
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Operation, Outcome};
use crate::util::millis;

/// The age of an entry, if the time of its set is not stored.
pub const YC_AGE_UNKNOWN: i64 = -1;

/// The properties of an entry that yc_get_info() has read. Initialise it with
/// YC_ENTRY_INFO_INIT.
#[repr(C)]
pub struct yc_entry_info {
    /// The size of the struct, sizeof(yc_entry_info). The library writes no field
    /// beyond it.
    pub struct_size: usize,
    /// The version of the entry, for yc_set_if() and yc_delete_if(); see
    /// yc_get_versioned().
    pub version: u64,
    /// The time since the entry was set, in milliseconds, or YC_AGE_UNKNOWN. It is
    /// never too short, and up to 2200 ms too long: an entry stores the second of
    /// its set. Another time to live does not change it. On Redis the clocks of the
    /// machines that set and that read the entry count: an age is wrong by the
    /// difference between them.
    pub age_ms: i64,
    /// The remaining time to live in milliseconds, or YC_TTL_DEFAULT (-1) if the
    /// entry never expires, as yc_ttl() returns it.
    pub remaining_ms: i64,
    /// The number of tags of the entry. yc_value_tag() returns their names if the
    /// entry stores them.
    pub tag_count: u64,
    /// Set to zero.
    pub reserved: [u64; 4],
}

/// Returns the largest age that a caller allows; `None`: any.
pub(super) fn max_age(max_age_ms: i64) -> Result<Option<Duration>> {
    match u64::try_from(max_age_ms) {
        Ok(0) => Ok(None),
        Ok(max_age) => Ok(Some(Duration::from_millis(max_age))),
        Err(_) => {
            let text = format!("max_age_ms is {max_age_ms}; it must be 0 (any age) or a positive number");
            Err(Error::new(ErrorKind::Invalid, text))
        }
    }
}

/// Returns an age as the ABI has it.
pub(super) fn age_ms(age: Option<Duration>) -> i64 {
    age.map_or(YC_AGE_UNKNOWN, |age| i64::try_from(millis(age)).unwrap_or(i64::MAX))
}

/// Reads the value of a key with its version, its age, its remaining time to live
/// and its tags. On Redis and Memcached this takes as many round
/// trips as yc_get(), which is one as a rule, and one more while a caller loads the
/// key again. The value comes from the servers, also if the near cache has a copy.
/// While a fallback serves, the properties are those of its entry.
///
/// max_age_ms is the largest age of an entry that is accepted, or 0 for any age. An
/// older entry is a miss for this call: it stays, with its time to live, and
/// counts as a miss and not as an expiry. Since an age may be up to 2200 ms too
/// long, an entry that is younger than max_age_ms by less than that may be a miss
/// too; an older one is never returned. An entry of unknown age is a miss if
/// max_age_ms is not 0: in memory an entry that was set without a time to live, on
/// Redis a counter, and an entry of a version of the library that did not store
/// the time of the set.
///
/// An entry stores hashes of its tags, and their names only with the option
/// tag_names: then yc_value_tag() returns those of *value, also for a YC_OP_GET_INFO
/// of a batch or a queue. Without names, yc_explain() tells for given ones whether
/// the entry has them.
///
/// On Redis the remaining time is read directly before the value. If another
/// program sets the key between the two, it may be that of the entry before.
///
/// Returns:
/// - YC_OK: *value is the value, which the caller frees with yc_value_free();
///   *info has the properties. info may be NULL.
/// - YC_MISS: the key does not exist, or its entry is too old. Nothing is written.
/// - Errors: YC_E_INVALID if max_age_ms is negative or info->struct_size is too
///   small; see yc_get().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_get_info(
    cache: *mut yc_cache,
    key: *const c_void,
    key_len: usize,
    max_age_ms: i64,
    value: *mut *mut yc_value,
    info: *mut yc_entry_info,
    err: *mut *mut yc_error,
) -> yc_status {
    // SAFETY: the caller's arguments, each checked before use.
    unsafe {
        with_cache("yc_get_info", cache, err, |cache| {
            let (key, value, max_age) = (bytes(key, key_len, "key")?, out(value, "value")?, max_age(max_age_ms)?);
            check_size(info)?;
            let Outcome::Info(found) = call(cache, Operation::GetInfo { key, max_age })? else {
                return Ok(YC_MISS);
            };
            if let Some(info) = info.as_mut() {
                info.version = found.version;
                info.age_ms = age_ms(found.age);
                info.remaining_ms = remaining_ms(found.left);
                info.tag_count = found.tags;
            }
            value.write(yc_value::into_raw(found.named_value()));
            Ok(YC_OK)
        })
    }
}

/// Refuses a struct that is shorter than the one that this library writes.
unsafe fn check_size(info: *const yc_entry_info) -> Result<()> {
    // SAFETY: the caller hands NULL or a struct whose first field is set.
    let Some(size) = (unsafe { info.cast::<usize>().as_ref() }) else { return Ok(()) };
    if *size >= size_of::<yc_entry_info>() {
        return Ok(());
    }
    let text = format!("info->struct_size is {size}; initialise the struct with YC_ENTRY_INFO_INIT");
    Err(Error::new(ErrorKind::Invalid, text))
}
