//! Pauses between attempts: each about twice as long as the last, until the deadline of the call.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::caller;

/// The first pause.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_millis(200);
/// An attempt that has less time than this before the deadline is not made.
const TOO_LATE: Duration = Duration::from_millis(5);

/// The pauses of one call.
pub struct Backoff {
    next: Duration,
    end: Instant,
}

impl Backoff {
    /// Returns the pauses of a call that ends at this time.
    pub fn until(end: Instant) -> Self {
        Self { next: FIRST, end }
    }

    /// Waits before another attempt; false, without a wait, when there is no time left for one.
    pub async fn pause(&mut self) -> bool {
        let Some(pause) = self.step(self.end.saturating_duration_since(Instant::now())) else { return false };
        caller::pause(pause).await;
        true
    }

    /// The next pause. Of the time left it takes no more than half, so that an attempt can follow.
    fn step(&mut self, left: Duration) -> Option<Duration> {
        if left < TOO_LATE {
            return None;
        }
        let pause = jittered(self.next).min(left / 2);
        self.next = (self.next * 2).min(LONGEST);
        Some(pause)
    }
}

/// Half to all of a pause: clients that met the same failure come back one after another.
fn jittered(pause: Duration) -> Duration {
    #[allow(clippy::cast_precision_loss)]
    let share = RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_call() {
        let mut backoff = Backoff::until(Instant::now());
        let mut least = FIRST / 2;
        for _ in 0..8 {
            let pause = backoff.step(Duration::from_secs(5)).unwrap();
            assert!(pause >= least && pause <= LONGEST, "{pause:?}");
            least = (least * 2).min(LONGEST / 2);
        }
        assert!(backoff.step(Duration::from_millis(20)).unwrap() <= Duration::from_millis(10));
        assert_eq!(backoff.step(Duration::from_millis(4)), None);
    }
}
