//! Values of options: how a time, a size, a number, a text, an address or a list of servers is read.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::document::Node;
use super::types::{Address, MemcachedServer};
use crate::error::Error;

/// The result of reading a value.
pub(super) type Fit<T> = std::result::Result<T, Misfit>;

/// The reason why a value is not accepted.
pub(super) enum Misfit {
    /// There is no more to say than what would be accepted.
    Plain,
    /// This, in words that repeat nothing of the value.
    Because(String),
    /// An option inside it is refused.
    Inside(Error),
}

/// A name for a multiple of a base unit.
pub(super) type Unit = (&'static str, u64);

/// Units of time in milliseconds, greatest first.
pub(super) const TIMES: &[Unit] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes; those that limits are written in come first, greatest first.
pub(super) const SIZES: &[Unit] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("K", 1_000),
];

/// Reads `250ms`, `0.5`, `1.5h` as whole milliseconds; a bare number is seconds.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text);
    let unit = if unit.is_empty() { "s" } else { unit };
    let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
    let exact = decimal(number)? * *factor as f64;
    // Zero means "never", so a tiny time must not become zero, not even one that is zero as a float already.
    let vanishes = exact < 1.0 && number.contains(|digit| matches!(digit, '1'..='9'));
    // `as` saturates: an enormous number stays out of any range.
    (!vanishes).then_some(exact.round() as u64)
}

/// Returns the seconds that a bare number stands for; `None` for a time with a unit.
pub(super) fn bare_seconds(text: &str) -> Option<f64> {
    let (number, unit) = number_and_unit(text);
    unit.is_empty().then(|| decimal(number))?
}

/// Reads a time as above, if it is one of whole seconds.
pub(super) fn seconds(text: &str) -> Option<u64> {
    milliseconds(text).filter(|time| time.is_multiple_of(1000)).map(|time| time / 1000)
}

/// Reads `8388608`, `8MiB`, `64k` as bytes; the letters in any case.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text);
    let (_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    count(number)?.checked_mul(*factor)
}

/// Reads a whole number in decimal digits.
pub(super) fn count(text: &str) -> Option<u64> {
    let digits = text.trim();
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Reads `10`, `10%`, `2.5` as a number from 0 to 100.
pub(super) fn percent(text: &str) -> Option<f64> {
    let (number, unit) = number_and_unit(text);
    let number = decimal(number).filter(|number| *number <= 100.0);
    number.filter(|_| matches!(unit, "" | "%"))
}

/// Writes a limit in the greatest unit that is exact, as a person would.
pub(super) fn written(value: u64, units: &[Unit]) -> String {
    let exact = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    exact.map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    (number, unit.trim_start())
}

/// Reads digits with at most one point between them; never infinite, never "not a number".
fn decimal(text: &str) -> Option<f64> {
    let digit_at = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    let framed = digit_at(text.bytes().next()) && digit_at(text.bytes().last());
    let number = framed.then(|| text.parse::<f64>().ok())??;
    number.is_finite().then_some(number)
}

/// Returns a number as written; URLs and variables have texts only, so a text will do.
pub(super) fn numeric(node: &Node) -> Option<&str> {
    match node {
        Node::Number(text) | Node::Text(text) => Some(text),
        _ => None,
    }
}

/// Reads a boolean: Python writes `True`, and `1` where C did.
pub(super) fn flag(node: &Node) -> Option<bool> {
    match node {
        Node::Boolean(value) => Some(*value),
        Node::Number(text) | Node::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Returns a text of any letters but NUL, which would end it early in C.
pub(super) fn text(node: &Node) -> Option<&str> {
    match node {
        Node::Text(text) => (!text.is_empty() && !text.contains('\0')).then_some(text),
        _ => None,
    }
}

/// Returns a prefix of names. Strict: one that holds `*` or `[` would reach into other caches' patterns.
pub(super) fn prefix(node: &Node) -> Option<&str> {
    let Node::Text(text) = node else { return None };
    is_prefix(text).then_some(text)
}

/// Returns true if a text is a prefix of names, or a namespace.
pub(super) fn is_prefix(text: &str) -> bool {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    fits && (1..=64).contains(&text.len())
}

/// The longest name of a host (RFC 1035, section 2.3.4), without the dot at its end.
const MAX_NAME_BYTES: usize = 254;

/// Reads a name or an IP address, an IPv6 address with or without its brackets.
pub(super) fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inside = bare.unwrap_or(text);
    let fits = if bare.is_some() || text.contains(':') { inside.parse::<Ipv6Addr>().is_ok() } else { is_name(text) };
    fits.then(|| inside.to_owned())
}

/// Reads a port in decimal digits.
pub(super) fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?.filter(|port| *port > 0)
}

/// Splits host and port, unchecked; an IPv6 address keeps its brackets.
pub(super) fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let end = if text.starts_with('[') { text.find(']').map_or(0, |end| end + 1) } else { 0 };
    match text.split_at(end).1.find(':') {
        Some(colon) => {
            let (host, port) = text.split_at(end + colon);
            (host, port.strip_prefix(':'))
        }
        None => (text, None),
    }
}

