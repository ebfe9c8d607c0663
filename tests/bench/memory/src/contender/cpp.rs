//! The C++ peer: unordered_map, list and one mutex.

use std::ffi::c_void;

use super::Contender;
use crate::abi::Slice;

#[rustfmt::skip]
unsafe extern "C" {
    fn lru_peer_open(capacity: usize) -> *mut c_void;
    fn lru_peer_close(cache: *mut c_void);
    fn lru_peer_get_into(cache: *mut c_void, key: *const u8, key_len: usize, buf: *mut u8, cap: usize, len: *mut usize, err: *mut *mut c_void) -> i32;
    fn lru_peer_get(cache: *mut c_void, key: *const u8, key_len: usize, out: *mut *mut c_void, err: *mut *mut c_void) -> i32;
    fn lru_peer_free(value: *mut c_void, second: usize);
    fn lru_peer_set(cache: *mut c_void, key: *const u8, key_len: usize, value: *const u8, value_len: usize, ttl_ms: i64, tags: *const Slice, n_tags: usize, err: *mut *mut c_void) -> i32;
    fn lru_peer_get_many(cache: *mut c_void, keys: *const Slice, n: usize, values: *mut *mut c_void, statuses: *mut i32, err: *mut *mut c_void) -> i32;
}

pub fn open(capacity: usize) -> Contender {
    Contender {
        // SAFETY: takes any capacity.
        cache: unsafe { lru_peer_open(capacity) },
        get_into: lru_peer_get_into,
        get: lru_peer_get,
        free: lru_peer_free,
        set: lru_peer_set,
        get_many: lru_peer_get_many,
        batch: None,
        settle: None,
        close: lru_peer_close,
    }
}
