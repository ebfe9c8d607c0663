//! Pauses between attempts: each is about twice as long as the last, up to a limit.

use std::time::{Duration, Instant};

use crate::exec::context::CallContext;
use crate::util::random::jittered;

/// The first pause of a call.
const FIRST: Duration = Duration::from_millis(10);
/// The first and the longest pause after an attempt that another caller made fail.
const SHORTEST: Duration = Duration::from_millis(1);
const CONTENDED: Duration = Duration::from_millis(50);
/// The longest pause of a call.
const LONGEST: Duration = Duration::from_millis(200);
/// The shortest time before the deadline in which an attempt is made.
const TOO_LATE: Duration = Duration::from_millis(5);

/// The pauses between the attempts of one call, or between those of a task that never gives up.
pub struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
    end: Option<Instant>,
    context: CallContext,
}

impl Backoff {
    /// Returns the pauses of a call, or of a part of it, that ends at this time.
    pub fn until(context: CallContext, end: Instant) -> Self {
        Self { end: Some(end), ..Self::between(context, FIRST, LONGEST) }
    }

    /// Returns the pauses of a call that ends at this time, for attempts that another caller made fail.
    pub fn contended(context: CallContext, end: Instant) -> Self {
        Self { end: Some(end), ..Self::between(context, SHORTEST, CONTENDED) }
    }

    /// Returns pauses without an end, from the first to the longest.
    pub fn between(context: CallContext, first: Duration, longest: Duration) -> Self {
        Self { first, next: first, longest, end: None, context }
    }

    /// Begins with the first pause again, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits before another attempt. Returns false without a wait if there is no time left for one.
    pub async fn pause(&mut self) -> bool {
        let left = self.end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        let Some(pause) = self.step(left) else { return false };
        self.context.pause(pause).await;
        true
    }

    /// Returns the next pause: at most half of the time that is left, so that an attempt can follow.
    fn step(&mut self, left: Duration) -> Option<Duration> {
        if left < TOO_LATE {
            return None;
        }
        Some(self.next_pause().min(left / 2))
    }

    /// Returns the next pause, for a caller that waits by itself.
    pub fn next_pause(&mut self) -> Duration {
        let pause = jittered(self.next);
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_call() {
        let mut backoff = Backoff::until(CallContext::task(), Instant::now());
        let mut least = FIRST / 2;
        for _ in 0..8 {
            let pause = backoff.step(Duration::from_secs(5)).unwrap();
            assert!(pause >= least && pause <= LONGEST, "{pause:?}");
            least = (least * 2).min(LONGEST / 2);
        }
        assert!(backoff.step(Duration::from_millis(20)).unwrap() <= Duration::from_millis(10));
        assert_eq!(backoff.step(Duration::from_millis(4)), None);
    }

    #[test]
    fn pauses_without_an_end_begin_again_after_a_success() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_millis(500));
        let mut backoff = Backoff::between(CallContext::task(), first, longest);
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] >= first / 2 && pauses[0] <= first);
        assert!(pauses[4..].iter().all(|pause| *pause >= longest / 2 && *pause <= longest), "{pauses:?}");
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }
}
