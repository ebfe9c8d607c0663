//! The configuration: read from a URL, a YAML or JSON document, a file or environment variables, and checked.
//!
//! ```text
//! text  →  document | url (fields)  →  body, section (fields of a backend)  →  option, table (values)  →  backends (types)
//! ```

mod backends;
mod body;
mod document;
mod environment;
mod message;
mod near;
mod option;
mod reference;
mod section;
mod summary;
mod table;
mod types;
mod url;
mod value;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::key::MAX_TAGS;
use document::{Field, Node};
pub use environment::Variables;
use message::{refused, within};
use option::{Options, Scope};
pub use reference::guide;
#[cfg(test)]
use reference::reference;
pub use types::*;

impl Config {
    /// Reads a URL, or a YAML or JSON document.
    ///
    /// A document is `cache:` with environments, of which the variable `ENVIRONMENT` chooses one (default
    /// `development`), or one environment's body alone. An option that the text does not give comes from the variable
    /// that the table of options names, then from the defaults. In a document `${NAME}` stands for a variable's value.
    ///
    /// # Errors
    ///
    /// `Config`, naming what is not accepted and what would be; `Unsupported` for a backend this build lacks.
    pub fn from_text(text: &str, variables: Variables) -> Result<Config> {
        document::check_text(text)?;
        match url::split(text) {
            Some(parts) => body::read_url(parts, variables),
            None => from_document(text, None, variables),
        }
    }

    /// Reads a YAML or JSON document from a file, and from it the named environment (`None`: as in [`Self::from_text`]).
    ///
    /// # Errors
    ///
    /// As [`Self::from_text`], each naming the file; also a file that cannot be read, and a named environment that
    /// the document does not have.
    pub fn from_file(path: &Path, environment: Option<&str>, variables: Variables) -> Result<Config> {
        read_file(path, |text| from_document(text, environment, variables))
    }

    /// Returns the environments of a document in a file; none if it is one body alone.
    ///
    /// # Errors
    ///
    /// `Config` for a file that cannot be read or is no document.
    pub fn environments(path: &Path) -> Result<Vec<String>> {
        read_file(path, |text| environment::names(document::parse(text)?))
    }

    /// Reads the URL in the variable `YOKEDCACHE_URL`, else the file that the variable `YOKEDCACHE_CONFIG` names, else
    /// the Redis URL in the variable `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// As [`Self::from_text`] and [`Self::from_file`], each naming the variable; also when none is set.
    pub fn from_variables(variables: Variables) -> Result<Config> {
        if let Some(url) = environment::variable(variables, "YOKEDCACHE_URL") {
            return from_url(&url, variables).map_err(|error| within("YOKEDCACHE_URL", error));
        }
        if let Some(path) = environment::variable(variables, "YOKEDCACHE_CONFIG") {
            return Config::from_file(Path::new(&path), None, variables)
                .map_err(|error| within("YOKEDCACHE_CONFIG", error));
        }
        if environment::variable(variables, "REDIS_URL").is_some() {
            return backends::build(BackendName::Redis, Vec::new(), variables);
        }
        Err(refused(
            "no configuration: set YOKEDCACHE_URL to a URL, YOKEDCACHE_CONFIG to the path of a file or REDIS_URL to a Redis URL",
        ))
    }
}

impl MigrationConfig {
    /// Reads a document such as `{rate: 5000, dry_run: true}`.
    pub fn from_text(text: &str) -> Result<Self> {
        options_of_document(text, &[Scope::Migration]).map(|options| options.migration)
    }
}

impl SwitchConfig {
    /// Reads a document such as `{copy: true}`.
    pub fn from_text(text: &str) -> Result<Self> {
        options_of_document(text, &[Scope::Switch]).map(|options| options.switch)
    }
}

impl ViewConfig {
    /// Reads a document such as `{namespace: users, timeout: 20ms}`.
    pub fn from_text(text: &str) -> Result<Self> {
        let view = options_of_document(text, &[Scope::View]).map(|options| options.view)?;
        if view.tags.len() > MAX_TAGS {
            return Err(refused(format!(
                "option tags has {} tags; an entry may have up to {MAX_TAGS}",
                view.tags.len()
            )));
        }
        Ok(view)
    }
}

/// Returns true if a text is a namespace, as the options of a view take it.
pub fn is_namespace(text: &str) -> bool {
    value::is_prefix(text)
}

/// Reads a time as the options take it: `250ms`, `300s`, `5m`, `2h`, `1d`; a bare number is seconds.
pub fn duration(text: &str) -> Option<Duration> {
    value::milliseconds(text).map(Duration::from_millis)
}

fn from_url(text: &str, variables: Variables) -> Result<Config> {
    document::check_text(text)?;
    let parts = url::split(text).ok_or_else(|| refused("not a URL; it takes one such as `memory://?max_size=1000`"))?;
    body::read_url(parts, variables)
}

fn from_document(text: &str, environment: Option<&str>, variables: Variables) -> Result<Config> {
    let body = environment::body(document::parse(text)?, environment, variables)?;
    body::read(body, variables)
}

fn read_file<T>(path: &Path, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let text = environment::file(path);
    let checked = text.and_then(|text| document::check_text(&text).map(|()| text));
    checked.and_then(|text| read(&text)).map_err(|error| within(&environment::shown_path(path), error))
}

fn options_of_document(text: &str, scopes: &'static [Scope]) -> Result<Options> {
    document::check_length(text.len())?;
    let fields: Vec<Field> = match document::parse(text)? {
        Node::Map(fields) => fields,
        Node::Empty => Vec::new(),
        other => {
            return Err(refused(format!("the options are {}; they take a map such as `{{rate: 5000}}`", other.kind())));
        }
    };
    section::options_alone(scopes, fields)
}
