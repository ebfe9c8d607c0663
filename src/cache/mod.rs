//! The cache: the semantics of every operation, over any backend.

mod batch;
mod command;
mod credentials;
mod dry_run;
mod explain;
mod handle;
pub mod latency;
mod listing;
mod loading;
mod metrics;
mod migrate;
mod progress;
mod report;
mod request;
mod retry;
mod running;
mod subscription;
pub mod trace;
mod view;

pub use self::handle::{CacheGuard, CacheHandle};
pub use self::listing::{Cursor, SearchOptions};
pub use self::metrics::metrics_of_many;
pub use self::progress::{OnProgress, Progress};
pub use self::report::HealthReport;
pub use self::request::Request;
pub use self::subscription::Subscription;

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::TryFutureExt;

use self::handle::Calls;
use self::loading::LoadCounters;
use self::trace::Tracer;
use self::view::{Namespaces, View};
use crate::backend::{Backend, Capabilities, Counters, Hit, OpFuture, done, pending};
use crate::cache::latency::{Latencies, Operation as Timed};
use crate::config::{Config, LoadingConfig};
use crate::credentials::Renewal;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::key::{check_channel, check_key, check_pattern, check_tag, check_tags};
use crate::lease::{LoadState, Loaded};
use crate::naming::Naming;
use crate::operation::{Addition, NewEntry, Operation, Outcome, Usage};
use crate::ttl::{DefaultTtl, Ttl};
use crate::util::allocation;
use crate::value::Value;

/// Largest number of copies of a value that exist on its way to a store.
const COPIES: usize = 4;

/// The number of caches that were opened.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// A backend with its settings. Any thread may call any method at any time. A user has it behind a `CacheHandle`.
#[derive(Clone)]
pub struct Cache {
    backend: Arc<dyn Backend>,
    naming: Naming,
    /// `None`: it is no view.
    view: Option<Arc<View>>,
    default_ttl: DefaultTtl,
    max_value_bytes: u64,
    latencies: Arc<Latencies>,
    load_counters: Arc<LoadCounters>,
    common: Arc<Common>,
    calls: Calls,
}

/// The properties that a cache has in common with its views.
#[derive(Clone)]
struct Common {
    /// Distinguishes the cache from those that it replaced or that replaced it.
    number: u64,
    /// The store and prefix, if another cache could have the same.
    store: Option<Arc<str>>,
    key_prefix: Arc<str>,
    /// The namespaces of the views.
    namespaces: Arc<Namespaces>,
    ttl_jitter: f64,
    loading: LoadingConfig,
    /// Invalidations, clears and flushes that were made, also by views.
    invalidations: Arc<AtomicU64>,
    /// The counters of the backends before this one.
    before: Counters,
    lazy: bool,
    /// The credentials that the application supplies.
    renewal: Renewal,
    /// The time to connect to servers that take them; `None`: there are none.
    renewed_within: Option<Duration>,
    opened: Instant,
    tracer: Arc<Tracer>,
}

impl Cache {
    /// Opens a cache. If it has servers, it is still connecting: see `ready`.
    pub fn open(config: Config) -> Result<Self> {
        config.notes.iter().for_each(|note| tracing::warn!("{note}"));
        let backend = crate::layer::open(&config)?;
        tracing::info!(backend = backend.name(), key_prefix = config.key_prefix, "opened");
        Ok(Self::over(backend, config))
    }

