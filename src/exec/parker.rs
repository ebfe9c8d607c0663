//! Parks a thread until it is woken, as `std::thread::park` does, also for threads that Rust did not start: it keeps no
//! other state of them. A blocked thread is its own timer: it parks until its alarm.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use std::task::Wake;
use std::time::{Duration, Instant};

use rustix::thread::futex::{Flags, Timespec, wait, wake};

const NOTHING: u32 = 0;
const WOKEN: u32 = 1;
const PARKED: u32 = 2;

thread_local! {
    /// One for each thread: a wake-up needs no allocation for each call.
    static PARKER: Arc<Parker> = Arc::default();
    /// The earliest time at which the future that the thread waits for has to be polled again.
    static ALARM: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the parker of this thread; at the very end of a thread a new one.
pub fn of_this_thread() -> Arc<Parker> {
    PARKER.try_with(Arc::clone).unwrap_or_default()
}

/// Has the future that this thread waits for polled again at this time. A future of a call that may block does that
/// each time that it is pending, as a future of a task registers a timer.
pub fn wake_at(time: Instant) {
    ALARM.set(Some(ALARM.get().map_or(time, |earlier| earlier.min(time))));
}

/// Returns the time until which to park, and clears it: whatever is still pending then sets it again.
pub fn take_alarm() -> Option<Instant> {
    ALARM.take()
}

/// Keeps the alarm of an outer call, and restores it when dropped, also by a panic.
pub struct OuterAlarm(Option<Instant>);

impl OuterAlarm {
    pub fn take() -> Self {
        Self(ALARM.take())
    }
}

impl Drop for OuterAlarm {
    fn drop(&mut self) {
        ALARM.set(self.0);
    }
}

/// The parking place of one thread.
#[derive(Default)]
pub struct Parker(AtomicU32);

impl Parker {
    /// Waits until the thread is woken, was woken before, or the deadline passes. May return without a reason.
    pub fn park(&self, deadline: Option<Instant>) {
        if self.0.swap(PARKED, Acquire) != WOKEN {
            let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
            // Whatever ended it, the caller looks for itself.
            let _ = wait(&self.0, Flags::PRIVATE, PARKED, left.as_ref());
        }
        self.0.swap(NOTHING, Acquire);
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.0.swap(WOKEN, Release) == PARKED {
            let _ = wake(&self.0, Flags::PRIVATE, 1);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_woken_before_does_not_park_and_who_is_not_woken_parks_to_the_deadline() {
        let parker = Arc::new(Parker::default());
        parker.wake_by_ref();
        parker.park(None);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            parker.park(Some(begun + Duration::from_millis(20)));
        }
        let waking = Arc::clone(&parker);
        let thread = std::thread::spawn(move || waking.wake_by_ref());
        parker.park(None);
        thread.join().unwrap();
    }
}
