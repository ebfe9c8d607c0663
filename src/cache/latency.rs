//! Latencies of operations: a histogram for each, filled from a sample of the calls.

use std::cell::Cell;
use std::convert::identity;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use once_cell::race::OnceBox;
use serde_json::{Value as Json, json};

use crate::backend::{OpFuture, done, pending};
use crate::error::Result;
use crate::util::{histogram, random};

/// The sampling interval: on average, one of so many short calls is timed, because the clock takes longer than a call.
pub const SAMPLE: u32 = 64;
/// The bounds of a distribution in nanoseconds: a memory hit lies among the first, a round trip in the middle, a deadline at the end.
pub const BOUNDS: [u64; 12] = [
    250,
    1_000,
    5_000,
    25_000,
    100_000,
    250_000,
    1_000_000,
    2_500_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];

/// The kinds of operations that are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A get.
    Get,
    /// A set.
    Set,
    /// A delete.
    Delete,
    /// Exists, ttl and expire.
    Inspect,
    /// An invalidation by tag or pattern, or a flush.
    Invalidate,
    /// Keys and search.
    List,
    /// A get, set or delete of many keys, as a whole.
    Many,
    /// A read for loading, with its wait for the load of another caller.
    GetOrLease,
    /// A load: from its lease to its fill.
    Load,
}

const NAMES: [&str; 9] = ["get", "set", "delete", "inspect", "invalidate", "list", "many", "get_or_lease", "load"];

/// The histograms of one cache. Each is created with its first sample, because most caches use few operations; that of the
/// gets exists from the beginning, because a get of the memory backend allocates nothing.
pub struct Latencies([OnceBox<Histogram>; NAMES.len()]);

struct Histogram {
    /// Narrow buckets for percentiles.
    buckets: histogram::Histogram,
    /// Buckets between `BOUNDS`, and one for longer times.
    wide: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// The distribution of the samples of an operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distribution {
    /// The name of the operation.
    pub operation: &'static str,
    /// Number of samples in each bucket: up to each of `BOUNDS`, then above the last one.
    pub counts: [u64; BOUNDS.len() + 1],
    /// The sum of all samples.
    pub sum: Duration,
}

thread_local! {
    /// Number of calls of this thread until the next timed one.
    static UNTIMED: Cell<u32> = const { Cell::new(SAMPLE - 1) };
}

impl Default for Latencies {
    fn default() -> Self {
        let latencies = Self(std::array::from_fn(|_| OnceBox::new()));
        latencies.histogram(Operation::Get);
        latencies
    }
}

impl Latencies {
    /// Runs a short operation. A sample of them is timed.
    #[inline(always)]
    pub fn sample<'a, T>(&'a self, operation: Operation, run: impl FnOnce() -> OpFuture<'a, T>) -> OpFuture<'a, T>
    where
        T: Send + 'a,
    {
        match UNTIMED.get() {
            0 => self.timed(operation, run),
            left => {
                UNTIMED.set(left - 1);
                run()
            }
        }
    }

    /// Runs a short operation that answers some calls and leaves the others to `sample`; a call that is timed is one of
    /// those.
    #[inline(always)]
    pub fn untimed<T>(&self, run: impl FnOnce() -> Option<T>) -> Option<T> {
        let left = UNTIMED.get().checked_sub(1)?;
        let answer = run()?;
        UNTIMED.set(left);
        Some(answer)
    }

    /// Records the duration of a short operation that ran outside of `sample`, if it is its turn.
    pub fn note(&self, operation: Operation, took: Duration) {
        match UNTIMED.get() {
            0 => {
                UNTIMED.set(gap());
                self.record(operation, took);
            }
            left => UNTIMED.set(left - 1),
        }
    }

    #[cold]
    fn timed<'a, T>(&'a self, operation: Operation, run: impl FnOnce() -> OpFuture<'a, T>) -> OpFuture<'a, T>
    where
        T: Send + 'a,
    {
        UNTIMED.set(gap());
        self.always(operation, run, identity)
    }

