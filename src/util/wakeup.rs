//! A file descriptor that tells an event loop of something to take.

use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, ErrorKind, Result};

#[cfg(target_os = "linux")]
mod eventfd;
#[cfg(any(test, not(target_os = "linux")))]
mod pipe;

#[cfg(target_os = "linux")]
use eventfd::Flag;
#[cfg(not(target_os = "linux"))]
use pipe::Flag;

/// An event that is readable while it is raised.
pub struct Wakeup(Flag);

impl Wakeup {
    /// Makes an event that is not raised. `of` is the thing that it tells of, for the error.
    pub fn new(of: &str) -> Result<Self> {
        Flag::new().map(Self).map_err(|error| {
            Error::new(
                ErrorKind::Busy,
                format!("no file descriptor for {of}: {error}; release some, or raise the limit (ulimit -n)"),
            )
        })
    }

    /// Makes the descriptor readable.
    pub fn raise(&self) {
        self.0.raise();
    }

    /// Makes the descriptor unreadable.
    pub fn lower(&self) {
        self.0.lower();
    }

    /// Returns the number of the descriptor.
    pub fn fd(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn a_flag_is_readable_from_raise_to_lower() {
        let flag = eventfd::Flag::new().unwrap();
        is_readable_while_raised(&|| flag.raise(), &|| flag.lower(), flag.as_fd());
        let flag = pipe::Flag::new().unwrap();
        is_readable_while_raised(&|| flag.raise(), &|| flag.lower(), flag.as_fd());
    }

    fn is_readable_while_raised(raise: &dyn Fn(), lower: &dyn Fn(), fd: BorrowedFd<'_>) {
        assert!(!is_readable(fd));
        lower();
        // More often than a pipe has room for.
        for times in [1, 2, 100_000] {
            (0..times).for_each(|_| raise());
            assert!(is_readable(fd));
            lower();
            assert!(!is_readable(fd));
        }
    }

    fn is_readable(fd: BorrowedFd<'_>) -> bool {
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
    }
}
