//! Statistics asked of the servers: for a ping, for the health report, and for their clocks.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::clock::Reading;
use super::fleet::{Fleet, Member};
use super::guard;
use super::protocol::{statistics_of, statistics_request};
use crate::backend::health::{ServerHealth, Statistic, Statistics};
use crate::backend::remote::RollCall;
use crate::error::{ErrorKind, Result};
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
pub async fn ping(fleet: &Fleet) -> Result<()> {
    for member in &fleet.members {
        check_reply(fleet, member).await?;
    }
    Ok(())
}

/// Returns a report of each server.
pub async fn report(fleet: &Fleet) -> Vec<ServerHealth> {
    let (mut call, mut reports) = (RollCall::of(fleet.members.len()), Vec::new());
    for member in &fleet.members {
        let described = async { statistics(fleet, member).await.map(|pairs| described(&pairs)) };
        let mut report = call.ask(member.server.name(), check_reply(fleet, member), described).await;
        if fleet.ejects {
            report.in_ring = Some(!member.guards.is_away());
        }
        reports.push(report);
    }
    reports
}

async fn check_reply(fleet: &Fleet, member: &Member) -> Result<()> {
    ask(member, fleet.protocol.ping()).await.map(drop)
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
pub async fn statistics(fleet: &Fleet, member: &Member) -> Result<Vec<(String, String)>> {
    let reply = ask(member, &statistics_request(fleet.protocol, "")).await?;
    Ok(statistics_of(fleet.protocol, &reply))
}

/// Asks the servers for their time until the cache is closed.
pub async fn watch_clocks(fleet: Weak<Fleet>) {
    let mut waited = Duration::ZERO;
    loop {
        sleep(CONFIRM_INTERVAL).await;
        waited += CONFIRM_INTERVAL;
        let Some(fleet) = fleet.upgrade() else { return };
        for member in &fleet.members {
            if waited >= CLOCK_INTERVAL || member.clock.is_in_doubt() {
                learn_time(&fleet, member).await;
            }
        }
        waited = if waited >= CLOCK_INTERVAL { Duration::ZERO } else { waited };
    }
}

/// Learns the time of a server. One that does not reply is asked again another time.
async fn learn_time(fleet: &Fleet, member: &Member) {
    if !member.info.are_known() || member.server.failure().is_some() {
        return;
    }
    let asked = unix_millis();
    let statistics = timeout(fleet.connection.timeout, statistics(fleet, member)).await;
    let reading = statistics.ok().and_then(Result::ok).and_then(|statistics| Reading::of(&statistics, asked));
    if let Some(reading) = reading {
        member.clock.learn(&reading);
    }
}

/// Sends a request that may be repeated to one server; returns its one reply.
async fn ask(member: &Member, request: &[u8]) -> Result<Vec<u8>> {
    let mut attempt = 1;
    loop {
        member.server.connected().await?;
        let answered = match member.server.send(request, 1) {
            Some(Ok(answer)) => answer.await,
            Some(Err(error)) => Err(error),
            None => Err(guard::lost(member)),
        };
        match answered {
            Ok(replies) => return Ok(replies.bytes),
            Err(error) if attempt == ATTEMPTS || error.kind() == ErrorKind::Busy => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}
