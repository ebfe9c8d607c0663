//! Compares the protocol code with that of the crate `redis`: commands, replies, and the slots of names.
//!
//! `PROPTEST_CASES` sets the number of random commands, replies and names.

use fastrand::Rng;
use redis::Value;
use redis::cluster_routing::{Route, Slot, SlotAddr};

use super::names;
use super::resp::{RespFraming, RespReader, RespValue, command};
use crate::net::{Frame, Framing};
use crate::util::test_cases;

/// The depth to which arrays are nested.
const DEPTH: usize = 4;

/// Returns random bytes: lengths around those at which a number gets another digit, and every byte.
fn bytes(random: &mut Rng) -> Vec<u8> {
    let len = *random.choice(&[0, 1, 2, 9, 10, 11, 40, 99, 100, 101, 1000]).unwrap();
    let any = random.bool();
    (0..len).map(|_| if any { random.u8(..) } else { *random.choice(b"\r\n$*:+-01a").unwrap() }).collect()
}

fn text(random: &mut Rng) -> String {
    (0..random.usize(..30)).map(|_| random.alphanumeric()).collect()
}

fn number(random: &mut Rng) -> i64 {
    match random.u8(..4) {
        0 => random.i64(..),
        1 => *random.choice(&[i64::MIN, i64::MAX, -1, 0, 999_999_999, 1_000_000_000]).unwrap(),
        _ => random.i64(-100..100),
    }
}

