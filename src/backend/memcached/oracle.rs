//! Compares the protocol code with that of the crate `memcache`: `memcache::exp` for the meta protocol, its client for
//! the binary protocol, whose codec is private there.
//!
//! `PROPTEST_CASES` sets the number of random commands and replies.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use fastrand::Rng;
use memcache::exp::{
    ArithmeticOptions, DeleteOptions, GetOptions, MetaCommand, MetaConnection, ReturnCode, SetMode, SetOptions,
    build_arithmetic, build_delete, build_get, build_set, parse_meta_result,
};

use super::command::{Command, Condition, Reply};
use super::protocol::binary::{self, BinaryFraming, Parts};
use super::protocol::meta::{self, MetaFraming};
use crate::net::{Frame, Framing};
use crate::util::test_cases;

/// The replies that are on the way to the crate at once.
const BATCH: usize = 500;

/// Returns a name that Memcached can hold: what the store makes of a key.
fn name(random: &mut Rng) -> Vec<u8> {
    let len = *random.choice(&[1, 2, 16, 40, 99, 250]).unwrap();
    (0..len).map(|_| random.u8(0x21..0x7f)).collect()
}

fn value(random: &mut Rng) -> Vec<u8> {
    let len = *random.choice(&[0, 1, 9, 10, 99, 100, 1000]).unwrap();
    let any = random.bool();
    (0..len).map(|_| if any { random.u8(..) } else { *random.choice(b"\r\nVAHD 0").unwrap() }).collect()
}

fn number(random: &mut Rng) -> u64 {
    match random.u8(..3) {
        0 => random.u64(..),
        1 => *random.choice(&[0, 1, 9, 10, u64::MAX, u64::from(u32::MAX)]).unwrap(),
        _ => random.u64(..1000),
    }
}

fn command<'a>(random: &mut Rng, name: &'a [u8], bytes: &'a [u8]) -> Command<'a> {
    match random.u8(..8) {
        0 => Command::Get { name },
        7 => Command::Inspect { name },
        1 => Command::Peek { name },
        2 => Command::GetMarked { name },
        3 => {
            let condition = match random.u8(..3) {
                0 => Condition::Always,
                1 => Condition::Absent,
                _ => Condition::Unchanged(number(random)),
            };
            Command::Set { name, bytes, flags: random.u32(..), expiry: random.u32(..), condition }
        }
        4 => Command::Delete { name },
        5 => Command::DeleteIf { name, version: number(random) },
        _ => Command::Count { name, seed: number(random), add: number(random) },
    }
}

/// Writes the same command with the crate.
fn written_by_crate(command: &Command, opaque: u32) -> Vec<u8> {
    let opaque = Some(opaque.to_string().into_bytes());
    let theirs: MetaCommand = match *command {
        Command::Get { name } | Command::Peek { name } => {
            let mut options = GetOptions::default();
            (options.return_key, options.opaque) = (true, opaque);
            build_get(name, &options)
        }
        Command::Inspect { name } => {
            let mut options = GetOptions::default();
            (options.return_key, options.opaque, options.return_client_flags) = (true, opaque, true);
            options.no_lru_bump = true;
            build_get(name, &options)
        }
        Command::GetMarked { name } => {
            let mut options = GetOptions::default();
            (options.return_key, options.opaque) = (true, opaque);
            (options.return_client_flags, options.return_cas) = (true, true);
            build_get(name, &options)
        }
        // The crate asks for no number without a value.
        Command::Mark { .. } => unreachable!(),
        Command::Set { name, bytes, flags, expiry, condition } => {
            let mut options = SetOptions::default();
            (options.return_key, options.opaque, options.ttl) = (true, opaque, Some(expiry));
            options.client_flags = (flags != 0).then_some(flags);
            match condition {
                Condition::Always => {}
                Condition::Absent => options.mode = SetMode::Add,
                Condition::Unchanged(version) => options.compare_cas = Some(version),
            }
            build_set(name, bytes, &options)
        }
        Command::Delete { name } => {
            let mut options = DeleteOptions::default();
            (options.return_key, options.opaque) = (true, opaque);
            build_delete(name, &options)
        }
        Command::DeleteIf { name, version } => {
            let mut options = DeleteOptions::default();
            (options.return_key, options.opaque, options.compare_cas) = (true, opaque, Some(version));
            build_delete(name, &options)
        }
        Command::Count { name, seed, add } => {
            let mut options = ArithmeticOptions::default();
            (options.return_key, options.opaque) = (true, opaque);
            (options.initial, options.initial_ttl, options.delta) = (Some(seed), Some(0), Some(add));
            build_arithmetic(name, &options)
        }
    }
    .unwrap();
    theirs.encode().unwrap()
}

