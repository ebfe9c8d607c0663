//! Conditional operations and counters, over one primitive of the store: compare the stored bytes, then change them.
//!
//! Each attempt reads the key from its primary, decides, and changes what it has read. If the bytes have changed
//! meanwhile, nothing was done, and another attempt follows. Bytes that a get would report as a miss (expired,
//! invalidated or damaged) count as an absent key, and give way like others.

use std::time::Duration;

use super::entries::{Found, generation_among};
use super::fresh::{Checked, fresh_of};
use super::store::{Change, Condition, Mark};
use super::tags::pair;
use super::trailer::Trailer;
use super::{Announcement, EncodedEntry, Remote, Slice, Store, StoredPart, TimeLeft, nonce};
use crate::backend::{Addition, NewEntry, Outcome, SetCondition};
use crate::entry::{self, Entry, LoadTerms, TagVersion};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::operation::Change as ChangedEntries;
use crate::tag_names::TagNames;
use crate::util::millis;
use crate::value::Value;

/// The bytes under a name, the entry that they are, and the time that the name has left: all at one time.
pub(super) struct Look {
    pub name: Vec<u8>,
    /// `None` if nothing is stored.
    pub stored: Option<(Slice, Mark)>,
    /// `None` if a get would be a miss.
    pub live: Option<Live>,
    /// `None` if it was not asked for.
    left: Option<Option<Duration>>,
}

/// The entries whose store is asked for the time that their names have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those that may be over while their names have time left.
    IfStale,
    /// Those, and others whose load was timed.
    IfTimed,
    /// All.
    Always,
}

/// An entry that a get would return.
pub(super) struct Live {
    pub value: Value,
    pub version: u64,
    pub tags: Vec<TagVersion>,
    pub tag_names: TagNames,
    pub deadline_ms: Option<u64>,
    pub created_s: Option<u32>,
    pub load: LoadTerms,
    /// True if it was stored with an earlier version of its generation than `tags` has. Stored again it has this one.
    pub is_older: bool,
}

impl Look {
    fn version(&self) -> Option<u64> {
        self.live.as_ref().map(|live| live.version)
    }

    /// Returns the time that the name has left, if it was asked for.
    pub(super) fn name_left(&self) -> Option<Option<Duration>> {
        self.left
    }

    /// Returns the time to live that an entry has left; `None`: a get would be a miss.
    pub(super) fn fresh_left(&self) -> Option<Option<Duration>> {
        let load = self.live_load()?;
        fresh_of(self.left?, self.extension() + Duration::from_millis(load.stale_for_ms))
    }

    /// Returns what a load gave the entry that a get would return.
    pub(super) fn live_load(&self) -> Option<LoadTerms> {
        self.live.as_ref().map(|live| live.load)
    }

    /// Returns the end of the time to live of the entry that a get would return, where the entry has it.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.live.as_ref()?.deadline_ms
    }

    /// Takes something of the entry that a get would return.
    pub(super) fn live_as<T>(&self, take: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        self.live.as_ref()?;
        take(&entry::decode(&self.name, self.before_trailer()).ok()?)
    }

    /// Returns the part of the bytes that is compared: the mark.
    fn part(&self) -> StoredPart {
        let bytes = self.mark().map_or(Vec::new(), |mark| mark.as_bytes().to_vec());
        StoredPart { name: self.name.clone(), bytes, is_end: true }
    }

    /// Returns the value that a get would return.
    pub(super) fn value(&self) -> Option<Value> {
        self.live.as_ref().map(|live| live.value.clone())
    }

    /// Returns what is kept after a load that a get would not return: an absence, a value that may be stale, or one that
    /// was loaded again before it was over. Any may have ended.
    pub(super) fn kept(&self) -> Option<Entry<'_>> {
        let kept = entry::decode_any(&self.name, self.before_trailer()).ok()?;
        (kept.load.is_absent || kept.load.stale_for_ms != 0 || self.trailer().is_some()).then_some(kept)
    }

    /// Returns the bytes before the trailer.
    pub(super) fn before_trailer(&self) -> &[u8] {
        let stored = self.stored.as_ref().map_or(&[][..], |(stored, _)| stored);
        Trailer::split(&self.name, stored).map_or(stored, |(before, _)| before)
    }

    /// Returns the time by which the name lasts longer than its value, for a load.
    pub(super) fn extension(&self) -> Duration {
        Duration::from_millis(self.trailer().map_or(0, |trailer| trailer.extension_ms.into()))
    }

    /// Returns the mark of the stored bytes.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.stored.as_ref().map(|(_, mark)| *mark)
    }

    /// Returns the mark of a load.
    pub(super) fn trailer(&self) -> Option<Trailer> {
        let (stored, _) = self.stored.as_ref()?;
        Trailer::split(&self.name, stored).map(|(_, trailer)| trailer)
    }

    /// Returns the condition for storing an entry in place of what was read.
    pub(super) fn condition(&self) -> Condition {
        self.stored.as_ref().map_or(Condition::Absent, |(_, mark)| Condition::Unchanged(*mark))
    }
}

