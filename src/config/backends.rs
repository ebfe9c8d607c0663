//! The backends there are: what documents and URLs call each, and how its configuration is built.

use super::document::Field;
use super::url::{Parts, forms};
use super::{Config, Variables, options};
use crate::error::Result;

/// A backend that a document or a URL may name.
pub(super) struct Backend {
    /// What a body calls it, and its section.
    pub name: &'static str,
    pub schemes: &'static [Scheme],
    pub build: fn(Vec<Field>, Variables) -> Result<Config>,
}

/// A scheme of URLs.
pub(super) struct Scheme {
    pub name: &'static str,
    /// The options that the URL gives before its `?`.
    pub read: fn(&Parts) -> Result<Vec<Field>>,
    pub tls: bool,
}

/// Every backend of the product.
pub(super) static BACKENDS: [Backend; 3] = [
    Backend { name: "memory", schemes: MEMORY, build: options::memory },
    Backend { name: "redis", schemes: REDIS, build: options::redis },
    Backend { name: "memcached", schemes: MEMCACHED, build: options::memcached },
];

const MEMORY: &[Scheme] = &[plain("memory", forms::nothing)];

const REDIS: &[Scheme] = &[
    plain("redis", forms::redis),
    with_tls("rediss", forms::redis),
    plain("redis+cluster", forms::cluster),
    with_tls("rediss+cluster", forms::cluster),
    plain("redis+sentinel", forms::sentinel),
    with_tls("rediss+sentinel", forms::sentinel),
    plain("redis+unix", forms::redis_socket),
    plain("unix", forms::redis_socket),
    plain("valkey", forms::redis),
    with_tls("valkeys", forms::redis),
    plain("valkey+cluster", forms::cluster),
    with_tls("valkeys+cluster", forms::cluster),
    plain("valkey+sentinel", forms::sentinel),
    with_tls("valkeys+sentinel", forms::sentinel),
    plain("valkey+unix", forms::redis_socket),
];

const MEMCACHED: &[Scheme] = &[
    plain("memcached", forms::memcached),
    with_tls("memcacheds", forms::memcached),
    plain("memcached+unix", forms::memcached_socket),
];

const fn plain(name: &'static str, read: fn(&Parts) -> Result<Vec<Field>>) -> Scheme {
    Scheme { name, read, tls: false }
}

const fn with_tls(name: &'static str, read: fn(&Parts) -> Result<Vec<Field>>) -> Scheme {
    Scheme { name, read, tls: true }
}

/// The names of all backends.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().map(|backend| backend.name)
}

/// The name that a backend has here, for a name that people give it elsewhere.
pub(super) fn usual_name(name: &str) -> &str {
    match name.to_ascii_lowercase().as_str() {
        "valkey" | "valkeys" | "rediss" => "redis",
        "memcache" | "memcacheds" => "memcached",
        "inmemory" | "in-memory" | "in_memory" | "mem" => "memory",
        _ => name,
    }
}
