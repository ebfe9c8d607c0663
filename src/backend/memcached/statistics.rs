//! What a server tells of itself with `stats`, in either protocol.

use super::binary::{Packet, Parts, opcode, packet};
use super::command::Codec;
use crate::shown::shown;

/// A request for statistics; `group` is empty for the general ones.
pub fn request(protocol: Codec, group: &str) -> Vec<u8> {
    match protocol {
        Codec::Meta if group.is_empty() => b"stats\r\n".to_vec(),
        Codec::Meta => format!("stats {group}\r\n").into_bytes(),
        Codec::Binary => {
            let mut out = Vec::new();
            packet(&mut out, opcode::STATISTICS, &Parts { key: group.as_bytes(), ..Parts::default() });
            out
        }
    }
}

/// Names and values of a reply; none where it is a refusal.
pub fn read(protocol: Codec, reply: &[u8]) -> Vec<(String, String)> {
    match protocol {
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

/// Reports repeat it.
fn text_of(bytes: &[u8]) -> String {
    shown(bytes, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_pairs() {
        let pairs = read(Codec::Meta, b"STAT pid 7\r\nSTAT version 1.6.18\r\nEND\r\n");
        assert_eq!(pairs, [("pid".into(), "7".into()), ("version".into(), "1.6.18".into())]);
        let hidden = read(Codec::Meta, "STAT version 1.6\u{202E}81.\r\nEND\r\n".as_bytes());
        assert_eq!(hidden, [("version".into(), "1.681.".into())]);
        assert!(read(Codec::Meta, b"ERROR\r\n").is_empty());
        assert!(read(Codec::Binary, b"ERROR\r\n").is_empty());
        assert_eq!(request(Codec::Meta, "settings"), b"stats settings\r\n");
    }
}
