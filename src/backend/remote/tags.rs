//! Tags as tag versions: read with entries, created for sets, replaced by invalidations.

use super::entries::Found;
use super::fresh::{Checked, Freshness};
use super::lasting::longest;
use super::{Remote, Store};
use crate::backend::{Missing, NewEntry};
use crate::entry::{TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;

impl<S: Store> Remote<S> {
    /// Returns true if tags still have the versions that an entry was set with.
    pub(super) async fn are_current(&self, context: CallContext, tags: &[TagVersion]) -> Result<bool> {
        Ok(is_current(tags, &self.current_versions(context, tags.iter().map(|tag| tag.tag).collect()).await?))
    }

    /// Checks the tags and the time to live of an entry. Tag versions were read with it, sorted by tag: its own, or by a
    /// wrong guess those of others.
    pub(super) async fn checked<T>(
        &self,
        context: CallContext,
        found: Option<Found<T>>,
        known: &[TagVersion],
    ) -> Result<Checked<T>> {
        let Some(found) = found else { return Ok(Checked::Dead) };
        let is_known = |tag: &TagVersion| known.binary_search_by_key(&tag.tag, |known| known.tag).is_ok();
        let is_current = if found.tags.iter().all(is_known) {
            is_current(&found.tags, known)
        } else {
            self.are_current(context, &found.tags).await?
        };
        if !is_current {
            return Ok(Checked::Dead);
        }
        let Some(outlives) = found.outlives else { return Ok(Checked::Live(found.what)) };
        Ok(match Box::pin(self.freshness(context, &outlives)).await? {
            Freshness::Fresh => Checked::Live(found.what),
            Freshness::Over => Checked::Dead,
            Freshness::Changed => Checked::Changed,
        })
    }

    /// Compares the tags of many entries, with one look at the tag versions that are not known yet.
    pub(super) async fn those_current<T>(
        &self,
        context: CallContext,
        found: Vec<Result<Option<Found<T>>>>,
        known: TagVersions,
    ) -> Vec<Result<Option<T>>> {
        let mut tags = Vec::new();
        for found in found.iter().filter_map(|it| it.as_ref().ok()?.as_ref()) {
            tags.extend(found.tags.iter().map(|tag| tag.tag).filter(|tag| !known.has(*tag)));
        }
        let known = known.and(self.each_tag_version(context, found.len(), true, tags, Missing::Stays).await);
        // Most entries have no tags.
        let check = |it: Found<T>| Ok((it.tags.is_empty() || known.are_current(&it.tags)?).then_some(it.what));
        found.into_iter().map(|it| it.and_then(|it| it.map_or(Ok(None), check))).collect()
    }

    async fn current_versions(&self, context: CallContext, mut tags: Vec<u64>) -> Result<Vec<TagVersion>> {
        tags.sort_unstable();
        tags.dedup();
        let versions = self.store.tag_versions(context, &self.prefix, &tags, Missing::Stays).await;
        Ok(pair(&tags, versions.into_iter().collect::<Result<_>>()?))
    }

    /// The versions of all tags of some entries, made where they are missing; read before any of them is written.
    pub(super) async fn tag_versions_for(&self, context: CallContext, entries: &[NewEntry<'_>]) -> TagVersions {
        let missing = Missing::Created(longest(entries));
        let known = self.each_tag_version(context, entries.len(), false, tags_of(entries), missing).await;
        let versions: Vec<TagVersion> = known.tag_versions().collect();
        self.hints.saw_tag_versions(&versions);
        known
    }

    pub(super) async fn each_tag_version(
        &self,
        context: CallContext,
        names: usize,
        is_last_step: bool,
        mut tags: Vec<u64>,
        missing: Missing,
    ) -> TagVersions {
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() {
            return TagVersions(Vec::new());
        }
        let versions = self
            .step(context, names, is_last_step, |context| {
                self.store.tag_versions(context, &self.prefix, &tags, missing)
            })
            .await;
        let versions = versions.unwrap_or_else(|| tags.iter().map(|_| Err(self.late(context))).collect());
        TagVersions(tags.into_iter().zip(versions).collect())
    }
}

/// Sorted tags, each with its version, without one, or with the error that kept it from being read.
#[derive(Default)]
pub(super) struct TagVersions(Vec<(u64, Result<Option<u64>>)>);

impl TagVersions {
    /// Returns true if the version of a tag was read, or that it has none.
    fn has(&self, tag: u64) -> bool {
        self.0.binary_search_by_key(&tag, |known| known.0).is_ok_and(|index| self.0[index].1.is_ok())
    }

    /// Adds tags of which none is known yet.
    fn and(mut self, others: Self) -> Self {
        if self.0.is_empty() {
            return others;
        }
        self.0.retain(|(_, version)| version.is_ok());
        self.0.extend(others.0);
        self.0.sort_unstable_by_key(|known| known.0);
        self
    }

    fn tag_version(&self, tag: u64) -> Result<Option<u64>> {
        let found = self.0.binary_search_by_key(&tag, |known| known.0);
        found.map_or(Ok(None), |index| self.0[index].1.clone())
    }

    /// Returns whether all tags have these versions; one that has another decides it, even if others are not known.
    fn are_current(&self, tags: &[TagVersion]) -> Result<bool> {
        let mut unknown = Ok(true);
        for tag in tags {
            match self.tag_version(tag.tag) {
                Ok(version) if version == Some(tag.version) => {}
                Ok(_) => return Ok(false),
                Err(error) => unknown = Err(error),
            }
        }
        unknown
    }

    fn tag_versions(&self) -> impl Iterator<Item = TagVersion> {
        let known = |(tag, version): &(u64, Result<Option<u64>>)| Some((*tag, version.as_ref().ok().copied()??));
        self.0.iter().filter_map(known).map(|(tag, version)| TagVersion { tag, version })
    }

    /// All tag versions that are known.
    pub(super) fn all(&self) -> Vec<TagVersion> {
        self.tag_versions().collect()
    }

    /// The versions of an entry's tags.
    pub(super) fn of(&self, entry: &NewEntry) -> Result<Vec<TagVersion>> {
        let mut versions = Vec::with_capacity(entry.tags.len());
        for tag in tags_of(std::slice::from_ref(entry)) {
            // Without its tag an entry is not stored: no invalidation would reach it.
            let version = self.tag_version(tag)?.ok_or_else(not_kept)?;
            versions.push(TagVersion { tag, version });
        }
        Ok(versions)
    }
}

#[cold]
pub(super) fn not_kept() -> Error {
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

/// Tags and the tag versions they have.
pub(super) fn pair(tags: &[u64], versions: Vec<Option<u64>>) -> Vec<TagVersion> {
    tags.iter().zip(versions).filter_map(|(tag, version)| Some(TagVersion { tag: *tag, version: version? })).collect()
}

/// A tag version that is missing, or another, is an invalidated tag. `known` is sorted by tag.
fn is_current(tags: &[TagVersion], known: &[TagVersion]) -> bool {
    tags.iter().all(|tag| {
        let found = known.binary_search_by_key(&tag.tag, |known| known.tag);
        found.is_ok_and(|index| known[index].version == tag.version)
    })
}
