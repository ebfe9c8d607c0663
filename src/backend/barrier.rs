//! A pattern of a barrier: it makes misses of the older entries of its generation whose keys match it.

use crate::error::{Error, ErrorKind, Result};
use crate::naming::StoredGlob;

/// The most patterns of a generation. One more makes misses of the entries that are older than the oldest.
const MAX_PATTERNS: usize = 64;
/// The most bytes of all patterns of a generation.
const MAX_BYTES: usize = 64 << 10;
/// The longest pattern.
const MAX_PATTERN: usize = 1024;

/// A pattern. It is compared with keys of its own generation alone.
pub struct BarrierPattern {
    /// As it is stored.
    pub bytes: Box<[u8]>,
    form: Form,
}

enum Form {
    /// All keys that begin with these bytes.
    Prefix(Box<[u8]>),
    Glob(StoredGlob),
}

impl BarrierPattern {
    /// Compiles a pattern.
    pub fn new(pattern: &[u8]) -> Self {
        let glob = StoredGlob::new(pattern);
        let form = glob.as_prefix().map_or_else(|| Form::Glob(glob), |prefix| Form::Prefix(prefix.into()));
        Self { bytes: pattern.into(), form }
    }

    /// Returns true if it matches a stored key of its generation.
    #[inline]
    pub fn matches(&self, key: &[u8]) -> bool {
        match &self.form {
            Form::Prefix(prefix) => key.starts_with(prefix),
            Form::Glob(glob) => glob.matches(key),
        }
    }

    /// Returns true if it certainly matches each key that another one matches.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.form, &other.form) {
            (Form::Prefix(prefix), Form::Prefix(others)) => others.starts_with(prefix),
            (Form::Prefix(prefix), Form::Glob(glob)) => glob.literal_prefix().starts_with(prefix),
            (Form::Glob(_), _) => self.bytes == other.bytes,
        }
    }
}

/// Returns true if there are more patterns than a generation may have.
pub fn are_too_many<'a>(patterns: impl Iterator<Item = &'a BarrierPattern>) -> bool {
    let (count, bytes) = patterns.fold((0, 0), |(count, bytes), it| (count + 1, bytes + it.bytes.len()));
    count > MAX_PATTERNS || bytes > MAX_BYTES
}

/// Refuses a pattern that is too long for a barrier.
pub fn check(pattern: &[u8]) -> Result<()> {
    if pattern.len() <= MAX_PATTERN {
        return Ok(());
    }
    let text = format!(
        "the pattern has {} bytes with its namespace; a barrier takes up to {MAX_PATTERN}: use the option `patterns: walk`",
        pattern.len()
    );
    Err(Error::new(ErrorKind::TooLarge, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_those_that_match_no_other_keys() {
        let covers = |one: &[u8], other: &[u8]| BarrierPattern::new(one).covers(&BarrierPattern::new(other));
        assert!(covers(b"a:*", b"a:*") && covers(b"a:*", b"a:b:*") && covers(b"a:*", b"a:?") && covers(b"*", b"[a]"));
        assert!(covers(b"a?", b"a?"));
        assert!(!covers(b"a:b:*", b"a:*") && !covers(b"a?", b"ab") && !covers(b"a:*", b"*"));
    }

    #[test]
    fn a_prefix_and_a_glob_match_the_same_keys() {
        for (pattern, key, expected) in [
            (&b"a:*"[..], &b"a:1"[..], true),
            (b"a:*", b"a:", true),
            (b"a:*", b"a", false),
            (b"a:*x", b"a:1x", true),
            (b"a:*x", b"a:1", false),
            (b"~n:a*", b"~n:a1", true),
            (b"a\\*b*", b"a*bc", true),
            (b"a\\*b*", b"aabc", false),
        ] {
            assert_eq!(BarrierPattern::new(pattern).matches(key), expected, "{pattern:?} {key:?}");
        }
    }
}
