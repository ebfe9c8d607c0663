//! The binary protocol: writes, frames, reads and checks packets.
//! <https://github.com/memcached/memcached/wiki/BinaryProtocolRevamped>

use crate::backend::memcached::command::{Command, Condition, Mismatch, Reply};
use crate::backend::memcached::server_error::ServerError;
use crate::net::{Frame, Framing};

/// The length of a packet's header.
const HEADER: usize = 24;
const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
/// The most bytes of a packet in addition to its value: extras and name.
const OVERHEAD: u64 = 1024;
/// The most bytes of statistics.
const MAX_STATISTICS: usize = 1 << 20;
/// Stands for a packet that was too large to keep; no server sends it.
const OVERSIZED: &[u8] = &[RESPONSE, DROPPED, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const DROPPED: u8 = 0xff;

/// The operations that are used, by their codes.
pub mod opcode {
    pub const SET: u8 = 0x01;
    pub const ADD: u8 = 0x02;
    pub const DELETE: u8 = 0x04;
    pub const INCREMENT: u8 = 0x05;
    pub const NO_OPERATION: u8 = 0x0a;
    pub const VERSION: u8 = 0x0b;
    pub const GET_WITH_KEY: u8 = 0x0c;
    pub const STATISTICS: u8 = 0x10;
    pub const SASL_START: u8 = 0x21;
}

/// A packet that changes nothing.
pub const NO_OPERATION: &[u8] =
    &[REQUEST, opcode::NO_OPERATION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

mod status {
    pub const DONE: u16 = 0x00;
    pub const MISSING: u16 = 0x01;
    pub const EXISTS: u16 = 0x02;
    pub const NOT_STORED: u16 = 0x05;
}

/// The parts of a packet in addition to its operation.
#[derive(Default)]
pub struct Parts<'a> {
    pub opaque: u32,
    pub version: u64,
    pub extras: &'a [u8],
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// Writes a packet.
#[allow(clippy::cast_possible_truncation)] // Names end at 250 bytes, values at what a connection takes.
pub fn packet(out: &mut Vec<u8>, opcode: u8, parts: &Parts) {
    let body = (parts.extras.len() + parts.key.len() + parts.value.len()) as u32;
    out.extend_from_slice(&[REQUEST, opcode]);
    out.extend_from_slice(&(parts.key.len() as u16).to_be_bytes());
    out.extend_from_slice(&[parts.extras.len() as u8, 0, 0, 0]);
    out.extend_from_slice(&body.to_be_bytes());
    out.extend_from_slice(&parts.opaque.to_be_bytes());
    out.extend_from_slice(&parts.version.to_be_bytes());
    out.extend_from_slice(parts.extras);
    out.extend_from_slice(parts.key);
    out.extend_from_slice(parts.value);
}

/// Writes a command.
pub fn write(out: &mut Vec<u8>, opaque: u32, command: &Command) {
    let key = command.name();
    let plain = Parts { opaque, key, ..Parts::default() };
    match command {
        Command::Get { .. }
        | Command::Peek { .. }
        | Command::GetMarked { .. }
        | Command::Inspect { .. }
        | Command::Mark { .. }
        | Command::Delete { .. } => packet(out, operation(command), &plain),
        Command::DeleteIf { version, .. } => packet(out, operation(command), &Parts { version: *version, ..plain }),
        Command::Set { bytes, flags, expiry, condition, .. } => {
            let version = if let Condition::Unchanged(version) = condition { *version } else { 0 };
            let extras = [flags.to_be_bytes(), expiry.to_be_bytes()];
            let parts = Parts { version, extras: extras.as_flattened(), value: bytes, ..plain };
            packet(out, operation(command), &parts);
        }
        Command::Count { seed, add, .. } => {
            // Then 0: it never expires.
            let mut extras = [0; 20];
            extras[..8].copy_from_slice(&add.to_be_bytes());
            extras[8..16].copy_from_slice(&seed.to_be_bytes());
            packet(out, opcode::INCREMENT, &Parts { extras: &extras, ..plain });
        }
    }
}

fn operation(command: &Command) -> u8 {
    match command {
        Command::Get { .. }
        | Command::Peek { .. }
        | Command::GetMarked { .. }
        | Command::Inspect { .. }
        | Command::Mark { .. } => opcode::GET_WITH_KEY,
        Command::Set { condition: Condition::Absent, .. } => opcode::ADD,
        Command::Set { .. } => opcode::SET,
        Command::Delete { .. } | Command::DeleteIf { .. } => opcode::DELETE,
        Command::Count { .. } => opcode::INCREMENT,
    }
}

/// A packet from a server.
pub struct Packet<'a> {
    pub opcode: u8,
    pub status: u16,
    pub opaque: u32,
    version: u64,
    extras: &'a [u8],
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Cuts a packet off; `None` if it is not whole, or contradicts itself.
    pub fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let [magic, opcode, key_1, key_2, extras, _, status_1, status_2, body @ .., _, _, _, _, _, _, _, _] = *header;
        let [body_1, body_2, body_3, body_4, opaque @ ..] = body;
        let (body, after) = rest.split_at_checked(u32::from_be_bytes([body_1, body_2, body_3, body_4]) as usize)?;
        let (extras, body) = body.split_at_checked(extras.into())?;
        let (key, value) = body.split_at_checked(u16::from_be_bytes([key_1, key_2]).into())?;
        let version = u64::from_be_bytes(*header.last_chunk()?);
        *bytes = after;
        let status = u16::from_be_bytes([status_1, status_2]);
        (magic == RESPONSE).then_some(Self {
            opcode,
            status,
            opaque: u32::from_be_bytes(opaque),
            version,
            extras,
            key,
            value,
        })
    }
}

