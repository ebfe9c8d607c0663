//! `explain`: reports whether a key is a hit, why, and where it is.

use serde_json::{Map, Value as Json};
use yokedcache::exec::blocking::wait;

use super::health::line;
use crate::arguments::Explain;
use crate::bytes;
use crate::failure::{Exit, Result};
use crate::human;
use crate::session::{Session, slices};

/// Explains a key.
pub fn explain(session: &mut Session, arguments: &Explain) -> Result<Exit> {
    let (key, tags) = (session.bytes(&arguments.key)?, session.all_bytes(&arguments.tags)?);
    let names = slices(&tags);
    let report = wait(|context| session.cache.explain(context, &key, &names))?;
    let exists = report["exists"] == true;
    session.output.say(|| written(&report), || Json::Object(with_key(&key, &report)))?;
    Ok(Exit::answer(exists))
}

fn with_key(key: &[u8], report: &Json) -> Map<String, Json> {
    let mut object = bytes::object("key", key);
    object.extend(report.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    object
}

/// The fields in the order of their lines.
const FIELDS: [&str; 19] = [
    "state",
    "reason",
    "message",
    "ttl_ms",
    "stale_ms",
    "age_ms",
    "age_unknown",
    "version",
    "value_bytes",
    "stored_bytes",
    "tags",
    "tags_not_carried",
    "lease",
    "serving",
    "backend",
    "server",
    "topology",
    "slot",
    "stored_name",
];

/// Writes a line for each field that applies, and one for each tag.
fn written(report: &Json) -> String {
    FIELDS.iter().flat_map(|name| written_field(name, &report[*name])).collect::<Vec<_>>().join("\n")
}

fn written_field(name: &str, value: &Json) -> Vec<String> {
    let text = |text: String| line(name, &text.into());
    match (name, value) {
        ("age_unknown", Json::String(why)) => vec![line("age", &format!("unknown: {why}").into())],
        ("stored_name", Json::String(escaped)) => vec![format!("{name:<24} {escaped}")],
        ("tags", Json::Array(tags)) => tags.iter().map(|tag| format!("{:<24} {}", "tag", written_tag(tag))).collect(),
        ("tags_not_carried", Json::Array(names)) => {
            let shown = names.iter().filter_map(Json::as_str);
            shown.map(|name| format!("{:<24} {name}: the entry does not have it", "tag")).collect()
        }
        ("lease", Json::Object(lease)) => {
            let kind = lease["kind"].as_str().unwrap_or_default();
            let (_, left) = human::field("left_ms", &lease["left_ms"]);
            vec![text(format!("{kind}, ends by itself after {}", left.as_str().unwrap_or("an unknown time")))]
        }
        (_, Json::Null) => Vec::new(),
        _ => {
            let (name, value) = human::field(name, value);
            vec![line(name, &value)]
        }
    }
}

/// Names in a report are escaped already.
fn written_tag(tag: &Json) -> String {
    let text = |field: &str| tag[field].as_str().unwrap_or_default().to_owned();
    match tag["name"].as_str() {
        Some(name) => format!("{name} (hash {}): {}", text("hash"), text("status")),
        None => format!("hash {}: {}", text("hash"), text("status")),
    }
}
