//! The Rust peers, behind the signatures of yokedcache.h.

use std::ffi::c_void;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ptr::slice_from_raw_parts;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;

use super::Contender;
use crate::abi::{Slice, YC_MISS, YC_OK};

/// A shared value as two words.
pub struct Fat {
    pub first: *mut c_void,
    pub second: usize,
}

/// A cache as its Rust user knows it.
pub trait Store: Sync {
    /// Uses the value of a key where it lies.
    fn read<R>(&self, key: &[u8], with: impl FnOnce(&[u8]) -> R) -> Option<R>;

    /// A second handle on the value of a key.
    fn share(&self, key: &[u8]) -> Option<Fat>;

    /// Ends what `share` handed out.
    ///
    /// # Safety
    /// Once for each.
    unsafe fn release(value: Fat) {
        // SAFETY: from `shared`.
        drop(unsafe { Arc::from_raw(slice_from_raw_parts(value.first.cast::<u8>(), value.second)) });
    }

    fn put(&self, key: &[u8], value: &[u8]);

    /// Finishes what it has put off.
    fn settle(&self) {}
}

fn shared(value: Arc<[u8]>) -> Fat {
    let value = Arc::into_raw(value);
    Fat { first: value.cast::<c_void>().cast_mut(), second: value.len() }
}

type Moka = moka::sync::Cache<Box<[u8]>, Arc<[u8]>, RandomState>;

pub fn moka(capacity: usize, ttl: Option<Duration>) -> Contender {
    let builder = moka::sync::CacheBuilder::new(capacity as u64);
    let builder = match ttl {
        Some(ttl) => builder.time_to_live(ttl),
        None => builder,
    };
    let cache: Moka = builder.build_with_hasher(RandomState::default());
    contender(cache)
}

impl Store for Moka {
    #[inline]
    fn read<R>(&self, key: &[u8], with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.get(key).map(|value| with(&value))
    }

    #[inline]
    fn share(&self, key: &[u8]) -> Option<Fat> {
        self.get(key).map(shared)
    }

    #[inline]
    fn put(&self, key: &[u8], value: &[u8]) {
        self.insert(key.into(), value.into());
    }

    fn settle(&self) {
        self.run_pending_tasks();
    }
}

type QuickCache = quick_cache::sync::Cache<Box<[u8]>, Arc<[u8]>, UnitWeighter, RandomState>;

pub fn quick_cache(capacity: usize) -> Contender {
    let hasher = RandomState::default();
    contender(QuickCache::with(capacity, capacity as u64, UnitWeighter, hasher, Default::default()))
}

impl Store for QuickCache {
    #[inline]
    fn read<R>(&self, key: &[u8], with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.get(key).map(|value| with(&value))
    }

    #[inline]
    fn share(&self, key: &[u8]) -> Option<Fat> {
        self.get(key).map(shared)
    }

    #[inline]
    fn put(&self, key: &[u8], value: &[u8]) {
        self.insert(key.into(), value.into());
    }
}

type Lru = Mutex<lru::LruCache<Box<[u8]>, Arc<[u8]>, RandomState>>;

pub fn lru(capacity: usize) -> Contender {
    let capacity = NonZeroUsize::new(capacity).expect("a capacity");
    contender(Mutex::new(lru::LruCache::with_hasher(capacity, RandomState::default())))
}

impl Store for Lru {
    #[inline]
    fn read<R>(&self, key: &[u8], with: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.lock().expect("no panic").get(key).map(|value| with(value))
    }

    #[inline]
    fn share(&self, key: &[u8]) -> Option<Fat> {
        self.lock().expect("no panic").get(key).cloned().map(shared)
    }

    #[inline]
    fn put(&self, key: &[u8], value: &[u8]) {
        let (key, value) = (Box::from(key), Arc::from(value));
        let replaced = self.lock().expect("no panic").push(key, value);
        drop(replaced);
    }
}

/// `black_box` keeps the compiler from building the benchmark's constants into them.
pub fn contender<S: Store>(store: S) -> Contender {
    Contender {
        cache: Box::into_raw(Box::new(store)).cast(),
        get_into: black_box(get_into::<S>),
        get: black_box(get::<S>),
        free: black_box(free::<S>),
        set: black_box(set::<S>),
        get_many: black_box(get_many::<S>),
        batch: None,
        settle: Some(settle::<S>),
        close: close::<S>,
    }
}

unsafe fn store<'a, S: Store>(cache: *mut c_void) -> &'a S {
    // SAFETY: the cache of a contender of this store.
    unsafe { &*cache.cast::<S>() }
}

unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(data, len) }
}

unsafe extern "C" fn get_into<S: Store>(
    cache: *mut c_void,
    key: *const u8,
    key_len: usize,
    buf: *mut u8,
    cap: usize,
    len: *mut usize,
    _err: *mut *mut c_void,
) -> i32 {
    // SAFETY: the caller's arguments, as yc_get_into().
    unsafe {
        let copied = store::<S>(cache).read(bytes(key, key_len), |value| {
            len.write(value.len());
            buf.copy_from_nonoverlapping(value.as_ptr(), value.len().min(cap));
        });
        if copied.is_some() { YC_OK } else { YC_MISS }
    }
}

unsafe extern "C" fn get<S: Store>(
    cache: *mut c_void,
    key: *const u8,
    key_len: usize,
    out: *mut *mut c_void,
    _err: *mut *mut c_void,
) -> i32 {
    // SAFETY: the caller's arguments, as yc_get(); out has two words.
    unsafe {
        let Some(value) = store::<S>(cache).share(bytes(key, key_len)) else { return YC_MISS };
        out.write(value.first);
        out.add(1).cast::<usize>().write(value.second);
        YC_OK
    }
}

unsafe extern "C" fn free<S: Store>(first: *mut c_void, second: usize) {
    // SAFETY: a value of `get` or `get_many`, once.
    unsafe { S::release(Fat { first, second }) }
}

unsafe extern "C" fn set<S: Store>(
    cache: *mut c_void,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
    _ttl_ms: i64,
    _tags: *const Slice,
    _n_tags: usize,
    _err: *mut *mut c_void,
) -> i32 {
    // SAFETY: the caller's arguments, as yc_set().
    unsafe { store::<S>(cache).put(bytes(key, key_len), bytes(value, value_len)) };
    YC_OK
}

unsafe extern "C" fn get_many<S: Store>(
    cache: *mut c_void,
    keys: *const Slice,
    n: usize,
    values: *mut *mut c_void,
    _statuses: *mut i32,
    _err: *mut *mut c_void,
) -> i32 {
    // SAFETY: the caller's arguments, as yc_get_many(); values has 2 n words.
    unsafe {
        for at in 0..n {
            let key = *keys.add(at);
            let value = store::<S>(cache).share(bytes(key.data, key.len));
            let value = value.unwrap_or(Fat { first: std::ptr::null_mut(), second: 0 });
            values.add(at).write(value.first);
            values.add(n + at).cast::<usize>().write(value.second);
        }
    }
    YC_OK
}

unsafe extern "C" fn settle<S: Store>(cache: *mut c_void) {
    // SAFETY: the contender's cache.
    unsafe { store::<S>(cache) }.settle();
}

unsafe extern "C" fn close<S: Store>(cache: *mut c_void) {
    // SAFETY: made by `contender`, closed once.
    drop(unsafe { Box::from_raw(cache.cast::<S>()) });
}