/// Reads a reply that was framed before.
pub fn read<'a>(replies: &mut &'a [u8], opaque: u32, command: &Command) -> Result<Reply<'a>, Mismatch> {
    let packet = Packet::take(replies).ok_or(Mismatch("a malformed packet header"))?;
    if packet.opcode == DROPPED {
        return Ok(Reply::Missing);
    }
    if packet.opcode != operation(command) || packet.opaque != opaque {
        return Err(Mismatch("a reply to another request"));
    }
    match packet.status {
        status::DONE => done(&packet, command),
        status::MISSING => Ok(Reply::Missing),
        status::EXISTS | status::NOT_STORED => Ok(Reply::Changed),
        other => Ok(Reply::Refused(ServerError::of_status(other), packet.value)),
    }
}

fn done<'a>(packet: &Packet<'a>, command: &Command) -> Result<Reply<'a>, Mismatch> {
    match command {
        command if command.is_read() && packet.key == command.name() => {
            let flags = packet.extras.first_chunk().map_or(0, |flags| u32::from_be_bytes(*flags));
            Ok(Reply::Value { bytes: packet.value, flags, version: packet.version })
        }
        Command::Get { .. }
        | Command::Peek { .. }
        | Command::GetMarked { .. }
        | Command::Inspect { .. }
        | Command::Mark { .. } => Err(Mismatch("the value of another key")),
        Command::Count { .. } => {
            let number = packet.value.try_into().map_err(|_| Mismatch("a malformed number"))?;
            Ok(Reply::Number(u64::from_be_bytes(number)))
        }
        Command::Set { .. } | Command::Delete { .. } | Command::DeleteIf { .. } => Ok(Reply::Done),
    }
}

/// Finds the end of replies.
pub struct BinaryFraming {
    /// The longest body of a packet that is kept.
    max_body: u64,
    /// The end of the packets of statistics that were framed so far.
    position: usize,
    /// A packet was dropped, and its stand-in comes next.
    dropped: bool,
}

impl BinaryFraming {
    /// Makes a framing. Values longer than this are dropped, and read as missing.
    pub fn new(max_value: u64) -> Self {
        Self { max_body: max_value.saturating_add(OVERHEAD), position: 0, dropped: false }
    }
}