    /// Runs an operation, times it, and hands its outcome through `finish`.
    pub fn always<'a, T>(
        &'a self,
        operation: Operation,
        run: impl FnOnce() -> OpFuture<'a, T>,
        finish: impl FnOnce(Result<T>) -> Result<T> + Send + 'a,
    ) -> OpFuture<'a, T>
    where
        T: Send + 'a,
    {
        let started = Instant::now();
        match run() {
            Either::Left(outcome) => {
                self.record(operation, started.elapsed());
                done(finish(outcome.into_inner()))
            }
            Either::Right(outcome) => pending(async move { finish(self.time_from(started, operation, outcome).await) }),
        }
    }

    /// Runs and times a long operation.
    pub async fn time<T>(&self, operation: Operation, run: impl Future<Output = T>) -> T {
        self.time_from(Instant::now(), operation, run).await
    }

    async fn time_from<T>(&self, started: Instant, operation: Operation, run: impl Future<Output = T>) -> T {
        let answer = run.await;
        self.record(operation, started.elapsed());
        answer
    }

    /// Records the duration of an operation.
    pub fn record(&self, operation: Operation, took: Duration) {
        self.histogram(operation).record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn histogram(&self, operation: Operation) -> &Histogram {
        self.0[operation as usize].get_or_init(Box::default)
    }

    /// Returns a summary in microseconds of each operation that was used.
    pub fn to_json(&self) -> Json {
        let seen =
            NAMES.iter().zip(&self.0).filter_map(|(name, place)| Some(((*name).into(), place.get()?.to_json()?)));
        Json::Object(seen.collect())
    }

    /// Returns the distribution of every operation, also of unused ones.
    pub fn distributions(&self) -> impl Iterator<Item = Distribution> {
        NAMES.iter().zip(&self.0).map(|(operation, place)| match place.get() {
            Some(histogram) => histogram.distribution(operation),
            None => Distribution { operation, counts: [0; BOUNDS.len() + 1], sum: Duration::ZERO },
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: histogram::Histogram::default(),
            wide: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            sum_nanos: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    fn record(&self, nanos: u64) {
        self.buckets.record(nanos);
        self.wide[BOUNDS.partition_point(|bound| *bound < nanos)].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    fn distribution(&self, operation: &'static str) -> Distribution {
        Distribution {
            operation,
            counts: self.wide.each_ref().map(|count| count.load(Relaxed)),
            sum: Duration::from_nanos(self.sum_nanos.load(Relaxed)),
        }
    }

    fn to_json(&self) -> Option<Json> {
        let counts = self.buckets.counts();
        let at = |share| counts.quantile(share).map(micros);
        (counts.total() > 0).then(
            || json!({ "samples": counts.total(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) }),
        )
    }
}

/// Returns true if the next short operation of this thread will be timed.
pub fn is_due() -> bool {
    UNTIMED.get() == 0
}

/// Returns microseconds with their fraction.
#[allow(clippy::cast_precision_loss)]
pub fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

/// Returns the number of calls to skip. A constant number would resonate with the program: if it alternates between
/// gets and sets, only the sets would be timed.
fn gap() -> u32 {
    let spread = u64::from(2 * SAMPLE - 1);
    u32::try_from(random::cheap() % spread).unwrap_or(SAMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_distribution_counts_up_to_and_with_each_bound() {
        let latencies = Latencies::default();
        for nanos in [0, 250, 251, 1_000, 1_000_000_000, 1_000_000_001, u64::from(u32::MAX)] {
            latencies.record(Operation::Set, Duration::from_nanos(nanos));
        }
        let all: Vec<Distribution> = latencies.distributions().collect();
        assert_eq!(all.iter().map(|it| it.operation).collect::<Vec<_>>(), NAMES);
        assert_eq!(all[1].counts, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(all[1].sum, Duration::from_nanos(250 + 251 + 1_000 + 2_000_000_001 + u64::from(u32::MAX)));
        assert_eq!(all[0].counts, [0; BOUNDS.len() + 1]);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_call_that_is_timed_is_left_to_a_sample() {
        let latencies = Latencies::default();
        let answered = (0..6400).filter(|_| {
            let answer = latencies.untimed(|| Some(()));
            if answer.is_none() {
                drop(latencies.sample(Operation::GetOrLease, || crate::backend::done(Ok(()))));
            }
            assert!(latencies.untimed(|| None::<()>).is_none());
            answer.is_some()
        });
        let answered = answered.count() as u64;
        let samples: u64 = latencies.distributions().flat_map(|it| it.counts).sum();
        assert!((50..200).contains(&samples), "{samples}");
        assert_eq!(answered + samples, 6400, "a call that answered nothing was not counted");
    }

    #[test]
    fn operations_in_turn_are_all_timed_and_one_call_in_64() {
        const TURNS: u64 = 64_000;
        let latencies = Latencies::default();
        for _ in 0..TURNS {
            drop(latencies.sample(Operation::Get, || crate::backend::done(Ok(()))));
            drop(latencies.sample(Operation::Set, || crate::backend::done(Ok(()))));
        }
        for seen in latencies.distributions().take(2) {
            let samples: u64 = seen.counts.iter().sum();
            assert!((700..1300).contains(&samples), "{samples} of {}", seen.operation);
        }
    }
}
