//! The bytes of a value: shared, immutable, never copied on the way out.

use triomphe::ThinArc;

/// A value, as a window on the buffer it was stored or received in.
#[derive(Clone)]
pub struct Value {
    buffer: ThinArc<(), u8>,
    start: usize,
}

impl Value {
    /// The bytes of `buffer` from `start` on.
    #[inline]
    pub fn window(buffer: ThinArc<(), u8>, start: usize) -> Self {
        Self { buffer, start }
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.buffer.slice.get(self.start..).unwrap_or_default()
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::window(ThinArc::from_header_and_slice((), bytes), 0)
    }
}
