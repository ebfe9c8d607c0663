//! The section of a backend: groups opened, its URL read, its names checked.

use super::document::{Field, Node};
use super::environment::{self, Variables};
use super::message::{self, refused, within};
use super::option::{Kind, Options, Row, Scope, twice};
use super::types::BackendName;
use super::{table, url, value};
use crate::error::Result;

/// The options of Redis that name a server.
const REDIS_SERVERS: &[&str] = &["host", "port", "socket_path", "nodes", "sentinels", "sentinel_master"];

/// The longest time in seconds that people mean when they wait for a server.
const LONGEST_USUAL_SECONDS: f64 = 60.0;

/// The options that a section gives.
pub(super) struct Section {
    backend: BackendName,
    rows: Vec<&'static Row>,
    pub fields: Vec<Field>,
}

impl Section {
    /// Reads the fields, and those of the URL in the section or in its variable.
    pub(super) fn read(backend: BackendName, fields: Vec<Field>, variables: Variables) -> Result<Section> {
        let rows = table::with_scope(&[Scope::Every]).chain(table::of_backend(backend)).collect();
        let mut section = Section { backend, rows, fields: Vec::new() };
        let mut fields = section.open_groups(fields)?;
        section.check_names(&fields)?;
        fields.retain(|field| !field.is_null());
        section.fields = section.open_url(fields)?;
        section.add_variable(variables)?;
        Ok(section)
    }

    /// Returns the values of all options of the section.
    pub(super) fn options(&self, variables: Variables) -> Result<Options> {
        // The variables of Redis mean nothing to other backends.
        let own = |name: &str| match self.backend {
            BackendName::Redis => variables(name),
            _ => (!name.starts_with("REDIS_")).then(|| variables(name)).flatten(),
        };
        let mut options = Options::default();
        self.rows.iter().try_for_each(|row| row.fill(&mut options, &self.fields, &own))?;
        Ok(options)
    }

    /// Returns the field that gives an option.
    pub(super) fn given(&self, option: &str) -> Option<&Field> {
        self.rows.iter().find(|row| row.name() == option)?.given(&self.fields)
    }

