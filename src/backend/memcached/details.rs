//! What servers tell of themselves, for a health report, and whether they answer.

use serde_json::{Map, Value as Json, json};

use super::command::Codec;
use super::fleet::{Fleet, Member};
use super::{guard, statistics};
use crate::backend::remote::RollCall;
use crate::error::{ErrorKind, Result};

/// The statistics that are passed on, and what they are called there.
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

/// How often a request to one server is sent.
const ATTEMPTS: u32 = 3;

/// Whether every server answers.
pub async fn ping(fleet: &Fleet) -> Result<()> {
    for member in &fleet.members {
        answers(fleet, member).await?;
    }
    Ok(())
}

/// A report of each server.
pub async fn report(fleet: &Fleet) -> Vec<Json> {
    let (mut call, mut reports) = (RollCall::of(fleet.members.len()), Vec::new());
    for member in &fleet.members {
        let mut report = call.ask(member.server.name(), answers(fleet, member), told(fleet, member)).await;
        if fleet.ejects {
            report.insert("in_ring".into(), json!(!member.guards.is_away()));
        }
        reports.push(Json::Object(report));
    }
    reports
}

async fn answers(fleet: &Fleet, member: &Member) -> Result<()> {
    let ping: &[u8] = match fleet.protocol {
        Codec::Meta => b"mn\r\n",
        Codec::Binary => super::greet::NO_OPERATION,
    };
    ask(member, ping).await.map(drop)
}

async fn told(fleet: &Fleet, member: &Member) -> Result<Map<String, Json>> {
    statistics(fleet, member).await.map(|pairs| described(&pairs))
}

fn described(pairs: &[(String, String)]) -> Map<String, Json> {
    let mut report = Map::new();
    for (name, value) in pairs {
        if name == "version" {
            report.insert("version".into(), json!(value));
        } else if let Some((_, known)) = NUMBERS.iter().find(|known| known.0 == name) {
            report.insert((*known).into(), json!(value.parse::<u64>().ok()));
        }
    }
    report
}

/// The general statistics of a server.
pub async fn statistics(fleet: &Fleet, member: &Member) -> Result<Vec<(String, String)>> {
    let reply = ask(member, &statistics::request(fleet.protocol, "")).await?;
    Ok(statistics::read(fleet.protocol, &reply))
}

/// The one reply of a server to a request that does no harm twice.
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
