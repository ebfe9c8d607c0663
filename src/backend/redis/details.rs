//! What servers tell of themselves: INFO, for a health report.

use serde_json::{Map, Value as Json, json};

use super::resp::{RepliesOf, Reply};
use super::route::Route;
use super::scan::ask;
use crate::error::Result;
use crate::wire::Server;

/// The fields of INFO that are passed on, and what they are called there.
const NUMBERS: [(&str, &str); 10] = [
    ("uptime_in_seconds", "uptime_s"),
    ("used_memory", "used_memory_bytes"),
    ("maxmemory", "max_memory_bytes"),
    ("evicted_keys", "evicted_keys"),
    ("expired_keys", "expired_keys"),
    ("keyspace_hits", "hits"),
    ("keyspace_misses", "misses"),
    ("connected_clients", "connected_clients"),
    ("connected_slaves", "connected_replicas"),
    ("master_last_io_seconds_ago", "replication_last_io_s"),
];
const TEXTS: [(&str, &str); 4] = [
    ("redis_version", "version"),
    ("role", "role"),
    ("maxmemory_policy", "eviction_policy"),
    ("master_link_status", "replication_link"),
];

/// Whether every server that has entries answers.
pub async fn ping(route: &Route) -> Result<()> {
    route.connected().await?;
    for server in route.primaries() {
        ask(&server, &[b"PING"]).await?;
    }
    Ok(())
}

/// A report of each server.
pub async fn report(route: &Route) -> Json {
    let mut servers = Vec::new();
    for server in route.servers() {
        servers.push(match ask(&server, &[b"INFO"]).await {
            Ok(reply) => described(&server, &reply),
            Err(error) => json!({ "server": server.name(), "error": error.message() }),
        });
    }
    json!({ "servers": servers })
}

/// Whether no server evicts names that have no end.
pub async fn keeps_what_never_expires(route: &Route) -> Result<bool> {
    for server in route.primaries() {
        let reply = ask(&server, &[b"INFO", b"memory"]).await?;
        if memchr::memmem::find(&reply, b"maxmemory_policy:allkeys").is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn described(server: &Server, reply: &[u8]) -> Json {
    let text = RepliesOf(reply).next().and_then(Reply::bytes).unwrap_or_default();
    let mut report = Map::new();
    report.insert("server".into(), json!(server.name()));
    for (name, value) in String::from_utf8_lossy(text).lines().filter_map(|line| line.trim_end().split_once(':')) {
        if let Some((_, known)) = TEXTS.iter().find(|known| known.0 == name) {
            report.insert((*known).into(), json!(value));
        } else if let Some((_, known)) = NUMBERS.iter().find(|known| known.0 == name) {
            report.insert((*known).into(), json!(value.parse::<u64>().ok()));
        }
    }
    Json::Object(report)
}
