//! Entries on their way to another backend and from one: tags stay hashes, their versions are the target's.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::conditional::Asked;
use super::entries::{Extent, Found, generation_among, joined};
use super::fresh::fresh_of;
use super::store::no_answer;
use super::tags::TagVersions;
use super::trailer::Trailer;
use super::{Condition, EncodedEntry, Outcomes, Remote, Slice, Store, StoredPart, TimeLeft, nonce};
use crate::backend::{CopiedEntry, IfPresent, Imported, Missing};
use crate::entry::{self, Entry, LoadTerms, TagVersion};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::tag_names::TagNames;
use crate::util::clock::ends;
use crate::util::millis;
use crate::value::Value;

/// The number of copies that are compared with what is stored at the same time.
const TOGETHER: usize = 16;

/// An entry that was read, with what says how long it is left.
struct Read {
    value: Value,
    tags: Vec<u64>,
    tag_names: TagNames,
    deadline_ms: Option<u64>,
    created: Option<Instant>,
    load: LoadTerms,
    /// The time by which the name lasts longer than the value, for a load.
    extension: Duration,
    header: Vec<u8>,
}

impl Read {
    fn stale_for(&self) -> Duration {
        Duration::from_millis(self.load.stale_for_ms)
    }
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
        let read_of = |(at, stored): (usize, Result<Option<Slice>>)| {
            let (key, name, stored) = (keys[at], names[at], stored?);
            let bytes = stored.as_deref().unwrap_or_default();
            let (header, extension) = (entry::header_bytes(bytes).to_vec(), extension(name, bytes));
            let found = self.found(Some(key), name, Ok(stored), entry::decode, |entry| {
                read(entry, self.created_at(name, entry.created_s), header, extension)
            })?;
            Ok(found.map(|found| Found { outlives: None, ..found }))
        };
        let found = stored.into_iter().enumerate().map(read_of).collect();
        let found = self.those_current(context, found, TagVersions::default(), Some(keys), &names).await;
        let left = self.left_to(context, &names, &found).await;
        let mut copies = Vec::with_capacity(keys.len());
        for ((key, name), (read, left)) in keys.iter().zip(&names).zip(found.into_iter().zip(left)) {
            copies.push(match left {
                Ok(Some(left)) => read.map(|read| copy(key, read, left)),
                Ok(None) => Box::pin(self.copy_of_changed(context, key, name)).await,
                Err(error) => Err(error),
            });
        }
        Ok(copies)
    }

    /// Returns the copy of an entry that was set again after it was read.
    async fn copy_of_changed(&self, context: CallContext, key: &[u8], name: &[u8]) -> Result<Option<CopiedEntry>> {
        let look = self.look_at(context, name.to_vec(), Some(key), Asked::Always).await?;
        let found =
            look.live_as(|entry| read(entry, self.created_at(name, entry.created_s), Vec::new(), look.extension()));
        Ok(copy(key, found, look.fresh_left()))
    }

    /// Returns the time that is left to entries, by their own deadline or the store's. `None`: others are stored now.
    async fn left_to(
        &self,
        context: CallContext,
        names: &[&[u8]],
        found: &[Result<Option<Read>>],
    ) -> Vec<Result<Option<Left>>> {
        if S::DEADLINES {
            let left =
                |name: &[u8], deadline: u64| Duration::from_millis(deadline.saturating_sub(self.store.now_ms(name)));
            let own = |name: &[u8], read: &Read| read.deadline_ms.map(|deadline| left(name, deadline));
            return names
                .iter()
                .zip(found)
                .map(|(name, it)| Ok(Some(found_in(it).map(|read| own(name, read)))))
                .collect();
        }
        let part = |(name, it): (&&[u8], &Result<Option<Read>>)| {
            let read = found_in(it)?;
            Some(StoredPart { name: name.to_vec(), bytes: read.header.clone(), is_end: false })
        };
        let parts: Vec<StoredPart> = names.iter().zip(found).filter_map(part).collect();
        let mut left = self.store.time_left(context, &parts).await.into_iter();
        let of = |it: &Result<Option<Read>>| {
            let Some(read) = found_in(it) else { return Ok(Some(None)) };
            Ok(match left.next().unwrap_or_else(|| Err(no_answer()))? {
                TimeLeft::Changed => None,
                TimeLeft::Gone => Some(None),
                TimeLeft::Left(left) => Some(fresh_of(left, read.stale_for())),
            })
        };
        found.iter().map(of).collect()
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
        let mut written = self.write_lasting(context, entries.len(), &mut writes, needs, versions).await;
        if if_present == IfPresent::Keep && self.store.capabilities().compare {
            Box::pin(self.replace_dead(context, &writes, versions, &mut written)).await;
        }
        let imported = |stored| if stored { Imported::Stored } else { Imported::Present };
        let outcomes: Vec<Result<Imported>> = joined(prepared, written).map(|stored| stored.map(imported)).collect();
        self.counting.sets(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Imported::Stored))).count() as u64);
        Ok(outcomes)
    }

    /// Stores the copies under whose names something was found that a get would not return: leases, remembered absences,
    /// values that are stale or were invalidated.
    async fn replace_dead(
        &self,
        context: CallContext,
        writes: &[EncodedEntry],
        versions: &[TagVersion],
        written: &mut Outcomes<bool>,
    ) {
        let found: Vec<usize> = (0..written.len()).filter(|at| matches!(written[*at], Ok(false))).collect();
        let names: Vec<&[u8]> = found.iter().map(|at| &*writes[*at].name).collect();
        let live = self.entries_of(context, None, &names, Extent::Header, |_, _| Some(())).await;
        let mut dead = Vec::new();
        for (at, live) in found.into_iter().zip(live) {
            match live {
                Ok(Some(())) => {}
                Ok(None) => dead.push(at),
                Err(error) => written[at] = Err(error),
            }
        }
        for some in dead.chunks(TOGETHER) {
            let replaced = join_all(some.iter().map(|at| self.replace_if_dead(context, &writes[*at], versions))).await;
            some.iter().zip(replaced).for_each(|(at, replaced)| written[*at] = replaced);
        }
    }

    /// Stores a copy unless a get would return an entry of its name.
    async fn replace_if_dead(
        &self,
        context: CallContext,
        write: &EncodedEntry,
        versions: &[TagVersion],
    ) -> Result<bool> {
        let mut write = write.clone();
        write.lasting = self.too_short(&of_tags(versions, &write.tags), write.ttl);
        let mut attempts = self.attempts(context);
        loop {
            let look = self.look_at(context, write.name.clone(), None, Asked::IfStale).await?;
            if look.live.is_some() {
                return Ok(false);
            }
            write.condition = look.condition();
            if self.write_if(context, &write, &attempts).await? {
                return Ok(true);
            }
            attempts.again().await?;
        }
    }

    /// Returns the versions to store. A tag without a version gets one that no tag has, so that the entry is never
    /// read.
    fn encode_copy(&self, entry: &CopiedEntry, versions: &[TagVersion], if_present: IfPresent) -> Result<EncodedEntry> {
        let (name, keep_key) = self.store.entry_name(&self.prefix, &entry.key);
        let ttl = entry.ttl();
        let version = |tag: &u64| versions.iter().find(|known| known.tag == *tag).map_or(0, |known| known.version);
        let load = if ttl.is_some() { terms(entry) } else { LoadTerms::default() };
        let stored = Entry {
            deadline_ms: self.deadline_of_load(&name, ttl, load),
            tags: entry.tags.iter().map(|tag| TagVersion { tag: *tag, version: version(tag) }).collect(),
            key: keep_key.then_some(&entry.key),
            tag_names: if self.keeps_tag_names { entry.tag_names.as_bytes() } else { &[] },
            nonce: Some(nonce::next()?),
            created_s: self.created_of(&name, entry.created),
            load,
            payload: entry.value.as_bytes(),
        };
        let condition = if if_present == IfPresent::Keep { Condition::Absent } else { Condition::Always };
        let bytes = entry::encode(&name, &stored);
        let (tags, lasting) = (entry.tags.clone(), Vec::new());
        let generation = generation_among(&entry.key, &tags);
        let ttl = ttl.map(|ttl| ttl.saturating_add(Duration::from_millis(load.stale_for_ms)));
        Ok(EncodedEntry { bytes, name, ttl, tags, generation, condition, keeps_expiry: false, moves_ms: 0, lasting })
    }
}

