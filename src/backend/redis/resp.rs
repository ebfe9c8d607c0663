//! RESP, the protocol of Redis: writes requests; frames and reads replies of RESP2, and what a connection that asks for
//! RESP3 needs of it. <https://redis.io/docs/reference/protocol-spec>

use memchr::memchr;

use crate::net::{Frame, Framing, MAX_LINE};
use crate::util::push_number;

/// Takes the place of a string that was too long to keep. It reads as a missing string; no server writes it in this way.
const OVERSIZED: &[u8] = b"$-01\r\n";
/// The most elements of one array: a reply to the largest batch.
const MAX_ELEMENTS: u64 = 1 << 24;

/// Writes a command: its parts, each of any bytes.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    begin(out, parts.len());
    for part in parts {
        bulk(out, part);
    }
}

/// Begins a command of so many parts, which `bulk` writes.
pub fn begin(out: &mut Vec<u8>, parts: usize) {
    header(out, b'*', parts);
}

/// Writes a part of a command.
pub fn bulk(out: &mut Vec<u8>, part: &[u8]) {
    bulk_of(out, &[part]);
}

/// Writes a part that consists of several pieces.
pub fn bulk_of(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    header(out, b'$', pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    push_number(out, number as u64);
    out.extend_from_slice(b"\r\n");
}

/// Finds the end of replies.
pub struct RespFraming {
    /// The longest string that is kept.
    max_bulk: u64,
    /// The position up to which the reply was read.
    position: usize,
    /// The number of elements still to come; a plain reply is one.
    elements: u64,
}

impl RespFraming {
    /// Makes a framing. Strings longer than this are dropped, and read as missing.
    pub fn new(max_bulk: u64) -> Self {
        Self { max_bulk, position: 0, elements: 1 }
    }

    fn element(&mut self, bytes: &[u8]) -> Result<Step, String> {
        let Some(rest) = bytes.get(self.position..).filter(|rest| !rest.is_empty()) else { return Ok(Step::Partial) };
        let Some(line) = memchr(b'\n', &rest[..rest.len().min(MAX_LINE)]) else {
            return if rest.len() < MAX_LINE { Ok(Step::Partial) } else { Err("a line that does not end".into()) };
        };
        let header = self.position..self.position + line + 1;
        let text = rest[..line].strip_suffix(b"\r").ok_or("a line that does not end in CR LF")?;
        let text = text.get(1..).ok_or("an empty line")?;
        match rest[0] {
            b'+' | b'-' => self.passed(header.end, 0),
            b':' => number(text).and_then(|_| self.passed(header.end, 0)),
            b'$' => match length(text, u64::MAX >> 1)? {
                None => self.passed(header.end, 0),
                Some(len) if len > self.max_bulk => Ok(Step::Oversized { header: (header.start, header.end), len }),
                #[allow(clippy::cast_possible_truncation)] // Not over `max_bulk`.
                Some(len) => self.string(bytes, header.end, len as usize),
            },
            b'*' => {
                let elements = length(text, MAX_ELEMENTS)?.unwrap_or(0);
                self.passed(header.end, elements)
            }
            b'>' | b'%' => {
                let parts = if rest[0] == b'%' { 2 } else { 1 };
                let elements = length(text, MAX_ELEMENTS / parts)?.unwrap_or(0) * parts;
                self.passed(header.end, elements)
            }
            b'_' => self.passed(header.end, 0),
            b'E' if text.starts_with(b"RROR") => Err("the server is Memcached: use memcached://".into()),
            other => Err(format!("it starts with the byte {other:#04x}")),
        }
    }

    fn string(&mut self, bytes: &[u8], start: usize, len: usize) -> Result<Step, String> {
        match bytes.get(start + len..start + len + 2) {
            None => Ok(Step::Partial),
            Some(b"\r\n") => self.passed(start + len + 2, 0),
            Some(_) => Err("a string with a wrong length".into()),
        }
    }

    fn passed(&mut self, end: usize, children: u64) -> Result<Step, String> {
        self.position = end;
        self.elements = self.elements - 1 + children;
        if self.elements > MAX_ELEMENTS { Err("a reply with too many elements".into()) } else { Ok(Step::Passed) }
    }
}

enum Step {
    Passed,
    Partial,
    Oversized { header: (usize, usize), len: u64 },
}

impl Framing for RespFraming {
    fn next(&mut self, bytes: &[u8]) -> Result<Frame, String> {
        while self.elements > 0 {
            match self.element(bytes)? {
                Step::Passed => {}
                Step::Partial => return Ok(Frame::Partial),
                // The string's own CR LF goes with it.
                Step::Oversized { header, len } => {
                    return Ok(Frame::Oversized { header, len: len + 2, instead: OVERSIZED });
                }
            }
        }
        let whole = std::mem::take(&mut self.position);
        self.elements = 1;
        Ok(Frame::Whole(whole))
    }
}

fn number(text: &[u8]) -> Result<i64, String> {
    // Lengths: up to nine digits, which no i64 overflows.
    if (1..10).contains(&text.len()) {
        let (mut number, mut are_digits) = (0, true);
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            are_digits &= digit < 10;
            number = number * 10 + i64::from(digit);
        }
        if are_digits {
            return Ok(number);
        }
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| "a malformed number".into())
}

