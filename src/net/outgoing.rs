//! What is to be sent on a connection, gathered into as few writes as the replies allow.

use std::collections::{TryReserveError, VecDeque};
use std::io;

use super::socket::Socket;

/// How many writes may be unanswered. What is asked meanwhile is gathered for
/// the next one, so that many callers share a write and none waits for more
/// than half a round trip. Of 1, 2 and 4 on a loopback 1 is the fastest by a
/// tenth, and would double the latency of a network.
const WINDOW: usize = 2;
/// A buffer that grew beyond this is not kept.
const KEPT: usize = 256 * 1024;

/// Bytes that wait to be sent, and the writes that wait for replies.
#[derive(Default)]
pub struct Outgoing {
    queued: Vec<u8>,
    /// Bytes of a write that the socket did not take yet.
    rest: Vec<u8>,
    spare: Vec<u8>,
    /// The last request of each write that is not answered.
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
    /// With a limit, a write has whole requests of so many bytes at most, or a single one.
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

    /// Notes that so many requests were answered.
    pub fn answered(&mut self, requests: u64) {
        self.replies += requests;
        while self.unanswered.front().is_some_and(|last| *last <= self.replies) {
            self.unanswered.pop_front();
        }
    }

    /// The next write, if one may be made now; `sent` or `stalled` has to follow.
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

    /// How many bytes the requests have that go into one write.
    fn whole_requests(&mut self, limit: usize) -> usize {
        let mut bytes = self.lengths.pop_front().unwrap_or(0);
        while let Some(next) = self.lengths.front().filter(|next| bytes + **next <= limit) {
            bytes += next;
            self.lengths.pop_front();
        }
        bytes
    }

    /// The write is on its way.
    pub fn sent(&mut self, mut buffer: Vec<u8>) {
        self.busy = false;
        if buffer.capacity() <= KEPT {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// The socket took no more than this; the leader goes on when it does.
    pub fn stalled(&mut self, rest: Vec<u8>) {
        self.rest = rest;
    }

    /// What a stalled write has left.
    pub fn resume(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }
}

/// Sends a buffer; whether all of it is on its way. What is not stays in it.
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
    fn what_is_asked_while_the_window_is_full_shares_the_next_write() {
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