    /// Creates a cache over an open backend.
    pub fn over(backend: Arc<dyn Backend>, config: Config) -> Self {
        let common = Common {
            number: OPENED.fetch_add(1, Relaxed),
            store: config.store().map(Arc::from),
            lazy: config.backend.is_lazy(),
            renewed_within: config.renewed_within(),
            renewal: config.renewal.clone(),
            key_prefix: config.key_prefix.into(),
            namespaces: Arc::default(),
            ttl_jitter: config.ttl_jitter,
            loading: config.loading,
            invalidations: Arc::default(),
            before: Counters::default(),
            opened: Instant::now(),
            tracer: Arc::default(),
        };
        Self {
            backend,
            naming: Naming::new(None, &[], config.generations, config.patterns),
            view: None,
            default_ttl: DefaultTtl::new(config.default_ttl, config.ttl_jitter),
            max_value_bytes: config.max_value_bytes,
            latencies: Arc::default(),
            load_counters: Arc::default(),
            common: Arc::new(common),
            calls: Calls::default(),
        }
    }

    /// Returns the time to live that a caller asks for; `None` never expires.
    #[inline]
    pub fn resolve(&self, ttl: Ttl) -> Option<Duration> {
        self.default_ttl.resolve(ttl)
    }

    /// Returns the value of a key if the backend has it at hand; `None` says nothing about the key. Does what `get` does for
    /// such a key, at a lower cost.
    #[inline(always)]
    fn hit(&self, key: &[u8]) -> Option<Value> {
        if !self.naming.keeps(key) {
            return self.renamed_hit(key, false);
        }
        self.latencies.untimed(|| self.backend.hit(key, false))
    }

