//! Exports entries to another backend, with the versions of their tags.

use std::sync::atomic::Ordering::SeqCst;

use super::store::Store;
use crate::backend::CopiedEntry;
use crate::entry::TagVersion;
use crate::util::clock::ends;

impl Store {
    /// Returns an entry if it can be served.
    pub(super) fn export(&self, key: &[u8]) -> Option<CopiedEntry> {
        let hash = self.hash(key);
        let shard = self.shard_of(hash);
        let id = shard.find(hash.of_entry(), key).filter(|id| shard.is_live(*id))?;
        let entry = shard.entry(id)?;
        Some(CopiedEntry {
            key: key.to_vec(),
            value: entry.value().clone(),
            ends: ends(entry.deadline.remaining()),
            tags: shard.tags_of(entry),
        })
    }

    /// Returns the version of a tag. All tags share one: that of the last invalidation.
    pub(super) fn versions(&self, tags: &[u64]) -> Vec<TagVersion> {
        let version = self.invalidations.load(SeqCst);
        tags.iter().map(|tag| TagVersion { tag: *tag, version }).collect()
    }

    /// Returns true if the tags still have these versions.
    pub(super) fn are_current(&self, tags: &[u64], versions: &[TagVersion]) -> bool {
        let now = self.invalidations.load(SeqCst);
        tags.iter().all(|tag| versions.contains(&TagVersion { tag: *tag, version: now }))
    }
}
