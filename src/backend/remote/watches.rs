//! Callers of this process that wait for the load of one key: one of them looks at the store from time to time, and the
//! others wait for what it sees.
//!
//! A caller takes the value of a look that began after it had begun to wait, as if it had looked itself then. A look that
//! began earlier may be older than an invalidation that the caller knows of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

use crate::util::lock;
use crate::value::Value;

/// The keys whose loads are watched.
#[derive(Default)]
pub struct Watches(Mutex<HashMap<Vec<u8>, Watched>>);

struct Watched {
    /// Notified when the entry of the key has changed.
    changed: Arc<Notify>,
    /// The number of looks that have begun.
    looks: Arc<AtomicU64>,
    seen: watch::Receiver<Seen>,
}

/// The state of a load, as the watcher has seen it.
enum Seen {
    NotYet,
    /// The load has ended, or the store failed.
    End,
    /// The load has ended with this value, in the look of this number.
    Value(Value, u64),
}

/// The part of a caller that waits.
pub(super) enum Part<'a> {
    /// It looks at the store.
    Watcher(Watcher<'a>),
    /// It waits for the watcher.
    Waiter(Waiter),
}

/// The right to look at a key for all who wait for it. Dropping it wakes them.
pub(super) struct Watcher<'a> {
    watches: &'a Watches,
    changed: Arc<Notify>,
    key: Vec<u8>,
    looks: Arc<AtomicU64>,
    seen: watch::Sender<Seen>,
}

/// Waits for the watcher of a key.
pub(super) struct Waiter {
    /// The number of looks that began before.
    looks: u64,
    seen: watch::Receiver<Seen>,
}

/// The task of a waiter that was woken.
pub(super) enum Woken {
    /// Return this value.
    Value(Value),
    /// Look by itself.
    Look,
    /// Watch: the watcher has no time left.
    Watch,
}

impl Watches {
    /// Makes the caller the watcher of a key, or one that waits for it.
    pub(super) fn join(&self, key: &[u8]) -> Part<'_> {
        let mut watched = self.lock();
        if let Some(Watched { looks, seen, .. }) = watched.get(key) {
            return Part::Waiter(Waiter { looks: looks.load(SeqCst), seen: seen.clone() });
        }
        let (looks, changed, (sender, seen)) = (Arc::default(), Arc::default(), watch::channel(Seen::NotYet));
        watched.insert(key.to_vec(), Watched { changed: Arc::clone(&changed), looks: Arc::clone(&looks), seen });
        Part::Watcher(Watcher { watches: self, changed, key: key.to_vec(), looks, seen: sender })
    }

    /// Has the watcher of a key look at once: its entry has changed.
    pub fn wake(&self, key: &[u8]) {
        if let Some(watched) = self.lock().get(key) {
            watched.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Watched>> {
        lock(&self.0)
    }
}

impl Waiter {
    /// Waits until the watcher has seen the end of the load or does not watch any more.
    pub(super) async fn woken(mut self) -> Woken {
        match self.seen.wait_for(|seen| !matches!(seen, Seen::NotYet)).await.as_deref() {
            Ok(Seen::Value(value, look)) if *look > self.looks => Woken::Value(value.clone()),
            Ok(_) => Woken::Look,
            Err(_) => Woken::Watch,
        }
    }
}

impl Watcher<'_> {
    /// Waits until the entry of the key has changed, where the store tells of that.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes that a look is about to begin.
    pub(super) fn begin_look(&self) {
        self.looks.fetch_add(1, SeqCst);
    }

    /// Notes that the last look has seen the end of the load, perhaps with a value, or that the store failed.
    pub(super) fn saw_end(&self, value: Option<Value>) {
        let look = self.looks.load(SeqCst);
        self.seen.send_replace(value.map_or(Seen::End, |value| Seen::Value(value, look)));
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        // Before the others are woken: the first of them may become the watcher.
        self.watches.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn join(watches: &Watches) -> (Option<Watcher<'_>>, Option<Waiter>) {
        match watches.join(b"name") {
            Part::Watcher(watcher) => (Some(watcher), None),
            Part::Waiter(waiter) => (None, Some(waiter)),
        }
    }

    #[test]
    fn one_caller_watches_a_name_and_wakes_those_that_wait() {
        let watches = Watches::default();
        let watcher = join(&watches).0.unwrap();
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(join(&watches).1.unwrap().woken())).collect();
        assert!(matches!(watches.join(b"other"), Part::Watcher(_)));
        assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
        watcher.begin_look();
        watcher.saw_end(None);
        assert!(waits.iter_mut().all(|wait| matches!(wait.now_or_never(), Some(Woken::Look))));
        drop(watcher);
        let next = join(&watches).0.expect("the next one watches");
        let waiter = join(&watches).1.unwrap();
        drop(next);
        assert!(matches!(waiter.woken().now_or_never(), Some(Woken::Watch)), "it left before the end");
        assert!(watches.lock().is_empty());
    }

    #[test]
    fn a_caller_takes_the_value_of_a_look_that_began_after_its_wait() {
        let watches = Watches::default();
        let watcher = join(&watches).0.unwrap();
        watcher.begin_look();
        let early = join(&watches).1.unwrap();
        watcher.begin_look();
        let late = join(&watches).1.unwrap();
        watcher.saw_end(Some(Value::from(&b"v"[..])));
        let Some(Woken::Value(value)) = early.woken().now_or_never() else { panic!("no value") };
        assert_eq!(value.as_bytes(), b"v");
        assert!(matches!(late.woken().now_or_never(), Some(Woken::Look)), "the look may be older than its call");
    }
}
