//! Holds what every command needs: the cache, the output, and the reading of arguments.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use yokedcache::cache::Cache;
use yokedcache::config::Config;
use yokedcache::exec::blocking::answer;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, Result};
use crate::output::Output;

/// An open cache with its output.
pub struct Session {
    pub cache: Cache,
    pub config: Config,
    pub output: Output,
    escaped: bool,
}

impl Session {
    /// Opens the cache that the arguments select. A cache with servers is still connecting.
    pub fn open(arguments: &Arguments) -> Result<Self> {
        let config = match arguments.command {
            Command::Health => arguments.source.config_with_near()?,
            _ => arguments.source.config()?,
        };
        let namespace = arguments.source.namespace.as_deref();
        if namespace.is_some() && concerns_all(&arguments.command) {
            return Err(Failure::Usage(
                "--namespace has no place here: the command concerns the cache with all namespaces".to_owned(),
            ));
        }
        let opened = Cache::open(config.clone())?;
        let cache = match namespace {
            Some(namespace) => opened.in_namespace(namespace),
            None => opened,
        };
        Ok(Self { cache, config, output: Output::new(arguments.json), escaped: arguments.escaped })
    }

    /// Returns the bytes that an argument stands for.
    pub fn bytes<'a>(&self, argument: &'a OsString) -> Result<Cow<'a, [u8]>> {
        let bytes = argument.as_bytes();
        if !self.escaped {
            return Ok(bytes.into());
        }
        let unescaped = crate::bytes::unescaped(bytes).map(Cow::Owned);
        unescaped.ok_or_else(|| {
            let shown = argument.display();
            Failure::Usage(format!("{shown}: unknown escape; --escaped reads \\\\ \\n \\r \\t \\xNN"))
        })
    }

    /// Returns the bytes of each argument.
    pub fn all_bytes<'a>(&self, arguments: &'a [OsString]) -> Result<Vec<Cow<'a, [u8]>>> {
        arguments.iter().map(|argument| self.bytes(argument)).collect()
    }

    /// Closes the cache. Failures are ignored: the command has already finished.
    pub fn close(mut self) -> Result<()> {
        let written = self.output.flush();
        let _ = answer(|context| self.cache.close(context, Instant::now() + Duration::from_secs(1)));
        written
    }
}

/// Returns true if a command is not about keys of one namespace.
fn concerns_all(command: &Command) -> bool {
    matches!(
        command,
        Command::Stats(_)
            | Command::Top(_)
            | Command::Bench(_)
            | Command::Migrate(_)
            | Command::Publish(_)
            | Command::Subscribe(_)
    )
}

/// Returns the list as slices.
pub fn slices<'a>(bytes: &'a [Cow<'_, [u8]>]) -> Vec<&'a [u8]> {
    bytes.iter().map(AsRef::as_ref).collect()
}
