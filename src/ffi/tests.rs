//! The boundary itself: panics become a status, layouts are what the header says, versions agree.

use std::ffi::{CStr, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::arguments::yc_slice;
use super::batch::{YC_OP_GET, yc_batch, yc_op};
use super::cache::{yc_cache, yc_cache_free, yc_close};
use super::entry::*;
use super::error::*;
use super::report::*;
use super::search::{yc_match, yc_search_options};
use super::status::*;
use super::value::*;
use super::version::*;
use crate::backend::memory::Memory;
use crate::backend::{Backend, Capabilities, Counters, NewEntry, Page, Position, Removed, Reply, Usage, Wanted};
use crate::cache::Cache;
use crate::config::{BackendConfig, Config};
use crate::error::Result;
use crate::value::Value;

/// The memory backend, whose reads panic while the switch is on.
struct Panicking {
    memory: Memory,
    armed: Arc<AtomicBool>,
}

impl Backend for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }
    fn get<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Value>> {
        assert!(!self.armed.load(Relaxed), "as a test asks");
        self.memory.get(key)
    }
    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<Value>>>> {
        self.memory.get_many(keys)
    }
    fn set<'a>(&'a self, entry: NewEntry<'a>) -> Reply<'a, ()> {
        self.memory.set(entry)
    }
    fn set_many<'a>(&'a self, entries: &'a [NewEntry<'a>]) -> Reply<'a, Vec<Result<()>>> {
        self.memory.set_many(entries)
    }
    fn delete<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        self.memory.delete(key)
    }
    fn delete_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<bool>>> {
        self.memory.delete_many(keys)
    }
    fn exists<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        self.memory.exists(key)
    }
    fn expire<'a>(&'a self, key: &'a [u8], ttl: Option<Duration>) -> Reply<'a, bool> {
        self.memory.expire(key, ttl)
    }
    fn ttl<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Option<Duration>>> {
        self.memory.ttl(key)
    }
    fn invalidate_tags<'a>(&'a self, tags: &'a [&'a [u8]], count: bool) -> Reply<'a, Removed> {
        self.memory.invalidate_tags(tags, count)
    }
    fn flush(&self, count: bool) -> Reply<'_, Removed> {
        self.memory.flush(count)
    }
    fn scan<'a>(&'a self, wanted: Wanted<'a>, from: Position, limit: usize) -> Reply<'a, Page> {
        self.memory.scan(wanted, from, limit)
    }
    fn usage(&self) -> Reply<'_, Usage> {
        self.memory.usage()
    }
    fn ping(&self) -> Reply<'_, ()> {
        self.memory.ping()
    }
    fn counters(&self) -> Counters {
        self.memory.counters()
    }
    fn close(&self, deadline: Instant) -> Reply<'_, ()> {
        self.memory.close(deadline)
    }
}

/// A cache whose reads panic while the switch is on.
fn open_panicking() -> (*mut yc_cache, Arc<AtomicBool>) {
    let config = Config::from_text("memory://", &|_| None).unwrap();
    let BackendConfig::Memory(memory) = &config.backend else { panic!("not a memory cache") };
    let armed = Arc::new(AtomicBool::new(false));
    let backend = Panicking { memory: Memory::new(memory), armed: armed.clone() };
    (yc_cache::into_raw(Cache::over(Box::new(backend), config)), armed)
}

unsafe fn get(cache: *mut yc_cache, err: *mut *mut yc_error) -> yc_status {
    let mut value = null_mut();
    // SAFETY: a live cache and places of ours.
    unsafe {
        let status = yc_get(cache, c"key".as_ptr().cast(), 3, &raw mut value, err);
        yc_value_free(value);
        status
    }
}

#[test]
fn a_panic_becomes_a_status_with_the_function_name_and_the_cache_works_on() {
    let (cache, armed) = open_panicking();
    let mut err = null_mut();
    // SAFETY: a live cache and places of ours.
    unsafe {
        let (key, value) = (c"key".as_ptr().cast::<c_void>(), c"value".as_ptr().cast::<c_void>());
        assert_eq!(yc_set(cache, key, 3, value, 5, YC_TTL_NEVER, null(), 0, null_mut()), YC_OK);
        armed.store(true, Relaxed);
        assert_eq!(get(cache, null_mut()), YC_E_PANIC);
        assert_eq!(get(cache, &raw mut err), YC_E_PANIC);
        let message = CStr::from_ptr(yc_error_message(err)).to_str().unwrap();
        assert!(message.starts_with("yc_get failed inside the library (as a test asks)"), "{message}");
        assert_eq!(yc_error_status(err), YC_E_PANIC);
        yc_error_free(err);
        let mut op = yc_op { kind: YC_OP_GET, key, key_len: 3, ..std::mem::zeroed() };
        assert_eq!(yc_batch(cache, &raw mut op, 1, size_of::<yc_op>(), null_mut()), YC_E_PANIC);
        armed.store(false, Relaxed);
        assert_eq!(get(cache, &raw mut err), YC_OK);
        assert!(err.is_null());
        assert_eq!(yc_close(cache, -1, null_mut()), YC_OK);
        yc_cache_free(cache);
    }
}

#[test]
fn plain_structs_lie_as_the_header_says() {
    assert_eq!((size_of::<yc_slice>(), offset_of!(yc_slice, len)), (16, 8));
    assert_eq!(size_of::<yc_search_options>(), 72);
    assert_eq!(offset_of!(yc_search_options, threshold), 8);
    assert_eq!(offset_of!(yc_search_options, reserved), 40);
    assert_eq!((size_of::<yc_match>(), offset_of!(yc_match, score), offset_of!(yc_match, reserved)), (40, 16, 24));
    assert_eq!((size_of::<yc_op>(), align_of::<yc_op>()), (128, 8));
    assert_eq!(offset_of!(yc_op, key), 8);
    assert_eq!(offset_of!(yc_op, ttl_ms), 56);
    assert_eq!(offset_of!(yc_op, user_data), 64);
    assert_eq!(offset_of!(yc_op, status), 72);
    assert_eq!(offset_of!(yc_op, result), 80);
    assert_eq!(offset_of!(yc_op, removed), 104);
}

#[test]
fn the_version_number_is_that_of_the_package() {
    let parts: Vec<u32> = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(YC_VERSION_NUMBER, parts[0] * 10_000 + parts[1] * 100 + parts[2]);
    // SAFETY: a static string.
    assert_eq!(unsafe { CStr::from_ptr(yc_version()) }.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_negative_status_has_a_name_of_its_own() {
    let name = |status| {
        // SAFETY: a static string.
        unsafe { CStr::from_ptr(yc_status_name(status)) }.to_str().unwrap()
    };
    let named: Vec<&str> = (-1000..10).map(name).filter(|name| *name != "YC_E_UNKNOWN").collect();
    let mut distinct = named.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((named.len(), distinct.len()), (22, 22));
}

#[test]
fn a_health_report_of_an_idle_cache_is_healthy_json() {
    let (cache, _) = open_panicking();
    let (mut json, mut len) = (null_mut(), 0);
    // SAFETY: a live cache and places of ours.
    unsafe {
        assert_eq!(yc_health(cache, &raw mut json, null_mut()), YC_OK);
        let text = std::slice::from_raw_parts(yc_value_data(json, &raw mut len).cast::<u8>(), len);
        let health: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(health["status"], "healthy");
        yc_value_free(json);
        yc_cache_free(cache);
    }
}
