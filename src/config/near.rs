//! The option `near`, which adds a near cache.

use std::time::Duration;

use super::document::{Field, Node, Place};
use super::message::{refused, within};
use super::option::Scope;
use super::section::options_alone;
use super::types::{BackendName, Config, NearConfig};
use crate::error::{Error, Result};

/// The `max_staleness` on Redis, unless the option says otherwise.
const STALENESS: Duration = Duration::from_secs(2);

/// Adds the near cache that a field gives, if any.
pub(super) fn add(field: &Field, config: Config) -> Result<Config> {
    let label = format!("option {}", field.label());
    let backend = config.backend.name();
    let near = read(&field.node, backend).map_err(|error| within(&label, error))?;
    Ok(Config { near, ..config })
}

fn read(node: &Node, backend: BackendName) -> Result<Option<NearConfig>> {
    let Some(fields) = fields(node)? else { return Ok(None) };
    if backend == BackendName::Memory {
        return Err(refused(
            "backend memory has its entries in the process already: the option is for redis and memcached",
        ));
    }
    let mut near = options_alone(&[Scope::Near], fields)?.near;
    if near.max_staleness.is_zero() {
        if backend == BackendName::Memcached {
            return Err(refused(
                "Memcached does not tell of changes: give the time after which they have to be seen, as \
                 `near: {max_staleness: 1s}`",
            ));
        }
        near.max_staleness = STALENESS;
    }
    Ok(Some(near))
}

/// Returns the options that a node gives; `None`: no near cache.
fn fields(node: &Node) -> Result<Option<Vec<Field>>> {
    match node {
        Node::Boolean(false) => Ok(None),
        Node::Boolean(true) | Node::Empty => Ok(Some(Vec::new())),
        Node::Map(fields) => Ok(Some(fields.clone())),
        Node::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(None),
        Node::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Some(Vec::new())),
        Node::Text(_) | Node::Number(_) => {
            Ok(Some(vec![Field { name: "max_staleness".to_owned(), place: Place::Parameter, node: node.clone() }]))
        }
        other => Err(no_near_cache(other)),
    }
}

fn no_near_cache(node: &Node) -> Error {
    refused(format!("{} is no near cache: write `near: {{max_staleness: 1s}}`", node.kind()))
}
