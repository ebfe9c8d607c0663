//! One option: its names, its kind and its default, and how a given value reaches its field.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Field, Node, Place};
use super::environment::{self, Variables};
use super::message::{self, refused};
use super::types::{
    Address, ConnectionConfig, Distribution, Keepalive, KeyHash, LoadingConfig, MemcachedConfig, MemcachedServer,
    MemoryConfig, MigrationConfig, NearConfig, RedisConfig, Secret, SwitchConfig, TlsConfig, ViewConfig,
};
use super::value::{self, Fit, Misfit, numeric};
use crate::error::{Error, Result};
use crate::operation::PatternMode;

/// The values of all options, before they are checked together.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Options {
    pub key_prefix: String,
    pub default_ttl: Duration,
    pub ttl_jitter: f64,
    pub generations: bool,
    pub tag_names: bool,
    pub patterns: PatternMode,
    pub max_value_bytes: u64,
    pub loading: LoadingConfig,
    pub memory: MemoryConfig,
    /// Without its topology, TLS and connection.
    pub redis: RedisConfig,
    pub redis_servers: RedisServers,
    /// Without its distribution and hash, TLS and connection.
    pub memcached: MemcachedConfig,
    pub keys: MemcachedKeys,
    pub ssl: bool,
    pub tls: TlsConfig,
    pub keepalive: bool,
    pub probes: Keepalive,
    pub connection: ConnectionConfig,
    pub near: NearConfig,
    pub fallback: FallbackOptions,
    pub migration: MigrationConfig,
    pub switch: SwitchConfig,
    pub view: ViewConfig,
}

/// The options of section `redis` that name its servers.
#[derive(Clone, PartialEq, Default)]
pub(super) struct RedisServers {
    pub host: String,
    pub port: u16,
    pub socket: Option<PathBuf>,
    pub cluster: Option<bool>,
    pub nodes: Vec<Address>,
    pub sentinels: Vec<Address>,
    pub master: Option<String>,
    pub sentinel_username: Option<String>,
    pub sentinel_password: Option<Secret>,
}

/// The options of section `memcached` that distribute keys among servers.
#[derive(Clone, PartialEq, Default)]
pub(super) struct MemcachedKeys {
    pub weights: Vec<u32>,
    pub distribution: Option<Distribution>,
    pub ketama: Option<bool>,
    pub ketama_weighted: Option<bool>,
    pub hash: Option<KeyHash>,
}

/// The options of a fallback that are not its backend's.
#[derive(Clone, PartialEq, Default)]
pub(super) struct FallbackOptions {
    pub max_ttl: Duration,
    pub follow: bool,
    pub probe_interval: Duration,
}

/// The kind of an option's value, and the field that keeps it.
pub(super) enum Kind {
    /// A time; the limits are in milliseconds.
    Time(RangeInclusive<u64>, fn(&mut Options) -> &mut Duration),
    /// A time in whole seconds; so are the limits.
    Seconds(RangeInclusive<u64>, fn(&mut Options) -> &mut Duration),
    /// A number of bytes.
    Size(RangeInclusive<u64>, fn(&mut Options) -> &mut u64),
    /// A whole number.
    Count(RangeInclusive<u64>, fn(&mut Options) -> &mut u64),
    /// A whole number of 32 bits.
    SmallCount(RangeInclusive<u32>, fn(&mut Options) -> &mut u32),
    /// A number from 0 to 100.
    Percent(fn(&mut Options) -> &mut f64),
    /// The prefix of every stored name.
    Prefix(fn(&mut Options) -> &mut String),
    /// A name with the characters of a prefix, or none.
    Name(fn(&mut Options) -> &mut Option<String>),
    /// Texts that are not empty.
    Texts(fn(&mut Options) -> &mut Vec<String>),
    /// A time, or none; the limits are in milliseconds.
    MaybeTime(RangeInclusive<u64>, fn(&mut Options) -> &mut Option<Duration>),
    /// True or false.
    Flag(fn(&mut Options) -> &mut bool),
    /// True, false or not given.
    Maybe(fn(&mut Options) -> &mut Option<bool>),
    /// One of these words.
    Choice(Choices),
    /// A text that is not empty.
    Text(fn(&mut Options) -> &mut Option<String>),
    /// A text that is not empty and that no message repeats.
    Password(fn(&mut Options) -> &mut Option<Secret>),
    /// The path of a file.
    Path(fn(&mut Options) -> &mut Option<PathBuf>),
    /// A name or an IP address.
    Host(fn(&mut Options) -> &mut String),
    /// A TCP port.
    Port(fn(&mut Options) -> &mut u16),
    /// Hosts, each with its port or this one.
    Addresses(u16, fn(&mut Options) -> &mut Vec<Address>),
    /// Memcached servers.
    Servers(fn(&mut Options) -> &mut Vec<MemcachedServer>),
    /// A weight for each Memcached server.
    Weights(fn(&mut Options) -> &mut Vec<u32>),
    /// A map of options of its own.
    Rows(&'static [Row]),
    /// A URL that gives other options of its section, such as this one; read before the rows are.
    Url(&'static str),
    /// A map that gives other options of its section, these or (if empty) any; opened before the rows are read.
    Group(&'static [&'static str]),
}

/// Words, each with the function that stores it.
pub(super) type Choices = &'static [(&'static str, fn(&mut Options))];

