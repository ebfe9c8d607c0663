//! Views: a cache as it is used with other defaults, or with a namespace of its own. A view has the connections of its cache.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Map, Value as Json, json};

use super::handle::Calls;
use super::latency::Latencies;
use super::loading::LoadCounters;
use super::{Cache, CacheGuard, CacheHandle, Common};
use crate::backend::health::Health;
use crate::backend::{
    Activity, Backend, CopiedEntry, Counters, Hit, IfPresent, Imported, Info, KeyFilter, Missing, NewEntry, OpFuture,
    Operation, Outcome, Page, Route, ScanCursor, done, pending,
};
use crate::config::ViewConfig;
use crate::entry::TagVersion;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::inbox::{Delivery, Feed};
use crate::lease::LoadState;
use crate::message::Filter;
use crate::naming::Naming;
use crate::operation::{Change, EntryInfo, PatternMode};
use crate::ttl::{DefaultTtl, Ttl};
use crate::util::lock;
use crate::value::Value;

/// The most namespaces that have statistics of their own.
const MAX_NAMESPACES: usize = 64;

/// The most options that are kept.
const MAX_OPTIONS: usize = 64;

/// The statistics of a namespace: those of all its views.
#[derive(Default)]
pub(super) struct Statistics {
    counts: Counts,
    latencies: Arc<Latencies>,
    load_counters: Arc<LoadCounters>,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    sets: AtomicU64,
    deletes: AtomicU64,
    invalidations: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, happened: usize) {
        counter.fetch_add(happened as u64, Relaxed);
    }

    fn read(&self, hits: usize, misses: usize) {
        Self::add(&self.hits, hits);
        Self::add(&self.misses, misses);
    }

    /// Counts an operation by its outcome.
    fn note(&self, operation: &Operation<'_>, outcome: &Result<Outcome>) {
        let Ok(outcome) = outcome else { return };
        match (operation, outcome) {
            (
                Operation::Get { .. }
                | Operation::GetVersioned { .. }
                | Operation::GetInfo { .. }
                | Operation::GetAndExpire { .. },
                outcome,
            ) => {
                self.read(usize::from(outcome.is_hit()), usize::from(!outcome.is_hit()));
            }
            (Operation::GetOrLease { .. }, Outcome::Loaded(loaded)) => {
                let is_hit = matches!(loaded.state, LoadState::Fresh | LoadState::Stale);
                self.read(usize::from(is_hit), usize::from(!is_hit));
            }
            (_, Outcome::Values(values)) => {
                let hits = values.iter().filter(|value| matches!(value, Ok(Some(_)))).count();
                self.read(hits, values.iter().filter(|value| matches!(value, Ok(None))).count());
            }
            (Operation::Set(_) | Operation::LeaseFill { .. }, Outcome::Done)
            | (_, Outcome::Version(_) | Outcome::Number(_)) => Self::add(&self.sets, 1),
            (_, Outcome::Stored(entries)) => Self::add(&self.sets, entries.iter().filter(|it| it.is_ok()).count()),
            (Operation::Delete { .. } | Operation::DeleteIf { .. }, Outcome::Done) => Self::add(&self.deletes, 1),
            (_, Outcome::Removed(_)) => Self::add(&self.invalidations, 1),
            (_, Outcome::Deleted(keys)) => {
                Self::add(&self.deletes, keys.iter().filter(|it| matches!(it, Ok(true))).count());
            }
            _ => {}
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            sets: self.sets.load(Relaxed),
            deletes: self.deletes.load(Relaxed),
            invalidations: self.invalidations.load(Relaxed),
            ..Counters::default()
        }
    }
}

/// The namespaces of a cache that views were opened for, with their statistics.
#[derive(Default)]
pub(super) struct Namespaces(Mutex<HashMap<Box<str>, Arc<Statistics>>>);

