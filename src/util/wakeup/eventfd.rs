//! A flag of Linux: one descriptor with a counter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Result, read, write};

pub struct Flag(OwnedFd);

impl Flag {
    pub fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self)
    }

    /// The counter has room for 2^64 - 2 calls without a `lower`.
    pub fn raise(&self) {
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    pub fn lower(&self) {
        let _ = read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
