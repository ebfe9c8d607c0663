//! Reports the size of a cache and the counters of its servers, once or repeatedly.
//!
//! The hits and latencies of `yc_stats` belong to one process: those of this tool would say nothing about the cache.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};
use yokedcache::backend::Usage;
use yokedcache::backend::health::{ServerHealth, Statistic};
use yokedcache::cache::HealthReport;
use yokedcache::error::ErrorKind;
use yokedcache::exec::blocking::wait;

use super::health::{line, server};
use crate::failure::{Exit, Failure, Result};
use crate::human;
use crate::output::remark;
use crate::session::Session;

/// The counters of servers: the name in the report of a server and, shortened, of a column.
const COUNTERS: [&str; 4] = ["hits", "misses", "evicted_keys", "expired_keys"];

/// Reports once, or repeatedly until interrupted.
pub fn stats(session: &mut Session, every: Option<Duration>) -> Result<Exit> {
    match every {
        Some(every) => watch(session, every),
        None => {
            let look = Look::take(session, false)?;
            session.output.say(|| written(&look), || look.to_json())?;
            Ok(Exit::Done)
        }
    }
}

/// The usage of a cache and the health of its servers at one time.
struct Look {
    /// The time of the health.
    at: Instant,
    usage: Option<Usage>,
    health: HealthReport,
    /// The health after the usage was measured, and its time. To measure the usage, the tool reads entries, which the
    /// servers count: a rate is the change from here to the health of the next look.
    after: Option<(Instant, HealthReport)>,
}

impl Look {
    fn take(session: &Session, is_watched: bool) -> Result<Self> {
        let health = || wait(|context| session.cache.health_report(context));
        let (report, at) = (health(), Instant::now());
        let usage = match wait(|context| session.cache.usage(context)) {
            Ok(usage) => Some(usage),
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            Err(error) => return Err(error.into()),
        };
        let after = is_watched.then(|| (health(), Instant::now())).map(|(health, at)| (at, health));
        Ok(Self { at, usage, health: report, after })
    }

    fn to_json(&self) -> Json {
        json!({
            "backend": self.health.backend,
            "key_prefix": self.health.key_prefix,
            "keys": self.usage.map(|usage| usage.keys),
            "bytes": self.usage.map(|usage| usage.bytes),
            "size_estimated": self.usage.map(|usage| usage.estimated),
            "servers": self.health.servers_to_json(),
        })
    }

    /// Returns the keys and the bytes as people read them: an estimate has a `~`.
    fn sizes(&self) -> [String; 2] {
        let Some(usage) = self.usage else { return ["unknown".to_owned(), "unknown".to_owned()] };
        let sign = if usage.estimated { "~" } else { "" };
        [usage.keys.to_string(), human::size(usage.bytes)].map(|number| format!("{sign}{number}"))
    }
}

/// Returns the sum of a statistic over all servers; `None` if one of them does not report it.
fn total(health: &HealthReport, name: &str) -> Option<i64> {
    let servers = health.servers();
    let sum: Option<i64> = servers.iter().map(|server| number(server, name)).sum();
    sum.filter(|_| !servers.is_empty())
}

/// Returns the number by which the tool itself raises a counter from one health report to the next: the check of a
/// cluster reads a name that does not exist, on one of its nodes.
pub fn own(health: &HealthReport, name: &str) -> i64 {
    let is_cluster = health.health.details.as_ref().is_some_and(|details| details.topology == Some("cluster"));
    i64::from(is_cluster && name == "misses")
}

/// Returns a number that a server reports.
pub fn number(server: &ServerHealth, name: &str) -> Option<i64> {
    let statistics = server.answer.as_ref().ok()?.statistics.as_ref().ok()?;
    match statistics.iter().find(|(known, _)| *known == name)? {
        (_, Statistic::Number(number)) => i64::try_from((*number)?).ok(),
        (_, Statistic::Text(_)) => None,
    }
}

fn written(look: &Look) -> String {
    let [keys, bytes] = look.sizes();
    let fields = [
        ("backend", look.health.backend),
        ("key_prefix", look.health.key_prefix.as_str()),
        ("keys", keys.as_str()),
        ("bytes", bytes.as_str()),
    ];
    let lines = fields.into_iter().map(|(name, value)| line(name, &value.into()));
    lines.chain(look.health.servers_to_json().iter().flat_map(server)).collect::<Vec<_>>().join("\n")
}

// ---- Watching ----

fn watch(session: &mut Session, every: Duration) -> Result<Exit> {
    let mut before = Look::take(session, true)?;
    if !session.output.is_json() {
        session.output.say(heading, || Json::Null)?;
    }
    tell(session, &before, &Map::new())?;
    loop {
        // The servers count for at least half an interval, also if the usage takes long to measure.
        let since = before.after.as_ref().map_or(before.at, |(at, _)| *at);
        sleep(every.saturating_sub(before.at.elapsed()).max((every / 2).saturating_sub(since.elapsed())));
        match Look::take(session, true) {
            Ok(now) => {
                tell(session, &now, &rates(&before, &now))?;
                before = now;
            }
            Err(failure) => wait_after(session, failure, every)?,
        }
    }
}

/// Waits after a failure that may pass: a server that is down for a while does not end a watch.
fn wait_after(session: &Session, failure: Failure, every: Duration) -> Result<()> {
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

fn tell(session: &mut Session, look: &Look, rates: &Map<String, Json>) -> Result<()> {
    let with_rates = || {
        let mut report = look.to_json();
        report["rates"] = rates.clone().into();
        report
    };
    session.output.say(|| row(look, rates), with_rates)?;
    session.output.flush()
}

fn heading() -> String {
    let columns = ["KEYS", "BYTES", "KEYS/S"].into_iter().map(str::to_owned);
    let counters = COUNTERS.iter().map(|name| format!("{}/S", name.trim_end_matches("_keys").to_ascii_uppercase()));
    aligned(columns.chain(counters))
}

fn row(look: &Look, rates: &Map<String, Json>) -> String {
    let rate =
        |name: &str| rates.get(name).and_then(Json::as_f64).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    aligned(look.sizes().into_iter().chain(std::iter::once("keys").chain(COUNTERS).map(rate)))
}

fn aligned(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("{cell:>13}")).collect()
}

/// Returns the change per second of each number that is known in both reports and was not reset.
fn rates(before: &Look, now: &Look) -> Map<String, Json> {
    let (since, health) = before.after.as_ref().map_or((before.at, &before.health), |(at, health)| (*at, health));
    let seconds = now.at.saturating_duration_since(since).as_secs_f64().max(0.001);
    let counters = COUNTERS.iter().map(|name| {
        let change = total(health, name).zip(total(&now.health, name)).map(|(before, now)| now - before);
        (*name, change.filter(|change| *change >= 0).map(|change| (change - own(health, name)).max(0)))
    });
    let keys = [before, now].map(|look| look.usage.and_then(|usage| i64::try_from(usage.keys).ok()));
    let keys = ("keys", keys[0].zip(keys[1]).map(|(before, now)| now - before));
    std::iter::once(keys)
        .chain(counters)
        .filter_map(|(name, change)| Some((name.to_owned(), rate(change?, seconds))))
        .collect()
}

/// Rounds a rate to tenths.
#[allow(clippy::cast_precision_loss)]
fn rate(change: i64, seconds: f64) -> Json {
    json!((change as f64 / seconds * 10.0).round() / 10.0)
}