    /// Refuses an option if one that excludes it is given too.
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
            Some(field) => Err(refused(format!("option {} requires {other}", field.label()))),
            None => Ok(()),
        }
    }

    /// Returns the notes: accepted options that are probably a mistake.
    pub(super) fn notes(&self, variables: Variables) -> Vec<String> {
        if self.backend == BackendName::Memory {
            return Vec::new();
        }
        let timeouts = ["socket_timeout", "socket_connect_timeout"].into_iter().filter_map(|name| self.given(name));
        timeouts.filter_map(long_timeout).chain(self.missing_prefix(variables)).collect()
    }

    /// Notes a missing prefix: programs that share a server share their entries if both use the default.
    fn missing_prefix(&self, variables: Variables) -> Option<String> {
        let given =
            self.given("key_prefix").is_some() || environment::variable(variables, "YOKEDCACHE_KEY_PREFIX").is_some();
        (!given).then(|| {
            "key_prefix is not set: every program that uses the default prefix `yokedcache` on the same servers shares \
             and flushes these entries; set key_prefix to a name of this application"
                .to_owned()
        })
    }

    /// Adds the options of the variable's URL if the section names no server, so that no password of one server goes to
    /// another.
    fn add_variable(&mut self, variables: Variables) -> Result<()> {
        let Some(variable) = self.url_rows().find_map(|row| row.variable) else { return Ok(()) };
        let Some(text) = environment::variable(variables, variable) else { return Ok(()) };
        if REDIS_SERVERS.iter().any(|option| self.given(option).is_some()) {
            return Ok(());
        }
        let fields = self.url_fields(&text).and_then(|fields| self.check_alone(&fields).map(|()| fields));
        let fields = fields.map_err(|error| within(&format!("variable {variable}"), error))?;
        let farther: Vec<Field> = fields.into_iter().filter(|field| !self.is_given(field)).collect();
        self.fields.extend(farther);
        Ok(())
    }

    /// Checks each of the fields by itself, also those that the section overrides.
    fn check_alone(&self, fields: &[Field]) -> Result<()> {
        let mut options = Options::default();
        let rows = self.rows.iter().filter(|row| row.scope != Scope::Every);
        rows.into_iter().try_for_each(|row| row.fill(&mut options, fields, &|_| None))
    }

    /// Returns true if the option of a field is given already, under any of its names.
    fn is_given(&self, field: &Field) -> bool {
        self.rows.iter().any(|row| row.is_called(&field.name) && row.given(&self.fields).is_some())
    }

    fn url_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().copied().filter(|row| matches!(row.kind, Kind::Url(_)))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.rows.iter().flat_map(|row| row.names())
    }

    fn check_names(&self, fields: &[Field]) -> Result<()> {
        check_names(fields, self.names())
    }

    fn open_groups(&self, fields: Vec<Field>) -> Result<Vec<Field>> {
        let mut opened = Vec::new();
        for field in fields {
            match self.rows.iter().find(|row| row.is_called(&field.name)).map(|row| &row.kind) {
                Some(Kind::Group(allowed)) => opened.extend(self.open_group(field, allowed)?),
                _ => opened.push(field),
            }
        }
        Ok(opened)
    }

    fn open_group(&self, group: Field, allowed: &[&'static str]) -> Result<Vec<Field>> {
        let label = group.label();
        let fields = match group.node {
            Node::Map(fields) => fields,
            Node::Empty => Vec::new(),
            other => return Err(refused(format!("option {label}: {} is not accepted; it takes a map", other.kind()))),
        };
        if allowed.is_empty() {
            self.check_names(&fields).map_err(|error| within(&format!("in {label}"), error))?;
        } else {
            check_names(&fields, allowed.iter().copied()).map_err(|error| {
                refused(format!("in {label}: {}; it takes {}", error.message(), allowed.join(", ")))
            })?;
        }
        Ok(fields)
    }

    /// Replaces the URL among the fields by the options that it gives.
    fn open_url(&self, fields: Vec<Field>) -> Result<Vec<Field>> {
        let (urls, mut fields): (Vec<Field>, Vec<Field>) = fields.into_iter().partition(|field| self.is_url(field));
        if let [first, second, ..] = urls.as_slice() {
            return Err(twice(first, second));
        }
        if let Some(field) = urls.first() {
            fields.extend(self.said_by(field).map_err(|error| within(&format!("option {}", field.label()), error))?);
        }
        Ok(fields)
    }

    fn is_url(&self, field: &Field) -> bool {
        self.url_rows().any(|row| row.is_called(&field.name))
    }

    fn said_by(&self, field: &Field) -> Result<Vec<Field>> {
        match &field.node {
            Node::Text(text) => self.url_fields(text),
            other => Err(refused(format!("{} is not a URL", other.kind()))),
        }
    }

    fn url_fields(&self, text: &str) -> Result<Vec<Field>> {
        let fields = url::fields_for(text, self.backend)?;
        self.check_names(&fields)?;
        match fields.iter().find(|field| self.is_url(field)) {
            Some(inner) => Err(refused(format!("option {} has no place inside a URL", inner.label()))),
            None => Ok(fields),
        }
    }
}

/// Returns the values of options that have no section: those of a near cache, a fallback, a migration or a switch.
pub(super) fn options_alone(scopes: &'static [Scope], mut fields: Vec<Field>) -> Result<Options> {
    let rows = table::with_scope(scopes);
    check_names(&fields, rows.clone().flat_map(Row::names))?;
    fields.retain(|field| !field.is_null());
    let mut options = Options::default();
    rows.into_iter().try_for_each(|row| row.fill(&mut options, &fields, &|_| None))?;
    Ok(options)
}

fn check_names(fields: &[Field], known: impl Iterator<Item = &'static str> + Clone) -> Result<()> {
    let Some(field) = fields.iter().find(|field| known.clone().all(|name| name != field.name)) else { return Ok(()) };
    let hint = message::did_you_mean(&field.name, known);
    Err(refused(format!("option {} is unknown{hint}", field.doubtful_label())))
}

/// Notes a bare number that is too many seconds: other libraries count milliseconds here.
fn long_timeout(field: &Field) -> Option<String> {
    let (Node::Number(text) | Node::Text(text)) = &field.node else { return None };
    value::bare_seconds(text).filter(|seconds| *seconds > LONGEST_USUAL_SECONDS)?;
    let (label, number) = (field.label(), text.trim());
    Some(format!(
        "option {label}: {number} is {number} seconds, because a bare number is in seconds; \
         write `{number}ms` for milliseconds, or `{number}s` to keep the seconds"
    ))
}
