//! Listing and flushing: names of the store, looked at one by one, since some are over or invalidated.

use super::entries::Extent;
use super::trailer::Trailer;
use super::{Remote, Removal, ScanScope, Store};
use crate::backend::{KeyFilter, Outcome, Page, Patterns, Removed, ScanCursor, page};
use crate::entry::{self, Entry, tag_hash};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::operation::Change as ChangedEntries;
use crate::util::byte_strings::ByteStrings;

/// The number of names that are removed at once.
const CHUNK: usize = 1000;
/// The number of keys that are listed at once.
const PAGE: usize = 512;

impl<S: Store> Remote<S> {
    pub(super) async fn list(
        &self,
        context: CallContext,
        filter: KeyFilter<'_>,
        from: ScanCursor,
        limit: usize,
    ) -> Result<Page> {
        let scope = ScanScope::Entries(filter.literal_prefix);
        let (names, next) = self.store.scan(context, &self.prefix, scope, from, limit).await?;
        let mut names: Vec<&[u8]> = names.iter().collect();
        // A server may list a name twice while it resizes its table.
        names.sort_unstable();
        names.dedup();
        Ok(Page { keys: self.keys_of(context, &names, filter).await?, next })
    }

    async fn keys_of(&self, context: CallContext, names: &[&[u8]], filter: KeyFilter<'_>) -> Result<ByteStrings> {
        if filter.hidden {
            return self.all_keys_of(context, names).await;
        }
        let tags: Vec<u64> = filter.tags.iter().map(|tag| tag_hash(tag)).collect();
        let key = |at: usize, entry: &Entry| {
            let listed = self.store.key_of(&self.prefix, names[at]);
            let tagged = tags.is_empty() || entry.tags.iter().any(|tag| tags.contains(&tag.tag));
            // A name that is no key is a digest of the one that the entry has.
            let key = entry.key.or(listed.as_deref()).filter(|_| tagged);
            key.map(<[u8]>::to_vec)
        };
        let mut keys = ByteStrings::default();
        for key in self.entries_of(context, None, names, Extent::Header, key).await {
            key?.iter().for_each(|key| keys.push(key));
        }
        Ok(keys)
    }

    /// Returns the keys of names, also of those without an entry that can be read. The key of a digest is in its entry
    /// alone: without one the name is removed, which ends the load of a key that is not known.
    async fn all_keys_of(&self, context: CallContext, names: &[&[u8]]) -> Result<ByteStrings> {
        let (mut keys, mut digests) = (ByteStrings::default(), Vec::new());
        for name in names {
            match self.store.key_of(&self.prefix, name) {
                Some(key) => keys.push(&key),
                None => digests.push(*name),
            }
        }
        if digests.is_empty() {
            return Ok(keys);
        }
        let mut loads = Vec::new();
        for (name, stored) in digests.iter().zip(self.store.read(context, &digests).await) {
            let Some(stored) = stored? else { continue };
            let before = Trailer::split(name, &stored).map_or(&stored[..], |(before, _)| before);
            match entry::decode_any(name, before) {
                Ok(entry) => entry.key.iter().for_each(|key| keys.push(key)),
                Err(_) if before.is_empty() => loads.push(*name),
                Err(_) => {}
            }
        }
        self.store.unlink(context, &loads).await?;
        Ok(keys)
    }

    /// Lists the keys that may match, once for all patterns, and removes those that do. A key that a caller loads is one of
    /// them: its value is not stored then. The event is that of the patterns, not those of the keys.
    pub(super) async fn remove_matching(&self, context: CallContext, patterns: &[&[u8]]) -> Result<Outcome> {
        let _told = self.announcement(&ChangedEntries::Patterns(patterns));
        let patterns = Patterns::new(patterns);
        let literal_prefix = patterns.literal_prefix();
        let filter = KeyFilter { literal_prefix: &literal_prefix, tags: &[], hidden: true };
        let (mut next, mut removed) = (Some(ScanCursor::default()), 0);
        while let Some(from) = next {
            let page = page(context, self, filter, from, PAGE).await?;
            next = page.next;
            let keys: Vec<&[u8]> = page.keys.iter().filter(|key| patterns.match_key(key)).collect();
            for was_there in self.call(context, |context| self.remove_many(context, &keys, false)).await? {
                removed += u64::from(was_there?);
            }
            yield_now().await;
        }
        Ok(Outcome::Removed(Some(removed)))
    }

    /// Tag versions go too: without them every entry that was missed is invalid.
    pub(super) async fn remove_all(&self, context: CallContext, count: bool) -> Result<Removed> {
        let count = count && self.store.capabilities().count;
        let (mut next, mut removed) = (Some(ScanCursor::default()), 0);
        while let Some(from) = next {
            let page = self.call(context, |context| self.remove_page(context, from, count)).await?;
            next = page.0;
            removed += page.1;
        }
        self.call(context, |context| self.confirm(context, Removal::All)).await?;
        Ok(count.then_some(removed))
    }

    /// Removes a page of names; where the next begins, and how many entries went.
    async fn remove_page(
        &self,
        context: CallContext,
        from: ScanCursor,
        count: bool,
    ) -> Result<(Option<ScanCursor>, u64)> {
        let (names, next) = self.store.scan(context, &self.prefix, ScanScope::All, from, CHUNK).await?;
        let mut names: Vec<&[u8]> = names.iter().collect();
        names.sort_unstable();
        names.dedup();
        let is_entry = |name: &&[u8]| self.store.key_of(&self.prefix, name).is_some();
        let entries: Vec<&[u8]> = names.iter().copied().filter(is_entry).collect();
        let removed = if count { self.readable(context, &entries, &[]).await?.len() as u64 } else { 0 };
        self.store.unlink(context, &names).await?;
        Ok((next, removed))
    }
}
