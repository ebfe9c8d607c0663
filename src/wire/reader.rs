//! Received bytes, cut into replies and handed to the requests they answer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::answer::Request;
use super::framing::{Frame, Framing};
use super::limits::Room;

/// How much is read at once at first; replies that are larger get more.
const CHUNK: usize = 16 * 1024;
/// The most bytes one reply may have.
const MAX_REPLY: usize = 512 << 20;
/// How the complaint about a longer one begins.
pub const LONG_REPLY: &str = "a reply of more than";

/// A request that was queued, and how much of its answer has come.
pub struct Expected {
    pub request: Arc<Request>,
    /// How many replies are still to come.
    pub replies: u32,
    /// Those that came.
    pub received: Vec<u8>,
    /// Given back when the last has come.
    pub room: Room,
}

/// What a reply was for its request.
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

    /// Room to receive into.
    pub fn space(&mut self) -> &mut [u8] {
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
                self.buffer.resize(wanted, 0);
            }
        }
        &mut self.buffer[self.end..]
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

    /// What was received and is no whole reply yet.
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
                Frame::Partial if self.end - self.start > MAX_REPLY => {
                    return Err(format!("{LONG_REPLY} {MAX_REPLY} bytes"));
                }
                Frame::Partial => return Ok(None),
                Frame::Oversized { header, len, instead } => self.drop_part(header, len, instead),
            }
        }
    }

    /// Gives a reply that `next` cut off to the request it answers. `None`: nobody asked.
    pub fn deliver(&mut self, (start, end): (usize, usize)) -> Option<Delivery> {
        let first = self.expected.front_mut()?;
        if first.request.is_awaited() {
            first.received.extend_from_slice(&self.buffer[start..end]);
        }
        first.replies -= 1;
        if first.replies > 0 {
            return Some(Delivery::Part);
        }
        let Expected { request, received, room, .. } = self.expected.pop_front()?;
        drop(room);
        Some(if request.complete(Ok(received)) { Delivery::Last } else { Delivery::Unwanted })
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
        reader.space()[..piece.len()].copy_from_slice(piece);
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
