//! Invalidating tags: their versions are replaced; where the store keeps an index, it counts and frees what went.

use super::entries::Extent;
use super::lease::PREFIX_TAG;
use super::{Announcement, Remote, Removal, Store};
use crate::backend::Removed;
use crate::entry::{Entry, tag_hash};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::naming::is_generation;
use crate::operation::Change as ChangedEntries;

impl<S: Store> Remote<S> {
    /// Returns the number of removed entries. Without an index it is unknown: entries are checked when they are read.
    pub(super) async fn invalidate(&self, context: CallContext, tags: &[&[u8]], count: bool) -> Result<Removed> {
        let names_of_tags = tags;
        let mut tags: Vec<u64> = tags.iter().map(|tag| tag_hash(tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        let told = self.announcement(&ChangedEntries::Tags(names_of_tags));
        // No index lists the entries of a generation: a clear would take time in proportion to their number.
        let are_indexed = !names_of_tags.iter().any(|tag| is_generation(tag));
        let indexed = if are_indexed { self.store.indexed(context, &self.prefix, &tags, count).await? } else { None };
        let Some(indexed) = indexed else {
            self.replace_tag_versions(context, &tags, told).await?;
            Box::pin(self.confirm_tags(context, &tags)).await?;
            Box::pin(self.forget_lists(context, &tags)).await;
            return Ok(None);
        };
        let mut names: Vec<&[u8]> = indexed.notes.iter().map(|(_, name, _)| name.as_slice()).collect();
        names.sort_unstable();
        names.dedup();
        // An entry that was set again without the tag is still listed, and stays.
        let tagged = self.readable(context, &names, &tags).await?;
        let counted = count && indexed.is_whole;
        self.replace_tag_versions(context, &tags, told).await?;
        self.store.forget(context, &self.prefix, &indexed, &tagged).await?;
        self.store.unlink(context, &tagged).await?;
        Box::pin(self.confirm_tags(context, &tags)).await?;
        Ok(counted.then_some(tagged.len() as u64))
    }

    /// Replaces the version of the whole prefix, then those of tags: a load that began before does not store its value with
    /// a tag that it learns later.
    async fn replace_tag_versions(&self, context: CallContext, tags: &[u64], told: Option<Announcement>) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        // One server makes the changes of a request in their order.
        if self.store.is_one_server() {
            let tags = [&[PREFIX_TAG], tags].concat();
            return self.store.replace_tag_versions(context, &self.prefix, &tags, told).await;
        }
        self.store.replace_tag_versions(context, &self.prefix, &[PREFIX_TAG], None).await?;
        self.store.replace_tag_versions(context, &self.prefix, tags, told).await
    }

    /// Confirms that the versions of tags stay replaced, and with them that of the whole prefix.
    async fn confirm_tags(&self, context: CallContext, tags: &[u64]) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        self.confirm(context, Removal::Tags(&[&[PREFIX_TAG], tags].concat())).await
    }

    /// Replaces the versions of tags that are known by their hashes, as `invalidate` does.
    pub(super) async fn invalidate_hashes(&self, context: CallContext, tags: &[u64]) -> Result<()> {
        let told = self.announcement(&ChangedEntries::Hashes(tags));
        self.replace_tag_versions(context, tags, told).await?;
        Box::pin(self.confirm_tags(context, tags)).await
    }

    /// Those of the names that are entries that can be read, with one of the tags if there are any.
    pub(super) async fn readable<'a>(
        &self,
        context: CallContext,
        names: &[&'a [u8]],
        tags: &[u64],
    ) -> Result<Vec<&'a [u8]>> {
        let wanted = |_, entry: &Entry| {
            let is_wanted = tags.is_empty() || entry.tags.iter().any(|tag| tags.contains(&tag.tag));
            is_wanted.then_some(())
        };
        let there = self.entries_of(context, None, names, Extent::Header, wanted).await.into_iter().zip(names);
        there.filter_map(|(there, name)| there.map(|there| there.map(|()| *name)).transpose()).collect()
    }
}
