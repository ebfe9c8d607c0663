//! How long operations take: a histogram each, filled from a sample of the calls.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use serde_json::{Value as Json, json};

use crate::backend::Reply;

/// One call in so many is timed where a call takes less than the clock would.
const SAMPLE: u32 = 64;
/// Each doubling of time has so many buckets: a percentile is at most 1/8 too high.
const STEPS: u64 = 8;
/// Enough for 2^40 ns, 18 minutes.
const BUCKETS: usize = 40 * STEPS as usize;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// get
    Get,
    /// set
    Set,
    /// delete
    Delete,
    /// exists, ttl and expire
    Inspect,
    /// by tag, by pattern, all
    Invalidate,
    /// keys and search
    List,
    /// get, set and delete of many keys, the whole call
    Many,
}

const NAMES: [&str; 7] = ["get", "set", "delete", "inspect", "invalidate", "list", "many"];

/// The histograms of one cache.
pub struct Latencies([Histogram; NAMES.len()]);

struct Histogram {
    buckets: [AtomicU64; BUCKETS],
}

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

impl Default for Latencies {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Histogram { buckets: [const { AtomicU64::new(0) }; BUCKETS] }))
    }
}

impl Latencies {
    /// Runs a short operation; one in a few is timed.
    #[inline(always)]
    pub fn sample<'a, T>(&'a self, operation: Operation, run: impl FnOnce() -> Reply<'a, T>) -> Reply<'a, T>
    where
        T: Send + 'a,
    {
        let call = CALLS.get().wrapping_add(1);
        CALLS.set(call);
        if call.is_multiple_of(SAMPLE) { self.timed(operation, run) } else { run() }
    }

    #[cold]
    fn timed<'a, T>(&'a self, operation: Operation, run: impl FnOnce() -> Reply<'a, T>) -> Reply<'a, T>
    where
        T: Send + 'a,
    {
        let started = Instant::now();
        match run() {
            Either::Left(answer) => {
                self.record(operation, started.elapsed());
                Either::Left(answer)
            }
            Either::Right(answer) => Either::Right(Box::pin(self.time_from(started, operation, answer))),
        }
    }

    /// Runs a long operation, and times it.
    pub async fn time<T>(&self, operation: Operation, run: impl Future<Output = T>) -> T {
        self.time_from(Instant::now(), operation, run).await
    }

    async fn time_from<T>(&self, started: Instant, operation: Operation, run: impl Future<Output = T>) -> T {
        let answer = run.await;
        self.record(operation, started.elapsed());
        answer
    }

    fn record(&self, operation: Operation, took: Duration) {
        let bucket = bucket_of(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.0[operation as usize].buckets[bucket].fetch_add(1, Relaxed);
    }

    /// What was seen, in microseconds, for each operation that was.
    pub fn to_json(&self) -> Json {
        let seen =
            NAMES.iter().zip(&self.0).filter_map(|(name, histogram)| Some(((*name).into(), histogram.to_json()?)));
        Json::Object(seen.collect())
    }
}

impl Histogram {
    fn to_json(&self) -> Option<Json> {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let samples: u64 = counts.iter().sum();
        let at = |share| percentile_us(&counts, samples, share);
        (samples > 0)
            .then(|| json!({ "samples": samples, "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) }))
    }
}

/// The upper end of the bucket below which that share of the samples lies.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn percentile_us(counts: &[u64], samples: u64, share: f64) -> f64 {
    let wanted = ((samples as f64 * share).ceil() as u64).max(1);
    let mut seen = 0;
    let reached = |count: &u64| {
        seen += count;
        seen >= wanted
    };
    let bucket = counts.iter().position(reached).unwrap_or(BUCKETS - 1);
    upper_end(bucket as u64) as f64 / 1000.0
}

/// Below `STEPS` each number has its bucket; above, each power of two has `STEPS`.
#[allow(clippy::cast_possible_truncation)]
fn bucket_of(nanos: u64) -> usize {
    let exponent = u64::from(nanos.max(STEPS).ilog2()) - 3;
    ((exponent * STEPS + (nanos >> exponent)) as usize).min(BUCKETS - 1)
}

fn upper_end(bucket: u64) -> u64 {
    let exponent = (bucket / STEPS).saturating_sub(1);
    (bucket - exponent * STEPS + 1) << exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_below_its_upper_end() {
        let mut last = 0;
        for nanos in (0..5000).chain((13..39).map(|power| (1 << power) + 12_345)) {
            let bucket = bucket_of(nanos);
            assert!(bucket >= last, "{nanos}");
            last = bucket;
            let end = upper_end(bucket as u64);
            assert!(end > nanos && end <= nanos + nanos / 8 + 1, "{nanos} in a bucket up to {end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let latencies = Latencies::default();
        for micros in 1..=100 {
            latencies.record(Operation::Get, Duration::from_micros(micros));
        }
        let json = latencies.to_json();
        assert_eq!(json["get"]["samples"], 100);
        let p50 = json["get"]["p50"].as_f64().unwrap();
        assert!((50.0..=57.0).contains(&p50), "{p50}");
        let p99 = json["get"]["p99"].as_f64().unwrap();
        assert!((99.0..=112.0).contains(&p99), "{p99}");
        assert!(json.get("set").is_none());
    }
}
