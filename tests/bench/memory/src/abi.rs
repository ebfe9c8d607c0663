//! The part of include/yokedcache.h that is measured, and its function types, which every contender has.

use std::ffi::{c_char, c_int, c_void};

/// The header these declarations are of.
pub const YC_VERSION_NUMBER: u32 = 100;
pub const YC_OK: i32 = 0;
pub const YC_MISS: i32 = 1;
pub const YC_OP_GET: c_int = 1;
pub const YC_TTL_NEVER: i64 = 0;

/// yc_slice
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub data: *const u8,
    pub len: usize,
}

/// yc_op
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Op {
    pub kind: i32,
    pub flags: u32,
    pub key: *const u8,
    pub key_len: usize,
    pub value: *const u8,
    pub value_len: usize,
    pub tags: *const Slice,
    pub n_tags: usize,
    pub ttl_ms: i64,
    pub user_data: u64,
    pub status: i32,
    pub condition: i32,
    pub result: *mut c_void,
    pub error: *mut c_void,
    pub remaining_ms: i64,
    pub removed: u64,
    pub version: u64,
    pub number: i64,
    pub initial: i64,
    pub lease: *mut c_void,
    pub reserved: [u64; 4],
}

/// yc_search_options
#[repr(C)]
pub struct SearchOptions {
    pub struct_size: usize,
    pub threshold: f64,
    pub limit: usize,
    pub tags: *const Slice,
    pub n_tags: usize,
    pub reserved: [u64; 4],
}

/// yc_match
#[repr(C)]
pub struct Match {
    pub key: Slice,
    pub score: f64,
    pub reserved: [u64; 2],
}

/// yc_get_into
pub type GetInto =
    unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut u8, usize, *mut usize, *mut *mut c_void) -> i32;
/// yc_get; the place has two words, the second for peers whose values are fat pointers.
pub type Get = unsafe extern "C" fn(*mut c_void, *const u8, usize, *mut *mut c_void, *mut *mut c_void) -> i32;
/// yc_value_free, and the second word
pub type Free = unsafe extern "C" fn(*mut c_void, usize);
/// yc_set
pub type Set = unsafe extern "C" fn(
    *mut c_void,
    *const u8,
    usize,
    *const u8,
    usize,
    i64,
    *const Slice,
    usize,
    *mut *mut c_void,
) -> i32;
/// yc_get_many; the place has n words and n more, the latter for peers whose values are fat pointers.
pub type GetMany =
    unsafe extern "C" fn(*mut c_void, *const Slice, usize, *mut *mut c_void, *mut i32, *mut *mut c_void) -> i32;
/// yc_batch
pub type Batch = unsafe extern "C" fn(*mut c_void, *mut Op, usize, usize, *mut *mut c_void) -> i32;
/// yc_open
pub type Open = unsafe extern "C" fn(*const c_char, *mut *mut c_void, *mut *mut c_void) -> i32;
/// yc_value_free
pub type ValueFree = unsafe extern "C" fn(*mut c_void);

#[rustfmt::skip]
unsafe extern "C" {
    pub fn yc_check_abi(header_version: u32, err: *mut *mut c_void) -> i32;
    pub fn yc_open(config: *const c_char, out: *mut *mut c_void, err: *mut *mut c_void) -> i32;
    pub fn yc_cache_free(cache: *mut c_void);
    pub fn yc_error_message(err: *const c_void) -> *const c_char;
    pub fn yc_get(cache: *mut c_void, key: *const u8, key_len: usize, out: *mut *mut c_void, err: *mut *mut c_void) -> i32;
    pub fn yc_get_into(cache: *mut c_void, key: *const u8, key_len: usize, buf: *mut u8, cap: usize, len: *mut usize, err: *mut *mut c_void) -> i32;
    pub fn yc_value_free(value: *mut c_void);
    pub fn yc_set(cache: *mut c_void, key: *const u8, key_len: usize, value: *const u8, value_len: usize, ttl_ms: i64, tags: *const Slice, n_tags: usize, err: *mut *mut c_void) -> i32;
    pub fn yc_get_many(cache: *mut c_void, keys: *const Slice, n: usize, values: *mut *mut c_void, statuses: *mut i32, err: *mut *mut c_void) -> i32;
    pub fn yc_batch(cache: *mut c_void, ops: *mut Op, n: usize, stride: usize, err: *mut *mut c_void) -> i32;
    pub fn yc_invalidate_tag(cache: *mut c_void, tag: *const u8, tag_len: usize, removed: *mut u64, err: *mut *mut c_void) -> i32;
    pub fn yc_size(cache: *mut c_void, keys: *mut u64, bytes: *mut u64, err: *mut *mut c_void) -> i32;
    pub fn yc_search(cache: *mut c_void, query: *const u8, query_len: usize, options: *const SearchOptions, out: *mut *mut c_void, err: *mut *mut c_void) -> i32;
    pub fn yc_matches_count(matches: *const c_void) -> usize;
    pub fn yc_matches_at(matches: *const c_void, rank: usize) -> *const Match;
    pub fn yc_matches_free(matches: *mut c_void);
}
