//! URLs (RFC 3986): the backend that the scheme names, and the options that the parts and parameters give.

use super::document::{Field, Node, Place};
use super::message::{self, refused};
use super::types::BackendName;
use super::value::host_and_port;
use crate::error::{Error, Result};

/// A URL after its `://`.
struct Parts<'a> {
    /// The part before the `?`.
    address: &'a str,
    /// The part after it.
    query: &'a str,
    /// Both.
    rest: &'a str,
}

/// The parts of a URL of servers before its `?`.
struct Servers<'a> {
    credentials: Vec<Field>,
    /// As written, with ports and commas.
    hosts: &'a str,
    /// As written, from its `/`; or empty.
    path: &'a str,
}

/// A scheme of URLs.
struct Scheme {
    name: &'static str,
    backend: BackendName,
    /// Reads the options that the URL gives before its `?`.
    read: fn(&Parts) -> Result<Vec<Field>>,
    tls: bool,
}

static SCHEMES: [Scheme; 19] = [
    plain("memory", BackendName::Memory, nothing),
    plain("redis", BackendName::Redis, redis),
    with_tls("rediss", BackendName::Redis, redis),
    plain("redis+cluster", BackendName::Redis, cluster),
    with_tls("rediss+cluster", BackendName::Redis, cluster),
    plain("redis+sentinel", BackendName::Redis, sentinel),
    with_tls("rediss+sentinel", BackendName::Redis, sentinel),
    plain("redis+unix", BackendName::Redis, redis_socket),
    plain("unix", BackendName::Redis, redis_socket),
    plain("valkey", BackendName::Redis, redis),
    with_tls("valkeys", BackendName::Redis, redis),
    plain("valkey+cluster", BackendName::Redis, cluster),
    with_tls("valkeys+cluster", BackendName::Redis, cluster),
    plain("valkey+sentinel", BackendName::Redis, sentinel),
    with_tls("valkeys+sentinel", BackendName::Redis, sentinel),
    plain("valkey+unix", BackendName::Redis, redis_socket),
    plain("memcached", BackendName::Memcached, memcached),
    with_tls("memcacheds", BackendName::Memcached, memcached),
    plain("memcached+unix", BackendName::Memcached, memcached_socket),
];

/// The schemes that a message lists.
const USUAL_SCHEMES: [&str; 7] =
    ["memory://", "redis://", "rediss://", "valkey://", "valkeys://", "memcached://", "memcacheds://"];

const fn plain(name: &'static str, backend: BackendName, read: fn(&Parts) -> Result<Vec<Field>>) -> Scheme {
    Scheme { name, backend, read, tls: false }
}

const fn with_tls(name: &'static str, backend: BackendName, read: fn(&Parts) -> Result<Vec<Field>>) -> Scheme {
    Scheme { name, backend, read, tls: true }
}

/// Splits the text into its scheme and the part after `://` if it starts as a URL does.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let starts = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let fits = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    (starts && fits).then_some((scheme, rest))
}

/// Returns the backend of a URL and the options that it gives. No message repeats the part before the `?`.
pub(super) fn read((scheme, rest): (&str, &str)) -> Result<(BackendName, Vec<Field>)> {
    let scheme = known(scheme)?;
    Ok((scheme.backend, fields(scheme, rest)?))
}

/// Returns the options that a URL of this backend gives.
pub(super) fn fields_for(text: &str, backend: BackendName) -> Result<Vec<Field>> {
    let (scheme, rest) = split(text).ok_or_else(|| refused("not a URL: it starts with a scheme and `://`"))?;
    let scheme = known(scheme)?;
    if scheme.backend != backend {
        return Err(refused(format!("a {} URL does not do for backend {}", scheme.name, backend.text())));
    }
    fields(scheme, rest)
}

fn known(scheme: &str) -> Result<&'static Scheme> {
    SCHEMES.iter().find(|known| known.name.eq_ignore_ascii_case(scheme)).ok_or_else(|| {
        let hint = message::did_you_mean(scheme, SCHEMES.iter().map(|scheme| scheme.name));
        let (scheme, usual) = (message::quoted(scheme), message::alternatives(USUAL_SCHEMES.iter().copied()));
        refused(format!("the URL scheme {scheme} is unknown{hint}; a URL starts with {usual}"))
    })
}

fn fields(scheme: &Scheme, rest: &str) -> Result<Vec<Field>> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut fields = (scheme.read)(&Parts { address, query, rest })?;
    if scheme.tls {
        fields.push(said("ssl", "true"));
    }
    fields.extend(parameters(query)?);
    Ok(fields)
}

/// Reads `memory://`.
fn nothing(parts: &Parts) -> Result<Vec<Field>> {
    match unwanted(parts) {
        Some(part) => Err(refused(format!("a memory URL takes no {part}: write `memory://?max_size=1000`"))),
        None => Ok(Vec::new()),
    }
}

/// Returns the first part that a URL of the memory backend may not have.
fn unwanted(parts: &Parts) -> Option<&'static str> {
    let Parts { address, rest, .. } = parts;
    let authority = address.split(['/', '#']).next().unwrap_or(address);
    let parts = [
        (authority.contains('@'), "user or password"),
        (authority.starts_with(':'), "port"),
        (authority.contains(':'), "host and port"),
        (!authority.is_empty(), "host"),
        (address.starts_with('/'), "path"),
        (rest.contains('#'), "fragment (a `#` in a value is written `%23`)"),
    ];
    parts.iter().find(|(found, _)| *found).map(|(_, part)| *part)
}

