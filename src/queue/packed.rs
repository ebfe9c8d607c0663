//! Byte strings copied into one allocation.

/// The length before each string.
const LENGTH: usize = size_of::<usize>();

/// Byte strings, one after another, each after its length.
pub(super) struct Packed(Box<[u8]>);

/// How many bytes strings take when they are packed.
pub(super) fn packed_len<'a>(strings: impl Iterator<Item = &'a [u8]>) -> usize {
    strings.map(|string| LENGTH + string.len()).sum()
}

impl Packed {
    /// Copies strings that take so many bytes, if there is memory for them.
    pub(super) fn new<'a>(strings: impl Iterator<Item = &'a [u8]>, len: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).ok()?;
        for string in strings {
            bytes.extend_from_slice(&string.len().to_ne_bytes());
            bytes.extend_from_slice(string);
        }
        Some(Self(bytes.into_boxed_slice()))
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
            let packed = Packed::new(some(), packed_len(some())).unwrap();
            assert_eq!(packed.0.len(), packed_len(some()));
            assert!(packed.iter().eq(some()), "{n}");
        }
    }
}
