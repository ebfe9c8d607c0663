//! What a cache holds and what its servers count, once or again and again.
//!
//! Hits and latencies of `yc_stats` are those of the process that asks: of this tool they would say nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};
use yokedcache::error::ErrorKind;
use yokedcache::wait::wait;

use super::health::{array, line, server};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::remark;
use crate::session::Session;

/// What servers count: the name in a server's report, and in a rate's column.
const COUNTERS: [&str; 4] = ["hits", "misses", "evicted_keys", "expired_keys"];

/// Tells once, or until interrupted.
pub fn stats(session: &mut Session, every: Option<Duration>) -> Result<Exit> {
    match every {
        Some(every) => watch(session, every),
        None => {
            let report = look(session)?;
            session.output.say(|| written(&report), || report.clone())?;
            Ok(Exit::Done)
        }
    }
}

fn look(session: &Session) -> Result<Json> {
    let usage = match wait(session.cache.usage()) {
        Ok(usage) => Some(usage),
        Err(error) if error.kind() == ErrorKind::Unsupported => None,
        Err(error) => return Err(error.into()),
    };
    let health = wait(session.cache.health());
    Ok(json!({
        "backend": health["backend"],
        "key_prefix": health["key_prefix"],
        "keys": usage.map(|usage| usage.keys),
        "bytes": usage.map(|usage| usage.bytes),
        "size_estimated": usage.map(|usage| usage.estimated),
        "servers": array(&health["details"]["servers"]),
    }))
}

fn written(report: &Json) -> String {
    let mut lines: Vec<String> = ["backend", "key_prefix"].iter().map(|name| line(name, &report[name])).collect();
    lines.extend(["keys", "bytes"].iter().map(|name| line(name, &size(report, name).into())));
    lines.extend(array(&report["servers"]).iter().flat_map(server));
    lines.join("\n")
}

/// A number that may be an estimate, or that nobody knows.
fn size(report: &Json, name: &str) -> String {
    match (report[name].as_u64(), report["size_estimated"] == true) {
        (Some(number), false) => number.to_string(),
        (Some(number), true) => format!("~{number}"),
        (None, _) => "unknown".to_owned(),
    }
}

// ---- Again and again ----

/// A look, and when it was.
struct Look {
    at: Instant,
    report: Json,
}

fn watch(session: &mut Session, every: Duration) -> Result<Exit> {
    let mut before = Look { at: Instant::now(), report: look(session)? };
    if !session.output.is_json() {
        session.output.say(heading, || Json::Null)?;
    }
    tell(session, &before.report, &Map::new())?;
    loop {
        sleep(every.saturating_sub(before.at.elapsed()));
        let at = Instant::now();
        match look(session) {
            Ok(report) => {
                let now = Look { at, report };
                tell(session, &now.report, &rates(&before, &now))?;
                before = now;
            }
            Err(failure) => go_on_after(session, failure, every)?,
        }
    }
}

/// A server that is away for a while does not end a watch.
fn go_on_after(session: &Session, failure: Failure, every: Duration) -> Result<()> {
    match &failure {
        Failure::Cache(error) if error.is_retryable() => {
            remark(session.output.is_json(), error.message());
            if session.output.is_json() {
                failure.tell(true);
            }
            sleep(every);
            Ok(())
        }
        _ => Err(failure),
    }
}

fn tell(session: &mut Session, report: &Json, rates: &Map<String, Json>) -> Result<()> {
    let with_rates = || {
        let mut report = report.clone();
        report["rates"] = rates.clone().into();
        report
    };
    session.output.say(|| row(report, rates), with_rates)?;
    session.output.flush()
}

fn heading() -> String {
    let columns = ["KEYS", "BYTES", "KEYS/S"].into_iter().map(str::to_owned);
    let counters = COUNTERS.iter().map(|name| format!("{}/S", name.trim_end_matches("_keys").to_ascii_uppercase()));
    aligned(columns.chain(counters))
}

fn row(report: &Json, rates: &Map<String, Json>) -> String {
    let rate =
        |name: &str| rates.get(name).and_then(Json::as_f64).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let sizes = ["keys", "bytes"].iter().map(|name| size(report, name));
    aligned(sizes.chain(std::iter::once("keys").chain(COUNTERS).map(rate)))
}

fn aligned(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("{cell:>13}")).collect()
}

/// How much a second each number changed, where it is known at both ends and did not start anew.
fn rates(before: &Look, now: &Look) -> Map<String, Json> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let keys = [&before.report, &now.report].map(|report| report["keys"].as_i64());
    let counters = COUNTERS.iter().map(|name| {
        let [before, now] = [before, now].map(|look| total(&look.report, name));
        (*name, before.zip(now).map(|(before, now)| now - before).filter(|change| *change >= 0))
    });
    let keys = ("keys", keys[0].zip(keys[1]).map(|(before, now)| now - before));
    std::iter::once(keys)
        .chain(counters)
        .filter_map(|(name, change)| Some((name.to_owned(), rate(change?, seconds))))
        .collect()
}

#[allow(clippy::cast_precision_loss)]
fn rate(change: i64, seconds: f64) -> Json {
    json!((change as f64 / seconds * 10.0).round() / 10.0)
}

/// The sum over all servers; `None` where one does not tell.
fn total(report: &Json, name: &str) -> Option<i64> {
    let servers = array(&report["servers"]);
    let sum: Option<i64> = servers.iter().map(|server| server[name].as_i64()).sum();
    sum.filter(|_| !servers.is_empty())
}
