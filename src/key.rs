//! Checks keys, tags, patterns and channels.

use crate::error::{Error, ErrorKind, Result};

/// The maximum length of a key, tag or pattern in bytes.
pub const MAX_KEY_LEN: usize = 64 * 1024;
/// The maximum number of tags of an entry.
pub const MAX_TAGS: usize = 128;
/// The maximum number of tags that are stored with an entry: its own, and that of its generation.
pub const MAX_STORED_TAGS: usize = MAX_TAGS + 1;

/// Checks a key: 1 byte to 64 KiB of any bytes.
#[inline]
pub fn check_key(key: &[u8]) -> Result<()> {
    check_len("key", key)
}

/// Checks a tag: 1 byte to 64 KiB of any bytes.
pub fn check_tag(tag: &[u8]) -> Result<()> {
    check_len("tag", tag)
}

/// Checks a list of tags: up to 128 valid tags.
pub fn check_tags(tags: &[&[u8]]) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("{} tags; an entry may have up to {MAX_TAGS}", tags.len()),
        ));
    }
    tags.iter().try_for_each(|tag| check_tag(tag))
}

/// Checks a pattern: up to 64 KiB of any bytes.
pub fn check_pattern(pattern: &[u8]) -> Result<()> {
    if pattern.len() > MAX_KEY_LEN { Err(wrong_len("pattern", pattern.len())) } else { Ok(()) }
}

/// Checks a channel: 1 byte to 64 KiB of any bytes.
pub fn check_channel(channel: &[u8]) -> Result<()> {
    check_len("channel", channel)
}

#[inline]
fn check_len(what: &str, bytes: &[u8]) -> Result<()> {
    if (1..=MAX_KEY_LEN).contains(&bytes.len()) { Ok(()) } else { Err(wrong_len(what, bytes.len())) }
}

#[cold]
fn wrong_len(what: &str, len: usize) -> Error {
    match len {
        0 => Error::new(ErrorKind::Invalid, format!("the {what} is empty; it must have 1 byte to 64 KiB")),
        _ => Error::new(ErrorKind::TooLarge, format!("the {what} has {len} bytes; the limit is 64 KiB")),
    }
}
