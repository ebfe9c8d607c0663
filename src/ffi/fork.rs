//! Has forks counted.

use std::sync::Once;

use crate::fork::count;

static WATCH: Once = Once::new();

extern "C" fn in_child() {
    count();
}

/// Counts forks from now on.
pub(super) fn watch() {
    WATCH.call_once(|| {
        // SAFETY: the handler does one atomic addition, which is safe in a
        // child of any process, and `nodelete` keeps it mapped for good.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
