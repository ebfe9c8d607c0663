//! What an option takes: how it is read, and how that is said.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{Field, Node};
use super::row::Row;
use super::{Address, MemcachedServer, Secret, address, list, value, wording};
use crate::error::Error;

/// What an option takes, and the field of `T` that keeps it.
pub(super) enum Kind<T: 'static> {
    /// A time; the limits are in milliseconds.
    Time(RangeInclusive<u64>, fn(&mut T) -> &mut Duration),
    /// A time in whole seconds; so are the limits.
    Seconds(RangeInclusive<u64>, fn(&mut T) -> &mut Duration),
    /// A number of bytes.
    Size(RangeInclusive<u64>, fn(&mut T) -> &mut u64),
    /// A whole number.
    Count(RangeInclusive<u64>, fn(&mut T) -> &mut u64),
    /// A whole number of 32 bits.
    SmallCount(RangeInclusive<u32>, fn(&mut T) -> &mut u32),
    /// A number from 0 to 100.
    Percent(fn(&mut T) -> &mut f64),
    /// The text that every stored name starts with.
    Prefix(fn(&mut T) -> &mut String),
    /// Yes or no.
    Flag(fn(&mut T, bool)),
    /// One of these words.
    Choice(Choices<T>),
    /// A text that is not empty.
    Text(fn(&mut T) -> &mut Option<String>),
    /// A text that is not empty and that nobody repeats.
    Secret(fn(&mut T) -> &mut Option<Secret>),
    /// The path of a file.
    Path(fn(&mut T) -> &mut Option<PathBuf>),
    /// A name or an IP address.
    Host(fn(&mut T) -> &mut String),
    /// A TCP port.
    Port(fn(&mut T) -> &mut u16),
    /// Hosts, each with its port or this one.
    Addresses(u16, fn(&mut T) -> &mut Vec<Address>),
    /// Memcached servers.
    Servers(fn(&mut T) -> &mut Vec<MemcachedServer>),
    /// A weight for each Memcached server.
    Weights(fn(&mut T) -> &mut Vec<u32>),
    /// A map of options of its own.
    Rows(&'static [Row<T>]),
    /// A URL that gives other options of its section, such as this one; read before the rows are.
    Url(&'static str),
    /// A map that gives other options of its section, these or any; opened before the rows are read.
    Group(&'static [&'static str]),
}

/// Words, and what each stores.
pub(super) type Choices<T> = &'static [(&'static str, fn(&mut T))];

/// What reading gives: the value, or why there is none.
pub(super) type Fit<T> = std::result::Result<T, Misfit>;

/// Why what is given is not accepted.
pub(super) enum Misfit {
    /// There is no more to say than what would be accepted.
    Plain,
    /// This, in words that repeat nothing of what is given.
    Because(String),
    /// An option inside it is refused.
    Inside(Error),
}

impl<T: Clone + PartialEq> Kind<T> {
    /// Stores what the node says.
    pub(super) fn store(&self, node: &Node, target: &mut T) -> Fit<()> {
        match self {
            Kind::Addresses(port, field) => *field(target) = list::addresses(node, *port)?,
            Kind::Servers(field) => *field(target) = list::servers(node)?,
            Kind::Weights(field) => *field(target) = list::weights(node)?,
            Kind::Rows(rows) => fill_rows(rows, node, target)?,
            scalar => scalar.store_scalar(node, target).ok_or(Misfit::Plain)?,
        }
        Ok(())
    }

    fn store_scalar(&self, node: &Node, target: &mut T) -> Option<()> {
        match self {
            Kind::Time(range, field) => {
                *field(target) = Duration::from_millis(ranged(value::milliseconds(numeric(node)?), range)?);
            }
            Kind::Seconds(range, field) => {
                *field(target) = Duration::from_secs(ranged(value::seconds(numeric(node)?), range)?);
            }
            Kind::Size(range, field) => *field(target) = ranged(value::size(numeric(node)?), range)?,
            Kind::Count(range, field) => *field(target) = ranged(value::count(numeric(node)?), range)?,
            Kind::SmallCount(range, field) => *field(target) = ranged(small(node), range)?,
            Kind::Percent(field) => *field(target) = value::percent(numeric(node)?)?,
            Kind::Prefix(field) => *field(target) = prefix(node)?.to_owned(),
            Kind::Flag(store) => store(target, flag(node)?),
            Kind::Choice(choices) => choice(node, choices)?(target),
            Kind::Text(field) => *field(target) = Some(text(node)?.to_owned()),
            Kind::Secret(field) => *field(target) = Some(Secret::new(text(node)?)),
            Kind::Path(field) => *field(target) = Some(address::path(text(node)?)?),
            Kind::Host(field) => *field(target) = address::host(text(node)?)?,
            Kind::Port(field) => *field(target) = address::port(numeric(node)?.trim())?,
            _ => return None,
        }
        Some(())
    }

    /// What nothing at all stands for; `None`: there is no default.
    pub(super) fn default_node(&self, text: &str) -> Option<Node> {
        match self {
            Kind::Rows(_) => Some(Node::Map(Vec::new())),
            _ => (!text.is_empty()).then(|| Node::Text(text.to_owned())),
        }
    }

