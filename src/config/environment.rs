//! The surroundings of a configuration: its file, its environment, and the variables that its texts name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::document::{ACCEPTED, Field, MAX_TEXT_BYTES, Node, check_length};
use super::message::{self, refused};
use crate::error::{Error, Result};

/// Looks up a variable by name. The caller chooses the source; a variable that is set but empty counts as not set.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The most environments that a message lists.
const LISTED_NAMES: usize = 20;

/// Returns the variable's value; one that is empty counts as not set.
pub(super) fn variable(variables: Variables, name: &str) -> Option<String> {
    variables(name).filter(|value| !value.is_empty())
}

/// Returns the fields of the environment that the caller or `ENVIRONMENT` names, or of a document that is one body.
pub(super) fn body(document: Node, asked: Option<&str>, variables: Variables) -> Result<Vec<Field>> {
    let Node::Map(fields) = document else {
        return Err(refused(format!("the text is {}; it takes {ACCEPTED}", kind(&document))));
    };
    if fields.iter().all(|field| field.name != "cache") {
        return alone(fields, asked);
    }
    let environments = environments(fields)?;
    match asked {
        Some(name) => choose(environments, name, "as asked"),
        None => choose_by_variable(environments, variables),
    }
}

/// Returns the names of the environments in their order; none for a document that is one body.
pub(super) fn names(document: Node) -> Result<Vec<String>> {
    match document {
        Node::Map(fields) if fields.iter().any(|field| field.name == "cache") => {
            Ok(environments(fields)?.into_iter().map(|field| field.name).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn kind(document: &Node) -> &'static str {
    match document {
        Node::Empty => "a document with nothing in it",
        Node::List(_) => "a list",
        _ => "one bare word or value",
    }
}

fn alone(fields: Vec<Field>, asked: Option<&str>) -> Result<Vec<Field>> {
    match asked {
        None => Ok(fields),
        Some(name) => Err(refused(format!(
            "environment {} was asked for, but the document has no environments: it is one body alone, without `cache:`",
            message::quoted(name)
        ))),
    }
}

fn environments(fields: Vec<Field>) -> Result<Vec<Field>> {
    if let Some(other) = fields.iter().find(|field| field.name != "cache") {
        return Err(refused(format!(
            "{} cannot be given together with `cache`: remove it, or move it into an environment of `cache`",
            other.label()
        )));
    }
    let environments = fields.into_iter().find_map(|field| match field.node {
        Node::Map(environments) => Some(environments),
        _ => None,
    });
    let environments = environments.ok_or_else(|| refused("`cache` has to be a map of environments"))?;
    environments.iter().try_for_each(check_map)?;
    Ok(environments)
}

fn check_map(environment: &Field) -> Result<()> {
    match environment.node {
        Node::Map(_) => Ok(()),
        _ => Err(refused(format!(
            "{} is not an environment, which has to be a map: write `cache: {{development: {{backend: memory}}}}`, \
             or leave out `cache:`",
            environment.label()
        ))),
    }
}

fn choose_by_variable(environments: Vec<Field>, variables: Variables) -> Result<Vec<Field>> {
    match variable(variables, "ENVIRONMENT") {
        Some(name) => choose(environments, &name, "from the variable ENVIRONMENT"),
        None => choose(environments, "development", "the default, as ENVIRONMENT is not set"),
    }
}

fn choose(environments: Vec<Field>, name: &str, reason: &str) -> Result<Vec<Field>> {
    let missing = missing(&environments, name, reason);
    let chosen = environments.into_iter().find(|environment| environment.name == name);
    match chosen.map(|environment| environment.node) {
        Some(Node::Map(fields)) => Ok(fields),
        _ => Err(missing),
    }
}

fn missing(environments: &[Field], name: &str, reason: &str) -> Error {
    let names: Vec<String> = environments.iter().take(LISTED_NAMES).map(|field| message::quoted(&field.name)).collect();
    let more = if environments.len() > LISTED_NAMES { " and more" } else { "" };
    let name = message::quoted(name);
    refused(format!("environment {name} ({reason}) is not in the document, which has: {}{more}", names.join(", ")))
}

/// Returns the file's text; one byte over the length accepted is enough to tell that it is too long.
pub(super) fn file(path: &Path) -> Result<String> {
    let bytes = read_bytes(path).map_err(|error| refused(format!("cannot read the file: {error}")))?;
    check_length(bytes.len())?;
    String::from_utf8(bytes)
        .map_err(|error| refused(format!("not UTF-8 text at byte {}", error.utf8_error().valid_up_to())))
}

/// Returns the path for messages; the caller may have passed a URL with a password instead of a path.
pub(super) fn shown_path(path: &Path) -> String {
    message::without_address(&path.display().to_string())
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces each `${NAME}` in the texts with the variable's value; `$${` becomes `${`.
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

    /// Returns the value of the variable at the start of the text, and the text after its `}`.
    fn reference<'t>(&mut self, text: &'t str, label: &str) -> Result<(String, &'t str)> {
        let (name, after) = text.split_once('}').filter(|(name, _)| is_name(name)).ok_or_else(|| {
            refused(format!(
                "{label}: `${{` takes the name of a variable and `}}`; the characters themselves are `$${{`"
            ))
        })?;
        let value = variable(self.variables, name).ok_or_else(|| {
            refused(format!("{label}: the variable {} is not set, or empty", message::shortened(name)))
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
