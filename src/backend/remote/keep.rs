//! Reads entries with what a caller needs to keep copies of them.

use std::time::Duration;

use super::conditional::Asked;
use super::entries::Found;
use super::fresh::{Checked, fresh_of};
use super::tags::{TagVersions, pair};
use super::trailer::Trailer;
use super::{Mark, Remote, Store, TimedEntry, only};
use crate::backend::OpFuture;
use crate::entry::{self, Entry, TagVersion};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::operation::Change;
use crate::value::Value;

/// An entry that a get would return.
pub struct Keepable {
    /// The user's value.
    pub value: Value,
    /// The hashes of its tags.
    pub tags: Vec<u64>,
    /// The life that a copy of it may have: `None`, none at all; `Some(None)`, one without an end.
    pub left: Option<Option<Duration>>,
    /// The duration of its load; zero if it is not known.
    pub load_time: Duration,
    /// The number by which `are_unchanged` knows it; `None` if it has to be read again.
    pub number: Option<u64>,
}

/// An entry that was read before.
pub struct Known<'a> {
    /// The user's key.
    pub key: &'a [u8],
    /// The number of the entry.
    pub number: u64,
    /// The hashes of its tags.
    pub tags: &'a [u64],
}

impl<S: Store> Remote<S> {
    /// Reads an entry. The read is not counted.
    pub fn to_keep<'a>(&'a self, context: CallContext, key: &'a [u8]) -> OpFuture<'a, Option<Keepable>> {
        self.call(context, |context| self.read_to_keep(context, key))
    }

