//! Tells a child process from its parent for the price of one load.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How many forks lie between this process and the first.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The generation of this process: what was made in another one belongs to its parent.
#[inline]
pub fn generation() -> u32 {
    FORKS.load(Relaxed)
}

/// This is a child now. One atomic addition: safe right after a fork of any process.
pub fn count() {
    FORKS.fetch_add(1, Relaxed);
}