/// Reads `redis://user:password@host:port/db`.
fn redis(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    let (host, port) = host_and_port(hosts);
    credentials.push(said("host", host));
    credentials.extend(port.map(|port| said("port", port)));
    credentials.extend(database(path)?);
    Ok(credentials)
}

/// Reads `redis+cluster://user:password@host:port,host:port`.
fn cluster(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    credentials.extend([said("cluster", "true"), said("nodes", hosts)]);
    credentials.extend(database(path)?);
    Ok(credentials)
}

/// Reads `redis+sentinel://user:password@host:port,host:port/master/db`.
fn sentinel(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    credentials.push(said("sentinels", hosts));
    if !master.is_empty() {
        credentials.push(part("sentinel_master", master)?);
    }
    if !database.is_empty() {
        credentials.push(part("db", database)?);
    }
    Ok(credentials)
}

/// Reads `unix:///a/socket`, with `user:password@` before the path if need be.
fn redis_socket(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    check_no_host(hosts)?;
    credentials.push(part("socket_path", path)?);
    Ok(credentials)
}

/// Reads `memcached://user:password@host:port,host:port`.
fn memcached(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    if !matches!(path, "" | "/") {
        return Err(refused("a memcached URL takes no path; a socket is `memcached+unix:///a/socket`"));
    }
    credentials.push(said("servers", hosts));
    Ok(credentials)
}

/// Reads `memcached+unix:///a/socket`.
fn memcached_socket(parts: &Parts) -> Result<Vec<Field>> {
    let Servers { mut credentials, hosts, path } = servers(parts)?;
    check_no_host(hosts)?;
    let mut socket = part("servers", path)?;
    // A pair, for a path may hold spaces and commas.
    socket.node = Node::List(vec![Node::List(vec![socket.node, Node::Number("1".to_owned())])]);
    credentials.push(socket);
    Ok(credentials)
}

fn database(path: &str) -> Result<Option<Field>> {
    match path.strip_prefix('/') {
        None | Some("") => Ok(None),
        Some(text) => part("db", text).map(Some),
    }
}

fn check_no_host(hosts: &str) -> Result<()> {
    if hosts.is_empty() {
        Ok(())
    } else {
        Err(refused("the URL of a socket has no host: its path follows `://`, as in `:///a/socket`"))
    }
}

/// Reads a URL of servers. No message repeats any of it: what is cut at the wrong `/` may be half a password.
fn servers<'a>(parts: &Parts<'a>) -> Result<Servers<'a>> {
    check_letters(parts)?;
    let end = parts.address.find('/').unwrap_or(parts.address.len());
    let (authority, path) = parts.address.split_at(end);
    let (credentials, hosts) = match authority.split_once('@') {
        Some((user, hosts)) => (credentials(user)?, hosts),
        None => (Vec::new(), authority),
    };
    if hosts.contains('@') || path.contains('@') || parts.query.contains('@') {
        return Err(refused(
            "the URL has an `@` too many: in a user, password or value `@` is written `%40`, `/` `%2F` and `?` `%3F`",
        ));
    }
    Ok(Servers { credentials, hosts, path })
}

fn check_letters(parts: &Parts) -> Result<()> {
    if parts.rest.contains('#') {
        return Err(refused("the URL has a fragment: in a user, password or value `#` is written `%23`"));
    }
    if parts.address.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(refused("the URL has a space or control character: a space is written `%20`"));
    }
    Ok(())
}

fn credentials(text: &str) -> Result<Vec<Field>> {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let user = (!user.is_empty() || password.is_none()).then(|| part("username", user));
    let password = password.map(|password| part("password", password));
    user.into_iter().chain(password).collect()
}

/// Returns an option that a part of the address gives, decoded.
fn part(option: &str, text: &str) -> Result<Field> {
    let text = decoded(text).ok_or_else(|| undecodable(&format!("the URL's {option}")))?;
    Ok(said(option, &text))
}

/// Returns an option that the address gives.
fn said(option: &str, text: &str) -> Field {
    Field { name: option.to_owned(), place: Place::Address, node: node(text) }
}

fn node(text: &str) -> Node {
    if text.is_empty() { Node::Empty } else { Node::Text(text.to_owned()) }
}

/// Reads the options after the `?`.
fn parameters(query: &str) -> Result<Vec<Field>> {
    query.split('&').filter(|parameter| !parameter.is_empty()).map(parameter).collect()
}

fn parameter(text: &str) -> Result<Field> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (name, value) =
        decoded(name).zip(decoded(value)).ok_or_else(|| undecodable(&format!("parameter {}", message::name(name))))?;
    Ok(Field { name, place: Place::Parameter, node: node(&value) })
}

fn undecodable(place: &str) -> Error {
    refused(format!("{place}: a `%` takes two hexadecimal digits that make UTF-8; a percent sign is `%25`"))
}

/// Returns the text with each `%41` replaced by its byte (RFC 3986, section 2.1); a `+` stays a `+`.
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, after) = piece.split_at_checked(2)?;
        bytes.push(hexadecimal(digits)?);
        bytes.extend_from_slice(after.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn hexadecimal(digits: &str) -> Option<u8> {
    // `from_str_radix` alone would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(digits, 16).ok())?
}
