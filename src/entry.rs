//! Encodes and decodes the stored form of an entry in a shared store. The decoder does not trust the bytes.
//!
//! ```text
//! offset  size  field (integers are little-endian)
//!      0     2  magic D9 43
//!      2     1  version: 1 an entry, 2 a remembered absence, which a reader of version 1 takes for a miss
//!      3     1  flags: 1 deadline, 2 tags, 4 key, 8 nonce, 16 stale time, 32 load time, 64 creation time, 128 names of the
//!               tags
//!      4     4  length of the header, fields of later versions included
//!      8     8  fingerprint: XXH3-64 of the full stored name
//!     16     8  deadline in ms since 1970 (flag 1)
//!            2  number of tags (flag 2), then for each: 8 XXH3-64 of the tag, 8 its version
//!            4  length of the key (flag 4), then the key
//!            4  length of the names of the tags (flag 128), then the names: see `tag_names`
//!            …  fields of later versions, skipped by this one
//!            4  time of the set in seconds since 1970 (flag 64)
//!            8  time in ms after the time to live in which the value may be served as stale (flag 16)
//!            4  duration of the load in ms (flag 32)
//!            8  nonce (flag 8), the last field of the header: another one for each set
//!            …  payload
//!     -8     8  checksum: XXH3-64 of all before it
//! ```
//!
//! Version 3 is a counter, which has a form of its own: see [`counter`].
//!
//! Source of the hash: <https://xxhash.com>, XXH3 with seed 0.

pub mod counter;
mod form;

use twox_hash::XxHash3_64;

use self::form::MAGIC;
pub use self::form::{DecodeError, fingerprint};
use crate::key::MAX_STORED_TAGS;
use crate::naming::generation_of;
use crate::tag_names::MAX_TAG_NAMES;

/// The magic of the trailer of a load, which may stand alone.
pub const TRAILER_MAGIC: [u8; 2] = [0xD9, 0x4C];
const VERSION: u8 = 1;
const DEADLINE: u8 = 1;
const TAGS: u8 = 2;
const KEY: u8 = 4;
const NONCE: u8 = 8;
const STALE: u8 = 16;
const LOAD: u8 = 32;
const CREATED: u8 = 64;
const TAG_NAMES: u8 = 128;
/// The version byte of a remembered absence.
const ABSENCE: u8 = 2;
const CHECKSUM_LEN: usize = 8;
/// Magic, version, flags, header length and fingerprint.
const FIXED_LEN: usize = 16;

/// The first bytes of an entry that has only a nonce, a creation time and a value: no deadline, no tags, no key, no terms
/// of a load.
pub const PLAIN: [u8; 4] = [MAGIC[0], MAGIC[1], VERSION, NONCE | CREATED];

/// A tag of a stored entry: the hash of its name, and its version when the entry was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagVersion {
    /// XXH3-64 of the tag.
    pub tag: u64,
    /// The tag's version when the entry was set.
    pub version: u64,
}

/// The properties that a load gives an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadTerms {
    /// The time in ms after the time to live in which the value may be served as stale; 0: not at all.
    pub stale_for_ms: u64,
    /// The duration of the load in ms; 0 if it is not known.
    pub load_ms: u32,
    /// True if the load found nothing.
    pub is_absent: bool,
}

impl LoadTerms {
    /// Returns true if the entry has none of the properties.
    pub fn are_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// An entry to store, or an entry that was read. It borrows its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The deadline in ms since 1970, if the clock of the store is too coarse.
    pub deadline_ms: Option<u64>,
    /// The tags of the entry.
    pub tags: Vec<TagVersion>,
    /// The user's key, if the stored name is a digest of it.
    pub key: Option<&'a [u8]>,
    /// The names of the tags in their stored form, see `TagNames`; empty if the entry does not store them.
    pub tag_names: &'a [u8],
    /// A number that no other set stores; `None` in an entry of a version that did not write it.
    pub nonce: Option<u64>,
    /// The time of the set in seconds since 1970, by the clock of the store; `None` in an entry of a version that did not
    /// write it. Another time to live does not change it.
    pub created_s: Option<u32>,
    /// The properties that a load gave it.
    pub load: LoadTerms,
    /// The user's value.
    pub payload: &'a [u8],
}

impl Entry<'_> {
    /// Returns the version of the entry: another one after each set, the same after a change of the time to live. An
    /// entry without a nonce has the hash of its tags and its value.
    pub fn version(&self) -> u64 {
        self.nonce.unwrap_or_else(|| {
            let mut tags = Vec::new();
            encode_tags(&mut tags, &self.tags);
            XxHash3_64::oneshot(&[&tags, self.payload].concat())
        })
    }
}

