//! The meta protocol: writes commands; frames, reads and checks replies.
//! <https://github.com/memcached/memcached/blob/master/doc/protocol.txt>
//!
//! Written here and not taken from the crate `memcache`: its reader makes a
//! vector of each flag of each reply and hides the length of a value, which
//! framing needs first.

use memchr::memchr;

use crate::backend::memcached::command::{Command, Condition, Mismatch, Reply};
use crate::backend::memcached::server_error::ServerError;
use crate::net::{Frame, Framing};
use crate::util::{push_number, split_number};

/// The longest line: a name of 250 bytes is repeated, and a crawler's line writes each byte of it as three.
const MAX_LINE: usize = 4096;
/// The most bytes of statistics.
const MAX_STATISTICS: usize = 1 << 20;
/// Stands for a value that was too large to keep; no server sends it.
pub(super) const OVERSIZED: &[u8] = b"TL\r\n";
/// Codes of one line, with and without a meaning of their own here.
const CODES: [&[u8]; 8] = [b"HD", b"EN", b"NF", b"NS", b"EX", b"MN", b"OK", b"ME"];
const WORDS: [&[u8]; 12] = [
    b"ERROR",
    b"CLIENT_ERROR",
    b"SERVER_ERROR",
    b"VERSION",
    b"STORED",
    b"NOT_STORED",
    b"END",
    b"BUSY",
    b"BADCLASS",
    b"RESET",
    b"NOTSTARTED",
    b"locked",
];

/// Writes a command.
pub fn write(out: &mut Vec<u8>, opaque: u32, command: &Command) {
    let code: &[u8] = match command {
        Command::Get { .. }
        | Command::Peek { .. }
        | Command::GetMarked { .. }
        | Command::Inspect { .. }
        | Command::Mark { .. } => b"mg ",
        Command::Set { .. } => b"ms ",
        Command::Delete { .. } | Command::DeleteIf { .. } => b"md ",
        Command::Count { .. } => b"ma ",
    };
    out.extend_from_slice(code);
    out.extend_from_slice(command.name());
    if let Command::Set { bytes, .. } = command {
        out.push(b' ');
        push_number(out, bytes.len() as u64);
    }
    // Both come back with every reply, and are compared.
    out.extend_from_slice(b" k O");
    push_number(out, opaque.into());
    write_flags(out, command);
    out.extend_from_slice(b"\r\n");
    if let Command::Set { bytes, .. } = command {
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_flags(out: &mut Vec<u8>, command: &Command) {
    match command {
        Command::Get { .. } | Command::Peek { .. } => out.extend_from_slice(b" v"),
        Command::Mark { .. } => out.extend_from_slice(b" c"),
        Command::GetMarked { .. } => out.extend_from_slice(b" v f c"),
        // u: the order of eviction stays.
        Command::Inspect { .. } => out.extend_from_slice(b" v f u"),
        Command::Delete { .. } => {}
        Command::DeleteIf { version, .. } => number_flag(out, b'C', *version),
        Command::Set { flags, expiry, condition, .. } => {
            number_flag(out, b'T', (*expiry).into());
            if *flags != 0 {
                number_flag(out, b'F', (*flags).into());
            }
            match condition {
                Condition::Always => {}
                Condition::Absent => out.extend_from_slice(b" ME"),
                Condition::Unchanged(version) => number_flag(out, b'C', *version),
            }
        }
        Command::Count { seed, add, .. } => {
            out.extend_from_slice(b" N0");
            number_flag(out, b'J', *seed);
            number_flag(out, b'D', *add);
            out.extend_from_slice(b" v");
        }
    }
}

fn number_flag(out: &mut Vec<u8>, flag: u8, number: u64) {
    out.extend_from_slice(&[b' ', flag]);
    push_number(out, number);
}

/// Reads a reply that was framed before.
pub fn read<'a>(replies: &mut &'a [u8], opaque: u32, command: &Command) -> Result<Reply<'a>, Mismatch> {
    let (line, rest) = split_line(replies)?;
    *replies = rest;
    if let Some(line) = line.strip_prefix(b"VA ") {
        let (len, flags) = split_number(line).ok_or(Mismatch("a value without its length"))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (value, rest) = rest.split_at_checked(len).ok_or(Mismatch("a truncated value"))?;
        *replies = rest.strip_prefix(b"\r\n").ok_or(Mismatch("a value with a wrong length"))?;
        return value_reply(value, &Marks::read(flags, opaque, command.name())?, command);
    }
    let (code, flags) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
    let marks = || Marks::read(flags, opaque, command.name());
    match code {
        // The reader of the connection wrote it in place of a value and its checks.
        b"TL" => Ok(Reply::Missing),
        b"HD" if matches!(command, Command::Mark { .. }) => {
            marks().map(|marks| Reply::Value { bytes: b"", flags: 0, version: marks.version })
        }
        b"HD" => marks().map(|_| Reply::Done),
        b"EN" | b"NF" => marks().map(|_| Reply::Missing),
        b"EX" | b"NS" => marks().map(|_| Reply::Changed),
        b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => Ok(Reply::Refused(ServerError::of_line(line), line)),
        _ => Err(Mismatch("a reply to another command")),
    }
}