/// The sections that an option belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The section of every backend.
    Every,
    Memory,
    Redis,
    Memcached,
    /// The sections of both backends with servers, `redis` and `memcached`.
    Remote,
    Near,
    Fallback,
    Migration,
    Switch,
    View,
}

/// An option, as a line of the table.
pub(super) struct Row {
    pub scope: Scope,
    /// Its name and then its aliases, separated by spaces.
    names: &'static str,
    pub kind: Kind,
    /// As a person would write it, and read by the same rules; empty if the option has no default.
    pub default: &'static str,
    /// A value for the guide, as YAML.
    pub example: &'static str,
    /// The meaning, as Markdown.
    pub about: &'static str,
    /// A variable that gives the value if nothing else does.
    pub variable: Option<&'static str>,
}

/// Returns an option without a variable.
pub(super) const fn row(
    scope: Scope,
    names: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    about: &'static str,
) -> Row {
    Row { scope, names, kind, default, example, about, variable: None }
}

impl Row {
    /// Returns the same option with a variable.
    pub(super) const fn or_variable(mut self, variable: &'static str) -> Row {
        self.variable = Some(variable);
        self
    }

    /// Returns its name.
    pub(super) fn name(&self) -> &'static str {
        self.names.split(' ').next().unwrap_or_default()
    }

    /// Returns its name, then its aliases.
    pub(super) fn names(&self) -> std::str::Split<'static, char> {
        self.names.split(' ')
    }

    /// Returns true if this is its name or an alias.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Returns the first field that gives it, under any of its names.
    pub(super) fn given<'a>(&self, fields: &'a [Field]) -> Option<&'a Field> {
        fields.iter().find(|field| self.is_called(&field.name))
    }

    /// Stores the value of a field, else of the variable, else the default.
    pub(super) fn fill(&self, options: &mut Options, fields: &[Field], variables: Variables) -> Result<()> {
        let given: Vec<&Field> = fields.iter().filter(|field| self.is_called(&field.name)).collect();
        match given.as_slice() {
            [] => self.fill_absent(options, variables),
            [first, others @ ..] => {
                self.store_field(first, options)?;
                others.iter().try_for_each(|other| self.check_agreement(first, other, options))
            }
        }
    }

    fn fill_absent(&self, options: &mut Options, variables: Variables) -> Result<()> {
        if self.kind.is_opened_before() {
            return Ok(());
        }
        match self.variable.and_then(|name| Some((name, environment::variable(variables, name)?))) {
            Some((name, text)) => self.store(&Node::Text(text), &format!("variable {name}"), false, options),
            None => self
                .default_node()
                .map_or(Ok(()), |node| self.store(&node, &format!("the default of {}", self.names), false, options)),
        }
    }

    fn default_node(&self) -> Option<Node> {
        match self.kind {
            Kind::Rows(_) => Some(Node::Map(Vec::new())),
            _ => (!self.default.is_empty()).then(|| Node::Text(self.default.to_owned())),
        }
    }

    /// Checks a second value: an option may be given in a URL and in the document if both say the same.
    fn check_agreement(&self, first: &Field, other: &Field, options: &Options) -> Result<()> {
        if is_one_source(first.place, other.place) {
            return Err(twice(first, other));
        }
        let mut changed = options.clone();
        self.store_field(other, &mut changed)?;
        if changed == *options { Ok(()) } else { Err(contradiction(first, other)) }
    }

    fn store_field(&self, field: &Field, options: &mut Options) -> Result<()> {
        let private = matches!(field.place, Place::Address);
        self.store(&field.node, &format!("option {}", field.label()), private, options)
    }

    fn store(&self, node: &Node, label: &str, private: bool, options: &mut Options) -> Result<()> {
        self.kind.store(node, options).map_err(|misfit| {
            let accepts = self.kind.accepts();
            match misfit {
                Misfit::Plain if self.kind.is_opened_before() => refused(format!("{label} has no place here")),
                Misfit::Plain => {
                    let given = if private || self.kind.is_private() { node.kind().to_owned() } else { node.shown() };
                    refused(format!("{label}: {given} is not accepted; it takes {accepts}"))
                }
                Misfit::Because(reason) => refused(format!("{label}: {reason}; it takes {accepts}")),
                Misfit::Inside(error) => refused(format!("{label}: {}", error.message())),
            }
        })
    }
}

