//! URLs: the backend that a scheme names, and the options that the rest gives.

pub(super) mod forms;
mod parts;

use super::backends::{BACKENDS, Backend, Scheme};
use super::document::Field;
use super::{Config, Variables, fallback, refused, wording};
use crate::error::Result;
pub(super) use parts::Parts;

/// The schemes that a message lists.
const USUAL_SCHEMES: [&str; 7] =
    ["memory://", "redis://", "rediss://", "valkey://", "valkeys://", "memcached://", "memcacheds://"];

/// The scheme and what follows `://`, when the text starts as a URL does.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let starts = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let fits = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    (starts && fits).then_some((scheme, rest))
}

/// The configuration that a URL describes. No message repeats what stands before the `?`.
pub(super) fn read((scheme, rest): (&str, &str), variables: Variables) -> Result<Config> {
    let (backend, scheme) = known(scheme)?;
    let mut fields = fields(scheme, rest)?;
    let fallback = fallback::take(&mut fields)?;
    fallback::add(fallback, (backend.build)(fields, variables)?, variables)
}

/// The options that a URL of this backend gives.
pub(super) fn fields_for(text: &str, backend: &str) -> Result<Vec<Field>> {
    let (scheme, rest) = split(text).ok_or_else(|| refused("not a URL: it starts with a scheme and `://`"))?;
    let (named, scheme) = known(scheme)?;
    if named.name != backend {
        return Err(refused(format!("a {} URL does not do for backend {backend}", scheme.name)));
    }
    fields(scheme, rest)
}

fn known(scheme: &str) -> Result<(&'static Backend, &'static Scheme)> {
    let mut schemes = schemes();
    schemes.find(|(_, known)| known.name.eq_ignore_ascii_case(scheme)).ok_or_else(|| {
        let hint = wording::did_you_mean(scheme, self::schemes().map(|(_, scheme)| scheme.name));
        let (scheme, usual) = (wording::quoted(scheme), wording::alternatives(USUAL_SCHEMES.iter().copied()));
        refused(format!("the URL scheme {scheme} is unknown{hint}; a URL starts with {usual}"))
    })
}

fn schemes() -> impl Iterator<Item = (&'static Backend, &'static Scheme)> {
    BACKENDS.iter().flat_map(|backend| backend.schemes.iter().map(move |scheme| (backend, scheme)))
}

fn fields(scheme: &Scheme, rest: &str) -> Result<Vec<Field>> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut fields = (scheme.read)(&Parts { address, query, rest })?;
    if scheme.tls {
        fields.push(parts::said("ssl", "true"));
    }
    fields.extend(parts::parameters(query)?);
    Ok(fields)
}