    /// Whether messages repeat nothing of what is given.
    pub(super) fn is_private(&self) -> bool {
        matches!(self, Kind::Text(_) | Kind::Secret(_) | Kind::Url(_))
    }

    /// Whether it only stands for other options.
    pub(super) fn is_opened_before(&self) -> bool {
        matches!(self, Kind::Url(_) | Kind::Group(_))
    }

    /// What it takes, for messages and the reference.
    pub(super) fn accepts(&self) -> String {
        match self {
            Kind::Time(range, _) => {
                let range = written(range, value::TIMES);
                format!("a time from {range}, such as `250ms`, `300s`, `5m`, `2h` or `1d` (a bare number is seconds)")
            }
            Kind::Seconds(range, _) => format!("whole seconds from {} to {}", range.start(), range.end()),
            Kind::Size(range, _) => {
                let range = written(range, value::SIZES);
                format!("a number of bytes from {range}, such as `65536`, `64KiB` (1024) or `64kB` (1000)")
            }
            Kind::Count(range, _) => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::SmallCount(range, _) => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Choice(choices) => wording::alternatives(choices.iter().map(|(word, _)| *word)),
            Kind::Rows(rows) => format!("a map of {}", listed(rows.iter().map(Row::name))),
            Kind::Url(example) => format!("a URL such as `{example}`"),
            Kind::Group([]) => "a map of options of this section".to_owned(),
            Kind::Group(names) => format!("a map of {}", listed(names.iter().copied())),
            plain => plain.accepts_in_a_phrase().to_owned(),
        }
    }

    fn accepts_in_a_phrase(&self) -> &'static str {
        match self {
            Kind::Percent(_) => "a percentage from 0 to 100, such as `10%` or `2.5`",
            Kind::Prefix(_) => "a text of 1 to 64 of `A-Z a-z 0-9 _ . -`, in quotes if it looks like a number",
            Kind::Flag(_) => "`true` or `false`",
            Kind::Text(_) | Kind::Secret(_) => "a text without NUL, in quotes if it looks like a number",
            Kind::Path(_) => "a path",
            Kind::Host(_) => "one host name, IPv4 or IPv6 address",
            Kind::Port(_) => "a whole number from 1 to 65535",
            Kind::Addresses(..) => "a list of `host:port`, or a text of them with commas",
            Kind::Servers(_) => {
                "a list of `host:port`, `host:port weight`, `[server, weight]` or `/a/socket`, or a text of them with commas"
            }
            Kind::Weights(_) => "a list of whole numbers from 1 to 1000000, or a text of them with commas",
            _ => "",
        }
    }
}

/// Names in any case: `TCP_KEEPIDLE` is a constant of C, and Python's `socket` has it in capitals too.
fn fill_rows<T: Clone + PartialEq>(rows: &[Row<T>], node: &Node, target: &mut T) -> Fit<()> {
    let Node::Map(fields) = node else { return Err(Misfit::Plain) };
    let mut fields: Vec<Field> = fields.iter().map(|field| known(field, rows)).collect::<Fit<_>>()?;
    fields.retain(|field| !field.is_null());
    rows.iter().try_for_each(|row| row.fill(target, &fields, &|_| None)).map_err(Misfit::Inside)
}

fn known<T>(field: &Field, rows: &[Row<T>]) -> Fit<Field> {
    let name = rows.iter().flat_map(Row::names).find(|name| name.eq_ignore_ascii_case(&field.name));
    let name = name.ok_or_else(|| Misfit::Because(format!("{} is unknown", field.label())))?;
    Ok(Field { name: name.to_owned(), ..field.clone() })
}

/// A number as written; URLs and variables have texts only, so a text will do.
fn numeric(node: &Node) -> Option<&str> {
    match node {
        Node::Number(text) | Node::Text(text) => Some(text),
        _ => None,
    }
}

fn small(node: &Node) -> Option<u32> {
    value::count(numeric(node)?)?.try_into().ok()
}

/// Python writes `True`, and `1` where C did.
fn flag(node: &Node) -> Option<bool> {
    match node {
        Node::Boolean(value) => Some(*value),
        Node::Number(text) | Node::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn choice<T>(node: &Node, choices: Choices<T>) -> Option<fn(&mut T)> {
    let word = text(node)?;
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, store)| *store)
}

/// A text of any letters but NUL, which would end it early in C.
fn text(node: &Node) -> Option<&str> {
    match node {
        Node::Text(text) => (!text.is_empty() && !text.contains('\0')).then_some(text),
        _ => None,
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn written(range: &RangeInclusive<u64>, units: &[value::Unit]) -> String {
    format!("{} to {}", value::written(*range.start(), units), value::written(*range.end(), units))
}

fn ranged<N: PartialOrd>(value: Option<N>, range: &RangeInclusive<N>) -> Option<N> {
    value.filter(|value| range.contains(value))
}

/// Strict: a prefix that holds `*` or `[` would reach into other caches' patterns.
fn prefix(node: &Node) -> Option<&str> {
    let Node::Text(text) = node else { return None };
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    (fits && (1..=64).contains(&text.len())).then_some(text)
}
