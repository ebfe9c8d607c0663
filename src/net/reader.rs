//! Received bytes, cut into replies and handed to the requests they answer.

use std::collections::{TryReserveError, VecDeque};
use std::sync::Arc;

use super::failure;
use super::framing::{Frame, Framing, LONG_REPLY, MAX_REPLY};
use super::request::Permit;
use super::request::Request;
use crate::allocation;

/// How much is read at once at first; replies that are larger get more.
pub const CHUNK: usize = 16 * 1024;

/// A request that was queued, and how much of its answer has come.
pub struct Expected {
    pub request: Arc<Request>,
    /// How many replies are still to come.
    pub replies: u32,
    /// The most bytes each may have.
    most: usize,
    /// Those that came.
    received: Vec<u8>,
    /// There was no memory to keep one.
    lost: bool,
    /// Given back when the last has come.
    pub permit: Permit,
}

impl Expected {
    pub fn new(request: Arc<Request>, replies: u32, most: usize, permit: Permit) -> Self {
        Self { request, replies, most, received: Vec::new(), lost: false, permit }
    }

    /// Keeps a reply for the caller, if there is one who waits.
    fn keep(&mut self, reply: &[u8]) {
        if self.lost || !self.request.is_awaited() {
            return;
        }
        // The caller copies a value out of the reply.
        let is_room = self.received.try_reserve(reply.len()).is_ok() && allocation::is_there(2 * reply.len());
        if is_room {
            self.received.extend_from_slice(reply);
        } else {
            (self.received, self.lost) = (Vec::new(), true);
        }
    }
}

/// The outcome of giving a reply to its request.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// More replies are to come.
    Part,
    /// The last one.
    Last,
    /// The last one, which no caller waited for any more.
    Unwanted,
}

/// The receiving side of a connection; only who leads touches it.
pub struct Reader {
    framing: Box<dyn Framing>,
    buffer: Vec<u8>,
    /// What was received and is not used yet is `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Bytes still to come of a part that is too large to keep.
    skip: u64,
    /// Requests in the order of their replies; later ones still lie in the connection's queue.
    pub expected: VecDeque<Expected>,
    /// Parts that were too large to keep.
    pub oversized: u64,
}

impl Reader {
    pub fn new(framing: Box<dyn Framing>) -> Self {
        let buffer = vec![0; CHUNK];
        Self { framing, buffer, start: 0, end: 0, skip: 0, expected: VecDeque::new(), oversized: 0 }
    }

    /// Returns room to receive into, if there is memory for it.
    pub fn space(&mut self) -> Result<&mut [u8], TryReserveError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > 16 * CHUNK {
                self.buffer = vec![0; CHUNK];
            }
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let wanted = (self.end * 2).max(CHUNK);
            if self.buffer.len() < wanted {
                self.buffer.try_reserve_exact(wanted - self.buffer.len())?;
                self.buffer.resize(wanted, 0);
            }
        }
        Ok(&mut self.buffer[self.end..])
    }

    /// So many bytes were received into that room.
    pub fn received(&mut self, bytes: usize) {
        self.end += bytes;
        let skipped = self.skip.min(bytes as u64);
        self.skip -= skipped;
        // Only what came now can be part of what is skipped; what lies before it is kept.
        #[allow(clippy::cast_possible_truncation)] // Not more than `bytes`.
        let skipped = skipped as usize;
        let arrived = self.end - bytes;
        self.buffer.copy_within(arrived + skipped..self.end, arrived);
        self.end -= skipped;
    }

    /// Checks a reply that is not whole yet against what its request may be answered with.
    pub fn check_length(&self) -> Result<(), String> {
        let most = self.expected.front().map_or(MAX_REPLY, |expected| expected.most);
        if self.rest().len() > most { Err(format!("{LONG_REPLY} {most} bytes")) } else { Ok(()) }
    }

    /// Returns the bytes that were received and are not a whole reply yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Cuts off the next whole reply, if there is one; its bytes are the result's range of `bytes`.
    pub fn next(&mut self) -> Result<Option<(usize, usize)>, String> {
        loop {
            match self.framing.next(&self.buffer[self.start..self.end])? {
                Frame::Whole(len) => {
                    let start = self.start;
                    self.start += len;
                    return Ok(Some((start, self.start)));
                }
                Frame::Partial => return Ok(None),
                Frame::Oversized { header, len, instead } => self.drop_part(header, len, instead),
            }
        }
    }

    /// Gives a reply that `next` cut off to the request that it answers. `None`: no request waits for a reply.
    pub fn deliver(&mut self, (start, end): (usize, usize), server: &str) -> Option<Delivery> {
        let first = self.expected.front_mut()?;
        first.keep(&self.buffer[start..end]);
        first.replies -= 1;
        if first.replies > 0 {
            return Some(Delivery::Part);
        }
        let Expected { request, received, lost, permit, .. } = self.expected.pop_front()?;
        drop(permit);
        let kept = if lost { Err(failure::no_memory_for_reply(server)) } else { Ok(received) };
        Some(if request.complete(kept) { Delivery::Last } else { Delivery::Unwanted })
    }

    fn drop_part(&mut self, header: (usize, usize), len: u64, instead: &[u8]) {
        self.oversized += 1;
        let (header_start, header_end) = (self.start + header.0, self.start + header.1);
        let buffered = ((self.end - header_end) as u64).min(len);
        self.skip = len - buffered;
        let kept = header_start + instead.len();
        self.buffer[header_start..kept].copy_from_slice(instead);
        #[allow(clippy::cast_possible_truncation)] // Not more than lies in the buffer.
        let rest = header_end + buffered as usize;
        self.buffer.copy_within(rest..self.end, kept);
        self.end = kept + (self.end - rest);
    }
}

/// Receives hostile bytes in pieces, as a connection does: an error or some whole replies, never a panic.
#[cfg(test)]
pub fn receive_in_pieces(framing: Box<dyn Framing>, bytes: &[u8], at_once: usize) -> Result<Vec<Vec<u8>>, String> {
    let (mut reader, mut replies) = (Reader::new(framing), Vec::new());
    for piece in bytes.chunks(at_once.max(1)) {
        reader.space().unwrap()[..piece.len()].copy_from_slice(piece);
        reader.received(piece.len());
        while let Some((start, end)) = reader.next()? {
            replies.push(reader.buffer[start..end].to_vec());
        }
    }
    Ok(replies)
}

/// Bytes put together from words of a protocol, other short words and bytes of any kind.
#[cfg(test)]
pub fn hostile_bytes(words: &'static [&'static [u8]]) -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    const SHORT: [&[u8]; 8] = [b"\r\n", b"\n", b"\r", b" ", b"-1", b"0", b"5", b"99999999999999999999"];
    let word = prop_oneof![
        3 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => proptest::sample::select(&SHORT[..]).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..12).prop_map(|words| words.concat())
}
