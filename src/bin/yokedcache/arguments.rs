//! Defines the command line: every command, its arguments, and the text of `--help`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use yokedcache::ttl::Ttl;

use crate::examples;
use crate::source::{Source, time};

const AFTER: &str = "\
Exit codes:
  0  success; for a question, the answer is yes: the key exists, the cache is
     healthy
  1  the answer is no: a key does not exist, the cache is not healthy, the
     clear or flush was not confirmed
  2  wrong usage: an unknown command or option, or an argument that is not
     allowed
  3  the configuration cannot be used
  4  a server cannot be reached or did not reply correctly in time; the same
     command may succeed later
  5  any other failure: wrong password, TLS, an operation that this server
     cannot perform, a file that cannot be written
130  a signal stopped migrate, bench or top

The cache is selected by --url, else by --config, else by the first of the
variables YOKEDCACHE_URL, YOKEDCACHE_CONFIG and REDIS_URL that is set.

With --json, results (standard output) and errors (standard error) are JSON,
one object per line. Non-UTF-8 bytes are base64-encoded; their field is then
key_base64 or value_base64.

Examples:
  yokedcache --url redis://localhost set user:1 Ada --ttl 5m --tag users
  yokedcache --config cache.yaml --environment production \\
      invalidate --tag users --dry-run
  yokedcache --url memcached://h1,h2 keys 'user:*' --limit 20";

/// Inspects and changes a cache of YokedCache on Redis, on Memcached, or (to try the commands) in memory.
#[derive(Parser)]
#[command(name = "yokedcache", version, after_help = AFTER, max_term_width = 100, subcommand_required = true)]
pub struct Arguments {
    #[command(flatten)]
    pub source: Source,
    /// Write results and errors as JSON, one object per line
    #[arg(long, global = true, help_heading = "Format")]
    pub json: bool,
    /// Read escapes in keys, values, tags, patterns, queries, channels and messages: \\ \n \r \t \xNN, as `keys` writes
    /// them
    #[arg(long, short, global = true, help_heading = "Format")]
    pub escaped: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Selects the command.
#[derive(Subcommand)]
pub enum Command {
    /// Check that the servers reply, and measure the time
    #[command(after_help = examples::PING)]
    Ping,
    /// Report the health of the cache and its servers
    #[command(after_help = examples::HEALTH)]
    Health,
    /// Report the size of the cache and the counters of its servers
    #[command(after_help = examples::STATS)]
    Stats(Stats),
    /// Show the servers until interrupted or `q`: state, latency, hit rate, memory, evictions
    #[command(after_help = examples::TOP)]
    Top(Top),
    /// Measure latency and throughput of the servers with keys of its own, which it removes at the end
    #[command(after_help = examples::BENCH)]
    Bench(Bench),
    /// Write the value of a key
    #[command(after_help = examples::GET)]
    Get(Get),
    /// Store a value
    #[command(after_help = examples::SET)]
    Set(Set),
    /// Remove keys
    #[command(after_help = examples::DEL)]
    Del(Keys),
    /// Report whether a key exists
    #[command(after_help = examples::EXISTS)]
    Exists(Key),
    /// Report the remaining time to live of a key
    #[command(after_help = examples::TTL)]
    Ttl(Key),
    /// Explain why a key is a hit or a miss, and where it is; this counts as no read
    #[command(after_help = examples::EXPLAIN)]
    Explain(Explain),
    /// Set the time to live of a key; its value and tags stay
    #[command(after_help = examples::EXPIRE)]
    Expire(Expire),
    /// List keys
    #[command(after_help = examples::KEYS)]
    Keys(Listing),
    /// Find the keys that are most similar to a text
    #[command(after_help = examples::SEARCH)]
    Search(Search),
    /// Remove every entry that has a tag, or whose key matches a pattern
    #[command(after_help = examples::INVALIDATE)]
    Invalidate(Invalidate),
    /// Make misses of all entries of a namespace, or of a cache with the option `generations`, in one write
    #[command(after_help = examples::CLEAR)]
    Clear(RemoveAll),
    /// Remove every entry under the key_prefix of the cache
    #[command(after_help = examples::FLUSH)]
    Flush(RemoveAll),
    /// Send a message to the subscriptions of a channel
    #[command(after_help = examples::PUBLISH)]
    Publish(Publish),
    /// Write the messages of channels until interrupted, one per line
    #[command(after_help = examples::SUBSCRIBE)]
    Subscribe(Subscribe),
    /// Write what other programs invalidate, delete and flush until interrupted, one event per line; needs the option
    /// `events` of the cache
    #[command(after_help = examples::EVENTS)]
    Events(Events),
    /// Copy every entry into another cache, with its remaining time to live and its tags
    #[command(after_help = examples::MIGRATE)]
    Migrate(Migrate),
    /// Inspect the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the manual page of this tool, in the format of man(1)
    #[command(after_help = examples::MAN)]
    Man,
    /// Print the completion of commands, options and their values for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(Completions),
}

/// Selects the command on the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Report the settings without opening the cache; for a file, of every environment unless one is selected
    #[command(after_help = examples::CHECK)]
    Check,
}

