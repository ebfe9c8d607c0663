//! Which part of a document counts: the body of the chosen environment, or the document itself.

use super::document::{Field, Node};
use super::{ACCEPTED, Variables, refused, wording};
use crate::error::{Error, Result};

/// The most environments that a message lists.
const LISTED_NAMES: usize = 20;

/// The variable's value; one that is empty counts as not set.
pub(super) fn variable(variables: Variables, name: &str) -> Option<String> {
    variables(name).filter(|value| !value.is_empty())
}

/// The fields of the environment the caller or `ENVIRONMENT` names, or of a document that is one body alone.
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

/// The names of the environments, in their order; none of a document that is one body alone.
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
            wording::quoted(name)
        ))),
    }
}

fn environments(fields: Vec<Field>) -> Result<Vec<Field>> {
    if let Some(other) = fields.iter().find(|field| field.name != "cache") {
        return Err(refused(format!("{} stands beside `cache`, which has to stand alone", other.label())));
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
    let names: Vec<String> = environments.iter().take(LISTED_NAMES).map(|field| wording::quoted(&field.name)).collect();
    let more = if environments.len() > LISTED_NAMES { " and more" } else { "" };
    let name = wording::quoted(name);
    refused(format!("environment {name} ({reason}) is not in the document, which has: {}{more}", names.join(", ")))
}
