//! A whole configuration, from a body of a document or from a URL: the backend that it names, its near cache and its
//! fallback.

use super::backends::build;
use super::document::{Field, Node, Place};
use super::environment::{self, Variables};
use super::message::{self, refused, within};
use super::option::{Options, Scope, twice};
use super::types::{BackendConfig, BackendName, Config, FallbackConfig, RedisConfig};
use super::{near, section, table, url};
use crate::error::{Error, Result};

/// Returns the configuration that a body describes.
pub(super) fn read(mut body: Vec<Field>, variables: Variables) -> Result<Config> {
    environment::resolve(&mut body, variables)?;
    let fallback = take(&mut body, "fallback")?;
    let backend = backend(&body)?;
    let fields = section_fields(body, backend)?;
    let config = of_section(backend, fields, variables)?;
    with_fallback(fallback, config, variables)
}

/// Returns the configuration that a URL describes, as the scheme and the part after `://`.
pub(super) fn read_url(parts: (&str, &str), variables: Variables) -> Result<Config> {
    let (backend, mut fields) = url::read(parts)?;
    let fallback = take(&mut fields, "fallback")?;
    let config = of_section(backend, fields, variables)?;
    with_fallback(fallback, config, variables)
}

/// Returns the configuration that the fields of a backend's section describe.
fn of_section(backend: BackendName, mut fields: Vec<Field>, variables: Variables) -> Result<Config> {
    let near = take(&mut fields, "near")?;
    // Redis carries its events itself.
    let events = if backend == BackendName::Redis { None } else { take(&mut fields, "events")? };
    let config = with_events(events, build(backend, fields, variables)?, variables)?;
    match near {
        Some(near) => near::add(&near, config),
        None => Ok(config),
    }
}

fn backend(body: &[Field]) -> Result<BackendName> {
    let field = body.iter().find(|field| field.name == "backend" && !field.is_null());
    let field = field.ok_or_else(|| unnamed(body))?;
    match &field.node {
        Node::Text(name) => named(name).ok_or_else(|| unknown(name, field)),
        other => {
            Err(refused(format!("{}: {} is not a backend: write `backend: memory`", field.label(), other.shown())))
        }
    }
}

fn named(name: &str) -> Option<BackendName> {
    BackendName::ALL.into_iter().find(|backend| backend.text() == name)
}

fn names() -> impl Iterator<Item = &'static str> {
    BackendName::ALL.into_iter().map(BackendName::text)
}

/// Returns the refusal of a body without `backend`. A single section shows which backend is meant.
fn unnamed(body: &[Field]) -> Error {
    let mut sections = body.iter().filter(|field| !field.is_null() && named(&field.name).is_some());
    match (sections.next(), sections.next()) {
        (Some(section), None) => {
            let (name, label) = (&section.name, section.label());
            refused(format!("no backend is named: write `backend: {name}` next to section {label}"))
        }
        _ => {
            let names = message::alternatives(names());
            refused(format!("no backend is named: write `backend: memory`; a backend is {names}"))
        }
    }
}

fn unknown(name: &str, field: &Field) -> Error {
    let hint = message::did_you_mean(usual_name(name), names());
    let (label, name, names) = (field.label(), message::quoted(name), message::alternatives(names()));
    refused(format!("{label}: backend {name} is unknown{hint}; a backend is {names}"))
}

/// Returns the name that a backend has here, for a name that people give it elsewhere.
fn usual_name(name: &str) -> &str {
    match name.to_ascii_lowercase().as_str() {
        "valkey" | "valkeys" | "rediss" => "redis",
        "memcache" | "memcacheds" => "memcached",
        "inmemory" | "in-memory" | "in_memory" | "mem" => "memory",
        _ => name,
    }
}

/// Returns the fields of the backend's section, none if it is left out.
fn section_fields(body: Vec<Field>, backend: BackendName) -> Result<Vec<Field>> {
    let mut section = Vec::new();
    for field in body {
        match field.name.as_str() {
            "backend" => {}
            name if name == backend.text() => section = map_fields(field)?,
            name if field.is_null() && (named(name).is_some() || is_option(name)) => {}
            _ => return Err(misplaced(&field, backend)),
        }
    }
    Ok(section)
}

fn map_fields(section: Field) -> Result<Vec<Field>> {
    match section.node {
        Node::Map(fields) => Ok(fields),
        // `memory:` with all its lines commented out.
        Node::Empty => Ok(Vec::new()),
        ref other => Err(refused(format!("section {} has to be a map, not {}", section.label(), other.shown()))),
    }
}

fn is_option(name: &str) -> bool {
    table::names().any(|known| known == name)
}

fn misplaced(field: &Field, backend: BackendName) -> Error {
    let (name, label, backend) = (field.name.as_str(), field.label(), backend.text());
    if named(name).is_some() {
        return refused(format!("section {label} is not used by backend {backend}"));
    }
    if is_option(name) {
        return refused(format!("option {label} belongs in the section: write `{backend}: {{{name}: ...}}`"));
    }
    let hint = message::did_you_mean(name, names().chain(table::names()).chain(["backend", "fallback"]));
    refused(format!("option {} is unknown{hint}", field.doubtful_label()))
}