impl Framing for BinaryFraming {
    fn next(&mut self, bytes: &[u8]) -> Result<Frame, String> {
        loop {
            let rest = &bytes[self.position.min(bytes.len())..];
            match rest.first() {
                None => return Ok(Frame::Partial),
                Some(&RESPONSE) => {}
                Some(_) => return Err(format!("not a packet: {}", rest[..rest.len().min(40)].escape_ascii())),
            }
            let Some(header) = rest.first_chunk::<HEADER>() else { return Ok(Frame::Partial) };
            let (opcode, status) = (header[1], u16::from_be_bytes([header[6], header[7]]));
            if opcode == DROPPED && !std::mem::take(&mut self.dropped) {
                return Err("an unknown opcode".into());
            }
            let key = u64::from(u16::from_be_bytes([header[2], header[3]]));
            let body = u64::from(u32::from_be_bytes([header[8], header[9], header[10], header[11]]));
            if key + u64::from(header[4]) > body {
                return Err("a packet with inconsistent lengths".into());
            }
            if body > self.max_body {
                self.dropped = true;
                let start = self.position;
                return Ok(Frame::Oversized { header: (start, start + HEADER), len: body, instead: OVERSIZED });
            }
            #[allow(clippy::cast_possible_truncation)] // Not over `max_body`.
            let end = self.position + HEADER + body as usize;
            if bytes.len() < end {
                return Ok(Frame::Partial);
            }
            // Statistics end with a packet that has none.
            if opcode != opcode::STATISTICS || key == 0 || status != status::DONE {
                self.position = 0;
                return Ok(Frame::Whole(end));
            }
            if end > MAX_STATISTICS {
                return Err("statistics that do not end".into());
            }
            self.position = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{hostile_bytes, receive_in_pieces};

    const GET: Command = Command::Get { name: b"name" };

    fn reply(opcode: u8, status: u16, parts: &Parts) -> Vec<u8> {
        let mut out = Vec::new();
        packet(&mut out, opcode, parts);
        out[0] = RESPONSE;
        out[6..8].copy_from_slice(&status.to_be_bytes());
        out
    }

    fn got(opaque: u32, key: &[u8]) -> Vec<u8> {
        let extras = &[0, 0, 0, 5];
        reply(opcode::GET_WITH_KEY, 0, &Parts { opaque, version: 9, extras, key, value: b"a\r\nb" })
    }

    #[test]
    fn a_reply_is_read_with_what_it_repeats() {
        let expected = Reply::Value { bytes: b"a\r\nb", flags: 5, version: 9 };
        assert_eq!(read(&mut &*got(42, b"name"), 42, &GET), Ok(expected));
        let missing = reply(opcode::GET_WITH_KEY, 1, &Parts { opaque: 42, value: b"Not found", ..Parts::default() });
        assert_eq!(read(&mut &*missing, 42, &GET), Ok(Reply::Missing));
        let count = Command::Count { name: b"name", seed: 1, add: 1 };
        let number = reply(opcode::INCREMENT, 0, &Parts { opaque: 42, value: &7u64.to_be_bytes(), ..Parts::default() });
        assert_eq!(read(&mut &*number, 42, &count), Ok(Reply::Number(7)));
        let full = reply(opcode::GET_WITH_KEY, 0x82, &Parts { opaque: 42, value: b"no", ..Parts::default() });
        assert_eq!(read(&mut &*full, 42, &GET), Ok(Reply::Refused(ServerError::Memory, b"no")));
    }

    #[test]
    fn a_reply_to_another_request_is_found_out() {
        assert!(read(&mut &*got(41, b"name"), 42, &GET).is_err());
        assert!(read(&mut &*got(42, b"other"), 42, &GET).is_err());
        assert!(read(&mut &*got(42, b"name"), 42, &Command::Delete { name: b"name" }).is_err());
        assert!(read(&mut &b""[..], 42, &GET).is_err());
        let whole = got(42, b"name");
        for end in 0..whole.len() {
            assert!(read(&mut &whole[..end], 42, &GET).is_err());
        }
    }

    #[test]
    fn packets_are_cut_off_wherever_their_bytes_are_split() {
        let statistic = reply(opcode::STATISTICS, 0, &Parts { key: b"pid", value: b"1", ..Parts::default() });
        let last = reply(opcode::STATISTICS, 0, &Parts::default());
        let bytes = [got(1, b"name"), statistic.clone(), statistic, last, got(2, b"n")].concat();
        for at_once in 1..bytes.len() + 1 {
            let (mut framing, mut lengths, mut start) = (BinaryFraming::new(100), Vec::new(), 0);
            for end in (0..bytes.len()).step_by(at_once).map(|end| (end + at_once).min(bytes.len())) {
                while let Frame::Whole(len) = framing.next(&bytes[start..end]).unwrap() {
                    lengths.push(len);
                    start += len;
                }
            }
            assert_eq!(lengths, [36, 28 * 2 + 24, 33], "{at_once} at once");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_and_what_is_too_large_gives_way() {
        let mut framing = BinaryFraming::new(1000);
        assert!(framing.next(b"ERROR\r\n").is_err() && framing.next(OVERSIZED).is_err());
        let mut lying = got(1, b"name");
        lying[2] = 1;
        assert!(framing.next(&lying).is_err());
        let mut large = got(1, b"name");
        large[8..12].copy_from_slice(&(1u32 << 30).to_be_bytes());
        assert_eq!(framing.next(&large), Ok(Frame::Oversized { header: (0, 24), len: 1 << 30, instead: OVERSIZED }));
        assert_eq!(framing.next(OVERSIZED), Ok(Frame::Whole(24)));
        assert_eq!(read(&mut &*OVERSIZED, 1, &GET), Ok(Reply::Missing));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn hostile_bytes_are_refused_or_read_and_never_a_panic(
            bytes in hostile_bytes(&[OVERSIZED, b"\x81\x0c\0\0\0\0\0\0", b"\x81\x10\0\x01\0\0\0\0\0\0\0\x01", b"\0\0\0\0\0\0\0\0\0\0\0\0", b"\0\0\x10\0", b"\x81\x0c\0\0\x04\0\0\0\0\0\0\x05"]),
            at_once in 1..20usize,
        ) {
            if let Ok(replies) = receive_in_pieces(Box::new(BinaryFraming::new(1000)), &bytes, at_once) {
                replies.iter().for_each(|reply| { let _ = read(&mut &**reply, 0, &GET); });
            }
            let _ = read(&mut &*bytes, 0, &GET);
        }
    }

    #[test]
    fn commands_are_packets() {
        let mut out = Vec::new();
        write(&mut out, 42, &Command::Count { name: b"name", seed: 3, add: 1 });
        assert_eq!(out.len(), 24 + 20 + 4);
        assert_eq!(out[..4], [0x80, 5, 0, 4]);
        assert_eq!(out[12..16], 42u32.to_be_bytes());
        out.clear();
        let condition = Condition::Unchanged(9);
        write(&mut out, 1, &Command::Set { name: b"n", bytes: b"v", flags: 2, expiry: 3, condition });
        assert_eq!(out[16..24], 9u64.to_be_bytes());
        assert_eq!(out[24..], [0, 0, 0, 2, 0, 0, 0, 3, b'n', b'v']);
    }
}
