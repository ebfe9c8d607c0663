//! The one tokio runtime: a thread of the library that is there while something uses it.
//!
//! Whatever waits for a server or a timer (an open remote cache, a completion queue with operations
//! that are not ready at once) holds an `Arc<Runtime>`. The first user starts the thread, and it ends
//! with the last. Tasks must not block: everybody's tasks run on that thread, one at a time.

use std::io;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::fork;

/// A name that is asked of the system's resolver holds a thread of tokio's that nobody can interrupt.
const RESOLVER_PATIENCE: Duration = Duration::from_millis(200);

/// No lock: a child of a fork could inherit it held by a thread it does not have.
static CURRENT: ArcSwapOption<Weak<Runtime>> = ArcSwapOption::const_empty();

/// The runtime, for one who uses it. Dropping the last one ends the thread and
/// does not wait for that; `release` does.
pub struct Runtime {
    handle: Handle,
    /// The process that has the thread.
    generation: u32,
    thread: Option<Thread>,
}

struct Thread {
    /// Dropped to stop it.
    stop: oneshot::Sender<()>,
    /// Disconnected when it has ended. The lock is never taken: it makes this shareable.
    ended: Mutex<Receiver<()>>,
    join: JoinHandle<()>,
}

impl Runtime {
    /// The runtime of this process, started if nobody uses it yet.
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

    /// Runs a task to its end, or to the end of the runtime, where it is dropped.
    pub fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.handle.spawn(task));
    }

    /// For `handle().enter()`: what makes sockets and timers needs the runtime around it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the caller is a task: it must not wait for one.
    pub fn is_this_thread(&self) -> bool {
        self.thread_id() == Some(thread::current().id())
    }

    /// Gives it back; the last one waits until the thread is gone, at most to
    /// the deadline. Whether it was not over first. A task does not wait.
    pub fn release(self: Arc<Self>, deadline: Instant) -> bool {
        Arc::into_inner(self).is_none_or(|mut last| last.end(Some(deadline)))
    }

    fn start() -> Result<Arc<Self>> {
        Self::try_start()
            .map(Arc::new)
            .map_err(|error| Error::new(ErrorKind::Busy, format!("the library's thread could not be started: {error}")))
    }

    fn try_start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = channel();
        let join = crate::thread::start(thread::Builder::new().name("yc-runtime".into()), move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(RESOLVER_PATIENCE);
            drop(end);
        })?;
        Ok(Self {
            handle,
            generation: fork::generation(),
            thread: Some(Thread { stop, ended: Mutex::new(ended), join }),
        })
    }

    fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    fn thread_id(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.join.thread().id())
    }

    /// Stops the thread; waits for it where there is a deadline.
    fn end(&mut self, deadline: Option<Instant>) -> bool {
        let inside = self.is_this_thread();
        let Some(thread) = self.thread.take() else { return true };
        if !self.is_ours() {
            // The child of a fork has none of this: it would wake and detach its parent's.
            mem::forget(thread);
            return true;
        }
        drop(thread.stop);
        let Some(deadline) = deadline.filter(|_| !inside) else { return true };
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = thread.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        let gone = ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected);
        // It has left its last statement: a joined thread is in no list any more.
        gone && thread.join.join().is_ok()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// Runs a task and answers what it found.
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
        let (own, inside) = (runtime.thread_id(), runtime.clone());
        let (id, inside) = ask(&runtime, async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            (thread::current().id(), inside.is_this_thread())
        });
        assert_eq!(Some(id), own);
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
    fn a_task_that_panics_leaves_the_others_running() {
        let runtime = Runtime::start().unwrap();
        runtime.spawn(Box::pin(async { panic!("as a test asks") }));
        assert_eq!(ask(&runtime, async { 7 }), 7);
    }
}
