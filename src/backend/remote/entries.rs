//! Reads and writes entries in their stored form, and compares them with the versions of their tags.

use std::time::Duration;

use super::conditional::Asked;
use super::fresh::{Checked, Outlives, fresh_of};
use super::lasting::join as join_lasting;
use super::store::no_answer;
use super::tags::{TagVersions, pair, tags_of};
use super::trailer::Trailer;
use super::{
    Condition, EncodedEntry, Lasting, Outcomes, Remote, Removal, RemovedEntry, Slice, Store, StoredPart, TimeLeft,
    nonce,
};
use crate::backend::NewEntry;
use crate::entry::{self, DecodeError, Entry, LoadTerms, TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::naming::{GENERATION, generation_of};
use crate::operation::Change as ChangedEntries;
use crate::tag_names::TagNames;
use crate::util::byte_strings::ByteStrings;
use crate::util::millis;
use crate::value::Value;

/// An entry that was read, before its tags are compared.
pub(super) struct Found<T> {
    pub tags: Vec<TagVersion>,
    pub what: T,
    pub outlives: Option<Box<Outlives>>,
    /// The key that the entry has, if it was not known before.
    pub key: Option<Box<[u8]>>,
}

/// The header of an entry.
pub(super) struct Head {
    pub name: Vec<u8>,
    pub tags: Vec<TagVersion>,
    pub load: LoadTerms,
    deadline_ms: Option<u64>,
    part: StoredPart,
}

/// The origin of an entry that is stored.
pub(super) struct Origin {
    /// The nonce of the set.
    pub nonce: u64,
    /// The time of an earlier set, if there was one; it may be unknown.
    pub created: Option<Option<u32>>,
}

/// The tags of an entry that is stored.
pub(super) struct Tagged<'a> {
    pub versions: Vec<TagVersion>,
    /// Their names, if the entry is to store them.
    pub names: &'a TagNames,
}

/// The part of the stored bytes that is read of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// At least the header.
    Header,
    All,
}

/// For each key in order, the error of a server that has not reported its limits and its clock; empty if all have.
pub(super) struct Unready(Vec<Result<()>>);

impl Unready {
    pub(super) fn of(&self, index: usize) -> Result<()> {
        self.0.get(index).cloned().unwrap_or(Ok(()))
    }
}

/// Returns the tag of the generation of a key, if it is among these.
pub(super) fn generation_among(key: &[u8], tags: &[u64]) -> Option<u64> {
    if tags.is_empty() { None } else { Some(tag_hash(generation_of(key))).filter(|tag| tags.contains(tag)) }
}

/// Decodes the bytes of an entry: all of them, or its header.
type Decode = for<'a> fn(&[u8], &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError>;

impl<S: Store> Remote<S> {
    pub(super) async fn read_one(&self, context: CallContext, key: &[u8]) -> Result<Option<Value>> {
        self.read_as(context, key, value).await
    }

    /// Reads the value of a key and its version.
    pub(super) async fn read_versioned(&self, context: CallContext, key: &[u8]) -> Result<Option<(Value, u64)>> {
        self.read_as(context, key, |entry| Some((Value::from(entry.payload), entry.version()))).await
    }