/// Splits the first line, without its end, from the rest.
pub(super) fn split_line(replies: &[u8]) -> Result<(&[u8], &[u8]), Mismatch> {
    let end = memchr(b'\n', replies).ok_or(Mismatch("too few replies"))?;
    let line = replies[..end].strip_suffix(b"\r").ok_or(Mismatch("a line that does not end in CR LF"))?;
    Ok((line, &replies[end + 1..]))
}

fn value_reply<'a>(value: &'a [u8], marks: &Marks, command: &Command) -> Result<Reply<'a>, Mismatch> {
    match command {
        Command::Count { .. } => number(value).map(Reply::Number).ok_or(Mismatch("a malformed number")),
        command if command.is_read() => Ok(Reply::Value { bytes: value, flags: marks.flags, version: marks.version }),
        _ => Err(Mismatch("an unexpected value")),
    }
}

/// The flags of a reply: those that it repeats, and those that it adds.
#[derive(Default)]
struct Marks {
    flags: u32,
    version: u64,
}

impl Marks {
    /// Reads the flags of a reply, which has to repeat the number and the name of its request.
    fn read(mut flags: &[u8], opaque: u32, name: &[u8]) -> Result<Self, Mismatch> {
        const OTHER: Mismatch = Mismatch("a reply to another request");
        let (mut marks, mut has_number, mut has_name) = (Self::default(), false, false);
        while let [b' ', flag @ ..] = flags {
            flags = match flag {
                [b'k', echo @ ..] => {
                    has_name = true;
                    echo.strip_prefix(name).ok_or(OTHER)?
                }
                [kind @ (b'O' | b'f' | b'c'), text @ ..] => {
                    let (number, rest) = split_number(text).ok_or(OTHER)?;
                    match kind {
                        b'O' if number != u64::from(opaque) => return Err(OTHER),
                        b'O' => has_number = true,
                        b'f' => marks.flags = u32::try_from(number).unwrap_or(0),
                        _ => marks.version = number,
                    }
                    rest
                }
                other => &other[other.iter().position(|byte| *byte == b' ').unwrap_or(other.len())..],
            };
        }
        // A flag that is longer than what was read of it leaves a rest.
        if flags.is_empty() && has_number && has_name { Ok(marks) } else { Err(OTHER) }
    }
}

/// Reads a number in decimal digits; Memcached leaves spaces behind one that became shorter.
pub fn number(text: &[u8]) -> Option<u64> {
    let (number, rest) = split_number(text)?;
    rest.trim_ascii_start().is_empty().then_some(number)
}

