//! Stored names: `PREFIX:e:KEY` for an entry, `PREFIX:t:HASH` for a tag's version, `PREFIX:i:HASH` for its index,
//! `PREFIX:b:{PREFIX:t:HASH}:VERSION` for the list of the barriers of a generation, `PREFIX:r:NUMBER` for the marker of a server that was emptied after its restart, `PREFIX:w:NUMBER` for a write that
//! waits for replicas, `PREFIX:d:KEY` for data of the caller, `PREFIX:c:CHANNEL` for a channel, `PREFIX:n:NUMBER:NUMBER` for
//! the beats of a near cache, `PREFIX:n:changes` for the channel of changes, `PREFIX:v:events` for the channel of events,
//! `PREFIX:v:journal` for their journal.
//!
//! A prefix has neither `:` nor braces, so no key reaches a tag version or another
//! prefix. In a cluster the first `{…}` of a name chooses its slot, so that
//! braces in a key do: keys that share them lie together.

/// The channel of events.
pub const EVENTS: &[u8] = b"events";

/// Returns the name of an entry.
pub fn entry(prefix: &str, key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(prefix.len() + 3 + key.len());
    write_entry(&mut name, prefix, key);
    name
}

/// Writes the name of an entry.
pub fn write_entry(out: &mut Vec<u8>, prefix: &str, key: &[u8]) {
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(b":e:");
    out.extend_from_slice(key);
}

/// Returns a name for data of the caller, apart from the entries.
pub fn data(prefix: &str, key: &[u8]) -> Vec<u8> {
    [prefix.as_bytes(), b":d:", key].concat()
}

/// Returns the key of an entry's name.
pub fn key<'a>(prefix: &str, name: &'a [u8]) -> Option<&'a [u8]> {
    name.strip_prefix(prefix.as_bytes())?.strip_prefix(b":e:")
}

/// Returns the name of a tag's version.
pub fn tag_version(prefix: &str, tag: u64) -> Vec<u8> {
    format!("{prefix}:t:{tag:016x}").into_bytes()
}

/// Returns the name of the list of the barriers that came with a version of a generation, in the slot of the version.
pub fn barriers(prefix: &str, generation: u64, version: u64) -> Vec<u8> {
    format!("{prefix}:b:{{{prefix}:t:{generation:016x}}}:{version:016x}").into_bytes()
}

/// Returns what the names of tag versions begin with.
pub fn tag_versions(prefix: &str) -> Vec<u8> {
    format!("{prefix}:t:").into_bytes()
}

/// Returns the tag of the name of its version.
pub fn tag(prefix: &str, name: &[u8]) -> Option<u64> {
    let hash = name.strip_prefix(prefix.as_bytes())?.strip_prefix(b":t:")?;
    u64::from_str_radix(std::str::from_utf8(hash).ok()?, 16).ok()
}

/// Returns what the names of the beats of a near cache begin with.
pub fn beats(prefix: &str, number: u64) -> Vec<u8> {
    format!("{prefix}:n:{number:016x}:").into_bytes()
}

/// Returns a name of the beats of a near cache.
pub fn beat(prefix: &str, number: u64, attempt: u32) -> Vec<u8> {
    format!("{prefix}:n:{number:016x}:{attempt}").into_bytes()
}

/// Returns the name of a tag's index.
pub fn index(prefix: &str, tag: u64) -> Vec<u8> {
    format!("{prefix}:i:{tag:016x}").into_bytes()
}

/// Returns a name of the marker that a server was emptied after its restart.
pub fn marker(prefix: &str, number: usize) -> Vec<u8> {
    format!("{prefix}:r:{number}").into_bytes()
}

/// Returns whether a name is that of an entry, of any prefix.
pub fn is_entry(name: &[u8]) -> bool {
    kind(name).starts_with(b":e:")
}

/// Returns whether a name is that of a marker, of any prefix.
pub fn is_marker(name: &[u8]) -> bool {
    kind(name).starts_with(b":r:")
}

/// Returns the name of the journal of events.
pub fn journal(prefix: &str) -> Vec<u8> {
    format!("{prefix}:v:journal").into_bytes()
}

/// Returns whether a name is that of data of the caller or of the journal, of any prefix: what empties a cache leaves it.
pub fn is_kept(name: &[u8]) -> bool {
    kind(name).starts_with(b":d:") || kind(name).starts_with(b":v:")
}

/// Returns the part of a name after the prefix, which has no colon.
fn kind(name: &[u8]) -> &[u8] {
    memchr::memchr(b':', name).map_or(&[], |end| &name[end..])
}

/// Returns a glob for the names of entries whose keys begin with some bytes.
pub fn entries_glob(prefix: &str, literal: &[u8]) -> Vec<u8> {
    let mut glob = entry(prefix, b"");
    write_literal(&mut glob, literal);
    glob.push(b'*');
    glob
}

/// Writes a glob that matches these bytes.
pub fn write_literal(glob: &mut Vec<u8>, literal: &[u8]) {
    for byte in literal {
        if b"*?[]\\^".contains(byte) {
            glob.push(b'\\');
        }
        glob.push(*byte);
    }
}

/// Returns a glob for all names of a prefix.
pub fn all_glob(prefix: &str) -> Vec<u8> {
    format!("{prefix}:*").into_bytes()
}

/// The stored names of channels.
#[derive(Debug, Clone)]
pub struct ChannelNames {
    /// The bytes in front of each.
    before: Box<[u8]>,
}

impl ChannelNames {
    /// Returns the names of a prefix, or with `raw` those of the callers as they are.
    pub fn new(prefix: &str, raw: bool) -> Self {
        Self { before: if raw { Box::default() } else { format!("{prefix}:c:").into_bytes().into() } }
    }

