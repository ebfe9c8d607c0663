//! The list of servers that a managed service tells: `config get cluster`, or a name that old versions keep it under.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::handshake::{log_in_with_text, server_error_of};
use super::server_error::{self, ServerError};
use crate::config::{Address, ConnectionConfig, MemcachedServer};
use crate::credentials::CredentialSource;
use crate::entry::fingerprint;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Frame, Framing, Handshake, Protocol, Tls, ask_once, protocol_error};
use crate::util::shown::shown;

/// The request of a list, and the one for versions before 1.4.14.
const REQUESTS: [&[u8]; 2] = [b"config get cluster\r\n", b"get AmazonElastiCache:cluster\r\n"];
/// The most bytes of a reply.
const MAX_REPLY: usize = 256 * 1024;

/// A list of servers as a service reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeList {
    pub version: u64,
    /// In the order of their addresses.
    pub servers: Vec<MemcachedServer>,
}

impl NodeList {
    /// Returns the number of its era, which is never 0.
    pub fn era(&self) -> u32 {
        let names: Vec<String> = self.servers.iter().map(|server| server.address.to_string()).collect();
        #[allow(clippy::cast_possible_truncation)] // Any bits of it will do.
        let era = fingerprint(format!("{} {}", self.version, names.join(" ")).as_bytes()) as u32;
        era.max(1)
    }
}

/// Asks a server for the list.
pub async fn ask(
    address: &Address,
    credentials: &Arc<CredentialSource>,
    connection: &ConnectionConfig,
    tls: Option<&Tls>,
) -> Result<NodeList> {
    let (name, protocol) =
        (address.to_string(), Endpoint { address: address.clone(), credentials: Arc::clone(credentials) });
    let asking = async {
        let mut refusal = None;
        for request in REQUESTS {
            let reply = ask_once(&name, &protocol, connection, tls, request).await?;
            match server_error_of(&reply) {
                Some(ServerError::Command) => refusal = Some(reply),
                Some(refused) => return Err(server_error::error(&name, refused, reply.trim_ascii_end())),
                None if reply.starts_with(b"END") => {}
                None => {
                    return read(&reply).ok_or_else(|| protocol_error(&name, "a list of servers that is unreadable"));
                }
            }
        }
        Err(no_list(&name, refusal.as_deref()))
    };
    let limit = connection.timeout + connection.connect_timeout;
    timeout(limit, asking).await.unwrap_or_else(|_| {
        let text = format!("{name}: no list of servers came within {limit:?}: check the network, and the endpoint");
        Err(Error::new(ErrorKind::Timeout, text))
    })
}

#[cold]
fn no_list(server: &str, reply: Option<&[u8]>) -> Error {
    let reply = reply.map_or("no list".to_owned(), |reply| shown(reply.trim_ascii_end(), 100));
    let text = format!(
        "{server}: the server does not tell its cluster's servers ({reply}): give the configuration endpoint of the service, or remove `discovery`"
    );
    Error::new(ErrorKind::Config, text)
}

/// Reads a reply: a line with the length of the list, the version, and `host|ip|port` of each server.
fn read(reply: &[u8]) -> Option<NodeList> {
    let (header, rest) = split_line(reply)?;
    let text = std::str::from_utf8(rest.get(..length_of(header)?)?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let version = words.next()?.parse().ok()?;
    let mut servers: Vec<MemcachedServer> = words.map(read_server).collect::<Option<_>>()?;
    servers.sort_by_key(|server| server.address.to_string());
    servers.dedup_by(|one, other| one.address == other.address);
    (!servers.is_empty()).then_some(NodeList { version, servers })
}

/// Reads a server: its name, by which TLS knows it, or its address.
fn read_server(text: &str) -> Option<MemcachedServer> {
    let [name, address, port] = text.split('|').collect::<Vec<_>>()[..] else { return None };
    let host = if name.is_empty() { address } else { name };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let is_valid = !host.is_empty() && host.len() <= 255 && host.bytes().all(is_host);
    is_valid.then(|| MemcachedServer { address: Address::Tcp { host: host.to_owned(), port }, weight: 1 })
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((&bytes[..=end], &bytes[end + 1..]))
}

/// Returns the length of the list, which ends its first line.
fn length_of(header: &[u8]) -> Option<usize> {
    let last = header.trim_ascii_end().rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(last).ok()?.parse().ok().filter(|len| *len <= MAX_REPLY)
}

/// The endpoint that tells the list, which may know no other command.
struct Endpoint {
    address: Address,
    credentials: Arc<CredentialSource>,
}

impl Protocol for Endpoint {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(ListFraming)
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Address>> {
        Box::pin(async { Ok(self.address.clone()) })
    }

    fn credentials(&self) -> Option<&CredentialSource> {
        Some(&self.credentials)
    }

    fn handshake<'a>(&'a self, connection: &'a Handshake<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(log_in_with_text(connection))
    }

    fn ping(&self) -> &'static [u8] {
        REQUESTS[0]
    }
}