/// Returns the length of a listed value, which ends its line. It is short: a search for many bytes at once would be slower.
fn listed_length(line: &[u8]) -> Option<u64> {
    let before = line.iter().rposition(|byte| *byte == b' ')?;
    number(&line[before + 1..])
}

/// Returns the length of a value, which its flags may follow.
fn value_length(line: &[u8]) -> Option<u64> {
    let (len, flags) = split_number(line)?;
    matches!(flags, [] | [b' ', ..]).then_some(len)
}

/// Finds the end of replies.
pub struct MetaFraming {
    /// The longest value that is kept.
    max_value: u64,
    /// The position up to which the reply has no end.
    position: usize,
    /// The end of a value whose line was read.
    whole: Option<usize>,
    /// The reply is a list of values, which continues behind a value.
    is_list: bool,
    /// A value was dropped, and its stand-in comes next.
    dropped: bool,
}

impl MetaFraming {
    /// Values longer than this are dropped, and read as missing.
    pub fn new(max_value: u64) -> Self {
        Self { max_value, position: 0, whole: None, is_list: false, dropped: false }
    }

    /// Frames a value of this length, which begins at `start`, behind its line. `None`: the reply continues behind it.
    fn value(&mut self, len: Option<u64>, start: usize, bytes: &[u8]) -> Result<Option<Frame>, String> {
        let len = len.ok_or("a value without its length")?;
        if len > self.max_value {
            self.dropped = true;
            // The line end behind the value goes with it.
            let (header, len) = ((self.position, start), len.saturating_add(2));
            return Ok(Some(Frame::Oversized { header, len, instead: OVERSIZED }));
        }
        let len = usize::try_from(len).map_err(|_| "a value that does not end")?;
        self.whole = Some(start + len + 2);
        self.rest_of_value(bytes)
    }

    fn rest_of_value(&mut self, bytes: &[u8]) -> Result<Option<Frame>, String> {
        let Some(whole) = self.whole.filter(|whole| *whole <= bytes.len()) else { return Ok(Some(Frame::Partial)) };
        self.whole = None;
        if !bytes[..whole].ends_with(b"\r\n") {
            return Err("a value with a wrong length".into());
        }
        if self.is_list { Ok(self.goes_on(whole)) } else { self.done(whole).map(Some) }
    }

    /// Continues a reply behind a part of it.
    fn goes_on(&mut self, end: usize) -> Option<Frame> {
        self.position = end;
        None
    }

    #[allow(clippy::unnecessary_wraps)] // What its callers return.
    fn done(&mut self, whole: usize) -> Result<Frame, String> {
        (self.position, self.is_list) = (0, false);
        Ok(Frame::Whole(whole))
    }

    /// Frames a line that is one reply, or one of many.
    fn line(&mut self, line: &[u8], end: usize) -> Result<Option<Frame>, String> {
        let code = &line[..memchr(b' ', line).unwrap_or(line.len())];
        let is_dropped = code == b"TL" && std::mem::take(&mut self.dropped);
        if is_dropped && self.is_list {
            return Ok(self.goes_on(end));
        }
        if is_dropped || CODES.contains(&code) || WORDS.contains(&code) {
            return self.done(end).map(Some);
        }
        if code == b"STAT" && end < MAX_STATISTICS {
            return Ok(self.goes_on(end));
        }
        if [&b"-ERR"[..], b"-NOAUTH", b"-DENIED", b"-NOPERM"].contains(&code) {
            return Err("the server is Redis: use redis://".into());
        }
        Err(format!("it starts with {}", line[..line.len().min(40)].escape_ascii()))
    }
}

