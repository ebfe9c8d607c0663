//! One option: its names, its default, and how what is given reaches its field.

use super::document::{Field, Node, Place};
use super::kind::{Kind, Misfit};
use super::{Variables, environment, refused};
use crate::error::{Error, Result};

/// An option of the section that `T` holds.
pub(super) struct Row<T: 'static> {
    /// Its name and then its aliases, with spaces between.
    names: &'static str,
    kind: Kind<T>,
    /// As a person would write it, and read by the same rules; empty when there is none.
    default: &'static str,
    about: &'static str,
    variable: Option<&'static str>,
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

impl<T: Clone + PartialEq> Row<T> {
    /// Stores what a field gives, else the variable, else the default.
    pub(super) fn fill(&self, target: &mut T, fields: &[Field], variables: Variables) -> Result<()> {
        let given: Vec<&Field> = fields.iter().filter(|field| self.is_called(&field.name)).collect();
        match given.as_slice() {
            [] => self.fill_absent(target, variables),
            [first, others @ ..] => {
                self.store_field(first, target)?;
                others.iter().try_for_each(|other| self.check_agreement(first, other, target))
            }
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    fn fill_absent(&self, target: &mut T, variables: Variables) -> Result<()> {
        if self.kind.is_opened_before() {
            return Ok(());
        }
        match self.variable.and_then(|name| Some((name, environment::variable(variables, name)?))) {
            Some((name, text)) => self.store(&Node::Text(text), &format!("variable {name}"), false, target),
            None => self
                .kind
                .default_node(self.default)
                .map_or(Ok(()), |node| self.store(&node, &format!("the default of {}", self.names), false, target)),
        }
    }

    /// An option may stand in a URL and beside it, if both say the same.
    fn check_agreement(&self, first: &Field, other: &Field, target: &T) -> Result<()> {
        if is_one_source(first.place, other.place) {
            return Err(twice(first, other));
        }
        let mut changed = target.clone();
        self.store_field(other, &mut changed)?;
        if changed == *target { Ok(()) } else { Err(contradiction(first, other)) }
    }

    fn store_field(&self, field: &Field, target: &mut T) -> Result<()> {
        let private = matches!(field.place, Place::Address);
        self.store(&field.node, &format!("option {}", field.label()), private, target)
    }

    fn store(&self, node: &Node, label: &str, private: bool, target: &mut T) -> Result<()> {
        self.kind.store(node, target).map_err(|misfit| {
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

    /// The option's line of the reference.
    pub(super) fn line(&self, section: &str) -> String {
        let names = format!("`{}`", self.names.replace(' ', "`, `"));
        let [variable, default] = [self.variable.unwrap_or_default(), self.default].map(code);
        let takes = self.kind.accepts();
        format!("| {names} | {section} | {takes} | {default} | {variable} | {} |\n", self.about)
    }
}

impl<T> Row<T> {
    /// The first field that gives it, under whichever of its names.
    pub(super) fn given<'a>(&self, fields: &'a [Field]) -> Option<&'a Field> {
        fields.iter().find(|field| self.names().any(|name| name == field.name))
    }

    /// Its name, then its aliases.
    pub(super) fn names(&self) -> std::str::Split<'static, char> {
        self.names.split(' ')
    }

    /// Its name and its aliases, with spaces between.
    pub(super) fn all_names(&self) -> &'static str {
        self.names
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.names.split(' ').next().unwrap_or_default()
    }
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn is_one_source(first: Place, second: Place) -> bool {
    std::mem::discriminant(&first) == std::mem::discriminant(&second)
}

/// The refusal of an option that is given twice, under one of its names or two.
pub(super) fn twice(first: &Field, second: &Field) -> Error {
    refused(format!("one option is given twice: {} and {}", first.label(), second.label()))
}

fn contradiction(first: &Field, second: &Field) -> Error {
    refused(format!("options {} and {} contradict each other: give one of them", first.label(), second.label()))
}
