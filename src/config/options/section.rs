//! The section of a backend on servers: groups opened, its URL read, its names checked.

use super::{Names, check_names};
use crate::config::document::{Field, Node};
use crate::config::row::twice;
use crate::config::{Variables, environment, refused, url, within};
use crate::error::Result;

/// How a section is read.
pub(super) struct Shape {
    /// The backend it belongs to.
    pub backend: &'static str,
    /// Every option it has, aliases after spaces.
    pub names: Names,
    /// The options that are a URL.
    pub url: &'static [&'static str],
    /// The maps whose options count as the section's own, and which options these may be; none: any.
    pub groups: &'static [(&'static str, &'static [&'static str])],
    /// A variable with a URL for a section that names no server.
    pub variable: Option<&'static str>,
    /// The options that name a server.
    pub servers: &'static [&'static str],
}

/// The options that a section gives.
pub(super) struct Section {
    shape: Shape,
    pub fields: Vec<Field>,
}

impl Section {
    /// Reads the fields; `check` says whether those of the variable's URL are well alone.
    pub(super) fn read(
        shape: Shape,
        fields: Vec<Field>,
        variables: Variables,
        check: fn(&[Field]) -> Result<()>,
    ) -> Result<Section> {
        let mut fields = open_groups(fields, &shape)?;
        check_names(&fields, &shape.names)?;
        fields.retain(|field| !field.is_null());
        let fields = open_url(fields, &shape)?;
        let mut section = Section { shape, fields };
        section.add_variable(variables, check)?;
        Ok(section)
    }

    /// The field that gives an option.
    pub(super) fn given(&self, option: &str) -> Option<&Field> {
        let names = self.shape.names.iter().find(|names| names.split(' ').next() == Some(option))?;
        self.fields.iter().find(|field| names.split(' ').any(|name| name == field.name))
    }

    /// Refuses an option beside one that excludes it.
    pub(super) fn check_exclusive(&self, pairs: &[(&str, &[&str])]) -> Result<()> {
        let given = pairs.iter().flat_map(|(first, others)| others.iter().map(|other| (*first, *other)));
        match given.filter_map(|(first, other)| self.given(first).zip(self.given(other))).next() {
            Some((first, other)) => {
                Err(refused(format!("options {} and {} exclude each other", first.label(), other.label())))
            }
            None => Ok(()),
        }
    }

    /// Refuses an option whose other half is missing.
    pub(super) fn check_needs(&self, option: &str, other: &str) -> Result<()> {
        match self.given(option) {
            Some(field) => Err(refused(format!("option {} needs {other} beside it", field.label()))),
            None => Ok(()),
        }
    }

    /// The variable's URL counts where the section names no server, so that no password of one goes to another.
    fn add_variable(&mut self, variables: Variables, check: fn(&[Field]) -> Result<()>) -> Result<()> {
        let Some(variable) = self.shape.variable else { return Ok(()) };
        let Some(text) = environment::variable(variables, variable) else { return Ok(()) };
        if self.shape.servers.iter().any(|option| self.given(option).is_some()) {
            return Ok(());
        }
        let fields = url_fields(&text, &self.shape).and_then(|fields| check(&fields).map(|()| fields));
        let fields = fields.map_err(|error| within(&format!("variable {variable}"), error))?;
        let farther: Vec<Field> = fields.into_iter().filter(|field| !self.is_given(field)).collect();
        self.fields.extend(farther);
        Ok(())
    }

    /// Whether the option of a field is given already, under whichever of its names.
    fn is_given(&self, field: &Field) -> bool {
        let names = self.shape.names.iter().find(|names| names.split(' ').any(|name| name == field.name));
        names.and_then(|names| self.given(names.split(' ').next()?)).is_some()
    }
}

fn open_groups(fields: Vec<Field>, shape: &Shape) -> Result<Vec<Field>> {
    let mut opened = Vec::new();
    for field in fields {
        match shape.groups.iter().find(|(name, _)| *name == field.name) {
            Some((_, allowed)) => opened.extend(open_group(field, allowed, shape)?),
            None => opened.push(field),
        }
    }
    Ok(opened)
}

fn open_group(group: Field, allowed: &[&'static str], shape: &Shape) -> Result<Vec<Field>> {
    let label = group.label();
    let fields = match group.node {
        Node::Map(fields) => fields,
        Node::Empty => Vec::new(),
        other => return Err(refused(format!("option {label}: {} is not accepted; it takes a map", other.kind()))),
    };
    let names = if allowed.is_empty() { shape.names.as_slice() } else { allowed };
    check_names(&fields, names).map_err(|error| {
        let list = if allowed.is_empty() { String::new() } else { format!("; it takes {}", allowed.join(", ")) };
        refused(format!("in {label}: {}{list}", error.message()))
    })?;
    Ok(fields)
}

/// The fields with those that the URL among them gives in its place.
fn open_url(fields: Vec<Field>, shape: &Shape) -> Result<Vec<Field>> {
    let (urls, mut fields): (Vec<Field>, Vec<Field>) =
        fields.into_iter().partition(|field| shape.url.contains(&field.name.as_str()));
    if let [first, second, ..] = urls.as_slice() {
        return Err(twice(first, second));
    }
    if let Some(field) = urls.first() {
        fields.extend(said_by(field, shape).map_err(|error| within(&format!("option {}", field.label()), error))?);
    }
    Ok(fields)
}

fn said_by(field: &Field, shape: &Shape) -> Result<Vec<Field>> {
    match &field.node {
        Node::Text(text) => url_fields(text, shape),
        other => Err(refused(format!("{} is not a URL", other.kind()))),
    }
}

fn url_fields(text: &str, shape: &Shape) -> Result<Vec<Field>> {
    let fields = url::fields_for(text, shape.backend)?;
    check_names(&fields, &shape.names)?;
    match fields.iter().find(|field| shape.url.contains(&field.name.as_str())) {
        Some(inner) => Err(refused(format!("option {} has no place inside a URL", inner.label()))),
        None => Ok(fields),
    }
}