impl Framing for MetaFraming {
    fn next(&mut self, bytes: &[u8]) -> Result<Frame, String> {
        if self.whole.is_some()
            && let Some(frame) = self.rest_of_value(bytes)?
        {
            return Ok(frame);
        }
        loop {
            let rest = &bytes[self.position.min(bytes.len())..];
            let Some(end) = memchr(b'\n', &rest[..rest.len().min(MAX_LINE)]) else {
                return if rest.len() < MAX_LINE { Ok(Frame::Partial) } else { Err("a line that does not end".into()) };
            };
            let line = rest[..end].strip_suffix(b"\r").ok_or("a line that does not end in CR LF")?;
            let line_end = self.position + end + 1;
            let single = line.strip_prefix(b"VA ").filter(|_| self.position == 0);
            let frame = if let Some(line) = single {
                self.value(value_length(line), line_end, bytes)?
            } else if line.starts_with(b"VALUE ") {
                self.is_list = true;
                self.value(listed_length(line), line_end, bytes)?
            } else {
                self.line(line, line_end)?
            };
            if let Some(frame) = frame {
                return Ok(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{hostile_bytes, receive_in_pieces};

    const GET: Command = Command::Get { name: b"name" };

    fn frames(bytes: &[u8], at_once: usize) -> Result<Vec<usize>, String> {
        let (mut framing, mut lengths, mut start) = (MetaFraming::new(1000), Vec::new(), 0);
        for end in (0..bytes.len()).step_by(at_once).map(|end| (end + at_once).min(bytes.len())) {
            while let Frame::Whole(len) = framing.next(&bytes[start..end])? {
                lengths.push(len);
                start += len;
            }
        }
        Ok(lengths)
    }

    #[test]
    fn commands_ask_for_number_and_name_again() {
        let written = |command| {
            let mut out = Vec::new();
            write(&mut out, 42, &command);
            String::from_utf8(out).unwrap()
        };
        let (name, bytes) = (&b"name"[..], &b"a\r\nb"[..]);
        assert_eq!(written(GET), "mg name k O42 v\r\n");
        assert_eq!(written(Command::GetMarked { name }), "mg name k O42 v f c\r\n");
        assert_eq!(written(Command::Inspect { name }), "mg name k O42 v f u\r\n");
        assert_eq!(written(Command::Delete { name }), "md name k O42\r\n");
        assert_eq!(written(Command::DeleteIf { name, version: 9 }), "md name k O42 C9\r\n");
        let set = |flags, condition| Command::Set { name, bytes, flags, expiry: 10, condition };
        assert_eq!(written(set(0, Condition::Always)), "ms name 4 k O42 T10\r\na\r\nb\r\n");
        assert_eq!(written(set(0, Condition::Absent)), "ms name 4 k O42 T10 ME\r\na\r\nb\r\n");
        assert_eq!(written(set(7, Condition::Unchanged(9))), "ms name 4 k O42 T10 F7 C9\r\na\r\nb\r\n");
        let count = Command::Count { name, seed: u64::MAX, add: 0 };
        assert_eq!(written(count), "ma name k O42 N0 J18446744073709551615 D0 v\r\n");
    }

    #[test]
    fn replies_are_cut_off_wherever_their_bytes_are_split() {
        let bytes = b"VA 4 kname O1\r\na\r\nb\r\nEN kname O2\r\nHD\r\nVA 0 O3\r\n\r\nSTAT a 1\r\nSTAT b 2\r\nEND\r\nSERVER_ERROR no\r\nMN\r\n";
        for at_once in 1..bytes.len() + 1 {
            assert_eq!(frames(bytes, at_once).unwrap(), [21, 13, 4, 11, 25, 17, 4], "{at_once} at once");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"VA 5 k\r\nabcdefg\r\n",
            b"VA x k\r\n",
            b"VA -1 k\r\n",
            b"VA 5x k\r\nabcde\r\n",
            b"VA 99999999999999999999 k\r\n",
            b"EN\n",
            b"TL\r\n",
            b"key=a exp=0\r\n",
            b"\r\n",
            b"\n",
            b"STAT a 1\r\n\n",
        ] {
            assert!(frames(bytes, bytes.len()).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(frames(&[b'H'; MAX_LINE + 1], MAX_LINE + 1).is_err());
        let endless: Vec<u8> = b"STAT a 1\r\n".repeat(MAX_STATISTICS / 10 + 1);
        assert!(frames(&endless, endless.len()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn hostile_bytes_are_refused_or_read_and_never_a_panic(
            bytes in hostile_bytes(&[b"VA ", b"VA 1 kname O1\r\na\r\n", b"VA 5000 ", b"HD", b"EN kname O1", b"TL\r\n", b"STAT a 1\r\n", b"END\r\n", b"SERVER_ERROR no"]),
            at_once in 1..20usize,
        ) {
            if let Ok(replies) = receive_in_pieces(Box::new(MetaFraming::new(1000)), &bytes, at_once) {
                replies.iter().for_each(|reply| { let _ = read(&mut &**reply, 1, &GET); });
            }
            let _ = read(&mut &*bytes, 1, &GET);
        }
    }

    #[test]
    fn a_value_that_is_too_long_gives_way_to_a_word_of_ours() {
        let mut framing = MetaFraming::new(1000);
        let oversized = Frame::Oversized { header: (0, 21), len: (1 << 30) + 2, instead: OVERSIZED };
        assert_eq!(framing.next(b"VA 1073741824 kname\r\nabc"), Ok(oversized));
        assert_eq!(framing.next(b"TL\r\nEN"), Ok(Frame::Whole(4)));
        assert!(framing.next(b"TL\r\n").is_err());
        assert_eq!(read(&mut &OVERSIZED[..], 1, &GET), Ok(Reply::Missing));
    }

    #[test]
    fn a_reply_is_read_with_what_it_repeats() {
        let value = |bytes| Ok(Reply::Value { bytes, flags: 0, version: 0 });
        assert_eq!(read(&mut &b"VA 4 kname O42\r\na\r\nb\r\n"[..], 42, &GET), value(b"a\r\nb"));
        assert_eq!(read(&mut &b"EN O42 kname\r\n"[..], 42, &GET), Ok(Reply::Missing));
        assert_eq!(read(&mut &b"VA 1 s1 kname  t-1 O42 W \r\nx\r\n"[..], 42, &GET), value(b"x"));
        let marked = Command::GetMarked { name: b"name" };
        let expected = Reply::Value { bytes: b"x", flags: 5, version: 9 };
        assert_eq!(read(&mut &b"VA 1 kname O42 f5 c9\r\nx\r\n"[..], 42, &marked), Ok(expected));
        let count = Command::Count { name: b"name", seed: 1, add: 1 };
        assert_eq!(read(&mut &b"VA 3 kname O42\r\n12 \r\n"[..], 42, &count), Ok(Reply::Number(12)));
        assert_eq!(read(&mut &b"EX kname O42\r\n"[..], 42, &GET), Ok(Reply::Changed));
    }

    #[test]
    fn a_reply_to_another_request_is_found_out() {
        for reply in [
            &b"VA 1 kname O41\r\nx\r\n"[..],
            b"VA 1 kother O42\r\nx\r\n",
            b"VA 1 kname\r\nx\r\n",
            b"VA 1 O42\r\nx\r\n",
            b"VA 1 knames O42\r\nx\r\n",
            b"VA 1 kname O42x\r\nx\r\n",
            b"VA 1 kname O42 fx\r\nx\r\n",
            b"VA 1 kname O42 c99999999999999999999\r\nx\r\n",
            b"VA 1x kname O42\r\nx\r\n",
            b"VA 1 kname O42 kother\r\nx\r\n",
            b"VA 1 kname O\r\nx\r\n",
            b"EN\r\n",
            b"HD O42\r\n",
            b"MN\r\n",
            b"STORED\r\n",
            b"",
        ] {
            assert!(read(&mut &*reply, 42, &GET).is_err(), "{}", reply.escape_ascii());
        }
    }
}
