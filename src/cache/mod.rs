//! The cache: what every operation means, over any backend.

mod batch;
mod listing;
mod metrics;
mod migrate;
mod operation;
mod report;
mod running;
mod switch;

pub use self::listing::{Cursor, SearchOptions};
pub use self::migrate::{OnProgress, Progress};
pub use self::operation::{Operation, Outcome};
pub use self::switch::{Serving, Switch};

use self::running::Change;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::allocation;
use crate::backend::{Backend, Capabilities, Counters, NewEntry, Removed, Reply, Usage, done};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{check_key, check_tag, check_tags};
use crate::latency::{Latencies, Operation as Timed};
use crate::ttl::{DefaultTtl, Ttl};
use crate::value::Value;

/// The most copies of a value that are held on its way into a store.
const COPIES: usize = 4;

/// How many were opened.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// One cache, as a user opens it. Any thread may call anything at any time.
pub struct Cache {
    backend: Arc<dyn Backend>,
    /// Told apart from others that took its place, or whose place it took.
    number: u64,
    /// The store and prefix, where others could have the same.
    store: Option<String>,
    key_prefix: String,
    default_ttl: DefaultTtl,
    max_value_bytes: u64,
    latencies: Arc<Latencies>,
    /// What happened in the backends before this one.
    before: Counters,
    lazy: bool,
    opened: Instant,
}

/// An entry as a caller asks for it.
#[derive(Debug, Clone, Copy)]
pub struct SetRequest<'a> {
    /// 1 byte to 64 KiB of any bytes.
    pub key: &'a [u8],
    /// Any bytes, up to `max_value_bytes`.
    pub value: &'a [u8],
    /// How long it lives.
    pub ttl: Ttl,
    /// Up to 64 tags; they replace the old ones.
    pub tags: &'a [&'a [u8]],
}

impl Cache {
    /// Opens a cache; one with servers is still connecting, see `ready`.
    pub fn open(config: Config) -> Result<Self> {
        config.notes.iter().for_each(|note| tracing::warn!("{note}"));
        let backend = crate::layer::open(&config)?;
        tracing::info!(backend = backend.name(), key_prefix = config.key_prefix, "opened");
        Ok(Self::over(backend, config))
    }

    /// A cache over a backend that is open already.
    pub fn over(backend: Arc<dyn Backend>, config: Config) -> Self {
        Self {
            lazy: config.backend.is_lazy(),
            backend,
            number: OPENED.fetch_add(1, Relaxed),
            store: config.store(),
            key_prefix: config.key_prefix,
            default_ttl: DefaultTtl::new(config.default_ttl, config.ttl_jitter),
            max_value_bytes: config.max_value_bytes,
            latencies: Arc::default(),
            before: Counters::default(),
            opened: Instant::now(),
        }
    }

    /// The value of a key; `None` is a miss.
    #[inline(always)]
    pub fn get<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Value>> {
        match check_key(key) {
            Ok(()) => self.latencies.sample(Timed::Get, || self.backend.get(key)),
            Err(error) => done(Err(error)),
        }
    }

    /// Stores an entry.
    #[inline(always)]
    pub fn set<'a>(&'a self, request: SetRequest<'a>) -> Reply<'a, ()> {
        match self.new_entry(request) {
            Ok(entry) => self.latencies.sample(Timed::Set, || self.backend.set(entry)),
            Err(error) => done(Err(error)),
        }
    }

