//! Requests to be sent on a connection, gathered into as few writes as the window allows.

use std::collections::{TryReserveError, VecDeque};
use std::io;

use super::socket::Socket;

/// The number of writes that may be unanswered. Requests that come meanwhile are gathered for the next write, so that
/// many callers share it and none waits for more than half a round trip. On a loopback a window of 1 is faster than 2
/// or 4 by a tenth, but it would double the latency of a network.
const WINDOW: usize = 2;
/// The largest buffer that is kept for the next write.
const KEPT: usize = 256 * 1024;

/// Bytes that wait to be sent, and the writes that wait for replies.
#[derive(Default)]
pub struct Outgoing {
    queued: Vec<u8>,
    /// Bytes of a write that the socket did not take yet.
    rest: Vec<u8>,
    spare: Vec<u8>,
    /// The number of the last request of each unanswered write.
    unanswered: VecDeque<u64>,
    requests: u64,
    replies: u64,
    /// The most bytes of a write of several requests, and the lengths of those that are queued.
    limit: Option<usize>,
    lengths: VecDeque<usize>,
    /// A thread is writing, or the socket takes no more for now.
    busy: bool,
}

impl Outgoing {
    /// Makes an empty queue. With a limit, a write has whole requests of so many bytes at most, or a single request.
    pub fn new(limit: Option<usize>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Queues a request, if there is memory for it.
    pub fn push(&mut self, request: &[u8]) -> Result<(), TryReserveError> {
        self.queued.try_reserve(request.len())?;
        self.queued.extend_from_slice(request);
        self.requests += 1;
        if self.limit.is_some() {
            self.lengths.push_back(request.len());
        }
        Ok(())
    }

    /// Records that so many requests were answered.
    pub fn answered(&mut self, requests: u64) {
        self.replies += requests;
        while self.unanswered.front().is_some_and(|last| *last <= self.replies) {
            self.unanswered.pop_front();
        }
    }

    /// Returns the next write, if the window allows it; the caller then calls `sent` or `stalled`.
    pub fn begin(&mut self) -> Option<Vec<u8>> {
        if self.busy || self.queued.is_empty() || self.unanswered.len() >= WINDOW {
            return None;
        }
        self.busy = true;
        let write = match self.limit {
            None => std::mem::replace(&mut self.queued, std::mem::take(&mut self.spare)),
            Some(limit) => {
                let end = self.whole_requests(limit);
                if end == self.queued.len() {
                    std::mem::take(&mut self.queued)
                } else {
                    self.queued.drain(..end).collect()
                }
            }
        };
        self.unanswered.push_back(self.requests - self.lengths.len() as u64);
        Some(write)
    }

    /// Returns the bytes of the requests that go into one write.
    fn whole_requests(&mut self, limit: usize) -> usize {
        let mut bytes = self.lengths.pop_front().unwrap_or(0);
        while let Some(next) = self.lengths.front().filter(|next| bytes + **next <= limit) {
            bytes += next;
            self.lengths.pop_front();
        }
        bytes
    }

    /// Records that the socket took the whole write.
    pub fn sent(&mut self, mut buffer: Vec<u8>) {
        self.busy = false;
        if buffer.capacity() <= KEPT {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// Keeps the part of a write that the socket did not take; the leader continues it.
    pub fn stalled(&mut self, rest: Vec<u8>) {
        self.rest = rest;
    }

    /// Returns the rest of a stalled write.
    pub fn resume(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }
}

/// Sends a buffer; returns whether the socket took all of it. The rest stays in the buffer.
pub fn write(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut sent = 0;
    while sent < buffer.len() {
        match socket.send(&buffer[sent..])? {
            0 => {
                buffer.drain(..sent);
                return Ok(false);
            }
            taken => sent += taken,
        }
    }
    buffer.clear();
    socket.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_cuts_between_requests() {
        let mut outgoing = Outgoing::new(Some(10));
        for request in [&b"aaaa"[..], b"bbbb", b"cccc", b"dddddddddddd", b"ee"] {
            outgoing.push(request).unwrap();
        }
        for (write, requests) in [(&b"aaaabbbb"[..], 2), (b"cccc", 1), (b"dddddddddddd", 1), (b"ee", 1)] {
            let buffer = outgoing.begin().unwrap();
            assert_eq!(buffer, write);
            outgoing.sent(buffer);
            outgoing.answered(requests);
        }
    }

    #[test]
    fn requests_that_come_while_the_window_is_full_share_the_next_write() {
        let mut outgoing = Outgoing::default();
        for _ in 0..WINDOW {
            outgoing.push(b"a").unwrap();
            let buffer = outgoing.begin().unwrap();
            outgoing.sent(buffer);
        }
        outgoing.push(b"b").unwrap();
        outgoing.push(b"c").unwrap();
        assert!(outgoing.begin().is_none());
        outgoing.answered(1);
        assert_eq!(outgoing.begin().unwrap(), b"bc");
    }
}
