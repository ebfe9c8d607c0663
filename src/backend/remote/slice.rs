//! Parts of a reply, which share its buffer.

use std::ops::Deref;
use std::sync::Arc;

use crate::net::{RawReplies, protocol_error};

/// Bytes inside the raw replies to a request. Nothing is copied: the replies are freed with their last slice.
#[derive(Clone)]
pub struct Slice {
    replies: Arc<RawReplies>,
    start: usize,
    end: usize,
}

impl Slice {
    /// Returns the slice that is this part of the replies. Bytes from elsewhere give an empty slice.
    pub fn of(replies: &Arc<RawReplies>, part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(replies.bytes.as_ptr() as usize);
        let is_inside = start.checked_add(part.len()).is_some_and(|end| end <= replies.bytes.len());
        let (start, end) = if is_inside { (start, start + part.len()) } else { (0, 0) };
        Self { replies: Arc::clone(replies), start, end }
    }

    /// Returns the slice that is this part of the slice.
    pub fn slice(&self, part: &[u8]) -> Self {
        Self::of(&self.replies, part)
    }

    /// Reports that these bytes answer another request than the one they were taken for. Replies that are mixed up once
    /// are mixed up from then on, so the connection is closed.
    #[cold]
    pub fn reject(&self) {
        let connection = &self.replies.connection;
        connection.kill(protocol_error(connection.server(), "a reply to another command"));
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.replies.bytes[self.start..self.end]
    }
}
