//! Entries as a shared store holds them: what was encoded comes back, and hostile bytes are a clean error.
//!
//! `PROPTEST_CASES=1000000 cargo test --release --test entry` runs a million inputs.

use proptest::prelude::*;
use twox_hash::XxHash3_64;
use yokedcache::entry::{
    DecodeError, Entry, LoadTerms, MAX_KEYLESS_HEADER, PLAIN, TagVersion, decode, decode_any, encode, head,
};
use yokedcache::key::MAX_STORED_TAGS;
use yokedcache::tag_names::MAX_TAG_NAMES;

const NAME: &[u8] = b"yokedcache:user:1";

/// An entry as a plain set stores it.
fn plain(payload: &[u8]) -> Entry<'_> {
    let load = LoadTerms::default();
    Entry {
        deadline_ms: None,
        tags: vec![],
        key: None,
        tag_names: b"",
        nonce: Some(5),
        created_s: Some(1_700_000_000),
        load,
        payload,
    }
}

fn sample() -> Vec<u8> {
    let tags = vec![TagVersion { tag: 1, version: 2 }, TagVersion { tag: 3, version: 4 }];
    encode(
        NAME,
        &Entry {
            deadline_ms: Some(1_700_000_000_000),
            tags,
            key: Some(b"user:1"),
            tag_names: b"names",
            nonce: Some(5),
            created_s: Some(1_700_000_000),
            load: LoadTerms { stale_for_ms: 6, load_ms: 7, is_absent: false },
            payload: b"payload",
        },
    )
}

/// The bytes with their checksum made right again, so that what lies under it is tested.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let checksum = XxHash3_64::oneshot(&body);
    body.extend(checksum.to_le_bytes());
    body
}

#[test]
fn the_stored_form_is_the_documented_one() {
    let stored = encode(NAME, &Entry { nonce: None, created_s: None, ..plain(b"v") });
    assert_eq!(stored.len(), 16 + 1 + 8);
    assert_eq!(stored[..8], [0xD9, 0x43, 1, 0, 16, 0, 0, 0]);
    assert_eq!(stored[8..16], XxHash3_64::oneshot(NAME).to_le_bytes());
    assert_eq!(stored[17..], XxHash3_64::oneshot(&stored[..17]).to_le_bytes());
    assert_eq!(sample()[3], 1 | 2 | 4 | 8 | 16 | 32 | 64 | 128);
    let stored = encode(NAME, &plain(b"v"));
    assert_eq!((stored.len(), &stored[..4]), (16 + 4 + 8 + 1 + 8, &PLAIN[..]));
    assert_eq!(stored[16..20], 1_700_000_000u32.to_le_bytes());
}

