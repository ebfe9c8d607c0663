//! A histogram of durations that many threads add to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Number of buckets for each power of two: a percentile is at most 1/8 too high.
const STEPS: u64 = 8;
/// Number of powers of two: enough for 2^40 ns, 18 minutes.
const BUCKETS: usize = 40 * STEPS as usize;

/// The number of durations in each of many narrow buckets.
pub struct Histogram([AtomicU64; BUCKETS]);

/// The counts of a histogram at one moment.
pub struct Counts {
    buckets: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Histogram {
    /// Adds a duration in nanoseconds.
    pub fn record(&self, nanos: u64) {
        self.0[bucket_of(nanos)].fetch_add(1, Relaxed);
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        let buckets: Vec<u64> = self.0.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total = buckets.iter().sum();
        Counts { buckets, total }
    }
}

impl Counts {
    /// Returns the number of durations.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the upper end of the bucket below which a share of the durations lies; `None` without any.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        let bucket = self.buckets.iter().position(reached)?;
        Some(Duration::from_nanos(upper_end(bucket as u64)))
    }
}

/// Returns the bucket of a number. Below `STEPS` each number has its own; above, each power of two has `STEPS`.
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
    fn a_histogram_without_durations_has_no_quantile() {
        let histogram = Histogram::default();
        assert_eq!((histogram.counts().total(), histogram.counts().quantile(0.5)), (0, None));
        histogram.record(1000);
        assert_eq!(histogram.counts().total(), 1);
        assert!(histogram.counts().quantile(1.0).is_some_and(|max| max >= Duration::from_micros(1)));
    }
}
