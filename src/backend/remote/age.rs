//! The age of entries: the time since the set, which neither another time to live nor a copy changes.
//!
//! An entry has the second of its set, which is 4 bytes and costs a set one cheap reading of the clock. An age counts from
//! the beginning of that second: it is never too short, and up to a second too long.

use std::time::{Duration, Instant};

use super::{Remote, Store};

impl<S: Store> Remote<S> {
    /// Returns the creation time of an entry that is stored now.
    pub(super) fn created_now(&self, name: &[u8]) -> Option<u32> {
        u32::try_from(self.store.now_s(name)).ok()
    }

    /// Returns the creation time of a copy.
    pub(super) fn created_of(&self, name: &[u8], created: Option<Instant>) -> Option<u32> {
        second_before(self.store.age_clock_ms(name), created?.elapsed())
    }

    /// Returns the age of an entry with this creation time.
    pub(super) fn age_of(&self, name: &[u8], created_s: Option<u32>) -> Option<Duration> {
        created_s.map(|created| age_at(self.store.age_clock_ms(name), created))
    }

    /// Returns the creation time of an entry for a copy.
    pub(super) fn created_at(&self, name: &[u8], created_s: Option<u32>) -> Option<Instant> {
        Instant::now().checked_sub(self.age_of(name, created_s)?)
    }
}

/// Returns the second that lies an age before a time, or the one before it.
fn second_before(now_ms: u64, age: Duration) -> Option<u32> {
    u32::try_from(now_ms.saturating_sub(crate::util::millis(age)) / 1000).ok()
}

/// Returns the age at a time. A clock that is behind that of the set reads none.
fn age_at(now_ms: u64, created_s: u32) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(u64::from(created_s) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_from_the_second_of_the_set_and_survives_a_copy() {
        let millis = Duration::from_millis;
        assert_eq!(age_at(1_700_000_000_700, 1_700_000_000), millis(700));
        assert_eq!(age_at(1_699_999_999_000, 1_700_000_000), millis(0));
        for age in [0, 1, 700, 999, 1000, 86_400_000] {
            let copied = second_before(1_700_000_000_700, millis(age)).unwrap();
            let again = age_at(1_700_000_000_700, copied);
            assert!((millis(age)..millis(age + 1000)).contains(&again), "{age}");
        }
        assert_eq!(second_before(5, millis(10)), Some(0));
        assert_eq!(second_before(u64::MAX, millis(0)), None);
    }
}