    /// Does the same, and copies a small value to a buffer.
    #[inline(always)]
    fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        if !self.naming.keeps(key) {
            return self.renamed_hit_into(key, buffer);
        }
        self.latencies.untimed(|| self.backend.hit_into(key, buffer))
    }

    #[inline(never)]
    fn renamed_hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        let name = self.naming.stored(key);
        self.latencies.untimed(|| self.backend.hit(&name, refresh_ahead))
    }

    #[inline(never)]
    fn renamed_hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        let name = self.naming.stored(key);
        self.latencies.untimed(|| self.backend.hit_into(&name, buffer))
    }

    /// Returns the value of a key if it is in the memory of this process, copied to a buffer if it is small. `None` says nothing
    /// about a key of a shared store.
    #[inline]
    pub fn near_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        if self.naming.keeps(key) {
            self.backend.hit_into(key, buffer)
        } else {
            self.backend.hit_into(&self.naming.stored(key), buffer)
        }
    }

    /// Returns the outcome of a request if that takes no more than the memory of this process; `None` says nothing.
    #[inline]
    pub fn at_hand(&self, request: &Request<'_>) -> Option<Outcome> {
        match request {
            Request::Store(Operation::Get { key }) => self.at_hand_value(key, false).map(Outcome::Value),
            Request::Store(Operation::GetOrLease { key, options }) => {
                let fresh = |value| Outcome::Loaded(Loaded::of(LoadState::Fresh, Some(value)));
                self.at_hand_value(key, options.refresh_ahead).map(fresh)
            }
            _ => None,
        }
    }

    fn at_hand_value(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        if self.naming.keeps(key) {
            self.backend.hit(key, refresh_ahead)
        } else {
            self.backend.hit(&self.naming.stored(key), refresh_ahead)
        }
    }

    /// Notes that a request will be run, for a backend with copies: they are not served after the change was requested.
    pub fn announce(&self, request: &Request<'_>) {
        if let Request::Store(operation) | Request::Fresh(operation) | Request::Limited { operation, .. } = request
            && let Some(change) = operation.change()
        {
            if self.naming.keeps_all(operation) {
                return self.backend.will_change(&change);
            }
            // Names that are refused change nothing.
            let Ok(names) = self.naming.names(operation) else { return };
            let names = names.list();
            let entries = self.naming.entries(operation, &names);
            let renamed = self.naming.renamed(operation, &names, &entries);
            if let Some(change) = renamed.change() {
                self.backend.will_change(&change);
            }
        }
    }

    /// Reads the value of a key; `None` is a miss. Does what `call` of a `Get` does, without the cost of an `Outcome`.
    #[inline(always)]
    pub fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        match check_key(key) {
            Ok(()) if !self.naming.keeps(key) => self.renamed_get(context, key),
            Ok(()) => self.latencies.sample(Timed::Get, || self.backend.get(context, key)),
            Err(error) => done(Err(error)),
        }
    }

    /// Stores an entry. Does what `call` of a `Set` does, without the cost of an `Outcome`.
    #[inline(always)]
    pub fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        match self.check_entry(&entry) {
            Ok(()) if !self.naming.keeps_entry(&entry) => self.renamed_set(context, entry),
            Ok(()) => self.latencies.sample(Timed::Set, || self.backend.set(context, entry)),
            Err(error) => done(Err(error)),
        }
    }

    /// Stores an entry if the backend does so at once, unless `is_replaced` becomes true before. Otherwise returns `None`, and
    /// stores nothing.
    #[inline(always)]
    fn set_unless(&self, is_replaced: &AtomicBool, entry: NewEntry<'_>) -> Option<Result<()>> {
        match self.check_entry(&entry) {
            Ok(()) if !self.naming.keeps_entry(&entry) => self.renamed_set_unless(is_replaced, &entry),
            Ok(()) => self.latencies.untimed(|| self.backend.set_unless(is_replaced, entry)),
            Err(error) => Some(Err(error)),
        }
    }

    #[inline(never)]
    fn renamed_set_unless(&self, is_replaced: &AtomicBool, entry: &NewEntry<'_>) -> Option<Result<()>> {
        let set = |stored: NewEntry<'_>| self.latencies.untimed(|| self.backend.set_unless(is_replaced, stored));
        self.naming.with_stored(entry, set).unwrap_or_else(|refused| Some(Err(refused)))
    }

    /// Runs an operation on the store. An operation on many keys fails only if it is refused; otherwise each key has
    /// its own outcome.
    #[inline(always)] // Where the kind is known, only its own steps are left.
    pub fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        if let Err(refused) = self.check_operation(&operation) {
            return done(Err(refused));
        }
        if self.naming.keeps_all(&operation) {
            self.call_stored(context, operation)
        } else {
            self.call_renamed(context, operation)
        }
    }

    /// Runs an operation with its stored names.
    #[inline(never)]
    fn call_renamed<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        let names = match self.naming.names(&operation) {
            Ok(names) => names,
            Err(refused) => return done(Err(refused)),
        };
        pending(async move {
            let names = names.list();
            let entries = self.naming.entries(&operation, &names);
            self.call_stored(context, self.naming.renamed(&operation, &names, &entries)).await
        })
    }

    #[inline(never)]
    fn renamed_get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        pending(self.call_renamed(context, Operation::Get { key }).map_ok(|outcome| match outcome {
            Outcome::Value(value) => Some(value),
            _ => None,
        }))
    }

    #[inline(never)]
    fn renamed_set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        pending(self.call_renamed(context, Operation::Set(entry)).map_ok(drop))
    }

    #[inline(always)]
    fn call_stored<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        let run = || match operation {
            Operation::GetOrLease { .. } | Operation::LeaseFill { .. } | Operation::LeaseAbandon { .. } => {
                self.load(context, operation)
            }
            _ if operation.removes() => self.remove(context, operation),
            _ => self.backend.call(context, operation),
        };
        match timed(&operation) {
            None => run(),
            Some(Timed::Invalidate) => {
                let counted = |outcome: Result<Outcome>| {
                    outcome.inspect(|_| {
                        self.common.invalidations.fetch_add(1, Relaxed);
                    })
                };
                self.latencies.always(Timed::Invalidate, run, counted)
            }
            Some(Timed::Many) => self.latencies.always(Timed::Many, run, move |outcome| operation.spread(outcome)),
            Some(short) => self.latencies.sample(short, run),
        }
    }

    /// Measures the store.
    pub async fn usage(&self, context: CallContext) -> Result<Usage> {
        match self.call(context, Operation::Usage).await? {
            Outcome::Usage(usage) => Ok(usage),
            _ => Ok(Usage::default()),
        }
    }

    /// Returns the number of keys and their bytes. The keys of a namespace are listed for it, and their bytes are not known.
    pub async fn size(&self, context: CallContext) -> Result<(u64, Option<u64>)> {
        if self.has_namespace() {
            return Ok((self.count_keys(context).await?, None));
        }
        self.usage(context).await.map(|usage| (usage.keys, Some(usage.bytes)))
    }

    /// Returns the optional features of the backend.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// Returns true if no caller waits for another thread or a server.
    pub fn answers_at_once(&self) -> bool {
        self.backend.info().answers_at_once
    }

    /// Returns true if an operation on many keys takes no longer than one on a single key, also when a server is slow.
    pub fn is_one_server(&self) -> bool {
        self.backend.info().is_one_server
    }

    /// Completes when the cache can be used, or fails with the reason why it cannot; at once if the configuration is
    /// lazy, or leaves the credentials to the application, which has not supplied any.
    pub fn ready(&self, context: CallContext) -> OpFuture<'_, ()> {
        let has_no_credentials = self.common.renewed_within.is_some() && !self.common.renewal.is_set();
        if self.common.lazy || has_no_credentials { done(Ok(())) } else { self.backend.connected(context) }
    }

    /// Ends threads and connections; operations in flight have until the deadline.
    pub fn close(&self, context: CallContext, deadline: Instant) -> OpFuture<'_, ()> {
        if !self.is_view() {
            tracing::info!(backend = self.backend.name(), key_prefix = &*self.common.key_prefix, "closed");
        }
        if self.backend.info().answers_at_once {
            return self.backend.close(context, deadline);
        }
        pending(async move {
            self.load_counters.abandoned(context, deadline).await;
            self.backend.close(context, deadline).await
        })
    }

    /// Returns true if the cache is a view of another.
    pub fn is_view(&self) -> bool {
        self.view.is_some()
    }

    /// Returns true if the cache has the keys of a namespace.
    pub fn has_namespace(&self) -> bool {
        !self.naming.is_plain()
    }

    /// Returns its namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.naming.namespace()
    }

    /// Returns the cache with the keys and the tags of a namespace. Its statistics stay those of the whole cache.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        Self { naming: Naming::new(Some(namespace), &[], true, self.naming.patterns()), ..self }
    }

    /// Returns the number by which the cursors of the cache are known.
    fn number(&self) -> u64 {
        self.view.as_ref().map_or(self.common.number, |view| view.number())
    }

    /// Returns true if another cache has the same entries.
    fn is_same_store(&self, other: &Self) -> bool {
        let one_backend = std::ptr::addr_eq(Arc::as_ptr(&self.backend), Arc::as_ptr(&other.backend));
        one_backend || self.common.store.is_some() && self.common.store == other.common.store
    }

    /// Returns the counters since the cache was opened, over all its backends.
    fn counters(&self) -> Counters {
        let mut counters = if self.is_view() { Counters::default() } else { self.common.before };
        counters += self.backend.counters();
        // The backend of a view with a namespace counts those of the namespace.
        if !(self.is_view() && self.has_namespace()) {
            counters.invalidations = self.common.invalidations.load(Relaxed);
        }
        counters
    }

    /// Refuses an operation whose arguments are not allowed.
    #[inline(always)]
    fn check_operation(&self, operation: &Operation<'_>) -> Result<()> {
        match operation {
            Operation::Get { key }
            | Operation::Delete { key }
            | Operation::Exists { key }
            | Operation::Expire { key, .. }
            | Operation::Ttl { key }
            | Operation::Explain { key }
            | Operation::GetVersioned { key }
            | Operation::GetInfo { key, .. }
            | Operation::DeleteIf { key, .. }
            | Operation::GetAndExpire { key, .. } => check_key(key),
            Operation::CounterAdd(Addition { key, tags, .. }) => check_key(key).and_then(|()| check_tags(tags)),
            Operation::Set(entry) | Operation::SetIf { entry, .. } => self.check_entry(entry),
            Operation::GetMany { keys } | Operation::DeleteMany { keys } => {
                keys.iter().try_for_each(|key| check_key(key))
            }
            Operation::SetMany { entries } => {
                let bytes: usize = entries.iter().map(|entry| entry.value.len()).sum();
                allocation::check(COPIES.saturating_mul(bytes))?;
                entries.iter().try_for_each(|entry| self.check_entry(entry))
            }
            Operation::InvalidateTags { tags, .. } => tags.iter().try_for_each(|tag| check_tag(tag)),
            Operation::InvalidatePatterns { patterns, .. } => patterns.iter().try_for_each(|it| check_pattern(it)),
            Operation::Flush { .. } | Operation::Ping | Operation::Usage => Ok(()),
            Operation::Clear { .. } => self.naming.check_clear(),
            Operation::GetOrLease { key, options } => check_key(key).and_then(|()| check_tags(options.tags)),
            Operation::LeaseFill { lease, fill } => self.check_fill(lease, fill),
            Operation::LeaseAbandon { .. } => Ok(()),
            Operation::Command(command) => self.check_command(command),
            Operation::Publish { channel, message } => {
                check_channel(channel).and_then(|()| self.check_message(message))
            }
        }
    }

    #[inline(always)]
    fn check_entry(&self, entry: &NewEntry<'_>) -> Result<()> {
        check_key(entry.key)?;
        check_tags(entry.tags)?;
        self.check_value(entry.value)
    }

    #[inline(always)]
    fn check_value(&self, value: &[u8]) -> Result<()> {
        if value.len() as u64 > self.max_value_bytes {
            return Err(self.value_too_large(value.len()));
        }
        allocation::check(COPIES.saturating_mul(value.len()))
    }

    fn check_message(&self, message: &[u8]) -> Result<()> {
        if message.len() as u64 > self.max_value_bytes {
            let (len, max) = (message.len(), self.max_value_bytes);
            let text = format!(
                "the message has {len} bytes and max_value_bytes is {max}: send a shorter one, or raise the option"
            );
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        allocation::check(COPIES.saturating_mul(message.len()))
    }

    #[cold]
    fn value_too_large(&self, len: usize) -> Error {
        let max = self.max_value_bytes;
        Error::new(
            ErrorKind::TooLarge,
            format!(
                "the value has {len} bytes and max_value_bytes is {max}: store a smaller value, or raise the option"
            ),
        )
    }
}

