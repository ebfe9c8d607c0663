//! The parts that all stored forms share: the magic, the fingerprint of a name, and the reasons to refuse bytes.

use twox_hash::XxHash3_64;

/// The first bytes of every stored form.
pub(super) const MAGIC: [u8; 2] = [0xD9, 0x43];

/// The reason for which bytes are not an entry of a name. Each is counted as a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are shorter than their length field, or than any entry.
    Truncated,
    /// The bytes are not an entry of YokedCache.
    Magic,
    /// A later version, which this one cannot read, has written the entry.
    Version,
    /// The bytes were changed.
    Checksum,
    /// The entry has another name: replies were mixed up, or a name was reused.
    Name,
    /// The lengths inside contradict each other.
    Malformed,
    /// The bytes are no damage: they say that a load found nothing.
    Absence,
}

/// Returns the fingerprint of a stored name.
pub fn fingerprint(name: &[u8]) -> u64 {
    XxHash3_64::oneshot(name)
}