/// Returns the properties of a copy.
fn terms(entry: &CopiedEntry) -> LoadTerms {
    let load_ms = u32::try_from(millis(entry.load_time)).unwrap_or(u32::MAX);
    LoadTerms { stale_for_ms: millis(entry.stale_for), load_ms, is_absent: false }
}

/// The versions of these tags.
fn of_tags(versions: &[TagVersion], tags: &[u64]) -> Vec<TagVersion> {
    versions.iter().filter(|version| tags.contains(&version.tag)).copied().collect()
}

#[allow(clippy::unnecessary_wraps)] // What `found` takes.
fn read(entry: &Entry, created: Option<Instant>, header: Vec<u8>, extension: Duration) -> Option<Read> {
    let (value, tags) = (Value::from(entry.payload), entry.tags.iter().map(|tag| tag.tag).collect());
    let (tag_names, deadline_ms) = (TagNames::from_stored(entry.tag_names), entry.deadline_ms);
    Some(Read { value, tags, tag_names, deadline_ms, created, load: entry.load, extension, header })
}

fn extension(name: &[u8], stored: &[u8]) -> Duration {
    Duration::from_millis(Trailer::split(name, stored).map_or(0, |(_, trailer)| trailer.extension_ms.into()))
}

fn found_in(read: &Result<Option<Read>>) -> Option<&Read> {
    read.as_ref().ok()?.as_ref()
}

fn copy(key: &[u8], read: Option<Read>, left: Left) -> Option<CopiedEntry> {
    let (read, left) = (read?, left?);
    let stale_for = read.stale_for().saturating_sub(read.extension);
    let load_time = Duration::from_millis(read.load.load_ms.into());
    let Read { value, tags, tag_names, created, .. } = read;
    Some(CopiedEntry { key: key.to_vec(), value, created, ends: ends(left), tags, tag_names, stale_for, load_time })
}
