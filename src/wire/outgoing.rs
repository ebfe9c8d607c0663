//! What is to be sent on a connection, gathered into as few writes as the replies allow.

use std::collections::VecDeque;
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
    /// A thread is writing, or the socket takes no more for now.
    busy: bool,
}

impl Outgoing {
    /// Queues a request.
    pub fn push(&mut self, request: &[u8]) {
        self.queued.extend_from_slice(request);
        self.requests += 1;
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
        self.unanswered.push_back(self.requests);
        Some(std::mem::replace(&mut self.queued, std::mem::take(&mut self.spare)))
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
