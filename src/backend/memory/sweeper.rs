//! The thread that removes dead entries. The first entry that can expire starts it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::store::Store;
use crate::util::lock;

/// The stack size of the thread, which is small: sweeping has few nested calls.
const STACK_BYTES: usize = 128 * 1024;

pub(super) struct Sweeper {
    interval: Duration,
    started: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Sweeper {
    /// Creates the sweeper. With an interval of zero it never sweeps.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, started: AtomicBool::new(interval.is_zero()), thread: Mutex::default(), stop: Arc::default() }
    }

    /// Starts the thread unless it runs, was stopped, or is disabled.
    #[inline]
    pub(super) fn start(&self, store: &Arc<Store>) {
        if !self.started.load(Relaxed) {
            self.spawn(store);
        }
    }

    #[cold]
    fn spawn(&self, store: &Arc<Store>) {
        let mut thread = lock(&self.thread);
        if self.started.swap(true, Relaxed) || self.stop.is_asked() {
            return;
        }
        let (store, stop, interval) = (store.clone(), self.stop.clone(), self.interval);
        let builder = thread::Builder::new().name("yc-sweeper".into()).stack_size(STACK_BYTES);
        // Without the thread the dead still go when they are met or room is needed.
        match crate::exec::thread::start(builder, move || run(&store, &stop, interval)) {
            Ok(handle) => *thread = Some(handle),
            Err(error) => {
                tracing::warn!(%error, "cannot start the thread that removes expired entries; reads and evictions still remove them")
            }
        }
    }

    /// Ends the thread and waits for it, at most one small step.
    pub(super) fn join(&self) {
        self.stop.ask();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sweeper {
    /// Ends the thread without waiting for it: freeing a cache never waits.
    fn drop(&mut self) {
        self.stop.ask();
    }
}

impl Stop {
    fn ask(&self) {
        let _locked = lock(&self.lock);
        self.asked.store(true, Relaxed);
        self.changed.notify_all();
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// Waits for a time. Returns true if the thread was asked to stop.
    fn wait(&self, interval: Duration) -> bool {
        let not_asked = |(): &mut ()| !self.is_asked();
        drop(self.changed.wait_timeout_while(lock(&self.lock), interval, not_asked));
        self.is_asked()
    }
}

fn run(store: &Store, stop: &Stop, interval: Duration) {
    while !stop.wait(interval) {
        store.sweep(&|| stop.is_asked());
    }
}