    /// Reads the entries of many keys.
    pub fn many_to_keep<'a>(
        &'a self,
        context: CallContext,
        keys: &'a [&'a [u8]],
    ) -> OpFuture<'a, Vec<Result<Option<Keepable>>>> {
        self.call(context, |context| async move { Ok(self.read_many_to_keep(context, keys).await) })
    }

    /// Returns for each entry whether it is still what a get returns, without reading the entry.
    pub fn are_unchanged<'a>(
        &'a self,
        context: CallContext,
        known: &'a [Known<'a>],
    ) -> OpFuture<'a, Vec<Result<bool>>> {
        self.call(context, |context| async move { Ok(self.compare(context, known).await) })
    }

    async fn compare(&self, context: CallContext, known: &[Known<'_>]) -> Vec<Result<bool>> {
        let names = self.names(known.iter().map(|known| known.key));
        let names: Vec<&[u8]> = names.iter().collect();
        let mut tags: Vec<u64> = known.iter().flat_map(|known| known.tags).copied().collect();
        tags.sort_unstable();
        tags.dedup();
        let (marks, versions) = self.store.read_marks(context, &self.prefix, &names, &tags).await;
        // After the reply: a server that has restarted meanwhile was connected to before it answered.
        let connects = self.store.connects();
        let version = |tag: &u64| tags.binary_search(tag).ok().and_then(|at| versions.get(at).copied().flatten());
        let is_unchanged = |(known, mark): (&Known<'_>, Result<Option<Mark>>)| {
            let Some(mark) = mark? else { return Ok(false) };
            let versions = known.tags.iter().map(|tag| Some(TagVersion { tag: *tag, version: version(tag)? }));
            // A version that is missing, or could not be read, says nothing: the entry is read.
            Ok(versions.collect::<Option<Vec<_>>>().is_some_and(|tags| number_of(mark, connects, tags) == known.number))
        };
        known.iter().zip(marks).map(is_unchanged).collect()
    }

    /// Counts reads that found their key, and others.
    pub fn count_reads(&self, hits: u64, misses: u64) {
        self.counting.reads(hits, misses);
    }

    /// Tells the near caches of other processes of a change that was made, where the servers do not.
    pub fn tell(&self, context: CallContext, change: &Change<'_>) -> impl Future<Output = ()> + Send {
        self.store.tell(context, change)
    }

    /// Returns the number of times that a server sent a request elsewhere.
    pub fn redirections(&self) -> u64 {
        self.store.redirections()
    }

    async fn read_to_keep(&self, context: CallContext, key: &[u8]) -> Result<Option<Keepable>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let fingerprint = entry::fingerprint(&name);
        let guessed = self.guess_tags(key, &name, fingerprint);
        let connects = self.store.connects();
        let (entries, versions) = self.store.read_with_time(context, &self.prefix, &[&name], &guessed).await;
        let mut known = pair(&guessed, versions);
        known.sort_unstable_by_key(|version| version.tag);
        let found = self.timed(key, &name, connects, only(entries))?;
        if let Some(found) = &found {
            self.hints.saw_entry_of_family(&name, fingerprint, &found.tags);
        }
        Ok(match self.checked(context, found, &known, Some(key), &name).await? {
            Checked::Live(read) => Some(read),
            Checked::Dead => None,
            Checked::Changed => Box::pin(self.look_at(context, name, Some(key), Asked::IfStale)).await?.live_as(unkept),
        })
    }

    async fn read_many_to_keep(&self, context: CallContext, keys: &[&[u8]]) -> Vec<Result<Option<Keepable>>> {
        let names = self.names(keys.iter().copied());
        let names: Vec<&[u8]> = names.iter().collect();
        let connects = self.store.connects();
        let read = async |context| self.store.read_with_time(context, &self.prefix, &names, &[]).await.0;
        let timed = self.step_of(context, names.len(), false, read).await;
        let mut found: Vec<_> = keys
            .iter()
            .zip(&names)
            .zip(timed)
            .map(|((key, name), timed)| self.timed(key, name, connects, timed))
            .collect();
        let changed = Box::pin(self.drop_stale(context, &mut found)).await;
        let mut read = self.those_current(context, found, TagVersions::default(), Some(keys), &names).await;
        for at in changed {
            let look = Box::pin(self.look_at(context, names[at].to_vec(), Some(keys[at]), Asked::IfStale)).await;
            read[at] = look.map(|look| look.live_as(unkept));
        }
        let hits = read.iter().filter(|read| matches!(read, Ok(Some(_)))).count() as u64;
        let misses = read.iter().filter(|read| matches!(read, Ok(None))).count() as u64;
        self.counting.reads(hits, misses);
        read
    }

    /// Decodes an entry, and notes the time that a copy of it may be kept.
    fn timed(
        &self,
        key: &[u8],
        name: &[u8],
        connects: u64,
        timed: Result<TimedEntry>,
    ) -> Result<Option<Found<Keepable>>> {
        let TimedEntry { stored, left, mark } = timed?;
        // The name of an entry that a caller loads lasts longer.
        let is_loading = stored.as_deref().is_some_and(|stored| Trailer::split(name, stored).is_some());
        let until = |deadline: u64| Duration::from_millis(deadline.saturating_sub(self.store.now_ms(name)));
        let take = |entry: &Entry| {
            let left = if S::DEADLINES { Some(entry.deadline_ms.map(until)) } else { left };
            let number = mark.map(|mark| number_of(mark, connects, entry.tags.clone()));
            unkept(entry).map(|read| Keepable { left: left.filter(|_| !is_loading), number, ..read })
        };
        let found = self.found(Some(key), name, Ok(stored), entry::decode, take)?;
        Ok(found.map(|mut found| {
            if let Some(outlives) = &found.outlives {
                // A time that says that the value is over may be that of an entry before.
                let fresh = found.what.left.and_then(|left| fresh_of(left, outlives.stale_for));
                found.what.left = fresh;
                found.outlives = found.outlives.filter(|_| fresh.is_none());
            }
            found
        }))
    }
}

/// Returns an entry of which no copy may be kept.
#[allow(clippy::unnecessary_wraps)] // What takes an entry may find that it is not wanted.
fn unkept(entry: &Entry) -> Option<Keepable> {
    Some(Keepable {
        value: Value::from(entry.payload),
        tags: entry.tags.iter().map(|tag| tag.tag).collect(),
        left: None,
        load_time: Duration::from_millis(entry.load.load_ms.into()),
        number: None,
    })
}

/// Returns a number for an entry with this mark, read after so many connections were made, and these versions of its tags.
fn number_of(mark: Mark, connects: u64, mut tags: Vec<TagVersion>) -> u64 {
    tags.sort_unstable_by_key(|tag| tag.tag);
    let versions = tags.iter().flat_map(|tag| [tag.tag, tag.version]);
    let bytes: Vec<u8> = [mark.as_number(), connects].into_iter().chain(versions).flat_map(u64::to_le_bytes).collect();
    entry::fingerprint(&bytes)
}
