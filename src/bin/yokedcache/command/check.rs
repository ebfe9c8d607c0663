//! `config check`: reports the settings of a configuration without a connection and without secrets.

use serde_json::{Value as Json, json};
use yokedcache::config::{Address, BackendConfig, Config, RedisTopology};

use super::health::line;
use crate::arguments::Arguments;
use crate::bytes;
use crate::failure::{Exit, Failure, Result};
use crate::output::Output;

/// Reports every selected configuration. Returns the exit code of the last invalid one.
pub fn check(arguments: &Arguments) -> Result<Exit> {
    let mut output = Output::new(arguments.json);
    let mut exit = Exit::Done;
    for (environment, config) in arguments.source.configs()? {
        let report = report(&arguments.source.name(), environment.as_deref(), &config);
        output.say(|| written(&report), || report.clone())?;
        exit = config.map_or_else(|failure| failure.exit(), |_| exit);
    }
    output.flush()?;
    Ok(exit)
}

fn report(source: &str, environment: Option<&str>, config: &Result<Config>) -> Json {
    let mut report = json!({ "source": source, "environment": environment });
    let fields = match config {
        Ok(config) => described(config),
        Err(failure) => refusal(failure),
    };
    if let (Some(report), Json::Object(fields)) = (report.as_object_mut(), fields) {
        report.extend(fields);
    }
    report
}

fn refusal(failure: &Failure) -> Json {
    match failure {
        Failure::Cache(error) => json!({ "valid": false, "error": error.message() }),
        Failure::Usage(message) => json!({ "valid": false, "error": message }),
        Failure::Stream(..) | Failure::Unread => json!({ "valid": false }),
    }
}

fn described(config: &Config) -> Json {
    let mut fields = json!({ "valid": true });
    if let (Some(fields), Json::Object(summary)) = (fields.as_object_mut(), config.summary()) {
        fields.extend(summary);
    }
    fields
}

/// Describes the configured servers; none for memory.
pub fn servers(backend: &BackendConfig) -> Vec<String> {
    match backend {
        BackendConfig::Memory(_) => Vec::new(),
        BackendConfig::Redis(redis) => match &redis.topology {
            RedisTopology::Single(address) => vec![format!("{address} database {}", redis.db)],
            RedisTopology::Cluster(nodes) => all(nodes, "cluster"),
            RedisTopology::Sentinel { sentinels, master, .. } => all(sentinels, &format!("sentinel of {master}")),
        },
        BackendConfig::Memcached(memcached) => {
            memcached.servers.iter().map(|server| format!("{} weight {}", server.address, server.weight)).collect()
        }
    }
}

fn all(addresses: &[Address], role: &str) -> Vec<String> {
    addresses.iter().map(|address| format!("{address} {role}")).collect()
}

fn written(report: &Json) -> String {
    let source = report["source"].as_str().unwrap_or_default();
    let environment = report["environment"].as_str();
    let name = environment.map_or_else(String::new, |name| format!(", environment {}", bytes::shown(name.as_bytes())));
    let verdict = if report["valid"] == true { "valid" } else { "not valid" };
    let fields = flat("", report);
    let apart = ["source", "environment", "valid", "notes"];
    let shown = fields.iter().filter(|(name, _)| !apart.contains(&name.as_str()));
    let lines = shown.map(|(name, value)| format!("\n  {}", line(name, &joined(value))));
    let notes = report["notes"].as_array().into_iter().flatten();
    let notes = notes.map(|note| format!("\n  {}", line("note", note)));
    format!("{source}{name}: {verdict}{}", lines.chain(notes).collect::<String>())
}

/// Flattens the fields: those of an object follow its name and a dot.
fn flat(prefix: &str, fields: &Json) -> Vec<(String, Json)> {
    let each = |(name, value): (&String, &Json)| match value {
        Json::Object(_) => flat(&format!("{prefix}{name}."), value),
        value => vec![(format!("{prefix}{name}"), value.clone())],
    };
    fields.as_object().into_iter().flatten().flat_map(each).collect()
}

/// Joins the items of a list with commas.
fn joined(value: &Json) -> Json {
    match value.as_array() {
        Some(items) => items.iter().map(written_item).collect::<Vec<_>>().join(", ").into(),
        None => value.clone(),
    }
}

fn written_item(item: &Json) -> String {
    item.as_str().map_or_else(|| item.to_string(), str::to_owned)
}
