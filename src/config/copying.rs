//! The options of a migration and of a switch, as YAML or JSON text.

use super::document::{self, Field, Node};
use super::row::Row;
use super::{check_length, options, refused};
use crate::error::Result;

/// What a migration is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationConfig {
    /// Only keys that match this glob; `None`: all.
    pub pattern: Option<String>,
    /// The most entries a second; 0: no limit.
    pub rate: u64,
    /// Counts what would be copied, and stores nothing.
    pub dry_run: bool,
    /// Where an earlier run was: what its progress told last.
    pub resume: Option<String>,
}

/// What a switch is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchConfig {
    /// Copies what the cache holds before the new backend serves.
    pub copy: bool,
    /// The most entries copied a second; 0: no limit.
    pub rate: u64,
}

impl MigrationConfig {
    /// Reads a document such as `{rate: 5000, dry_run: true}`.
    pub fn from_text(text: &str) -> Result<Self> {
        read(text, options::MIGRATION)
    }
}

impl SwitchConfig {
    /// Reads a document such as `{copy: true}`.
    pub fn from_text(text: &str) -> Result<Self> {
        read(text, options::SWITCH)
    }
}

fn read<T: Clone + PartialEq + Default>(text: &str, rows: &'static [Row<T>]) -> Result<T> {
    check_length(text.len())?;
    let fields: Vec<Field> = match document::parse(text)? {
        Node::Map(fields) => fields,
        Node::Empty => Vec::new(),
        other => {
            return Err(refused(format!("the options are {}; they take a map such as `{{rate: 5000}}`", other.kind())));
        }
    };
    let mut options = T::default();
    options::fill_alone(&mut options, rows, fields)?;
    Ok(options)
}
