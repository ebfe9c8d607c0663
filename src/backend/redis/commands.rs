//! Encoded commands, one after another, each with its slot and the kind of its reply.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use super::names::slot;
use super::resp::{self, RespValue};
use crate::error::Result;
use crate::util::random::random;

/// The most bytes that RESP adds to a part: its length and two ends of lines.
const PART_HEADER: usize = 16;
/// The digits of a tag version: all have as many, so that one takes the place of another.
const VERSION_DIGITS: usize = 20;

/// The servers that commands may be sent to, and whether they may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// May be read from a replica.
    Read,
    /// Has to go to the primary; doing it again does no harm.
    Repeatable,
    /// Has to go to the primary; done again, it could answer otherwise than the first time.
    Once,
}

/// The kind of reply to a command that the server carries out. A reply of another kind belongs to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// OK.
    Done,
    /// OK, or a missing string where a condition was not met.
    DoneIf,
    /// A string, which may be missing.
    String,
    Number,
    /// A number; a name that holds another type is no failure of the command's caller.
    Note,
    Array,
    /// A command that is not known here.
    Any,
    /// A command of the caller's choice: any reply, as a whole. An error is one, unless it says where or when to ask again.
    Reply,
}

impl Expected {
    /// Of a command of these parts.
    fn of(parts: &[&[u8]]) -> Self {
        match parts.first().copied().unwrap_or_default() {
            b"GET" | b"GETRANGE" => Self::String,
            b"SET" if parts[1..].last().is_some_and(|last| *last == b"NX") => Self::DoneIf,
            b"SET" => Self::Done,
            b"MGET" | b"ZRANGE" => Self::Array,
            b"UNLINK" | b"PEXPIRE" | b"PERSIST" | b"PTTL" | b"STRLEN" => Self::Number,
            b"ZADD" => Self::Note,
            b"EVAL" | b"EVALSHA" => Self::Number,
            b"ZREM" | b"ZREMRANGEBYSCORE" => Self::Number,
            _ => Self::Any,
        }
    }

    /// Returns whether WRONGTYPE counts as a reply to the command: the name holds a value that is not the library's.
    pub fn takes_other_types(self) -> bool {
        matches!(self, Self::String | Self::Array | Self::Note)
    }

    /// Returns whether a reply can be the one to the command.
    pub fn fits(self, reply: RespValue<'_>) -> bool {
        match self {
            Self::Done => reply == RespValue::Status(b"OK"),
            Self::DoneIf => matches!(reply, RespValue::Status(b"OK") | RespValue::Bulk(None)),
            Self::String => matches!(reply, RespValue::Bulk(_)),
            Self::Number | Self::Note => matches!(reply, RespValue::Number(_)),
            Self::Array => matches!(reply, RespValue::Array(_)),
            Self::Any | Self::Reply => !matches!(reply, RespValue::Error(_)),
        }
    }
}

/// Commands, each with one reply.
pub struct Commands {
    pub kind: Kind,
    bytes: Vec<u8>,
    /// The end of each command in `bytes`, and the kind of its reply.
    ends: SmallVec<[(usize, Expected); 1]>,
    slots: Vec<u16>,
    /// The commands with a tag version of their own, and where its digits begin.
    versions: Vec<(usize, usize)>,
    clustered: bool,
    is_reordered: AtomicBool,
}

impl Commands {
    pub fn new(kind: Kind, clustered: bool) -> Self {
        let ends = SmallVec::new();
        Self {
            kind,
            bytes: Vec::new(),
            ends,
            slots: Vec::new(),
            versions: Vec::new(),
            clustered,
            is_reordered: AtomicBool::new(false),
        }
    }

    /// Notes that a command is sent again after a later one of its slot was answered.
    pub fn note_reordered(&self) {
        self.is_reordered.store(true, Relaxed);
    }

    /// Returns true unless the commands of each slot were carried out in their order.
    pub fn is_reordered(&self) -> bool {
        self.is_reordered.load(Relaxed)
    }

    /// Adds a command of these parts, about a name.
    pub fn push(&mut self, name: &[u8], parts: &[&[u8]]) {
        self.push_for(name, parts, Expected::of(parts));
    }

    /// Adds a command of these parts, about a name, with the kind of its reply.
    pub fn push_for(&mut self, name: &[u8], parts: &[&[u8]], expected: Expected) {
        // One allocation for a call of one command.
        self.bytes.reserve(parts.iter().map(|part| part.len() + PART_HEADER).sum::<usize>() + PART_HEADER);
        resp::command(&mut self.bytes, parts);
        self.ends.push((self.bytes.len(), expected));
        if self.clustered {
            self.slots.push(slot(name));
        }
    }

