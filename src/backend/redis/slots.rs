//! Which node of a cluster has which slot: the reply to CLUSTER SLOTS.

use super::resp::{RepliesOf, Reply};

/// How many slots there are.
pub const SLOTS: usize = 16384;

/// A range of slots and the nodes that have it, the primary first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub first: u16,
    pub last: u16,
    /// Host and port; the host is empty where the server does not know its own.
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

/// Host, port, and what later versions add.
fn node(replies: &mut RepliesOf) -> Option<(String, u16)> {
    let Some(Reply::Array(fields @ 2..)) = replies.next() else { return None };
    let host = String::from_utf8_lossy(replies.next()?.bytes().unwrap_or_default()).into_owned();
    let port = number(replies)?;
    (2..fields).try_for_each(|_| skip(replies))?;
    Some((if host == "?" { String::new() } else { host }, port))
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
