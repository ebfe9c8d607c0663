//! Records the progress of a migration in a file: its source, its target and the position at which to continue.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use yokedcache::config::Config;

use crate::failure::{Failure, Result};

/// A file that outlives the run.
pub struct Checkpoint {
    file: PathBuf,
    /// The identity of the migration: a file of another migration would make this one start in the middle.
    migration: Json,
}

impl Checkpoint {
    /// Creates the checkpoint of a migration. The file need not exist.
    pub fn new(file: PathBuf, from: &Config, to: &Config, pattern: Option<&str>) -> Self {
        Self { file, migration: json!({ "from": from.store(), "to": to.store(), "pattern": pattern }) }
    }

    /// Reads the position of an earlier run; `None` without one.
    pub fn read(&self) -> Result<Option<String>> {
        let text = match fs::read_to_string(&self.file) {
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            text => text.map_err(Failure::stream(&self.name()))?,
        };
        let kept: Json = serde_json::from_str(&text).unwrap_or_default();
        if kept["migration"] != self.migration {
            let name = self.name();
            return Err(Failure::Usage(format!(
                "{name} belongs to another migration: remove it, or give another --resume-file"
            )));
        }
        Ok(kept["resume"].as_str().map(str::to_owned))
    }

    /// Replaces the file by the position of this run; `None` for its beginning. The replacement is atomic.
    pub fn write(&self, token: Option<&str>) -> Result<()> {
        let next = self.file.with_added_extension("next");
        let text = json!({ "migration": self.migration, "resume": token }).to_string();
        let written = fs::write(&next, text).and_then(|()| fs::rename(next, &self.file));
        written.map_err(Failure::stream(&self.name()))
    }

    /// Removes the file at the end of the migration.
    pub fn remove(&self) -> Result<()> {
        fs::remove_file(&self.file).map_err(Failure::stream(&self.name()))
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}
