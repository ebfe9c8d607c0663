//! What `open` needs to know: the checked configuration and the three ways to read one.

mod address;
mod backends;
mod body;
mod connection;
mod copying;
mod document;
mod environment;
mod fallback;
mod file;
mod kind;
mod list;
mod memcached;
mod memory;
mod notes;
mod options;
mod redis;
mod references;
mod row;
mod secret;
mod store;
mod summary;
mod tls;
mod url;
mod value;
mod wording;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
pub use address::Address;
pub use connection::{Connect, ConnectionConfig, Keepalive};
pub use copying::{MigrationConfig, SwitchConfig};
pub use fallback::FallbackConfig;
pub use memcached::{Distribution, Failover, KeyHash, MemcachedConfig, MemcachedServer};
pub use memory::MemoryConfig;
pub use options::reference;
pub use redis::{OnRestart, RedisConfig, RedisTopology};
pub use secret::Secret;
pub use tls::{TlsConfig, Verify};

/// Everything `open` needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What every stored name starts with, so caches that share a server stay apart: 1 to 64 of `A-Z a-z 0-9 _ . -`.
    /// Default `yokedcache`.
    pub key_prefix: String,
    /// How long an entry lives when its `set` names no TTL; zero: it never expires. Default 300 s.
    pub default_ttl: Duration,
    /// Percent, 0 to 100, by which the default TTL is spread, so entries set together do not expire together.
    /// A TTL the caller gives is exact. Default 10.
    pub ttl_jitter: f64,
    /// The longest value accepted, in bytes, 1 to 512 MiB; a longer one is refused before it is sent. Default 8 MiB.
    pub max_value_bytes: u64,
    /// Where the bytes live.
    pub backend: BackendConfig,
    /// What serves while the servers of the backend fail; `None`: calls fail then.
    pub fallback: Option<Box<FallbackConfig>>,
    /// Accepted parts of the text that are probably a mistake, each as one sentence; a log and `config check` show them.
    pub notes: Vec<String>,
}

/// Where the bytes live, and the options of that store alone.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendConfig {
    /// Inside this process.
    Memory(MemoryConfig),
    /// On Redis servers.
    Redis(RedisConfig),
    /// On Memcached servers.
    Memcached(MemcachedConfig),
}

impl BackendConfig {
    /// Whether opening does not wait for the servers.
    pub fn is_lazy(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Redis(redis) => redis.connection.connect == Connect::Lazy,
            Self::Memcached(memcached) => memcached.connection.connect == Connect::Lazy,
        }
    }
}

/// Looks up a variable by name. The caller chooses where; a variable that is set but empty counts as not set.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The longest URL or document accepted, in bytes: far over any real one, and small enough that parsing stays quick.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// What a text may be, for messages about one that is something else.
const ACCEPTED: &str = "a URL such as `memory://?max_size=1000`, or YAML or JSON such as `{backend: memory}`";

impl Config {
    /// Reads a URL, or a YAML or JSON document.
    ///
    /// A document is `cache:` with environments, of which the variable `ENVIRONMENT` chooses one (default
    /// `development`), or one environment's body alone. What the text does not say comes from the variables
    /// that the options name, then from the defaults. In a document `${NAME}` stands for a variable's value.
    ///
    /// # Errors
    ///
    /// `Config`, naming what is not accepted and what would be; `Unsupported` for a backend this build lacks.
    pub fn from_text(text: &str, variables: Variables) -> Result<Config> {
        check_text(text)?;
        match url::split(text) {
            Some(parts) => url::read(parts, variables),
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
        file::read(path)
            .and_then(|text| check_text(&text).and_then(|()| from_document(&text, environment, variables)))
            .map_err(|error| within(&file::shown(path), error))
    }

    /// The environments of a document in a file; none where it is one body alone.
    ///
    /// # Errors
    ///
    /// `Config` for a file that cannot be read or is no document.
    pub fn environments(path: &Path) -> Result<Vec<String>> {
        file::read(path)
            .and_then(|text| check_text(&text).and_then(|()| environment::names(document::parse(&text)?)))
            .map_err(|error| within(&file::shown(path), error))
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
            return options::redis(Vec::new(), variables);
        }
        Err(refused(
            "no configuration: set YOKEDCACHE_URL to a URL, YOKEDCACHE_CONFIG to the path of a file or REDIS_URL to a Redis URL",
        ))
    }
}

/// A time as the options take it: `250ms`, `300s`, `5m`, `2h`, `1d`; a bare number is seconds.
pub fn duration(text: &str) -> Option<Duration> {
    value::milliseconds(text).map(Duration::from_millis)
}

fn from_url(text: &str, variables: Variables) -> Result<Config> {
    check_text(text)?;
    let parts = url::split(text).ok_or_else(|| refused("not a URL; it takes one such as `memory://?max_size=1000`"))?;
    url::read(parts, variables)
}

fn from_document(text: &str, environment: Option<&str>, variables: Variables) -> Result<Config> {
    let body = environment::body(document::parse(text)?, environment, variables)?;
    body::read(body, variables)
}

fn check_text(text: &str) -> Result<()> {
    check_length(text.len())?;
    if text.trim().is_empty() {
        return Err(refused(format!("the configuration is empty; it takes {ACCEPTED}")));
    }
    Ok(())
}

fn check_length(bytes: usize) -> Result<()> {
    if bytes > MAX_TEXT_BYTES {
        return Err(refused("the configuration is longer than the 256 KiB accepted"));
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn within(source: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("{source}: {}", error.message()))
}
