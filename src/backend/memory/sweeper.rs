//! The thread that removes dead entries, one for all caches of the process. The first entry that can expire starts it, and
//! it ends with the last cache that has started it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::store::Store;
use crate::exec::fork;
use crate::util::{lock, unpoisoned};

/// The stack size of the thread, which is small: sweeping has few nested calls.
const STACK_BYTES: usize = 128 * 1024;
/// A year: the next sweep of a cache whose interval is beyond the range of the clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Not a lock: a child of a fork could inherit it locked by a thread that does not exist there.
static CURRENT: ArcSwapOption<Weak<Thread>> = ArcSwapOption::const_empty();

/// The sweeping of one cache.
pub(super) struct Sweeper {
    interval: Duration,
    started: AtomicBool,
    thread: Mutex<Option<Arc<Thread>>>,
    /// Set to end the sweeping. Its address names the cache.
    stop: Arc<AtomicBool>,
}

impl Sweeper {
    /// Creates the sweeper. With an interval of zero it never sweeps.
    pub(super) fn new(interval: Duration) -> Self {
        let stop = Arc::default();
        Self { interval, started: AtomicBool::new(interval.is_zero()), thread: Mutex::default(), stop }
    }

    /// Starts the sweeping unless it runs, was stopped, or is disabled.
    #[inline]
    pub(super) fn start(&self, store: &Arc<Store>) {
        if !self.started.load(Relaxed) {
            self.begin(store);
        }
    }

    #[cold]
    fn begin(&self, store: &Arc<Store>) {
        let mut thread = lock(&self.thread);
        if self.started.swap(true, Relaxed) || self.stop.load(Relaxed) {
            return;
        }
        // Without the thread the dead still go when they are met or room is needed.
        match Thread::acquire() {
            Ok(found) => {
                let job = Job { store: store.clone(), stop: self.stop.clone(), interval: self.interval };
                found.rounds.add(job);
                *thread = Some(found);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot start the thread that removes expired entries; reads and evictions still remove them")
            }
        }
    }

    /// Ends the sweeping and waits for it, at most one small step; with that of the last cache the thread.
    pub(super) fn join(&self) {
        self.stop.store(true, Relaxed);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread.filter(|thread| thread.is_ours()) {
            thread.rounds.remove(&self.stop);
            thread.rounds.wait_for(&self.stop);
            thread.release();
        }
    }
}

impl Drop for Sweeper {
    /// Ends the sweeping without waiting for it: freeing a cache never waits.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let thread = unpoisoned(self.thread.get_mut()).take();
        if let Some(thread) = thread.filter(|thread| thread.is_ours()) {
            thread.rounds.remove(&self.stop);
        }
    }
}

// ---- The thread ----

/// A reference to the thread. Dropping the last one ends the thread and does not wait for that; `release` does.
struct Thread {
    rounds: Arc<Rounds>,
    /// The generation of the process that owns the thread.
    generation: u32,
    join: Option<JoinHandle<()>>,
}

impl Thread {
    /// Returns the thread of this process, and starts it for the first user.
    fn acquire() -> std::io::Result<Arc<Self>> {
        loop {
            let found = CURRENT.load_full();
            if let Some(thread) = found.as_ref().and_then(|thread| thread.upgrade()).filter(|it| it.is_ours()) {
                return Ok(thread);
            }
            let started = Arc::new(Self::start()?);
            let previous = CURRENT.compare_and_swap(&found, Some(Arc::new(Arc::downgrade(&started))));
            if previous.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr) {
                return Ok(started);
            }
            // Another thread was first: ours ends unused.
        }
    }

    fn start() -> std::io::Result<Self> {
        let rounds = Arc::new(Rounds { began: Instant::now(), state: Mutex::default(), changed: Condvar::new() });
        let of_thread = rounds.clone();
        let builder = thread::Builder::new().name("yc-sweeper".into()).stack_size(STACK_BYTES);
        let join = crate::exec::thread::start(builder, move || of_thread.run())?;
        Ok(Self { rounds, generation: fork::generation(), join: Some(join) })
    }

    fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Releases the reference. The last one waits until the thread has ended.
    fn release(self: Arc<Self>) {
        if let Some(join) = Arc::into_inner(self).and_then(|mut last| last.end()) {
            let _ = join.join();
        }
    }

    /// Has the thread end. Returns what to wait for.
    fn end(&mut self) -> Option<JoinHandle<()>> {
        let join = self.join.take()?;
        if !self.is_ours() {
            // The child of a fork has no such thread: it would detach its parent's.
            std::mem::forget(join);
            return None;
        }
        forget_ended();
        self.rounds.stop();
        Some(join)
    }
}

