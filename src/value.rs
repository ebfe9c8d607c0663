//! The bytes of a value: shared, immutable, never copied on the way out.

use std::sync::Arc;

/// A value, as a window on the buffer it was stored or received in.
#[derive(Clone)]
pub struct Value {
    buffer: Arc<[u8]>,
    start: usize,
    end: usize,
}

impl Value {
    /// The bytes of `buffer` from `start` to `end`.
    #[inline]
    pub fn window(buffer: Arc<[u8]>, start: usize, end: usize) -> Self {
        Self { buffer, start, end }
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::window(bytes.into(), 0, bytes.len())
    }
}
