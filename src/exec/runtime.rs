//! The single tokio runtime: a thread of the library that exists while something uses it.
//!
//! Everything that waits for a server or a timer (an open remote cache, a completion queue with operations that are not
//! ready at once) holds an `Arc<Runtime>`. The first user starts the thread, and it ends with the last. Tasks must not
//! block: all tasks run on that thread, one at a time.

use std::cell::Cell;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::fork;
use crate::util::{lock, unpoisoned};

/// The time that the end of the runtime waits for lookups of the system's resolver, which cannot be interrupted.
const RESOLVER_PATIENCE: Duration = Duration::from_millis(200);

/// Not a lock: a child of a fork could inherit it locked by a thread that does not exist there.
static CURRENT: ArcSwapOption<Weak<Runtime>> = ArcSwapOption::const_empty();

/// A reference to the runtime. Dropping the last one ends the thread and does not wait for that; `release` does.
pub struct Runtime {
    handle: Handle,
    /// The generation of the process that owns the thread.
    generation: u32,
    thread: Option<Thread>,
}

struct Thread {
    number: u64,
    /// Dropped to stop it.
    stop: oneshot::Sender<()>,
    life: Arc<Life>,
    join: JoinHandle<()>,
}

/// Number of runtimes that were started. Each has a number.
static STARTED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The number of the runtime that owns this thread. (The standard library's own thread identity is an allocation,
    /// which a host's main thread would never free.)
    static INSIDE: Cell<u64> = const { Cell::new(0) };
}

/// Returns true on the thread of a runtime.
pub fn is_inside() -> bool {
    INSIDE.get() != 0
}

/// Lets other tasks run in the middle of long work. Has no effect outside the runtime.
pub async fn yield_now() {
    if is_inside() {
        tokio::task::yield_now().await;
    }
}

/// The state of the thread.
#[derive(Default)]
struct Life {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Default)]
enum Stage {
    #[default]
    Starting,
    Started(io::Result<Handle>),
    Ended,
}

impl Life {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        lock(&self.stage)
    }

    fn set(&self, stage: Stage) {
        *self.lock() = stage;
        self.changed.notify_all();
    }

    /// Waits until the thread has started and returns its handle.
    fn handle(&self) -> io::Result<Handle> {
        let starting = |stage: &mut Stage| matches!(stage, Stage::Starting);
        let mut stage = unpoisoned(self.changed.wait_while(self.lock(), starting));
        match mem::replace(&mut *stage, Stage::Starting) {
            Stage::Started(handle) => handle,
            Stage::Starting | Stage::Ended => Err(io::ErrorKind::Other.into()),
        }
    }

    /// Waits until the thread has ended. Returns false if the deadline passes first.
    fn has_ended(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let running = |stage: &mut Stage| !matches!(stage, Stage::Ended);
        !unpoisoned(self.changed.wait_timeout_while(self.lock(), left, running)).1.timed_out()
    }
}

/// Reports the end of the thread, for any reason.
struct Ending(Arc<Life>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Why it never started is still to be read.
        if !matches!(*self.0.lock(), Stage::Started(Err(_))) {
            self.0.set(Stage::Ended);
        }
    }
}

/// Runs the thread.
fn run(number: u64, ending: &Ending, stopped: oneshot::Receiver<()>) {
    INSIDE.set(number);
    match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            ending.0.set(Stage::Started(Ok(runtime.handle().clone())));
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(RESOLVER_PATIENCE);
        }
        Err(error) => ending.0.set(Stage::Started(Err(error))),
    }
}

impl Runtime {
    /// Returns the runtime of this process, and starts it for the first user.
    pub fn acquire() -> Result<Arc<Self>> {
        loop {
            let found = CURRENT.load_full();
            if let Some(runtime) = found.as_ref().and_then(|runtime| runtime.upgrade()).filter(|it| it.is_ours()) {
                return Ok(runtime);
            }
            let started = Self::start()?;
            let previous = CURRENT.compare_and_swap(&found, Some(Arc::new(Arc::downgrade(&started))));
            if previous.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr) {
                return Ok(started);
            }
            // Another thread was first: ours ends unused.
        }
    }

    /// Starts a task. It is dropped if the runtime ends first.
    pub fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task));
    }

    /// Returns the handle for `handle().enter()`, which code that creates sockets and timers needs.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns true if the caller is a task, which must not wait for another one.
    pub fn is_this_thread(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.number == INSIDE.get())
    }

    /// Releases the reference. The last one waits until the thread has ended, at most until the deadline. Returns false
    /// if the deadline passes first. A task does not wait.
    pub fn release(self: Arc<Self>, deadline: Instant) -> bool {
        Arc::into_inner(self).is_none_or(|mut last| last.end(Some(deadline)))
    }

    fn start() -> Result<Arc<Self>> {
        Self::try_start()
            .map(Arc::new)
            .map_err(|error| {
                let text = format!(
                    "the library's thread could not be started: {error}; raise the limits of files and threads (ulimit -n, -u), or release some"
                );
                Error::new(ErrorKind::Busy, text)
            })
    }

    fn try_start() -> io::Result<Self> {
        let (number, life) = (STARTED.fetch_add(1, Relaxed) + 1, Arc::<Life>::default());
        let (stop, stopped) = oneshot::channel();
        let ending = Ending(life.clone());
        let builder = Builder::new().name("yc-runtime".into());
        let join = crate::exec::thread::start(builder, move || run(number, &ending, stopped))?;
        let handle = life.handle()?;
        Ok(Self { handle, generation: fork::generation(), thread: Some(Thread { number, stop, life, join }) })
    }

    fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Stops the thread. Waits for it if there is a deadline.
    fn end(&mut self, deadline: Option<Instant>) -> bool {
        let inside = self.is_this_thread();
        let Some(thread) = self.thread.take() else { return true };
        if !self.is_ours() {
            // The child of a fork has none of this: it would wake and detach its parent's.
            mem::forget(thread);
            return true;
        }
        forget_ended();
        drop(thread.stop);
        let Some(deadline) = deadline.filter(|_| !inside) else { return true };
        // It is in its last statement then: a joined thread is in no list any more.
        thread.life.has_ended(deadline) && thread.join.join().is_ok()
    }
}

