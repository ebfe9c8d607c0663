//! Lists of servers, nodes and weights: as YAML lists, or as one text with commas.

use std::collections::HashMap;
use std::hash::Hash;

use super::document::Node;
use super::kind::{Fit, Misfit};
use super::{Address, MemcachedServer, address};

/// Far over any real fleet, and few enough to check and connect to.
const MAX_ENTRIES: usize = 1_000;
/// Weights are shares, so a million tells any two apart.
pub(super) const MAX_WEIGHT: u32 = 1_000_000;
/// Where Memcached listens.
const MEMCACHED_PORT: u16 = 11211;
/// The ports that servers without privileges listen on.
const PORTS: std::ops::RangeInclusive<u32> = 1024..=65_535;
const WEIGHT: &str = "the weight is not a whole number from 1 to 1000000";

/// Hosts and ports, none twice.
pub(super) fn addresses(node: &Node, default_port: u16) -> Fit<Vec<Address>> {
    let addresses = entries(node, |entry| match address::parse(text(entry)?, default_port)? {
        Address::Unix(_) => Err("a path does not do here, where servers tell each other hosts and ports"),
        tcp => Ok(tcp),
    })?;
    check_distinct(&addresses, |address| address.to_string().to_lowercase())?;
    Ok(addresses)
}

/// Memcached servers with their weights, none twice.
pub(super) fn servers(node: &Node) -> Fit<Vec<MemcachedServer>> {
    let servers = entries(node, server)?;
    check_distinct(&servers, |server| match &server.address {
        // Case counts in a path.
        Address::Unix(path) => path.display().to_string(),
        tcp => tcp.to_string().to_lowercase(),
    })?;
    Ok(servers)
}

/// Weights alone.
pub(super) fn weights(node: &Node) -> Fit<Vec<u32>> {
    entries(node, weight)
}

fn server(entry: &Node) -> Result<MemcachedServer, &'static str> {
    match entry {
        Node::List(pair) => match pair.as_slice() {
            [server, share] => shared(text(server)?, weight(share)?),
            _ => Err("a list inside the list is [server, weight]"),
        },
        one => weighted(text(one)?),
    }
}

/// `host:port weight`, or without the weight.
fn weighted(text: &str) -> Result<MemcachedServer, &'static str> {
    let (server, share) = match text.rsplit_once(char::is_whitespace) {
        Some((server, share)) => (server.trim_end(), digits(share).ok_or(WEIGHT)?),
        None => (text, 1),
    };
    shared(server, share)
}

/// A server with its weight. `[host, port]` is how other clients write a server, so a weight that could be a port takes
/// a server that names its own.
fn shared(server: &str, weight: u32) -> Result<MemcachedServer, &'static str> {
    let address = memcached(server)?;
    let has_port = matches!(address, Address::Unix(_)) || address::split(server).1.is_some();
    if !has_port && PORTS.contains(&weight) {
        return Err("the weight looks like a port: write `host:port`, or `host:port weight` if it is a weight");
    }
    Ok(MemcachedServer { address, weight })
}

fn memcached(text: &str) -> Result<Address, &'static str> {
    address::parse(text, MEMCACHED_PORT)
}

fn weight(node: &Node) -> Result<u32, &'static str> {
    let (Node::Number(text) | Node::Text(text)) = node else { return Err(WEIGHT) };
    digits(text.trim()).ok_or(WEIGHT)
}

fn digits(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?.filter(|weight| (1..=MAX_WEIGHT).contains(weight))
}

fn text(entry: &Node) -> Result<&str, &'static str> {
    match entry {
        Node::Text(text) => Ok(text.trim()),
        _ => Err("not a text such as `host:port`"),
    }
}

/// Each entry read; a refusal counts them from 1 and repeats none, for a URL in the wrong place holds a password.
fn entries<E>(node: &Node, read: impl Fn(&Node) -> Result<E, &'static str>) -> Fit<Vec<E>> {
    let nodes = nodes(node)?;
    match nodes.len() {
        0 => return Err(Misfit::Because("the list is empty".to_owned())),
        1..=MAX_ENTRIES => {}
        _ => return Err(Misfit::Because(format!("the list has more than the {MAX_ENTRIES} entries accepted"))),
    }
    let numbered = nodes.iter().zip(1..);
    let because = |number: i32, reason| Misfit::Because(format!("entry {number}: {reason}"));
    numbered.map(|(entry, number)| read(entry).map_err(|reason| because(number, reason))).collect()
}

fn nodes(node: &Node) -> Fit<Vec<Node>> {
    match node {
        Node::List(nodes) => Ok(nodes.clone()),
        Node::Text(text) => Ok(text.split(',').map(|entry| Node::Text(entry.trim().to_owned())).collect()),
        Node::Number(digits) => Ok(vec![Node::Number(digits.clone())]),
        _ => Err(Misfit::Plain),
    }
}

fn check_distinct<E, K: Eq + Hash>(entries: &[E], key: impl Fn(&E) -> K) -> Fit<()> {
    let mut seen = HashMap::new();
    for (entry, number) in entries.iter().zip(1..) {
        if let Some(first) = seen.insert(key(entry), number) {
            return Err(Misfit::Because(format!("entries {first} and {number} are the same server")));
        }
    }
    Ok(())
}