/// Reads `host`, `host:port`, `[v6]:port` or `/a/path`, or returns the reason of the refusal.
fn address(text: &str, default_port: u16) -> Result<Address, &'static str> {
    if text.starts_with('/') {
        return path(text).map(Address::Unix).ok_or("a path holds no NUL");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address stands in brackets");
    }
    let (host_text, port_text) = host_and_port(text);
    if host_text.is_empty() {
        return Err("the host is empty");
    }
    let host = host(host_text).ok_or("not a host name or address")?;
    let port = port_text.map_or(Some(default_port), port).ok_or("the port is not a number from 1 to 65535")?;
    Ok(Address::Tcp { host, port })
}

/// Reads a path that the system can take.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// Accepts ASCII alone: other letters have an `xn--` form, which is the one that servers know.
fn is_name(text: &str) -> bool {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fits && text.len() <= MAX_NAME_BYTES && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// Far over any real fleet, and few enough to check and connect to.
const MAX_ENTRIES: usize = 1_000;
/// Weights are shares, so a million tells any two apart.
const MAX_WEIGHT: u32 = 1_000_000;
const MEMCACHED_PORT: u16 = 11211;
/// The ports that servers without privileges listen on.
const PORTS: RangeInclusive<u32> = 1024..=65_535;
const WEIGHT: &str = "the weight is not a whole number from 1 to 1000000";

/// Reads a list of hosts and ports, none twice.
pub(super) fn addresses(node: &Node, default_port: u16) -> Fit<Vec<Address>> {
    let addresses = entries(node, |entry| match address(entry_text(entry)?, default_port)? {
        Address::Unix(_) => Err("a path does not do here, where servers tell each other hosts and ports"),
        tcp => Ok(tcp),
    })?;
    check_distinct(&addresses, |address| address.to_string().to_lowercase())?;
    Ok(addresses)
}

/// Reads a list of Memcached servers with their weights, none twice.
pub(super) fn servers(node: &Node) -> Fit<Vec<MemcachedServer>> {
    let servers = entries(node, server)?;
    check_distinct(&servers, |server| match &server.address {
        // Case counts in a path.
        Address::Unix(path) => path.display().to_string(),
        tcp => tcp.to_string().to_lowercase(),
    })?;
    Ok(servers)
}

/// Reads a list of weights.
pub(super) fn weights(node: &Node) -> Fit<Vec<u32>> {
    entries(node, weight)
}

/// Reads texts that are not empty: a list, or one text with commas.
pub(super) fn texts(node: &Node) -> Fit<Vec<String>> {
    entries(node, |entry| match entry {
        Node::Text(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err("not a text"),
    })
}

fn server(entry: &Node) -> Result<MemcachedServer, &'static str> {
    match entry {
        Node::List(pair) => match pair.as_slice() {
            [server, share] => shared(entry_text(server)?, weight(share)?),
            _ => Err("a list inside the list is [server, weight]"),
        },
        one => weighted(entry_text(one)?),
    }
}

/// Reads `host:port weight`, or without the weight.
fn weighted(text: &str) -> Result<MemcachedServer, &'static str> {
    let (server, share) = match text.rsplit_once(char::is_whitespace) {
        Some((server, share)) => (server.trim_end(), digits(share).ok_or(WEIGHT)?),
        None => (text, 1),
    };
    shared(server, share)
}

/// Joins a server and its weight. Other clients write a server as `[host, port]`, so a weight that could be a port is
/// accepted only if the server names its own port.
fn shared(server: &str, weight: u32) -> Result<MemcachedServer, &'static str> {
    let address = address(server, MEMCACHED_PORT)?;
    let has_port = matches!(address, Address::Unix(_)) || host_and_port(server).1.is_some();
    if !has_port && PORTS.contains(&weight) {
        return Err("the weight looks like a port: write `host:port`, or `host:port weight` if it is a weight");
    }
    Ok(MemcachedServer { address, weight })
}

fn weight(node: &Node) -> Result<u32, &'static str> {
    let (Node::Number(text) | Node::Text(text)) = node else { return Err(WEIGHT) };
    digits(text.trim()).ok_or(WEIGHT)
}

fn digits(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?.filter(|weight| (1..=MAX_WEIGHT).contains(weight))
}

fn entry_text(entry: &Node) -> Result<&str, &'static str> {
    match entry {
        Node::Text(text) => Ok(text.trim()),
        _ => Err("not a text such as `host:port`"),
    }
}

/// Reads each entry; a refusal counts them from 1 and repeats none, for a URL in the wrong place holds a password.
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