/// Returns the histogram of an operation; `None` if it is not timed.
#[inline(always)]
fn timed(operation: &Operation<'_>) -> Option<Timed> {
    Some(match operation {
        Operation::Get { .. }
        | Operation::GetVersioned { .. }
        | Operation::GetInfo { .. }
        | Operation::GetAndExpire { .. } => Timed::Get,
        Operation::Set(_) | Operation::SetIf { .. } | Operation::CounterAdd(_) => Timed::Set,
        Operation::LeaseFill { .. } => Timed::Set,
        Operation::GetOrLease { .. } => Timed::GetOrLease,
        Operation::Delete { .. } | Operation::DeleteIf { .. } => Timed::Delete,
        Operation::Exists { .. } | Operation::Expire { .. } | Operation::Ttl { .. } => Timed::Inspect,
        Operation::GetMany { .. } | Operation::SetMany { .. } | Operation::DeleteMany { .. } => Timed::Many,
        Operation::InvalidateTags { .. }
        | Operation::InvalidatePatterns { .. }
        | Operation::Flush { .. }
        | Operation::Clear { .. } => Timed::Invalidate,
        Operation::Ping
        | Operation::Usage
        | Operation::Explain { .. }
        | Operation::LeaseAbandon { .. }
        | Operation::Command(_)
        | Operation::Publish { .. } => return None,
    })
}