/// Returns a random reply as a server writes it.
fn reply(random: &mut Rng, depth: usize) -> Vec<u8> {
    match random.u8(..if depth == 0 { 6 } else { 8 }) {
        0 => b"$-1\r\n".to_vec(),
        1 => b"*-1\r\n".to_vec(),
        2 => format!(":{}\r\n", number(random)).into_bytes(),
        3 => format!("+{}\r\n", if random.bool() { "OK".into() } else { text(random) }).into_bytes(),
        4 => format!("-ERR {}\r\n", text(random)).into_bytes(),
        5 => {
            let bytes = bytes(random);
            [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
        }
        _ => {
            let elements: Vec<_> = (0..random.usize(..5)).map(|_| reply(random, depth - 1)).collect();
            [format!("*{}\r\n", elements.len()).into_bytes(), elements.concat()].concat()
        }
    }
}

/// Frames one reply as a connection does: its length, `None` while it is not complete, or why it is refused.
fn framed(bytes: &[u8]) -> Result<Option<usize>, String> {
    match RespFraming::new(1 << 20).next(bytes)? {
        Frame::Whole(len) => Ok(Some(len)),
        Frame::Partial => Ok(None),
        Frame::Oversized { .. } => Err("a string that is dropped".into()),
    }
}

/// Checks that the next reply is the value that the crate read.
fn assert_same(replies: &mut RespReader, theirs: &Value) {
    let ours = replies.next().unwrap();
    match (ours, theirs) {
        // A missing array has no elements here: no command of this library tells the two apart.
        (RespValue::Bulk(None) | RespValue::Array(0), Value::Nil) => {}
        (RespValue::Number(number), Value::Int(expected)) => assert_eq!(number, *expected),
        (RespValue::Bulk(Some(bytes)), Value::BulkString(expected)) => assert_eq!(bytes, expected),
        (RespValue::Status(text), Value::Okay) => assert_eq!(text, b"OK"),
        (RespValue::Status(text), Value::SimpleString(expected)) => assert_eq!(text, expected.as_bytes()),
        (RespValue::Error(text), Value::ServerError(error)) => {
            let details = error.details().unwrap_or_default();
            assert!(text.ends_with(details.as_bytes()), "{} and {error:?}", text.escape_ascii());
        }
        (RespValue::Array(count), Value::Array(elements)) => {
            assert_eq!(count, elements.len() as u64);
            elements.iter().for_each(|element| assert_same(replies, element));
        }
        _ => panic!("{ours:?} and {theirs:?}"),
    }
}

#[test]
fn commands_are_the_bytes_that_the_crate_writes_and_reads() {
    let mut random = Rng::with_seed(1);
    for _ in 0..test_cases() {
        let parts: Vec<Vec<u8>> = (0..1 + random.usize(..6)).map(|_| bytes(&mut random)).collect();
        let mut ours = Vec::new();
        command(&mut ours, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(ours, redis::pack_command(&parts), "{parts:?}");
        let strings: Vec<Value> = parts.into_iter().map(Value::BulkString).collect();
        assert_eq!(redis::parse_redis_value(&ours).unwrap(), Value::Array(strings));
    }
}

#[test]
fn replies_are_read_as_the_crate_reads_them() {
    let mut random = Rng::with_seed(2);
    for _ in 0..test_cases() {
        let bytes = reply(&mut random, DEPTH);
        let theirs = redis::parse_redis_value(&bytes).unwrap();
        assert_eq!(framed(&bytes), Ok(Some(bytes.len())), "{}", bytes.escape_ascii());
        let mut replies = RespReader(&bytes);
        assert_same(&mut replies, &theirs);
        assert!(replies.next().is_none());
    }
}

/// A reply that a byte was changed in: what is accepted here, the crate accepts too, with the same meaning.
#[test]
fn a_damaged_reply_is_refused_or_read_as_the_crate_reads_it() {
    let mut random = Rng::with_seed(3);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..test_cases() {
        let mut bytes = reply(&mut random, DEPTH);
        let at = random.usize(..bytes.len());
        bytes[at] = *random.choice(b"\r\n$*:+-0123456789ax").unwrap();
        let Ok(Some(len)) = framed(&bytes) else {
            refused += 1;
            continue;
        };
        let whole = &bytes[..len];
        let theirs = match redis::parse_redis_value(whole) {
            Ok(theirs) => theirs,
            // The crate wants lines in UTF-8; this library takes them as bytes.
            Err(_) if std::str::from_utf8(whole).is_err() => continue,
            Err(error) => panic!("{}: {error}", whole.escape_ascii()),
        };
        let mut replies = RespReader(whole);
        assert_same(&mut replies, &theirs);
        accepted += 1;
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}

/// Checks broken replies that the crate accepts as a value or waits for: this library closes the connection.
#[test]
fn known_differences_are_on_the_strict_side() {
    for broken in [&b"$-99\r\n"[..], b"*-5\r\n"] {
        assert_eq!(redis::parse_redis_value(broken).unwrap(), Value::Nil);
        assert!(framed(broken).is_err(), "{}", broken.escape_ascii());
    }
    assert_eq!(redis::parse_redis_value(b": 7\r\n").unwrap(), Value::Int(7));
    assert!(framed(b": 7\r\n").is_err());
    // Of RESP3 only what a connection that tells of changes receives.
    for third in [&b"#t\r\n"[..], b",1.5\r\n", b"~1\r\n:1\r\n", b"(12345678901234567890\r\n"] {
        assert!(redis::parse_redis_value(third).is_ok());
        assert!(framed(third).is_err());
    }
    assert!(framed(b"*99999999999\r\n").is_err(), "the crate waits for as many elements");
}

#[test]
fn names_are_in_the_slots_of_the_crate() {
    let mut random = Rng::with_seed(4);
    for _ in 0..test_cases() {
        let len = random.usize(..24);
        let name: Vec<u8> = (0..len)
            .map(|_| if random.u8(..3) == 0 { *random.choice(b"{}").unwrap() } else { random.u8(..) })
            .collect();
        // The number of a slot is private there: routes to the same slot are equal.
        let ours = Slot::new(names::slot(&name)).unwrap();
        let route = |slot| Route::with_slot(slot, SlotAddr::Master);
        assert_eq!(route(ours), route(Slot::for_key(&name)), "{}", name.escape_ascii());
    }
}

/// `tests/bench/run codecs` runs it.
#[test]
#[ignore = "a benchmark"]
fn speed_beside_the_crate() {
    use std::hint::black_box;

    use crate::util::compare_speed;

    let (key, value) = ([b'k'; 16], [b'v'; 100]);
    let mut out = Vec::new();
    let mut write = |parts: &[&[u8]]| {
        out.clear();
        command(&mut out, black_box(parts));
        black_box(&out);
    };
    compare_speed(
        "RESP, write GET",
        || write(&[b"GET", &key]),
        || {
            black_box(redis::cmd("GET").arg(black_box(&key)).get_packed_command());
        },
    );
    compare_speed(
        "RESP, write SET of 100 bytes with PX",
        || write(&[b"SET", &key, &value, b"PX", b"60000"]),
        || {
            let mut theirs = redis::cmd("SET");
            theirs.arg(black_box(&key)).arg(black_box(&value)).arg("PX").arg(60_000);
            black_box(theirs.get_packed_command());
        },
    );
    let bulk = [&b"$100\r\n"[..], &value, b"\r\n"].concat();
    for (name, reply) in [
        ("RESP, read a reply of 100 bytes", bulk.clone()),
        ("RESP, read 100 such replies of an MGET", [&b"*100\r\n"[..], &bulk.repeat(100)].concat()),
    ] {
        let ours = || {
            assert!(matches!(framed(black_box(&reply)), Ok(Some(_))));
            RespReader(&reply).for_each(|reply| drop(black_box(reply.bytes().map(<[u8]>::to_vec))));
        };
        compare_speed(name, ours, || drop(black_box(redis::parse_redis_value(black_box(&reply)))));
    }
}
