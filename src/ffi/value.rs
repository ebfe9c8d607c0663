//! `yc_value`: bytes the library hands out.

use super::boundary;
use crate::value::Value;

/// Bytes the library hands out: a cached value, or a report. Immutable and
/// reference counted: it shares the cache's memory without a copy and stays
/// valid when the entry is replaced, evicted or invalidated and after the
/// cache is freed. Any thread may read it; release it once with
/// yc_value_free().
pub struct yc_value(Value);

impl yc_value {
    /// The value as the caller owns it.
    pub(super) fn into_raw(value: Value) -> *mut Self {
        Box::into_raw(Box::new(Self(value)))
    }
}

/// The bytes, and in *len their number (len may be NULL). Never NULL for a
/// value, also an empty one; NULL and 0 for NULL. They live as long as the
/// value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_data(value: *const yc_value, len: *mut usize) -> *const core::ffi::c_void {
    // SAFETY: the caller hands NULL or a live value of ours.
    let bytes = unsafe { value.as_ref() }.map(|value| value.0.as_bytes());
    if !len.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { len.write(bytes.map_or(0, <[u8]>::len)) };
    }
    bytes.map_or(core::ptr::null(), |bytes| bytes.as_ptr().cast())
}

/// A second handle on the same bytes, released on its own; nothing is copied.
/// NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_clone(value: *const yc_value) -> *mut yc_value {
    // SAFETY: the caller hands NULL or a live value of ours.
    unsafe { value.as_ref() }.map_or(core::ptr::null_mut(), |value| yc_value::into_raw(value.0.clone()))
}

/// Releases a value. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_free(value: *mut yc_value) {
    // SAFETY: the caller hands NULL or a value of ours, once.
    unsafe { boundary::free(value) }
}