/// Returns the stored form of an entry under `name`.
pub fn encode(name: &[u8], entry: &Entry) -> Vec<u8> {
    let header_len = header_len(entry);
    let mut out = Vec::with_capacity(header_len + entry.payload.len() + CHECKSUM_LEN);
    out.extend(MAGIC);
    out.extend([if entry.load.is_absent { ABSENCE } else { VERSION }, flags(entry)]);
    out.extend(len32(header_len));
    out.extend(XxHash3_64::oneshot(name).to_le_bytes());
    out.extend(entry.deadline_ms.iter().flat_map(|deadline| deadline.to_le_bytes()));
    encode_tags(&mut out, &entry.tags);
    if let Some(key) = entry.key {
        out.extend(len32(key.len()));
        out.extend(key);
    }
    if !entry.tag_names.is_empty() {
        out.extend(len32(entry.tag_names.len()));
        out.extend(entry.tag_names);
    }
    out.extend(entry.created_s.iter().flat_map(|created| created.to_le_bytes()));
    if entry.load.stale_for_ms != 0 {
        out.extend(entry.load.stale_for_ms.to_le_bytes());
    }
    if entry.load.load_ms != 0 {
        out.extend(entry.load.load_ms.to_le_bytes());
    }
    out.extend(entry.nonce.iter().flat_map(|nonce| nonce.to_le_bytes()));
    out.extend(entry.payload);
    let checksum = XxHash3_64::oneshot(&out);
    out.extend(checksum.to_le_bytes());
    out
}

/// Decodes the bytes that are stored under `name`.
pub fn decode<'a>(name: &[u8], stored: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
    match decode_any(name, stored)? {
        entry if entry.load.is_absent => Err(DecodeError::Absence),
        entry => Ok(entry),
    }
}

/// Decodes the bytes that are stored under `name`: an entry or a remembered absence.
#[inline(always)] // An entry is large: each call that returns one copies it.
pub fn decode_any<'a>(name: &[u8], stored: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
    if counter::is_counter(stored) {
        return counter::decode(name, stored).map(of_counter);
    }
    let (body, checksum) = stored.split_last_chunk::<CHECKSUM_LEN>().ok_or(DecodeError::Truncated)?;
    check_magic(body)?;
    if XxHash3_64::oneshot(body) != u64::from_le_bytes(*checksum) {
        return Err(DecodeError::Checksum);
    }
    head_of_any(name, body)
}

/// Decodes the header of the bytes that are stored under `name`. The bytes contain at least the header. The payload may
/// be incomplete and is not verified.
pub fn head<'a>(name: &[u8], stored: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
    if counter::is_counter(stored) {
        return counter::decode(name, stored).map(of_counter);
    }
    match head_of_any(name, stored)? {
        entry if entry.load.is_absent => Err(DecodeError::Absence),
        entry => Ok(entry),
    }
}

/// Returns a counter as the entry that it stands for.
fn of_counter((number, nonce): (&[u8], u64)) -> Entry<'_> {
    let load = LoadTerms::default();
    let (tags, tag_names) = (Vec::new(), &[][..]);
    Entry { deadline_ms: None, tags, key: None, tag_names, nonce: Some(nonce), created_s: None, load, payload: number }
}

/// Returns the bytes of the header of a stored entry.
pub fn header_bytes(stored: &[u8]) -> &[u8] {
    let len = stored.get(4..8).and_then(|len| len.first_chunk()).map_or(0, |len| u32::from_le_bytes(*len) as usize);
    stored.get(..len).unwrap_or(stored)
}

#[inline(always)] // As above.
fn head_of_any<'a>(name: &[u8], stored: &'a [u8]) -> Result<Entry<'a>, DecodeError> {
    check_magic(stored)?;
    let mut fields = Fields(stored);
    let [_, _, version, flags] = fields.take::<4>()?;
    let header_len = fields.take_len32()?;
    if fields.take_u64()? != XxHash3_64::oneshot(name) {
        return Err(DecodeError::Name);
    }
    let (header, payload) = stored.split_at_checked(header_len).ok_or(DecodeError::Malformed)?;
    let mut fields = Fields(header.get(FIXED_LEN..).ok_or(DecodeError::Malformed)?);
    let nonce = (flags & NONCE != 0).then(|| fields.take_last()).transpose()?.map(u64::from_le_bytes);
    let load_ms = (flags & LOAD != 0).then(|| fields.take_last()).transpose()?.map(u32::from_le_bytes);
    let stale_for_ms = (flags & STALE != 0).then(|| fields.take_last()).transpose()?.map(u64::from_le_bytes);
    let created_s = (flags & CREATED != 0).then(|| fields.take_last()).transpose()?.map(u32::from_le_bytes);
    Ok(Entry {
        deadline_ms: (flags & DEADLINE != 0).then(|| fields.take_u64()).transpose()?,
        tags: if flags & TAGS == 0 { Vec::new() } else { fields.take_tags()? },
        key: (flags & KEY != 0).then(|| fields.take_bytes()).transpose()?,
        tag_names: if flags & TAG_NAMES == 0 { &[] } else { fields.take_bytes()? },
        nonce,
        created_s,
        load: LoadTerms {
            stale_for_ms: stale_for_ms.unwrap_or_default(),
            load_ms: load_ms.unwrap_or_default(),
            is_absent: version == ABSENCE,
        },
        payload,
    })
}

