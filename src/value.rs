//! The bytes of a value: shared, immutable, not copied for a reader.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use triomphe::{Arc, ThinArc};

/// The length field in front of the key.
const LENGTH: usize = size_of::<u32>();
/// The number of the slot of a value whose key is the names of tags. No store has so many slots.
const NAMES_TAGS: u32 = u32::MAX;
/// Parts up to this size are joined on the stack.
const SMALL: usize = 256;

/// A value behind one pointer, preceded by its key: reference count, notes, key and value share one allocation.
#[derive(Clone)]
pub struct Value(ThinArc<Notes, u8>);

/// The notes of the store that holds the value, which alone reads and changes them. They are in front of the bytes because
/// every hit needs both: a place of their own would be one more cache miss.
#[derive(Default)]
pub struct Notes {
    /// The end of the entry.
    pub deadline: AtomicU64,
    /// The time of its last use.
    pub used: AtomicU32,
    /// The number of its slot.
    pub slot: AtomicU32,
}

impl Value {
    /// Copies a key and a value.
    pub fn keyed(key: &[u8], value: &[u8], notes: Notes) -> Self {
        let len = LENGTH + key.len() + value.len();
        let mut small = [0; SMALL];
        if let Some(buffer) = small.get_mut(..len) {
            join(buffer, key, value);
            return Self(ThinArc::from_header_and_slice(notes, buffer));
        }
        let mut buffer = vec![0; len];
        join(&mut buffer, key, value);
        Self(ThinArc::from_header_and_slice(notes, &buffer))
    }

    /// Copies a value and the stored form of the names of its tags, which take the place of a key.
    pub fn with_tag_names(names: &[u8], value: &[u8]) -> Self {
        Self::keyed(names, value, Notes { slot: NAMES_TAGS.into(), ..Notes::default() })
    }

    /// Returns the stored form of the names of its tags, which are empty for any other value.
    pub fn tag_names(&self) -> &[u8] {
        if self.notes().slot.load(Relaxed) == NAMES_TAGS { self.key() } else { &[] }
    }

    /// Writes a value over this one. Returns false, and changes nothing, if the lengths differ or the value is shared.
    pub fn overwrite(&mut self, value: &[u8]) -> bool {
        let start = LENGTH + self.key().len();
        self.0.with_arc_mut(|shared| {
            let own = Arc::get_mut(shared).and_then(|own| own.slice_mut().get_mut(start..));
            own.filter(|own| own.len() == value.len()).map(|own| own.copy_from_slice(value)).is_some()
        })
    }

    /// Returns the notes of the store.
    #[inline]
    pub fn notes(&self) -> &Notes {
        &self.0.header.header
    }

    /// Returns the bytes of the key, which are empty for a value without a key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.split().0
    }

    /// Returns true if this is the key of the value. Costs less than to compare `key`.
    #[inline]
    pub fn has_key(&self, key: &[u8]) -> bool {
        let joined = self.0.slice.split_first_chunk::<LENGTH>();
        joined.is_some_and(|(length, rest)| u32::from_ne_bytes(*length) as usize == key.len() && rest.starts_with(key))
    }

    /// Returns the bytes of the value.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.split().1
    }

    /// Returns the number of bytes of the key and the value.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.slice.len() - LENGTH
    }

    #[inline]
    fn split(&self) -> (&[u8], &[u8]) {
        let (length, rest) = self.0.slice.split_first_chunk::<LENGTH>().unwrap_or((&[0; LENGTH], &[]));
        rest.split_at_checked(u32::from_ne_bytes(*length) as usize).unwrap_or_default()
    }
}

impl Notes {
    /// Returns the notes of an entry that has no slot yet.
    pub fn until(deadline: u64) -> Self {
        Self { deadline: deadline.into(), ..Self::default() }
    }
}

#[allow(clippy::cast_possible_truncation)] // A key has up to 64 KiB, names have less.
fn join(buffer: &mut [u8], key: &[u8], value: &[u8]) {
    let (length, rest) = buffer.split_at_mut(LENGTH);
    length.copy_from_slice(&(key.len() as u32).to_ne_bytes());
    let (head, tail) = rest.split_at_mut(key.len());
    head.copy_from_slice(key);
    tail.copy_from_slice(value);
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::keyed(&[], bytes, Notes::default())
    }
}

impl From<ThinArc<Notes, u8>> for Value {
    /// Converts the result of `ThinArc::from(value)` back to a value.
    fn from(shared: ThinArc<Notes, u8>) -> Self {
        Self(shared)
    }
}

impl From<Value> for ThinArc<Notes, u8> {
    fn from(value: Value) -> Self {
        value.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_value_come_back_at_every_length() {
        for key_len in [0, 1, 16, 251, 252, 253, 65_536] {
            for value_len in [0, 1, 235, 236, 237, 70_000] {
                let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                let joined = Value::keyed(&key, &value, Notes::default());
                assert_eq!((joined.key(), joined.as_bytes()), (&key[..], &value[..]));
                assert!(joined.has_key(&key) && !joined.has_key(&[&key[..], b"k"].concat()));
            }
        }
    }

    #[test]
    fn a_value_names_its_tags_if_it_was_made_with_them() {
        let named = Value::with_tag_names(b"names", b"value");
        assert_eq!((named.tag_names(), named.as_bytes()), (&b"names"[..], &b"value"[..]));
        assert_eq!(named.clone().tag_names(), b"names");
        assert!(Value::keyed(b"key", b"value", Notes::default()).tag_names().is_empty());
    }

    #[test]
    fn a_value_is_overwritten_by_one_of_its_length_while_no_other_shares_it() {
        let mut value = Value::keyed(b"key", b"value", Notes::default());
        assert!(!value.overwrite(b"valu") && !value.overwrite(b"value6"));
        assert!(value.overwrite(b"other"));
        let shared = value.clone();
        assert!(!value.overwrite(b"third"));
        assert_eq!((shared.key(), shared.as_bytes()), (&b"key"[..], &b"other"[..]));
        drop(shared);
        assert!(value.overwrite(b"third"));
        assert_eq!((value.key(), value.as_bytes()), (&b"key"[..], &b"third"[..]));
    }
}
