//! The meta and the binary protocol of Memcached, and the statistics that a server reports in either.

pub mod binary;
pub mod list;
pub mod meta;

use self::binary::{Packet, Parts, opcode, packet};
use super::command::{Command, Mismatch, Reply};
use crate::net::Framing;
use crate::util::shown::shown;

/// The two protocols of Memcached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Meta,
    Binary,
}

impl Codec {
    /// Writes a command under a number that its reply will repeat.
    pub fn write(self, out: &mut Vec<u8>, opaque: u32, command: &Command) {
        match self {
            Self::Meta => meta::write(out, opaque, command),
            Self::Binary => binary::write(out, opaque, command),
        }
    }

    /// Cuts off the next reply, and checks that it answers this command.
    pub fn read<'a>(self, replies: &mut &'a [u8], opaque: u32, command: &Command) -> Result<Reply<'a>, Mismatch> {
        match self {
            Self::Meta => meta::read(replies, opaque, command),
            Self::Binary => binary::read(replies, opaque, command),
        }
    }

    /// Returns a request that changes nothing and has one reply.
    pub fn ping(self) -> &'static [u8] {
        match self {
            Self::Meta => b"mn\r\n",
            Self::Binary => binary::NO_OPERATION,
        }
    }

    /// Returns the framing of replies. Values longer than `max_value` are dropped, and read as missing.
    pub fn framing(self, max_value: u64) -> Box<dyn Framing> {
        match self {
            Self::Meta => Box::new(meta::MetaFraming::new(max_value)),
            Self::Binary => Box::new(binary::BinaryFraming::new(max_value)),
        }
    }
}

/// Returns a request for statistics; `group` is empty for the general ones.
pub fn statistics_request(codec: Codec, group: &str) -> Vec<u8> {
    match codec {
        Codec::Meta if group.is_empty() => b"stats\r\n".to_vec(),
        Codec::Meta => format!("stats {group}\r\n").into_bytes(),
        Codec::Binary => {
            let mut out = Vec::new();
            packet(&mut out, opcode::STATISTICS, &Parts { key: group.as_bytes(), ..Parts::default() });
            out
        }
    }
}

/// Returns the names and values of a reply; none if it is a server error.
pub fn statistics_of(codec: Codec, reply: &[u8]) -> Vec<(String, String)> {
    match codec {
        Codec::Meta => lines(reply),
        Codec::Binary => packets(reply),
    }
}

fn lines(reply: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(reply);
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
        Some((text_of(name.as_bytes()), text_of(value.trim_end().as_bytes())))
    };
    text.lines().filter_map(pair).collect()
}

fn packets(mut reply: &[u8]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    while let Some(packet) = Packet::take(&mut reply).filter(|packet| !packet.key.is_empty()) {
        pairs.push((text_of(packet.key), text_of(packet.value)));
    }
    pairs
}

/// Returns a text that is fit for reports.
fn text_of(bytes: &[u8]) -> String {
    shown(bytes, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_pairs() {
        let pairs = statistics_of(Codec::Meta, b"STAT pid 7\r\nSTAT version 1.6.18\r\nEND\r\n");
        assert_eq!(pairs, [("pid".into(), "7".into()), ("version".into(), "1.6.18".into())]);
        let hidden = statistics_of(Codec::Meta, "STAT version 1.6\u{202E}81.\r\nEND\r\n".as_bytes());
        assert_eq!(hidden, [("version".into(), "1.681.".into())]);
        assert!(statistics_of(Codec::Meta, b"ERROR\r\n").is_empty());
        assert!(statistics_of(Codec::Binary, b"ERROR\r\n").is_empty());
        assert_eq!(statistics_request(Codec::Meta, "settings"), b"stats settings\r\n");
    }
}
