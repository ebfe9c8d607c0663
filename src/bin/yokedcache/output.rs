//! Writes results: lines of text for people, lines of JSON for programs.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value as Json;

use crate::bytes;
use crate::failure::{Failure, Result};

/// The standard output.
pub struct Output {
    json: bool,
    stream: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Creates the output for people or, with `json`, for programs.
    pub fn new(json: bool) -> Self {
        Self { json, stream: BufWriter::new(io::stdout().lock()) }
    }

    /// Reports whether the output is JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Writes one line in the selected format.
    pub fn say(&mut self, text: impl FnOnce() -> String, json: impl FnOnce() -> Json) -> Result<()> {
        let line = if self.json { json().to_string() } else { text() };
        writeln!(self.stream, "{line}").map_err(lost)
    }

    /// Writes the bytes of a value. A terminal receives them as one line without control sequences.
    pub fn value(&mut self, value: &[u8]) -> Result<()> {
        if !io::stdout().is_terminal() {
            return self.stream.write_all(value).map_err(lost);
        }
        let shown = if bytes::is_plain_text(value) { value.to_vec() } else { bytes::shown(value).into_bytes() };
        self.stream.write_all(&shown).and_then(|()| writeln!(self.stream)).map_err(lost)
    }

    /// Flushes the output.
    pub fn flush(&mut self) -> Result<()> {
        self.stream.flush().map_err(lost)
    }
}

/// Writes a remark to the standard error, unless the output is JSON.
pub fn remark(json: bool, text: &str) {
    if !json {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

fn lost(error: io::Error) -> Failure {
    Failure::stream("standard output")(error)
}