/// Takes the field of a configuration inside this one out of the fields.
fn take(fields: &mut Vec<Field>, name: &str) -> Result<Option<Field>> {
    let Some(at) = fields.iter().position(|field| field.name == name) else { return Ok(None) };
    let field = fields.remove(at);
    match fields.iter().find(|field| field.name == name) {
        Some(other) => Err(twice(&field, other)),
        None => Ok(Some(field).filter(|field| !field.is_null())),
    }
}

/// Adds the servers of channels that a field gives, if any.
fn with_events(field: Option<Field>, mut config: Config, variables: Variables) -> Result<Config> {
    let Some(field) = field else { return Ok(config) };
    let BackendConfig::Memcached(memcached) = &mut config.backend else {
        return Err(refused(format!(
            "option {} is for redis and memcached: the memory backend has channels and events without it",
            field.label()
        )));
    };
    let read = || match &field.node {
        Node::Text(text) => url::split(text).ok_or_else(no_redis).and_then(|parts| read_url(parts, variables)),
        Node::Map(fields) => read(fields.clone(), variables),
        _ => Err(no_redis()),
    };
    let events = read().and_then(|events| match events.backend {
        BackendConfig::Redis(redis) if events.fallback.is_none() && events.near.is_none() => {
            Ok(RedisConfig { events: true, ..redis })
        }
        _ => Err(no_redis()),
    });
    let label = format!("option {}", field.label());
    memcached.events = Some(Box::new(events.map_err(|error| within(&label, error))?));
    Ok(config)
}

fn no_redis() -> Error {
    refused("the servers of channels are Redis servers without a fallback: write `events: redis://host`")
}

/// Adds the fallback that a field gives, if any.
fn with_fallback(field: Option<Field>, config: Config, variables: Variables) -> Result<Config> {
    let Some(field) = field else { return Ok(config) };
    let label = format!("option {}", field.label());
    let fallback = fallback(field.node, &config, variables).map_err(|error| within(&label, error))?;
    let Some((fallback, notes)) = fallback else { return Ok(config) };
    let notes = config.notes.iter().cloned().chain(notes.into_iter().map(|note| format!("fallback: {note}"))).collect();
    Ok(Config { fallback: Some(Box::new(fallback)), notes, ..config })
}

/// Returns the fallback and the notes on its configuration; `None`: there is no fallback.
fn fallback(node: Node, primary: &Config, variables: Variables) -> Result<Option<(FallbackConfig, Vec<String>)>> {
    if primary.backend.name() == BackendName::Memory {
        return Err(refused("backend memory does not fail: a fallback is for redis and memcached"));
    }
    // In a store that both use, the names of the fallback start as those of the first backend do.
    let variables = |name: &str| match name {
        "YOKEDCACHE_KEY_PREFIX" => Some(primary.key_prefix.clone()),
        _ => variables(name),
    };
    let (own, config) = match node {
        Node::Text(text) => match text.to_ascii_lowercase().as_str() {
            "false" | "0" => return Ok(None),
            "true" | "1" => fallback_of_map(Vec::new(), &variables)?,
            _ => (Vec::new(), fallback_of_text(&text, &variables)?),
        },
        Node::Boolean(false) => return Ok(None),
        Node::Boolean(true) | Node::Empty => fallback_of_map(Vec::new(), &variables)?,
        Node::Map(fields) => fallback_of_map(fields, &variables)?,
        other => return Err(refused(format!("{} is not a fallback: write `fallback: memory`", other.kind()))),
    };
    check_fallback(&config, primary)?;
    let Options { fallback, .. } = section::options_alone(&[Scope::Fallback], own)?;
    let notes = config.notes;
    let fallback = FallbackConfig {
        backend: config.backend,
        key_prefix: config.key_prefix,
        max_ttl: fallback.max_ttl,
        follow: fallback.follow,
        probe_interval: fallback.probe_interval,
    };
    Ok(Some((fallback, notes)))
}

/// Reads the name of a backend or a URL.
fn fallback_of_text(text: &str, variables: Variables) -> Result<Config> {
    match url::split(text) {
        Some(parts) => read_url(parts, variables),
        None => read(vec![naming_backend(text)], variables),
    }
}

/// Reads a body, which may have options of the fallback itself; returns these apart.
fn fallback_of_map(fields: Vec<Field>, variables: Variables) -> Result<(Vec<Field>, Config)> {
    let is_own = |field: &Field| table::with_scope(&[Scope::Fallback]).any(|row| row.is_called(&field.name));
    let (own, mut body): (Vec<Field>, Vec<Field>) = fields.into_iter().partition(is_own);
    if body.iter().all(|field| field.name != "backend" || field.is_null()) {
        body.push(naming_backend("memory"));
    }
    Ok((own, read(body, variables)?))
}

fn naming_backend(name: &str) -> Field {
    Field { name: "backend".to_owned(), place: Place::Parameter, node: Node::Text(name.to_owned()) }
}

fn check_fallback(config: &Config, primary: &Config) -> Result<()> {
    if config.fallback.is_some() {
        return Err(refused("a fallback has none of its own"));
    }
    if config.near.is_some() {
        return Err(refused("a fallback has no near cache: give option near to the backend in front of it"));
    }
    if config.store().is_some_and(|store| Some(store) == primary.store()) {
        return Err(refused("the fallback is the store that it is to stand in for: name other servers, or memory"));
    }
    Ok(())
}