/// Returns true if bytes begin as an entry or the trailer of a load, though they may not be one.
pub fn has_magic(stored: &[u8]) -> bool {
    stored.starts_with(&MAGIC) || stored.starts_with(&TRAILER_MAGIC)
}

fn check_magic(stored: &[u8]) -> Result<(), DecodeError> {
    match stored {
        [first, second, ..] if [*first, *second] != MAGIC => Err(DecodeError::Magic),
        [_, _, version, ..] if ![VERSION, ABSENCE].contains(version) => Err(DecodeError::Version),
        [_, _, _, _, ..] => Ok(()),
        _ => Err(DecodeError::Truncated),
    }
}

/// Returns the hash of a tag.
pub fn tag_hash(tag: &[u8]) -> u64 {
    XxHash3_64::oneshot(tag)
}

/// Returns the number of the tags that a caller gave the entry of a key.
pub fn count_tags(key: &[u8], tags: impl Iterator<Item = u64>) -> u64 {
    let generation = tag_hash(generation_of(key));
    tags.filter(|tag| *tag != generation).count() as u64
}

/// The longest header without a key: the number of bytes to fetch for an inspection of an entry.
pub const MAX_KEYLESS_HEADER: usize = FIXED_LEN + 8 + 2 + 16 * MAX_STORED_TAGS + 4 + MAX_TAG_NAMES + 4 + 8 + 4 + 8;

fn flags(entry: &Entry) -> u8 {
    let flag = |present: bool, flag: u8| if present { flag } else { 0 };
    flag(entry.deadline_ms.is_some(), DEADLINE)
        | flag(!entry.tags.is_empty(), TAGS)
        | flag(entry.key.is_some(), KEY)
        | flag(entry.nonce.is_some(), NONCE)
        | flag(entry.load.stale_for_ms != 0, STALE)
        | flag(entry.load.load_ms != 0, LOAD)
        | flag(entry.created_s.is_some(), CREATED)
        | flag(!entry.tag_names.is_empty(), TAG_NAMES)
}

fn header_len(entry: &Entry) -> usize {
    let tags = if entry.tags.is_empty() { 0 } else { 2 + 16 * entry.tags.len() };
    let numbers = entry.deadline_ms.map_or(0, |_| 8) + entry.nonce.map_or(0, |_| 8) + entry.created_s.map_or(0, |_| 4);
    let load = if entry.load.stale_for_ms == 0 { 0 } else { 8 } + if entry.load.load_ms == 0 { 0 } else { 4 };
    let names = if entry.tag_names.is_empty() { 0 } else { 4 + entry.tag_names.len() };
    FIXED_LEN + numbers + load + tags + names + entry.key.map_or(0, |key| 4 + key.len())
}

/// Returns a length. A key has at most 64 KiB and an entry at most 129 tags, so a header is far below 4 GiB.
#[allow(clippy::cast_possible_truncation)]
fn len32(len: usize) -> [u8; 4] {
    (len as u32).to_le_bytes()
}

#[allow(clippy::cast_possible_truncation)] // Up to 129 tags.
fn encode_tags(out: &mut Vec<u8>, tags: &[TagVersion]) {
    if tags.is_empty() {
        return;
    }
    out.extend((tags.len() as u16).to_le_bytes());
    for tag in tags {
        out.extend(tag.tag.to_le_bytes());
        out.extend(tag.version.to_le_bytes());
    }
}

/// The fields that have not been read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    fn take_u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    /// Takes a field at the end: what precedes it may belong to later versions.
    fn take_last<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (rest, field) = self.0.split_last_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    fn take_len32(&mut self) -> Result<usize, DecodeError> {
        self.take().map(|field| u32::from_le_bytes(field) as usize)
    }

    fn take_tags(&mut self) -> Result<Vec<TagVersion>, DecodeError> {
        let count = usize::from(u16::from_le_bytes(self.take()?));
        // A hostile count allocates nothing before its bytes are known to be there.
        if self.0.len() < count * 16 {
            return Err(DecodeError::Malformed);
        }
        (0..count).map(|_| Ok(TagVersion { tag: self.take_u64()?, version: self.take_u64()? })).collect()
    }

    fn take_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.take_len32()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }
}
