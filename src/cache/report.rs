//! The statistics and the health of a cache. JSON is written here and in `explain` alone.

use serde_json::{Map, Value as Json, json};

use super::Cache;
use crate::backend::health::{Details, FallbackHealth, Health, ServerAnswer, ServerHealth, Statistic};
use crate::backend::{Counters, NearActivity, Usage};
use crate::cache::latency;
use crate::error::{ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::millis;
use std::time::Duration;

/// The health of a cache.
pub struct HealthReport {
    /// The health of its backend.
    pub health: Health,
    /// The name of its backend.
    pub backend: &'static str,
    /// The prefix of its stored names.
    pub key_prefix: String,
    /// The time since it was opened.
    pub uptime: Duration,
    /// The health of its fallback, if it has one.
    pub fallback: Option<FallbackHealth>,
    /// The history of its near cache, if it has one.
    pub near: Option<NearActivity>,
}

impl HealthReport {
    /// Returns the servers of the backend; none if it has none.
    pub fn servers(&self) -> &[ServerHealth] {
        self.health.details.as_ref().map_or(&[], |details| &details.servers)
    }

    /// Returns the report as JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "status": self.health.status.name(),
            "reasons": self.health.reasons,
            "backend": self.backend,
            "key_prefix": self.key_prefix,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": millis(self.uptime),
            "ping_us": self.health.ping.map(micros),
            "fallback": self.fallback.as_ref().map(fallback),
            "near": self.near.as_ref().map(near),
            "details": self.health.details.as_ref().map(details),
        })
    }

    /// Returns the servers as JSON.
    pub fn servers_to_json(&self) -> Vec<Json> {
        self.servers().iter().map(server).collect()
    }
}

impl Cache {
    /// Returns the counters since the cache was opened, its size, and latencies of a sample of the calls.
    pub async fn stats(&self, context: CallContext) -> Result<Json> {
        let (usage, counters) = (self.known_usage(context).await?, self.counters());
        let mut report = json!({
            "backend": self.backend.name(),
            "key_prefix": &*self.common.key_prefix,
            "namespace": self.namespace(),
            "uptime_ms": millis(self.common.opened.elapsed()),
            "keys": usage.map(|usage| usage.keys),
            "bytes": usage.map(|usage| usage.bytes),
            "size_estimated": usage.map(|usage| usage.estimated),
            "hits": counters.hits,
            "misses": counters.misses,
            "hit_rate": hit_rate(&counters),
            "sets": counters.sets,
            "deletes": counters.deletes,
            "invalidations": counters.invalidations,
            "evictions": self.counts_removals().then_some(counters.evictions),
            "expirations": self.counts_removals().then_some(counters.expirations),
            "decode_errors": counters.decode_errors,
            "reconnects": counters.reconnects,
            "in_flight": self.backend.in_flight(),
            "connections": self.backend.activity().connections,
            "fallback": self.backend.fallback().as_ref().map(fallback),
            "near": self.backend.near().as_ref().map(near),
            "latency_us": self.latencies.to_json(),
        });
        if !self.is_view() {
            report["namespaces"] = self.common.namespaces.to_json();
        }
        for (name, _, count) in self.load_counters.all() {
            report[name] = json!(count);
        }
        Ok(report)
    }

    /// Returns its health. Touches no counter.
    pub async fn health_report(&self, context: CallContext) -> HealthReport {
        HealthReport {
            health: self.backend.health(context).await,
            backend: self.backend.name(),
            key_prefix: self.common.key_prefix.to_string(),
            uptime: self.common.opened.elapsed(),
            fallback: self.backend.fallback(),
            near: self.backend.near(),
        }
    }

    /// Returns its health as JSON.
    pub async fn health(&self, context: CallContext) -> Json {
        self.health_report(context).await.to_json()
    }

    /// Returns its usage, or `None` while a server is down, as the other statistics do not need one, and for a namespace,
    /// whose keys would be listed for it.
    async fn known_usage(&self, context: CallContext) -> Result<Option<Usage>> {
        if self.has_namespace() {
            return Ok(None);
        }
        match self.usage(context).await {
            Ok(usage) => Ok(Some(usage)),
            Err(error) if error.kind() == ErrorKind::Closed => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Returns true if evictions and expirations are counted: a shared store does not report whose entries they were.
    pub(super) fn counts_removals(&self) -> bool {
        !self.backend.capabilities().shared && !self.has_namespace()
    }
}

fn details(details: &Details) -> Json {
    let servers: Vec<Json> = details.servers.iter().map(server).collect();
    let mut report = json!({ "servers": servers, "in_flight": details.in_flight });
    if let Some(topology) = details.topology {
        report["topology"] = json!(topology);
    }
    report
}

fn server(health: &ServerHealth) -> Json {
    let mut report = match &health.answer {
        Ok(answer) => answered(answer),
        Err(reason) => Map::from_iter([("error".to_owned(), json!(reason))]),
    };
    report.insert("server".to_owned(), json!(health.server));
    if let Some(in_ring) = health.in_ring {
        report.insert("in_ring".to_owned(), json!(in_ring));
    }
    Json::Object(report)
}

fn answered(answer: &ServerAnswer) -> Map<String, Json> {
    let mut report = Map::from_iter([("ping_us".to_owned(), json!(micros(answer.ping)))]);
    match &answer.statistics {
        Ok(statistics) => report.extend(statistics.iter().map(|(name, value)| ((*name).to_owned(), statistic(value)))),
        Err(reason) => _ = report.insert("untold".to_owned(), json!(reason)),
    }
    report
}

fn statistic(value: &Statistic) -> Json {
    match value {
        Statistic::Number(number) => json!(number),
        Statistic::Text(text) => json!(text),
    }
}

fn fallback(health: &FallbackHealth) -> Json {
    json!({
        "backend": health.backend,
        "active": health.outage.is_some(),
        "circuit": health.circuit.name(),
        "answers": health.answers,
        "outages": health.outages,
        "open_for_ms": health.outage.as_ref().map(|outage| millis(outage.lasted)),
        "changes_to_replay": health.outage.as_ref().map(|outage| outage.pending),
    })
}

fn near(activity: &NearActivity) -> Json {
    let staleness = &activity.staleness;
    json!({
        "mode": activity.mode,
        "serving": activity.is_fresh,
        "hits": activity.hits,
        "fills": activity.fills,
        "revoked_fills": activity.revoked,
        "confirmed": activity.confirmed,
        "keys": activity.usage.keys,
        "bytes": activity.usage.bytes,
        "flushes": staleness.flushes,
        "disconnected_ms": millis(staleness.disconnected),
        "delay_us": {
            "samples": staleness.samples,
            "p50": staleness.p50.map(latency::micros),
            "p99": staleness.p99.map(latency::micros),
            "max": staleness.max.map(latency::micros),
        },
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the hit rate, or null if nothing was read.
#[allow(clippy::cast_precision_loss)]
fn hit_rate(counters: &Counters) -> Option<f64> {
    let reads = counters.hits + counters.misses;
    (reads > 0).then(|| counters.hits as f64 / reads as f64)
}
