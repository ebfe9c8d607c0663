//! `yc_value`: bytes that the caller owns.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::{null, null_mut};

use triomphe::ThinArc;

use crate::tag_names::given_at;
use crate::value::Value;

/// A value that the library returns: the bytes of an entry, or the text of a
/// report. It is immutable and reference-counted. A value of the memory backend
/// shares the memory of the cache without a copy. It remains valid if its entry
/// is replaced, evicted or invalidated, and after the cache is freed. Any thread
/// may read it. The caller frees it with yc_value_free().
pub struct yc_value {
    _opaque: [u8; 0],
}

impl yc_value {
    /// Returns a handle that the caller owns. The pointer is the reference itself: no memory is allocated.
    #[inline]
    pub(super) fn into_raw(value: Value) -> *mut Self {
        ThinArc::from(value).into_raw().cast_mut().cast()
    }

    /// Borrows the value of a handle that the caller keeps.
    #[inline]
    unsafe fn borrow(handle: *const Self) -> Option<ManuallyDrop<Value>> {
        // SAFETY: the caller hands NULL or a live value of ours; it is not released here.
        (!handle.is_null()).then(|| ManuallyDrop::new(Value::from(unsafe { ThinArc::from_raw(handle.cast()) })))
    }
}

/// Returns the bytes of a value and writes their number to *len. len may be
/// NULL. The value owns the bytes. The result is not NULL for a value, even for
/// an empty one. For NULL the function returns NULL and writes 0.
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

/// Returns the name of a tag of the entry that yc_get_info() has read, and writes its
/// length to *len. len may be NULL. The tags have the index 0, 1 and so on, in the
/// order in which the entry was set with them, each once, and without the namespace
/// of a view. The value owns the bytes, which are not NUL-terminated.
///
/// Returns NULL and writes 0 behind the last tag, for NULL, for a value of another
/// function, and for an entry that does not store the names of its tags: it was set
/// without the option tag_names, or its names take more than 2 KiB (two bytes more
/// each, with their namespaces). yc_entry_info.tag_count has the number of tags in
/// any case.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_tag(value: *const yc_value, index: usize, len: *mut usize) -> *const c_void {
    // SAFETY: the caller hands NULL or a live value of ours.
    let value = unsafe { yc_value::borrow(value) };
    let name = value.as_ref().and_then(|value| given_at(value.tag_names(), index));
    let (data, bytes) = name.map_or((null(), 0), |name| (name.as_ptr().cast(), name.len()));
    if !len.is_null() {
        // SAFETY: not NULL, and the caller's to be written.
        unsafe { len.write(bytes) };
    }
    data
}

/// Returns a second handle on the same bytes without copying them. The caller
/// frees each handle with yc_value_free(). Returns NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_clone(value: *const yc_value) -> *mut yc_value {
    // SAFETY: the caller hands NULL or a live value of ours.
    unsafe { yc_value::borrow(value) }.map_or(null_mut(), |value| yc_value::into_raw(Value::clone(&value)))
}

/// Frees a value. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn yc_value_free(value: *mut yc_value) {
    // SAFETY: the caller hands NULL or a value of ours, once.
    drop(unsafe { yc_value::borrow(value) }.map(ManuallyDrop::into_inner));
}
