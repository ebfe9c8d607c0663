//! One environment's body: the backend it names, built from the fields of that backend's section.

use super::backends::{self, BACKENDS, Backend};
use super::document::{Field, Node};
use super::{Config, Variables, fallback, options, references, refused, wording};
use crate::error::{Error, Result};

/// The configuration that a body describes.
pub(super) fn read(mut body: Vec<Field>, variables: Variables) -> Result<Config> {
    references::resolve(&mut body, variables)?;
    let fallback = fallback::take(&mut body)?;
    let backend = backend(&body)?;
    let config = (backend.build)(section(body, backend.name)?, variables)?;
    fallback::add(fallback, config, variables)
}

fn backend(body: &[Field]) -> Result<&'static Backend> {
    let field = body.iter().find(|field| field.name == "backend" && !field.is_null());
    let field = field.ok_or_else(|| unnamed(body))?;
    match &field.node {
        Node::Text(name) => known(name, field),
        other => {
            Err(refused(format!("{}: {} is not a backend: write `backend: memory`", field.label(), other.shown())))
        }
    }
}

/// The refusal of a body without `backend`. A single section shows which backend is meant.
fn unnamed(body: &[Field]) -> Error {
    let mut sections = body.iter().filter(|field| !field.is_null() && is_backend(&field.name));
    match (sections.next(), sections.next()) {
        (Some(section), None) => {
            let (name, label) = (&section.name, section.label());
            refused(format!("no backend is named: write `backend: {name}` next to section {label}"))
        }
        _ => {
            let names = wording::alternatives(backends::names());
            refused(format!("no backend is named: write `backend: memory`; a backend is {names}"))
        }
    }
}

fn is_backend(name: &str) -> bool {
    backends::names().any(|known| known == name)
}

fn known(name: &str, field: &Field) -> Result<&'static Backend> {
    BACKENDS.iter().find(|backend| backend.name == name).ok_or_else(|| {
        let hint = wording::did_you_mean(backends::usual_name(name), backends::names());
        let (label, name, names) = (field.label(), wording::quoted(name), wording::alternatives(backends::names()));
        refused(format!("{label}: backend {name} is unknown{hint}; a backend is {names}"))
    })
}

/// The fields of the backend's section, none when it is left out.
fn section(body: Vec<Field>, backend: &str) -> Result<Vec<Field>> {
    let mut section = Vec::new();
    for field in body {
        match field.name.as_str() {
            "backend" => {}
            name if name == backend => section = fields(field)?,
            name if field.is_null() && is_known(name) => {}
            _ => return Err(misplaced(&field, backend)),
        }
    }
    Ok(section)
}

fn fields(section: Field) -> Result<Vec<Field>> {
    match section.node {
        Node::Map(fields) => Ok(fields),
        // `memory:` with all its lines commented out.
        Node::Empty => Ok(Vec::new()),
        ref other => Err(refused(format!("section {} has to be a map, not {}", section.label(), other.shown()))),
    }
}

fn is_known(name: &str) -> bool {
    is_backend(name) || options::names().any(|known| known == name)
}

fn misplaced(field: &Field, backend: &str) -> Error {
    let (name, label) = (field.name.as_str(), field.label());
    if is_backend(name) {
        return refused(format!("section {label} is not used by backend {backend}"));
    }
    if options::names().any(|known| known == name) {
        return refused(format!("option {label} belongs in the section: write `{backend}: {{{name}: ...}}`"));
    }
    let hint = wording::did_you_mean(name, backends::names().chain(options::names()).chain(["backend", "fallback"]));
    refused(format!("option {} is unknown{hint}", field.doubtful_label()))
}
