//! The recent removals of this process: tags that it invalidated, names that it deleted. They are replayed on a server
//! that lost its latest writes (see `replay`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lru::LruCache;
use tokio::sync::watch;

use super::names;
use crate::backend::remote::{EncodedEntry, PREFIX_TAG};
use crate::util::lock;

/// Beyond so many notes, or bytes of them, the whole prefix is emptied instead: that may lose entries, never revive one.
const MOST: usize = 200_000;
const MOST_BYTES: usize = 32 << 20;

/// Something that was removed.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Removed {
    /// Entries with the tag of this hash.
    Tag(u64),
    /// The entry of this name.
    Name(Box<[u8]>),
}

#[derive(Clone, Copy)]
struct Note {
    at: Instant,
    /// A tag: the version that it got. A name: the checksum of the entry that this process set afterwards, if it did.
    mark: Option<u64>,
}

struct Notes {
    /// The oldest is the least recently used.
    removed: LruCache<Removed, Note>,
    bytes: usize,
    /// The time at which records were dropped because there were too many.
    given_up: Option<Instant>,
}

/// The removals to replay.
#[derive(Default)]
pub(super) struct Snapshot {
    /// True if the whole prefix has to be emptied.
    pub all: bool,
    /// Tags, and the versions that they got. The whole prefix comes first: see `Remote::replace_tag_versions`.
    pub tags: Vec<(u64, u64)>,
    /// Names, each with the checksum of the entry that this process set afterwards.
    pub names: Vec<(Box<[u8]>, Option<u64>)>,
}

impl Snapshot {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.tags.is_empty() && self.names.is_empty()
    }
}

/// The notes of the last `replay_window`, bounded.
pub struct Record {
    /// The time that a note is kept; `None`: nothing is noted.
    kept: Option<Duration>,
    most: usize,
    notes: Mutex<Notes>,
    has_names: AtomicBool,
    /// The number of times that a server was replaced or restarted.
    changes: AtomicU64,
    /// True, and notified each time, once removals were repeated on a server that took the place of another.
    repeated: watch::Sender<bool>,
}

impl Record {
    /// A record of a window; what is removed within a call's time limit may take effect that much later.
    pub fn new(window: Duration, limit: Duration) -> Self {
        Self::with_bound(window, limit, MOST)
    }

    fn with_bound(window: Duration, limit: Duration, most: usize) -> Self {
        // `unbounded`: the bound is kept here, since what it drops must not be forgotten.
        let notes = Notes { removed: LruCache::unbounded(), bytes: 0, given_up: None };
        Self {
            kept: (!window.is_zero()).then(|| window.saturating_add(limit)),
            most,
            notes: Mutex::new(notes),
            has_names: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            repeated: watch::Sender::new(false),
        }
    }

    /// Notes that a tag gets this version; before it is sent.
    pub fn note_tag(&self, tag: u64, version: u64) {
        self.note([(Removed::Tag(tag), Some(version))].into_iter());
    }

    /// Notes that names are removed. A set that was stored during the removal may lie before it or behind it; its entry
    /// counts as removed.
    pub fn note_names(&self, names: &[&[u8]]) {
        if self.kept.is_some() {
            // Other names that are removed with entries, such as the version of a tag, revive nothing.
            self.note(
                names.iter().filter(|name| names::is_entry(name)).map(|name| (Removed::Name((*name).into()), None)),
            );
        }
    }

    /// Notes that an entry was stored, so that it is not removed again with what was there before.
    pub fn saw_set(&self, entry: &EncodedEntry) {
        self.saw_mark(&entry.name, || entry.bytes.last_chunk().map(|bytes| u64::from_le_bytes(*bytes)));
    }

    /// Notes that bytes were stored under a name that end with this number.
    pub fn saw_counter(&self, name: &[u8], nonce: u64) {
        self.saw_mark(name, || Some(nonce));
    }

    fn saw_mark(&self, name: &[u8], mark: impl FnOnce() -> Option<u64>) {
        if !self.has_names.load(Relaxed) {
            return;
        }
        if let Some(note) = self.lock().removed.peek_mut(&Removed::Name(name.into())) {
            note.mark = mark();
        }
    }

