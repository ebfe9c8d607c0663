//! The `fallback` of a body: a second backend, and how it stands in.

use std::time::Duration;

use super::document::{Field, Node, Place};
use super::{BackendConfig, Config, Variables, body, options, refused, url, within};
use crate::error::Result;

/// A second backend, for when the servers of the first fail.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackConfig {
    /// Where entries live then; its other options are not used.
    pub backend: BackendConfig,
    /// What its stored names start with.
    pub key_prefix: String,
    /// The longest life of an entry there. Default 60 s.
    pub max_ttl: Duration,
    /// Whether what is written meanwhile follows to the first backend when it is back; else it forgets these keys.
    /// Default false.
    pub follow: bool,
    /// Time between two looks whether the first backend is back. Default 250 ms.
    pub probe_interval: Duration,
}

/// Takes the fallback out of the fields.
pub(super) fn take(fields: &mut Vec<Field>) -> Result<Option<Field>> {
    let Some(at) = fields.iter().position(|field| field.name == "fallback") else { return Ok(None) };
    let field = fields.remove(at);
    match fields.iter().find(|field| field.name == "fallback") {
        Some(other) => Err(super::row::twice(&field, other)),
        None => Ok(Some(field).filter(|field| !field.is_null())),
    }
}

/// The configuration with the fallback that a field gives, if any.
pub(super) fn add(field: Option<Field>, config: Config, variables: Variables) -> Result<Config> {
    let Some(field) = field else { return Ok(config) };
    let label = format!("option {}", field.label());
    let fallback = read(field.node, &config, variables).map_err(|error| within(&label, error))?;
    let Some((fallback, notes)) = fallback else { return Ok(config) };
    let notes = config.notes.iter().cloned().chain(notes.into_iter().map(|note| format!("fallback: {note}"))).collect();
    Ok(Config { fallback: Some(Box::new(fallback)), notes, ..config })
}

/// The fallback and the notes on its configuration; `None`: there is no fallback.
fn read(node: Node, primary: &Config, variables: Variables) -> Result<Option<(FallbackConfig, Vec<String>)>> {
    if matches!(primary.backend, BackendConfig::Memory(_)) {
        return Err(refused("backend memory does not fail: a fallback is for redis and memcached"));
    }
    let (given, text) = match node {
        Node::Boolean(false) => return Ok(None),
        Node::Boolean(true) | Node::Empty => (Vec::new(), None),
        Node::Text(text) => match text.to_ascii_lowercase().as_str() {
            "false" | "0" => return Ok(None),
            "true" | "1" => (Vec::new(), None),
            _ => (Vec::new(), Some(text)),
        },
        Node::Map(fields) => (fields, None),
        other => return Err(refused(format!("{} is not a fallback: write `fallback: memory`", other.kind()))),
    };
    // Beside the first backend's entries in its own store, its names start as theirs do.
    let variables = |name: &str| match name {
        "YOKEDCACHE_KEY_PREFIX" => Some(primary.key_prefix.clone()),
        _ => variables(name),
    };
    let (own, mut rest): (Vec<Field>, Vec<Field>) =
        given.into_iter().partition(|field| options::is_of_fallback(&field.name));
    let config = match text {
        Some(text) => match url::split(&text) {
            Some(parts) => url::read(parts, &variables)?,
            None => body::read(vec![backend(&text)], &variables)?,
        },
        None => {
            if rest.iter().all(|field| field.name != "backend" || field.is_null()) {
                rest.push(backend("memory"));
            }
            body::read(rest, &variables)?
        }
    };
    check(&config, primary)?;
    let mut fallback = FallbackConfig {
        backend: config.backend,
        key_prefix: config.key_prefix,
        max_ttl: Duration::ZERO,
        follow: false,
        probe_interval: Duration::ZERO,
    };
    options::fill_fallback(&mut fallback, own)?;
    Ok(Some((fallback, config.notes)))
}

fn backend(name: &str) -> Field {
    Field { name: "backend".to_owned(), place: Place::Parameter, node: Node::Text(name.to_owned()) }
}

fn check(config: &Config, primary: &Config) -> Result<()> {
    if config.fallback.is_some() {
        return Err(refused("a fallback has none of its own"));
    }
    if config.store().is_some_and(|store| Some(store) == primary.store()) {
        return Err(refused("the fallback is the store that it is to stand in for: name other servers, or memory"));
    }
    Ok(())
}
