//! A flag of every system: a pipe.

use std::io::{PipeReader, PipeWriter, Result, pipe};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{ioctl_fionbio, read, write};

pub struct Flag {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Flag {
    pub fn new() -> Result<Self> {
        let (reader, writer) = pipe()?;
        ioctl_fionbio(&reader, true)?;
        ioctl_fionbio(&writer, true)?;
        Ok(Self { reader, writer })
    }

    /// A pipe without room is readable already.
    pub fn raise(&self) {
        let _ = write(&self.writer, &[1]);
    }

    pub fn lower(&self) {
        while read(&self.reader, &mut [0; 4096]).is_ok_and(|taken| taken > 0) {}
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
