//! The slots and the nodes of a cluster, as nodes report them: the replies to CLUSTER SLOTS and to CLUSTER NODES.
//! <https://redis.io/docs/latest/commands/cluster-nodes>

use crate::backend::redis::resp::{RespReader, RespValue};
use crate::config::Address;

/// The number of slots of every cluster.
pub const SLOTS: usize = 16384;

/// A range of slots and the nodes that have it, the primary first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub first: u16,
    pub last: u16,
    /// Host and port; the host is empty if the node is reached at the host of the one that was asked.
    pub nodes: Vec<(String, u16)>,
}

/// Reads the reply to CLUSTER SLOTS; `None` if it is not one.
pub fn ranges(reply: &[u8]) -> Option<Vec<Range>> {
    let mut replies = RespReader(reply);
    let Some(RespValue::Array(count)) = replies.next() else { return None };
    (0..count).map(|_| range(&mut replies)).collect()
}

fn range(replies: &mut RespReader) -> Option<Range> {
    let Some(RespValue::Array(fields @ 3..)) = replies.next() else { return None };
    let (first, last) = (number(replies)?, number(replies)?);
    if usize::from(last) >= SLOTS || first > last {
        return None;
    }
    let nodes = (2..fields).map(|_| node(replies)).collect::<Option<Vec<_>>>()?;
    Some(Range { first, last, nodes })
}

/// Reads host, port, and the fields that later versions add: an id, and other names of the node.
fn node(replies: &mut RespReader) -> Option<(String, u16)> {
    let Some(RespValue::Array(fields @ 2..)) = replies.next() else { return None };
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

/// Returns the host of a node that should have a name and has none: its address, or else its other name.
fn named(others: &[(String, String)]) -> String {
    let known = |name: &str| others.iter().find(|(key, value)| key == name && !value.is_empty());
    known("ip").or_else(|| known("hostname")).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// Reads names and values, one after another.
fn names(replies: &mut RespReader) -> Option<Vec<(String, String)>> {
    let RespValue::Array(count) = replies.next()? else { return Some(Vec::new()) };
    let pairs = (0..count / 2).map(|_| Some((text(replies.next()?), text(replies.next()?)))).collect();
    if count % 2 == 1 {
        skip(replies)?;
    }
    pairs
}

fn text(reply: RespValue<'_>) -> String {
    String::from_utf8_lossy(reply.bytes().unwrap_or_default()).into_owned()
}

fn skip(replies: &mut RespReader) -> Option<()> {
    match replies.next()? {
        RespValue::Array(count) => (0..count).try_for_each(|_| skip(replies)),
        _ => Some(()),
    }
}

fn number(replies: &mut RespReader) -> Option<u16> {
    match replies.next()? {
        RespValue::Number(number) => u16::try_from(number).ok(),
        _ => None,
    }
}

/// A node, as another or itself sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    /// Its IP address; empty where the one that was asked does not know its own.
    pub ip: String,
    /// Empty where it announces none.
    pub host_name: String,
    pub port: u16,
    /// True if it is the node that was asked.
    pub is_myself: bool,
    pub is_primary: bool,
    /// True if it is known to be down, or not known well enough to be asked.
    pub is_lost: bool,
    /// Its configuration epoch, which is another whenever it got slots.
    pub epoch: String,
    /// The slots it has.
    pub slots: Vec<(u16, u16)>,
    /// Slots whose keys are on their way from or to it; only its own line has them.
    pub open: Vec<Open>,
}

/// A slot whose keys are on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub slot: u16,
    /// True if the keys leave this node; false if they arrive.
    pub leaves: bool,
    /// The id of the node at the other end.
    pub other: String,
}

impl Node {
    /// Returns the addresses of the node: by its IP address and, if it announces one, by its host name.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        let hosts = [&self.ip, &self.host_name].into_iter().filter(|host| !host.is_empty());
        hosts.map(|host| Address::Tcp { host: host.clone(), port: self.port })
    }
}

/// Reads the text of CLUSTER NODES; `None` if a line does not describe a node.
pub fn nodes(text: &[u8]) -> Option<Vec<Node>> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().filter(|line| !line.trim().is_empty()).map(node_line).collect()
}

