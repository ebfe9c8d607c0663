//! The boundary itself: panics become a status, layouts are what the header says, versions agree.

use std::ffi::{CStr, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::arguments::yc_slice;
use super::batch::{YC_OP_GET, yc_batch, yc_op};
use super::cache::{yc_cache, yc_cache_free, yc_close};
use super::completion::*;
use super::entry::*;
use super::error::*;
use super::info::*;
use super::lease::{yc_fill, yc_lease_options};
use super::queue::*;
use super::report::*;
use super::search::{yc_match, yc_search_options};
use super::value::*;
use super::version::*;
use crate::backend::double::{Double, Gate, Get};
use crate::cache::Cache;
use crate::config::Config;

/// A cache over the memory backend, whose gets do this.
fn open_double(at_once: bool, get: Get) -> *mut yc_cache {
    let config = Config::from_text("memory://", &|_| None).unwrap();
    yc_cache::into_raw(Cache::over(std::sync::Arc::new(Double::new(&config, at_once, get)), config))
}

/// A cache whose reads panic while the switch is on.
fn open_panicking() -> (*mut yc_cache, Arc<AtomicBool>) {
    let armed = Arc::new(AtomicBool::new(false));
    let switch = armed.clone();
    let get: Get = Box::new(move |_| {
        assert!(!switch.load(Relaxed), "as a test asks");
        Box::pin(async { None })
    });
    (open_double(true, get), armed)
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
fn a_value_of_any_length_is_copied_to_a_buffer_also_over_its_key() {
    let cache = yc_cache::into_raw(Cache::open(Config::from_text("memory://", &|_| None).unwrap()).unwrap());
    for len in [0, 1, 100, 256, 257, 5000] {
        let (value, mut buffer, mut copied) = (vec![b'v'; len], vec![b'k'; len + 1], 0);
        let (key, place) = (c"k".as_ptr().cast(), buffer.as_mut_ptr().cast::<c_void>());
        // SAFETY: a live cache and places of ours.
        unsafe {
            assert_eq!(yc_set(cache, key, 1, value.as_ptr().cast(), len, YC_TTL_NEVER, null(), 0, null_mut()), YC_OK);
            if len > 0 {
                let status = yc_get_into(cache, key, 1, place, len - 1, &raw mut copied, null_mut());
                assert_eq!((status, copied), (YC_E_BUFFER_TOO_SMALL, len));
                assert_eq!(*place.cast::<u8>(), b'k');
            }
            for key in [place.cast_const(), key] {
                copied = 0;
                assert_eq!(yc_get_into(cache, key, 1, place, len, &raw mut copied, null_mut()), YC_OK);
                assert_eq!((copied, std::slice::from_raw_parts(place.cast::<u8>(), len)), (len, &value[..]));
            }
        }
        assert_eq!(buffer[len], b'k');
    }
    // SAFETY: a cache of ours, which is released here only.
    unsafe { yc_cache_free(cache) };
}

#[test]
fn plain_structs_lie_as_the_header_says() {
    assert_eq!((size_of::<yc_slice>(), offset_of!(yc_slice, len)), (16, 8));
    assert_eq!(size_of::<yc_search_options>(), 72);
    assert_eq!(offset_of!(yc_search_options, threshold), 8);
    assert_eq!(offset_of!(yc_search_options, reserved), 40);
    assert_eq!((size_of::<yc_match>(), offset_of!(yc_match, score), offset_of!(yc_match, reserved)), (40, 16, 24));
    assert_eq!((size_of::<yc_op>(), align_of::<yc_op>()), (176, 8));
    assert_eq!(offset_of!(yc_op, key), 8);
    assert_eq!(offset_of!(yc_op, ttl_ms), 56);
    assert_eq!(offset_of!(yc_op, user_data), 64);
    assert_eq!(offset_of!(yc_op, status), 72);
    assert_eq!(offset_of!(yc_op, result), 80);
    assert_eq!(offset_of!(yc_op, removed), 104);
    assert_eq!((offset_of!(yc_op, condition), offset_of!(yc_op, version)), (76, 112));
    assert_eq!((offset_of!(yc_op, number), offset_of!(yc_op, initial)), (120, 128));
    assert_eq!((size_of::<yc_completion>(), align_of::<yc_completion>()), (136, 8));
    assert_eq!(offset_of!(yc_completion, status), 16);
    assert_eq!(offset_of!(yc_completion, result), 24);
    assert_eq!(offset_of!(yc_completion, removed), 48);
    assert_eq!(offset_of!(yc_completion, matches), 72);
    assert_eq!((offset_of!(yc_completion, version), offset_of!(yc_completion, number)), (80, 88));
    assert_eq!((offset_of!(yc_completion, lease), offset_of!(yc_completion, reply)), (96, 104));
    assert_eq!((offset_of!(yc_op, lease), offset_of!(yc_op, reply)), (136, 144));
    assert_eq!((offset_of!(yc_op, tag_count), offset_of!(yc_completion, tag_count)), (152, 128));
    assert_eq!((size_of::<yc_entry_info>(), offset_of!(yc_entry_info, tag_count)), (72, 32));
    assert_eq!((size_of::<yc_lease_options>(), offset_of!(yc_lease_options, tags)), (72, 24));
    assert_eq!((size_of::<yc_fill>(), offset_of!(yc_fill, tags)), (88, 40));
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
    assert_eq!((named.len(), distinct.len()), (27, 27));
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

/// A queue of one cache, with its gets at a gate.
struct Gated {
    gate: Gate,
    cache: *mut yc_cache,
    queue: *mut yc_queue,
}

impl Gated {
    fn open() -> Self {
        let (gate, mut queue) = (Gate::closed(), null_mut());
        let cache = open_double(false, gate.get());
        // SAFETY: a live cache and a place of ours.
        let status = unsafe { yc_queue_open(cache, 0, None, null_mut(), None, &raw mut queue, null_mut()) };
        assert_eq!(status, YC_OK);
        Self { gate, cache, queue }
    }

    fn submit_get(&self, user_data: u64) -> yc_ticket {
        let (mut ticket, mut accepted) = (0, 0);
        // SAFETY: a live queue and places of ours; a zeroed operation is one.
        unsafe {
            let key = c"key".as_ptr().cast();
            let op = yc_op { kind: YC_OP_GET, key, key_len: 3, user_data, ..std::mem::zeroed() };
            let size = size_of::<yc_op>();
            let status =
                yc_queue_submit(self.queue, &raw const op, 1, size, &raw mut ticket, &raw mut accepted, null_mut());
            assert_eq!((status, accepted), (YC_OK, 1));
        }
        ticket
    }

    /// Waits for the next completion. Returns its ticket, user data and status, or the status of the call.
    fn wait(&self) -> Result<(yc_ticket, u64, yc_status), yc_status> {
        let mut count = 0;
        // SAFETY: a live queue and places of ours; a zeroed completion is one.
        unsafe {
            let mut came: yc_completion = std::mem::zeroed();
            let size = size_of::<yc_completion>();
            let status = yc_queue_wait(self.queue, &raw mut came, 1, size, 10_000, &raw mut count, null_mut());
            let answer = (came.ticket, came.user_data, came.status);
            assert_eq!(yc_error_status(came.error), came.status.min(0));
            yc_completion_clear(&raw mut came);
            if status == YC_OK { Ok(answer) } else { Err(status) }
        }
    }

    fn free(self) {
        // SAFETY: live handles of ours, once.
        unsafe {
            yc_queue_free(self.queue);
            yc_cache_free(self.cache);
        }
    }
}

#[test]
fn an_operation_that_waits_is_completed_by_its_answer_or_by_its_cancellation() {
    let gated = Gated::open();
    let (one, two) = (gated.submit_get(1), gated.submit_get(u64::MAX));
    // SAFETY: a live queue.
    let cancel = |ticket| unsafe { yc_queue_cancel(gated.queue, ticket, null_mut()) };
    assert_eq!((cancel(two), cancel(two), cancel(0), cancel(77)), (YC_OK, YC_MISS, YC_MISS, YC_MISS));
    assert_eq!(gated.wait(), Ok((two, u64::MAX, YC_E_CANCELLED)));
    gated.gate.open(1);
    assert_eq!(gated.wait(), Ok((one, 1, YC_MISS)));
    assert_eq!(cancel(one), YC_MISS);
    gated.free();
}

#[test]
fn closing_a_queue_cancels_what_is_in_flight_and_closing_its_cache_closes_it() {
    let gated = Gated::open();
    let ticket = gated.submit_get(5);
    // SAFETY: a live queue.
    assert_eq!(unsafe { yc_queue_close(gated.queue, 0, null_mut()) }, YC_OK);
    assert_eq!(gated.wait(), Ok((ticket, 5, YC_E_CANCELLED)));
    assert_eq!(gated.wait(), Err(YC_E_CLOSED));
    // SAFETY: a live cache.
    assert_eq!(unsafe { yc_close(gated.cache, 0, null_mut()) }, YC_OK);
    gated.free();

    let gated = Gated::open();
    let ticket = gated.submit_get(6);
    // SAFETY: a live cache.
    assert_eq!(unsafe { yc_close(gated.cache, 0, null_mut()) }, YC_E_TIMEOUT);
    assert_eq!(gated.wait(), Ok((ticket, 6, YC_E_CLOSED)));
    assert_eq!(gated.wait(), Err(YC_E_CLOSED));
    gated.free();
}

#[test]
fn freeing_a_cache_completes_what_its_queues_have_in_flight() {
    let gated = Gated::open();
    let ticket = gated.submit_get(7);
    // SAFETY: live handles of ours, once.
    unsafe { yc_cache_free(gated.cache) };
    assert_eq!(gated.wait(), Ok((ticket, 7, YC_E_CLOSED)));
    Gated { cache: null_mut(), ..gated }.free();
}
