//! Tests accepted and rejected configurations and their messages, as tables of texts. Each file below has one topic;
//! this one has what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod body;
mod fallback;
mod hostile;
mod memcached;
mod near;
mod options;
mod redis;
mod references;
mod secrets;
mod sources;
mod summary;
mod values;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{MAX_TEXT_BYTES, Place};
use super::*;
use crate::error::{Error, ErrorKind};

const CANARY: &str = "c4n4ry-p4ss";

fn none(_: &str) -> Option<String> {
    None
}

fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn read(text: &str) -> Config {
    Config::from_text(text, &none).unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

fn memory(text: &str) -> MemoryConfig {
    memory_of(read(text))
}

fn memory_of(config: Config) -> MemoryConfig {
    match config.backend {
        BackendConfig::Memory(memory) => memory,
        other => panic!("not a memory cache: {other:?}"),
    }
}

fn refusal(text: &str) -> Error {
    match Config::from_text(text, &none) {
        Ok(config) => panic!("{text:?} was accepted: {config:?}"),
        Err(error) => error,
    }
}

/// Returns all that a result shows.
fn said(result: Result<Config>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |config| format!("{config:?}"))
}

fn assert_says(error: &Error, kind: ErrorKind, wanted: &[&str], about: &str) {
    assert_eq!(error.kind(), kind, "{about:?}: {}", error.message());
    for wanted in wanted {
        assert!(error.message().contains(wanted), "{about:?}: {wanted:?} is missing in: {}", error.message());
    }
}

/// Each text is refused in words that contain all of these.
fn refuses(table: &[(&str, &[&str])]) {
    for (text, wanted) in table {
        assert_says(&refusal(text), ErrorKind::Config, wanted, text);
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("yokedcache-{}-{name}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn file_refusal(path: &Path, environment: Option<&str>) -> Error {
    Config::from_file(path, environment, &none).unwrap_err()
}

const ENVIRONMENTS: &str = "\
cache:
  development: { backend: memory, memory: { max_size: 1000, key_prefix: dev } }
  production:
    backend: redis
    redis: { url: 'rediss://user:secret@h:6380/0', pool_size: 50 }
  testing:
    backend: memory
    memory:
      max_size: 100
";

// Documents and their environments.
