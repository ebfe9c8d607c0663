//! Byte strings copied into one allocation.

/// The bytes of the length before each string.
pub(super) const LENGTH: usize = size_of::<usize>();

/// Byte strings, one after another, each after its length.
pub(super) struct Packed(Vec<u8>);

impl Packed {
    /// Returns room for strings that take so many bytes with their lengths, if there is memory for them.
    pub(super) fn with_room(bytes: usize) -> Option<Self> {
        let mut room = Vec::new();
        room.try_reserve_exact(bytes).ok()?;
        Some(Self(room))
    }

    /// Copies a string behind the others.
    pub(super) fn push(&mut self, string: &[u8]) {
        self.0.extend_from_slice(&string.len().to_ne_bytes());
        self.0.extend_from_slice(string);
    }

    /// Each in turn.
    pub(super) fn iter(&self) -> Strings<'_> {
        Strings(&self.0)
    }
}

/// The strings that are left.
pub(super) struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<LENGTH>()?;
        let (string, rest) = rest.split_at_checked(usize::from_ne_bytes(*length))?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_in_their_order() {
        let strings: [&[u8]; 5] = [b"key", b"", b"\0", &[b'v'; 70_000], b""];
        for n in 0..=strings.len() {
            let some = || strings[..n].iter().copied();
            let bytes = some().map(|string| LENGTH + string.len()).sum();
            let mut packed = Packed::with_room(bytes).unwrap();
            some().for_each(|string| packed.push(string));
            assert_eq!((packed.0.len(), packed.0.capacity()), (bytes, bytes));
            assert!(packed.iter().eq(some()), "{n}");
        }
    }
}
