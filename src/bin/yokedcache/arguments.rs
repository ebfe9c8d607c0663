//! The command line: every command, its arguments, and what `--help` says of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use yokedcache::ttl::Ttl;

use crate::source::{Source, time};

const AFTER: &str = "\
Exit codes:
  0  done; to a question: yes, the key is there, the cache is healthy
  1  the answer is no: a key is not there, the cache is not healthy, the flush
     was not confirmed
  2  wrong use: an unknown command or option, an argument that is not allowed
  3  the configuration cannot be used
  4  a server cannot be reached or gave no proper answer in time; the same may
     work later
  5  any other failure: wrong password, TLS, not possible on this server, a
     file that cannot be written

The cache is that of --url, else of --config, else of the variables
YOKEDCACHE_URL, YOKEDCACHE_CONFIG, REDIS_URL, the first that is set.

With --json answers (on the standard output) and errors (on the standard
error) are JSON, one object a line. Bytes that are no UTF-8 are in base64
there, and their field is key_base64 or value_base64.

Examples:
  yokedcache --url redis://localhost set user:1 Ada --ttl 5m --tag users
  yokedcache --config cache.yaml --environment production \\
      invalidate --tag users --dry-run
  yokedcache --url memcached://h1,h2 keys 'user:*' --limit 20";

/// Looks at a cache of YokedCache and works on it: on Redis, on Memcached, or (for trying) in memory.
#[derive(Parser)]
#[command(name = "yokedcache", version, after_help = AFTER, max_term_width = 100, subcommand_required = true)]
pub struct Arguments {
    #[command(flatten)]
    pub source: Source,
    /// Answers and errors as JSON, one object a line
    #[arg(long, global = true, help_heading = "How")]
    pub json: bool,
    /// Keys, values, tags, patterns and queries have escapes: \\ \n \r \t \xNN, as `keys` writes them
    #[arg(long, short, global = true, help_heading = "How")]
    pub escaped: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// What is to be done.
#[derive(Subcommand)]
pub enum Command {
    /// Tell whether the servers answer, and how fast
    Ping,
    /// Tell how the cache and its servers are
    Health,
    /// Tell what the cache holds, and what its servers count
    Stats(Stats),
    /// Write the value of a key
    Get(Get),
    /// Store a value
    Set(Set),
    /// Remove keys
    Del(Keys),
    /// Tell whether a key is there
    Exists(Key),
    /// Tell how long a key has to live
    Ttl(Key),
    /// Give a key another time to live; its value and tags stay
    Expire(Expire),
    /// List keys
    Keys(Listing),
    /// Find the keys most like a text
    Search(Search),
    /// Remove every entry with a tag, or of keys that match a pattern
    Invalidate(Invalidate),
    /// Remove every entry of the cache's key_prefix
    Flush(Flush),
    /// Copy every entry into another cache, with what is left of its time to live and with its tags
    Migrate(Migrate),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the manual page of this tool, in the format of man(1)
    Man,
}

/// What is to be done with the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Read it, open nothing, and tell what would be used; every environment of a file unless one is named
    Check,
}

#[derive(Args)]
pub struct Key {
    pub key: OsString,
}

#[derive(Args)]
pub struct Keys {
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<OsString>,
}

#[derive(Args)]
pub struct Get {
    pub key: OsString,
    /// Write the value to this file; a miss leaves it as it is
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub struct Set {
    pub key: OsString,
    /// The value; `-` reads it from the standard input
    #[arg(allow_negative_numbers = true)]
    pub value: OsString,
    /// How long it lives: a time such as 250ms, 30s, 5m, 2h, 1d, or `never` [default: default_ttl of the configuration]
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub ttl: Option<Ttl>,
    /// A tag of it; may be given up to 64 times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
pub struct Expire {
    pub key: OsString,
    /// A time such as 250ms, 30s, 5m, 2h, 1d, or `never` or `default`
    #[arg(value_parser = ttl)]
    pub ttl: Ttl,
}

#[derive(Args)]
pub struct Listing {
    /// A glob on the whole key: * ? [a-z] [^a] \x
    #[arg(default_value = "*", hide_default_value = true)]
    pub pattern: OsString,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Only entries with this tag, or with one of several
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
pub struct Search {
    /// At most 1 KiB
    pub query: OsString,
    /// The lowest score that counts, 0 to 100
    #[arg(long, default_value_t = 80.0, value_name = "SCORE")]
    pub threshold: f64,
    /// The most keys
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub limit: usize,
    /// Only entries with this tag, or with one of several
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").args(["tags", "patterns"]).required(true))]
pub struct Invalidate {
    /// Entries with this tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
    /// Entries whose whole key matches this glob: * ? [a-z] [^a] \x; may be given more than once
    #[arg(long = "pattern", value_name = "PATTERN")]
    pub patterns: Vec<OsString>,
    /// List the keys that would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct Flush {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
#[command(group = ArgGroup::new("target").args(["to_url", "to_config"]).required(true).multiple(true))]
pub struct Migrate {
    /// URL of the cache that gets the entries
    #[arg(long, value_name = "URL")]
    pub to_url: Option<String>,
    /// Configuration file of that cache
    #[arg(long, value_name = "FILE")]
    pub to_config: Option<PathBuf>,
    /// Environment of that file [default: as of --config]
    #[arg(long, value_name = "NAME")]
    pub to_environment: Option<String>,
    /// Copy only keys that match this glob
    #[arg(long, value_name = "PATTERN")]
    pub pattern: Option<OsString>,
    /// At most so many entries a second
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub rate: u64,
    /// Count what would be copied, and store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Keep in this file how far it is; the same command goes on from there after an interruption. Removed at the end
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub resume_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct Stats {
    /// Go on, a line every so often, until interrupted
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = interval)]
    pub watch: Option<Duration>,
}

/// A time to live.
fn ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "never" => return Ok(Ttl::Never),
        "default" => return Ok(Ttl::Default),
        _ => {}
    }
    let millis = i64::try_from(time(text)?.as_millis()).unwrap_or(i64::MAX);
    Ttl::from_millis(millis).map_err(|_| "the longest time is 100 years".to_owned())
}

/// A time between two looks; a server has other work.
fn interval(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time < Duration::from_millis(100) { Err("at least 100ms".to_owned()) } else { Ok(time) }
}
