//! The health of Redis servers, and their statistics from INFO.

use super::ask::{ask, reply_of};
use super::resp::{RespReader, RespValue};
use super::topology::Topology;
use super::{names, server_error};
use crate::backend::health::{ServerHealth, Statistic, Statistics};
use crate::backend::remote::RollCall;
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::net::Server;
use crate::util::shown::shown;

/// The fields of INFO that are reported, and their names in the report.
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

/// Checks that every server with entries replies.
pub async fn ping(context: CallContext, topology: &Topology) -> Result<()> {
    topology.connected().await?;
    for server in topology.primaries().await? {
        check_reply(context, &server).await?;
    }
    Ok(())
}

/// Returns a report of each server.
pub async fn report(context: CallContext, topology: &Topology, prefix: &str) -> Result<Vec<ServerHealth>> {
    let known = topology.primaries().await;
    let mut servers = topology.servers();
    if servers.is_empty() {
        // An empty report would read as one of servers that are all well.
        known?;
    }
    servers.sort_by(|one, other| one.name().cmp(other.name()));
    let (mut call, mut reports) = (RollCall::of(context, servers.len()), Vec::new());
    for server in &servers {
        let serves = |part| async move {
            check_reply(part, server).await?;
            if topology.is_cluster() { serves_slots(part, server, prefix).await } else { Ok(()) }
        };
        reports.push(call.ask(server.name(), serves, |part| info(part, server)).await);
    }
    Ok(reports)
}

/// Checks that a node of a cluster serves slots: in a cluster that is down, a node still replies to pings. The slot of
/// the name does not matter, since a node that redirects the client is healthy. No entry has an empty key.
async fn serves_slots(context: CallContext, server: &Server, prefix: &str) -> Result<()> {
    let reply = reply_of(context, server, &[b"GET", &names::entry(prefix, b"")]).await?;
    match RespReader(&reply).next() {
        Some(RespValue::Error(text)) if text.starts_with(b"CLUSTERDOWN") => {
            Err(server_error::error(server.name(), text))
        }
        _ => Ok(()),
    }
}

async fn check_reply(context: CallContext, server: &Server) -> Result<()> {
    ask(context, server, &[b"PING"]).await.map(drop)
}

async fn info(context: CallContext, server: &Server) -> Result<Statistics> {
    ask(context, server, &[b"INFO"]).await.map(|reply| described(&reply))
}

/// Returns whether no server evicts names.
pub async fn evicts_nothing(context: CallContext, topology: &Topology) -> Result<bool> {
    for server in topology.primaries().await? {
        let reply = ask(context, &server, &[b"INFO", b"memory"]).await?;
        let has = |text: &[u8]| memchr::memmem::find(&reply, text).is_some();
        if !has(b"maxmemory_policy:noeviction") && !has(b"maxmemory:0\r\n") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn described(reply: &[u8]) -> Statistics {
    let text = RespReader(reply).next().and_then(RespValue::bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(|line| line.trim_end().split_once(':')).filter_map(statistic).collect()
}

fn statistic((name, value): (&str, &str)) -> Option<(&'static str, Statistic)> {
    let known = |names: &[(&str, &'static str)]| names.iter().find(|known| known.0 == name).map(|known| known.1);
    let text = known(&TEXTS).map(|known| (known, Statistic::Text(shown(value.as_bytes(), 200))));
    text.or_else(|| known(&NUMBERS).map(|known| (known, Statistic::number(value))))
}
