//! Tells a child process from its parent for the price of one load, and keeps forks out of steps that must not be
//! found half done.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread::yield_now;

/// Number of forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The number of `whole` steps that run now.
static STEPS: AtomicU32 = AtomicU32::new(0);
/// Not 0 while this process forks.
static FORKING: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The number of `whole` steps that this thread is in.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Returns the generation of this process. Objects of another generation belong to a parent process.
#[inline]
pub fn generation() -> u32 {
    FORKS.load(Relaxed)
}

/// Runs a step that takes locks of other crates, which a child could inherit held by a thread it does not have. A
/// fork waits until the step is over, so it must be short and call nothing of the host's.
pub fn whole<T>(step: impl FnOnce() -> T) -> T {
    let _step = Step::begin();
    step()
}

struct Step;

impl Step {
    fn begin() -> Self {
        STEPS.fetch_add(1, SeqCst);
        while INSIDE.get() == 0 && FORKING.load(SeqCst) != 0 {
            STEPS.fetch_sub(1, SeqCst);
            while FORKING.load(SeqCst) != 0 {
                yield_now();
            }
            STEPS.fetch_add(1, SeqCst);
        }
        INSIDE.set(INSIDE.get() + 1);
        Self
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get() - 1);
        STEPS.fetch_sub(1, SeqCst);
    }
}

/// Before a fork: waits for the steps of other threads, and lets none begin.
pub fn prepare() {
    FORKING.fetch_add(1, SeqCst);
    while STEPS.load(SeqCst) > INSIDE.get() {
        yield_now();
    }
}

/// After a fork, in the parent.
pub fn resume() {
    FORKING.fetch_sub(1, SeqCst);
}

/// After a fork, in the child. A few operations on atomic numbers: safe right after a fork of any process.
pub fn begin_child() {
    FORKS.fetch_add(1, Relaxed);
    // Only this thread exists here: threads that were about to begin a step, or to fork, are not in this process.
    STEPS.store(INSIDE.get(), SeqCst);
    FORKING.store(0, SeqCst);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_fork_waits_for_the_steps_of_others_and_not_for_its_own() {
        static OVER: AtomicBool = AtomicBool::new(false);
        let (begin, begun) = std::sync::mpsc::channel();
        let other = thread::spawn(move || {
            whole(|| {
                begin.send(()).unwrap();
                thread::sleep(Duration::from_millis(30));
                OVER.store(true, SeqCst);
            });
        });
        begun.recv().unwrap();
        prepare();
        assert!(OVER.load(SeqCst));
        resume();
        other.join().unwrap();
        whole(|| {
            prepare();
            assert_eq!(whole(|| 7), 7, "a step within a step of a thread that forks");
            resume();
        });
    }
}
