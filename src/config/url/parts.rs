//! The parts of a URL (RFC 3986, section 3): user, hosts, path and parameters, decoded.

use crate::config::document::{Field, Node, Place};
use crate::config::{refused, wording};
use crate::error::{Error, Result};

/// A URL after its `://`.
pub(in crate::config) struct Parts<'a> {
    /// Before the `?`.
    pub address: &'a str,
    /// After it.
    pub query: &'a str,
    /// Both.
    pub rest: &'a str,
}

/// What a URL of servers says before its `?`.
pub(super) struct Servers<'a> {
    pub credentials: Vec<Field>,
    /// As written, with ports and commas.
    pub hosts: &'a str,
    /// As written, from its `/`; or empty.
    pub path: &'a str,
}

/// Reads a URL of servers. No message repeats any of it: what is cut at the wrong `/` may be half a password.
pub(super) fn servers<'a>(parts: &Parts<'a>) -> Result<Servers<'a>> {
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

/// An option that a part of the address gives, decoded.
pub(super) fn part(option: &str, text: &str) -> Result<Field> {
    let text = decoded(text).ok_or_else(|| undecodable(&format!("the URL's {option}")))?;
    Ok(said(option, &text))
}

/// An option that the address gives.
pub(super) fn said(option: &str, text: &str) -> Field {
    Field { name: option.to_owned(), place: Place::Address, node: node(text) }
}

fn node(text: &str) -> Node {
    if text.is_empty() { Node::Empty } else { Node::Text(text.to_owned()) }
}

/// The options after the `?`.
pub(super) fn parameters(query: &str) -> Result<Vec<Field>> {
    query.split('&').filter(|parameter| !parameter.is_empty()).map(parameter).collect()
}

fn parameter(text: &str) -> Result<Field> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (name, value) =
        decoded(name).zip(decoded(value)).ok_or_else(|| undecodable(&format!("parameter {}", wording::name(name))))?;
    Ok(Field { name, place: Place::Parameter, node: node(&value) })
}

fn undecodable(place: &str) -> Error {
    refused(format!("{place}: a `%` takes two hexadecimal digits that make UTF-8; a percent sign is `%25`"))
}

/// The text with each `%41` replaced by its byte (RFC 3986, section 2.1); a `+` stays a `+`.
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
