//! One option: its names, what it takes, and how what is given reaches its field.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Field, Node};
use super::{Variables, environment, refused, value};
use crate::error::{Error, Result};

/// An option of the section that `T` holds.
pub(super) struct Row<T> {
    /// Its name and then its aliases, with spaces between.
    names: &'static str,
    kind: Kind<T>,
    /// As a person would write it, and read by the same rules.
    default: &'static str,
    about: &'static str,
    variable: Option<&'static str>,
}

/// What an option takes, and the field that keeps it.
pub(super) enum Kind<T> {
    /// A time; the limits are in milliseconds.
    Time(RangeInclusive<u64>, fn(&mut T) -> &mut Duration),
    /// A number of bytes.
    Size(RangeInclusive<u64>, fn(&mut T) -> &mut u64),
    /// A whole number.
    Count(RangeInclusive<u64>, fn(&mut T) -> &mut u64),
    /// A number from 0 to 100.
    Percent(fn(&mut T) -> &mut f64),
    /// The text that every stored name starts with.
    Prefix(fn(&mut T) -> &mut String),
}

/// An option without a variable.
pub(super) const fn row<T>(names: &'static str, kind: Kind<T>, default: &'static str, about: &'static str) -> Row<T> {
    Row { names, kind, default, about, variable: None }
}

/// The same option, with a variable that stands in when nothing gives it.
pub(super) const fn or_variable<T>(variable: &'static str, mut row: Row<T>) -> Row<T> {
    row.variable = Some(variable);
    row
}

impl<T> Row<T> {
    /// Its name, then its aliases.
    pub(super) fn names(&self) -> std::str::Split<'static, char> {
        self.names.split(' ')
    }

    /// Stores what a field gives, else the variable, else the default.
    pub(super) fn fill(&self, target: &mut T, fields: &[Field], variables: Variables) -> Result<()> {
        if let Some(field) = self.given(fields)? {
            return self.store(&field.node, &format!("option {}", field.label()), target);
        }
        match self.variable.and_then(|name| Some((name, environment::variable(variables, name)?))) {
            Some((name, text)) => self.store(&Node::Text(text), &format!("variable {name}"), target),
            None => self.store(&Node::Text(self.default.to_owned()), &format!("the default of {}", self.names), target),
        }
    }

    /// The one field that gives this option, under whichever of its names.
    fn given<'a>(&self, fields: &'a [Field]) -> Result<Option<&'a Field>> {
        let mut given = fields.iter().filter(|field| self.names().any(|name| name == field.name));
        match (given.next(), given.next()) {
            (Some(first), Some(second)) => Err(twice(first, second)),
            (first, _) => Ok(first),
        }
    }

    fn store(&self, node: &Node, label: &str, target: &mut T) -> Result<()> {
        let stored = self.kind.store(node, target);
        stored.ok_or_else(|| {
            refused(format!("{label}: {} is not accepted; it takes {}", node.shown(), self.kind.accepts()))
        })
    }

    /// The option's line of the reference.
    pub(super) fn line(&self, section: &str) -> String {
        let names = format!("`{}`", self.names.replace(' ', "`, `"));
        let variable = self.variable.map_or_else(String::new, |name| format!("`{name}`"));
        let takes = self.kind.accepts();
        format!("| {names} | {section} | {takes} | `{}` | {variable} | {} |\n", self.default, self.about)
    }
}

fn twice(first: &Field, second: &Field) -> Error {
    refused(format!("one option is given twice: {} and {}", first.label(), second.label()))
}

impl<T> Kind<T> {
    /// Stores what the node says, or nothing when it says nothing acceptable.
    fn store(&self, node: &Node, target: &mut T) -> Option<()> {
        match self {
            Kind::Time(range, field) => {
                *field(target) = Duration::from_millis(ranged(value::milliseconds(numeric(node)?), range)?);
            }
            Kind::Size(range, field) => *field(target) = ranged(value::size(numeric(node)?), range)?,
            Kind::Count(range, field) => *field(target) = ranged(value::count(numeric(node)?), range)?,
            Kind::Percent(field) => *field(target) = value::percent(numeric(node)?)?,
            Kind::Prefix(field) => *field(target) = prefix(node)?.to_owned(),
        }
        Some(())
    }

    fn accepts(&self) -> String {
        match self {
            Kind::Time(range, _) => {
                let range = written(range, value::TIMES);
                format!("a time from {range}, such as `250ms`, `300s`, `5m`, `2h` or `1d` (a bare number is seconds)")
            }
            Kind::Size(range, _) => {
                let range = written(range, value::SIZES);
                format!("a number of bytes from {range}, such as `65536`, `64KiB` (1024) or `64kB` (1000)")
            }
            Kind::Count(range, _) => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Percent(_) => "a percentage from 0 to 100, such as `10%` or `2.5`".to_owned(),
            Kind::Prefix(_) => {
                "a text of 1 to 64 of `A-Z a-z 0-9 _ . -`, in quotes if it looks like a number".to_owned()
            }
        }
    }
}

/// A number as written; URLs and variables have texts only, so a text will do.
fn numeric(node: &Node) -> Option<&str> {
    match node {
        Node::Number(text) | Node::Text(text) => Some(text),
        _ => None,
    }
}

fn written(range: &RangeInclusive<u64>, units: &[value::Unit]) -> String {
    format!("{} to {}", value::written(*range.start(), units), value::written(*range.end(), units))
}

fn ranged(value: Option<u64>, range: &RangeInclusive<u64>) -> Option<u64> {
    value.filter(|value| range.contains(value))
}

/// Strict: a prefix that holds `*` or `[` would reach into other caches' patterns.
fn prefix(node: &Node) -> Option<&str> {
    let Node::Text(text) = node else { return None };
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    (fits && (1..=64).contains(&text.len())).then_some(text)
}
