//! How long an entry is asked to live, and how long it will.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// The longest TTL: 100 years. More is a mistake in the unit.
pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The time to live a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The cache's `default_ttl`, spread by `ttl_jitter`.
    Default,
    /// No end.
    Never,
    /// Exactly this long.
    Exactly(Duration),
}

impl Ttl {
    /// From milliseconds as the C ABI writes them: -1 default, 0 never.
    pub fn from_millis(ttl_ms: i64) -> Result<Self> {
        match u64::try_from(ttl_ms).map(Duration::from_millis) {
            Ok(Duration::ZERO) => Ok(Self::Never),
            Ok(ttl) if ttl <= MAX_TTL => Ok(Self::Exactly(ttl)),
            Ok(_) => Err(invalid(ttl_ms, "at most 100 years; 0 never expires")),
            Err(_) if ttl_ms == -1 => Ok(Self::Default),
            Err(_) => Err(invalid(ttl_ms, "milliseconds, 0 for never, -1 for the default")),
        }
    }
}

#[cold]
fn invalid(ttl_ms: i64, accepted: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("ttl_ms is {ttl_ms}; it takes {accepted}"))
}

/// What `Ttl::Default` means in one cache.
#[derive(Debug, Clone, Copy)]
pub struct DefaultTtl {
    /// Zero never expires.
    pub ttl: Duration,
    /// How much of it, in percent, chance may take away: entries set together
    /// do not all end together, and none lives longer than the default.
    pub jitter: f64,
}

impl DefaultTtl {
    /// How long an entry lives; `None` for ever.
    #[inline]
    pub fn resolve(&self, ttl: Ttl) -> Option<Duration> {
        match ttl {
            Ttl::Never => None,
            Ttl::Exactly(ttl) => Some(ttl),
            Ttl::Default => (!self.ttl.is_zero()).then(|| self.spread()),
        }
    }

    fn spread(&self) -> Duration {
        self.ttl.mul_f64((1.0 - fastrand::f64() * self.jitter / 100.0).clamp(0.0, 1.0))
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
        let default = DefaultTtl { ttl: Duration::from_secs(100), jitter: 10.0 };
        for _ in 0..1000 {
            let spread = default.resolve(Ttl::Default).unwrap();
            assert!((90.0..=100.0).contains(&spread.as_secs_f64()), "{spread:?}");
        }
        let exact = Duration::from_millis(7);
        assert_eq!(default.resolve(Ttl::Exactly(exact)), Some(exact));
        assert_eq!(default.resolve(Ttl::Never), None);
        assert_eq!(DefaultTtl { ttl: Duration::ZERO, jitter: 10.0 }.resolve(Ttl::Default), None);
    }
}
