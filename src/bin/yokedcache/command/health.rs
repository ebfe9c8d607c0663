//! Commands on the state of the servers: ping, health.

use std::time::Instant;

use serde_json::{Value as Json, json};
use yokedcache::backend::health::Status;
use yokedcache::cache::HealthReport;
use yokedcache::exec::blocking::{answer, wait};
use yokedcache::operation::Operation;

use crate::bytes;
use crate::failure::{Exit, Result};
use crate::human;
use crate::session::Session;

/// Checks that the servers reply.
pub fn ping(session: &mut Session) -> Result<Exit> {
    let asked = Instant::now();
    answer(|context| session.cache.call(context, Operation::Ping))?;
    let took = asked.elapsed();
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    session.output.say(|| format!("replied in {}", human::time(took)), || json!({ "ping_us": micros }))?;
    Ok(Exit::Done)
}

/// Reports the health of the cache.
pub fn health(session: &mut Session) -> Result<Exit> {
    // The report describes failures itself. Connecting first keeps the connection out of its ping.
    let _ = answer(|context| session.cache.ready(context));
    let report = wait(|context| session.cache.health_report(context));
    session.output.say(|| written(&report), || report.to_json())?;
    Ok(Exit::answer(report.health.status == Status::Healthy))
}

fn written(report: &HealthReport) -> String {
    let health = &report.health;
    let mut lines = vec![
        line("status", &health.status.name().into()),
        line("backend", &report.backend.into()),
        line("key_prefix", &report.key_prefix.as_str().into()),
        line("version", &env!("CARGO_PKG_VERSION").into()),
    ];
    if health.status == Status::Healthy {
        lines.push(line("ping", &human::time(health.ping.unwrap_or_default()).into()));
    }
    if let Some(near) = &report.near {
        let near = if near.is_fresh { "serves copies" } else { "serves no copies" };
        lines.push(line("near", &near.into()));
    }
    lines.extend(health.reasons.iter().map(|reason| line("reason", &reason.as_str().into())));
    lines.extend(report.servers_to_json().iter().flat_map(server));
    lines.join("\n")
}

/// Returns the lines of the report of one server, its name first.
pub fn server(report: &Json) -> Vec<String> {
    let name = std::iter::once(line("server", &report["server"]));
    let fields = report.as_object().into_iter().flatten().filter(|(name, _)| *name != "server");
    name.chain(fields.map(|(name, value)| {
        let (name, value) = human::field(name, value);
        format!("  {}", line(name, &value))
    }))
    .collect()
}

/// Returns a line with a name and its value. Control sequences that a server sends are escaped.
pub fn line(name: &str, value: &Json) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{name:<24} {}", bytes::shown(text.as_bytes()))
}
