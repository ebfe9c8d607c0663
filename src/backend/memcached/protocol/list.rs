//! Reads of many names with `get`, which answers those that are stored, each with its name. The last name is read by
//! itself with its number: replies that belong to another request end otherwise.
//!
//! A server spends a third less on a list than on a command for each name, and sends it at once: of single commands it
//! sends twenty replies at a time.

use super::meta::{self, OVERSIZED, split_line};
use crate::backend::memcached::command::{Command, Mismatch, Reply};
use crate::backend::memcached::server_error::ServerError;
use crate::util::split_number;

/// The fewest names that are read with lists.
pub const LEAST: usize = 8;
/// The most names of one list: a server completes a list before it serves other clients.
pub const MOST: usize = 100;

/// Writes the reads of names, with so many names in a list. Returns the number of replies.
pub fn write<'a>(out: &mut Vec<u8>, number: u32, most: usize, names: impl ExactSizeIterator<Item = &'a [u8]>) -> u32 {
    let (last, mut replies) = (names.len() - 1, 1);
    for (at, name) in names.enumerate() {
        let begins = at == last || at.is_multiple_of(most);
        if begins && at > 0 {
            out.extend_from_slice(b"\r\n");
        }
        if at == last {
            meta::write(out, number, &Command::Get { name });
            break;
        }
        if begins {
            out.extend_from_slice(b"get");
            replies += 1;
        }
        out.push(b' ');
        out.extend_from_slice(name);
    }
    replies
}

/// Reads the replies to what `write` wrote, name by name.
pub struct Reader {
    number: u32,
    most: usize,
    /// The number of names that were read.
    at: usize,
    /// The place of the last name.
    last: usize,
}

impl Reader {
    /// Creates a reader for the replies to so many names.
    pub fn new(number: u32, most: usize, names: usize) -> Self {
        Self { number, most, at: 0, last: names - 1 }
    }

    /// Returns true after the last name.
    pub fn is_over(&self) -> bool {
        self.at > self.last
    }

    /// Cuts off what the replies say about the next name.
    pub fn next<'a>(&mut self, replies: &mut &'a [u8], name: &[u8]) -> Result<Reply<'a>, Mismatch> {
        let at = self.at;
        self.at += 1;
        if at == self.last {
            return meta::read(replies, self.number, &Command::Get { name });
        }
        let reply = value_of(replies, name)?;
        if self.at == self.last || self.at.is_multiple_of(self.most) {
            end(replies)?;
        }
        Ok(reply)
    }
}

/// Cuts off the value of a name. One that is not there is missing, or the reason for all the rest is an error.
fn value_of<'a>(replies: &mut &'a [u8], name: &[u8]) -> Result<Reply<'a>, Mismatch> {
    skip_oversized(replies);
    let Some(line) = replies.strip_prefix(b"VALUE ") else { return other(replies) };
    // The value of a name that comes later; `end` finds one that comes not at all.
    let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(b" ")) else {
        return Ok(Reply::Missing);
    };
    let (len, rest) = length_of(rest).ok_or(Mismatch("a value without its length"))?;
    let (bytes, rest) = rest.split_at_checked(len).ok_or(Mismatch("a truncated value"))?;
    *replies = rest.strip_prefix(b"\r\n").ok_or(Mismatch("a value with a wrong length"))?;
    Ok(Reply::Value { bytes, flags: 0, version: 0 })
}

/// Splits the flags and the length, which end the line of a value, from the bytes that follow.
fn length_of(text: &[u8]) -> Option<(usize, &[u8])> {
    let (_flags, rest) = split_number(text)?;
    let (len, rest) = split_number(rest.strip_prefix(b" ")?)?;
    Some((usize::try_from(len).ok()?, rest.strip_prefix(b"\r\n")?))
}

/// Returns what the end of a list, which stays, says about a name before it.
fn other<'a>(replies: &&'a [u8]) -> Result<Reply<'a>, Mismatch> {
    let (line, _) = split_line(replies)?;
    match line.split(|byte| *byte == b' ').next().unwrap_or_default() {
        b"END" => Ok(Reply::Missing),
        b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => Ok(Reply::Refused(ServerError::of_line(line), line)),
        _ => Err(Mismatch("a reply to another command")),
    }
}

