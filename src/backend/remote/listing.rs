//! Listing and flushing: names of the store, looked at one by one, since some are over or invalidated.

use super::store::no_answer;
use super::{Part, Remote, Store};
use crate::backend::{Page, Position, Removed, Wanted};
use crate::byte_strings::ByteStrings;
use crate::entry::{self, tag_hash};
use crate::error::Result;

/// How many names are removed at once.
const CHUNK: usize = 1000;

impl<S: Store> Remote<S> {
    pub(super) async fn list(&self, wanted: Wanted<'_>, from: Position, limit: usize) -> Result<Page> {
        let part = Part::Entries(wanted.literal_prefix);
        let (names, next) = self.store.scan(&self.prefix, part, from, limit).await?;
        let mut names: Vec<&[u8]> = names.iter().collect();
        // A server may list a name twice while it resizes its table.
        names.sort_unstable();
        names.dedup();
        Ok(Page { keys: self.keys_of(&names, wanted).await?, next })
    }

    async fn keys_of(&self, names: &[&[u8]], wanted: Wanted<'_>) -> Result<ByteStrings> {
        let mut found: Vec<_> = names.iter().map(|_| Err(no_answer())).collect();
        let tags: Vec<u64> = wanted.tags.iter().map(|tag| tag_hash(tag)).collect();
        let mut each = |index: usize, outcome: Result<Option<&[u8]>>| {
            let name = names[index];
            let listed = self.store.key_of(&self.prefix, name);
            let kept = listed.as_deref().unwrap_or_default();
            let (it, pairing) = self.found(kept, name, outcome, entry::head, |entry| {
                let tagged = tags.is_empty() || entry.tags.iter().any(|tag| tags.contains(&tag.tag));
                tagged.then(|| entry.key.unwrap_or(kept).to_vec())
            });
            found[index] = it;
            pairing
        };
        self.store.heads(names, &mut each).await;
        let mut keys = ByteStrings::default();
        for key in self.those_current(found).await {
            key?.iter().for_each(|key| keys.push(key));
        }
        Ok(keys)
    }

    /// Stamps go too: without them every entry that was missed is invalid.
    pub(super) async fn remove_all(&self) -> Result<Removed> {
        let mut next = Some(Position::default());
        while let Some(from) = next {
            let removing = async {
                let (names, next) = self.store.scan(&self.prefix, Part::All, from, CHUNK).await?;
                let names: Vec<&[u8]> = names.iter().collect();
                self.store.unlink(&names).await?;
                Ok(next)
            };
            next = self.call(removing).await?;
        }
        Ok(None)
    }
}
