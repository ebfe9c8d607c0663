//! Parks a thread until it is woken, as `std::thread::park` does, also for threads that Rust did not start: it keeps no
//! other state of them. A blocked thread is its own timer: it parks until its alarm.

use std::cell::Cell;
use std::sync::Arc;
use std::task::Wake;
use std::time::Instant;

#[cfg(any(test, not(target_os = "linux")))]
mod condvar;
#[cfg(target_os = "linux")]
mod futex;

#[cfg(not(target_os = "linux"))]
use condvar::Place;
#[cfg(target_os = "linux")]
use futex::Place;

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
pub struct Parker(Place);

impl Parker {
    /// Waits until the thread is woken, was woken before, or the deadline passes. May return without a reason.
    pub fn park(&self, deadline: Option<Instant>) {
        self.0.park(deadline);
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_was_woken_before_does_not_park_and_who_is_not_woken_parks_to_the_deadline() {
        let place = Arc::new(futex::Place::default());
        parks(&place, futex::Place::park, futex::Place::wake);
        let place = Arc::new(condvar::Place::default());
        parks(&place, condvar::Place::park, condvar::Place::wake);
    }

    fn parks<P: Send + Sync + 'static>(place: &Arc<P>, park: fn(&P, Option<Instant>), wake: fn(&P)) {
        wake(place);
        park(place, None);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(20) {
            park(place, Some(begun + Duration::from_millis(20)));
        }
        let waking = Arc::clone(place);
        let thread = std::thread::spawn(move || wake(&waking));
        park(place, None);
        thread.join().unwrap();
    }
}
