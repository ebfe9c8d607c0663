//! Where a server listens.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The longest name of a host (RFC 1035, section 2.3.4), without the dot at its end.
const MAX_NAME_BYTES: usize = 254;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A name or an IP address, and a port.
    Tcp {
        /// As given; an IPv6 address without its brackets.
        host: String,
        /// From 1.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// `host:port`, `[v6]:port` or the path.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Address::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// A name or an IP address, an IPv6 address with or without its brackets.
pub(super) fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inside = bare.unwrap_or(text);
    let fits = if bare.is_some() || text.contains(':') { inside.parse::<Ipv6Addr>().is_ok() } else { is_name(text) };
    fits.then(|| inside.to_owned())
}

/// A port in decimal digits.
pub(super) fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?.filter(|port| *port > 0)
}

/// Host and port as texts, unchecked; an IPv6 address keeps its brackets.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    let end = if text.starts_with('[') { text.find(']').map_or(0, |end| end + 1) } else { 0 };
    match text.split_at(end).1.find(':') {
        Some(colon) => {
            let (host, port) = text.split_at(end + colon);
            (host, port.strip_prefix(':'))
        }
        None => (text, None),
    }
}

/// `host`, `host:port`, `[v6]:port` or `/a/path`; else what is wrong with it.
pub(super) fn parse(text: &str, default_port: u16) -> Result<Address, &'static str> {
    if text.starts_with('/') {
        return path(text).map(Address::Unix).ok_or("a path holds no NUL");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address stands in brackets");
    }
    let (host_text, port_text) = split(text);
    if host_text.is_empty() {
        return Err("the host is empty");
    }
    let host = host(host_text).ok_or("not a host name or address")?;
    let port = port_text.map_or(Some(default_port), port).ok_or("the port is not a number from 1 to 65535")?;
    Ok(Address::Tcp { host, port })
}

/// A path that the system can take.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// ASCII alone: other letters have an `xn--` form, which is the one that servers know.
fn is_name(text: &str) -> bool {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fits && text.len() <= MAX_NAME_BYTES && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}
