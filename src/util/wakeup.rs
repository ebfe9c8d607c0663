//! A file descriptor that tells an event loop of something to take.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use crate::error::{Error, ErrorKind, Result};

/// An event that is readable while it is raised.
pub struct Wakeup(OwnedFd);

impl Wakeup {
    /// Makes an event that is not raised. `of` is the thing that it tells of, for the error.
    pub fn new(of: &str) -> Result<Self> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        made.map(Self).map_err(|error| {
            Error::new(
                ErrorKind::Busy,
                format!("no file descriptor for {of}: {error}; release some, or raise the limit (ulimit -n)"),
            )
        })
    }

    /// Makes the descriptor readable. It was not, so its counter has room.
    pub fn raise(&self) {
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable.
    pub fn lower(&self) {
        let _ = read(&self.0, &mut [0; 8]);
    }

    /// Returns the number of the descriptor.
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