impl Kind {
    fn store(&self, node: &Node, options: &mut Options) -> Fit<()> {
        match self {
            Kind::Addresses(port, field) => *field(options) = value::addresses(node, *port)?,
            Kind::Servers(field) => *field(options) = value::servers(node)?,
            Kind::Weights(field) => *field(options) = value::weights(node)?,
            Kind::Texts(field) => *field(options) = value::texts(node)?,
            Kind::Rows(rows) => fill_rows(rows, node, options)?,
            scalar => scalar.store_scalar(node, options).ok_or(Misfit::Plain)?,
        }
        Ok(())
    }

    fn store_scalar(&self, node: &Node, options: &mut Options) -> Option<()> {
        match self {
            Kind::Time(range, field) => {
                *field(options) = Duration::from_millis(ranged(value::milliseconds(numeric(node)?), range)?);
            }
            Kind::MaybeTime(range, field) => {
                *field(options) = Some(Duration::from_millis(ranged(value::milliseconds(numeric(node)?), range)?));
            }
            Kind::Seconds(range, field) => {
                *field(options) = Duration::from_secs(ranged(value::seconds(numeric(node)?), range)?);
            }
            Kind::Size(range, field) => *field(options) = ranged(value::size(numeric(node)?), range)?,
            Kind::Count(range, field) => *field(options) = ranged(value::count(numeric(node)?), range)?,
            Kind::SmallCount(range, field) => {
                *field(options) = ranged(value::count(numeric(node)?)?.try_into().ok(), range)?;
            }
            Kind::Percent(field) => *field(options) = value::percent(numeric(node)?)?,
            Kind::Prefix(field) => *field(options) = value::prefix(node)?.to_owned(),
            Kind::Name(field) => *field(options) = Some(value::prefix(node)?.to_owned()),
            Kind::Flag(field) => *field(options) = value::flag(node)?,
            Kind::Maybe(field) => *field(options) = Some(value::flag(node)?),
            Kind::Choice(choices) => {
                let word = value::text(node)?;
                let (_, store) = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
                store(options);
            }
            Kind::Text(field) => *field(options) = Some(value::text(node)?.to_owned()),
            Kind::Password(field) => *field(options) = Some(Secret::new(value::text(node)?)),
            Kind::Path(field) => *field(options) = Some(PathBuf::from(value::text(node)?)),
            Kind::Host(field) => *field(options) = value::host(value::text(node)?)?,
            Kind::Port(field) => *field(options) = value::port(numeric(node)?.trim())?,
            _ => return None,
        }
        Some(())
    }

    /// Returns true if messages repeat nothing of the value.
    fn is_private(&self) -> bool {
        matches!(self, Kind::Text(_) | Kind::Password(_) | Kind::Url(_))
    }

    /// Returns true if it only stands for other options.
    pub(super) fn is_opened_before(&self) -> bool {
        matches!(self, Kind::Url(_) | Kind::Group(_))
    }

    /// Describes the accepted values, for messages.
    pub(super) fn accepts(&self) -> String {
        let range = self.range();
        match self {
            Kind::Time(..) | Kind::MaybeTime(..) => {
                format!("a time from {range}, such as `250ms`, `300s`, `5m`, `2h` or `1d` (a bare number is seconds)")
            }
            Kind::Seconds(..) => format!("whole seconds from {range}"),
            Kind::Size(..) => {
                format!("a number of bytes from {range}, such as `65536`, `64KiB` (1024) or `64kB` (1000)")
            }
            Kind::Count(..) | Kind::SmallCount(..) | Kind::Port(_) => format!("a whole number from {range}"),
            Kind::Percent(_) => format!("a percentage from {range}, such as `10%` or `2.5`"),
            Kind::Prefix(_) | Kind::Name(_) => format!("a text of {range}, in quotes if it looks like a number"),
            Kind::Flag(_) | Kind::Maybe(_) | Kind::Choice(_) => range,
            Kind::Text(_) | Kind::Password(_) => "a text without NUL, in quotes if it looks like a number".to_owned(),
            Kind::Path(_) => "a path".to_owned(),
            Kind::Host(_) => "one host name, IPv4 or IPv6 address".to_owned(),
            Kind::Addresses(..) | Kind::Servers(_) => format!("a list of {range}, or a text of them with commas"),
            Kind::Texts(_) => "a list of texts, or a text of them with commas".to_owned(),
            Kind::Weights(_) => format!("a list of whole numbers from {range}, or a text of them with commas"),
            Kind::Rows(_) | Kind::Group(_) => format!("a map of {range}"),
            Kind::Url(example) => format!("a URL such as `{example}`"),
        }
    }

