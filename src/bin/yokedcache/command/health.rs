//! How the servers are: ping, health.

use std::time::Instant;

use serde_json::{Value as Json, json};
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
    let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    session.output.say(|| format!("answered in {}", time(micros)), || json!({ "ping_us": micros }))?;
    Ok(Exit::Done)
}

/// Tells how the cache is.
pub fn health(session: &mut Session) -> Result<Exit> {
    // The report says itself what is wrong, and its ping is one, not a connection made first.
    let _ = answer(session.cache.ready());
    let report = wait(session.cache.health());
    let healthy = report["status"] == "healthy";
    session.output.say(|| written(&report), || report.clone())?;
    Ok(Exit::answer(healthy))
}

fn written(report: &Json) -> String {
    let mut lines = vec![
        line("status", &report["status"]),
        line("backend", &report["backend"]),
        line("key_prefix", &report["key_prefix"]),
        line("version", &report["version"]),
    ];
    if report["status"] == "healthy" {
        lines.push(line("ping", &time(report["ping_us"].as_u64().unwrap_or_default()).into()));
    }
    lines.extend(array(&report["reasons"]).iter().map(|reason| line("reason", reason)));
    lines.extend(array(&report["details"]["servers"]).iter().flat_map(server));
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

/// The items of a list.
pub fn array(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[allow(clippy::cast_precision_loss)]
fn time(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1000.0)
}
