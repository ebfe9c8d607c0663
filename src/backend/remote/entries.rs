//! Entries in their stored form: read and compared with their tags' stamps, written with them.

use std::time::Duration;

use super::lasting::join;
use super::store::no_answer;
use super::tags::{pair, tags_of};
use super::{EachDone, Lasting, Pairing, Remote, Removal, Store, Write};
use crate::backend::NewEntry;
use crate::entry::{self, DecodeError, Entry, TagStamp, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// What was read under a name, before its tags are compared.
pub(super) struct Found<T> {
    pub tags: Vec<TagStamp>,
    pub what: T,
}

/// Of keys in their order: an error for each whose server has not reported what an entry must fit; empty if all have.
pub(super) struct Unready(Vec<Result<()>>);

impl Unready {
    pub(super) fn of(&self, index: usize) -> Result<()> {
        self.0.get(index).cloned().unwrap_or(Ok(()))
    }
}

/// How an entry's bytes are read: whole, or as far as its header goes.
type Decode = for<'a> fn(&[u8], &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError>;

impl<S: Store> Remote<S> {
    pub(super) async fn read_one(&self, key: &[u8]) -> Result<Option<Value>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let mut read = None;
        let mut each = |_, outcome: Result<Option<&[u8]>>| {
            let (found, pairing) = self.found(Some(key), &name, outcome, entry::decode, |entry| value(key, entry));
            read = Some(found);
            pairing
        };
        let fingerprint = entry::fingerprint(&name);
        let guessed = self.hints.tags_of(fingerprint);
        let known = if guessed.is_empty() {
            self.store.read(&[&name], &mut each).await;
            Vec::new()
        } else {
            let stamps = self.store.read_with_stamps(&self.prefix, &name, &guessed, &mut each).await;
            let mut known = pair(&guessed, stamps?);
            known.sort_unstable_by_key(|stamp| stamp.tag);
            known
        };
        let found = read.unwrap_or_else(|| Err(no_answer()))?;
        if let Some(found) = &found {
            self.hints.saw_entry(fingerprint, &found.tags);
        }
        let value = self.if_current_by(found, known).await?;
        self.counting.reads(u64::from(value.is_some()), u64::from(value.is_none()));
        Ok(value)
    }

    pub(super) async fn read_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<Option<Value>>>> {
        let names = self.names(keys);
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut read = unanswered(keys.len());
        let mut each = |index: usize, outcome: Result<Option<&[u8]>>| {
            let key = keys[index];
            let (found, pairing) =
                self.found(Some(key), names[index], outcome, entry::decode, |entry| value(key, entry));
            read[index] = Some(found);
            pairing
        };
        let step = self.step(names.len(), false, self.store.read(&names, &mut each)).await;
        let values = self.those_current(self.outcomes(read, step)).await;
        let hits = values.iter().filter(|value| matches!(value, Ok(Some(_)))).count() as u64;
        let misses = values.iter().filter(|value| matches!(value, Ok(None))).count() as u64;
        self.counting.reads(hits, misses);
        Ok(values)
    }

    pub(super) async fn write_one(&self, entry: NewEntry<'_>) -> Result<()> {
        if !entry.tags.is_empty() && self.write_as_guessed(&entry).await? {
            self.counting.sets(1);
            return Ok(());
        }
        self.write_many(std::slice::from_ref(&entry)).await.and_then(super::only)
    }

    /// Stores an entry with the stamps its tags had last, and looks whether
    /// they still have them: if not, nobody will read it, and it is stored anew.
    async fn write_as_guessed(&self, entry: &NewEntry<'_>) -> Result<bool> {
        let tags = tags_of(std::slice::from_ref(entry));
        let Some(guessed) = self.hints.stamps_of(&tags).filter(|_| self.store.is_ready()) else { return Ok(false) };
        let mut write = self.stored_form(entry, &guessed);
        self.store.check_size(&write.name, write.bytes.len())?;
        write.lasting = self.too_short(&guessed, entry.ttl);
        let asked = self.asked();
        let stamps = pair(&tags, self.store.write_with_stamps(&self.prefix, &write, &tags).await?);
        self.hints.saw_stamps(&stamps);
        self.saw_lasting(&stamps, &write.lasting, asked);
        Ok(stamps == guessed)
    }

    pub(super) async fn write_many(&self, entries: &[NewEntry<'_>]) -> Result<Vec<Result<()>>> {
        let unready = self.unready(entries.iter().map(|entry| entry.key)).await;
        let stamps = self.stamps_for(entries).await;
        let mut outcomes = unanswered(entries.len());
        let (mut writes, mut indexes) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let mut lasting = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match unready.of(index).and_then(|()| stamps.of(entry)) {
                Ok(stamps) => {
                    lasting.extend(self.too_short(&stamps, entry.ttl));
                    writes.push(self.stored_form(entry, &stamps));
                    indexes.push(index);
                }
                Err(error) => outcomes[index] = Some(Err(error)),
            }
        }
        // When one entry is refused none is stored.
        writes.iter().try_for_each(|write| self.store.check_size(&write.name, write.bytes.len()))?;
        let mut each = |index: usize, outcome: Result<bool>| {
            outcomes[indexes[index]] = Some(outcome.and_then(stored));
            Pairing::Right
        };
        let stamps = stamps.all();
        let writing = self.write_lasting(&mut writes, lasting, &stamps, &mut each);
        let step = self.step(entries.len(), true, writing).await;
        let outcomes = self.outcomes(outcomes, step);
        self.counting.sets(outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64);
        Ok(outcomes)
    }

    /// Stores entries, and makes the versions of their tags last.
    pub(super) async fn write_lasting(
        &self,
        writes: &mut [Write],
        lasting: Vec<Lasting>,
        stamps: &[TagStamp],
        each: EachDone<'_>,
    ) {
        let lasting = join(lasting);
        if let Some(first) = writes.first_mut() {
            first.lasting.clone_from(&lasting);
        }
        let (asked, mut failed) = (self.asked(), false);
        let mut each = |index: usize, outcome: Result<bool>| {
            failed |= outcome.is_err();
            each(index, outcome)
        };
        self.store.write(&self.prefix, writes, &mut each).await;
        if !failed {
            self.saw_lasting(stamps, &lasting, asked);
        }
    }

    pub(super) async fn remove_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<bool>>> {
        let names = self.names(keys);
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut removed = unanswered(keys.len());
        let mut each = |index: usize, outcome: Result<Option<&[u8]>>| {
            let (found, pairing) = self.found(Some(keys[index]), names[index], outcome, S::decode_head, |_| Some(()));
            removed[index] = Some(found);
            pairing
        };
        let changes = self.store.changes();
        let step = self.step(names.len(), false, self.store.remove(&names, &mut each)).await;
        let removed = self.those_current(self.outcomes(removed, step)).await;
        let done: Vec<&[u8]> = names.iter().zip(&removed).filter(|(_, it)| it.is_ok()).map(|(name, _)| *name).collect();
        let confirmed = Box::pin(self.confirm_removed(&done, changes)).await;
        let done = |it: Option<()>| confirmed.clone().map(|()| it.is_some());
        let there: Vec<Result<bool>> = removed.into_iter().map(|it| it.and_then(done)).collect();
        self.counting.deletes(there.iter().filter(|it| matches!(it, Ok(true))).count() as u64);
        Ok(there)
    }

    /// Confirms that names stay removed. A server that was replaced during the removal may have lost it: it is repeated.
    async fn confirm_removed(&self, names: &[&[u8]], changes: u64) -> Result<()> {
        if self.store.changes() != changes && !names.is_empty() {
            self.store.unlink(names).await?;
        }
        self.confirm(Removal::Names(names)).await
    }

    /// The name of a key whose entry is there, and the entry's tags.
    pub(super) async fn head_of(&self, key: &[u8]) -> Result<Option<(Vec<u8>, Vec<TagStamp>)>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let mut read = Err(no_answer());
        let mut each = |_, outcome: Result<Option<&[u8]>>| {
            let (found, pairing) =
                self.found(Some(key), &name, outcome, S::decode_head, |entry| Some(entry.tags.clone()));
            read = found;
            pairing
        };
        self.store.heads(&[&name], &mut each).await;
        Ok(self.if_current(read?).await?.map(|tags| (name, tags)))
    }

    pub(super) async fn expire_one(&self, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        match self.head_of(key).await? {
            Some((name, tags)) => {
                Box::pin(self.make_last(&tags, ttl)).await?;
                self.store.expire(&name, ttl).await
            }
            None => Ok(false),
        }
    }

    pub(super) async fn remaining(&self, key: &[u8]) -> Result<Option<Option<Duration>>> {
        match self.head_of(key).await? {
            Some((name, _)) => super::only(self.store.remaining(&[&name]).await),
            None => Ok(None),
        }
    }

    /// Which of the keys have a server that has not reported what an entry must fit.
    pub(super) async fn unready<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Unready {
        if self.store.is_ready() {
            return Unready(Vec::new());
        }
        let names: Vec<Vec<u8>> = keys.map(|key| self.store.entry_name(&self.prefix, key).0).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        Unready(self.store.make_ready(&names).await)
    }

    pub(super) fn names(&self, keys: &[&[u8]]) -> Vec<Vec<u8>> {
        keys.iter().map(|key| self.store.entry_name(&self.prefix, key).0).collect()
    }

    fn stored_form(&self, entry: &NewEntry, stamps: &[TagStamp]) -> Write {
        let (name, keep_key) = self.store.entry_name(&self.prefix, entry.key);
        let stamp = |tag: &&[u8]| stamps.iter().find(|stamp| stamp.tag == tag_hash(tag)).copied();
        let stored = Entry {
            deadline_ms: self.deadline_ms(&name, entry.ttl),
            tags: entry.tags.iter().filter_map(stamp).collect(),
            key: keep_key.then_some(entry.key),
            payload: entry.value,
        };
        let tags = stored.tags.iter().map(|tag| tag.tag).collect();
        let bytes = entry::encode(&name, &stored);
        Write { bytes, name, ttl: entry.ttl, tags, only_if_absent: false, lasting: Vec::new() }
    }

    /// When an entry ends, where it carries that itself.
    pub(super) fn deadline_ms(&self, name: &[u8], ttl: Option<Duration>) -> Option<u64> {
        ttl.filter(|_| S::DEADLINES).map(|ttl| self.store.now_ms(name).saturating_add(millis(ttl)))
    }

    fn is_over(&self, name: &[u8], entry: &Entry) -> bool {
        entry.deadline_ms.is_some_and(|deadline| deadline <= self.store.now_ms(name))
    }

    /// What is stored under a name, if it is an entry, of that key where one is given; bytes that are none are a miss that is counted.
    pub(super) fn found<T>(
        &self,
        key: Option<&[u8]>,
        name: &[u8],
        outcome: Result<Option<&[u8]>>,
        decode: Decode,
        take: impl FnOnce(&Entry) -> Option<T>,
    ) -> (Result<Option<Found<T>>>, Pairing) {
        let stored = match outcome {
            Ok(Some(stored)) => stored,
            Ok(None) => return (Ok(None), Pairing::Right),
            Err(error) => return (Err(error), Pairing::Right),
        };
        match decode(name, stored) {
            Ok(entry) => {
                let ours =
                    key.is_none_or(|key| entry.key.is_none_or(|kept| kept == key)) && !self.is_over(name, &entry);
                let what = if ours { take(&entry) } else { None };
                (Ok(what.map(|what| Found { what, tags: entry.tags })), Pairing::Right)
            }
            Err(error) => {
                self.counting.decode_error();
                tracing::warn!(server = self.server, "stored bytes are no entry of their name ({error:?}): a miss");
                let pairing = if error == DecodeError::Name { Pairing::Wrong } else { Pairing::Right };
                (Ok(None), pairing)
            }
        }
    }
}

/// Places for the outcomes of so many names.
pub(super) fn unanswered<T>(names: usize) -> Vec<Option<Result<T>>> {
    (0..names).map(|_| None).collect()
}

/// A store says that it did not store what it was to store whatever was there.
fn stored(stored: bool) -> Result<()> {
    if stored { Ok(()) } else { Err(Error::new(ErrorKind::Server, "the server did not store the entry")) }
}

#[allow(clippy::unnecessary_wraps)] // What `found` takes: an entry may turn out not to be wanted.
fn value(key: &[u8], entry: &Entry) -> Option<Value> {
    Some(Value::keyed(key, entry.payload))
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