    /// Removes a key; whether it was there.
    pub fn delete<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        match check_key(key) {
            Ok(()) => self.latencies.sample(Timed::Delete, || self.delete_key(key)),
            Err(error) => done(Err(error)),
        }
    }

    /// Whether a key is there. Does not count as a use.
    pub fn exists<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        match check_key(key) {
            Ok(()) => self.latencies.sample(Timed::Inspect, || self.backend.exists(key)),
            Err(error) => done(Err(error)),
        }
    }

    /// What is left to a key, if it is there; `Some(None)`: it never expires.
    pub fn ttl<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Option<Duration>>> {
        match check_key(key) {
            Ok(()) => self.latencies.sample(Timed::Inspect, || self.backend.ttl(key)),
            Err(error) => done(Err(error)),
        }
    }

    /// Gives a key another time to live, value and tags unchanged; whether it was there.
    pub fn expire<'a>(&'a self, key: &'a [u8], ttl: Ttl) -> Reply<'a, bool> {
        let ttl = self.default_ttl.resolve(ttl);
        match check_key(key) {
            Ok(()) => self.latencies.sample(Timed::Inspect, || self.backend.expire(key, ttl)),
            Err(error) => done(Err(error)),
        }
    }

    /// Makes every entry that was set with one of the tags a miss.
    pub async fn invalidate_tags(&self, tags: &[&[u8]], count: bool) -> Result<Removed> {
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        let invalidate = || self.backend.invalidate_tags(tags, count);
        self.latencies.time(Timed::Invalidate, self.invalidating(Change::Tags(tags), invalidate)).await
    }

    /// Removes every entry of this cache's prefix.
    pub async fn flush(&self, count: bool) -> Result<Removed> {
        let flush = || self.backend.flush(count);
        self.latencies.time(Timed::Invalidate, self.invalidating(Change::Flush, flush)).await
    }

    /// The values of many keys, each with its own outcome, in their order; an error only where an argument is refused.
    pub async fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<Option<Value>>>> {
        keys.iter().try_for_each(|key| check_key(key))?;
        Ok(each_of(keys.len(), self.latencies.time(Timed::Many, self.backend.get_many(keys)).await))
    }

    /// Stores many entries, each with its own outcome; none if one of them is not allowed.
    pub async fn set_many(&self, requests: &[SetRequest<'_>]) -> Result<Vec<Result<()>>> {
        let bytes: usize = requests.iter().map(|request| request.value.len()).sum();
        allocation::check(COPIES.saturating_mul(bytes))?;
        let entries: Vec<NewEntry> = requests.iter().map(|request| self.new_entry(*request)).collect::<Result<_>>()?;
        Ok(each_of(entries.len(), self.latencies.time(Timed::Many, self.backend.set_many(&entries)).await))
    }

    /// Removes many keys; for each whether it was there.
    pub async fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<bool>>> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let delete = || self.backend.delete_many(keys);
        let deleted = self.latencies.time(Timed::Many, self.invalidating(Change::Keys(keys), delete)).await;
        Ok(each_of(keys.len(), deleted))
    }

    /// What it holds.
    pub fn usage(&self) -> Reply<'_, Usage> {
        self.backend.usage()
    }

    /// Whether the backend answers.
    pub fn ping(&self) -> Reply<'_, ()> {
        self.backend.ping()
    }

    /// What the backend can do.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// Whether the backend never makes a caller wait for another thread or a server.
    pub fn answers_at_once(&self) -> bool {
        self.backend.answers_at_once()
    }

    /// Whether many keys take no longer than one, also when a server is slow.
    pub fn is_one_server(&self) -> bool {
        self.backend.is_one_server()
    }

    /// Ready when it can be used, or why it cannot; at once where the configuration is lazy.
    pub fn ready(&self) -> Reply<'_, ()> {
        if self.lazy { done(Ok(())) } else { self.backend.connected() }
    }

    /// Ends the cache's threads and connections; what is under way has until the deadline.
    pub fn close(&self, deadline: Instant) -> Reply<'_, ()> {
        tracing::info!(backend = self.backend.name(), key_prefix = self.key_prefix, "closed");
        self.backend.close(deadline)
    }

    /// Whether another cache has the same entries.
    fn is_same_store(&self, other: &Self) -> bool {
        let one_backend = std::ptr::addr_eq(Arc::as_ptr(&self.backend), Arc::as_ptr(&other.backend));
        one_backend || self.store.is_some() && self.store == other.store
    }

    /// What happened since it was opened, over whichever backends.
    fn counters(&self) -> Counters {
        let mut counters = self.before;
        counters += self.backend.counters();
        counters
    }

    /// What a request becomes once it is known to be allowed.
    #[inline(always)]
    fn new_entry<'a>(&self, request: SetRequest<'a>) -> Result<NewEntry<'a>> {
        let SetRequest { key, value, ttl, tags } = request;
        check_key(key)?;
        check_tags(tags)?;
        if value.len() as u64 > self.max_value_bytes {
            return Err(self.value_too_large(value.len()));
        }
        allocation::check(COPIES.saturating_mul(value.len()))?;
        Ok(NewEntry { key, value, ttl: self.default_ttl.resolve(ttl), tags })
    }

    #[cold]
    fn value_too_large(&self, len: usize) -> Error {
        let max = self.max_value_bytes;
        Error::new(ErrorKind::TooLarge, format!("the value has {len} bytes and max_value_bytes is {max}"))
    }
}

/// The outcome of each key: a failure of the whole call is one of each.
fn each_of<T>(keys: usize, outcomes: Result<Vec<Result<T>>>) -> Vec<Result<T>> {
    outcomes.unwrap_or_else(|error| (0..keys).map(|_| Err(error.clone())).collect())
}