    async fn read_as<T>(
        &self,
        context: CallContext,
        key: &[u8],
        take: impl Fn(&Entry) -> Option<T>,
    ) -> Result<Option<T>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let fingerprint = entry::fingerprint(&name);
        let guessed = self.guess_tags(key, &name, fingerprint);
        let (stored, known) = self.read_as_guessed(context, &name, &guessed).await?;
        let found = self.found(Some(key), &name, Ok(stored), entry::decode, &take)?;
        if let Some(found) = &found {
            self.hints.saw_entry_of_family(&name, fingerprint, &found.tags);
        }
        let value = match self.checked(context, found, &known, Some(key), &name).await? {
            Checked::Live(value) => Some(value),
            Checked::Dead => None,
            Checked::Changed => Box::pin(self.look_at(context, name, Some(key), Asked::IfStale)).await?.live_as(take),
        };
        self.counting.reads(u64::from(value.is_some()), u64::from(value.is_none()));
        Ok(value)
    }

    /// Returns the tags that an entry may have: their versions are read with it. Of several servers only those are asked
    /// that the entry was seen to depend on, or depends on as all entries of its generation do.
    pub(super) fn guess_tags(&self, key: &[u8], name: &[u8], fingerprint: u64) -> Box<[u64]> {
        let seen = if self.store.is_one_server() {
            self.hints.tags_of_entry(name, fingerprint)
        } else {
            self.hints.tags_of(fingerprint)
        };
        if seen.is_empty() { self.generation_of(key).into_iter().collect() } else { seen }
    }

    /// Returns the tag that all entries of the generation of a key have; `None`: it has none.
    fn generation_of(&self, key: &[u8]) -> Option<u64> {
        let generation = generation_of(key);
        (self.has_generations || generation != GENERATION).then(|| tag_hash(generation))
    }

    /// Reads an entry, and the versions of the tags that it is guessed to have, sorted by tag.
    async fn read_as_guessed(
        &self,
        context: CallContext,
        name: &[u8],
        guessed: &[u64],
    ) -> Result<(Option<Slice>, Vec<TagVersion>)> {
        if guessed.is_empty() {
            return Ok((super::only(self.store.read(context, &[name]).await)?, Vec::new()));
        }
        let (stored, versions) = self.store.read_with_tag_versions(context, &self.prefix, name, guessed).await?;
        let mut known = pair(guessed, versions);
        known.sort_unstable_by_key(|version| version.tag);
        Ok((stored, known))
    }

    pub(super) async fn read_many(&self, context: CallContext, keys: &[&[u8]]) -> Result<Vec<Result<Option<Value>>>> {
        let names = self.names(keys.iter().copied());
        let names: Vec<&[u8]> = names.iter().collect();
        let values = self.entries_of(context, Some(keys), &names, Extent::All, |_, entry| value(entry)).await;
        let hits = values.iter().filter(|value| matches!(value, Ok(Some(_)))).count() as u64;
        let misses = values.iter().filter(|value| matches!(value, Ok(None))).count() as u64;
        self.counting.reads(hits, misses);
        Ok(values)
    }

    pub(super) async fn write_one(&self, context: CallContext, entry: NewEntry<'_>) -> Result<()> {
        if !entry.tags.is_empty() && self.write_as_guessed(context, &entry).await? {
            self.counting.sets(1);
            return Ok(());
        }
        self.write_many(context, std::slice::from_ref(&entry)).await.and_then(super::only)
    }

    /// Stores an entry with the last known tag versions of its tags, and checks them afterwards: if a tag version has changed, no
    /// caller will read the entry, and it is stored once more.
    async fn write_as_guessed(&self, context: CallContext, entry: &NewEntry<'_>) -> Result<bool> {
        let tags = tags_of(std::slice::from_ref(entry));
        let Some(guessed) = self.hints.tag_versions_of(&tags).filter(|_| self.store.is_ready()) else {
            return Ok(false);
        };
        let mut write = self.encode_entry(entry, &guessed)?;
        self.store.check_size(&write.name, write.bytes.len())?;
        write.lasting = self.too_short(&guessed, entry.ttl);
        let asked = self.asked();
        let versions = pair(&tags, self.store.write_with_tag_versions(context, &self.prefix, &write, &tags).await?);
        self.hints.saw_tag_versions(&versions);
        self.saw_lasting(&versions, &write.lasting, asked);
        Ok(versions == guessed)
    }

    pub(super) async fn write_many(&self, context: CallContext, entries: &[NewEntry<'_>]) -> Result<Vec<Result<()>>> {
        let unready = self.unready(context, entries.iter().map(|entry| entry.key)).await;
        let versions = self.tag_versions_for(context, entries).await;
        let (mut writes, mut lasting) = (Vec::with_capacity(entries.len()), Vec::new());
        let prepared: Vec<Result<()>> = (entries.iter().enumerate())
            .map(|(index, entry)| {
                let versions = unready.of(index).and_then(|()| versions.of(entry))?;
                lasting.extend(self.too_short(&versions, entry.ttl));
                writes.push(self.encode_entry(entry, &versions)?);
                Ok(())
            })
            .collect();
        // When one entry is refused none is stored.
        writes.iter().try_for_each(|write| self.store.check_size(&write.name, write.bytes.len()))?;
        let written = self.write_lasting(context, entries.len(), &mut writes, lasting, &versions.all()).await;
        let outcomes: Vec<Result<()>> = joined(prepared, written).map(|stored| stored.and_then(self::stored)).collect();
        self.counting.sets(outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64);
        Ok(outcomes)
    }

    /// Stores entries of a call for so many, and makes the versions of their tags last.
    pub(super) async fn write_lasting(
        &self,
        context: CallContext,
        names: usize,
        writes: &mut [EncodedEntry],
        lasting: Vec<Lasting>,
        versions: &[TagVersion],
    ) -> Outcomes<bool> {
        let lasting = join_lasting(lasting);
        if let Some(first) = writes.first_mut() {
            first.lasting.clone_from(&lasting);
        }
        let asked = self.asked();
        let writing = self.step(context, names, true, |context| self.store.write(context, &self.prefix, writes)).await;
        let written = writing.unwrap_or_else(|| writes.iter().map(|_| Err(self.late(context))).collect());
        if written.iter().all(Result::is_ok) {
            self.saw_lasting(versions, &lasting, asked);
        }
        written
    }

    /// Removes keys, with or without an event for each.
    pub(super) async fn remove_many(
        &self,
        context: CallContext,
        keys: &[&[u8]],
        tells: bool,
    ) -> Result<Vec<Result<bool>>> {
        let names = self.names(keys.iter().copied());
        let names: Vec<&[u8]> = names.iter().collect();
        let changes = self.store.changes();
        let told = if tells { self.announcement(&ChangedEntries::Keys(keys.into())) } else { None };
        let remove = |context| self.store.remove(context, &names, told);
        let entries = self.step_of(context, names.len(), false, remove).await;
        let entries = keys.iter().zip(&names).zip(entries);
        let found = entries.map(|((key, name), removed)| self.found_removed(key, name, removed)).collect();
        let removed = self.those_current(context, found, TagVersions::default(), Some(keys), &names).await;
        let done: Vec<&[u8]> = names.iter().zip(&removed).filter(|(_, it)| it.is_ok()).map(|(name, _)| *name).collect();
        let confirmed = Box::pin(self.confirm_removed(context, &done, changes)).await;
        let done = |it: Option<()>| confirmed.clone().map(|()| it.is_some());
        let there: Vec<Result<bool>> = removed.into_iter().map(|it| it.and_then(done)).collect();
        self.counting.deletes(there.iter().filter(|it| matches!(it, Ok(true))).count() as u64);
        Ok(there)
    }

    /// Decodes an entry that was removed. The time that its name had left says whether a get would have returned it.
    fn found_removed(
        &self,
        key: &[u8],
        name: &[u8],
        removed: Result<Option<RemovedEntry>>,
    ) -> Result<Option<Found<()>>> {
        let (head, left) = removed?.map_or((None, None), |(head, left)| (Some(head), left));
        let found = self.found(Some(key), name, Ok(head), S::decode_head, |_| Some(()))?;
        let is_over = |outlives: &Outlives| fresh_of(left, outlives.stale_for).is_none();
        Ok(found.filter(|found| !found.outlives.as_deref().is_some_and(is_over)))
    }

    /// Confirms that names stay removed. A server that was replaced during the removal may have lost it: it is repeated.
    pub(super) async fn confirm_removed(&self, context: CallContext, names: &[&[u8]], changes: u64) -> Result<()> {
        if self.store.changes() != changes && !names.is_empty() {
            // The event of the removal may have come before it is repeated.
            let is_gap = self.store.was_replaced();
            let _gap = is_gap.then(|| self.announcement(&ChangedEntries::Hashes(&[])));
            self.store.unlink(context, names).await?;
        }
        self.confirm(context, Removal::Names(names)).await
    }

    /// Returns the header of the entry of a key.
    pub(super) async fn head_of(&self, context: CallContext, key: &[u8]) -> Result<Option<Head>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let stored = super::only(self.store.read_headers(context, &[&name]).await)?;
        let bytes = stored.clone();
        let take = |entry: &Entry| Some((entry.tags.clone(), entry.load, entry.deadline_ms));
        let found = self.found(Some(key), &name, Ok(stored), S::decode_head, take)?;
        let (tags, load, deadline_ms, bytes) = match self.checked(context, found, &[], Some(key), &name).await? {
            Checked::Live((tags, load, deadline_ms)) => (tags, load, deadline_ms, header_of(bytes.as_deref())),
            Checked::Dead => return Ok(None),
            Checked::Changed => {
                let look = Box::pin(self.look_at(context, name.clone(), Some(key), Asked::IfStale)).await?;
                let Some((tags, load, deadline_ms)) = look.live_as(take) else { return Ok(None) };
                (tags, load, deadline_ms, header_of(Some(look.before_trailer())))
            }
        };
        let part = StoredPart { name: name.clone(), bytes, is_end: false };
        Ok(Some(Head { name, tags, load, deadline_ms, part }))
    }

    pub(super) async fn remaining(&self, context: CallContext, key: &[u8]) -> Result<Option<Option<Duration>>> {
        let Some(head) = self.head_of(context, key).await? else { return Ok(None) };
        if !S::DEADLINES {
            let stale_for = Duration::from_millis(head.load.stale_for_ms);
            return match super::only(self.store.time_left(context, &[head.part]).await)? {
                TimeLeft::Gone => Ok(None),
                TimeLeft::Left(left) => Ok(fresh_of(left, stale_for)),
                TimeLeft::Changed => {
                    let look = Box::pin(self.look_at(context, head.name, Some(key), Asked::Always)).await?;
                    Ok(look.fresh_left())
                }
            };
        }
        if head.load.are_plain() {
            return super::only(self.store.remaining(context, &[&head.name]).await);
        }
        let left = |deadline: u64| Duration::from_millis(deadline.saturating_sub(self.store.now_ms(&head.name)));
        Ok(head.deadline_ms.map(left).map_or(Some(None), |left| Some(Some(left))))
    }

    /// Returns the keys whose server has not reported its limits.
    pub(super) async fn unready<'k>(
        &self,
        context: CallContext,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
    ) -> Unready {
        if self.store.is_ready() {
            return Unready(Vec::new());
        }
        let names = self.names(keys);
        let names: Vec<&[u8]> = names.iter().collect();
        Unready(self.store.make_ready(context, &names).await)
    }

    /// Returns the stored names of keys, in one buffer.
    pub(super) fn names<'k>(&self, keys: impl Iterator<Item = &'k [u8]> + Clone) -> ByteStrings {
        // A name begins with the prefix and three more bytes.
        let (number, bytes) = keys.clone().fold((0, 0), |(number, bytes), key| (number + 1, bytes + key.len()));
        let mut names = ByteStrings::with_capacity(number, bytes + number * (self.prefix.len() + 3));
        keys.for_each(|key| names.push_with(|out| self.store.write_entry_name(out, &self.prefix, key)));
        names
    }

    pub(super) fn encode_entry(&self, entry: &NewEntry, versions: &[TagVersion]) -> Result<EncodedEntry> {
        let mut tags: Vec<TagVersion> = Vec::with_capacity(entry.tags.len());
        for hash in entry.tags.iter().map(|tag| tag_hash(tag)) {
            // A tag that is named twice is one tag.
            let version = versions.iter().find(|version| version.tag == hash);
            tags.extend(version.filter(|version| !tags.contains(version)));
        }
        let tags = Tagged { versions: tags, names: &self.tag_names(entry.tags.iter().copied()) };
        let origin = Origin { nonce: nonce::next()?, created: None };
        Ok(self.encode_stored(entry.key, entry.value, entry.ttl, tags, origin, LoadTerms::default()))
    }

    /// Returns the names of tags that an entry is to store: none without the option.
    pub(super) fn tag_names<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> TagNames {
        if self.keeps_tag_names { TagNames::of(names) } else { TagNames::default() }
    }

    /// Encodes an entry with these tags.
    pub(super) fn encode_stored(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        tags: Tagged<'_>,
        origin: Origin,
        load: LoadTerms,
    ) -> EncodedEntry {
        let (name, keep_key) = self.store.entry_name(&self.prefix, key);
        let stored = Entry {
            deadline_ms: self.deadline_of_load(&name, ttl, load),
            tags: tags.versions,
            key: keep_key.then_some(key),
            tag_names: tags.names.as_bytes(),
            nonce: Some(origin.nonce),
            created_s: origin.created.unwrap_or_else(|| self.created_now(&name)),
            load,
            payload: value,
        };
        let tags: Vec<u64> = stored.tags.iter().map(|tag| tag.tag).collect();
        let generation = generation_among(key, &tags);
        let bytes = entry::encode(&name, &stored);
        let (condition, lasting) = (Condition::Always, Vec::new());
        let ttl = ttl.map(|ttl| ttl.saturating_add(Duration::from_millis(load.stale_for_ms)));
        EncodedEntry { bytes, name, ttl, tags, generation, condition, keeps_expiry: false, moves_ms: 0, lasting }
    }

    /// Returns the deadline of an entry with these properties. On Redis it only makes an entry with another time to live
    /// another entry: see `StoredPart`.
    pub(super) fn deadline_of_load(&self, name: &[u8], ttl: Option<Duration>, load: LoadTerms) -> Option<u64> {
        match ttl {
            Some(ttl) if !load.are_plain() && !load.is_absent => {
                Some(self.store.now_ms(name).saturating_add(millis(ttl)))
            }
            _ => self.deadline_ms(name, ttl),
        }
    }

    /// When an entry ends, where it carries that itself.
    pub(super) fn deadline_ms(&self, name: &[u8], ttl: Option<Duration>) -> Option<u64> {
        ttl.filter(|_| S::DEADLINES).map(|ttl| self.store.now_ms(name).saturating_add(millis(ttl)))
    }

    pub(super) fn is_over(&self, name: &[u8], entry: &Entry) -> bool {
        S::DEADLINES && entry.deadline_ms.is_some_and(|deadline| deadline <= self.store.now_ms(name))
    }

    /// Reads the entries of names that a get would return, and takes something of each, with its place. `keys` are those
    /// of the names, where they are known.
    pub(super) async fn entries_of<T>(
        &self,
        context: CallContext,
        keys: Option<&[&[u8]]>,
        names: &[&[u8]],
        extent: Extent,
        take: impl Fn(usize, &Entry) -> Option<T>,
    ) -> Vec<Result<Option<T>>> {
        let key = |at: usize| keys.map(|keys| keys[at]);
        let mut known = TagVersions::default();
        let (stored, decode): (_, Decode) = match extent {
            Extent::All => {
                let generations = keys.iter().flat_map(|keys| keys.iter()).filter_map(|key| self.generation_of(key));
                let generations: Vec<u64> = generations.collect();
                let stored = if generations.is_empty() {
                    self.step_of(context, names.len(), false, |context| self.store.read(context, names)).await
                } else {
                    // Boxed: a caller may have a small stack.
                    let (stored, versions) = Box::pin(self.read_with_versions(context, names, generations)).await;
                    known = versions;
                    stored
                };
                (stored, entry::decode)
            }
            Extent::Header => (self.store.read_headers(context, names).await, S::decode_head),
        };
        let decoded = |(at, stored)| self.found(key(at), names[at], stored, decode, |entry| take(at, entry));
        let mut found: Vec<_> = stored.into_iter().enumerate().map(decoded).collect();
        let changed = Box::pin(self.drop_stale(context, &mut found)).await;
        let mut entries = self.those_current(context, found, known, keys, names).await;
        for at in changed {
            let look = Box::pin(self.look_at(context, names[at].to_vec(), key(at), Asked::IfStale)).await;
            entries[at] = look.map(|look| look.live_as(|entry| take(at, entry)));
        }
        entries
    }

    /// Reads names, and the versions of tags at the same time.
    async fn read_with_versions(
        &self,
        context: CallContext,
        names: &[&[u8]],
        mut tags: Vec<u64>,
    ) -> (Outcomes<Option<Slice>>, TagVersions) {
        tags.sort_unstable();
        tags.dedup();
        let read = |context| self.store.read_with_versions(context, &self.prefix, names, &tags);
        let (stored, versions) = self.step(context, names.len(), false, read).await.unwrap_or_else(|| {
            let late = || self.late(context);
            (names.iter().map(|_| Err(late())).collect(), tags.iter().map(|_| Err(late())).collect())
        });
        (stored, TagVersions::of_tags(tags, versions))
    }

    /// Decodes what is stored under a name: an entry, of this key where one is given. The trailer of a load without an
    /// entry and a remembered absence are misses. Other bytes that are no entry are a miss that is counted; the entry of another name also ends the
    /// connection.
    pub(super) fn found<T>(
        &self,
        key: Option<&[u8]>,
        name: &[u8],
        stored: Result<Option<Slice>>,
        decode: Decode,
        take: impl FnOnce(&Entry) -> Option<T>,
    ) -> Result<Option<Found<T>>> {
        let Some(stored) = stored? else { return Ok(None) };
        let mut decoded = decode(name, &stored);
        if let Err(DecodeError::Checksum) = decoded
            && let Some((before, _)) = Trailer::split(name, &stored)
        {
            decoded = decode(name, before);
        }
        match decoded {
            Ok(entry) => {
                let ours =
                    key.is_none_or(|key| entry.key.is_none_or(|kept| kept == key)) && !self.is_over(name, &entry);
                let what = if ours { take(&entry) } else { None };
                let outlives = (!S::DEADLINES && entry.load.stale_for_ms != 0).then(|| {
                    let part = StoredPart { name: name.to_vec(), bytes: header_of(Some(&stored)), is_end: false };
                    Box::new(Outlives { part, stale_for: Duration::from_millis(entry.load.stale_for_ms) })
                });
                let own_key = if key.is_none() { entry.key.map(Box::from) } else { None };
                Ok(what.map(|what| Found { what, tags: entry.tags, outlives, key: own_key }))
            }
            Err(DecodeError::Absence) => Ok(None),
            Err(_) if Trailer::split(name, &stored).is_some_and(|(entry, _)| entry.is_empty()) => Ok(None),
            Err(error) => {
                self.counting.decode_error();
                tracing::warn!(
                    server = self.server,
                    "the stored bytes are not an entry of this key ({error:?}): the read is a miss"
                );
                if error == DecodeError::Name {
                    stored.reject();
                }
                Ok(None)
            }
        }
    }
}

fn header_of(stored: Option<&[u8]>) -> Vec<u8> {
    stored.map_or(Vec::new(), |stored| entry::header_bytes(stored).to_vec())
}

/// Joins the failures of entries that were not sent with the outcomes of those that were.
pub(super) fn joined<T>(prepared: Vec<Result<()>>, written: Outcomes<T>) -> impl Iterator<Item = Result<T>> {
    let mut written = written.into_iter();
    prepared.into_iter().map(move |it| it.and_then(|()| written.next().unwrap_or_else(|| Err(no_answer()))))
}

/// A store says that it did not store what it was to store whatever was there.
fn stored(stored: bool) -> Result<()> {
    if stored { Ok(()) } else { Err(Error::new(ErrorKind::Server, "the server did not store the entry")) }
}

#[allow(clippy::unnecessary_wraps)] // What `found` takes: an entry may turn out not to be wanted.
fn value(entry: &Entry) -> Option<Value> {
    Some(Value::from(entry.payload))
}
