//! The handle of a cache: it has the cache that serves now, which a switch replaces while it is in use.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::migrate::migrate;
use super::running::Running;
use super::subscription::Subscriptions;
use super::trace::Tracer;
use super::view::Options;
use super::{Cache, Common};
use crate::backend::{Hit, Info};
use crate::config::{Config, MigrationConfig, SwitchConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::fork;
use crate::layer::Replay;
use crate::operation::{NewEntry, Operation};
use crate::util::lock;
use crate::value::Value;

/// The cache that serves a call, for as long as the call takes.
pub type CacheGuard = Guard<Arc<Cache>>;

/// The time that a switch waits for calls in flight on the old backend: longer than the deadline of any.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time in which the connections of the old backend end.
const CLOSE: Duration = Duration::from_secs(5);

/// A cache as its user has it. Cursors and queues share it.
pub struct CacheHandle {
    cache: ArcSwap<Cache>,
    /// The cache that it was opened with, if values of it are in the memory of this process. Hits use it without a guard until
    /// it is replaced, and gets and sets if it answers at once. Nothing waits for the end of a get. A set looks again under
    /// the lock of its shard: either it comes before whatever is copied from the shard later, or it finds that the cache was
    /// replaced, and stores nothing.
    first: Option<Cache>,
    first_answers_at_once: bool,
    /// True if `first` no longer serves. It is set before the cache is replaced.
    is_first_replaced: AtomicBool,
    /// Tells whether calls use `first`. That of the cache and its views.
    tracer: Arc<Tracer>,
    /// Changes with `replacing` held, so that nothing is replaced in a closed cache.
    closed: AtomicBool,
    replacing: Mutex<()>,
    pub(super) subscriptions: Subscriptions,
    /// The options of its views.
    pub(super) view_options: Options,
    /// Held by the switch that is under way.
    switching: tokio::sync::Mutex<()>,
    /// The process that opened it.
    generation: u32,
}

/// Part of a cache that tells when the last call that uses the cache is over.
pub(super) struct Calls(Option<watch::Sender<()>>);

/// The calls in flight on a cache that was replaced.
struct CallsInFlight(Option<watch::Receiver<()>>);

impl Default for Calls {
    fn default() -> Self {
        Self(Some(watch::Sender::new(())))
    }
}

impl Clone for Calls {
    /// A copy of a cache has calls of its own.
    fn clone(&self) -> Self {
        if self.0.is_some() { Self::default() } else { Self(None) }
    }
}

impl Calls {
    /// Returns the calls of a cache that is never replaced.
    pub(super) const fn untold() -> Self {
        Self(None)
    }
}

impl CallsInFlight {
    /// Returns true if they have ended.
    fn have_ended(&self) -> bool {
        self.0.as_ref().is_none_or(|calls| calls.has_changed().is_err())
    }

    /// Waits for their end; returns false if they take too long.
    async fn are_over(self, context: CallContext) -> bool {
        // The sender is dropped with the cache, by the last call.
        let Some(mut calls) = self.0 else { return true };
        let over = |_| async move { while calls.changed().await.is_ok() {} };
        context.run_until(Instant::now() + PATIENCE, over).await.is_some()
    }
}

impl CacheHandle {
    /// Returns a handle of a cache.
    pub fn new(cache: Cache) -> Self {
        let info = cache.backend.info();
        Self::over(cache, &info)
    }

    /// Returns a handle of a cache with a backend of these properties.
    pub(super) fn over(cache: Cache, info: &Info) -> Self {
        Self {
            first: info.capabilities.near.then(|| cache.clone()),
            first_answers_at_once: info.answers_at_once,
            is_first_replaced: AtomicBool::new(false),
            tracer: cache.common.tracer.clone(),
            cache: ArcSwap::from_pointee(cache),
            closed: AtomicBool::new(false),
            replacing: Mutex::default(),
            subscriptions: Subscriptions::default(),
            view_options: Options::default(),
            switching: tokio::sync::Mutex::default(),
            generation: fork::generation(),
        }
    }

    /// Returns the cache that serves now, whether or not it may be used.
    #[inline]
    pub fn load(&self) -> CacheGuard {
        self.cache.load()
    }

    /// Runs a read on the cache that serves now.
    #[inline]
    pub fn read<R>(&self, run: impl FnOnce(&Cache) -> R) -> R {
        let guard;
        run(match self.answering_first() {
            Some(first) => first,
            None => {
                guard = self.load();
                &guard
            }
        })
    }

    /// Returns the value of a key if the cache that it was opened with has it at hand. `None` says nothing about the key:
    /// it is to be read from the cache that serves now.
    #[inline(always)]
    pub fn hit(&self, key: &[u8]) -> Option<Value> {
        self.serving_first()?.hit(key)
    }

    /// Does the same, and copies a small value to a buffer.
    #[inline(always)]
    pub fn hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        self.serving_first()?.hit_into(key, buffer)
    }

    /// Returns the value of a key if it is in the memory of this process, copied to a buffer if it is small.
    #[inline]
    pub fn near_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        match self.serving_first() {
            Some(first) => first.near_into(key, buffer),
            None => self.load().near_into(key, buffer),
        }
    }

    /// Returns the cache that it was opened with, if it answers at once and serves.
    #[inline(always)]
    fn answering_first(&self) -> Option<&Cache> {
        if self.first_answers_at_once { self.serving_first() } else { None }
    }

    /// Returns the cache that it was opened with, if values of it are in the memory of this process and it serves.
    #[inline(always)]
    fn serving_first(&self) -> Option<&Cache> {
        self.first.as_ref().filter(|_| !self.tracer.detours())
    }

    /// Stores an entry in the cache that it was opened with. Returns `None` if that does not answer at once or does not serve:
    /// then the entry is to be stored in the one that serves now.
    #[inline(always)]
    pub fn set_in_first<'a>(&self, entry: impl FnOnce(&Cache) -> NewEntry<'a>) -> Option<Result<()>> {
        let first = self.answering_first()?;
        first.set_unless(&self.is_first_replaced, entry(first))
    }

    /// Returns the value of a stored key if the backend has it at hand.
    pub(super) fn stored_hit(&self, key: &[u8], refresh_ahead: bool) -> Option<Value> {
        self.check_open().ok()?;
        match self.serving_first() {
            Some(first) => first.backend.hit(key, refresh_ahead),
            None => self.load().backend.hit(key, refresh_ahead),
        }
    }

    /// Does the same, and copies a small value to a buffer.
    pub(super) fn stored_hit_into(&self, key: &[u8], buffer: &mut [MaybeUninit<u8>]) -> Option<Hit> {
        self.check_open().ok()?;
        match self.serving_first() {
            Some(first) => first.backend.hit_into(key, buffer),
            None => self.load().backend.hit_into(key, buffer),
        }
    }

    /// Stores an entry under its stored names as `set_in_first` does.
    pub(super) fn set_stored(&self, entry: NewEntry<'_>) -> Option<Result<()>> {
        self.check_open().ok()?;
        self.answering_first()?.backend.set_unless(&self.is_first_replaced, entry)
    }

    /// Returns the cache that serves now, if it may be used.
    #[inline]
    pub fn cache(&self) -> Result<CacheGuard> {
        self.check_open().map(|()| self.load())
    }

    /// Refuses calls after a close and in another process.
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        self.check_process()?;
        if self.closed.load(Ordering::Acquire) { Err(Self::closed()) } else { Ok(()) }
    }

    /// Refuses calls in the child of a fork.
    #[inline]
    pub fn check_process(&self) -> Result<()> {
        if self.generation == fork::generation() { Ok(()) } else { Err(forked()) }
    }

    /// Returns the error of a call after a close.
    #[cold]
    pub fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the cache was closed")
    }

    /// Takes no more calls.
    pub fn refuse_calls(&self) {
        {
            let _replacing = lock(&self.replacing);
            self.closed.store(true, Ordering::Release);
        }
        self.subscriptions.end();
        let cache = self.load();
        if !cache.is_view() {
            cache.common.renewal.close();
        }
    }

    /// Takes no more calls, and closes the cache that serves; a switch that is under way ends first.
    pub async fn close(&self, context: CallContext, deadline: Instant) -> Result<()> {
        self.refuse_calls();
        let _switching = context.run_until(deadline, |_| self.switching.lock()).await;
        let (first, cache) = (self.first.as_ref(), self.cache.load_full());
        if let Some(first) = first.filter(|first| first.common.number != cache.common.number) {
            first.backend.close(context, deadline).await?;
        }
        cache.close(context, deadline).await?;
        if cache.is_view() || cache.common.renewal.has_ended(context, deadline).await {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, "the callback for credentials has not returned"))
    }

    /// Opens the backend of a configuration, which serves from then on, after a copy of the entries if `options` ask
    /// for it. Calls in flight end on the old backend. If anything fails the old backend serves on.
    pub async fn switch(&self, context: CallContext, config: Config, options: &SwitchConfig) -> Result<Json> {
        if self.load().is_view() {
            let text = "a view uses the backend of its cache: switch the cache, and its views follow";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let Ok(_switching) = self.switching.try_lock() else {
            return Err(Error::new(ErrorKind::Busy, "another switch of this cache is running: wait for it"));
        };
        // The same callback supplies the credentials of the new servers.
        let next = Cache::open(Config { renewal: self.load().common.renewal.clone(), ..config })?;
        let switched = match next.ready(context).await {
            Ok(()) => self.switch_to(context, &next, options).await,
            Err(error) => Err(error),
        };
        if switched.is_err() {
            let _ = next.close(context, Instant::now() + CLOSE).await;
        }
        switched
    }

    async fn switch_to(&self, context: CallContext, next: &Cache, options: &SwitchConfig) -> Result<Json> {
        let old = Cache::clone(&self.load());
        let copies = options.copy && !old.is_same_store(next);
        let (copied, calls) = if copies {
            self.copy_to(context, &old, next, options.rate).await?
        } else {
            (Json::Null, self.replace(next.after(&old))?)
        };
        self.subscriptions.follow(&old, &self.load());
        let were_over = calls.have_ended();
        tracing::info!(backend = next.backend.name(), key_prefix = &*next.common.key_prefix, "switched");
        let are_over = calls.are_over(context).await;
        if !were_over {
            // A publication among them went to the old backend after its subscriptions had left.
            self.subscriptions.lose();
        }
        if are_over {
            let _ = old.close(context, Instant::now() + CLOSE).await;
        } else if old.answers_at_once() {
            // The calls that do not end wait for loads. The handle keeps the store, but not its entries.
            let _ = old.backend.call(context, Operation::Flush { count: false }).await;
        } else if old.capabilities().near {
            // The handle keeps it, but not its connections.
            let _ = old.close(context, Instant::now() + CLOSE).await;
        }
        // Another old backend with servers is closed with the last of its calls.
        Ok(json!({ "backend": next.backend.name(), "copied": copied }))
    }

    /// Copies while the old backend serves and records what changes, replays that, and lets the new one serve. Returns
    /// the calls in flight that use the old one.
    async fn copy_to(
        &self,
        context: CallContext,
        old: &Cache,
        next: &Cache,
        rate: u64,
    ) -> Result<(Json, CallsInFlight)> {
        let replay = Arc::new(Replay::whole(old.backend.clone(), next.backend.clone()));
        let calls = self.replace(Cache { backend: replay.clone(), ..old.clone() })?;
        let copied = self.copy_behind(context, calls, old, next, rate, &replay).await;
        if copied.is_err() {
            let _ = self.replace(old.clone());
        }
        copied
    }

    async fn copy_behind(
        &self,
        context: CallContext,
        calls: CallsInFlight,
        old: &Cache,
        next: &Cache,
        rate: u64,
        replay: &Replay,
    ) -> Result<(Json, CallsInFlight)> {
        // Changes that are not recorded are over before anything is copied.
        if !calls.are_over(context).await {
            let text = "calls that began before the switch are still in flight: try again later";
            return Err(Error::new(ErrorKind::Timeout, text));
        }
        // Changes at this cache follow by the replay.
        let running = Running::begin(None, next);
        let options = MigrationConfig { rate, ..MigrationConfig::default() };
        let mut on_progress = |_: &_| !self.closed.load(Ordering::Acquire);
        let copied = migrate(context, &*old.backend, &*next.backend, running, &options, &mut on_progress).await?;
        let mut replaced = Err(Self::closed());
        replay.finish(context, || replaced = self.replace(next.after(old))).await?;
        replay.abandon_deferred(context).await;
        replaced.map(|calls| (copied, calls))
    }

    /// Lets another cache serve, and returns the calls in flight on the one before.
    fn replace(&self, cache: Cache) -> Result<CallsInFlight> {
        let _replacing = lock(&self.replacing);
        if self.closed.load(Ordering::Acquire) {
            return Err(Self::closed());
        }
        self.is_first_replaced.store(true, Ordering::Release);
        self.tracer.note_replacement();
        let before = self.cache.swap(Arc::new(cache));
        Ok(CallsInFlight(before.calls.0.as_ref().map(watch::Sender::subscribe)))
    }
}

impl Cache {
    /// Returns this cache as it continues another: counters and latencies stay.
    fn after(&self, old: &Self) -> Self {
        let (new, before) = (&*self.common, &*old.common);
        let common = Common {
            invalidations: before.invalidations.clone(),
            namespaces: before.namespaces.clone(),
            before: old.counters(),
            opened: before.opened,
            tracer: before.tracer.clone(),
            ..new.clone()
        };
        Self {
            latencies: old.latencies.clone(),
            load_counters: old.load_counters.clone(),
            common: Arc::new(common),
            ..self.clone()
        }
    }
}

#[cold]
fn forked() -> Error {
    let text = "the cache was opened before a fork, in the parent process; open one in the child";
    Error::new(ErrorKind::Forked, text)
}
