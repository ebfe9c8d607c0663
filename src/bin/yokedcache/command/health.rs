//! The commands `ping` and `health`.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use yokedcache::backend::health::Status;
use yokedcache::cache::HealthReport;
use yokedcache::operation::Operation;
use yokedcache::wait::{answer, wait};

use crate::bytes;
use crate::exit::Exit;
use crate::failure::Result;
use crate::session::Session;

/// Tells whether the servers answer.
pub fn ping(session: &mut Session) -> Result<Exit> {
    let asked = Instant::now();
    answer(session.cache.call(Operation::Ping))?;
    let took = asked.elapsed();
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    session.output.say(|| format!("answered in {}", time(took)), || json!({ "ping_us": micros }))?;
    Ok(Exit::Done)
}

/// Tells how the cache is.
pub fn health(session: &mut Session) -> Result<Exit> {
    // The report says itself what is wrong, and its ping is one, not a connection made first.
    let _ = answer(session.cache.ready());
    let report = wait(session.cache.health_report());
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
        lines.push(line("ping", &time(health.ping.unwrap_or_default()).into()));
    }
    lines.extend(health.reasons.iter().map(|reason| line("reason", &reason.as_str().into())));
    lines.extend(report.servers_to_json().iter().flat_map(server));
    lines.join("\n")
}

/// The lines of one server's report, its name first.
pub fn server(report: &Json) -> Vec<String> {
    let name = std::iter::once(line("server", &report["server"]));
    let fields = report.as_object().into_iter().flatten().filter(|(name, _)| *name != "server");
    name.chain(fields.map(|(name, value)| format!("  {}", line(name, value)))).collect()
}

/// A name and its value. What servers say is shown, never obeyed by a terminal.
pub fn line(name: &str, value: &Json) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{name:<24} {}", bytes::shown(text.as_bytes()))
}

fn time(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
