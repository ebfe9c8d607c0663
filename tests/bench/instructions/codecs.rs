//! Steps of the protocol code, for a count of their instructions: codecs STEP. Prints the number of steps.
//!
//! Only the functions whose names are those of the steps are counted, not what makes their input.

use std::hint::black_box;

use yokedcache::backend::memcached::command::{Command, Condition, Reply};
use yokedcache::backend::memcached::protocol::meta::{self, MetaFraming};
use yokedcache::backend::redis::resp::{RespFraming, RespReader, command};
use yokedcache::net::{Frame, Framing};

const STEPS: u32 = 20_000;
const VALUE: [u8; 100] = [b'v'; 100];
/// The longest value that a framing keeps.
const MAX_VALUE: u64 = 1 << 20;

/// The input of a step, and the buffer that it writes to.
struct Input {
    key: Vec<u8>,
    opaque: u32,
    reply: Vec<u8>,
    out: Vec<u8>,
}

#[inline(never)]
fn redis_encode_get(input: &mut Input) {
    command(&mut input.out, &[b"GET", &input.key]);
}

#[inline(never)]
fn redis_encode_set(input: &mut Input) {
    command(&mut input.out, &[b"SET", &input.key, &VALUE, b"PX", b"60000"]);
}

#[inline(never)]
fn redis_decode(input: &mut Input) {
    let framed = RespFraming::new(MAX_VALUE).next(&input.reply);
    assert_eq!(framed, Ok(Frame::Whole(input.reply.len())));
    let reply = RespReader(&input.reply).next();
    black_box(reply.as_ref().and_then(|reply| reply.bytes()).expect("a string"));
}

#[inline(never)]
fn memcached_encode_get(input: &mut Input) {
    meta::write(&mut input.out, input.opaque, &Command::GetMarked { name: &input.key });
}

#[inline(never)]
fn memcached_encode_set(input: &mut Input) {
    let (name, bytes, condition) = (&*input.key, &VALUE, Condition::Always);
    meta::write(&mut input.out, input.opaque, &Command::Set { name, bytes, flags: 0, expiry: 60, condition });
}

#[inline(never)]
fn memcached_decode(input: &mut Input) {
    let framed = MetaFraming::new(MAX_VALUE).next(&input.reply);
    assert_eq!(framed, Ok(Frame::Whole(input.reply.len())));
    let reply = meta::read(&mut &*input.reply, input.opaque, &Command::GetMarked { name: &input.key });
    assert!(matches!(black_box(reply), Ok(Reply::Value { .. })));
}

fn redis_reply(_: &Input) -> Vec<u8> {
    [b"$100\r\n", &VALUE[..], b"\r\n"].concat()
}

fn memcached_reply(input: &Input) -> Vec<u8> {
    let echo = format!(" O{} f0 c12345\r\n", input.opaque);
    [b"VA 100 k", &*input.key, echo.as_bytes(), &VALUE, b"\r\n"].concat()
}

type Step = (&'static str, fn(&mut Input), fn(&Input) -> Vec<u8>);

const ALL: [Step; 6] = [
    ("redis_encode_get", redis_encode_get, redis_reply),
    ("redis_encode_set", redis_encode_set, redis_reply),
    ("redis_decode", redis_decode, redis_reply),
    ("memcached_encode_get", memcached_encode_get, memcached_reply),
    ("memcached_encode_set", memcached_encode_set, memcached_reply),
    ("memcached_decode", memcached_decode, memcached_reply),
];

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let (_, step, reply) = ALL.iter().find(|step| step.0 == name).expect("the name of a step");
    let mut input = Input { key: Vec::new(), opaque: 0, reply: Vec::new(), out: Vec::with_capacity(1000) };
    for number in 0..STEPS {
        input.key = format!("key:{number:012}").into_bytes();
        input.opaque = number;
        input.reply = reply(&input);
        input.out.clear();
        step(black_box(&mut input));
        black_box(&input.out);
    }
    println!("{STEPS}");
}
