//! The stored form of a counter without tags on a server that adds by itself. Nothing that an addition changes is hashed.
//!
//! ```text
//! offset  size  field (integers are little-endian)
//!      0     2  magic D9 43
//!      2     1  version 3, which a reader of other versions takes for a miss
//!      3     1  flags 0
//!      4     4  length of the header, 24
//!      8     8  fingerprint: XXH3-64 of the full stored name
//!     16     8  checksum: XXH3-64 of all before it
//!     24     n  the number in decimal digits
//!            n  the same number again: a reader compares both
//!     -8     8  nonce: another one for each set and each addition
//! ```

use twox_hash::XxHash3_64;

use super::form::{DecodeError, MAGIC, fingerprint};

pub(super) const VERSION: u8 = 3;
/// The length of the header, which all counters of a name share.
pub const HEAD_LEN: usize = 24;
const HASHED: usize = 16;

/// Returns the header of a counter under `name`.
pub fn head(name: &[u8]) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..2].copy_from_slice(&MAGIC);
    head[2] = VERSION;
    head[4] = const { HEAD_LEN as u8 };
    head[8..HASHED].copy_from_slice(&fingerprint(name).to_le_bytes());
    let checksum = XxHash3_64::oneshot(&head[..HASHED]);
    head[HASHED..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Returns the stored form of a counter under `name`.
pub fn encode(name: &[u8], number: &[u8], nonce: u64) -> Vec<u8> {
    [&head(name), number, number, &nonce.to_le_bytes()].concat()
}

/// Returns true if bytes begin as a counter.
#[inline]
pub(super) fn is_counter(stored: &[u8]) -> bool {
    matches!(stored, [_, _, VERSION, ..])
}

/// Decodes the bytes of a counter that are stored under `name`: returns the digits and the nonce.
pub(super) fn decode<'a>(name: &[u8], stored: &'a [u8]) -> Result<(&'a [u8], u64), DecodeError> {
    let (header, rest) = stored.split_first_chunk::<HEAD_LEN>().ok_or(DecodeError::Truncated)?;
    let (numbers, nonce) = rest.split_last_chunk().ok_or(DecodeError::Truncated)?;
    let (number, copy) = numbers.split_at(numbers.len() / 2);
    let expected = head(name);
    if header[..2] != MAGIC {
        return Err(DecodeError::Magic);
    }
    if header[HASHED..] != XxHash3_64::oneshot(&header[..HASHED]).to_le_bytes() || number != copy {
        return Err(DecodeError::Checksum);
    }
    if *header != expected {
        return Err(DecodeError::Name);
    }
    if number.is_empty() {
        return Err(DecodeError::Malformed);
    }
    Ok((number, u64::from_le_bytes(*nonce)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{decode, decode_any, head as head_of};
    use super::{HEAD_LEN, encode, head};
    use crate::entry::DecodeError;

    #[test]
    fn a_counter_is_read_as_an_entry_under_its_name_alone() {
        for number in ["0", "-7", "9223372036854775807", "-9223372036854775808"] {
            let stored = encode(b"name", number.as_bytes(), 5);
            assert_eq!(stored.len(), HEAD_LEN + 2 * number.len() + 8);
            assert_eq!(stored[..8], [0xD9, 0x43, 3, 0, 24, 0, 0, 0]);
            for read in [decode(b"name", &stored), decode_any(b"name", &stored), head_of(b"name", &stored)] {
                let entry = read.unwrap();
                assert_eq!((entry.payload, entry.version()), (number.as_bytes(), 5));
                assert!(entry.tags.is_empty() && entry.load.are_plain() && entry.deadline_ms.is_none());
            }
            assert_eq!(decode(b"other", &stored), Err(DecodeError::Name));
        }
    }

    #[test]
    fn a_counter_of_which_any_bit_but_those_of_the_nonce_was_changed_is_none() {
        let stored = encode(b"name", b"12", 5);
        for bit in 0..(stored.len() - 8) * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(b"name", &damaged).is_err(), "bit {bit}");
        }
        for len in 0..stored.len() {
            assert!(decode(b"name", &stored[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(decode(b"name", &encode(b"name", b"", 5)), Err(DecodeError::Malformed));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bytes_that_begin_as_a_counter_are_decoded_without_a_panic(rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let stored = [&head(b"name")[..], &rest].concat();
            let _ = decode(b"name", &stored);
            let _ = decode(b"name", &[&[0xD9, 0x43, 3][..], &rest].concat());
        }
    }
}
