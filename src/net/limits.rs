//! How much may be under way to one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, ErrorKind, Result};

/// What is under way, and how much may be.
pub struct Limits {
    max_requests: u64,
    max_bytes: u64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Room for one request, given back when its replies have come, or never will.
pub struct Room {
    limits: Arc<Limits>,
    bytes: u64,
}

impl Limits {
    pub fn new(max_requests: u64, max_bytes: u64) -> Self {
        Self { max_requests, max_bytes, requests: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// How many requests are under way.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Takes room for a request; a lone one may be of any size.
    pub fn take(self: &Arc<Self>, server: &str, bytes: usize) -> Result<Room> {
        let bytes = bytes as u64;
        let requests = self.requests.fetch_add(1, Relaxed) + 1;
        let taken = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        // Made first, so that a refusal gives back what was taken.
        let room = Room { limits: Arc::clone(self), bytes };
        if requests > self.max_requests {
            return Err(full(server, "requests", self.max_requests, "max_pending"));
        }
        if taken > self.max_bytes && requests > 1 {
            return Err(full(server, "bytes", self.max_bytes, "max_pending_bytes"));
        }
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.limits.requests.fetch_sub(1, Relaxed);
        self.limits.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cold]
fn full(server: &str, what: &str, most: u64, option: &str) -> Error {
    let text = format!("{server}: {most} {what} are under way already ({option}); send less at once, or raise it");
    Error::new(ErrorKind::Busy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_refuses_until_room_is_given_back() {
        let limits = Arc::new(Limits::new(2, 100));
        let large = limits.take("s", 1000).unwrap();
        assert_eq!(limits.take("s", 1).err().unwrap().kind(), ErrorKind::Busy);
        drop(large);
        let _two = (limits.take("s", 40).unwrap(), limits.take("s", 40).unwrap());
        assert!(limits.take("s", 1).err().unwrap().message().contains("max_pending"));
        assert_eq!(limits.requests(), 2);
    }
}
