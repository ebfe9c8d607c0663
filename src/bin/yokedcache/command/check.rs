//! `config check`: what a configuration comes to, without a connection and without a secret.

use std::time::Duration;

use serde_json::{Value as Json, json};
use yokedcache::config::{Address, BackendConfig, Config, ConnectionConfig, RedisTopology, TlsConfig};

use super::health::line;
use crate::arguments::Arguments;
use crate::bytes;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Reads what is asked for; the worst of what came of it.
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
    let told = match config {
        Ok(config) => described(config),
        Err(failure) => refusal(failure),
    };
    if let (Some(report), Json::Object(told)) = (report.as_object_mut(), told) {
        report.extend(told);
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
    let mut told = json!({
        "valid": true,
        "backend": backend(&config.backend),
        "key_prefix": config.key_prefix,
        "default_ttl": if config.default_ttl.is_zero() { "never".to_owned() } else { time(config.default_ttl) },
        "ttl_jitter": format!("{}%", config.ttl_jitter),
        "max_value_bytes": config.max_value_bytes,
        "fallback": config.fallback.as_ref().map_or("none", |fallback| backend(&fallback.backend)),
    });
    let own = match &config.backend {
        BackendConfig::Memory(memory) => json!({ "max_size": memory.max_size, "max_bytes": memory.max_bytes }),
        BackendConfig::Redis(redis) => {
            connected(&config.backend, redis.password.is_some(), redis.tls.as_ref(), &redis.connection)
        }
        BackendConfig::Memcached(memcached) => {
            connected(&config.backend, memcached.password.is_some(), memcached.tls.as_ref(), &memcached.connection)
        }
    };
    if let (Some(told), Json::Object(own)) = (told.as_object_mut(), own) {
        told.extend(own);
    }
    told
}

fn connected(backend: &BackendConfig, password: bool, tls: Option<&TlsConfig>, connection: &ConnectionConfig) -> Json {
    json!({
        "servers": servers(backend),
        "tls": tls.is_some(),
        "password": if password { "given" } else { "none" },
        "pool_size": connection.pool_size,
        "socket_timeout": time(connection.timeout),
    })
}

/// What a configuration calls its backend.
pub fn backend(backend: &BackendConfig) -> &'static str {
    match backend {
        BackendConfig::Memory(_) => "memory",
        BackendConfig::Redis(_) => "redis",
        BackendConfig::Memcached(_) => "memcached",
    }
}

/// Where the servers are that are named; none for memory.
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

fn time(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

fn written(report: &Json) -> String {
    let source = report["source"].as_str().unwrap_or_default();
    let environment = report["environment"].as_str();
    let name = environment.map_or_else(String::new, |name| format!(", environment {}", bytes::shown(name.as_bytes())));
    let verdict = if report["valid"] == true { "valid" } else { "not valid" };
    let fields = report.as_object().into_iter().flatten();
    let shown = fields.filter(|(name, _)| !["source", "environment", "valid"].contains(&name.as_str()));
    let lines = shown.map(|(name, value)| format!("\n  {}", line(name, &joined(value))));
    format!("{source}{name}: {verdict}{}", lines.collect::<String>())
}

/// A list as people write it.
fn joined(value: &Json) -> Json {
    match value.as_array() {
        Some(items) => items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", ").into(),
        None => value.clone(),
    }
}
