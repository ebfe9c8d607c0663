//! Notes on a configuration: accepted parts that are probably a mistake.

use super::document::{Field, Node};
use super::{BackendConfig, Variables, environment, options, value};

/// The longest time in seconds that people mean when they wait for a server.
const LONGEST_USUAL_SECONDS: f64 = 60.0;

/// The notes on a backend's section, whose fields are given.
pub(super) fn of(backend: &BackendConfig, fields: &[Field], variables: Variables) -> Vec<String> {
    if matches!(backend, BackendConfig::Memory(_)) {
        return Vec::new();
    }
    let timeouts = options::timeouts(fields).into_iter().filter_map(long_timeout);
    timeouts.chain(missing_prefix(fields, variables)).collect()
}

/// Other libraries count milliseconds here, and a bare number is in seconds.
fn long_timeout(field: &Field) -> Option<String> {
    let (Node::Number(text) | Node::Text(text)) = &field.node else { return None };
    value::bare_seconds(text).filter(|seconds| *seconds > LONGEST_USUAL_SECONDS)?;
    let (label, number) = (field.label(), text.trim());
    Some(format!(
        "option {label}: {number} is {number} seconds, because a bare number is in seconds; \
         write `{number}ms` for milliseconds, or `{number}s` to keep the seconds"
    ))
}

/// Programs that share a server share their entries if both use the default.
fn missing_prefix(fields: &[Field], variables: Variables) -> Option<String> {
    let given = fields.iter().any(|field| field.name == "key_prefix")
        || environment::variable(variables, "YOKEDCACHE_KEY_PREFIX").is_some();
    (!given).then(|| {
        "key_prefix is not set: every program that uses the default prefix `yokedcache` on the same servers shares and \
         flushes these entries; set key_prefix to a name of this application"
            .to_owned()
    })
}
