//! Stored names: `PREFIX:e:KEY` if Memcached can store that, else `PREFIX:d:SHA-256 of KEY`; `PREFIX:t:HASH` for a
//! tag's version, `PREFIX:b:HASH:VERSION` for the list of the barriers of a generation, `PREFIX:g:home` and `PREFIX:g:away` for a server's epochs.
//!
//! A prefix has no `:`, so no key reaches a tag version, an epoch or another prefix.
//! An entry under a digest contains its key, which is compared with the requested one.

use std::fmt::Write;

use ring::digest::{SHA256, digest};

/// The longest name.
pub const MAX_NAME: usize = 250;

/// The two epochs of a server: an entry counts only while its epoch has the number that the entry was set with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochKind {
    /// The epoch of the server's own names.
    Home,
    /// The epoch of names whose own server is away.
    Away,
}

/// Returns the name of an entry, and whether it is a digest of the key.
pub fn entry(prefix: &str, key: &[u8]) -> (Vec<u8>, bool) {
    let mut name = Vec::with_capacity(prefix.len() + 3 + key.len().clamp(64, MAX_NAME));
    let is_digest = write_entry(&mut name, prefix, key);
    (name, is_digest)
}

/// Writes the name of an entry; returns whether it is a digest of the key.
pub fn write_entry(out: &mut Vec<u8>, prefix: &str, key: &[u8]) -> bool {
    let fits = prefix.len() + 3 + key.len() <= MAX_NAME && are_plain(key);
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(if fits { b":e:" } else { b":d:" });
    if fits {
        out.extend_from_slice(key);
    } else {
        out.extend_from_slice(hexadecimal(digest(&SHA256, key).as_ref()).as_bytes());
    }
    !fits
}

/// Checks blocks of bytes at once, which is faster than to stop at the first that is not plain.
fn are_plain(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let is_plain_block = |block: &[u8; 16]| block.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    blocks.iter().all(is_plain_block) && rest.iter().all(|byte| is_plain(*byte))
}

/// Returns whether a byte is neither a space nor a control byte.
fn is_plain(byte: u8) -> bool {
    (byte > b' ') & (byte != 0x7f)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the key of an entry's name, unless that is a digest.
pub fn key<'a>(prefix: &str, name: &'a [u8]) -> Option<&'a [u8]> {
    name.strip_prefix(prefix.as_bytes())?.strip_prefix(b":e:")
}

/// Returns whether a name may be that of an entry whose key begins with some bytes.
pub fn may_be_entry(prefix: &str, literal: &[u8], name: &[u8]) -> bool {
    let rest = name.strip_prefix(prefix.as_bytes()).unwrap_or_default();
    rest.strip_prefix(b":e:").is_some_and(|key| key.starts_with(literal)) || rest.starts_with(b":d:")
}

/// Returns whether a name belongs to a prefix.
pub fn is_ours(prefix: &str, name: &[u8]) -> bool {
    name.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.starts_with(b":"))
}

/// Returns the name of a tag's version.
pub fn tag_version(prefix: &str, tag: u64) -> Vec<u8> {
    format!("{prefix}:t:{tag:016x}").into_bytes()
}

/// Returns the name of the list of the barriers that came with a version of a generation.
pub fn barriers(prefix: &str, generation: u64, version: u64) -> Vec<u8> {
    format!("{prefix}:b:{generation:016x}:{version:016x}").into_bytes()
}

/// Returns the names of tags' versions.
pub fn tag_versions(prefix: &str, tags: &[u64]) -> Vec<Vec<u8>> {
    tags.iter().map(|tag| tag_version(prefix, *tag)).collect()
}

/// Returns the name of an epoch, of which each server has its own.
pub fn epoch(prefix: &str, kind: EpochKind) -> Vec<u8> {
    let kind = if kind == EpochKind::Home { "home" } else { "away" };
    format!("{prefix}:g:{kind}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_fits_is_its_name_and_others_have_a_digest() {
        assert_eq!(entry("p", b"a:b"), (b"p:e:a:b".to_vec(), false));
        assert_eq!(entry("p", "é".as_bytes()).0, "p:e:é".as_bytes());
        assert_eq!(entry("p", &[b'k'; 246]).0.len(), 250);
        for key in [&b"a b"[..], b"a\r\nset x", b"\0", b"\x7f", b"tab\t", &[b'k'; 247], &[b'k'; 65536]] {
            let (name, digest) = entry("p", key);
            assert!(digest && name.len() == 4 + 64 && name.iter().all(|byte| is_plain(*byte)));
        }
    }

    #[test]
    fn no_two_keys_have_one_name_and_none_reaches_a_tag_version() {
        let key = entry("p", b"a b").0;
        // The key that looks like another's digest is a name of its own.
        assert_ne!(entry("p", &key[4..]).0, key);
        assert_ne!(entry("p", b":d:").0, key);
        assert_eq!(super::key("p", &entry("p", b":t:x").0), Some(&b":t:x"[..]));
        assert_eq!(super::key("p", &key), None);
        assert_eq!(super::key("p", &tag_version("p", 7)), None);
        assert!(!may_be_entry("p", b"", &tag_version("p", 7)) && is_ours("p", &tag_version("p", 7)));
        assert!(!is_ours("p", b"pp:e:a") && !is_ours("pp", b"p:e:a"));
        assert!(
            may_be_entry("p", b"ab", &key)
                && may_be_entry("p", b"ab", b"p:e:abc")
                && !may_be_entry("p", b"b", b"p:e:abc")
        );
    }
}