/// The attempts of one call.
pub(super) struct Attempts {
    backoff: Backoff,
    are_repeated: bool,
}

impl Attempts {
    /// Waits before the next attempt; fails if there is no time left for one.
    pub(super) async fn again(&mut self) -> Result<()> {
        self.are_repeated = true;
        if self.backoff.pause().await { Ok(()) } else { Err(contended()) }
    }
}

#[cold]
fn contended() -> Error {
    let text = "other callers change the key faster than this call, or another program has stored a value under it that is larger than max_value_bytes: nothing was changed; try again, or delete the key";
    Error::new(ErrorKind::Busy, text)
}

impl<S: Store> Remote<S> {
    pub(super) fn attempts(&self, context: CallContext) -> Attempts {
        let backoff = Backoff::contended(context, context.end_or(self.timeout));
        Attempts { backoff, are_repeated: false }
    }

    /// Reads what is stored under a key.
    pub(super) async fn look(&self, context: CallContext, key: &[u8]) -> Result<Look> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        self.look_at(context, name, Some(key), Asked::IfStale).await
    }

    /// Reads what is stored under a name, of this key where it is known.
    pub(super) async fn look_at(
        &self,
        context: CallContext,
        name: Vec<u8>,
        key: Option<&[u8]>,
        asked: Asked,
    ) -> Result<Look> {
        if let Some(look) = self.look_once(context, &name, key, asked).await? {
            return Ok(look);
        }
        // Boxed, as it is rare: a caller may have a small stack.
        Box::pin(self.look_again(context, &name, key, asked)).await
    }

    async fn look_again(&self, context: CallContext, name: &[u8], key: Option<&[u8]>, asked: Asked) -> Result<Look> {
        let mut attempts = self.attempts(context);
        loop {
            attempts.again().await?;
            if let Some(look) = self.look_once(context, name, key, asked).await? {
                return Ok(look);
            }
        }
    }

    /// Returns `None` if the bytes had changed when their time was asked for.
    async fn look_once(
        &self,
        context: CallContext,
        name: &[u8],
        key: Option<&[u8]>,
        asked: Asked,
    ) -> Result<Option<Look>> {
        let fingerprint = entry::fingerprint(name);
        let guessed = match key {
            Some(key) => self.guess_tags(key, name, fingerprint),
            None => self.hints.tags_of(fingerprint),
        };
        let (stored, versions) = self.store.read_marked(context, &self.prefix, name, &guessed).await?;
        let mut known = pair(&guessed, versions);
        known.sort_unstable_by_key(|version| version.tag);
        // A value of another type, or of another epoch, has no bytes.
        let bytes = stored.as_ref().map(|(bytes, _)| bytes.clone()).filter(|bytes| !bytes.is_empty());
        let mut found = self.found(key, name, Ok(bytes), entry::decode, live)?;
        if let Some(found) = &found {
            self.hints.saw_entry(fingerprint, &found.tags);
        }
        let mut look = Look { name: name.to_vec(), stored, live: None, left: None };
        let outlives = found.as_mut().and_then(|found| found.outlives.take());
        let is_asked = |found: &Found<Live>| match asked {
            Asked::IfStale => false,
            Asked::IfTimed => found.what.load.load_ms != 0,
            Asked::Always => true,
        };
        if !S::DEADLINES && (outlives.is_some() || found.as_ref().is_some_and(is_asked)) {
            match Box::pin(self.time_left(context, look.part())).await? {
                TimeLeft::Changed => return Ok(None),
                TimeLeft::Gone => return Ok(Some(Look { stored: None, ..look })),
                TimeLeft::Left(left) => look.left = Some(left),
            }
        }
        let outlives_for = outlives.map(|outlives| outlives.stale_for);
        let (left, stale_for) = (look.left.flatten(), outlives_for.unwrap_or_default());
        let found = found.filter(|_| fresh_of(left, stale_for).is_some());
        look.live = match self.checked(context, found, &known, key, name).await? {
            Checked::Live(live) => Some(live),
            Checked::Dead | Checked::Changed => None,
        };
        if let Some(live) = &mut look.live {
            // An entry that is alive has the present versions, or an earlier one that no barrier since then concerns.
            let present = |tag: &TagVersion| known.iter().find(|it| it.tag == tag.tag && it.version != tag.version);
            for tag in &mut live.tags {
                if let Some(present) = present(tag) {
                    *tag = *present;
                    live.is_older = true;
                }
            }
        }
        if let (Some(_), extension) = (outlives_for, millis(look.extension())) {
            look.live.iter_mut().for_each(|live| live.load.stale_for_ms -= extension.min(live.load.stale_for_ms));
        }
        Ok(Some(look))
    }

    pub(super) async fn time_left(&self, context: CallContext, part: StoredPart) -> Result<TimeLeft> {
        super::only(self.store.time_left(context, &[part]).await)
    }

    /// Stores an entry if the condition holds, and returns its version.
    pub(super) async fn set_if(
        &self,
        context: CallContext,
        entry: NewEntry<'_>,
        condition: SetCondition,
    ) -> Result<Option<u64>> {
        let entries = std::slice::from_ref(&entry);
        self.unready(context, std::iter::once(entry.key)).await.of(0)?;
        let versions = self.tag_versions_for(context, entries).await.of(&entry)?;
        let mut write = self.encode_entry(&entry, &versions)?;
        self.store.check_size(&write.name, write.bytes.len())?;
        write.lasting = self.too_short(&versions, entry.ttl);
        let version = entry::decode(&write.name, &write.bytes).map(|entry| entry.version()).unwrap_or_default();
        let mut attempts = self.attempts(context);
        loop {
            let look = self.look(context, entry.key).await?;
            if !condition.holds(look.version()) {
                return Ok(None);
            }
            write.condition = look.condition();
            if self.write_checked(context, &write, &versions, &attempts).await? {
                return Ok(Some(version));
            }
            attempts.again().await?;
        }
    }

    /// Stores an entry if its condition holds, and makes the versions of its tags last.
    pub(super) async fn write_checked(
        &self,
        context: CallContext,
        write: &EncodedEntry,
        versions: &[TagVersion],
        attempts: &Attempts,
    ) -> Result<bool> {
        let asked = self.asked();
        let stored = self.write_if(context, write, attempts).await.map_err(Error::in_doubt)?;
        if stored {
            self.saw_lasting(versions, &write.lasting, asked);
            self.counting.sets(1);
        }
        Ok(stored)
    }

    /// Stores an entry if its condition holds. A name without an entry may still not be free: another program may have
    /// stored a value that is too large to be read. Such a value gives way like any other that a get does not return.
    pub(super) async fn write_if(
        &self,
        context: CallContext,
        write: &EncodedEntry,
        attempts: &Attempts,
    ) -> Result<bool> {
        let stored = self.store.write_if(context, &self.prefix, write).await?;
        if stored || write.condition != Condition::Absent || !attempts.are_repeated {
            return Ok(stored);
        }
        Box::pin(self.write_over_unreadable(context, write)).await
    }

    async fn write_over_unreadable(&self, context: CallContext, write: &EncodedEntry) -> Result<bool> {
        // Before the read: what is there then and cannot be read is what has this mark, or the write will not find it.
        let Some(mark) = self.store.mark_of(context, &write.name).await? else { return Ok(false) };
        if self.store.read_marked(context, &self.prefix, &write.name, &[]).await?.0.is_some() {
            return Ok(false);
        }
        let write = EncodedEntry { condition: Condition::Unchanged(mark), ..write.clone() };
        self.store.write_if(context, &self.prefix, &write).await
    }

    /// Removes a key if it has this version.
    pub(super) async fn delete_if(&self, context: CallContext, key: &[u8], version: u64) -> Result<Outcome> {
        let mut attempts = self.attempts(context);
        loop {
            let Look { name, stored, live, .. } = self.look(context, key).await?;
            let (Some((_, mark)), Some(live)) = (stored, live) else { return Ok(Outcome::Miss) };
            if live.version != version {
                return Ok(Outcome::Unmet);
            }
            let changes = self.store.changes();
            let told = self.announcement(&ChangedEntries::Keys((&[key][..]).into()));
            if self.store.remove_if(context, &name, mark).await.map_err(Error::in_doubt)? {
                Box::pin(self.confirm_removed(context, &[&name], changes)).await?;
                self.counting.deletes(1);
                return Ok(Outcome::Done);
            }
            told.into_iter().for_each(Announcement::settle);
            attempts.again().await?;
        }
    }

    /// Adds to a counter, and returns the sum.
    pub(super) async fn counter_add(&self, context: CallContext, addition: Addition<'_>) -> Result<i64> {
        self.unready(context, std::iter::once(addition.key)).await.of(0)?;
        let created = NewEntry { key: addition.key, value: b"", ttl: addition.ttl, tags: addition.tags };
        let versions = self.tag_versions_for(context, std::slice::from_ref(&created)).await.of(&created)?;
        let mut attempts = self.attempts(context);
        loop {
            // In each attempt: callers that add in place would always be faster than one that reads first.
            if let Some(sum) = self.add_in_place(context, &addition).await? {
                return Ok(sum);
            }
            let look = self.look(context, addition.key).await?;
            let sum = addition.apply(look.live.as_ref().map(|live| live.value.as_bytes()))?;
            let write = self.encode_counter(&addition, sum, &look, &versions)?;
            self.store.check_size(&write.name, write.bytes.len())?;
            if self.write_checked(context, &write, &versions, &attempts).await? {
                return Ok(sum);
            }
            attempts.again().await?;
        }
    }

    /// Adds to a counter without tags in one request. `None`: nothing was changed.
    async fn add_in_place(&self, context: CallContext, addition: &Addition<'_>) -> Result<Option<i64>> {
        let (name, _) = self.store.entry_name(&self.prefix, addition.key);
        if !S::ADDS_IN_PLACE || !addition.tags.is_empty() || !self.hints.tags_of(entry::fingerprint(&name)).is_empty() {
            return Ok(None);
        }
        let first = addition.initial.checked_add(addition.delta);
        let change = Change { delta: addition.delta, first, ttl: addition.ttl, nonce: nonce::next()? };
        let sum = self.store.add_in_place(context, &name, &change).await.map_err(Error::in_doubt)?;
        self.counting.sets(u64::from(sum.is_some()));
        Ok(sum)
    }

    /// Encodes a counter in place of what was read: one that exists keeps its tags and its deadline.
    fn encode_counter(
        &self,
        addition: &Addition<'_>,
        sum: i64,
        look: &Look,
        versions: &[TagVersion],
    ) -> Result<EncodedEntry> {
        let text = sum.to_string();
        let mut write = match &look.live {
            None => {
                let (ttl, tags) = (addition.ttl, addition.tags);
                let entry = NewEntry { key: addition.key, value: text.as_bytes(), ttl, tags };
                let write = self.encode_entry(&entry, versions)?;
                EncodedEntry { lasting: self.too_short(versions, ttl), ..write }
            }
            Some(live) => {
                let write = self.encode_again(addition.key, &look.name, live, text.as_bytes())?;
                let extension = i64::try_from(millis(look.extension())).unwrap_or(i64::MAX);
                EncodedEntry { moves_ms: -extension, ..write }
            }
        };
        let is_plain = |live: &Live| live.tags.is_empty() && live.load.are_plain();
        if S::ADDS_IN_PLACE && look.live.as_ref().map_or(addition.tags.is_empty(), is_plain) {
            write.bytes = entry::counter::encode(&write.name, text.as_bytes(), nonce::next()?);
        }
        write.condition = look.condition();
        Ok(write)
    }

    /// Encodes another value in place of that of an entry.
    fn encode_again(&self, key: &[u8], name: &[u8], live: &Live, value: &[u8]) -> Result<EncodedEntry> {
        let (_, keep_key) = self.store.entry_name(&self.prefix, key);
        let stored = Entry {
            deadline_ms: live.deadline_ms,
            tags: live.tags.clone(),
            key: keep_key.then_some(key),
            tag_names: live.tag_names.as_bytes(),
            nonce: Some(nonce::next()?),
            created_s: live.created_s,
            load: live.load,
            payload: value,
        };
        let tags: Vec<u64> = live.tags.iter().map(|tag| tag.tag).collect();
        let end = |deadline: u64| deadline.saturating_add(live.load.stale_for_ms);
        let left = |deadline| Duration::from_millis(end(deadline).saturating_sub(self.store.now_ms(name)).max(1));
        Ok(EncodedEntry {
            bytes: entry::encode(name, &stored),
            name: name.to_vec(),
            ttl: live.deadline_ms.map(left),
            generation: generation_among(key, &tags),
            tags,
            condition: Condition::Always,
            keeps_expiry: true,
            moves_ms: 0,
            lasting: Vec::new(),
        })
    }
}

#[allow(clippy::unnecessary_wraps)] // What `found` takes.
fn live(entry: &Entry) -> Option<Live> {
    Some(Live {
        value: Value::from(entry.payload),
        version: entry.version(),
        tags: entry.tags.clone(),
        tag_names: TagNames::from_stored(entry.tag_names),
        deadline_ms: entry.deadline_ms,
        created_s: entry.created_s,
        load: entry.load,
        is_older: false,
    })
}