    /// Adds a SET that has a new tag version between these parts. Each time that it is sent it has another one: a
    /// copy that arrives late must not bring back a version that entries were set with meanwhile.
    /// Returns the first of them.
    pub fn push_with_version(&mut self, name: &[u8], before: &[&[u8]], after: &[&[u8]]) -> Result<u64> {
        let number = random()?;
        let version = digits(number);
        let start = self.bytes.len();
        resp::begin(&mut self.bytes, before.len() + 1 + after.len());
        before.iter().for_each(|part| resp::bulk(&mut self.bytes, part));
        resp::bulk(&mut self.bytes, &version);
        self.versions.push((self.len(), self.bytes.len() - start - VERSION_DIGITS - b"\r\n".len()));
        after.iter().for_each(|part| resp::bulk(&mut self.bytes, part));
        let is_conditional = after.last().is_some_and(|last| *last == b"NX");
        self.ends.push((self.bytes.len(), if is_conditional { Expected::DoneIf } else { Expected::Done }));
        if self.clustered {
            self.slots.push(slot(name));
        }
        Ok(number)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether a reply that is too long would be so again: the caller asks for less, or reports it.
    pub fn may_be_too_long(&self) -> bool {
        self.ends.iter().any(|(_, expected)| matches!(expected, Expected::Array | Expected::Reply))
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One of them.
    pub fn command(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        &self.bytes[start..self.ends[index].0]
    }

    /// Returns the kind of reply to one of the commands.
    pub fn expected(&self, index: usize) -> Expected {
        self.ends[index].1
    }

    /// Writes one of them as it is sent again: with another tag version, if it has one.
    pub fn write_again(&self, index: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.extend_from_slice(self.command(index));
        if let Some((_, at)) = self.versions.iter().find(|(with_version, _)| *with_version == index) {
            out[start + at..start + at + VERSION_DIGITS].copy_from_slice(&digits(random()?));
        }
        Ok(())
    }

    /// Returns the slot of one; 0 outside a cluster, which has no slots.
    pub fn slot(&self, index: usize) -> u16 {
        self.slots.get(index).copied().unwrap_or(0)
    }
}

/// A tag version in digits.
fn digits(mut number: u64) -> [u8; VERSION_DIGITS] {
    let mut digits = [b'0'; VERSION_DIGITS];
    for digit in digits.iter_mut().rev() {
        #[allow(clippy::cast_possible_truncation)] // One digit.
        let value = (number % 10) as u8;
        *digit = b'0' + value;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_another_kind_does_not_fit() {
        let fits = |parts: &[&[u8]], reply| Expected::of(parts).fits(reply);
        let (ok, one, none) = (RespValue::Status(b"OK"), RespValue::Number(1), RespValue::Bulk(None));
        assert!(
            fits(&[b"SET", b"n", b"v"], ok) && !fits(&[b"SET", b"n", b"v"], one) && !fits(&[b"SET", b"n", b"NX"], one)
        );
        assert!(!fits(&[b"SET", b"n", b"v"], none) && fits(&[b"SET", b"n", b"v", b"NX"], none));
        assert!(!fits(&[b"SET", b"n", b"v"], RespValue::Status(b"QUEUED")));
        assert!(fits(&[b"GET", b"n"], none) && !fits(&[b"GET", b"n"], ok));
        assert!(fits(&[b"UNLINK", b"n"], one) && !fits(&[b"UNLINK", b"n"], ok));
        assert!(fits(&[b"MGET", b"n"], RespValue::Array(1)) && !fits(&[b"MGET", b"n"], none));
        assert!(!fits(&[b"WAIT", b"1"], RespValue::Error(b"ERR")));
    }

    #[test]
    fn a_command_that_is_sent_again_has_another_version_and_is_the_same_otherwise() {
        let mut commands = Commands::new(Kind::Repeatable, true);
        commands.push(b"n", &[b"GET", b"n"]);
        commands.push_with_version(b"n", &[b"SET", b"n"], &[b"NX"]).unwrap();
        let (mut plain, mut again) = (Vec::new(), Vec::new());
        commands.write_again(0, &mut plain).unwrap();
        commands.write_again(1, &mut again).unwrap();
        assert_eq!(plain, commands.command(0));
        let first = commands.command(1);
        let digits = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').nth(6).unwrap().trim_ascii_end().to_vec();
        assert!(digits(first).len() == VERSION_DIGITS && digits(first).iter().all(u8::is_ascii_digit));
        assert_ne!(digits(first), digits(&again));
        let masked =
            |bytes: &[u8]| bytes.escape_ascii().to_string().replace(&digits(bytes).escape_ascii().to_string(), "V");
        assert_eq!(masked(first), masked(&again));
        assert!(masked(first).ends_with("V\\r\\n$2\\r\\nNX\\r\\n"));
    }
}
