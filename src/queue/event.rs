//! The file descriptor that tells an event loop of completions.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use crate::error::{Error, ErrorKind, Result};

/// Readable while it is raised.
pub(super) struct Event(OwnedFd);

impl Event {
    pub(super) fn new() -> Result<Self> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        made.map(Self)
            .map_err(|error| Error::new(ErrorKind::Busy, format!("no file descriptor for the queue: {error}")))
    }

    /// Makes it readable. It was not, so its counter has room.
    pub(super) fn raise(&self) {
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable.
    pub(super) fn lower(&self) {
        let _ = read(&self.0, &mut [0; 8]);
    }

    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