/// The words of the command's line that name it, its flags in the order of their letters, and the value: the server
/// reads flags in any order.
fn parts_of(command: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<u8>) {
    let end = memchr::memmem::find(command, b"\r\n").unwrap();
    let words: Vec<Vec<u8>> = command[..end].split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
    let (named, flags) = words.split_at(if words[0] == b"ms" { 3 } else { 2 });
    let mut flags = flags.to_vec();
    flags.sort();
    (named.to_vec(), flags, command[end..].to_vec())
}

#[test]
fn commands_of_the_meta_protocol_are_those_of_the_crate() {
    let mut random = Rng::with_seed(1);
    for _ in 0..test_cases() {
        let (name, bytes, opaque) = (name(&mut random), value(&mut random), random.u32(..));
        let command = command(&mut random, &name, &bytes);
        let mut ours = Vec::new();
        meta::write(&mut ours, opaque, &command);
        let theirs = written_by_crate(&command, opaque);
        assert_eq!(parts_of(&ours), parts_of(&theirs), "{}", theirs.escape_ascii());
    }
}

/// A command and the reply to it that a server could send.
struct Exchange {
    name: Vec<u8>,
    marked: bool,
    opaque: u32,
    reply: Vec<u8>,
}

fn exchange(random: &mut Rng) -> Exchange {
    let (name, opaque, marked) = (name(random), random.u32(..), random.bool());
    let echo = [b"k", &*name, format!(" O{opaque}").as_bytes()].concat();
    let reply = match random.u8(..6) {
        0 => [b"EN ", &*echo, b"\r\n"].concat(),
        1 => [b"HD ", &*echo, b"\r\n"].concat(),
        2 => [*random.choice(&[&b"NS "[..], b"EX ", b"NF "]).unwrap(), &*echo, b"\r\n"].concat(),
        _ => {
            let bytes = value(random);
            let marks = if marked { format!(" f{} c{}", random.u32(..), random.u64(..)) } else { String::new() };
            let head = format!("VA {} ", bytes.len());
            [head.as_bytes(), &echo, marks.as_bytes(), b"\r\n", &bytes, b"\r\n"].concat()
        }
    };
    Exchange { name, marked, opaque, reply }
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn assert_same(exchange: &Exchange, theirs: &mut MetaConnection) {
    let theirs = parse_meta_result(theirs.receive().unwrap()).unwrap();
    assert_eq!(theirs.key.as_deref(), Some(&*exchange.name));
    assert_eq!(theirs.opaque, Some(exchange.opaque.to_string().into_bytes()));
    let name = &*exchange.name;
    let command = if exchange.marked { Command::GetMarked { name } } else { Command::Get { name } };
    let mut rest = &*exchange.reply;
    let ours = meta::read(&mut rest, exchange.opaque, &command).unwrap();
    assert!(rest.is_empty());
    match (theirs.rc, ours) {
        (ReturnCode::Va, Reply::Value { bytes, flags, version }) => {
            assert_eq!(Some(bytes), theirs.value.as_deref());
            assert_eq!((flags, version), (theirs.client_flags.unwrap_or(0), theirs.cas.unwrap_or(0)));
        }
        (ReturnCode::Hd, Reply::Done)
        | (ReturnCode::En | ReturnCode::Nf, Reply::Missing)
        | (ReturnCode::Ns | ReturnCode::Ex, Reply::Changed) => {}
        (code, ours) => panic!("{ours:?} and {code:?}"),
    }
}

#[test]
fn replies_of_the_meta_protocol_are_read_as_the_crate_reads_them() {
    let mut random = Rng::with_seed(2);
    let (client, mut server) = connected();
    let mut theirs = MetaConnection::from_stream(client);
    let mut left = test_cases();
    while left > 0 {
        let batch: Vec<Exchange> = (0..left.min(BATCH)).map(|_| exchange(&mut random)).collect();
        left -= batch.len();
        let bytes = batch.iter().map(|it| &*it.reply).collect::<Vec<_>>().concat();
        thread::scope(|scope| {
            scope.spawn(|| server.write_all(&bytes).unwrap());
            batch.iter().for_each(|exchange| assert_same(exchange, &mut theirs));
        });
        let (mut framing, mut rest) = (MetaFraming::new(1 << 20), &*bytes);
        for exchange in &batch {
            assert_eq!(framing.next(rest), Ok(Frame::Whole(exchange.reply.len())));
            rest = &rest[exchange.reply.len()..];
        }
    }
}

/// A server of the binary protocol for the crate's client: hands each request to the test, and sends what it answers.
fn serve(mut stream: TcpStream, mut answer: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut header = [0; 24];
    while stream.read_exact(&mut header).is_ok() {
        let mut request = header.to_vec();
        let body = u32::from_be_bytes(*header.last_chunk::<16>().unwrap().first_chunk().unwrap());
        request.resize(24 + body as usize, 0);
        stream.read_exact(&mut request[24..]).unwrap();
        stream.write_all(&answer(&request)).unwrap();
    }
}

/// Returns a packet of a server.
fn packet(opcode: u8, status: u16, parts: &Parts) -> Vec<u8> {
    let mut out = Vec::new();
    binary::packet(&mut out, opcode, parts);
    out[0] = 0x81;
    out[6..8].copy_from_slice(&status.to_be_bytes());
    assert_eq!(BinaryFraming::new(1 << 20).next(&out), Ok(Frame::Whole(out.len())));
    out
}

/// The commands of the crate's client and the replies of its server.
enum Step {
    Set { name: Vec<u8>, bytes: Vec<u8>, expiry: u32, condition: Condition },
    Get { name: Vec<u8>, found: Option<Vec<u8>> },
    Delete { name: Vec<u8>, found: bool },
    Count { name: Vec<u8>, add: u64, number: u64 },
}

impl Step {
    fn random(random: &mut Rng) -> Self {
        let name = name(random);
        match random.u8(..4) {
            0 => {
                let condition = if random.bool() { Condition::Always } else { Condition::Absent };
                Self::Set { name, bytes: value(random), expiry: random.u32(..), condition }
            }
            1 => Self::Get { name, found: random.bool().then(|| value(random)) },
            2 => Self::Delete { name, found: random.bool() },
            _ => Self::Count { name, add: number(random), number: random.u64(..) },
        }
    }

    fn command(&self) -> Command<'_> {
        match self {
            Self::Set { name, bytes, expiry, condition } => {
                Command::Set { name, bytes, flags: 0, expiry: *expiry, condition: *condition }
            }
            Self::Get { name, .. } => Command::Get { name },
            Self::Delete { name, .. } => Command::Delete { name },
            Self::Count { name, add, .. } => Command::Count { name, seed: 0, add: *add },
        }
    }

    /// Returns the server's packet, which repeats the name of a get as this library asks for it.
    fn reply(&self, opcode: u8) -> Vec<u8> {
        match self {
            Self::Get { name, found: Some(bytes) } => {
                packet(opcode, 0, &Parts { extras: &[0; 4], key: name, value: bytes, ..Parts::default() })
            }
            Self::Get { found: None, .. } | Self::Delete { found: false, .. } => packet(opcode, 1, &Parts::default()),
            Self::Count { number, .. } => {
                packet(opcode, 0, &Parts { value: &number.to_be_bytes(), ..Parts::default() })
            }
            Self::Set { .. } | Self::Delete { .. } => packet(opcode, 0, &Parts::default()),
        }
    }

    /// Checks the request of the crate against that of this library.
    fn assert_request(&self, theirs: &[u8]) {
        let mut ours = Vec::new();
        binary::write(&mut ours, 0, &self.command());
        if matches!(self, Self::Get { .. }) {
            // The crate asks without the name in the reply: another code, and all else the same.
            assert_eq!((ours[1], theirs[1]), (binary::opcode::GET_WITH_KEY, 0));
            ours[1] = 0;
        }
        assert_eq!(ours, theirs);
    }

    /// Has the crate do it, and compares what both made of the reply.
    fn assert_reply(&self, client: &memcache::Client) {
        let command = self.command();
        let mut request = Vec::new();
        binary::write(&mut request, 0, &command);
        let bytes = self.reply(request[1]);
        let ours = binary::read(&mut &*bytes, 0, &command).unwrap();
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        match self {
            Self::Set { name, bytes, expiry, condition } => {
                let (name, bytes) = (text(name), &**bytes);
                match condition {
                    Condition::Absent => client.add(&name, bytes, *expiry).unwrap(),
                    _ => client.set(&name, bytes, *expiry).unwrap(),
                }
                assert_eq!(ours, Reply::Done);
            }
            Self::Get { name, .. } => match (client.get::<Vec<u8>>(&text(name)).unwrap(), ours) {
                (Some(theirs), Reply::Value { bytes, .. }) => assert_eq!(theirs, bytes),
                (None, Reply::Missing) => {}
                (theirs, ours) => panic!("{ours:?} and {theirs:?}"),
            },
            Self::Delete { name, .. } => {
                let expected = if client.delete(&text(name)).unwrap() { Reply::Done } else { Reply::Missing };
                assert_eq!(ours, expected);
            }
            Self::Count { name, add, .. } => {
                assert_eq!(ours, Reply::Number(client.increment(&text(name), *add).unwrap()));
            }
        }
    }
}

