//! What a queue and its driver share: the state, and telling those who wait for a change of it.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::task::AtomicWaker;

use super::Wake;
use super::budget::Budget;
use super::event::Event;
use super::state::{Order, Stage, State};
use crate::error::{Error, Result};

pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Wakes the driver.
    pub(super) bell: Arc<AtomicWaker>,
    pub(super) budget: Arc<Budget>,
}

struct Inner {
    state: State,
    /// Made when it is asked for: who has no event loop pays no system call.
    event: Option<Event>,
    wake: Option<Wake>,
    /// Whether the host is to be woken.
    wake_due: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Tells the event loop and the host what a change from empty to filled, or back, means to them.
    fn tell(&mut self, before: usize) {
        let filled = self.state.ready() > 0;
        if filled == (before > 0) {
            return;
        }
        self.wake_due |= filled && self.wake.is_some();
        match &self.event {
            Some(event) if filled => event.raise(),
            Some(event) => event.lower(),
            None => {}
        }
    }
}

impl Shared {
    pub(super) fn new(capacity: usize) -> Self {
        let inner = Inner { state: State::new(capacity), event: None, wake: None, wake_due: false };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), bell: Arc::default(), budget: Arc::default() }
    }

    /// Changes the state. All changes go through here, and what follows from one is done here.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut inner = lock(&self.inner);
        let before = inner.state.ready();
        let answer = change(&mut inner.state);
        inner.tell(before);
        let closing = !matches!(inner.state.stage, Stage::Open);
        let watched = inner.state.watchers > 0 && (closing || inner.state.ready() > before);
        let driver = inner.wake_due || inner.state.has_orders() || closing;
        drop(inner);
        if watched {
            self.changed.notify_all();
        }
        if driver {
            self.bell.wake();
        }
        answer
    }

    /// Waits until the state is as wanted; whether it is by the deadline, which is never for `None`.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, wanted: impl Fn(&State) -> bool) -> bool {
        let mut inner = lock(&self.inner);
        inner.state.watchers += 1;
        while !wanted(&inner.state) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            inner = match left {
                Some(left) => self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
        inner.state.watchers -= 1;
        wanted(&inner.state)
    }

    /// What the driver has to do, and the host's function if it is to be woken.
    pub(super) fn take_orders(&self, orders: &mut Vec<Order>) -> Option<Wake> {
        let mut inner = lock(&self.inner);
        inner.state.take_orders(orders);
        mem::take(&mut inner.wake_due).then(|| inner.wake.clone()).flatten()
    }

    /// Whether the driver has nothing to do and never will.
    pub(super) fn is_finished(&self) -> bool {
        let inner = lock(&self.inner);
        let abandoned = matches!(inner.state.stage, Stage::Abandoned);
        abandoned || (inner.state.is_over() && !inner.state.has_orders() && !inner.wake_due)
    }

    /// The file descriptor, made now if it was not.
    pub(super) fn fd(&self) -> Result<i32> {
        let mut inner = lock(&self.inner);
        if inner.event.is_none() {
            let event = Event::new()?;
            if inner.state.ready() > 0 {
                event.raise();
            }
            inner.event = Some(event);
        }
        Ok(inner.event.as_ref().map_or(-1, Event::fd))
    }

    /// Wakes the host from now on.
    pub(super) fn wake_by(&self, wake: Wake) {
        lock(&self.inner).wake = Some(wake);
    }

    /// Wakes the host no more.
    pub(super) fn forget_wake(&self) {
        let wake = lock(&self.inner).wake.take();
        // Its finaliser may call the library.
        drop(wake);
    }

    /// The driver has ended, for this reason if it was not asked to: nothing would come of what is in flight.
    pub(super) fn driver_ended(&self, reason: &Error) {
        let mut stale = Vec::new();
        self.change(|state| {
            state.cancel_all(reason);
            state.take_orders(&mut stale);
            state.driven = false;
        });
    }

    /// Nobody looks any more: drops all it holds and ends the driver.
    pub(super) fn abandon(&self) {
        let mut inner = lock(&self.inner);
        let dropped = (inner.state.abandon(), inner.event.take(), inner.wake.take());
        drop(inner);
        drop(dropped);
        self.changed.notify_all();
        self.bell.wake();
    }
}