/// Reads a length; `None` for -1, the missing string or array.
fn length(text: &[u8], most: u64) -> Result<Option<u64>, String> {
    match number(text)? {
        -1 => Ok(None),
        len => match u64::try_from(len) {
            Ok(len) if len <= most => Ok(Some(len)),
            _ => Err(format!("an invalid length of {len}")),
        },
    }
}

/// A reply, or an element of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RespValue<'a> {
    /// A status such as OK.
    Status(&'a [u8]),
    /// An error of the server.
    Error(&'a [u8]),
    /// A number.
    Number(i64),
    /// Bytes; `None`: missing.
    Bulk(Option<&'a [u8]>),
    /// So many elements, which come next.
    Array(u64),
    /// A message that the server sends without being asked, in RESP3: so many elements, which come next.
    Push(u64),
    /// A map, in RESP3: so many keys and values, which come next.
    Map(u64),
    /// Nothing, in RESP3.
    Null,
}

impl<'a> RespValue<'a> {
    /// Returns true for values that no server sends on a connection that has not asked for RESP3.
    pub fn is_of_resp3(self) -> bool {
        matches!(self, Self::Push(_) | Self::Map(_) | Self::Null)
    }

    /// Returns the bytes of a string that is not missing.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bulk(bytes) => bytes,
            Self::Status(text) => Some(text),
            _ => None,
        }
    }
}

/// Whole replies, element by element.
#[derive(Clone, Copy)]
pub struct RespReader<'a>(pub &'a [u8]);

impl<'a> Iterator for RespReader<'a> {
    type Item = RespValue<'a>;

    /// Returns the next element. Replies were framed before; a malformed one ends the iteration.
    fn next(&mut self) -> Option<RespValue<'a>> {
        let end = memchr(b'\n', self.0)?;
        let (line, rest) = self.0.split_at(end + 1);
        let text = line.get(1..end.checked_sub(1)?)?;
        self.0 = rest;
        Some(match line[0] {
            b'+' => RespValue::Status(text),
            b'-' => RespValue::Error(text),
            b':' => RespValue::Number(number(text).ok()?),
            b'*' => RespValue::Array(length(text, MAX_ELEMENTS).ok()?.unwrap_or(0)),
            b'>' => RespValue::Push(length(text, MAX_ELEMENTS).ok()?.unwrap_or(0)),
            b'%' => RespValue::Map(length(text, MAX_ELEMENTS / 2).ok()?.unwrap_or(0) * 2),
            b'_' => RespValue::Null,
            _ => RespValue::Bulk(self.string(text)?),
        })
    }
}

impl<'a> RespReader<'a> {
    /// Returns true if the next element is a string that was too long to keep.
    pub fn is_oversized(&self) -> bool {
        self.0.starts_with(OVERSIZED)
    }

