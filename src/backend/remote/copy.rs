//! Entries on their way to another backend and from one: tags stay hashes, their versions are the target's.

use std::time::Duration;

use super::entries::{fresh_of, joined};
use super::{Condition, EncodedEntry, Remote, Store, nonce};
use crate::backend::{CopiedEntry, IfPresent, Imported, Missing};
use crate::entry::{self, Entry, LoadTerms, TagVersion};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::util::clock::ends;
use crate::value::Value;

/// The value of an entry, its tags, and its end where the entry has that.
struct Read {
    value: Value,
    tags: Vec<u64>,
    deadline_ms: Option<u64>,
    /// The time by which its name outlives it in the store.
    stale_for: Duration,
}

/// Nothing, if there is nothing any more; what is left, if it ends.
type Left = Option<Option<Duration>>;

impl<S: Store> Remote<S> {
    pub(super) async fn copies_of(
        &self,
        context: CallContext,
        keys: &[&[u8]],
    ) -> Result<Vec<Result<Option<CopiedEntry>>>> {
        let names = self.names(keys.iter().copied());
        let names: Vec<&[u8]> = names.iter().collect();
        let stored = self.step_of(context, names.len(), false, |context| self.store.read(context, &names)).await;
        let found = self.those_current(context, self.found_of(keys, &names, stored, entry::decode, read)).await;
        let left = self.left_to(context, &names, &found).await;
        Ok(keys.iter().zip(found.into_iter().zip(left)).map(|(key, (read, left))| copy(key, read?, left?)).collect())
    }

    /// Returns the time that is left to entries, by their own deadline or the store's.
    async fn left_to(
        &self,
        context: CallContext,
        names: &[&[u8]],
        found: &[Result<Option<Read>>],
    ) -> Vec<Result<Left>> {
        if !S::DEADLINES {
            let left = self.store.remaining(context, names).await;
            let stale_for =
                |it: &Result<Option<Read>>| it.as_ref().ok().and_then(Option::as_ref).map(|read| read.stale_for);
            let fresh = |(left, it): (Result<Left>, &Result<Option<Read>>)| {
                Ok(left?.and_then(|left| fresh_of(left, stale_for(it).unwrap_or_default())))
            };
            return left.into_iter().zip(found).map(fresh).collect();
        }
        let left = |name: &[u8], deadline: u64| Duration::from_millis(deadline.saturating_sub(self.store.now_ms(name)));
        let own = |name: &[u8], read: &Read| read.deadline_ms.map(|deadline| left(name, deadline));
        let of = |(name, it): (&&[u8], &Result<Option<Read>>)| {
            Ok(it.as_ref().ok().and_then(Option::as_ref).map(|read| own(name, read)))
        };
        names.iter().zip(found).map(of).collect()
    }

    pub(super) async fn versions_of(
        &self,
        context: CallContext,
        tags: &[u64],
        missing: Missing,
    ) -> Result<Vec<TagVersion>> {
        let versions = self.store.tag_versions(context, &self.prefix, tags, missing).await;
        let versions = super::tags::pair(tags, versions.into_iter().collect::<Result<_>>()?);
        self.hints.saw_tag_versions(&versions);
        Ok(versions)
    }

    pub(super) async fn store_copies(
        &self,
        context: CallContext,
        entries: &[CopiedEntry],
        versions: &[TagVersion],
        if_present: IfPresent,
    ) -> Result<Vec<Result<Imported>>> {
        let unready = self.unready(context, entries.iter().map(|entry| &*entry.key)).await;
        let mut writes = Vec::with_capacity(entries.len());
        let prepared: Vec<Result<()>> = (entries.iter().enumerate())
            .map(|(index, entry)| {
                unready.of(index)?;
                writes.push(self.encode_copy(entry, versions, if_present)?);
                Ok(())
            })
            .collect();
        let needs =
            writes.iter().flat_map(|write| self.too_short(&of_tags(versions, &write.tags), write.ttl)).collect();
        let written = self.write_lasting(context, entries.len(), &mut writes, needs, versions).await;
        let imported = |stored| if stored { Imported::Stored } else { Imported::Present };
        let outcomes: Vec<Result<Imported>> = joined(prepared, written).map(|stored| stored.map(imported)).collect();
        self.counting.sets(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Imported::Stored))).count() as u64);
        Ok(outcomes)
    }

    /// Returns the versions to store. A tag without a version gets one that no tag has, so that the entry is never
    /// read.
    fn encode_copy(&self, entry: &CopiedEntry, versions: &[TagVersion], if_present: IfPresent) -> Result<EncodedEntry> {
        let (name, keep_key) = self.store.entry_name(&self.prefix, &entry.key);
        let ttl = entry.ttl();
        let version = |tag: &u64| versions.iter().find(|known| known.tag == *tag).map_or(0, |known| known.version);
        let stored = Entry {
            deadline_ms: self.deadline_ms(&name, ttl),
            tags: entry.tags.iter().map(|tag| TagVersion { tag: *tag, version: version(tag) }).collect(),
            key: keep_key.then_some(&entry.key),
            nonce: Some(nonce::next()?),
            load: LoadTerms::default(),
            payload: entry.value.as_bytes(),
        };
        let condition = if if_present == IfPresent::Keep { Condition::Absent } else { Condition::Always };
        let bytes = entry::encode(&name, &stored);
        let (tags, lasting) = (entry.tags.clone(), Vec::new());
        Ok(EncodedEntry { bytes, name, ttl, tags, condition, keeps_expiry: false, lasting })
    }
}

/// The versions of these tags.
fn of_tags(versions: &[TagVersion], tags: &[u64]) -> Vec<TagVersion> {
    versions.iter().filter(|version| tags.contains(&version.tag)).copied().collect()
}

#[allow(clippy::unnecessary_wraps)] // What `found` takes.
fn read(entry: &Entry) -> Option<Read> {
    let tags = entry.tags.iter().map(|tag| tag.tag).collect();
    let stale_for = Duration::from_millis(entry.load.stale_for_ms);
    Some(Read { value: Value::from(entry.payload), tags, deadline_ms: entry.deadline_ms, stale_for })
}

fn copy(key: &[u8], read: Option<Read>, left: Left) -> Result<Option<CopiedEntry>> {
    let (Some(Read { value, tags, .. }), Some(left)) = (read, left) else { return Ok(None) };
    Ok(Some(CopiedEntry { key: key.to_vec(), value, ends: ends(left), tags }))
}