    /// Returns the names of the channels by which near caches tell each other of changes.
    pub fn of_changes(prefix: &str) -> Self {
        Self { before: format!("{prefix}:n:").into_bytes().into() }
    }

    /// Returns the names of the channel of events.
    pub fn of_events(prefix: &str) -> Self {
        Self { before: format!("{prefix}:v:").into_bytes().into() }
    }

    /// Returns the bytes in front of each.
    pub fn before(&self) -> &[u8] {
        &self.before
    }

    /// Returns the name of a channel.
    pub fn of(&self, channel: &[u8]) -> Vec<u8> {
        [&self.before, channel].concat()
    }

    /// Returns the channel of a name.
    pub fn channel<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        name.strip_prefix(&*self.before)
    }

    /// Returns a glob of Redis for the channels that a pattern matches. It is written otherwise where Redis does not know
    /// `[!`, or would read a range otherwise.
    pub fn pattern(&self, pattern: &[u8]) -> Vec<u8> {
        let mut glob = Vec::with_capacity(self.before.len() + pattern.len());
        write_literal(&mut glob, &self.before);
        let (mut in_class, mut rest) = (false, pattern);
        while !rest.is_empty() {
            let taken = match (in_class, rest) {
                (_, [b'\\', _, ..]) => 2,
                (true, [b']', ..]) => 1,
                (true, [_, b'-', _, ..]) => 3,
                (false, [b'[', b'^' | b'!', ..]) => 2,
                _ => 1,
            };
            let (part, others) = rest.split_at(taken);
            match *part {
                [b'[', b'!'] if !in_class => glob.extend_from_slice(b"[^"),
                // Redis compares bytes with their signs, where the compiler has signed ones.
                [one, b'-', other] if in_class && (one < 0x80) != (other < 0x80) => {
                    let (low, high) = (one.min(other), one.max(other));
                    glob.extend_from_slice(&[low, b'-', 0x7f, 0x80, b'-', high]);
                }
                _ => glob.extend_from_slice(part),
            }
            in_class = if in_class { part != b"]" } else { part.first() == Some(&b'[') };
            rest = others;
        }
        glob
    }
}

/// The number of slots of a cluster.
pub const SLOTS: u16 = 16384;

/// Returns the slot of a name in a cluster: CRC-16/XMODEM of its hash tag, or of all of it, modulo 16384.
/// <https://redis.io/docs/reference/cluster-spec>
pub fn slot(name: &[u8]) -> u16 {
    let hashed = hash_tag(name).unwrap_or(name);
    crc16::State::<crc16::XMODEM>::calculate(hashed) % SLOTS
}

/// Returns the bytes between the first `{` and the next `}`, unless there are none.
fn hash_tag(name: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', name)?;
    let rest = &name[open + 1..];
    let close = memchr::memchr(b'}', rest)?;
    (close > 0).then(|| &rest[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16::State::<crc16::XMODEM>::calculate(b"foo{}{bar}") % 16384);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(&barriers("p", 7, 9)), slot(&tag_version("p", 7)));
    }

    #[test]
    fn a_key_is_read_back_from_its_name_and_globs_mean_their_bytes() {
        assert_eq!(key("p", &entry("p", b":e:*")), Some(&b":e:*"[..]));
        assert_eq!(key("p", b"pp:e:a"), None);
        assert_eq!(key("p", &tag_version("p", 7)), None);
        assert_eq!((tag("p", &tag_version("p", 7)), tag("p", &entry("p", b"7"))), (Some(7), None));
        assert!(is_entry(&entry("p", b":r:")) && !is_marker(&entry("p", b":r:")));
        assert!(is_kept(&data("p", b"a")) && !is_kept(&entry("p", b":d:")) && !is_entry(&data("p", b":e:")));
        assert!(is_kept(&journal("p")) && !is_kept(&entry("p", b":v:")));
        assert!(is_marker(&marker("p", 7)) && !is_entry(&marker("p", 7)) && !is_entry(b"p"));
        assert_eq!(entries_glob("p", b"a*[b"), b"p:e:a\\*\\[b*");
    }

    #[test]
    fn channels_lie_under_the_prefix_unless_they_are_raw() {
        let (names, raw) = (ChannelNames::new("p", false), ChannelNames::new("p", true));
        assert_eq!((names.of(b"a"), raw.of(b"a")), (b"p:c:a".to_vec(), b"a".to_vec()));
        assert_eq!(
            (names.channel(b"p:c:a"), names.channel(b"q:c:a"), raw.channel(b"a")),
            (Some(&b"a"[..]), None, Some(&b"a"[..]))
        );
    }

    #[test]
    fn patterns_mean_the_same_to_the_server() {
        let names = ChannelNames::new("p.q", false);
        assert_eq!(names.pattern(b"a*"), b"p.q:c:a*");
        assert_eq!(names.pattern(b"[!a]b[^c]"), b"p.q:c:[^a]b[^c]");
        assert_eq!(names.pattern(b"[a[!]\\[!"), b"p.q:c:[a[!]\\[!");
        assert_eq!(names.pattern(b"[\\]!"), b"p.q:c:[\\]!");
        // A range may end with a bracket or a backslash.
        assert_eq!(names.pattern(b"[a-\\][!x]"), b"p.q:c:[a-\\][^x]");
        assert_eq!(names.pattern(b"[a-][!x]"), b"p.q:c:[a-][!x]");
        assert_eq!(names.pattern(b"[]-[!x]"), b"p.q:c:[]-[^x]");
        assert_eq!(names.pattern(b"[a-\xff\xfe-b]"), b"p.q:c:[a-\x7f\x80-\xffb-\x7f\x80-\xfe]");
    }
}