    /// Returns the type of the values and their unit.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Kind::Time(..) | Kind::MaybeTime(..) => "time",
            Kind::Seconds(..) => "seconds",
            Kind::Size(..) => "bytes",
            Kind::Count(..) | Kind::SmallCount(..) | Kind::Port(_) => "integer",
            Kind::Percent(_) => "percentage",
            Kind::Prefix(_) | Kind::Name(_) | Kind::Text(_) | Kind::Password(_) => "text",
            Kind::Texts(_) => "list of texts",
            Kind::Flag(_) | Kind::Maybe(_) => "boolean",
            Kind::Choice(_) => "word",
            Kind::Path(_) => "path",
            Kind::Host(_) => "host name or address",
            Kind::Addresses(..) | Kind::Servers(_) => "list of servers",
            Kind::Weights(_) => "list of integers",
            Kind::Rows(_) | Kind::Group(_) => "map",
            Kind::Url(_) => "URL",
        }
    }

    /// Describes the limits of the values; empty if the kind says all.
    pub(super) fn range(&self) -> String {
        match self {
            Kind::Time(range, _) | Kind::MaybeTime(range, _) => written(range, value::TIMES),
            Kind::Size(range, _) => written(range, value::SIZES),
            Kind::Seconds(range, _) | Kind::Count(range, _) => format!("{} to {}", range.start(), range.end()),
            Kind::SmallCount(range, _) => format!("{} to {}", range.start(), range.end()),
            Kind::Percent(_) => "0 to 100".to_owned(),
            Kind::Port(_) => "1 to 65535".to_owned(),
            Kind::Weights(_) => "1 to 1000000".to_owned(),
            Kind::Prefix(_) | Kind::Name(_) => "1 to 64 of `A-Z a-z 0-9 _ . -`".to_owned(),
            Kind::Texts(_) => "up to 128".to_owned(),
            Kind::Flag(_) | Kind::Maybe(_) => "`true` or `false`".to_owned(),
            Kind::Choice(choices) => message::alternatives(choices.iter().map(|(word, _)| *word)),
            Kind::Addresses(..) => "`host:port`".to_owned(),
            Kind::Servers(_) => "`host:port`, `host:port weight`, `[server, weight]` or `/a/socket`".to_owned(),
            Kind::Rows(rows) => message::listed(rows.iter().map(Row::name)),
            Kind::Group([]) => "options of this section".to_owned(),
            Kind::Group(names) => message::listed(names.iter().copied()),
            Kind::Text(_) | Kind::Password(_) | Kind::Path(_) | Kind::Host(_) | Kind::Url(_) => String::new(),
        }
    }
}

/// Fills options from a map. Names are in any case: `TCP_KEEPIDLE` is a constant of C, and Python's `socket` has it in
/// capitals too.
fn fill_rows(rows: &[Row], node: &Node, options: &mut Options) -> Fit<()> {
    let Node::Map(fields) = node else { return Err(Misfit::Plain) };
    let mut fields: Vec<Field> = fields.iter().map(|field| known(field, rows)).collect::<Fit<_>>()?;
    fields.retain(|field| !field.is_null());
    rows.iter().try_for_each(|row| row.fill(options, &fields, &|_| None)).map_err(Misfit::Inside)
}

fn known(field: &Field, rows: &[Row]) -> Fit<Field> {
    let name = rows.iter().flat_map(Row::names).find(|name| name.eq_ignore_ascii_case(&field.name));
    let name = name.ok_or_else(|| Misfit::Because(format!("{} is unknown", field.label())))?;
    Ok(Field { name: name.to_owned(), ..field.clone() })
}

fn written(range: &RangeInclusive<u64>, units: &[value::Unit]) -> String {
    format!("{} to {}", value::written(*range.start(), units), value::written(*range.end(), units))
}

fn ranged<N: PartialOrd>(value: Option<N>, range: &RangeInclusive<N>) -> Option<N> {
    value.filter(|value| range.contains(value))
}

fn is_one_source(first: Place, second: Place) -> bool {
    std::mem::discriminant(&first) == std::mem::discriminant(&second)
}

/// Returns the refusal of an option that is given twice, under one of its names or two.
pub(super) fn twice(first: &Field, second: &Field) -> Error {
    refused(format!("one option is given twice: {} and {}", first.label(), second.label()))
}

fn contradiction(first: &Field, second: &Field) -> Error {
    refused(format!("options {} and {} contradict each other: give one of them", first.label(), second.label()))
}