/// Frees a runtime that is no longer used.
fn forget_ended() {
    let found = CURRENT.load_full();
    if found.as_ref().is_some_and(|runtime| runtime.strong_count() == 0) {
        CURRENT.compare_and_swap(&found, None);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// Ends a task when it is dropped.
pub struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    /// Starts a task.
    pub fn spawn(handle: &Handle, task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(handle.spawn(task).abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::thread;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// Runs a task and returns its output.
    fn ask<T: Send + 'static>(runtime: &Runtime, task: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = channel();
        runtime.spawn(Box::pin(async move { sender.send(task.await).unwrap() }));
        receiver.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    fn own_task() -> String {
        fs::read_link("/proc/thread-self").unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn who_uses_it_at_one_time_uses_the_same() {
        let (one, two) = (Runtime::acquire().unwrap(), Runtime::acquire().unwrap());
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn many_who_come_at_once_get_one_that_works() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(|| {
                    for _ in 0..50 {
                        let runtime = Runtime::acquire().unwrap();
                        assert_eq!(ask(&runtime, async { 7 }), 7);
                        assert!(runtime.release(soon()));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn tasks_run_on_its_thread_and_have_timers() {
        let runtime = Runtime::start().unwrap();
        let task = runtime.clone();
        let (name, inside) = ask(&runtime, async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            (thread::current().name().map(str::to_owned), task.is_this_thread())
        });
        assert_eq!(name.as_deref(), Some("yc-runtime"));
        assert!(inside && !runtime.is_this_thread());
    }

    #[test]
    fn the_last_release_waits_until_the_thread_is_gone_and_tasks_are_dropped() {
        let runtime = Runtime::start().unwrap();
        let (kept, task) = (runtime.clone(), ask(&runtime, async { own_task() }));
        let (held, dropped) = channel::<()>();
        runtime.spawn(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        assert!(kept.release(Instant::now()));
        assert_eq!(ask(&runtime, async { 7 }), 7);
        assert!(runtime.release(soon()));
        assert_eq!(dropped.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
        let gone = || !fs::exists(format!("/proc/{task}")).unwrap();
        // The kernel lists a thread a moment longer than its memory is in use.
        assert!((0..200).any(|_| gone() || {
            thread::sleep(Duration::from_millis(5));
            false
        }));
    }

    #[test]
    fn a_release_is_over_at_its_deadline_though_a_task_blocks() {
        let runtime = Runtime::start().unwrap();
        let (go_on, blocked) = channel::<()>();
        let (begin, begun) = channel();
        runtime.spawn(Box::pin(async move {
            begin.send(()).unwrap();
            let _ = blocked.recv();
        }));
        begun.recv().unwrap();
        assert!(!runtime.release(Instant::now() + Duration::from_millis(20)));
        drop(go_on);
    }

    #[test]
    fn a_task_that_holds_the_last_one_ends_it() {
        let runtime = Runtime::start().unwrap();
        let (held, ended) = channel::<()>();
        let inside = runtime.clone();
        runtime.spawn(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(inside.release(soon()));
            drop(held);
        }));
        drop(runtime);
        assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_task_in_the_middle_of_long_work_lets_others_run() {
        let runtime = Runtime::start().unwrap();
        let (sender, receiver) = channel();
        let other = sender.clone();
        let handle = runtime.handle().clone();
        runtime.spawn(Box::pin(async move {
            handle.spawn(async move { other.send("other").unwrap() });
            yield_now().await;
            sender.send("long").unwrap();
        }));
        assert_eq!(receiver.iter().take(2).collect::<Vec<_>>(), ["other", "long"]);
    }

    #[test]
    fn a_task_that_panics_leaves_the_others_running() {
        let runtime = Runtime::start().unwrap();
        runtime.spawn(Box::pin(async { panic!("as a test asks") }));
        assert_eq!(ask(&runtime, async { 7 }), 7);
    }
}
