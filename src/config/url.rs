//! URLs: the backend that a scheme names, built from the parameters.

use super::backends::{BACKENDS, Backend};
use super::document::{Field, Node};
use super::{Config, Variables, refused, wording};
use crate::error::{Error, Result};

/// The scheme and what follows `://`, when the text starts as a URL does.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let starts = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let fits = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    (starts && fits).then_some((scheme, rest))
}

/// The configuration that a URL describes. No message repeats what stands before the `?`.
pub(super) fn read((scheme, rest): (&str, &str), variables: Variables) -> Result<Config> {
    let build = backend(scheme)?.builder()?;
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    if let Some(part) = unwanted(address, rest) {
        return Err(refused(format!("a memory URL takes no {part}: write `memory://?max_size=1000`")));
    }
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    build(&parameters.map(field).collect::<Result<Vec<_>>>()?, variables)
}

fn backend(scheme: &str) -> Result<&'static Backend> {
    let named = |backend: &&Backend| backend.schemes.iter().any(|name| name.eq_ignore_ascii_case(scheme));
    BACKENDS.iter().find(named).ok_or_else(|| {
        let hint = wording::did_you_mean(scheme, BACKENDS.iter().flat_map(|backend| backend.schemes).copied());
        refused(format!("the URL scheme {} is unknown{hint}", wording::quoted(scheme)))
    })
}

/// The first part that a URL of the memory backend may not have.
fn unwanted(address: &str, rest: &str) -> Option<&'static str> {
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

fn field(parameter: &str) -> Result<Field> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let (name, value) = decoded(name).zip(decoded(value)).ok_or_else(|| undecodable(name))?;
    let node = if value.is_empty() { Node::Empty } else { Node::Text(value) };
    Ok(Field { name, place: None, node })
}

fn undecodable(name: &str) -> Error {
    let name = wording::quoted(name);
    refused(format!("parameter {name}: a `%` takes two hexadecimal digits that make UTF-8; a percent sign is `%25`"))
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
