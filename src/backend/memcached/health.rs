//! Statistics asked of the servers: for a ping, for the health report, and for their clocks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::clock::Reading;
use super::discovery::Current;
use super::epoch;
use super::nodes::{Node, Nodes};
use super::protocol::{statistics_of, statistics_request};
use crate::backend::health::{ServerHealth, Statistic, Statistics};
use crate::backend::remote::RollCall;
use crate::error::{ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::clock::unix_millis;

/// The statistics that are reported, and their names in the report.
const NUMBERS: [(&str, &str); 10] = [
    ("uptime", "uptime_s"),
    ("curr_items", "items"),
    ("bytes", "used_memory_bytes"),
    ("limit_maxbytes", "max_memory_bytes"),
    ("evictions", "evicted_keys"),
    ("get_hits", "hits"),
    ("get_misses", "misses"),
    ("curr_connections", "connected_clients"),
    ("max_connections", "max_clients"),
    ("rejected_connections", "rejected_clients"),
];

/// The most attempts to send a request to one server.
const ATTEMPTS: u32 = 3;
/// The time between two requests for a server's time.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);
/// The time after which a report of the time is confirmed.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);

/// Checks that every server replies.
pub async fn ping(context: CallContext, nodes: &Nodes) -> Result<()> {
    for node in nodes.all.iter() {
        check_reply(context, nodes, node).await?;
    }
    Ok(())
}

/// Returns a report of each server.
pub async fn report(context: CallContext, nodes: &Nodes) -> Vec<ServerHealth> {
    let (mut call, mut reports) = (RollCall::of(context, nodes.all.len()), Vec::new());
    for node in nodes.all.iter() {
        let ping = |part| check_reply(part, nodes, node);
        let described = |part| async move { statistics(part, nodes, node).await.map(|pairs| described(&pairs)) };
        let mut report = call.ask(node.server.name(), ping, described).await;
        if nodes.ejects {
            report.in_ring = Some(!node.epochs.is_away());
        }
        reports.push(report);
    }
    reports
}

async fn check_reply(context: CallContext, nodes: &Nodes, node: &Node) -> Result<()> {
    ask(context, node, nodes.protocol.ping()).await.map(drop)
}

fn described(pairs: &[(String, String)]) -> Statistics {
    let statistic = |(name, value): &(String, String)| match name.as_str() {
        "version" => Some(("version", Statistic::Text(value.clone()))),
        _ => {
            let (_, known) = NUMBERS.iter().find(|known| known.0 == name)?;
            Some((*known, Statistic::number(value)))
        }
    };
    pairs.iter().filter_map(statistic).collect()
}

/// Returns the general statistics of a server.
pub async fn statistics(context: CallContext, nodes: &Nodes, node: &Node) -> Result<Vec<(String, String)>> {
    let reply = ask(context, node, &statistics_request(nodes.protocol, "")).await?;
    Ok(statistics_of(nodes.protocol, &reply))
}

/// Asks the servers for their time until the cache is closed.
pub async fn watch_clocks(current: Weak<Current>) {
    let mut waited = Duration::ZERO;
    loop {
        sleep(CONFIRM_INTERVAL).await;
        waited += CONFIRM_INTERVAL;
        let Some(nodes) = current.upgrade().map(|current| Arc::clone(&current.nodes())) else { return };
        for node in nodes.all.iter() {
            if waited >= CLOCK_INTERVAL || node.clock.is_in_doubt() {
                learn_time(&nodes, node).await;
            }
        }
        waited = if waited >= CLOCK_INTERVAL { Duration::ZERO } else { waited };
    }
}

/// Learns the time of a server. One that does not reply is asked again another time.
async fn learn_time(nodes: &Nodes, node: &Node) {
    if !node.info.are_known() || node.server.failure().is_some() {
        return;
    }
    let asked = unix_millis();
    let statistics = timeout(nodes.connection.timeout, statistics(CallContext::task(), nodes, node)).await;
    let reading = statistics.ok().and_then(Result::ok).and_then(|statistics| Reading::of(&statistics, asked));
    if let Some(reading) = reading {
        node.clock.learn(&reading);
    }
}

/// Sends a request that may be repeated to one server; returns its one reply.
async fn ask(context: CallContext, node: &Node, request: &[u8]) -> Result<Vec<u8>> {
    let mut attempt = 1;
    loop {
        node.server.connected().await?;
        let answered = match node.server.send(context, request, 1) {
            Some(Ok(answer)) => answer.await,
            Some(Err(error)) => Err(error),
            None => Err(epoch::lost(node)),
        };
        match answered {
            Ok(replies) => return Ok(replies.bytes),
            Err(error) if attempt == ATTEMPTS || error.kind() == ErrorKind::Busy => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}
