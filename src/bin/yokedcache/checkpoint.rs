//! How far a migration is, in a file: what is copied from where to where, and where it goes on.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use yokedcache::config::Config;

use crate::failure::{Failure, Result};

/// A file that outlives the run.
pub struct Checkpoint {
    file: PathBuf,
    /// What is copied: a file of another migration would have this one begin in the middle.
    migration: Json,
}

impl Checkpoint {
    /// The checkpoint of a migration; its file need not be there.
    pub fn new(file: PathBuf, from: &Config, to: &Config, pattern: Option<&str>) -> Self {
        Self { file, migration: json!({ "from": from.store(), "to": to.store(), "pattern": pattern }) }
    }

    /// Where an earlier run was; `None` where there was none.
    pub fn read(&self) -> Result<Option<String>> {
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            text => text.map_err(Failure::stream(&self.name()))?,
        };
        let kept: Json = serde_json::from_str(&text).unwrap_or_default();
        match kept["resume"].as_str() {
            Some(token) if kept["migration"] == self.migration => Ok(Some(token.to_owned())),
            _ => {
                let name = self.name();
                Err(Failure::Usage(format!("{name} is of another migration: remove it, or name another --resume-file")))
            }
        }
    }

    /// Keeps where this run is, whole or not at all; at the end there is nothing to keep.
    pub fn write(&self, token: Option<&str>) -> Result<()> {
        let written = match token {
            Some(token) => {
                let next = self.file.with_added_extension("next");
                let text = json!({ "migration": self.migration, "resume": token }).to_string();
                fs::write(&next, text).and_then(|()| fs::rename(next, &self.file))
            }
            None => fs::remove_file(&self.file).or_else(|error| match error.kind() {
                Io::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        written.map_err(Failure::stream(&self.name()))
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}
