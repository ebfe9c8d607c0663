//! What a backend misses while another serves in its place: which keys changed, what was invalidated.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result};

/// Beyond so many names, or bytes of them, the backend is emptied instead: it may lose entries, never revive one.
pub(super) const MOST: usize = 200_000;
const MOST_BYTES: usize = 32 << 20;

/// Something that changed.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// These keys, each in any way.
    Keys(&'a [&'a [u8]]),
    /// Entries with one of these tags were invalidated.
    Tags(&'a [&'a [u8]]),
    /// The same, by the hashes of the tags.
    Hashes(&'a [u64]),
    /// Keys that match one of these globs were.
    Patterns(&'a [&'a [u8]]),
    /// All were.
    Flush,
}

/// What is to be made up for, in this order.
#[derive(Debug, Default)]
pub struct Missed {
    pub flush: bool,
    pub patterns: BTreeSet<Vec<u8>>,
    pub tags: BTreeSet<Vec<u8>>,
    pub hashes: BTreeSet<u64>,
    /// Whatever they hold now.
    pub keys: BTreeSet<Vec<u8>>,
    bytes: usize,
}

/// Whether changes are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Noting,
    /// The last is being made up for; who changes something waits for the outcome.
    Ending,
    /// The backend serves again.
    Ended,
}

/// A list of changes that one backend misses.
pub struct Journal {
    missed: Mutex<Missed>,
    /// Changed under the lock.
    stage: watch::Sender<Stage>,
    /// Whether the backend can be emptied.
    can_flush: bool,
}

impl Journal {
    pub fn new(can_flush: bool) -> Self {
        Self { missed: Mutex::default(), stage: watch::Sender::new(Stage::Noting), can_flush }
    }

    /// Notes a change that was made; false if the backend serves again and has to be told itself.
    pub async fn note(&self, change: Change<'_>) -> Result<bool> {
        let mut stage = self.stage.subscribe();
        loop {
            {
                let mut missed = self.lock();
                match *self.stage.borrow() {
                    Stage::Noting => return missed.add(change, self.can_flush).map(|()| true),
                    Stage::Ended => return Ok(false),
                    Stage::Ending => drop(stage.borrow_and_update()),
                }
            }
            // The sender lives as long as this.
            let _ = stage.changed().await;
        }
    }

    /// What was missed so far; from now on it is somebody else's to make up for.
    pub fn take(&self) -> Missed {
        mem::take(&mut self.lock())
    }

    /// The same, and nothing more is noted until `end` or `go_on`.
    pub fn take_last(&self) -> Missed {
        let mut missed = self.lock();
        self.stage.send_replace(Stage::Ending);
        mem::take(&mut missed)
    }

    /// The backend has all and serves from now on; `then` runs before anybody hears of it.
    pub fn end(&self, then: impl FnOnce()) {
        let _missed = self.lock();
        then();
        self.stage.send_replace(Stage::Ended);
    }

    /// It could not be made up for: it is still to be, with what comes now.
    pub fn go_on(&self, still: Missed) {
        let mut missed = self.lock();
        missed.join(still);
        self.stage.send_replace(Stage::Noting);
    }

    /// How many names are noted.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Missed> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Missed {
    pub fn len(&self) -> usize {
        self.patterns.len() + self.tags.len() + self.hashes.len() + self.keys.len()
    }

    fn add(&mut self, change: Change, can_flush: bool) -> Result<()> {
        match change {
            Change::Keys(keys) => keys.iter().for_each(|key| put(&mut self.keys, &mut self.bytes, key)),
            Change::Tags(tags) => tags.iter().for_each(|tag| put(&mut self.tags, &mut self.bytes, tag)),
            Change::Hashes(tags) => self.hashes.extend(tags),
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
            // What is noted stays, also what is refused here: too much is forgotten then, never too little.
            (false, false) => Err(Error::new(
                ErrorKind::Busy,
                "more has changed than can be noted for the server that is away, and it cannot be emptied: wait for it",
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

fn put(names: &mut BTreeSet<Vec<u8>>, bytes: &mut usize, name: &[u8]) {
    if !names.contains(name) {
        names.insert(name.to_vec());
        *bytes += name.len();
    }
}
