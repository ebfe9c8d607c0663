//! Converts raw arguments to slices and output places, or rejects them, and holds the data of callbacks.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use crate::error::{Error, ErrorKind, Result};
use crate::util::allocation;

/// Largest number of copies of the strings of a list that exist at the same time.
const COPIES: usize = 4;
/// Largest number of bytes that the lists hold for each item.
const LISTED: usize = 256;

/// A sequence of bytes: a key, a tag or a value. The caller owns the bytes that
/// it passes; the library copies them before the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct yc_slice {
    /// Points to the first byte. May be NULL if len is 0.
    pub data: *const c_void,
    /// Number of bytes.
    pub len: usize,
}

#[cold]
pub(super) fn null(name: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{name} is NULL"))
}

#[cold]
fn null_with_length(name: &str, len: usize) -> Error {
    Error::new(ErrorKind::Invalid, format!("{name} is NULL and its length is {len}"))
}

#[cold]
fn impossible_length(name: &str, len: usize) -> Error {
    Error::new(ErrorKind::Invalid, format!("the length of {name} ({len}) is more than a process can hold"))
}

/// Rejects a length that no process can hold: a slice of Rust has at most `isize::MAX` bytes.
#[inline]
fn checked_len<T>(len: usize, name: &str) -> Result<()> {
    if len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(impossible_length(name, len));
    }
    Ok(())
}

/// Returns the caller's array of `len` items. NULL is an empty array if `len` is 0.
#[inline]
pub(super) unsafe fn array<'a, T>(data: *const T, len: usize, name: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(null_with_length(name, len));
    }
    checked_len::<T>(len, name)?;
    // SAFETY: not NULL, of a possible length, and the caller promises that many items.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Returns the caller's output array. NULL means that the caller does not want the output.
pub(super) unsafe fn array_out<'a, T>(data: *mut T, len: usize, name: &str) -> Result<&'a mut [MaybeUninit<T>]> {
    if data.is_null() || len == 0 {
        return Ok(&mut []);
    }
    checked_len::<T>(len, name)?;
    // SAFETY: not NULL and of a possible length; the caller promises that no other thread uses it during the call.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), len) })
}

/// Returns the caller's bytes.
#[inline]
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize, name: &str) -> Result<&'a [u8]> {
    // SAFETY: as the caller's promise for `array`.
    unsafe { array(data.cast(), len, name) }
}

/// Returns the caller's list of byte strings. Most lists of tags are empty.
#[inline]
pub(super) unsafe fn slices<'a>(data: *const yc_slice, len: usize, name: &str) -> Result<Vec<&'a [u8]>> {
    // SAFETY: as the caller's promise for `array`.
    if len == 0 { Ok(Vec::new()) } else { unsafe { some_slices(data, len, name) } }
}

unsafe fn some_slices<'a>(data: *const yc_slice, len: usize, name: &str) -> Result<Vec<&'a [u8]>> {
    // SAFETY: as the caller's promise for `array`.
    let list = unsafe { array(data, len, name) }?;
    // Each item has a place in several lists.
    allocation::check(len.saturating_mul(LISTED))?;
    let (mut slices, mut total) = (Vec::with_capacity(len), 0usize);
    for item in list {
        // SAFETY: as the caller's promise for `array`, for each of the items.
        slices.push(unsafe { bytes(item.data, item.len, name) }?);
        total = total.saturating_add(item.len);
    }
    // Keys and values are copied a few times on their way to a server.
    allocation::check(total.saturating_mul(COPIES)).map(|()| slices)
}

/// Returns a pointer to bytes for the caller: a valid address also if there are none.
pub(super) fn pointer_to(bytes: &[u8]) -> *const c_void {
    static NOTHING: u8 = 0;
    if bytes.is_empty() { (&raw const NOTHING).cast() } else { bytes.as_ptr().cast() }
}

/// Returns a required output place of the caller.
#[inline]
pub(super) unsafe fn out<'a, T>(place: *mut T, name: &str) -> Result<&'a mut MaybeUninit<T>> {
    // SAFETY: the caller promises a valid place, or NULL.
    unsafe { place.cast::<MaybeUninit<T>>().as_mut() }.ok_or_else(|| null(name))
}

/// Frees user_data. The library calls the function once, when it does not use
/// user_data any more.
pub type yc_finalise_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// The host's data for a callback. Dropping it, after the last call, calls the finaliser.
pub(super) struct UserData {
    pointer: *mut c_void,
    finalise: yc_finalise_fn,
}

// SAFETY: the header asks for data that any thread may use.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(super) fn new(pointer: *mut c_void, finalise: yc_finalise_fn) -> Self {
        Self { pointer, finalise }
    }

    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(finalise) = self.finalise {
            // SAFETY: the host's own function with the host's own data, once.
            unsafe { finalise(self.pointer) };
        }
    }
}
