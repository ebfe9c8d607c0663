//! The backends there are: what documents and URLs call each, and how its configuration is built.

use super::document::Field;
use super::{Config, Variables, options};
use crate::error::{Error, ErrorKind, Result};

/// A backend that a document or a URL may name.
pub(super) struct Backend {
    /// What a body calls it, and its section.
    pub name: &'static str,
    pub schemes: &'static [&'static str],
    /// Nothing when this build lacks the backend.
    build: Option<Build>,
}

type Build = fn(&[Field], Variables) -> Result<Config>;

/// Every backend of the product, in this build or not.
pub(super) static BACKENDS: [Backend; 3] = [
    Backend { name: "memory", schemes: &["memory"], build: Some(options::memory) },
    Backend { name: "redis", schemes: &["redis", "rediss", "redis+sentinel", "redis+cluster"], build: None },
    Backend { name: "memcached", schemes: &["memcached"], build: None },
];

/// The names of all backends.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().map(|backend| backend.name)
}

impl Backend {
    /// What builds a configuration of this backend; `Unsupported` when this build lacks it.
    pub(super) fn builder(&self) -> Result<Build> {
        self.build.ok_or_else(|| {
            let built: Vec<&str> =
                BACKENDS.iter().filter(|known| known.build.is_some()).map(|known| known.name).collect();
            let message = format!("backend {} is not in this build; this build has: {}", self.name, built.join(", "));
            Error::new(ErrorKind::Unsupported, message)
        })
    }
}
