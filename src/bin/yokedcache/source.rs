//! Selects the configuration: that of the options, else that of the environment variables.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use yokedcache::config::{self, BackendConfig, Config};
use yokedcache::error::{Error, ErrorKind};

use crate::failure::{Failure, Result};

/// Selects the cache.
#[derive(Args)]
#[command(next_help_heading = "Cache")]
pub struct Source {
    /// URL, such as redis://localhost?key_prefix=app. Do not put a password here: every user of the machine can read
    /// the arguments of a process
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// YAML or JSON configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Environment of the file [default: the variable ENVIRONMENT, else development]
    #[arg(long, global = true, value_name = "NAME")]
    environment: Option<String>,
    /// Maximum time of a server for a call, in place of the configured socket_timeout
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// Namespace of the keys and the tags, as programs give it to a view
    #[arg(long, global = true, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<String>,
    /// Prefix of the names of the options, for messages.
    #[arg(skip)]
    to: &'static str,
}

/// Parses a time of a configuration, such as `250ms`, `30s`, `5m`, `2h`, `1d`.
pub fn time(text: &str) -> std::result::Result<Duration, String> {
    config::duration(text)
        .ok_or_else(|| "write a time such as 250ms, 30s, 5m, 2h or 1d; a bare number is seconds".to_owned())
}

/// Parses a namespace.
fn namespace(text: &str) -> std::result::Result<String, String> {
    let refused = || "a namespace is 1 to 64 of A-Z a-z 0-9 _ . -".to_owned();
    config::is_namespace(text).then(|| text.to_owned()).ok_or_else(refused)
}

impl Source {
    /// Returns the cache of the options that begin with `--to-`; the timeout applies to it too.
    pub fn target(&self, url: &Option<String>, config: &Option<PathBuf>, environment: &Option<String>) -> Self {
        let (url, config, environment) = (url.clone(), config.clone(), environment.clone());
        Self { url, config, environment, timeout: self.timeout, namespace: None, to: "to-" }
    }

    /// Reads the selected configuration without its fallback and its near cache: they belong to the process that opened
    /// them, so that what is there says nothing about the cache.
    pub fn config(&self) -> Result<Config> {
        Ok(Config { near: None, ..self.config_with_near()? })
    }

    /// Reads the selected configuration without its fallback, to learn whether a near cache can serve.
    pub fn config_with_near(&self) -> Result<Config> {
        let mut config = Config { fallback: None, ..self.read(self.environment.as_deref())? };
        if let Some(timeout) = self.timeout {
            limit(&mut config, timeout)?;
        }
        Ok(config)
    }

    fn read(&self, environment: Option<&str>) -> Result<Config> {
        self.check()?;
        let config = match (&self.url, &self.config) {
            (Some(url), _) => Config::from_text(url, &variable),
            (_, Some(file)) => Config::from_file(file, environment, &variable),
            _ => Config::from_variables(&variable).map_err(with_options),
        };
        Ok(config?)
    }

    /// Reads every selected configuration, with the name of its environment if it has one. Without `--environment`, a
    /// file yields all of its environments.
    pub fn configs(&self) -> Result<Vec<(Option<String>, Result<Config>)>> {
        self.check()?;
        let names = match &self.config {
            Some(file) if self.environment.is_none() => Config::environments(file)?,
            _ => Vec::new(),
        };
        if names.is_empty() {
            return Ok(vec![(self.environment.clone(), self.read(self.environment.as_deref()))]);
        }
        Ok(names.into_iter().map(|name| (Some(name.clone()), self.read(Some(&name)))).collect())
    }

    /// Names the source of the configuration.
    pub fn name(&self) -> String {
        let set = |name: &&&str| variable(name).is_some_and(|value| !value.is_empty());
        match (&self.url, &self.config) {
            (Some(_), _) => "--url".to_owned(),
            (_, Some(file)) => shown(file),
            _ => ["YOKEDCACHE_URL", "YOKEDCACHE_CONFIG", "REDIS_URL"]
                .iter()
                .find(set)
                .map_or("", |name| *name)
                .to_owned(),
        }
    }

    fn check(&self) -> Result<()> {
        let to = self.to;
        let refused = |text: String| Err(Failure::Usage(text));
        match (&self.url, &self.config, &self.environment) {
            (Some(_), Some(_), _) => refused(format!("--{to}url and --{to}config select two caches: give one of them")),
            (_, None, Some(_)) => {
                refused(format!("--{to}environment selects from a file: give the file with --{to}config"))
            }
            _ => Ok(()),
        }
    }
}

fn limit(config: &mut Config, timeout: Duration) -> Result<()> {
    if timeout.is_zero() {
        return Err(Failure::Usage("--timeout 0 leaves a server no time: give a positive time".to_owned()));
    }
    match &mut config.backend {
        BackendConfig::Memory(_) => {}
        BackendConfig::Redis(redis) => redis.connection.timeout = timeout,
        BackendConfig::Memcached(memcached) => memcached.connection.timeout = timeout,
    }
    Ok(())
}

fn shown(file: &Path) -> String {
    crate::bytes::shown(file.as_os_str().as_encoded_bytes())
}

/// Keeps a value that is not UTF-8: its replacement characters make the check of the option refuse it.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn with_options(error: Error) -> Error {
    match error.message().starts_with("no configuration") {
        true => Error::new(ErrorKind::Config, format!("{}; or give --url or --config", error.message())),
        false => error,
    }
}