/// Each step is a round trip, so there are fewer.
#[test]
fn the_binary_protocol_is_that_of_the_crate() {
    let steps = 1 + test_cases() / 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("memcache://{}?protocol=binary", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut random, mut seen) = (Rng::with_seed(3), 0);
        serve(listener.accept().unwrap().0, |request| {
            // The crate's pool asks for the version before each use of a connection.
            if request[1] == binary::opcode::VERSION {
                return packet(request[1], 0, &Parts { value: b"1.6.0", ..Parts::default() });
            }
            let step = Step::random(&mut random);
            step.assert_request(request);
            seen += 1;
            step.reply(request[1])
        });
        seen
    });
    {
        let client = memcache::Client::with_pool_size(url, 1).unwrap();
        let mut random = Rng::with_seed(3);
        (0..steps).for_each(|_| Step::random(&mut random).assert_reply(&client));
    }
    assert_eq!(server.join().unwrap(), steps);
}

/// `tests/bench/run codecs` runs it. A value is not read: the crate hides its length, and reads it from a socket.
#[test]
#[ignore = "a benchmark"]
fn speed_beside_the_crate() {
    use std::hint::black_box;

    use memcache::exp::MetaResponse;

    use crate::util::compare_speed;

    let (name, bytes) = ([b'k'; 16], [b'v'; 100]);
    let get = Command::GetMarked { name: &name };
    let condition = Condition::Always;
    let set = Command::Set { name: &name, bytes: &bytes, flags: 0, expiry: 60, condition };
    let mut out = Vec::new();
    for (text, command) in [("meta, write mg", get), ("meta, write ms of 100 bytes", set)] {
        let ours = || {
            out.clear();
            meta::write(&mut out, 7, black_box(&command));
            black_box(&out);
        };
        compare_speed(text, ours, || drop(black_box(written_by_crate(black_box(&command), 7))));
    }
    let line = [b"HD k", &name[..], b" O7 f0 c12345\r\n"].concat();
    let ours = || {
        assert_eq!(MetaFraming::new(1000).next(black_box(&line)), Ok(Frame::Whole(line.len())));
        black_box(meta::read(&mut &*line, 7, &get).unwrap());
    };
    compare_speed("meta, read a reply without a value", ours, || {
        let header = MetaResponse::parse_header(black_box(&line[..line.len() - 2])).unwrap();
        black_box(parse_meta_result(header).unwrap());
    });
}
