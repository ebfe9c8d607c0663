//! Tags as stamps: read beside entries, created for sets, replaced by invalidations.

use super::entries::Found;
use super::{Remote, Store};
use crate::backend::NewEntry;
use crate::entry::{TagStamp, tag_hash};
use crate::error::Result;

impl<S: Store> Remote<S> {
    /// What was found, if its tags still have the stamps it was set with.
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
        let known = if tags.is_empty() { Ok(Vec::new()) } else { self.current_stamps(tags).await };
        let check = |it: Found<T>| match &known {
            Ok(known) => Ok(is_current(&it.tags, known).then_some(it.what)),
            Err(_) if it.tags.is_empty() => Ok(Some(it.what)),
            Err(error) => Err(error.clone()),
        };
        found.into_iter().map(|it| it.and_then(|it| it.map_or(Ok(None), check))).collect()
    }

    async fn current_stamps(&self, mut tags: Vec<u64>) -> Result<Vec<TagStamp>> {
        tags.sort_unstable();
        tags.dedup();
        let stamps = self.store.stamps(&self.prefix, &tags, false).await?;
        Ok(pair(&tags, stamps))
    }

    /// The stamps of all tags of some entries, made where they are missing; read before any of them is written.
    pub(super) async fn stamps_for(&self, entries: &[NewEntry<'_>]) -> Result<Vec<TagStamp>> {
        let tags = tags_of(entries);
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let stamps = pair(&tags, self.store.stamps(&self.prefix, &tags, true).await?);
        self.hints.saw_stamps(&stamps);
        Ok(stamps)
    }
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
