//! Threads of the library. They have names and block the signals that are sent to the process.

use std::io::Result;
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Signals that a thread raises itself. If they were blocked, the process would end without the host's crash handler.
const OWN_FAULTS: [Signal; 6] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGTRAP];

/// Starts a thread that runs no signal handler of the host and ignores SIGPIPE.
pub fn start(builder: Builder, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let mut deaf = SigSet::all();
    OWN_FAULTS.into_iter().for_each(|signal| deaf.remove(signal));
    // A thread begins with the mask of the one that starts it: there is no moment in which it hears.
    let before = deaf.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = builder.spawn(run);
    before.thread_set_mask()?;
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_hears_its_own_faults_alone_and_the_starter_all_it_did() {
        let mine = SigSet::thread_get_mask().unwrap();
        let check = || {
            let mask = SigSet::thread_get_mask().unwrap();
            assert!([Signal::SIGPIPE, Signal::SIGTERM, Signal::SIGPROF].iter().all(|signal| mask.contains(*signal)));
            assert!(OWN_FAULTS.iter().all(|signal| !mask.contains(*signal)));
        };
        start(Builder::new(), check).unwrap().join().unwrap();
        assert_eq!(SigSet::thread_get_mask().unwrap(), mine);
    }
}