/// Frees a thread that is no longer used.
fn forget_ended() {
    let found = CURRENT.load_full();
    if found.as_ref().is_some_and(|thread| thread.strong_count() == 0) {
        CURRENT.compare_and_swap(&found, None);
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end();
    }
}

// ---- The rounds of the thread ----

/// The caches that the thread sweeps, each once in its interval.
struct Rounds {
    began: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By the time of the next sweep, then by the cache.
    waiting: BTreeMap<(Instant, usize), Job>,
    /// The cache that is being swept.
    swept: Option<usize>,
    stopped: bool,
}

struct Job {
    store: Arc<Store>,
    stop: Arc<AtomicBool>,
    interval: Duration,
}

/// Returns the name of the cache with this flag, which exists as long as the cache.
fn name(stop: &Arc<AtomicBool>) -> usize {
    Arc::as_ptr(stop).addr()
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn add(&self, job: Job) {
        self.schedule(&mut self.lock(), job);
        self.changed.notify_all();
    }

    /// Schedules the next sweep. Caches of one interval are swept together: the thread wakes up once for all.
    fn schedule(&self, state: &mut State, job: Job) {
        let interval = job.interval.as_nanos().max(1);
        let due = (self.began.elapsed().as_nanos() / interval + 1) * interval;
        let due = Duration::from_nanos(u64::try_from(due).unwrap_or(u64::MAX));
        let at = self.began.checked_add(due).unwrap_or_else(|| Instant::now() + FAR);
        state.waiting.insert((at, name(&job.stop)), job);
    }

    fn remove(&self, stop: &Arc<AtomicBool>) {
        let wanted = name(stop);
        let mut removed = None;
        self.lock().waiting.retain(|(_, name), job| {
            if *name == wanted {
                removed = Some(job.store.clone());
            }
            *name != wanted
        });
        // The entries are freed without the lock.
        drop(removed);
    }

    /// Waits until a cache is not being swept.
    fn wait_for(&self, stop: &Arc<AtomicBool>) {
        let wanted = Some(name(stop));
        drop(unpoisoned(self.changed.wait_while(self.lock(), |state| state.swept == wanted)));
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Runs the thread.
    fn run(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let now = Instant::now();
            state = match state.waiting.first_key_value().map(|((at, _), _)| *at) {
                None => unpoisoned(self.changed.wait(state)),
                Some(at) if at > now => unpoisoned(self.changed.wait_timeout(state, at - now)).0,
                Some(_) => self.sweep(state),
            };
        }
    }

    /// Sweeps the cache whose turn it is, without the lock, and schedules its next sweep.
    fn sweep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some((_, job)) = state.waiting.pop_first() else { return state };
        state.swept = Some(name(&job.stop));
        drop(state);
        // A panic must not end the sweeping of the other caches.
        let swept = catch_unwind(AssertUnwindSafe(|| job.store.sweep(&|| job.stop.load(Relaxed))));
        let mut state = self.lock();
        if swept.is_ok() && !job.stop.load(Relaxed) {
            self.schedule(&mut state, job);
        } else {
            // The entries may be freed with it, without the lock.
            drop(state);
            drop(job);
            state = self.lock();
        }
        state.swept = None;
        self.changed.notify_all();
        state
    }
}
