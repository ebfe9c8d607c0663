//! Encodes and decodes the mark of a load: bytes behind a stored entry, or alone under a name without an entry. The
//! decoder does not trust the bytes.
//!
//! ```text
//! offset  size  field (integers are little-endian), from the start of the trailer
//!      0     2  magic D9 4C
//!      2     1  version, 1
//!      3     1  kind: 1 a caller loads the key, 2 no caller loads it because a load failed
//!      4     4  time in ms by which the name lasts longer than the value before the trailer, for the load: the stale time
//!               in the header of the value is longer by as much
//!      8     8  end of the load: in ms since 1970 by the clock of the server; on Redis behind a value the time in ms that the
//!               name has left then
//!     16     8  checksum: XXH3-64 of the fields before it, the token and the full stored name
//!     24     8  token: identifies the load
//! ```
//!
//! The trailer ends the stored bytes, so that the token is the mark by which Redis compares them. A reader that knows no
//! trailers finds a wrong checksum or magic: a miss.

use twox_hash::XxHash3_64;

use crate::entry::TRAILER_MAGIC as MAGIC;

/// The length of a trailer.
pub(super) const LEN: usize = 32;
const VERSION: u8 = 1;
/// The fields before the checksum.
const HEAD_LEN: usize = 16;

/// The meaning of a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A caller has the lease.
    Leased,
    /// No caller loads the key until the deadline, because a load failed.
    HeldBack,
}

/// The mark of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub kind: Kind,
    /// Identifies the load: never used again.
    pub token: u64,
    /// The end by the clock of the server, in ms since 1970; or the time that the name has left then.
    pub deadline_ms: u64,
    /// The time by which the name lasts longer than the value before the trailer.
    pub extension_ms: u32,
}

impl Trailer {
    /// Returns the stored form under a name.
    pub(super) fn encode(&self, name: &[u8]) -> [u8; LEN] {
        let kind = match self.kind {
            Kind::Leased => 1,
            Kind::HeldBack => 2,
        };
        let mut out = [0; LEN];
        out[..2].copy_from_slice(&MAGIC);
        (out[2], out[3]) = (VERSION, kind);
        out[4..8].copy_from_slice(&self.extension_ms.to_le_bytes());
        out[8..HEAD_LEN].copy_from_slice(&self.deadline_ms.to_le_bytes());
        out[24..].copy_from_slice(&self.token.to_le_bytes());
        let checksum = checksum(&out, name);
        out[HEAD_LEN..24].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Decodes the trailer at the end of the bytes that are stored under a name. Returns the bytes before it, too.
    pub(super) fn split<'a>(name: &[u8], stored: &'a [u8]) -> Option<(&'a [u8], Self)> {
        let (before, bytes) = stored.split_last_chunk::<LEN>()?;
        let (kind, until) = match bytes[..8] {
            [first, second, VERSION, 1, ref until @ ..] if [first, second] == MAGIC => (Kind::Leased, until),
            [first, second, VERSION, 2, ref until @ ..] if [first, second] == MAGIC => (Kind::HeldBack, until),
            _ => return None,
        };
        let extension_ms = u32::from_le_bytes(*until.first_chunk()?);
        let number = |at: usize| bytes[at..].first_chunk().map(|number| u64::from_le_bytes(*number));
        let trailer = Self { kind, deadline_ms: number(8)?, extension_ms, token: number(24)? };
        (number(HEAD_LEN)? == checksum(bytes, name)).then_some((before, trailer))
    }
}

fn checksum(trailer: &[u8; LEN], name: &[u8]) -> u64 {
    XxHash3_64::oneshot(&[&trailer[..HEAD_LEN], &trailer[24..], name].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRAILER: Trailer = Trailer { kind: Kind::Leased, token: 7, deadline_ms: 1_800_000_000_000, extension_ms: 9 };

    #[test]
    fn a_trailer_is_read_behind_any_bytes_and_under_its_name_alone() {
        for (kind, before) in [(Kind::Leased, &b""[..]), (Kind::HeldBack, b"an entry")] {
            let trailer = Trailer { kind, ..TRAILER };
            let stored = [before, &trailer.encode(b"name")].concat();
            assert_eq!(Trailer::split(b"name", &stored), Some((before, trailer)));
            assert_eq!(Trailer::split(b"other", &stored), None);
            assert_eq!(stored[stored.len() - 8..], 7u64.to_le_bytes());
        }
    }

    #[test]
    fn a_trailer_of_which_any_bit_was_changed_is_none() {
        let stored = TRAILER.encode(b"name");
        for bit in 0..LEN * 8 {
            let mut damaged = stored;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::split(b"name", &damaged), None, "bit {bit}");
        }
        assert_eq!(Trailer::split(b"name", &stored[1..]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_decoded_without_a_panic(stored in prop::collection::vec(any::<u8>(), 0..80)) {
            assert_eq!(Trailer::split(b"name", &stored), None);
        }

        #[test]
        fn bytes_that_begin_as_a_trailer_are_decoded_without_a_panic(
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let stored = [&MAGIC[..], &[VERSION, 1, 0, 0, 0, 0], &rest].concat();
            assert_eq!(Trailer::split(b"name", &stored), None);
        }
    }
}
