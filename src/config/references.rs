//! `${NAME}` in the texts of a document: the value of that environment variable.

use super::document::{Field, Node};
use super::{MAX_TEXT_BYTES, Variables, environment, refused, wording};
use crate::error::Result;

/// Puts the variables' values into every text; `$${` becomes `${`.
pub(super) fn resolve(fields: &mut [Field], variables: Variables) -> Result<()> {
    let mut resolver = Resolver { variables, room: MAX_TEXT_BYTES };
    fields.iter_mut().try_for_each(|field| resolver.field(field))
}

struct Resolver<'a> {
    variables: Variables<'a>,
    /// Bytes that may still be made: a long variable that is named often would fill the memory.
    room: usize,
}

impl Resolver<'_> {
    fn field(&mut self, field: &mut Field) -> Result<()> {
        let label = field.label();
        self.node(&mut field.node, &label)
    }

    fn node(&mut self, node: &mut Node, label: &str) -> Result<()> {
        match node {
            Node::Text(text) if text.contains("${") => *text = self.text(text, label)?,
            Node::List(nodes) => nodes.iter_mut().try_for_each(|node| self.node(node, label))?,
            Node::Map(fields) => fields.iter_mut().try_for_each(|field| self.field(field))?,
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str, label: &str) -> Result<String> {
        let (mut made, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            rest = match before.strip_suffix('$') {
                Some(before) => {
                    made.extend([before, "${"]);
                    after
                }
                None => {
                    let (value, after) = self.reference(after, label)?;
                    made.extend([before, value.as_str()]);
                    after
                }
            };
        }
        Ok(made + rest)
    }

    /// The value of the variable that the text starts with, and what follows its `}`.
    fn reference<'t>(&mut self, text: &'t str, label: &str) -> Result<(String, &'t str)> {
        let (name, after) = text.split_once('}').filter(|(name, _)| is_name(name)).ok_or_else(|| {
            refused(format!(
                "{label}: `${{` takes the name of a variable and `}}`; the characters themselves are `$${{`"
            ))
        })?;
        let value = environment::variable(self.variables, name).ok_or_else(|| {
            refused(format!("{label}: the variable {} is not set, or empty", wording::shortened(name)))
        })?;
        let longer = || refused(format!("{label}: with its variables the configuration is longer than 256 KiB"));
        self.room = self.room.checked_sub(value.len()).ok_or_else(longer)?;
        Ok((value, after))
    }
}

fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    starts && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
