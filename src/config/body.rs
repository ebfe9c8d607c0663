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
    let field = body.iter().find(|field| field.name == "backend");
    let field = field.ok_or_else(|| refused("no backend is named: write `backend: memory`"))?;
    match &field.node {
        Node::Text(name) => known(name, field),
        other => {
            Err(refused(format!("{}: {} is not a backend: write `backend: memory`", field.label(), other.shown())))
        }
    }
}

fn known(name: &str, field: &Field) -> Result<&'static Backend> {
    BACKENDS.iter().find(|backend| backend.name == name).ok_or_else(|| {
        let hint = wording::did_you_mean(name, backends::names());
        refused(format!("{}: backend {} is unknown{hint}", field.label(), wording::quoted(name)))
    })
}

/// The fields of the backend's section, none when it is left out.
fn section(body: Vec<Field>, backend: &str) -> Result<Vec<Field>> {
    let mut section = Vec::new();
    for field in body {
        match field.name.as_str() {
            "backend" => {}
            name if name == backend => section = fields(field)?,
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

fn misplaced(field: &Field, backend: &str) -> Error {
    let (name, label) = (field.name.as_str(), field.label());
    if backends::names().any(|known| known == name) {
        return refused(format!("section {label} is not used by backend {backend}"));
    }
    if options::names().any(|known| known == name) {
        return refused(format!("option {label} belongs in the section: write `{backend}: {{{name}: ...}}`"));
    }
    let hint = wording::did_you_mean(name, backends::names().chain(options::names()).chain(["backend", "fallback"]));
    refused(format!("option {} is unknown{hint}", field.doubtful_label()))
}
