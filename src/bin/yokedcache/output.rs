//! Where answers go: lines of text for people, lines of JSON for programs.

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
    /// For people, or for programs.
    pub fn new(json: bool) -> Self {
        Self { json, stream: BufWriter::new(io::stdout().lock()) }
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One line, as the reader wants it.
    pub fn say(&mut self, text: impl FnOnce() -> String, json: impl FnOnce() -> Json) -> Result<()> {
        let line = if self.json { json().to_string() } else { text() };
        writeln!(self.stream, "{line}").map_err(lost)
    }

    /// The bytes of a value. A terminal gets a line of them, and nothing that it would obey.
    pub fn value(&mut self, value: &[u8]) -> Result<()> {
        if !io::stdout().is_terminal() {
            return self.stream.write_all(value).map_err(lost);
        }
        let shown = if bytes::is_plain_text(value) { value.to_vec() } else { bytes::shown(value).into_bytes() };
        self.stream.write_all(&shown).and_then(|()| writeln!(self.stream)).map_err(lost)
    }

    /// Lets the reader have what was written.
    pub fn flush(&mut self) -> Result<()> {
        self.stream.flush().map_err(lost)
    }
}

/// A remark for people, beside the answer. Programs get none.
pub fn remark(json: bool, text: &str) {
    if !json {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

fn lost(error: io::Error) -> Failure {
    Failure::stream("standard output")(error)
}
