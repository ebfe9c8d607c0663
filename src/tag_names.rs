//! The names of the tags of an entry, which it stores with the option `tag_names` in addition to the hashes.
//!
//! ```text
//! for each tag in the order of the set, without that of the generation:
//!   2  length of the stored name (little-endian)
//!   …  the stored name
//! ```

use crate::naming::{given_name, is_generation};

/// The maximum size of the names of an entry with their lengths. An entry with longer ones stores none: a look at its header
/// must stay short.
pub const MAX_TAG_NAMES: usize = 2048;

/// The stored names of the tags of an entry, empty if they are not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagNames(Box<[u8]>);

impl TagNames {
    /// Joins the stored names of tags: each once, without that of a generation.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut joined = Vec::new();
        for name in names {
            if is_generation(name) || split(&joined).any(|known| known == name) {
                continue;
            }
            let Some(len) = u16::try_from(name.len()).ok().filter(|_| joined.len() + 2 + name.len() <= MAX_TAG_NAMES)
            else {
                return Self::default();
            };
            joined.extend(len.to_le_bytes());
            joined.extend(name);
        }
        Self(joined.into())
    }

    /// Copies names from their stored form.
    pub fn from_stored(stored: &[u8]) -> Self {
        Self(stored.into())
    }

    /// Returns the stored form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Iterates over the stored names.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        split(&self.0)
    }
}

/// Iterates over the names of a stored form. Bytes that are none end it.
fn split(stored: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = stored;
    std::iter::from_fn(move || {
        let (len, names) = rest.split_first_chunk::<2>()?;
        let (name, others) = names.split_at_checked(u16::from_le_bytes(*len).into())?;
        rest = others;
        Some(name)
    })
}

/// Returns the name that a caller gave a tag: the one at this place of a stored form.
pub fn given_at(stored: &[u8], index: usize) -> Option<&[u8]> {
    split(stored).nth(index).map(given_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&[u8]]) -> TagNames {
        TagNames::of(names.iter().copied())
    }

    #[test]
    fn names_come_back_once_and_without_the_generation() {
        let some = names(&[b"~users:", b"~users:a", b"~users:b", b"~users:a"]);
        assert_eq!(some.iter().collect::<Vec<_>>(), [b"~users:a", b"~users:b"]);
        let given: Vec<_> = (0..3).map(|at| given_at(some.as_bytes(), at)).collect();
        assert_eq!(given, [Some(&b"a"[..]), Some(b"b"), None]);
        let plain = names(&[b"~", b"a", b"~~b", b"\0\xFF"]);
        let given: Vec<_> = (0..3).filter_map(|at| given_at(plain.as_bytes(), at)).collect();
        assert_eq!(given, [&b"a"[..], b"~b", b"\0\xFF"]);
        assert!(names(&[]).as_bytes().is_empty() && names(&[b"~"]).as_bytes().is_empty());
    }

    #[test]
    fn names_that_are_too_long_together_are_not_stored() {
        let longest = vec![b'a'; MAX_TAG_NAMES - 2];
        assert_eq!(names(&[&longest]).iter().count(), 1);
        assert!(names(&[&longest, b"b"]).as_bytes().is_empty());
        assert!(names(&[&[b'a'; 65_536]]).as_bytes().is_empty());
    }

    #[test]
    fn bytes_that_are_no_names_end_the_list() {
        let some = names(&[b"a", b"bc"]);
        for cut in 0..some.as_bytes().len() {
            let count = TagNames::from_stored(&some.as_bytes()[..cut]).iter().count();
            assert_eq!(count, usize::from(cut >= 3));
        }
        assert_eq!(TagNames::from_stored(&[255; 9]).iter().count(), 0);
    }
}