#[derive(Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

#[derive(Args)]
pub struct Key {
    /// Key of the entry
    pub key: OsString,
}

#[derive(Args)]
pub struct Explain {
    /// Key of the entry
    pub key: OsString,
    /// Report this tag by name (an entry contains hashes of its tags); may be given up to 128 times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
pub struct Keys {
    /// Keys of the entries
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<OsString>,
}

#[derive(Args)]
pub struct Get {
    /// Key of the entry
    pub key: OsString,
    /// Write the value to this file; a miss does not change the file
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub struct Set {
    /// Key of the entry
    pub key: OsString,
    /// The value; `-` reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub value: OsString,
    /// Time to live: a time such as 250ms, 30s, 5m, 2h or 1d, or `never` [default: default_ttl of the configuration]
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub ttl: Option<Ttl>,
    /// Tag of the entry; may be given up to 128 times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
pub struct Expire {
    /// Key of the entry
    pub key: OsString,
    /// Time to live: a time such as 250ms, 30s, 5m, 2h or 1d, or `never` or `default`
    #[arg(value_parser = ttl)]
    pub ttl: Ttl,
}

#[derive(Args)]
pub struct Listing {
    /// Glob that matches the whole key: * ? [a-z] [^a] \x
    #[arg(default_value = "*", hide_default_value = true)]
    pub pattern: OsString,
    /// Stop after this number of keys
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Restrict to entries with this tag; with several, to entries that have any of them
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
pub struct Search {
    /// Text to search for, at most 1 KiB
    pub query: OsString,
    /// Lowest score of a match, 0 to 100
    #[arg(long, default_value_t = 80.0, value_name = "SCORE")]
    pub threshold: f64,
    /// Maximum number of keys
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub limit: usize,
    /// Restrict to entries with this tag; with several, to entries that have any of them
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").args(["tags", "patterns"]).required(true))]
pub struct Invalidate {
    /// Remove entries with this tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
    /// Remove entries whose whole key matches this glob: * ? [a-z] [^a] \x; may be given more than once
    #[arg(long = "pattern", value_name = "PATTERN")]
    pub patterns: Vec<OsString>,
    /// List the keys that would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct RemoveAll {
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Args)]
pub struct Publish {
    /// Name of the channel
    pub channel: OsString,
    /// The message; `-` reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub message: OsString,
}

#[derive(Args)]
#[command(group = ArgGroup::new("selected").args(["channels", "patterns"]).required(true).multiple(true))]
pub struct Subscribe {
    /// Names of the channels
    #[arg(value_name = "CHANNEL")]
    pub channels: Vec<OsString>,
    /// Select the channels whose whole name matches this glob: * ? [a-z] [^a] \x; may be given more than once
    #[arg(long = "pattern", value_name = "PATTERN")]
    pub patterns: Vec<OsString>,
    /// End after this number of messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

#[derive(Args)]
pub struct Events {
    /// Of invalidations of tags, write only those of this tag; may be given more than once. Without --key and --kind, no
    /// deletes are written then
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<OsString>,
    /// Of deletes, write only those of keys that match this glob: * ? [a-z] [^a] \x; may be given more than once. Without
    /// --tag and --kind, no invalidations of tags are written then
    #[arg(long = "key", value_name = "PATTERN")]
    pub keys: Vec<OsString>,
    /// Write only events of this kind; may be given more than once
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<Kind>,
    /// End after this number of events; gaps do not count
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Selects a kind of events. Others concern one process, which is not the tool.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// A tag was invalidated
    Tag,
    /// The keys that match a pattern were removed
    Pattern,
    /// All entries were removed
    Flush,
    /// A key was deleted
    Delete,
}

#[derive(Args)]
#[command(group = ArgGroup::new("target").args(["to_url", "to_config"]).required(true).multiple(true))]
pub struct Migrate {
    /// URL of the cache that receives the entries
    #[arg(long, value_name = "URL")]
    pub to_url: Option<String>,
    /// Configuration file of that cache
    #[arg(long, value_name = "FILE")]
    pub to_config: Option<PathBuf>,
    /// Environment of that file [default: the variable ENVIRONMENT, else development]
    #[arg(long, value_name = "NAME")]
    pub to_environment: Option<String>,
    /// Copy only keys that match this glob
    #[arg(long, value_name = "PATTERN")]
    pub pattern: Option<OsString>,
    /// Maximum number of entries per second
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub rate: u64,
    /// Count what would be copied, and store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Record the progress in this file: after an interruption the same command continues from there. The file is
    /// removed at the end
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub resume_file: Option<PathBuf>,
    /// Continue at the position that an interrupted run without --resume-file printed
    #[arg(long, value_name = "POSITION", conflicts_with = "resume_file")]
    pub resume: Option<String>,
}

#[derive(Args)]
pub struct Stats {
    /// Repeat the report at this interval [1s] until interrupted; rates leave out the queries of this tool
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "1s", value_parser = interval)]
    pub watch: Option<Duration>,
}

#[derive(Args)]
pub struct Top {
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// End after this number of looks
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

#[derive(Args)]
pub struct Bench {
    /// End after this number of requests [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// End after this time [default: 3s, or no limit with --requests]
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub duration: Option<Duration>,
    /// Number of clients: threads that send requests independently
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub clients: u16,
    /// Number of requests that each client has in flight
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// Size of the values in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub size: usize,
    /// Number of keys; all are stored before the measurement
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// Ratio of reads to writes
    #[arg(long, value_name = "READS:WRITES", default_value = "9:1", value_parser = ratio)]
    pub ratio: (u64, u64),
    /// Number of keys that each request reads or writes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub many: u16,
    /// Time to live of the entries, which are removed at the end if possible [default: a minute more than the
    /// measurement; an hour and a minute without --duration]
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub ttl: Option<Duration>,
}

/// Parses a time that is not 0.
fn positive(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time.is_zero() { Err("the time must be positive".to_owned()) } else { Ok(time) }
}

/// Parses the ratio of reads to writes.
fn ratio(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once(':').and_then(|(reads, writes)| Some((reads.parse().ok()?, writes.parse().ok()?)));
    match numbers {
        Some((reads, writes)) if (1..=1_000_000).contains(&(u64::saturating_add(reads, writes))) => Ok((reads, writes)),
        _ => Err("write reads and writes, such as 9:1, 1:0 or 0:1".to_owned()),
    }
}

/// Parses a time to live.
fn ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "never" => return Ok(Ttl::Never),
        "default" => return Ok(Ttl::Default),
        _ => {}
    }
    let millis = i64::try_from(time(text)?.as_millis()).unwrap_or(i64::MAX);
    Ttl::from_millis(millis).map_err(|_| "the longest time to live is 100 years".to_owned())
}

/// Parses the interval of two reports: short ones would load the server.
fn interval(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time < Duration::from_millis(100) { Err("the interval must be at least 100ms".to_owned()) } else { Ok(time) }
}
