//! What a cache tells of itself, as JSON: statistics and health.

use std::time::Instant;

use serde_json::{Value as Json, json};

use super::Cache;
use crate::backend::Counters;
use crate::error::{ErrorKind, Result};

impl Cache {
    /// Counters since it was opened, what it holds, and latencies of a sample of the calls.
    pub async fn stats(&self) -> Result<Json> {
        let usage = match self.usage().await {
            Ok(usage) => Some(usage),
            // Nobody can know it, and all else can be told.
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            Err(error) => return Err(error),
        };
        let counters = self.counters();
        Ok(json!({
            "backend": self.backend.name(),
            "key_prefix": self.key_prefix,
            "uptime_ms": millis_since(self.opened),
            "keys": usage.map(|usage| usage.keys),
            "bytes": usage.map(|usage| usage.bytes),
            "size_estimated": usage.map(|usage| usage.estimated),
            "hits": counters.hits,
            "misses": counters.misses,
            "hit_rate": hit_rate(&counters),
            "sets": counters.sets,
            "deletes": counters.deletes,
            "evictions": counters.evictions,
            "expirations": counters.expirations,
            "decode_errors": counters.decode_errors,
            "reconnects": counters.reconnects,
            "fallback": self.backend.fallback().map(|fallback| fallback.report),
            "latency_us": self.latencies.to_json(),
        }))
    }

    /// Whether it can serve, and why not. Touches no counter.
    pub async fn health(&self) -> Json {
        let asked = Instant::now();
        let failure = self.ping().await.err();
        let ping_us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        let fallback = self.backend.fallback();
        let degraded = fallback.as_ref().and_then(|fallback| fallback.reason.clone());
        let details = self.backend.details().await.unwrap_or_else(|error| json!({ "error": error.message() }));
        json!({
            "status": match (&failure, &degraded) {
                (Some(_), _) => "unhealthy",
                (None, Some(_)) => "degraded",
                (None, None) => "healthy",
            },
            "reasons": failure.iter().map(ToString::to_string).chain(degraded).collect::<Vec<_>>(),
            "backend": self.backend.name(),
            "key_prefix": self.key_prefix,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": millis_since(self.opened),
            "ping_us": ping_us,
            "fallback": fallback.map(|fallback| fallback.report),
            "details": details,
        })
    }
}

fn millis_since(instant: Instant) -> u64 {
    u64::try_from(instant.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Nothing was read: there is no rate, and none is made up.
#[allow(clippy::cast_precision_loss)]
fn hit_rate(counters: &Counters) -> Option<f64> {
    let reads = counters.hits + counters.misses;
    (reads > 0).then(|| counters.hits as f64 / reads as f64)
}
