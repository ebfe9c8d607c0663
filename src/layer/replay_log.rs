//! The changes that a backend misses while another serves in its place.

use std::mem;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};
use crate::operation::Change;
use crate::util::lock;
use crate::util::ordered::OrderedSet;

/// Largest number of names, and of their bytes. Beyond it the backend is emptied: it may lose entries, but never
/// revives one.
pub(super) const MOST: usize = 200_000;
const MOST_BYTES: usize = 32 << 20;

/// The names of recorded changes, in the order in which they are replayed: of each kind, the last change comes last.
#[derive(Debug, Default)]
pub struct Names {
    pub flush: bool,
    pub patterns: OrderedSet<Vec<u8>>,
    pub tags: OrderedSet<Vec<u8>>,
    pub hashes: OrderedSet<u64>,
    /// Keys that changed in any way.
    pub keys: OrderedSet<Vec<u8>>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Changes are recorded.
    Recording,
    /// The last changes are replayed; a caller that changes something waits for the outcome.
    Ending,
    /// The backend serves again.
    Ended,
}

/// The changes that one backend misses.
pub struct ReplayLog {
    pending: Mutex<Names>,
    /// Changes under the lock.
    stage: watch::Sender<Stage>,
    /// The number of changes that are being made and must not be made twice. Changes under the lock.
    turns: watch::Sender<usize>,
    /// True if the backend can be emptied.
    can_flush: bool,
}

impl ReplayLog {
    pub fn new(can_flush: bool) -> Self {
        Self {
            pending: Mutex::default(),
            stage: watch::Sender::new(Stage::Recording),
            turns: watch::Sender::new(0),
            can_flush,
        }
    }

    /// Records a change that was made. Returns false if the backend serves again: the change has to be made there.
    pub async fn record(&self, change: &Change<'_>) -> Result<bool> {
        let mut stage = self.stage.subscribe();
        loop {
            {
                let mut pending = self.lock();
                match *self.stage.borrow() {
                    Stage::Recording => return pending.add(change, self.can_flush).map(|()| true),
                    Stage::Ended => return Ok(false),
                    Stage::Ending => drop(stage.borrow_and_update()),
                }
            }
            // The sender lives as long as this.
            let _ = stage.changed().await;
        }
    }

    /// Begins a change that must not be made twice. `None`: the backend serves again, and the change has to be made
    /// there. The last changes are taken after the end of those that have begun.
    pub async fn begin<'a, 'c>(&'a self, change: &'a Change<'c>) -> Option<Turn<'a, 'c>> {
        let mut stage = self.stage.subscribe();
        loop {
            {
                let _pending = self.lock();
                match *self.stage.borrow() {
                    Stage::Recording => {
                        self.turns.send_modify(|turns| *turns += 1);
                        return Some(Turn { log: self, change, is_over: false });
                    }
                    Stage::Ended => return None,
                    Stage::Ending => drop(stage.borrow_and_update()),
                }
            }
            // The sender lives as long as this.
            let _ = stage.changed().await;
        }
    }

    /// Takes the changes that were recorded so far: the caller replays them.
    pub fn take(&self) -> Names {
        mem::take(&mut self.lock())
    }

    /// Takes the last changes: nothing more is recorded until `end` or `resume`.
    pub async fn take_last(&self) -> Names {
        {
            let _pending = self.lock();
            self.stage.send_replace(Stage::Ending);
        }
        // The sender lives as long as this.
        let _ = self.turns.subscribe().wait_for(|turns| *turns == 0).await;
        mem::take(&mut self.lock())
    }

    /// Ends the log: the backend has all changes and serves from now on. `then` runs before any waiting caller
    /// continues.
    pub fn end(&self, then: impl FnOnce()) {
        let _pending = self.lock();
        then();
        self.stage.send_replace(Stage::Ended);
    }

    /// Gives back changes that could not be replayed, and records more.
    pub fn resume(&self, names: Names) {
        let mut pending = self.lock();
        pending.join(names);
        self.stage.send_replace(Stage::Recording);
    }

    /// Returns the number of recorded names.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        lock(&self.pending)
    }
}

/// A change that is being made and must not be made twice. Its record ends it.
pub struct Turn<'a, 'c> {
    log: &'a ReplayLog,
    change: &'a Change<'c>,
    is_over: bool,
}

impl Turn<'_, '_> {
    /// Records the change, which was made or may have been.
    pub fn end(mut self) -> Result<()> {
        self.record()
    }

    fn record(&mut self) -> Result<()> {
        self.is_over = true;
        let mut pending = self.log.lock();
        let added = pending.add(self.change, self.log.can_flush);
        self.log.turns.send_modify(|turns| *turns -= 1);
        added
    }
}

impl Drop for Turn<'_, '_> {
    /// Records the change of a caller that was cancelled.
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.record();
        }
    }
}

impl Names {
    pub fn len(&self) -> usize {
        self.patterns.len() + self.tags.len() + self.hashes.len() + self.keys.len()
    }

    fn add(&mut self, change: &Change<'_>, can_flush: bool) -> Result<()> {
        match change {
            Change::Keys(keys) => keys.iter().for_each(|key| put(&mut self.keys, &mut self.bytes, key)),
            Change::Tags(tags) => tags.iter().for_each(|tag| put(&mut self.tags, &mut self.bytes, tag)),
            Change::Hashes(tags) => self.hashes.extend(tags.iter().copied()),
            Change::Patterns(patterns) => patterns.iter().for_each(|it| put(&mut self.patterns, &mut self.bytes, it)),
            Change::Flush => *self = Self { flush: true, ..Self::default() },
        }
        self.keep_bounds(can_flush)
    }

    fn keep_bounds(&mut self, can_flush: bool) -> Result<()> {
        let fits = self.len() <= MOST && self.bytes <= MOST_BYTES;
        match (fits, can_flush) {
            (true, _) => Ok(()),
            (false, true) => {
                *self = Self { flush: true, ..Self::default() };
                Ok(())
            }
            // The names stay recorded, also those that are refused here: the replay then removes too much, never too
            // little.
            (false, false) => Err(Error::new(
                ErrorKind::Busy,
                "more entries have changed than can be recorded for the server that is down, and it cannot be flushed: wait until it is back",
            )),
        }
    }

    fn join(&mut self, other: Self) {
        if self.flush {
            return;
        }
        self.flush = other.flush;
        self.bytes += other.bytes;
        self.patterns.extend(other.patterns);
        self.tags.extend(other.tags);
        self.hashes.extend(other.hashes);
        self.keys.extend(other.keys);
    }
}

fn put(names: &mut OrderedSet<Vec<u8>>, bytes: &mut usize, name: &[u8]) {
    if !names.renew(name) {
        names.insert(name.to_vec());
        *bytes += name.len();
    }
}
