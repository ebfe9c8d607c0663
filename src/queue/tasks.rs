//! Futures that run concurrently on one task: each has a place, and places are used again.
//!
//! A task of the runtime for each operation would need an allocation and a system call. Here a whole batch is passed on
//! at once, and only futures that were woken are polled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::util::lock;
use futures_util::task::AtomicWaker;

/// Largest number of free places that are kept.
const KEPT: usize = 1024;

pub(super) struct Tasks<F> {
    places: Vec<Place<F>>,
    running: usize,
    woken: Arc<Woken>,
    /// The places to poll next. Kept for its allocation.
    turn: Vec<usize>,
}

struct Place<F> {
    future: Pin<Box<Option<F>>>,
    wakes: Arc<PlaceWaker>,
    waker: Waker,
}

/// The places that were woken since the last turn.
struct Woken {
    places: Mutex<Vec<usize>>,
    driver: Arc<AtomicWaker>,
}

/// The waker of one place.
struct PlaceWaker {
    place: usize,
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, AcqRel) {
            lock(&self.woken.places).push(self.place);
            self.woken.driver.wake();
        }
    }
}

impl<F: Future> Tasks<F> {
    /// Creates the tasks. `driver` wakes the task that polls them.
    pub(super) fn new(driver: Arc<AtomicWaker>) -> Self {
        let woken = Arc::new(Woken { places: Mutex::default(), driver });
        Self { places: Vec::new(), running: 0, woken, turn: Vec::new() }
    }

    /// Adds a future, to be polled in the next turn. The place must be free.
    pub(super) fn start(&mut self, at: usize, future: F) {
        while self.places.len() <= at {
            self.places.push(Place::new(self.places.len(), &self.woken));
        }
        let place = &mut self.places[at];
        place.future.as_mut().set(Some(future));
        self.running += 1;
        if !place.wakes.is_woken.swap(true, AcqRel) {
            self.turn.push(at);
        }
    }

    /// Drops a future, if the place has one.
    pub(super) fn stop(&mut self, at: usize) {
        let place = self.places.get_mut(at).filter(|place| place.future.is_some());
        if let Some(place) = place {
            place.clear();
            self.running -= 1;
        }
    }

    /// Polls the futures that were woken once each, and passes on their places and outputs.
    pub(super) fn poll(&mut self, mut ended: impl FnMut(usize, thread::Result<F::Output>)) {
        self.turn.append(&mut lock(&self.woken.places));
        for at in self.turn.drain(..) {
            let Some(place) = self.places.get_mut(at) else { continue };
            if let Some(output) = place.poll() {
                self.running -= 1;
                ended(at, output);
            }
        }
        if self.running == 0 && self.places.len() > KEPT {
            self.places.truncate(KEPT);
        }
    }

    /// Returns true if some were woken since.
    pub(super) fn has_woken(&self) -> bool {
        !self.turn.is_empty() || !lock(&self.woken.places).is_empty()
    }
}

impl<F: Future> Place<F> {
    fn new(at: usize, woken: &Arc<Woken>) -> Self {
        let wakes = Arc::new(PlaceWaker { place: at, is_woken: AtomicBool::new(false), woken: woken.clone() });
        Self { future: Box::pin(None), waker: Waker::from(wakes.clone()), wakes }
    }

    /// Returns the output once. A place that was woken too late has none.
    fn poll(&mut self) -> Option<thread::Result<F::Output>> {
        // Before it is polled: a wake-up meanwhile has it polled again.
        self.wakes.is_woken.swap(false, AcqRel);
        let future = self.future.as_mut().as_pin_mut()?;
        let mut context = Context::from_waker(&self.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(&mut context)));
        let output = match polled {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(payload),
        };
        self.clear();
        Some(output)
    }

    /// Drops the future. A panic of its destructor does not end the others.
    fn clear(&mut self) {
        let dropped = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().set(None)));
        if let Err(payload) = dropped {
            std::mem::forget(payload);
            // The rest of it is never touched again.
            std::mem::forget(std::mem::replace(&mut self.future, Box::pin(None)));
        }
    }
}
