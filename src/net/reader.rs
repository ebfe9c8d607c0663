//! Received bytes: framed by the protocol, cut into replies, and handed to the requests that they answer.

use std::collections::{TryReserveError, VecDeque};
use std::sync::Arc;

use super::failure;
use super::request::{Permit, Request};
use crate::util::allocation;

/// The longest line that a server may send.
pub const MAX_LINE: usize = 64 * 1024;

/// The most bytes one reply may have.
pub const MAX_REPLY: usize = 512 << 20;
/// The beginning of the error about a longer reply.
pub const LONG_REPLY: &str = "a reply of more than";

/// The limit of the length of replies. A longer reply does not answer the request, and is not kept.
#[derive(Clone, Copy)]
pub struct ReplyLimit {
    /// The most bytes of a reply that is one value, a number or a status.
    pub one: usize,
    /// Returns whether a request that gets so many replies may have a reply of many values.
    pub has_many: fn(request: &[u8], replies: u32) -> bool,
}

impl ReplyLimit {
    /// Returns the most bytes of each reply to a request.
    pub fn of(&self, request: &[u8], replies: u32) -> usize {
        if (self.has_many)(request, replies) { MAX_REPLY } else { self.one }
    }
}

/// The beginning of the bytes received so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A whole reply of this many bytes.
    Whole(usize),
    /// A part of a reply. `next` is called again with these bytes and more.
    Partial,
    /// A part longer than any value of the cache: its header lies at `header.0..header.1`
    /// of the bytes, `len` more bytes follow. The reader drops them and puts
    /// `instead`, which is no longer than the header, in their place.
    Oversized {
        /// The begin and the end of the part's header.
        header: (usize, usize),
        /// The number of bytes after it.
        len: u64,
        /// The bytes that stand for the whole part.
        instead: &'static [u8],
    },
}

/// Finds the end of replies. It keeps its position in a partial reply.
pub trait Framing: Send {
    /// Frames `bytes`, which begin where the last whole reply ended. An error describes malformed bytes.
    fn next(&mut self, bytes: &[u8]) -> Result<Frame, String>;
}

/// The first size of the buffer; larger replies make it grow.
pub const CHUNK: usize = 16 * 1024;

/// A queued request, with the replies that have come so far.
pub struct Expected {
    pub request: Arc<Request>,
    /// The number of replies still to come.
    pub replies: u32,
    /// The most bytes of each reply.
    most: usize,
    /// The replies that have come.
    received: Vec<u8>,
    /// True if there was no memory to keep a reply.
    lost: bool,
    /// Released when the last reply has come.
    pub permit: Permit,
}

impl Expected {
    pub fn new(request: Arc<Request>, replies: u32, most: usize, permit: Permit) -> Self {
        Self { request, replies, most, received: Vec::new(), lost: false, permit }
    }

    /// Keeps replies for the caller, if it still waits.
    fn keep(&mut self, replies: &[u8]) {
        if self.lost || !self.request.is_awaited() {
            return;
        }
        // The caller copies values out of the replies.
        let is_room = self.received.try_reserve(replies.len()).is_ok() && allocation::is_there(2 * replies.len());
        if is_room {
            self.received.extend_from_slice(replies);
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
    /// The last one, of a cancelled request.
    Unwanted,
}

/// The receiving side of a connection; only the leader uses it.
pub struct Reader {
    framing: Box<dyn Framing>,
    buffer: Vec<u8>,
    /// The received bytes that are not used yet are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// The start of the delivered replies to the first request, up to `start`: they are kept together, in one copy.
    unkept: Option<usize>,
    /// Bytes still to come of a part that is too large to keep.
    skip: u64,
    /// Requests in the order of their replies; later requests are still in the connection's queue.
    pub expected: VecDeque<Expected>,
    /// The number of parts that were too large to keep.
    pub oversized: u64,
}

impl Reader {
    pub fn new(framing: Box<dyn Framing>) -> Self {
        let buffer = vec![0; CHUNK];
        Self { framing, buffer, start: 0, end: 0, unkept: None, skip: 0, expected: VecDeque::new(), oversized: 0 }
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

    /// Records that so many bytes were received into that room.
    pub fn received(&mut self, bytes: usize) {
        self.end += bytes;
        let skipped = self.skip.min(bytes as u64);
        self.skip -= skipped;
        // Only these bytes can belong to the skipped part; those before them are kept.
        #[allow(clippy::cast_possible_truncation)] // Not more than `bytes`.
        let skipped = skipped as usize;
        let arrived = self.end - bytes;
        self.buffer.copy_within(arrived + skipped..self.end, arrived);
        self.end -= skipped;
    }

    /// Returns true if the caller of the first request gave up between two of its replies.
    pub fn is_abandoned(&self) -> bool {
        self.expected.front().is_some_and(|first| !first.received.is_empty() && !first.request.is_awaited())
    }

    /// Checks the length of a partial reply against the limit of its request.
    pub fn check_length(&self) -> Result<(), String> {
        let most = self.expected.front().map_or(MAX_REPLY, |expected| expected.most);
        if self.rest().len() > most { Err(format!("{LONG_REPLY} {most} bytes")) } else { Ok(()) }
    }

    /// Returns the received bytes of a partial reply.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Returns the bytes of a reply that `next` cut off.
    pub fn frame(&self, (start, end): (usize, usize)) -> &[u8] {
        &self.buffer[start..end]
    }

    /// Cuts off the next whole reply; returns its range in the buffer.
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
        first.replies -= 1;
        if first.replies > 0 {
            self.unkept.get_or_insert(start);
            return Some(Delivery::Part);
        }
        first.keep(&self.buffer[self.unkept.take().unwrap_or(start)..end]);
        let Expected { request, received, lost, permit, .. } = self.expected.pop_front()?;
        drop(permit);
        let kept = if lost { Err(failure::no_memory_for_reply(server)) } else { Ok(received) };
        Some(if request.complete(kept) { Delivery::Last } else { Delivery::Unwanted })
    }

    /// Keeps the delivered replies to a request of which more are to come, before others are received.
    pub fn keep_delivered(&mut self) {
        if let (Some(start), Some(first)) = (self.unkept.take(), self.expected.front_mut()) {
            first.keep(&self.buffer[start..self.start]);
        }
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