impl Namespaces {
    /// Returns the statistics of a namespace. Beyond `MAX_NAMESPACES` a view has its own, which no report of the cache has.
    fn statistics(&self, namespace: &str) -> Arc<Statistics> {
        let mut known = lock(&self.0);
        if let Some(statistics) = known.get(namespace) {
            return statistics.clone();
        }
        let statistics = Arc::<Statistics>::default();
        if known.len() < MAX_NAMESPACES {
            known.insert(namespace.into(), statistics.clone());
        }
        statistics
    }

    /// Returns the counters of each namespace, sorted by name.
    pub(super) fn counters(&self) -> Vec<(Box<str>, Counters)> {
        let known = lock(&self.0);
        let mut counters: Vec<_> =
            known.iter().map(|(name, statistics)| (name.clone(), statistics.counts.counters())).collect();
        counters.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        counters
    }

    /// Returns the counters of each namespace as JSON.
    pub(super) fn to_json(&self) -> Json {
        let report = |(name, it): (Box<str>, Counters)| {
            let counters = json!({ "hits": it.hits, "misses": it.misses, "sets": it.sets, "deletes": it.deletes, "invalidations": it.invalidations });
            (name.into(), counters)
        };
        Json::Object(self.counters().into_iter().map(report).collect::<Map<_, _>>())
    }
}

/// The backend of a view: that of its cache, whatever serves there.
pub(super) struct View {
    root: Arc<CacheHandle>,
    config: Arc<ViewConfig>,
    /// `None` without a namespace: the cache counts.
    statistics: Option<Arc<Statistics>>,
    /// `None`: those of the cache.
    reads: Option<Reads>,
}

/// The reads of a view that differ from those of its cache.
struct Reads {
    /// The time to live that a read gives its entry again; `None`: it leaves that as it is.
    touches: Option<DefaultTtl>,
    /// The largest age of an entry that a read accepts.
    max_age: Option<Duration>,
}

/// The options of views of a cache that were opened, with their texts: the same few are opened again and again.
#[derive(Default)]
pub(super) struct Options(Mutex<Vec<(Box<str>, Prepared)>>);

/// The properties of a view of a cache, from its options.
struct Prepared {
    config: Arc<ViewConfig>,
    naming: Naming,
    statistics: Option<Arc<Statistics>>,
    default_ttl: DefaultTtl,
    latencies: Arc<Latencies>,
    load_counters: Arc<LoadCounters>,
    max_value_bytes: u64,
    common: Arc<Common>,
    /// The properties of the backend of the cache.
    info: Info,
}

