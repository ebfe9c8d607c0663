//! The time to live that a caller requests, and the resulting lifetime of an entry.

use std::cell::Cell;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::util::clock::left;
pub use crate::util::clock::{SHORTEST, left_millis};
use crate::util::random;

/// The maximum TTL: 100 years. A longer one is probably a mistake in the unit.
pub const MAX_TTL: Duration = crate::util::clock::LONGEST;

/// The time to live that a caller requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The `default_ttl` of the cache, varied by `ttl_jitter`.
    Default,
    /// The entry never expires.
    Never,
    /// An exact time.
    Exactly(Duration),
}

impl Ttl {
    /// Converts milliseconds of the C ABI: -1 default, 0 never.
    pub fn from_millis(ttl_ms: i64) -> Result<Self> {
        match u64::try_from(ttl_ms).map(Duration::from_millis) {
            Ok(Duration::ZERO) => Ok(Self::Never),
            Ok(ttl) if ttl <= MAX_TTL => Ok(Self::Exactly(ttl)),
            Ok(_) => Err(invalid(ttl_ms, "at most 100 years; 0 never expires")),
            Err(_) if ttl_ms == -1 => Ok(Self::Default),
            Err(_) => Err(invalid(ttl_ms, "0 or more milliseconds, or -1 for the default")),
        }
    }
}

#[cold]
fn invalid(ttl_ms: i64, accepted: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("ttl_ms is {ttl_ms}; it must be {accepted}"))
}

/// The golden ratio as a fraction of 2^64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The meaning of `Ttl::Default` in a cache.
#[derive(Clone)]
pub struct DefaultTtl {
    /// The default TTL. Zero never expires.
    ttl: Duration,
    /// The largest reduction in percent, which is random: entries that are set together do not expire together, and no
    /// entry lives longer than the default.
    jitter: f64,
    seed: u64,
}

impl DefaultTtl {
    /// Creates a default. The jitter is in percent.
    pub fn new(ttl: Duration, jitter: f64) -> Self {
        Self { ttl, jitter, seed: random::cheap() }
    }

    /// Returns the lifetime of an entry. `None` never expires.
    #[inline]
    pub fn resolve(&self, ttl: Ttl) -> Option<Duration> {
        match ttl {
            Ttl::Never => None,
            Ttl::Exactly(ttl) => Some(ttl),
            Ttl::Default => (!self.ttl.is_zero()).then(|| self.spread()),
        }
    }

    /// Reduces a time by a share of the jitter: the next point of an additive sequence with the golden ratio, which
    /// spreads any number of consecutive calls evenly, without a lock or an allocation. The result is never zero,
    /// although the jitter may be 100 %.
    #[allow(clippy::cast_precision_loss)]
    fn spread(&self) -> Duration {
        let call = CALLS.get().wrapping_add(1);
        CALLS.set(call);
        let share = self.seed.wrapping_add(call.wrapping_mul(GOLDEN)) as f64 / u64::MAX as f64;
        left(self.ttl.mul_f64((1.0 - share * self.jitter / 100.0).clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_default_never_or_exact() {
        assert_eq!(Ttl::from_millis(-1).unwrap(), Ttl::Default);
        assert_eq!(Ttl::from_millis(0).unwrap(), Ttl::Never);
        assert_eq!(Ttl::from_millis(5).unwrap(), Ttl::Exactly(Duration::from_millis(5)));
        for refused in [-2, i64::MIN, i64::MAX] {
            assert_eq!(Ttl::from_millis(refused).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn jitter_shortens_the_default_only() {
        let default = DefaultTtl::new(Duration::from_secs(100), 10.0);
        let spread: Vec<f64> = (0..1000).map(|_| default.resolve(Ttl::Default).unwrap().as_secs_f64()).collect();
        assert!(spread.iter().all(|ttl| (90.0..=100.0).contains(ttl)));
        for tenth in 90..100 {
            let near = spread.iter().filter(|ttl| **ttl as i32 == tenth).count();
            assert!((50..200).contains(&near), "{near} of 1000 between {tenth} and {} s", tenth + 1);
        }
        let exact = Duration::from_millis(7);
        assert_eq!(default.resolve(Ttl::Exactly(exact)), Some(exact));
        assert_eq!(default.resolve(Ttl::Never), None);
        assert_eq!(DefaultTtl::new(Duration::ZERO, 10.0).resolve(Ttl::Default), None);
    }

    #[test]
    fn jitter_leaves_a_life_of_at_least_a_millisecond() {
        let default = DefaultTtl::new(SHORTEST, 100.0);
        assert!((0..1000).all(|_| default.resolve(Ttl::Default) == Some(SHORTEST)));
    }
}
