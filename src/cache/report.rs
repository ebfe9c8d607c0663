//! What a cache tells of itself, as JSON: statistics and health.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Cache;
use crate::backend::{Counters, Usage};
use crate::error::{ErrorKind, Result};

impl Cache {
    /// Counters since it was opened, what it holds, and latencies of a sample of the calls.
    pub async fn stats(&self) -> Result<Json> {
        let (usage, counters) = (self.known_usage().await?, self.counters());
        Ok(json!({
            "backend": self.backend.name(),
            "key_prefix": self.key_prefix,
            "uptime_ms": millis(self.opened.elapsed()),
            "keys": usage.map(|usage| usage.keys),
            "bytes": usage.map(|usage| usage.bytes),
            "size_estimated": usage.map(|usage| usage.estimated),
            "hits": counters.hits,
            "misses": counters.misses,
            "hit_rate": hit_rate(&counters),
            "sets": counters.sets,
            "deletes": counters.deletes,
            "evictions": self.counts_removals().then_some(counters.evictions),
            "expirations": self.counts_removals().then_some(counters.expirations),
            "decode_errors": counters.decode_errors,
            "reconnects": counters.reconnects,
            "in_flight": self.backend.in_flight(),
            "fallback": self.backend.fallback().map(|fallback| fallback.report),
            "latency_us": self.latencies.to_json(),
        }))
    }

    /// Whether it can serve, and why not. Touches no counter.
    pub async fn health(&self) -> Json {
        let health = self.backend.health().await;
        json!({
            "status": health.status.name(),
            "reasons": health.reasons,
            "backend": self.backend.name(),
            "key_prefix": self.key_prefix,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": millis(self.opened.elapsed()),
            "ping_us": health.ping.map(|ping| u64::try_from(ping.as_micros()).unwrap_or(u64::MAX)),
            "fallback": self.backend.fallback().map(|fallback| fallback.report),
            "details": health.details,
        })
    }

    /// What it holds, where that can be known now: all else can be told also while a server is down.
    async fn known_usage(&self) -> Result<Option<Usage>> {
        match self.usage().await {
            Ok(usage) => Ok(Some(usage)),
            Err(error) if error.kind() == ErrorKind::Closed => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether what goes to make room, and what expires, is counted: a store that others share does not tell whose it was.
    pub(super) fn counts_removals(&self) -> bool {
        !self.backend.capabilities().shared
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing was read: there is no rate, and none is made up.
#[allow(clippy::cast_precision_loss)]
fn hit_rate(counters: &Counters) -> Option<f64> {
    let reads = counters.hits + counters.misses;
    (reads > 0).then(|| counters.hits as f64 / reads as f64)
}
