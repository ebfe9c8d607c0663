//! `yc_value`: bytes the library hands out.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::{null, null_mut};

use triomphe::ThinArc;

use crate::value::Value;

/// Bytes the library hands out: a cached value, or a report. Immutable and
/// reference counted: it shares the cache's memory without a copy and stays
/// valid when the entry is replaced, evicted or invalidated and after the
/// cache is freed. Any thread may read it; release it once with
/// yc_value_free().
pub struct yc_value {
    _opaque: [u8; 0],
}

impl yc_value {
    /// The value as the caller owns it: the pointer is the reference itself, so handing out allocates nothing.
    #[inline]
    pub(super) fn into_raw(value: Value) -> *mut Self {
        ThinArc::from(value).into_raw().cast_mut().cast()
    }

    /// The value behind a handle that stays the caller's.
    #[inline]
    unsafe fn borrow(handle: *const Self) -> Option<ManuallyDrop<Value>> {
        // SAFETY: the caller hands NULL or a live value of ours; it is not released here.
        (!handle.is_null()).then(|| ManuallyDrop::new(Value::from(unsafe { ThinArc::from_raw(handle.cast()) })))
    }
}

/// The bytes, and in *len their number (len may be NULL). Never NULL for a
/// value, also an empty one; NULL and 0 for NULL. They live as long as the
/// value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_data(value: *const yc_value, len: *mut usize) -> *const c_void {
    // SAFETY: the caller hands NULL or a live value of ours.
    let value = unsafe { yc_value::borrow(value) };
    let (data, bytes) = value.map_or((null(), 0), |value| (value.as_bytes().as_ptr().cast(), value.as_bytes().len()));
    if !len.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { len.write(bytes) };
    }
    data
}

/// A second handle on the same bytes, released on its own; nothing is copied.
/// NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_clone(value: *const yc_value) -> *mut yc_value {
    // SAFETY: the caller hands NULL or a live value of ours.
    unsafe { yc_value::borrow(value) }.map_or(null_mut(), |value| yc_value::into_raw(Value::clone(&value)))
}

/// Releases a value. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_free(value: *mut yc_value) {
    // SAFETY: the caller hands NULL or a value of ours, once.
    drop(unsafe { yc_value::borrow(value) }.map(ManuallyDrop::into_inner));
}