impl Prepared {
    fn new(config: ViewConfig, cache: &Cache) -> Result<Self> {
        let (namespace, has_generations) = (config.namespace.as_deref(), cache.naming.has_generations());
        let patterns = config.patterns.unwrap_or(cache.naming.patterns());
        if patterns == PatternMode::Barrier && !has_generations && namespace.is_none() {
            let text = "option patterns: a barrier needs generations, which the entries of this cache do not have: set `generations: true` in every program that shares its key_prefix, or give the view a namespace";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let statistics = namespace.map(|namespace| cache.common.namespaces.statistics(namespace));
        let (latencies, load_counters) = match &statistics {
            Some(own) => (&own.latencies, &own.load_counters),
            None => (&cache.latencies, &cache.load_counters),
        };
        Ok(Self {
            naming: Naming::new(namespace, &config.tags, has_generations, patterns),
            default_ttl: match config.default_ttl {
                Some(ttl) => DefaultTtl::new(ttl, cache.common.ttl_jitter),
                None => cache.default_ttl.clone(),
            },
            latencies: latencies.clone(),
            load_counters: load_counters.clone(),
            max_value_bytes: cache.max_value_bytes,
            common: cache.common.clone(),
            info: cache.backend.info(),
            config: Arc::new(config),
            statistics,
        })
    }

    /// Opens a view of the cache of a handle.
    fn open(&self, root: &Arc<CacheHandle>) -> Arc<CacheHandle> {
        let reads = Reads::of(&self.config, &self.default_ttl);
        let (config, statistics) = (self.config.clone(), self.statistics.clone());
        let view = Arc::new(View { root: root.clone(), config, statistics, reads });
        let cache = Cache {
            backend: view.clone(),
            naming: self.naming.clone(),
            view: Some(view),
            default_ttl: self.default_ttl.clone(),
            max_value_bytes: self.max_value_bytes,
            latencies: self.latencies.clone(),
            load_counters: self.load_counters.clone(),
            common: self.common.clone(),
            calls: Calls::untold(),
        };
        Arc::new(CacheHandle::over(cache, &self.info))
    }
}

impl Options {
    /// Opens a view of the cache of a handle.
    fn open(&self, text: &str, root: &Arc<CacheHandle>, cache: &Cache) -> Result<Arc<CacheHandle>> {
        // The cache may have been replaced since.
        let is_of = |(known, prepared): &&(Box<str>, Prepared)| {
            **known == *text && Arc::ptr_eq(&prepared.common, &cache.common)
        };
        if let Some((_, prepared)) = lock(&self.0).iter().find(is_of) {
            return Ok(prepared.open(root));
        }
        let prepared = Prepared::new(ViewConfig::from_text(text)?, cache)?;
        let view = prepared.open(root);
        let mut known = lock(&self.0);
        if known.len() >= MAX_OPTIONS {
            known.clear();
        }
        known.retain(|(known, _)| **known != *text);
        known.push((text.into(), prepared));
        Ok(view)
    }
}

impl CacheHandle {
    /// Opens a view of a cache, or of the cache of a view with what that view says and the options do not.
    pub fn view(self: &Arc<Self>, options: &str) -> Result<Arc<Self>> {
        let cache = self.cache()?;
        match &cache.view {
            None => self.view_options.open(options, self, &cache),
            Some(view) => {
                let config = view.config.with(&ViewConfig::from_text(options)?)?;
                Ok(Prepared::new(config, &*view.root.cache()?)?.open(&view.root))
            }
        }
    }
}

impl View {
    /// Returns the handle of the cache.
    pub(super) fn root(&self) -> &Arc<CacheHandle> {
        &self.root
    }

    /// Returns the number of the cache that serves.
    pub(super) fn number(&self) -> u64 {
        self.root.load().common.number
    }

    fn serving(&self) -> Result<CacheGuard> {
        self.root.cache()
    }

    /// Returns the cache that serves, for a call that may take longer.
    fn held(&self) -> Result<Arc<Cache>> {
        self.serving().map(Guard::into_inner)
    }

    fn limited(&self, context: CallContext) -> CallContext {
        self.config.timeout.map_or(context, |timeout| context.limited(context.limit(timeout)))
    }

    fn count(&self, operation: &Operation<'_>, outcome: &Result<Outcome>) {
        if let Some(statistics) = &self.statistics {
            statistics.counts.note(operation, outcome);
        }
    }

    fn counted<T>(&self, hit: Option<T>) -> Option<T> {
        if let (Some(statistics), true) = (&self.statistics, hit.is_some()) {
            statistics.counts.read(1, 0);
        }
        hit
    }
}

impl Backend for View {
    fn info(&self) -> Info {
        let info = self.root.load().backend.info();
        let call_timeout = info.call_timeout.map(|timeout| self.config.timeout.unwrap_or(timeout));
        Info { call_timeout, ..info }
    }

    fn instance(&self) -> u64 {
        self.root.load().backend.instance()
    }

    fn get<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Value>> {
        let get = Operation::Get { key };
        pending(async move {
            match Backend::call(self, context, get).await? {
                Outcome::Value(value) => Ok(Some(value)),
                _ => Ok(None),
            }
        })
    }

    fn hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        if self.reads.is_some() {
            return None;
        }
        self.counted(self.root.stored_hit(key, refresh_ahead))
    }

    fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        if self.reads.is_some() {
            return None;
        }
        self.counted(self.root.stored_hit_into(key, buffer))
    }

    fn will_change(&self, change: &Change<'_>) {
        self.root.load().backend.will_change(change);
    }

    fn set_unless(&self, is_replaced: &AtomicBool, entry: NewEntry<'_>) -> Option<Result<()>> {
        // A view is never replaced. Its cache may be, and tells that itself.
        if is_replaced.load(Relaxed) {
            return None;
        }
        let stored = self.root.set_stored(entry)?;
        if let (Some(statistics), Ok(())) = (&self.statistics, &stored) {
            Counts::add(&statistics.counts.sets, 1);
        }
        Some(stored)
    }

    fn set<'a>(&'a self, context: CallContext, entry: NewEntry<'a>) -> OpFuture<'a, ()> {
        pending(Backend::call(self, context, Operation::Set(entry)).map(|outcome| outcome.map(drop)))
    }

    fn call<'a>(&'a self, context: CallContext, operation: Operation<'a>) -> OpFuture<'a, Outcome> {
        let context = self.limited(context);
        let operation = match self.config.timeout {
            Some(timeout) => operation.within(context.limit(timeout)),
            None => operation,
        };
        pending(async move {
            let cache = self.held()?;
            let outcome = if operation.removes() {
                // The migrations of the cache follow what is removed.
                cache.remove(context, operation).await
            } else if let Some(reads) = &self.reads {
                reads.call(context, &*cache.backend, operation).await
            } else {
                cache.backend.call(context, operation).await
            };
            self.count(&operation, &outcome);
            outcome
        })
    }

    fn scan<'a>(
        &'a self,
        context: CallContext,
        filter: KeyFilter<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> OpFuture<'a, Page> {
        let context = self.limited(context);
        pending(async move {
            let cache = self.held()?;
            cache.backend.scan(context, filter, from, limit).await
        })
    }

    fn export<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<CopiedEntry>>>> {
        pending(async move {
            let cache = self.held()?;
            cache.backend.export(context, keys).await
        })
    }

    fn import<'a>(
        &'a self,
        context: CallContext,
        entries: &'a [CopiedEntry],
        versions: &'a [TagVersion],
        if_present: IfPresent,
    ) -> OpFuture<'a, Vec<Result<Imported>>> {
        pending(async move {
            let cache = self.held()?;
            cache.backend.import(context, entries, versions, if_present).await
        })
    }

    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        tags: &'a [u64],
        missing: Missing,
    ) -> OpFuture<'a, Vec<TagVersion>> {
        pending(async move {
            let cache = self.held()?;
            cache.backend.tag_versions(context, tags, missing).await
        })
    }

    fn invalidate_hashes<'a>(&'a self, context: CallContext, tags: &'a [u64]) -> OpFuture<'a, ()> {
        pending(async move {
            let cache = self.held()?;
            cache.backend.invalidate_hashes(context, tags).await
        })
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery) -> Result<Feed> {
        self.serving()?.backend.subscribe(filter, delivery)
    }

    fn listen(&self, delivery: Delivery) -> Result<Feed> {
        self.serving()?.backend.listen(delivery)
    }

    fn connected(&self, _context: CallContext) -> OpFuture<'_, ()> {
        done(self.serving().map(drop))
    }

    fn route(&self, key: Option<&[u8]>) -> Route {
        self.root.load().backend.route(key)
    }

    fn activity(&self) -> Activity {
        let activity = self.root.load().backend.activity();
        match &self.statistics {
            Some(own) => Activity { counters: own.counts.counters(), ..activity },
            None => activity,
        }
    }

    fn health(&self, context: CallContext) -> BoxFuture<'_, Health> {
        let context = self.limited(context);
        Box::pin(async move {
            let cache = Guard::into_inner(self.root.load());
            cache.backend.health(context).await
        })
    }

    /// The connections are those of the cache.
    fn close(&self, _context: CallContext, _deadline: Instant) -> OpFuture<'_, ()> {
        done(Ok(()))
    }
}

impl Reads {
    fn of(config: &ViewConfig, default_ttl: &DefaultTtl) -> Option<Self> {
        let touches = (config.touch_on_get == Some(true)).then(|| default_ttl.clone());
        let max_age = config.max_age;
        (touches.is_some() || max_age.is_some()).then_some(Self { touches, max_age })
    }

