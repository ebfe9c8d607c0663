//! Registers the handler that counts forks.

use once_cell::race::OnceBool;

use crate::exec::fork::{begin_child, prepare, resume};

/// Not a `Once`: a fork during the very first call would leave the child waiting for a thread that it does not have. Here
/// such a child registers the handlers itself. Two threads may both register them, and then they run twice, which
/// changes nothing but the number of a generation.
static WATCHED: OnceBool = OnceBool::new();

extern "C" fn before() {
    prepare();
}

extern "C" fn in_parent() {
    resume();
}

extern "C" fn in_child() {
    begin_child();
}

/// Starts to count forks.
pub(super) fn watch() {
    WATCHED.get_or_init(|| {
        // SAFETY: the handlers only read and change numbers, which is safe in a child of any process, and `nodelete`
        // keeps them mapped for good.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) == 0 }
    });
}
