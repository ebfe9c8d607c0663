//! Replaces the backend of a cache while it is in use.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use serde_json::{Value as Json, json};

use super::Cache;
use super::migrate::migrate;
use super::running::Running;
use crate::exec::context::pause;
use crate::config::{Config, MigrationConfig, SwitchConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::layer::Catchup;
use crate::util::lock;

/// The cache that serves a call, for the duration of the call.
pub type Serving = Guard<Arc<Cache>>;

/// Maximum time to wait for calls in flight in the old backend: longer than the deadline of any call.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval of the check for calls in flight.
const LOOK: Duration = Duration::from_millis(1);
/// Time for the connections of the old backend to end.
const CLOSE: Duration = Duration::from_secs(5);

/// A cache whose backend can be replaced.
pub struct Switch {
    serving: ArcSwap<Cache>,
    /// True after a close. Locked to change the serving cache.
    closed: Mutex<bool>,
    switching: AtomicBool,
}

impl Switch {
    /// Creates a switch that serves from this cache.
    pub fn new(cache: Cache) -> Self {
        Self { serving: ArcSwap::from_pointee(cache), closed: Mutex::new(false), switching: AtomicBool::new(false) }
    }

    /// Returns the cache that serves now.
    #[inline]
    pub fn serving(&self) -> Serving {
        self.serving.load()
    }

    /// Opens the backend of a configuration and serves from it, after a copy of the entries if requested. Calls in
    /// flight finish on the old backend. If anything fails, nothing changes.
    pub async fn switch(&self, config: Config, options: &SwitchConfig) -> Result<Json> {
        let _turn = Turn::take(&self.switching)?;
        let next = Cache::open(config)?;
        let switched = match next.ready().await {
            Ok(()) => self.switch_to(&next, options).await,
            Err(error) => Err(error),
        };
        match switched {
            Ok((old, report)) => {
                retire(old).await;
                Ok(report)
            }
            Err(error) => {
                let _ = next.close(Instant::now() + CLOSE).await;
                Err(error)
            }
        }
    }

    /// Returns the previous cache when it is no longer used.
    async fn switch_to(&self, next: &Cache, options: &SwitchConfig) -> Result<(Arc<Cache>, Json)> {
        let old = self.serving.load_full();
        let copies = options.copy && !old.is_same_store(next);
        let copied = if copies { self.copy_to(&old, next, options.rate).await? } else { Json::Null };
        if !copies {
            self.swap(next.after(&old))?;
        }
        tracing::info!(backend = next.backend.name(), key_prefix = next.key_prefix, "switched");
        Ok((old, json!({ "backend": next.backend.name(), "copied": copied })))
    }

    /// Copies while the old backend serves and records changes, replays them, and lets the new backend serve.
    async fn copy_to(&self, old: &Arc<Cache>, next: &Cache, rate: u64) -> Result<Json> {
        let catchup = Arc::new(Catchup::whole(old.backend.clone(), next.backend.clone()));
        let between = Arc::new(old.over_another(catchup.clone()));
        self.swap_arc(between.clone())?;
        let copied = self.copy_behind(old, next, rate, &catchup).await;
        if copied.is_ok() {
            // Its calls that are under way use the old backend, which is about to be closed.
            is_left_alone(&between, 1).await;
        } else {
            let _ = self.swap_arc(old.clone());
        }
        copied
    }

    async fn copy_behind(&self, old: &Arc<Cache>, next: &Cache, rate: u64, catchup: &Catchup) -> Result<Json> {
        // Changes that are not noted are over before anything is copied.
        if !is_left_alone(old, 1).await {
            let text = "calls that began before the switch are still in flight: try again later";
            return Err(Error::new(ErrorKind::Timeout, text));
        }
        // Changes at this cache follow by the replay.
        let running = Running::begin(None, next);
        let options = MigrationConfig { rate, ..MigrationConfig::default() };
        let copied = migrate(&*old.backend, &*next.backend, running, &options, &mut |_| !self.is_closed()).await?;
        let mut swapped = Ok(());
        catchup.finish(|| swapped = self.swap(next.after(old))).await?;
        swapped.map(|()| copied)
    }

    fn swap(&self, cache: Cache) -> Result<()> {
        self.swap_arc(Arc::new(cache))
    }

    fn swap_arc(&self, cache: Arc<Cache>) -> Result<()> {
        let closed = self.lock();
        if *closed {
            return Err(Error::new(ErrorKind::Closed, "the cache was closed"));
        }
        self.serving.store(cache);
        Ok(())
    }

    /// Closes the serving cache. A running switch ends first.
    pub async fn close(&self, deadline: Instant) -> Result<()> {
        *self.lock() = true;
        while self.switching.load(SeqCst) && Instant::now() < deadline {
            pause(LOOK).await;
        }
        self.serving.load_full().close(deadline).await
    }

    fn is_closed(&self) -> bool {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        lock(&self.closed)
    }
}

impl Cache {
    /// Returns the same cache over another backend with the same entries.
    fn over_another(&self, backend: Arc<Catchup>) -> Self {
        Self { backend, ..self.like() }
    }

    /// Continues this cache in place of another: counters and latencies are kept.
    fn after(&self, old: &Self) -> Self {
        Self { latencies: old.latencies.clone(), before: old.counters(), opened: old.opened, ..self.like() }
    }

    fn like(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            number: self.number,
            store: self.store.clone(),
            key_prefix: self.key_prefix.clone(),
            default_ttl: self.default_ttl.clone(),
            max_value_bytes: self.max_value_bytes,
            latencies: self.latencies.clone(),
            before: self.before,
            lazy: self.lazy,
            opened: self.opened,
        }
    }
}

/// Held by the running switch.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(switching: &'a AtomicBool) -> Result<Self> {
        if switching.swap(true, SeqCst) {
            return Err(Error::new(ErrorKind::Busy, "another switch of this cache is running: wait for it"));
        }
        Ok(Self(switching))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// Waits until a cache has only a number of references of ours. Returns false if that does not happen.
async fn is_left_alone(cache: &Arc<Cache>, ours: usize) -> bool {
    let end = Instant::now() + PATIENCE;
    while Arc::strong_count(cache) > ours && Instant::now() < end {
        pause(LOOK).await;
    }
    Arc::strong_count(cache) <= ours
}

/// Closes a cache when its calls in flight have ended, at the latest with the last of them.
async fn retire(old: Arc<Cache>) {
    if is_left_alone(&old, 1).await {
        let _ = old.close(Instant::now() + CLOSE).await;
    }
}