    /// Runs an operation.
    async fn call(&self, context: CallContext, backend: &dyn Backend, operation: Operation<'_>) -> Result<Outcome> {
        match operation {
            Operation::Get { key } => self.value(context, backend, key).await,
            Operation::GetMany { keys } => {
                let values = join_all(keys.iter().map(|&key| self.value(context, backend, key))).await.into_iter();
                Ok(Outcome::Values(values.map(|outcome| outcome.map(Outcome::into_value)).collect()))
            }
            Operation::GetVersioned { key } if self.max_age.is_some() => {
                let found = self.info(context, backend, key, None).await?;
                Ok(Outcome::versioned(found.map(|info| (info.value, info.version))))
            }
            Operation::GetInfo { key, max_age } => Ok(Outcome::info(self.info(context, backend, key, max_age).await?)),
            Operation::GetAndExpire { key, ttl } => self.value_for(context, backend, key, Some(ttl)).await,
            Operation::GetOrLease { .. } if self.max_age.is_some() => Err(no_loads()),
            Operation::GetOrLease { key, .. } => {
                let outcome = backend.call(context, operation).await?;
                if let Some(touches) = &self.touches
                    && matches!(&outcome, Outcome::Loaded(loaded) if loaded.state == LoadState::Fresh)
                {
                    let ttl = touches.resolve(Ttl::Default);
                    backend.call(context, Operation::Expire { key, ttl }).await?;
                }
                Ok(outcome)
            }
            _ => backend.call(context, operation).await,
        }
    }

    async fn value(&self, context: CallContext, backend: &dyn Backend, key: &[u8]) -> Result<Outcome> {
        let ttl = self.touches.as_ref().map(|touches| touches.resolve(Ttl::Default));
        self.value_for(context, backend, key, ttl).await
    }

    /// Reads a value. The entry gets a time to live, if there is one.
    async fn value_for(
        &self,
        context: CallContext,
        backend: &dyn Backend,
        key: &[u8],
        ttl: Option<Option<Duration>>,
    ) -> Result<Outcome> {
        if let (None, Some(ttl)) = (self.max_age, ttl) {
            return backend.call(context, Operation::GetAndExpire { key, ttl }).await;
        }
        let Some(info) = self.info(context, backend, key, None).await? else { return Ok(Outcome::Miss) };
        if let Some(ttl) = ttl {
            backend.call(context, Operation::Expire { key, ttl }).await?;
        }
        Ok(Outcome::Value(info.value))
    }

    /// Reads an entry that is not older than the view accepts, nor older than the caller does.
    async fn info(
        &self,
        context: CallContext,
        backend: &dyn Backend,
        key: &[u8],
        max_age: Option<Duration>,
    ) -> Result<Option<EntryInfo>> {
        let max_age = self.max_age.into_iter().chain(max_age).min();
        match backend.call(context, Operation::GetInfo { key, max_age }).await? {
            Outcome::Info(info) => Ok(Some(*info)),
            _ => Ok(None),
        }
    }
}

#[cold]
fn no_loads() -> Error {
    let text = "a view with max_age does not load: use another view for loads, and let the time to live of the values limit their age";
    Error::new(ErrorKind::Unsupported, text)
}

impl ViewConfig {
    /// Returns the options of a view of a view.
    fn with(&self, other: &Self) -> Result<Self> {
        if self.namespace.is_some() && other.namespace.is_some() {
            let text = "the view has a namespace: open the view of another namespace from the cache itself";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(Self {
            namespace: other.namespace.clone().or_else(|| self.namespace.clone()),
            timeout: other.timeout.or(self.timeout),
            default_ttl: other.default_ttl.or(self.default_ttl),
            tags: self.tags.iter().chain(&other.tags).cloned().collect(),
            touch_on_get: other.touch_on_get.or(self.touch_on_get),
            max_age: other.max_age.or(self.max_age),
            patterns: other.patterns.or(self.patterns),
        })
    }
}