    /// Returns the removals to replay on a server that may have lost them.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut notes = self.lock();
        self.forget_old(&mut notes);
        let mut snapshot = Snapshot { all: notes.given_up.is_some(), ..Snapshot::default() };
        for (removed, note) in &notes.removed {
            match removed {
                Removed::Tag(tag) => snapshot.tags.push((*tag, note.mark.unwrap_or_default())),
                Removed::Name(name) => snapshot.names.push((name.clone(), note.mark)),
            }
        }
        snapshot.tags.sort_by_key(|(tag, _)| *tag != PREFIX_TAG);
        snapshot
    }

    /// Returns whether nothing would be replayed.
    pub(super) fn is_empty(&self) -> bool {
        let mut notes = self.lock();
        self.forget_old(&mut notes);
        notes.removed.is_empty() && notes.given_up.is_none()
    }

    /// A tag has another version now, unless it got one since.
    pub(super) fn renew_tag(&self, tag: u64, from: u64, to: u64) {
        if let Some(note) = self.lock().removed.peek_mut(&Removed::Tag(tag)).filter(|note| note.mark == Some(from)) {
            note.mark = Some(to);
        }
    }

    /// Notes that a server is another than before.
    pub(super) fn server_changed(&self) {
        self.changes.fetch_add(1, Relaxed);
    }

    /// Notes that removals were repeated on a server that took the place of another.
    pub(super) fn was_repeated(&self) {
        self.repeated.send_replace(true);
    }

    /// Returns true after that.
    pub fn has_repeated(&self) -> bool {
        *self.repeated.borrow()
    }

    /// Returns what is notified of that.
    pub fn repeated(&self) -> watch::Receiver<bool> {
        self.repeated.subscribe()
    }

    /// Returns the number of times that a server was replaced or restarted. What was known of its data before may be
    /// wrong.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    fn note(&self, removed: impl Iterator<Item = (Removed, Option<u64>)>) {
        if self.kept.is_none() {
            return;
        }
        let (mut notes, at) = (self.lock(), Instant::now());
        self.forget_old(&mut notes);
        for (removed, mark) in removed {
            notes.bytes += removed.len();
            if let Some((before, _)) = notes.removed.push(removed, Note { at, mark }) {
                notes.bytes -= before.len();
            }
        }
        if notes.removed.len() > self.most || notes.bytes > MOST_BYTES {
            notes.removed.clear();
            (notes.bytes, notes.given_up) = (0, Some(at));
        }
        self.has_names.store(!notes.removed.is_empty(), Relaxed);
    }

    fn forget_old(&self, notes: &mut Notes) {
        let is_over = |at: Instant| self.kept.is_none_or(|kept| at.elapsed() > kept);
        while notes.removed.peek_lru().is_some_and(|(_, note)| is_over(note.at)) {
            let bytes = notes.removed.pop_lru().map_or(0, |(removed, _)| removed.len());
            notes.bytes -= bytes;
        }
        notes.given_up = notes.given_up.filter(|at| !is_over(*at));
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }
}

impl Removed {
    fn len(&self) -> usize {
        match self {
            Self::Tag(_) => 8,
            Self::Name(name) => name.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::remote::Condition;

    fn record(most: usize) -> Record {
        Record::with_bound(Duration::from_secs(60), Duration::ZERO, most)
    }

    fn entry(name: &[u8], checksum: u64) -> EncodedEntry {
        let bytes = [&b"entry"[..], &checksum.to_le_bytes()].concat();
        EncodedEntry {
            name: name.to_vec(),
            bytes,
            ttl: None,
            generation: None,
            tags: Vec::new(),
            condition: Condition::Always,
            keeps_expiry: false,
            moves_ms: 0,
            lasting: Vec::new(),
        }
    }

    fn names(record: &Record) -> Vec<(Vec<u8>, Option<u64>)> {
        let mut names: Vec<_> = record.snapshot().names.into_iter().map(|(name, mark)| (name.to_vec(), mark)).collect();
        names.sort();
        names
    }

    #[test]
    fn the_last_version_of_a_tag_and_what_was_set_again_are_known() {
        let record = record(10);
        record.note_tag(1, 5);
        record.note_tag(1, 6);
        record.saw_set(&entry(b"p:e:a", 7));
        record.note_names(&[b"p:e:a", b"p:e:b", b"p:t:0000000000000001"]);
        record.saw_set(&entry(b"p:e:a", 8));
        record.saw_set(&entry(b"p:e:c", 9));
        assert_eq!(record.snapshot().tags, [(1, 6)]);
        assert_eq!(names(&record), [(b"p:e:a".to_vec(), Some(8)), (b"p:e:b".to_vec(), None)]);
        record.note_names(&[b"p:e:a"]);
        assert_eq!(names(&record)[0], (b"p:e:a".to_vec(), None));
        record.renew_tag(1, 5, 10);
        record.renew_tag(1, 6, 11);
        assert_eq!(record.snapshot().tags, [(1, 11)]);
    }

    #[test]
    fn the_version_of_the_prefix_is_replayed_before_those_of_tags() {
        let record = record(10);
        for (tag, version) in [(1, 5), (u64::MAX, 7)] {
            record.note_tag(PREFIX_TAG, version);
            record.note_tag(tag, version);
        }
        assert_eq!(record.snapshot().tags, [(PREFIX_TAG, 7), (u64::MAX, 7), (1, 5)]);
    }

    #[test]
    fn too_many_notes_become_one_that_covers_all() {
        let record = record(2);
        record.note_names(&[b"p:e:a", b"p:e:b"]);
        assert!(!record.snapshot().all);
        record.note_tag(1, 5);
        assert!(!record.is_empty());
        assert!(record.snapshot().all && record.snapshot().names.is_empty());
        record.note_names(&[b"p:e:c"]);
        assert!(record.snapshot().all && record.snapshot().names.len() == 1);
    }

    #[test]
    fn notes_are_kept_for_the_window() {
        let record = Record::with_bound(Duration::from_millis(30), Duration::ZERO, 10);
        record.note_names(&[b"p:e:a"]);
        std::thread::sleep(Duration::from_millis(60));
        assert!(record.is_empty());
        assert!(record.snapshot().is_empty());
        let off = Record::new(Duration::ZERO, Duration::from_secs(5));
        off.note_names(&[b"p:e:a"]);
        off.note_tag(1, 2);
        assert!(off.snapshot().is_empty());
    }
}
