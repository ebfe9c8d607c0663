//! Tags as tag versions: read with entries, created for sets, replaced by invalidations.

use std::borrow::Cow;

use super::entries::Found;
use super::fresh::{Checked, Freshness};
use super::lasting::longest;
use super::{Remote, Store};
use crate::backend::{Missing, NewEntry};
use crate::entry::{TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;

/// The answer of the tags of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// All have the versions that the entry was set with.
    Current,
    /// One has none, or some have others.
    Dead,
    /// One has another version. If it is that of the generation, barriers decide.
    Older {
        /// The tag, with the version that the entry was set with.
        set: TagVersion,
        /// The version that it has.
        present: u64,
    },
}

impl Standing {
    /// Compares tags with the versions that they have.
    pub(super) fn of(tags: &[TagVersion], version: impl Fn(u64) -> Option<u64>) -> Self {
        tags.iter().fold(Self::Current, |standing, tag| standing.and(*tag, version(tag.tag)))
    }

    /// Returns the standing with one more tag, and the version that it has.
    fn and(self, set: TagVersion, version: Option<u64>) -> Self {
        match (self, version) {
            (_, Some(present)) if present == set.version => self,
            (Self::Current, Some(present)) => Self::Older { set, present },
            _ => Self::Dead,
        }
    }
}

impl<S: Store> Remote<S> {
    /// Returns true if the tags of the entry of a key say that it is alive.
    pub(super) async fn are_current(&self, context: CallContext, key: &[u8], tags: &[TagVersion]) -> Result<bool> {
        let standing = self.standing(context, tags).await?;
        self.stands(context, standing, || Some(key.into())).await
    }

    /// Returns what tags say, with one look at the store.
    pub(super) async fn standing(&self, context: CallContext, tags: &[TagVersion]) -> Result<Standing> {
        let known = self.current_versions(context, tags.iter().map(|tag| tag.tag).collect()).await?;
        Ok(Standing::of(tags, |tag| version_in(&known, tag)))
    }

    /// Checks the tags and the time to live of an entry of this key, or else of this name. Tag versions were read with it,
    /// sorted by tag: its own, or by a wrong guess those of others.
    pub(super) async fn checked<T>(
        &self,
        context: CallContext,
        found: Option<Found<T>>,
        known: &[TagVersion],
        key: Option<&[u8]>,
        name: &[u8],
    ) -> Result<Checked<T>> {
        let Some(found) = found else { return Ok(Checked::Dead) };
        let is_known = |tag: &TagVersion| version_in(known, tag.tag).is_some();
        let standing = if found.tags.iter().all(is_known) {
            Standing::of(&found.tags, |tag| version_in(known, tag))
        } else {
            self.standing(context, &found.tags).await?
        };
        if !self.stands(context, standing, || self.key_of(key, name, &found)).await? {
            return Ok(Checked::Dead);
        }
        let Some(outlives) = found.outlives else { return Ok(Checked::Live(found.what)) };
        Ok(match Box::pin(self.freshness(context, &outlives)).await? {
            Freshness::Fresh => Checked::Live(found.what),
            Freshness::Over => Checked::Dead,
            Freshness::Changed => Checked::Changed,
        })
    }

    /// Compares the tags of many entries, of these keys or else of these names, with one look at the tag versions that are
    /// not known yet.
    pub(super) async fn those_current<T>(
        &self,
        context: CallContext,
        found: Vec<Result<Option<Found<T>>>>,
        known: TagVersions,
        keys: Option<&[&[u8]]>,
        names: &[&[u8]],
    ) -> Vec<Result<Option<T>>> {
        let mut tags = Vec::new();
        for found in found.iter().filter_map(|it| it.as_ref().ok()?.as_ref()) {
            tags.extend(found.tags.iter().map(|tag| tag.tag).filter(|tag| !known.has(*tag)));
        }
        let known = known.and(self.each_tag_version(context, found.len(), true, tags, Missing::Stays).await);
        let mut current = Vec::with_capacity(found.len());
        for (at, found) in found.into_iter().enumerate() {
            let key = keys.map(|keys| keys[at]);
            current.push(match found {
                // Most entries have no tags.
                Ok(Some(found)) if !found.tags.is_empty() => match known.standing(&found.tags) {
                    Ok(Standing::Current) => Ok(Some(found.what)),
                    Ok(standing) => {
                        let stands = self.stands(context, standing, || self.key_of(key, names[at], &found)).await;
                        stands.map(|stands| stands.then_some(found.what))
                    }
                    Err(error) => Err(error),
                },
                found => found.map(|found| found.map(|found| found.what)),
            });
        }
        current
    }

    /// Returns the key of an entry that was found; `None` if the name is a digest and the entry has no key.
    fn key_of<'k, T>(&self, key: Option<&'k [u8]>, name: &'k [u8], found: &'k Found<T>) -> Option<Cow<'k, [u8]>> {
        let known = key.or(found.key.as_deref()).map(Cow::Borrowed);
        known.or_else(|| self.store.key_of(&self.prefix, name))
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
        TagVersions::of_tags(tags, versions)
    }
}

/// Sorted tags, each with its version, without one, or with the error that kept it from being read.
#[derive(Default)]
pub(super) struct TagVersions(Vec<(u64, Result<Option<u64>>)>);

impl TagVersions {
    /// Joins sorted tags with what was read of each.
    pub(super) fn of_tags(tags: Vec<u64>, versions: Vec<Result<Option<u64>>>) -> Self {
        Self(tags.into_iter().zip(versions).collect())
    }

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

    /// Returns what tags say; those that make an entry dead decide it, even if others are not known.
    fn standing(&self, tags: &[TagVersion]) -> Result<Standing> {
        let (mut standing, mut unknown) = (Standing::Current, None);
        for tag in tags {
            match self.tag_version(tag.tag) {
                Ok(version) => standing = standing.and(*tag, version),
                Err(error) => unknown = Some(error),
            }
        }
        match unknown {
            Some(error) if standing != Standing::Dead => Err(error),
            _ => Ok(standing),
        }
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

/// Returns the version of a tag among some that are sorted by tag.
fn version_in(known: &[TagVersion], tag: u64) -> Option<u64> {
    known.binary_search_by_key(&tag, |known| known.tag).ok().map(|index| known[index].version)
}