/// Reads `ID IP:PORT@BUS,NAME,… FLAGS PRIMARY PING PONG EPOCH LINK SLOT…`.
fn node_line(line: &str) -> Option<Node> {
    let mut words = line.split_ascii_whitespace();
    let (id, place, flags) = (words.next()?, words.next()?, words.next()?);
    let epoch = words.nth(3)?.to_owned();
    words.next()?;
    let (place, rest) = place.split_once(',').unwrap_or((place, ""));
    let (ip, port) = place.split('@').next()?.rsplit_once(':')?;
    let has = |flag: &str| flags.split(',').any(|it| it == flag);
    let (mut slots, mut open) = (Vec::new(), Vec::new());
    for word in words {
        match word.strip_prefix('[') {
            Some(word) => open.push(open_slot(word.strip_suffix(']')?)?),
            None => slots.push(slot_range(word)?),
        }
    }
    Some(Node {
        id: id.to_owned(),
        ip: ip.to_owned(),
        // After the host name come fields such as `shard-id=…`; a node without a host name may leave it out.
        host_name: rest.split(',').next().filter(|name| !name.contains('=')).unwrap_or_default().to_owned(),
        port: port.parse().ok()?,
        is_myself: has("myself"),
        is_primary: has("master"),
        is_lost: has("fail") || has("noaddr") || has("handshake"),
        epoch,
        slots,
        open,
    })
}

fn slot_range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Reads `93->-ID`, a slot that leaves for another node, or `93-<-ID`, one that comes from it.
fn open_slot(word: &str) -> Option<Open> {
    let (slot, rest) = word.split_once('-')?;
    let leaves = rest.starts_with('>');
    let other = rest.strip_prefix(">-").or_else(|| rest.strip_prefix("<-"))?;
    Some(Open { slot: slot.parse().ok()?, leaves, other: other.to_owned() })
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
    fn a_reply_without_a_map_of_slots_is_refused() {
        for reply in [
            &b"-ERR This instance has cluster support disabled\r\n"[..],
            b"*1\r\n:1\r\n",
            b"*1\r\n*3\r\n:9\r\n:1\r\n*0\r\n",
            b"",
        ] {
            assert_eq!(ranges(reply), None);
        }
    }

    const TEXT: &[u8] = b"\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected\n\
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.2:30002@31002,host2,shard-id=69bc master - 0 1426238316232 2 connected 5461-10922\n\
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f :30003@31003,,shard-id=5ffb master,fail - 0 1426238318243 3 disconnected 10923-16382 16383\n\
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca ::1:30001@31001,shard-id=aa myself,master - 0 0 1 connected 0-5460 [93->-292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f] [77-<-67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1]\n";

    #[test]
    fn the_lines_of_nodes_are_read() {
        let nodes = nodes(TEXT).unwrap();
        assert_eq!(nodes.len(), 4);
        assert!(!nodes[0].is_primary && nodes[0].slots.is_empty());
        assert_eq!((&nodes[1].ip[..], &nodes[1].host_name[..], nodes[1].port), ("127.0.0.2", "host2", 30002));
        assert_eq!((nodes[1].slots.as_slice(), &nodes[1].epoch[..]), (&[(5461, 10922)][..], "2"));
        assert!(nodes[2].is_lost && nodes[2].ip.is_empty() && nodes[2].host_name.is_empty());
        assert_eq!(nodes[2].slots, [(10923, 16382), (16383, 16383)]);
        let myself = &nodes[3];
        assert!(myself.is_myself && myself.is_primary && !myself.is_lost);
        assert_eq!((&myself.ip[..], &myself.host_name[..]), ("::1", ""));
        let open: Vec<_> = myself.open.iter().map(|open| (open.slot, open.leaves, &open.other[..4])).collect();
        assert_eq!(open, [(93, true, "292f"), (77, false, "67ed")]);
    }

    #[test]
    fn a_text_without_a_list_of_nodes_is_refused() {
        for text in [&b"OK"[..], b"a b c", b"\xff", b"id 127.0.0.1:x@1 master - 0 0 1 connected"] {
            assert_eq!(nodes(text), None);
        }
    }
}