/// Frames the reply to a request of the list, or a line.
struct ListFraming;

impl Framing for ListFraming {
    fn next(&mut self, bytes: &[u8]) -> std::result::Result<Frame, String> {
        if bytes.len() > MAX_REPLY {
            return Err("a list of servers that does not end".into());
        }
        let Some((header, rest)) = split_line(bytes) else { return Ok(Frame::Partial) };
        if !header.starts_with(b"CONFIG ") && !header.starts_with(b"VALUE ") {
            return Ok(Frame::Whole(header.len()));
        }
        let len = length_of(header).ok_or("a list of servers without its length")?;
        // An empty line may follow the list.
        let end = rest.get(len..).and_then(|rest| memchr::memmem::find(rest, b"END\r\n"));
        Ok(end.map_or(Frame::Partial, |end| Frame::Whole(header.len() + len + end + 5)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{hostile_bytes, receive_in_pieces};

    const LIST: &[u8] =
        b"CONFIG cluster 0 54\r\n12\nb.example.com|10.0.0.2|11211 |10.0.0.1|11212 c||1\n\n\r\n\r\nEND\r\n";

    fn reply(list: &str) -> Vec<u8> {
        format!("CONFIG cluster 0 {}\r\n{list}\r\nEND\r\n", list.len()).into_bytes()
    }

    #[test]
    fn a_list_has_a_version_and_servers_by_their_names() {
        let read = read(LIST).unwrap();
        let names: Vec<String> = read.servers.iter().map(|server| server.address.to_string()).collect();
        assert_eq!(
            (read.version, &names[..]),
            (12, &["10.0.0.1:11212", "b.example.com:11211", "c:1"].map(str::to_owned)[..])
        );
    }

    #[test]
    fn a_list_that_makes_no_sense_is_refused() {
        assert!(read(&reply("1\na||1\n")).is_some());
        for wrong in
            ["", "1\n", "x\na||1\n", "1\na|1\n", "1\na||0\n", "1\n|| 1\n", "1\na||70000\n", "1\na/b||1\n", "-1\na||1"]
        {
            assert!(read(&reply(wrong)).is_none(), "{wrong:?}");
        }
        assert!(read(b"CONFIG cluster 0 99\r\n1\na||1\nEND\r\n").is_none());
    }

    #[test]
    fn a_version_is_an_era_and_the_order_of_the_servers_is_not() {
        let era = |list| read(&reply(list)).unwrap().era();
        assert_eq!(era("1\na||1 b||1\n"), era("1\nb||1 a||1\n"));
        assert_ne!(era("1\na||1 b||1\n"), era("2\na||1 b||1\n"));
        assert_ne!(era("1\na||1 b||1\n"), era("1\na||1\n"));
    }

    #[test]
    fn a_reply_is_whole_at_its_end() {
        for at in 0..LIST.len() {
            assert_eq!(ListFraming.next(&LIST[..at]), Ok(Frame::Partial), "{at}");
        }
        assert_eq!(ListFraming.next(LIST), Ok(Frame::Whole(LIST.len())));
        assert_eq!(ListFraming.next(b"ERROR\r\n"), Ok(Frame::Whole(7)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn hostile_bytes_are_refused_or_read_and_never_a_panic(
            bytes in hostile_bytes(&[b"CONFIG cluster 0 9\r\n", b"VALUE a 0 99999999999999999999\r\n", b"1\na|b|1 ", b"END\r\n", b"||", b"ERROR\r\n"]),
            at_once in 1..20usize,
        ) {
            drop(receive_in_pieces(Box::new(ListFraming), &bytes, at_once));
            drop(read(&bytes));
        }
    }
}
