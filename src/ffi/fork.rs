//! Tells a child process from its parent for the price of one load.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How many forks lie between this process and the first.
static FORKS: AtomicU32 = AtomicU32::new(0);
static WATCH: Once = Once::new();

extern "C" fn in_child() {
    FORKS.fetch_add(1, Relaxed);
}

/// Counts forks from now on.
pub(super) fn watch() {
    WATCH.call_once(|| {
        // SAFETY: the handler does one atomic addition, which is safe in a
        // child of any process, and `nodelete` keeps it mapped for good.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// The generation of this process.
#[inline]
pub(super) fn generation() -> u32 {
    FORKS.load(Relaxed)
}
