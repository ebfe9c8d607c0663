//! Those who are measured: every one is a table of functions with the signatures of yokedcache.h.
//!
//! A call goes through the table, so none is inlined and each copies what a C
//! user would have copied.

mod cpp;
mod floor;
mod rust;
pub mod yoked;

use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::time::Duration;

use crate::abi::*;

/// One cache, filled and called by the workloads.
pub struct Contender {
    cache: *mut c_void,
    get_into: GetInto,
    get: Get,
    free: Free,
    set: Set,
    get_many: GetMany,
    batch: Option<Batch>,
    settle: Option<unsafe extern "C" fn(*mut c_void)>,
    close: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: every cache takes calls from any thread.
unsafe impl Send for Contender {}
// SAFETY: as above.
unsafe impl Sync for Contender {}

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Yoked,
    Other,
    Floor,
    QuickCache,
    Moka,
    Lru,
    Cpp,
}

/// All but the floor: the contenders that can be written to.
pub const CACHES: [Kind; 6] = [Kind::Yoked, Kind::Other, Kind::QuickCache, Kind::Moka, Kind::Lru, Kind::Cpp];

/// The file of another build of YokedCache, where one was named.
pub static OTHER_BUILD: OnceLock<PathBuf> = OnceLock::new();

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Yoked => "YokedCache",
            Kind::Other => "YokedCache, the other build",
            Kind::Floor => "floor: no lock, no recency",
            Kind::QuickCache => "quick_cache",
            Kind::Moka => "moka",
            Kind::Lru => "Mutex<lru>",
            Kind::Cpp => "C++ map + list + mutex",
        }
    }

    pub fn is_wanted(self) -> bool {
        self != Kind::Other || OTHER_BUILD.get().is_some()
    }

    /// An empty cache for that many entries.
    pub fn open(self, capacity: usize, ttl: Option<Duration>) -> Contender {
        match self {
            Kind::Yoked => yoked::LINKED.contender(&yoked::url(capacity, "60s")),
            Kind::Other => other_build().contender(&yoked::url(capacity, "60s")),
            Kind::Floor => rust::contender(floor::Floor::new(capacity)),
            Kind::QuickCache => rust::quick_cache(capacity),
            Kind::Moka => rust::moka(capacity, ttl),
            Kind::Lru => rust::lru(capacity),
            Kind::Cpp => cpp::open(capacity),
        }
    }
}

fn other_build() -> yoked::Library {
    let path = OTHER_BUILD.get().unwrap_or_else(|| give_up("no other build was named"));
    yoked::Library::load(path)
}

/// What cannot be measured ends the program.
#[cold]
pub fn give_up(why: &str) -> ! {
    eprintln!("cannot measure: {why}");
    std::process::exit(1);
}

impl Contender {
    /// Copies the value into the buffer; its length, or nothing on a miss.
    #[inline]
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let (mut len, mut error) = (0, null_mut());
        let (buf, cap) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: arguments as yc_get_into() wants them.
        let status =
            unsafe { (self.get_into)(self.cache, key.as_ptr(), key.len(), buf, cap, &raw mut len, &raw mut error) };
        is_hit(status).then_some(len)
    }

    /// Takes a handle on the value and releases it; whether it was there.
    #[inline]
    pub fn get_and_free(&self, key: &[u8]) -> bool {
        let (mut value, mut error) = ([null_mut(); 2], null_mut());
        // SAFETY: arguments as yc_get() wants them; a value is freed once.
        unsafe {
            let status = (self.get)(self.cache, key.as_ptr(), key.len(), value.as_mut_ptr(), &raw mut error);
            if is_hit(status) {
                (self.free)(value[0], value[1] as usize);
            }
            status == YC_OK
        }
    }

    #[inline]
    pub fn set(&self, key: &[u8], value: &[u8], ttl_ms: i64, tags: &[Slice]) {
        let (mut error, ttl, tags, n_tags) = (null_mut(), ttl_ms, tags.as_ptr(), tags.len());
        let (data, len) = (value.as_ptr(), value.len());
        // SAFETY: arguments as yc_set() wants them.
        let status =
            unsafe { (self.set)(self.cache, key.as_ptr(), key.len(), data, len, ttl, tags, n_tags, &raw mut error) };
        is_hit(status);
    }

    /// Takes handles on all values and releases them; `values` has two words for each key.
    #[inline]
    pub fn get_many_and_free(&self, keys: &[Slice], values: &mut [*mut c_void]) -> usize {
        let (n, mut error) = (keys.len(), null_mut());
        // SAFETY: arguments as yc_get_many() wants them, and a second word for each; each value is freed once.
        unsafe {
            let status = (self.get_many)(self.cache, keys.as_ptr(), n, values.as_mut_ptr(), null_mut(), &raw mut error);
            is_hit(status);
            let hits = (0..n).filter(|at| !values[*at].is_null());
            hits.map(|at| (self.free)(values[at], values[n + at] as usize)).count()
        }
    }

    /// Runs operations that are gets, and releases what they found.
    #[inline]
    pub fn batch_and_free(&self, ops: &mut [Op]) -> usize {
        let batch = self.batch.unwrap_or_else(|| give_up("a batch of a peer"));
        let mut error = null_mut();
        // SAFETY: arguments as yc_batch() wants them; each value is freed once.
        unsafe {
            is_hit(batch(self.cache, ops.as_mut_ptr(), ops.len(), size_of::<Op>(), &raw mut error));
            ops.iter().filter(|op| !op.result.is_null()).map(|op| (self.free)(op.result, 0)).count()
        }
    }

    /// Finishes what it has put off.
    pub fn settle(&self) {
        if let Some(settle) = self.settle {
            // SAFETY: its own cache.
            unsafe { settle(self.cache) }
        }
    }

    /// The handle, for functions that only YokedCache has.
    pub fn handle(&self) -> *mut c_void {
        self.cache
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // SAFETY: its own cache, closed once.
        unsafe { (self.close)(self.cache) }
    }
}

#[inline]
fn is_hit(status: i32) -> bool {
    if status < 0 {
        give_up(&format!("a call failed with status {status}"));
    }
    status == YC_OK
}
