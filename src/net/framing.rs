//! Where a reply ends: what each protocol has to say of its bytes.

/// The longest line a server may send; one without an end is no protocol of ours.
pub const MAX_LINE: usize = 64 * 1024;

/// The most bytes one reply may have.
pub const MAX_REPLY: usize = 512 << 20;
/// The beginning of the complaint about a longer one.
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
    /// The most bytes of each reply to a request.
    pub fn of(&self, request: &[u8], replies: u32) -> usize {
        if (self.has_many)(request, replies) { MAX_REPLY } else { self.one }
    }
}

/// What the bytes received so far begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A whole reply of this many bytes.
    Whole(usize),
    /// Not all of it yet. Asked again, with these bytes and more.
    Partial,
    /// A part longer than any value of ours: its header lies at `header.0..header.1`
    /// of the bytes, `len` more bytes follow. The reader drops them and puts
    /// `instead`, which is no longer than the header, in their place.
    Oversized {
        /// Where the part's header begins and ends.
        header: (usize, usize),
        /// How many bytes follow it.
        len: u64,
        /// What stands for the whole part.
        instead: &'static [u8],
    },
}

/// Finds the end of replies. Keeps its place in one that is not whole yet.
pub trait Framing: Send {
    /// What `bytes`, which begin where the last whole reply ended, hold.
    /// Errors say what is wrong with them, for people.
    fn next(&mut self, bytes: &[u8]) -> Result<Frame, String>;
}
