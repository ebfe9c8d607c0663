//! Callers of this process that wait for the load of one key: one of them looks at the store from time to time, and the
//! others wait until it has seen the end of the load. Each then reads by itself: no caller gets the result of another's
//! read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::util::lock;

/// The names whose loads are watched. The value is true once the watcher has seen the end of the load.
#[derive(Default)]
pub(super) struct Watches(Mutex<HashMap<Vec<u8>, watch::Receiver<bool>>>);

/// The part of a caller that waits.
pub(super) enum Part<'a> {
    /// It looks at the store.
    Watcher(Watcher<'a>),
    /// It waits for the watcher.
    Waiter(Waiter),
}

/// The right to look at a name for all who wait for it. Dropping it wakes them.
pub(super) struct Watcher<'a> {
    watches: &'a Watches,
    name: Vec<u8>,
    has_ended: watch::Sender<bool>,
}

/// Waits for the watcher of a name.
pub(super) struct Waiter(watch::Receiver<bool>);

impl Watches {
    /// Makes the caller the watcher of a name, or one that waits for it.
    pub(super) fn join(&self, name: &[u8]) -> Part<'_> {
        let mut watched = self.lock();
        if let Some(watcher) = watched.get(name) {
            return Part::Waiter(Waiter(watcher.clone()));
        }
        let (has_ended, watcher) = watch::channel(false);
        watched.insert(name.to_vec(), watcher);
        Part::Watcher(Watcher { watches: self, name: name.to_vec(), has_ended })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, watch::Receiver<bool>>> {
        lock(&self.0)
    }
}

impl Waiter {
    /// Waits until the watcher does not watch any more. Returns true if it has seen the end of the load, or false if it has
    /// no time left: another caller has to watch.
    pub(super) async fn woken(mut self) -> bool {
        while self.0.changed().await.is_ok() {}
        *self.0.borrow()
    }
}

impl Watcher<'_> {
    /// Notes that the load has ended, or that the store failed: each caller has to look.
    pub(super) fn saw_end(&self) {
        self.has_ended.send_replace(true);
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        // Before the others are woken: the first of them may become the watcher.
        self.watches.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_caller_watches_a_name_and_its_end_wakes_the_others() {
        let watches = Watches::default();
        let Part::Watcher(watcher) = watches.join(b"name") else { panic!("the first waits") };
        let waiters: Vec<Waiter> = (0..3)
            .map(|_| match watches.join(b"name") {
                Part::Waiter(waiter) => waiter,
                Part::Watcher(_) => panic!("two watchers"),
            })
            .collect();
        assert!(matches!(watches.join(b"other"), Part::Watcher(_)));
        let mut waits: Vec<_> = waiters.into_iter().map(|waiter| Box::pin(waiter.woken())).collect();
        watcher.saw_end();
        assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
        drop(watcher);
        assert!(waits.iter_mut().all(|wait| wait.now_or_never() == Some(true)));
        let Part::Watcher(next) = watches.join(b"name") else { panic!("the next one waits") };
        let Part::Waiter(waiter) = watches.join(b"name") else { panic!("two watchers") };
        drop(next);
        assert_eq!(waiter.woken().now_or_never(), Some(false), "it left before the end");
        assert!(watches.lock().is_empty());
    }
}
