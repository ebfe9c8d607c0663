//! The part that a queue and its driver share: the state, and the notification of threads that wait for its changes.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{self, Waker};
use std::time::Instant;

use futures_util::task::AtomicWaker;

use super::owned::InFlight;
use super::state::{Command, Stage, State};
use super::{Completion, Wake};
use crate::error::{Error, Result};
use crate::util::wakeup::Wakeup;
use crate::util::{lock, unpoisoned};

pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Wakes the driver.
    pub(super) waker: Arc<AtomicWaker>,
    /// The same, for an operation that its submitter began.
    pub(super) driver: Waker,
    pub(super) in_flight: Arc<InFlight>,
}

struct Inner {
    state: State,
    /// Created on demand: a program without an event loop pays no system call.
    event: Option<Wakeup>,
    wake: Option<Wake>,
    /// True if the host is to be woken.
    wake_due: bool,
}

impl Inner {
    /// Reports a change from empty to not empty, or back, to the event loop and the host.
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

struct WakesDriver(Arc<AtomicWaker>);

impl task::Wake for WakesDriver {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

impl Shared {
    pub(super) fn new(capacity: usize) -> Self {
        let inner = Inner { state: State::new(capacity), event: None, wake: None, wake_due: false };
        let waker = Arc::<AtomicWaker>::default();
        let driver = Waker::from(Arc::new(WakesDriver(waker.clone())));
        Self { inner: Mutex::new(inner), changed: Condvar::new(), waker, driver, in_flight: Arc::default() }
    }

    /// Changes the state. All changes are made here, with their consequences.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut inner = lock(&self.inner);
        let before = inner.state.ready();
        let answer = change(&mut inner.state);
        inner.tell(before);
        let closing = !matches!(inner.state.stage, Stage::Open);
        let watched = inner.state.watchers > 0 && (closing || inner.state.ready() > before);
        let driver = inner.wake_due || inner.state.has_commands() || closing;
        drop(inner);
        if watched {
            self.changed.notify_all();
        }
        if driver {
            self.waker.wake();
        }
        answer
    }

    /// Waits until the state satisfies a condition. Returns false if the deadline passes first; `None` is no deadline.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, wanted: impl Fn(&State) -> bool) -> bool {
        let mut inner = lock(&self.inner);
        inner.state.watchers += 1;
        while !wanted(&inner.state) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            inner = match left {
                Some(left) => unpoisoned(self.changed.wait_timeout(inner, left)).0,
                None => unpoisoned(self.changed.wait(inner)),
            };
        }
        inner.state.watchers -= 1;
        wanted(&inner.state)
    }

    /// Takes the commands for the driver, and returns the host's function if the host is to be woken.
    pub(super) fn take_commands(&self, commands: &mut Vec<Command>) -> Option<Wake> {
        let mut inner = lock(&self.inner);
        inner.state.take_commands(commands);
        mem::take(&mut inner.wake_due).then(|| inner.wake.clone()).flatten()
    }

    /// Returns true if the driver has nothing to do and never will.
    pub(super) fn is_finished(&self) -> bool {
        let inner = lock(&self.inner);
        let abandoned = matches!(inner.state.stage, Stage::Abandoned);
        abandoned || (inner.state.is_over() && !inner.state.has_commands() && !inner.wake_due)
    }

    /// Returns the file descriptor, which is created on the first call.
    pub(super) fn fd(&self) -> Result<i32> {
        let mut inner = lock(&self.inner);
        if inner.event.is_none() {
            let event = Wakeup::new("the queue")?;
            if inner.state.ready() > 0 {
                event.raise();
            }
            inner.event = Some(event);
        }
        Ok(inner.event.as_ref().map_or(-1, Wakeup::fd))
    }

    /// Sets the function that wakes the host.
    pub(super) fn wake_by(&self, wake: Wake) {
        lock(&self.inner).wake = Some(wake);
    }

    /// Removes the function that wakes the host.
    pub(super) fn forget_wake(&self) {
        let wake = lock(&self.inner).wake.take();
        // Its finaliser may call the library.
        drop(wake);
    }

    /// Completes operations in flight with a reason after the driver has ended unexpectedly.
    pub(super) fn driver_ended(&self, reason: &Error) {
        let mut stale = Vec::new();
        self.change(|state| {
            state.cancel_all(reason);
            state.take_commands(&mut stale);
            state.driven = false;
        });
    }

    /// Drops all operations, ends the driver, and returns the completions.
    pub(super) fn abandon(&self) -> VecDeque<Completion> {
        let mut inner = lock(&self.inner);
        let (completions, flights, commands) = inner.state.abandon();
        let dropped = (flights, commands, inner.event.take(), inner.wake.take());
        drop(inner);
        drop(dropped);
        self.changed.notify_all();
        self.waker.wake();
        completions
    }
}
