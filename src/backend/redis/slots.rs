//! Which node of a cluster has which slot: the reply to CLUSTER SLOTS.

use super::resp::{RepliesOf, Reply};

/// How many slots there are.
pub const SLOTS: usize = 16384;

/// A range of slots and the nodes that have it, the primary first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub first: u16,
    pub last: u16,
    /// Host and port; the host is empty where the node is to be reached at the host of the one that was asked.
    pub nodes: Vec<(String, u16)>,
}

/// Reads a reply; `None` if it is not one.
pub fn ranges(reply: &[u8]) -> Option<Vec<Range>> {
    let mut replies = RepliesOf(reply);
    let Some(Reply::Array(count)) = replies.next() else { return None };
    (0..count).map(|_| range(&mut replies)).collect()
}

fn range(replies: &mut RepliesOf) -> Option<Range> {
    let Some(Reply::Array(fields @ 3..)) = replies.next() else { return None };
    let (first, last) = (number(replies)?, number(replies)?);
    if usize::from(last) >= SLOTS || first > last {
        return None;
    }
    let nodes = (2..fields).map(|_| node(replies)).collect::<Option<Vec<_>>>()?;
    Some(Range { first, last, nodes })
}

/// Host, port, and what later versions add: an id, and other names of the node.
fn node(replies: &mut RepliesOf) -> Option<(String, u16)> {
    let Some(Reply::Array(fields @ 2..)) = replies.next() else { return None };
    let host = text(replies.next()?);
    let port = number(replies)?;
    let mut others = Vec::new();
    for field in 2..fields {
        if field == 3 {
            others = names(replies)?;
        } else {
            skip(replies)?;
        }
    }
    Some((if host == "?" { named(&others) } else { host }, port))
}

/// The host of a node that is to be known by a name and has none: its address, else whatever it is called.
fn named(others: &[(String, String)]) -> String {
    let known = |name: &str| others.iter().find(|(key, value)| key == name && !value.is_empty());
    known("ip").or_else(|| known("hostname")).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Names and values, one after another.
fn names(replies: &mut RepliesOf) -> Option<Vec<(String, String)>> {
    let Reply::Array(count) = replies.next()? else { return Some(Vec::new()) };
    let pairs = (0..count / 2).map(|_| Some((text(replies.next()?), text(replies.next()?)))).collect();
    if count % 2 == 1 {
        skip(replies)?;
    }
    pairs
}

fn text(reply: Reply<'_>) -> String {
    String::from_utf8_lossy(reply.bytes().unwrap_or_default()).into_owned()
}

fn skip(replies: &mut RepliesOf) -> Option<()> {
    match replies.next()? {
        Reply::Array(count) => (0..count).try_for_each(|_| skip(replies)),
        _ => Some(()),
    }
}

fn number(replies: &mut RepliesOf) -> Option<u16> {
    match replies.next()? {
        Reply::Number(number) => u16::try_from(number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_with_what_later_versions_add() {
        let reply = b"*2\r\n*4\r\n:0\r\n:5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*2\r\n$8\r\nhostname\r\n$1\r\nh\r\n\
            *3\r\n$0\r\n\r\n:7003\r\n$3\r\nid2\r\n*3\r\n:5461\r\n:16383\r\n*3\r\n$-1\r\n:7001\r\n$1\r\nx\r\n";
        let ranges = ranges(reply).unwrap();
        assert_eq!(ranges[0].nodes, [("127.0.0.1".to_owned(), 7000), (String::new(), 7003)]);
        assert_eq!((ranges[1].first, ranges[1].last, ranges[1].nodes[0].1), (5461, 16383, 7001));
    }

    #[test]
    fn a_node_without_the_name_it_is_to_have_is_known_by_its_address() {
        let reply = |metadata: &str| {
            format!("*1\r\n*3\r\n:0\r\n:9\r\n*4\r\n$1\r\n?\r\n:7000\r\n$2\r\nid\r\n{metadata}").into_bytes()
        };
        let host = |metadata: &str| ranges(&reply(metadata)).unwrap()[0].nodes[0].0.clone();
        assert_eq!(host("*2\r\n$2\r\nip\r\n$9\r\n127.0.0.2\r\n"), "127.0.0.2");
        assert_eq!(host("*4\r\n$8\r\nhostname\r\n$1\r\nh\r\n$2\r\nip\r\n$3\r\n::1\r\n"), "::1");
        assert_eq!(host("*2\r\n$8\r\nhostname\r\n$1\r\nh\r\n"), "h");
        assert_eq!(host("*0\r\n"), "");
    }

    #[test]
    fn what_is_no_map_of_slots_is_none() {
        for reply in [
            &b"-ERR This instance has cluster support disabled\r\n"[..],
            b"*1\r\n:1\r\n",
            b"*1\r\n*3\r\n:9\r\n:1\r\n*0\r\n",
            b"",
        ] {
            assert_eq!(ranges(reply), None);
        }
    }
}
