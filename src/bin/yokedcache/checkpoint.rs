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
        if kept["migration"] != self.migration {
            let name = self.name();
            return Err(Failure::Usage(format!(
                "{name} is of another migration: remove it, or name another --resume-file"
            )));
        }
        Ok(kept["resume"].as_str().map(str::to_owned))
    }

    /// Keeps where this run is, whole or not at all; `None`: at its beginning.
    pub fn write(&self, token: Option<&str>) -> Result<()> {
        let next = self.file.with_added_extension("next");
        let text = json!({ "migration": self.migration, "resume": token }).to_string();
        let written = fs::write(&next, text).and_then(|()| fs::rename(next, &self.file));
        written.map_err(Failure::stream(&self.name()))
    }

    /// There is nothing to go on with.
    pub fn remove(&self) -> Result<()> {
        fs::remove_file(&self.file).map_err(Failure::stream(&self.name()))
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}
