//! Tags as stamps: read with entries, created for sets, replaced by invalidations.

use super::entries::Found;
use super::lasting::longest;
use super::{Missing, Remote, Store};
use crate::backend::NewEntry;
use crate::entry::{TagStamp, tag_hash};
use crate::error::{Error, ErrorKind, Result};

impl<S: Store> Remote<S> {
    /// Returns an entry, if its tags still have the stamps that it was set with.
    pub(super) async fn if_current<T>(&self, found: Option<Found<T>>) -> Result<Option<T>> {
        self.if_current_by(found, Vec::new()).await
    }

    /// The same, where stamps were read with it, sorted by tag: its own, or by a wrong guess those of others.
    pub(super) async fn if_current_by<T>(&self, found: Option<Found<T>>, known: Vec<TagStamp>) -> Result<Option<T>> {
        let Some(found) = found else { return Ok(None) };
        let is_known = |tag: &TagStamp| known.binary_search_by_key(&tag.tag, |known| known.tag).is_ok();
        if found.tags.iter().all(is_known) {
            return Ok(is_current(&found.tags, &known).then_some(found.what));
        }
        let known = self.current_stamps(found.tags.iter().map(|tag| tag.tag).collect()).await?;
        Ok(is_current(&found.tags, &known).then_some(found.what))
    }

    /// The same for many, with one look at the stamps of all.
    pub(super) async fn those_current<T>(&self, found: Vec<Result<Option<Found<T>>>>) -> Vec<Result<Option<T>>> {
        let tagged = found.iter().filter_map(|it| it.as_ref().ok()?.as_ref());
        let tags: Vec<u64> = tagged.flat_map(|it| it.tags.iter().map(|tag| tag.tag)).collect();
        let known = self.each_stamp(found.len(), true, tags, Missing::Stays).await;
        let check = |it: Found<T>| Ok(known.are_current(&it.tags)?.then_some(it.what));
        found.into_iter().map(|it| it.and_then(|it| it.map_or(Ok(None), check))).collect()
    }

    async fn current_stamps(&self, mut tags: Vec<u64>) -> Result<Vec<TagStamp>> {
        tags.sort_unstable();
        tags.dedup();
        let stamps = self.store.stamps(&self.prefix, &tags, Missing::Stays).await?;
        Ok(pair(&tags, stamps))
    }

    /// The stamps of all tags of some entries, made where they are missing; read before any of them is written.
    pub(super) async fn stamps_for(&self, entries: &[NewEntry<'_>]) -> Known {
        let missing = Missing::Created(longest(entries));
        let known = self.each_stamp(entries.len(), false, tags_of(entries), missing).await;
        let stamps: Vec<TagStamp> = known.stamps().collect();
        self.hints.saw_stamps(&stamps);
        known
    }

    async fn each_stamp(&self, names: usize, is_last_step: bool, mut tags: Vec<u64>, missing: Missing) -> Known {
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() {
            return Known(Vec::new());
        }
        let stamps = self.step(names, is_last_step, self.store.each_stamp(&self.prefix, &tags, missing)).await;
        let stamps = stamps.unwrap_or_else(|| tags.iter().map(|_| Err(self.late())).collect());
        Known(tags.into_iter().zip(stamps).collect())
    }
}

/// Sorted tags, each with its stamp, without one, or with the error that kept it from being read.
pub(super) struct Known(Vec<(u64, Result<Option<u64>>)>);

impl Known {
    fn stamp(&self, tag: u64) -> Result<Option<u64>> {
        let found = self.0.binary_search_by_key(&tag, |known| known.0);
        found.map_or(Ok(None), |index| self.0[index].1.clone())
    }

    /// Returns whether all tags have these stamps; one that has another decides it, even if others are not known.
    fn are_current(&self, tags: &[TagStamp]) -> Result<bool> {
        let mut unknown = Ok(true);
        for tag in tags {
            match self.stamp(tag.tag) {
                Ok(stamp) if stamp == Some(tag.stamp) => {}
                Ok(_) => return Ok(false),
                Err(error) => unknown = Err(error),
            }
        }
        unknown
    }

    fn stamps(&self) -> impl Iterator<Item = TagStamp> {
        let known = |(tag, stamp): &(u64, Result<Option<u64>>)| Some((*tag, stamp.as_ref().ok().copied()??));
        self.0.iter().filter_map(known).map(|(tag, stamp)| TagStamp { tag, stamp })
    }

    /// All stamps that are known.
    pub(super) fn all(&self) -> Vec<TagStamp> {
        self.stamps().collect()
    }

    /// The stamps of an entry's tags.
    pub(super) fn of(&self, entry: &NewEntry) -> Result<Vec<TagStamp>> {
        let mut stamps = Vec::with_capacity(entry.tags.len());
        for tag in tags_of(std::slice::from_ref(entry)) {
            // Without its tag an entry is not stored: no invalidation would reach it.
            let stamp = self.stamp(tag)?.ok_or_else(not_kept)?;
            stamps.push(TagStamp { tag, stamp });
        }
        Ok(stamps)
    }
}

#[cold]
fn not_kept() -> Error {
    Error::new(
        ErrorKind::Server,
        "the server did not keep the version of a tag: it is full, or was flushed at the same time; try again",
    )
    .passing()
}

/// The hashes of all tags of some entries, each once, sorted.
pub(super) fn tags_of(entries: &[NewEntry]) -> Vec<u64> {
    let mut tags: Vec<u64> = entries.iter().flat_map(|entry| entry.tags.iter().map(|tag| tag_hash(tag))).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Tags and the stamps they have.
pub(super) fn pair(tags: &[u64], stamps: Vec<Option<u64>>) -> Vec<TagStamp> {
    tags.iter().zip(stamps).filter_map(|(tag, stamp)| Some(TagStamp { tag: *tag, stamp: stamp? })).collect()
}

/// A stamp that is missing, or another, is an invalidated tag. `known` is sorted by tag.
fn is_current(tags: &[TagStamp], known: &[TagStamp]) -> bool {
    tags.iter().all(|tag| {
        let found = known.binary_search_by_key(&tag.tag, |known| known.tag);
        found.is_ok_and(|index| known[index].stamp == tag.stamp)
    })
}