#[test]
fn an_absence_is_no_entry_unless_it_is_asked_for() {
    let load = LoadTerms { stale_for_ms: 0, load_ms: 9, is_absent: true };
    let tags = vec![TagVersion { tag: 1, version: 2 }];
    let absence = Entry { deadline_ms: Some(7), tags, created_s: Some(3), load, ..plain(b"") };
    let stored = encode(NAME, &absence);
    assert_eq!(stored[2], 2);
    assert_eq!(decode(NAME, &stored), Err(DecodeError::Absence));
    assert_eq!(head(NAME, &stored), Err(DecodeError::Absence));
    assert_eq!(decode_any(NAME, &stored), Ok(absence));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_an_error() {
    let stored = sample();
    for len in 0..stored.len() {
        assert!(decode(NAME, &stored[..len]).is_err(), "cut to {len}");
    }
    for bit in 0..stored.len() * 8 {
        let mut flipped = stored.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(NAME, &flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn the_entry_of_another_name_is_refused() {
    assert_eq!(decode(b"yokedcache:user:2", &sample()), Err(DecodeError::Name));
}

#[test]
fn fields_of_a_later_minor_version_are_skipped() {
    let stored = sample();
    let mut body = stored[..stored.len() - 8].to_vec();
    let header_len = u32::from_le_bytes(body[4..8].try_into().unwrap());
    // Before the fields that are read from the end: creation time, stale time, load time and nonce.
    let at = header_len as usize - (4 + 8 + 4 + 8);
    body.splice(at..at, *b"a later field");
    body[4..8].copy_from_slice(&(header_len + 13).to_le_bytes());
    body[3] |= 0x80;
    let stored = sealed(body);
    let entry = decode(NAME, &stored).unwrap();
    assert_eq!((entry.payload, entry.key, entry.tags.len()), (&b"payload"[..], Some(&b"user:1"[..]), 2));
    assert_eq!((entry.nonce, entry.created_s), (Some(5), Some(1_700_000_000)));
}

/// An entry as an earlier version wrote it: without a nonce and a creation time.
#[test]
fn an_entry_without_a_nonce_is_read_and_its_version_is_that_of_tags_and_value() {
    let with = |tags: &[u64], payload: &[u8], deadline_ms| {
        let tags = tags.iter().map(|tag| TagVersion { tag: *tag, version: 9 }).collect();
        let stored = encode(NAME, &Entry { deadline_ms, tags, nonce: None, created_s: None, ..plain(payload) });
        assert_eq!(stored[3] & 8, 0);
        decode(NAME, &stored).unwrap().version()
    };
    assert_eq!(with(&[1], b"v", None), with(&[1], b"v", Some(7)));
    assert_ne!(with(&[1], b"v", None), with(&[1], b"w", None));
    assert_ne!(with(&[1], b"v", None), with(&[2], b"v", None));
}

#[test]
fn the_nonce_is_the_version_and_ends_the_header() {
    let stored = sample();
    assert_eq!(decode(NAME, &stored).unwrap().version(), 5);
    let end = u32::from_le_bytes(stored[4..8].try_into().unwrap()) as usize;
    assert_eq!(stored[end - 8..end], 5u64.to_le_bytes());
}

#[test]
fn the_longest_header_without_a_key_has_the_documented_length() {
    let tags = vec![TagVersion { tag: 1, version: 2 }; MAX_STORED_TAGS];
    let stored = encode(
        NAME,
        &Entry {
            deadline_ms: Some(1),
            tags,
            key: None,
            tag_names: &[1; MAX_TAG_NAMES],
            nonce: Some(5),
            created_s: Some(1),
            load: LoadTerms { stale_for_ms: 1, load_ms: 1, is_absent: false },
            payload: b"payload",
        },
    );
    assert!(head(NAME, &stored[..MAX_KEYLESS_HEADER]).is_ok());
    assert!(head(NAME, &stored[..MAX_KEYLESS_HEADER - 1]).is_err());
}

#[test]
fn a_reader_that_does_not_know_the_names_of_tags_skips_them() {
    let mut body = sample();
    body.truncate(body.len() - 8);
    body[3] &= !128;
    let (named, stored) = (sample(), sealed(body));
    assert_eq!(decode(NAME, &stored), decode(NAME, &named).map(|entry| Entry { tag_names: b"", ..entry }));
}

#[test]
fn a_later_major_version_is_refused_by_name() {
    let mut body = sample();
    body.truncate(body.len() - 8);
    body[2] = 4;
    assert_eq!(decode(NAME, &sealed(body)), Err(DecodeError::Version));
}

#[test]
fn lengths_that_lie_are_errors_and_allocate_nothing() {
    for (at, lie) in [(4, u32::MAX), (4, 15), (4, 0), (24, u32::MAX), (58, u32::MAX), (68, u32::MAX)] {
        let mut body = sample();
        body.truncate(body.len() - 8);
        body[at..at + 4].copy_from_slice(&lie.to_le_bytes());
        assert!(decode(NAME, &sealed(body)).is_err(), "{lie} at {at}");
    }
}

fn tag_versions() -> impl Strategy<Value = Vec<TagVersion>> {
    prop::collection::vec((any::<u64>(), any::<u64>()).prop_map(|(tag, version)| TagVersion { tag, version }), 0..=128)
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back(
        name in bytes(50), deadline_ms in any::<Option<u64>>(), tags in tag_versions(), key in prop::option::of(bytes(80)),
        tag_names in bytes(80), nonce in any::<Option<u64>>(), created_s in any::<Option<u32>>(), payload in bytes(200),
    ) {
        let load = LoadTerms::default();
        let (key, tag_names) = (key.as_deref(), &tag_names[..]);
        let entry = Entry { deadline_ms, tags, key, tag_names, nonce, created_s, load, payload: &payload };
        let stored = encode(&name, &entry);
        prop_assert_eq!(decode(&name, &stored), Ok(entry));
    }

    #[test]
    fn any_bytes_decode_to_an_error_or_to_what_lies_inside_them(stored in bytes(120), header in any::<bool>()) {
        // Half of the inputs pass magic, version, checksum and name, so that the fields are read.
        let stored = if header {
            let flags = stored.first().copied().unwrap_or(0);
            let header_len = u32::from(stored.get(1).copied().unwrap_or(0)).to_le_bytes();
            let fingerprint = XxHash3_64::oneshot(NAME).to_le_bytes();
            let fixed = [&[0xD9, 0x43, 1, flags][..], &header_len, &fingerprint].concat();
            sealed([&fixed[..], &stored].concat())
        } else {
            stored
        };
        if let Ok(entry) = decode(NAME, &stored) {
            let held = entry.payload.len() + entry.key.map_or(0, <[u8]>::len) + entry.tags.len() * 16 + entry.tag_names.len();
            prop_assert!(held < stored.len());
        }
    }
}