    /// Returns true if the next element is an array that is missing, which reads as an empty one.
    pub fn is_missing_array(&self) -> bool {
        self.0.starts_with(b"*-1\r\n")
    }

    /// Cuts off the first reply with all its elements; nothing at the end.
    pub fn reply(&mut self) -> RespReader<'a> {
        let all = self.0;
        let mut elements = 1;
        while elements > 0 {
            match self.next() {
                Some(RespValue::Array(children) | RespValue::Push(children) | RespValue::Map(children)) => {
                    elements = elements - 1 + children;
                }
                Some(_) => elements -= 1,
                None => break,
            }
        }
        RespReader(&all[..all.len() - self.0.len()])
    }

    fn string(&mut self, text: &[u8]) -> Option<Option<&'a [u8]>> {
        let Some(len) = length(text, u64::MAX >> 1).ok()? else { return Some(None) };
        let (string, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest.get(2..)?;
        Some(Some(string))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{hostile_bytes, receive_in_pieces};

    fn frames(bytes: &[u8], at_once: usize) -> Result<Vec<usize>, String> {
        let (mut framing, mut lengths, mut start) = (RespFraming::new(1000), Vec::new(), 0);
        for end in (0..bytes.len()).step_by(at_once).map(|end| (end + at_once).min(bytes.len())) {
            while let Frame::Whole(len) = framing.next(&bytes[start..end])? {
                lengths.push(len);
                start += len;
            }
        }
        Ok(lengths)
    }

    #[test]
    fn replies_are_cut_off_wherever_their_bytes_are_split() {
        let bytes =
            b"+OK\r\n:12\r\n$5\r\nhe\nlo\r\n$-1\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n*-1\r\n*0\r\n-ERR no\r\n$0\r\n\r\n";
        for at_once in 1..bytes.len() + 1 {
            assert_eq!(frames(bytes, at_once).unwrap(), [5, 5, 11, 5, 19, 5, 4, 9, 6], "{at_once} at once");
        }
        let whole: Vec<RespValue> = RespReader(bytes).collect();
        assert_eq!(whole[2], RespValue::Bulk(Some(b"he\nlo")));
        assert_eq!(whole[3..6], [RespValue::Bulk(None), RespValue::Array(2), RespValue::Bulk(Some(b"a"))]);
        assert_eq!(whole.last(), Some(&RespValue::Bulk(Some(b""))));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"$5\r\nabcdefg\r\n",
            b":x\r\n",
            b"$-2\r\n",
            b"*99999999999\r\n",
            b"+OK\n",
            b"\n",
            b"\r\n",
            b"+OK\r\n\n",
            b"*1\r\n\n",
            b"*3\r\n$1\r\na\r\n!x\r\n",
        ] {
            assert!(frames(bytes, bytes.len()).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(frames(&[b'+'; MAX_LINE + 1], MAX_LINE + 1).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn hostile_bytes_are_refused_or_read_and_never_a_panic(
            bytes in hostile_bytes(&[b"+", b"-ERR no", b":", b"$", b"*", b"*2\r\n", b"$1\r\na\r\n", b"$5000\r\n", b"_\r\n", b"%1\r\n"]),
            at_once in 1..20usize,
        ) {
            if let Ok(replies) = receive_in_pieces(Box::new(RespFraming::new(1000)), &bytes, at_once) {
                replies.iter().for_each(|reply| assert!(!RespReader(reply).reply().0.is_empty()));
            }
            RespReader(&bytes).for_each(drop);
        }
    }

    #[test]
    fn a_string_that_is_too_long_is_named_where_it_begins() {
        let mut framing = RespFraming::new(3);
        let bytes = b"*2\r\n$1\r\na\r\n$4\r\nabcd\r\n";
        let oversized = Frame::Oversized { header: (11, 15), len: 6, instead: OVERSIZED };
        assert_eq!(framing.next(bytes), Ok(oversized));
    }

    #[test]
    fn a_command_is_written_as_an_array_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"GET", b"a\r\n0123456789"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$13\r\na\r\n0123456789\r\n");
    }
}