/// Cuts off the end of a list.
fn end(replies: &mut &[u8]) -> Result<(), Mismatch> {
    skip_oversized(replies);
    other(replies).map_err(|_| Mismatch("a reply to another request"))?;
    *replies = split_line(replies)?.1;
    Ok(())
}

/// Skips what stands for values that were too large to keep: they are missing.
fn skip_oversized(replies: &mut &[u8]) {
    while let Some(rest) = replies.strip_prefix(OVERSIZED) {
        *replies = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&[u8]; 5] = [b"a", b"b", b"b", b"cd", b"e"];

    fn value(bytes: &'static [u8]) -> Reply<'static> {
        Reply::Value { bytes, flags: 0, version: 0 }
    }

    fn read(mut replies: &'static [u8], most: usize) -> Result<Vec<Reply<'static>>, Mismatch> {
        let mut reader = Reader::new(7, most, NAMES.len());
        let read: Result<Vec<_>, _> = NAMES.iter().map(|name| reader.next(&mut replies, name)).collect();
        assert!(replies.is_empty() || read.is_err());
        read
    }

    #[test]
    fn the_last_name_is_read_by_itself() {
        for (most, lines, replies) in
            [(4, "get a b b cd\r\n", 2), (3, "get a b b\r\nget cd\r\n", 3), (2, "get a b\r\nget b cd\r\n", 3)]
        {
            let mut out = Vec::new();
            assert_eq!(write(&mut out, 7, most, NAMES.iter().copied()), replies);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{lines}mg e k O7 v\r\n"));
        }
    }

    #[test]
    fn names_without_a_value_are_missing() {
        let all = b"VALUE a 0 1\r\n1\r\nVALUE b 5 2\r\n\r\n\r\nVALUE b 0 0\r\n\r\nVALUE cd 0 1\r\n4\r\nEND\r\nVA 1 ke O7\r\n5\r\n";
        assert_eq!(read(all, 4), Ok(vec![value(b"1"), value(b"\r\n"), value(b""), value(b"4"), value(b"5")]));
        let missing = Reply::Missing;
        assert_eq!(read(b"END\r\nEN O7 ke\r\n", 4), Ok(vec![missing; 5]));
        let some = b"VALUE b 0 1\r\n2\r\nEND\r\nTL\r\nEND\r\nEN O7 ke\r\n";
        assert_eq!(read(some, 3), Ok(vec![missing, value(b"2"), missing, missing, missing]));
        let oversized = b"TL\r\nVALUE b 0 1\r\n2\r\nTL\r\nTL\r\nEND\r\nEN O7 ke\r\n";
        assert_eq!(read(oversized, 4), Ok(vec![missing, value(b"2"), missing, missing, missing]));
    }

    #[test]
    fn an_error_ends_a_list() {
        let line = b"SERVER_ERROR out of memory writing get response";
        let refused = Reply::Refused(ServerError::Memory, line);
        let replies =
            b"VALUE a 0 1\r\n1\r\nSERVER_ERROR out of memory writing get response\r\nEND\r\nVA 1 ke O7\r\n5\r\n";
        assert_eq!(read(replies, 3), Ok(vec![value(b"1"), refused, refused, Reply::Missing, value(b"5")]));
    }

    #[test]
    fn replies_to_another_request_are_found_out() {
        for replies in [
            &b"END\r\nEN O8 ke\r\n"[..],
            b"END\r\nEN O7 kf\r\n",
            b"VALUE x 0 1\r\n1\r\nEND\r\nEN O7 ke\r\n",
            b"VALUE cd 0 1\r\n4\r\nVALUE a 0 1\r\n1\r\nEND\r\nEN O7 ke\r\n",
            b"VALUE e 0 1\r\n5\r\nEND\r\nEN O7 ke\r\n",
            b"VALUE a 0 2\r\n1\r\nEND\r\nEN O7 ke\r\n",
            b"VALUE a 0\r\nEND\r\nEN O7 ke\r\n",
            b"EN O7 ke\r\nEND\r\n",
            b"HD\r\n",
            b"END\r\n",
            b"",
        ] {
            assert!(read(replies, 4).is_err(), "{}", replies.escape_ascii());
        }
    }
}
