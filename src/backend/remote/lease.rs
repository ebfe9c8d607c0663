//! Leases in a shared store: a trailer under the name of the key says that a caller loads it.
//!
//! A lease is taken, filled and ended by comparing the stored bytes and then changing them. A set, a delete, a pattern or
//! a flush changes or removes the bytes, so that the fill of an earlier lease finds others and stores nothing. The
//! versions of the tags are read before the lease is given, and the value is stored with them: an invalidation during
//! the load makes it a miss, whenever it is stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conditional::{Asked, Attempts, Look};
use super::entries::{Origin, Tagged};
use super::fresh::fresh_of;
use super::tags::{Standing, pair};
use super::trailer::{self, Kind, Trailer};
use super::watches::{Part, Watcher, Woken};
use super::{Condition, EncodedEntry, Mark, Remote, Slice, Store, nonce};
use crate::backend::{Missing, Outcome};
use crate::entry::{self, Entry, LoadTerms, TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::lease::{
    Fill, LONGEST, Lease, LeaseData, LeaseOptions, LoadState, Loaded, Wait, held_back, is_due, still_loading,
};
use crate::util::millis;
use crate::util::random::jittered;
use crate::value::Value;

/// The longest pause between two looks at a key that another caller loads: one caller of this process looks for all. A
/// pause is between half of it and all of it.
const PAUSE: Duration = Duration::from_millis(10);
/// The time after which a caller looks by itself, if the one that looks for all is held up.
const PATIENCE: Duration = Duration::from_millis(100);
/// The time that a look at a key needs at least, at a server that is not slow.
const LEAST_LOOK: Duration = Duration::from_millis(100);
/// The hash of no tag, whose version is that of the whole prefix: each invalidation replaces it before the versions of
/// its tags.
pub const PREFIX_TAG: u64 = 0x2D06_8005_38D3_94C2;

/// The state of a key that a get reports as a miss.
enum Kept {
    Nothing,
    Absence,
    /// A stale value, and the time for which it may be served; `None`: for ever.
    Stale(Value, Option<Duration>),
    /// A value that may not be served any more, though it was not invalidated.
    Over,
}

/// The result of one attempt to read or lease a key.
enum Attempt {
    Done(Loaded),
    /// No caller loads the key for this time, because a load failed.
    HeldBack(Duration),
    /// Another caller has the lease.
    Taken,
}

impl<S: Store> Remote<S> {
    /// Reads a key or takes its lease. Waits for the load of another caller in steps, each a call of its own.
    pub(super) async fn get_or_lease(
        &self,
        context: CallContext,
        key: &[u8],
        options: LeaseOptions<'_>,
    ) -> Result<Loaded> {
        if !self.store.capabilities().compare {
            return Err(unsupported());
        }
        let end = options.wait.end(self.timeout, context.end());
        let (mut watcher, mut waited): (Option<Watcher>, bool) = (None, false);
        loop {
            let attempt = |context| self.read_or_lease(context, key, &options);
            watcher.iter().for_each(Watcher::begin_look);
            let left = context.left_or(self.timeout);
            let attempted = context.bounded(self.timeout, &self.server, attempt).await;
            if let (Some(watcher), false) = (&watcher, matches!(attempted, Ok(Attempt::Taken))) {
                watcher.saw_end(fresh_value(&attempted));
            }
            // The last look found another caller at work. The rest of the call was too short for one more: that says nothing
            // about the server.
            let is_late = matches!(&attempted, Err(error) if error.kind() == ErrorKind::Timeout);
            if is_late && waited && context.is_over() && left < LEAST_LOOK {
                return Err(still_loading());
            }
            match attempted? {
                Attempt::Done(loaded) => return Ok(Loaded { waited, ..loaded }),
                Attempt::HeldBack(left) => return Err(held_back(left)),
                Attempt::Taken if options.wait == Wait::No || Instant::now() >= end => return Err(still_loading()),
                Attempt::Taken => waited = true,
            }
            if let Some(value) = self.wait_for_load(context, key, &mut watcher, end).await {
                self.counting.reads(1, 0);
                return Ok(Loaded { waited, ..Loaded::of(LoadState::Fresh, Some(value)) });
            }
            if context.is_over() {
                return Err(still_loading());
            }
        }
    }

    /// Waits until it is time to look again at a key that another caller loads: between two looks of the watcher, or until
    /// the watcher has seen the end of the load. Returns the value that it has seen.
    async fn wait_for_load<'a>(
        &'a self,
        context: CallContext,
        key: &[u8],
        watcher: &mut Option<Watcher<'a>>,
        end: Instant,
    ) -> Option<Value> {
        let watcher = loop {
            if let Some(watcher) = watcher {
                break watcher;
            }
            match self.watches.join(key) {
                Part::Watcher(joined) => *watcher = Some(joined),
                Part::Waiter(waiter) => {
                    let patience = end.min(Instant::now() + jittered(PATIENCE));
                    match context.run_until(patience, |_| waiter.woken()).await {
                        Some(Woken::Value(value)) => return Some(value),
                        Some(Woken::Watch) if Instant::now() < end => {}
                        _ => return None,
                    }
                }
            }
        };
        context.run_until(end.min(Instant::now() + jittered(PAUSE)), |_| watcher.changed()).await;
        None
    }

    async fn read_or_lease(&self, context: CallContext, key: &[u8], options: &LeaseOptions<'_>) -> Result<Attempt> {
        self.unready(context, std::iter::once(key)).await.of(0)?;
        let mut attempts = self.attempts(context);
        loop {
            let asked = if options.refresh_ahead { Asked::IfTimed } else { Asked::IfStale };
            let (name, _) = self.store.entry_name(&self.prefix, key);
            let look = self.look_at(context, name, Some(key), asked).await?;
            if let Some(value) = look.value() {
                self.counting.reads(1, 0);
                let loaded = Loaded::of(LoadState::Fresh, Some(value));
                if !options.refresh_ahead || !self.is_due(&look) {
                    return Ok(Attempt::Done(loaded));
                }
                return Ok(Attempt::Done(Box::pin(self.refresh_early(context, key, &look, options, loaded)).await));
            }
            let (kept, left) = self.kept(context, key, &look).await?;
            // The lease of a value that was invalidated is over.
            let counts = look.before_trailer().is_empty() || !matches!(kept, Kept::Nothing);
            let known = look.trailer().filter(|_| counts);
            let stale = match kept {
                Kept::Absence => {
                    self.counting.reads(0, 1);
                    return Ok(Attempt::Done(Loaded::of(LoadState::Absent, None)));
                }
                Kept::Stale(value, left) => Some((value, left)),
                Kept::Nothing | Kept::Over => None,
            };
            let current = known.filter(|known| !self.has_ended(&look.name, known, left));
            match (current, stale.clone()) {
                (Some(_), Some((value, _))) => {
                    self.counting.reads(1, 0);
                    return Ok(Attempt::Done(Loaded::of(LoadState::Stale, Some(value))));
                }
                (Some(Trailer { kind: Kind::Leased, .. }), None) => return Ok(Attempt::Taken),
                (Some(trailer), None) => return Ok(Attempt::HeldBack(self.left_of(&look.name, &trailer, left))),
                (None, _) => {}
            }
            let stays = stale.as_ref().map(|(_, left)| *left);
            let taken = match self.take_lease(context, key, &look, stays, options, &attempts).await {
                // A stale value is worth more than its refresh.
                Err(error) if error.kind() == ErrorKind::TooLarge && stale.is_some() => {
                    self.counting.reads(1, 0);
                    let value = stale.map(|(value, _)| value);
                    return Ok(Attempt::Done(Loaded::of(LoadState::Stale, value)));
                }
                taken => taken?,
            };
            if let Some(lease) = taken {
                self.counting.reads(u64::from(stale.is_some()), u64::from(stale.is_none()));
                let took_over = known.is_some_and(|known| known.kind == Kind::Leased);
                let state = if stale.is_some() { LoadState::Stale } else { LoadState::Vacant };
                let loaded = Loaded::of(state, stale.map(|(value, _)| value));
                return Ok(Attempt::Done(Loaded { lease: Some(Arc::new(Lease::new(lease))), took_over, ..loaded }));
            }
            attempts.again().await?;
        }
    }

    /// Returns true if a fresh entry is due for an early refresh.
    fn is_due(&self, look: &Look) -> bool {
        let load = look.live_load().map_or(0, |load| load.load_ms);
        let left = if S::DEADLINES {
            look.deadline_ms().map(|deadline| Some(self.until(&look.name, deadline)))
        } else {
            look.fresh_left()
        };
        is_due(Duration::from_millis(load.into()), left.flatten())
    }

    fn until(&self, name: &[u8], end_ms: u64) -> Duration {
        Duration::from_millis(end_ms.saturating_sub(self.store.now_ms(name)))
    }

    /// Adds the lease of a fresh value, unless another caller refreshes it. A failure costs no more than the lease: the
    /// value is there.
    async fn refresh_early(
        &self,
        context: CallContext,
        key: &[u8],
        look: &Look,
        options: &LeaseOptions<'_>,
        fresh: Loaded,
    ) -> Loaded {
        let known = look.trailer();
        if known.is_some_and(|known| !self.has_ended(&look.name, &known, look.name_left().flatten())) {
            return fresh;
        }
        let (left, attempts) = (self.left_of_fresh(look), self.attempts(context));
        match self.take_lease(context, key, look, Some(left), options, &attempts).await {
            Ok(Some(lease)) => {
                let took_over = known.is_some_and(|known| known.kind == Kind::Leased);
                Loaded { lease: Some(Arc::new(Lease::new(lease))), took_over, ..fresh }
            }
            Ok(None) | Err(_) => fresh,
        }
    }

    /// Returns the time for which a fresh value may still be served, also as stale; `None`: for ever.
    fn left_of_fresh(&self, look: &Look) -> Option<Duration> {
        if !S::DEADLINES {
            return look.name_left().flatten().map(|left| left.saturating_sub(look.extension()));
        }
        let stale_for_ms = look.live_load().unwrap_or_default().stale_for_ms;
        look.deadline_ms().map(|deadline| self.until(&look.name, deadline.saturating_add(stale_for_ms)))
    }

    /// Returns the state of a key that a get reports as a miss, and on Redis the time that its name has left.
    async fn kept(&self, context: CallContext, key: &[u8], look: &Look) -> Result<(Kept, Option<Duration>)> {
        let Some(kept) = look.kept().filter(|kept| kept.key.is_none_or(|kept| kept == key)) else {
            return Ok((Kept::Nothing, None));
        };
        let end = kept.deadline_ms.map(|deadline| deadline.saturating_add(kept.load.stale_for_ms));
        let value = (!kept.load.is_absent).then(|| Value::from(kept.payload));
        if !self.are_current(context, key, &kept.tags).await? {
            return Ok((Kept::Nothing, None));
        }
        if S::DEADLINES {
            let left = end.map(|end| self.until(&look.name, end));
            let is_over = left.is_some_and(|left| left.is_zero());
            let kept = match value {
                None if is_over => Kept::Nothing,
                None => Kept::Absence,
                Some(_) if is_over => Kept::Over,
                Some(value) => Kept::Stale(value, left),
            };
            return Ok((kept, None));
        }
        let Some(value) = value else { return Ok((Kept::Absence, None)) };
        let Some(left) = look.name_left() else { return Ok((Kept::Nothing, None)) };
        Ok((fresh_of(left, look.extension()).map_or(Kept::Over, |stale| Kept::Stale(value, stale)), left))
    }

    /// Takes the lease of a key; `None` if its bytes have changed since the look. A stale value stays, for the time that it
    /// has left.
    async fn take_lease(
        &self,
        context: CallContext,
        key: &[u8],
        look: &Look,
        stays: Option<Option<Duration>>,
        options: &LeaseOptions<'_>,
        attempts: &Attempts,
    ) -> Result<Option<LeaseData>> {
        let mut tags: Vec<u64> = options.tags.iter().map(|tag| tag_hash(tag)).collect();
        tags.push(PREFIX_TAG);
        let mut tags = self.versions_before_load(context, tags).await?;
        let prefix_version = tags.iter().position(|tag| tag.tag == PREFIX_TAG).map(|at| tags.swap_remove(at).version);
        let (token, taken) = (nonce::next()?, Instant::now());
        let tag_names = self.tag_names(options.tags.iter().copied());
        let (key_of_lease, instance) = (key.to_vec(), self.instance);
        let lease = LeaseData { key: key_of_lease, token, instance, tags, tag_names, prefix_version, taken };
        let write = self.marked(look, stays, Kind::Leased, token, options.lease);
        options.asked_for(&lease);
        match self.write_if(context, &write, attempts).await {
            Ok(true) => {}
            Ok(false) => {
                options.not_given(&lease);
                return Ok(None);
            }
            // The value leaves no room for the lease within the limit of the server.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                options.not_given(&lease);
                return Err(error);
            }
            // The reply was lost: the lease may have been given.
            Err(error) => {
                let again = self.look(context, key).await.map_err(|_| error.clone())?;
                if again.trailer().is_none_or(|there| there.token != token) {
                    return Err(error);
                }
            }
        }
        Ok(Some(lease))
    }

    /// Reads the versions of tags before a load, and creates those that are missing.
    async fn versions_before_load(&self, context: CallContext, mut tags: Vec<u64>) -> Result<Vec<TagVersion>> {
        tags.sort_unstable();
        tags.dedup();
        let missing = Missing::Created(Some(LONGEST));
        let versions = self.store.tag_versions(context, &self.prefix, &tags, missing).await;
        let versions = pair(&tags, versions.into_iter().collect::<Result<_>>()?);
        // Without its version an invalidation of the tag would not be seen.
        if versions.len() < tags.len() { Err(super::tags::not_kept()) } else { Ok(versions) }
    }

    /// Returns the write of a trailer: alone, or behind a value that may be served for the time that it has left. The name
    /// lasts at least as long as the trailer: the load is known after the value is over.
    fn marked(
        &self,
        look: &Look,
        stays: Option<Option<Duration>>,
        kind: Kind,
        token: u64,
        time: Duration,
    ) -> EncodedEntry {
        let (name, left, before) = (&look.name, stays.flatten(), look.extension());
        let mut trailer =
            Trailer { kind, token, deadline_ms: self.store.now_ms(name).saturating_add(millis(time)), extension_ms: 0 };
        let mut extension = before;
        // Redis has no clock that all processes share, but the time that the name has left.
        if let (Some(left), false) = (left, S::DEADLINES) {
            // Never less than before: a header that was there before must not come back with another expiry.
            extension = before.max(time.saturating_sub(left));
            trailer.deadline_ms = millis(left + extension - time);
            trailer.extension_ms = u32::try_from(millis(extension)).unwrap_or(u32::MAX);
        }
        let longer_ms = millis(extension - before);
        let value = stays.map_or(Vec::new(), |_| longer_stale(name, look.before_trailer(), longer_ms));
        EncodedEntry {
            bytes: [&value[..], &trailer.encode(name)].concat(),
            name: name.clone(),
            ttl: if stays == Some(None) { None } else { Some(left.map_or(time, |left| left.max(time))) },
            tags: Vec::new(),
            generation: None,
            condition: look.condition(),
            keeps_expiry: stays.is_some(),
            moves_ms: i64::try_from(longer_ms).unwrap_or(i64::MAX),
            lasting: Vec::new(),
        }
    }

    /// Returns true if a trailer has ended, behind a value that has this time left. A trailer alone ends with its name on a
    /// store with a fine clock.
    fn has_ended(&self, name: &[u8], trailer: &Trailer, left: Option<Duration>) -> bool {
        if S::DEADLINES {
            return trailer.deadline_ms <= self.store.now_ms(name);
        }
        left.is_some_and(|left| millis(left) <= trailer.deadline_ms)
    }

    /// Returns the time until a trailer ends, alone or behind a value whose name has this time left.
    fn left_of(&self, name: &[u8], trailer: &Trailer, left: Option<Duration>) -> Duration {
        match left.filter(|_| !S::DEADLINES) {
            Some(left) => left.saturating_sub(Duration::from_millis(trailer.deadline_ms)),
            None => self.until(name, trailer.deadline_ms),
        }
    }

    /// Stores the result of a load, if the lease is still held and none of the tags was invalidated.
    pub(super) async fn fill(&self, context: CallContext, lease: &LeaseData, fill: &Fill<'_>) -> Result<Outcome> {
        if lease.instance != self.instance {
            return Ok(Outcome::Superseded);
        }
        self.unready(context, std::iter::once(&lease.key[..])).await.of(0)?;
        let (name, _) = self.store.entry_name(&self.prefix, &lease.key);
        let late = late_tags(lease, fill);
        let load = terms(lease, fill);
        let names = self.tag_names(lease.tag_names.iter().chain(fill.tags.iter().copied()));
        let value = if fill.absent { &[] } else { fill.value };
        let mut attempts = self.attempts(context);
        loop {
            let mut known = lease.tags.clone();
            let late = self.versions_before_load(context, late.clone()).await?;
            // Read after the versions of the tags: as long as it is the same, they are those from before the load.
            known.extend(lease.prefix_version.filter(|_| !late.is_empty()).map(of_prefix));
            let tags: Vec<u64> = known.iter().map(|tag| tag.tag).collect();
            let (stored, versions) = self.store.read_marked(context, &self.prefix, &name, &tags).await?;
            let Some(held) = self.held(context, &lease.key, &name, stored.as_ref(), lease.token).await? else {
                return Ok(if is_filled(&name, stored.as_ref(), lease.token) {
                    Outcome::Done
                } else {
                    Outcome::Superseded
                });
            };
            let versions = pair(&tags, versions);
            let standing = Standing::of(&known, |tag| versions.iter().find(|it| it.tag == tag).map(|it| it.version));
            if !self.stands(context, standing, || Some(lease.key.as_slice().into())).await? {
                self.store.remove_if(context, &name, held).await?;
                return Ok(Outcome::Superseded);
            }
            // A load that began before a barrier which does not match its key may take the present version.
            known = versions;
            known.retain(|tag| tag.tag != PREFIX_TAG);
            known.extend(late);
            let origin = Origin { nonce: lease.token, created: None };
            let tags = Tagged { versions: known.clone(), names: &names };
            let mut write = self.encode_stored(&lease.key, value, fill.ttl, tags, origin, load);
            // An entry that is leased while it is there has a trailer behind it.
            let room = if load.stale_for_ms != 0 || load.load_ms != 0 { trailer::LEN } else { 0 };
            self.store.check_size(&write.name, write.bytes.len() + room)?;
            write.lasting = self.too_short(&known, write.ttl);
            write.condition = Condition::Unchanged(held);
            if self.write_checked(context, &write, &known, &attempts).await? {
                return Ok(Outcome::Done);
            }
            attempts.again().await?;
        }
    }

    /// Ends a lease that has not ended. With a time, no caller gets another one for so long.
    pub(super) async fn abandon(
        &self,
        context: CallContext,
        lease: &LeaseData,
        retry_after: Duration,
    ) -> Result<Outcome> {
        if lease.instance != self.instance {
            return Ok(Outcome::Done);
        }
        let mut attempts = self.attempts(context);
        loop {
            let (name, _) = self.store.entry_name(&self.prefix, &lease.key);
            let look = self.look_at(context, name, Some(&lease.key), Asked::Always).await?;
            let trailer = look.trailer().filter(|it| it.kind == Kind::Leased && it.token == lease.token);
            let (Some(_), Some(mark)) = (trailer, look.mark()) else { return Ok(Outcome::Done) };
            let stays = match look.live_load() {
                Some(_) => Some(self.left_of_fresh(&look)),
                None => match self.kept(context, &lease.key, &look).await?.0 {
                    Kept::Stale(_, left) => Some(left),
                    _ => None,
                },
            };
            let ended = if stays.is_none() && retry_after.is_zero() {
                self.store.remove_if(context, &look.name, mark).await?
            } else {
                let mut write = self.marked(&look, stays, Kind::HeldBack, nonce::next()?, retry_after);
                // Behind a name that lasts longer a trailer that has ended says by how much.
                if retry_after.is_zero() && look.extension().is_zero() {
                    write.bytes = look.before_trailer().to_vec();
                }
                self.store.write_if(context, &self.prefix, &write).await?
            };
            if ended {
                return Ok(Outcome::Done);
            }
            attempts.again().await?;
        }
    }

    /// Returns the mark of the bytes of a lease, if it is still held: it has not ended, and the value before it was not
    /// invalidated.
    async fn held(
        &self,
        context: CallContext,
        key: &[u8],
        name: &[u8],
        stored: Option<&(Slice, Mark)>,
        token: u64,
    ) -> Result<Option<Mark>> {
        let Some((bytes, mark)) = stored else { return Ok(None) };
        let Some((before, trailer)) = Trailer::split(name, bytes) else { return Ok(None) };
        if trailer.kind != Kind::Leased || trailer.token != token {
            return Ok(None);
        }
        let mut left = None;
        if let Ok(entry) = entry::decode_any(name, before) {
            if !self.are_current(context, key, &entry.tags).await? {
                return Ok(None);
            }
            if !S::DEADLINES {
                // The time may be that of other bytes by now: the write for the lease compares them again.
                left = super::only(self.store.remaining(context, &[name]).await)?.flatten();
            }
        }
        Ok((!self.has_ended(name, &trailer, left)).then_some(*mark))
    }
}

/// Returns the value of a look that every caller may return.
fn fresh_value(attempted: &Result<Attempt>) -> Option<Value> {
    match attempted {
        Ok(Attempt::Done(Loaded { state: LoadState::Fresh, lease: None, value, .. })) => value.clone(),
        _ => None,
    }
}

/// Returns the properties that a fill gives its entry.
fn terms(lease: &LeaseData, fill: &Fill<'_>) -> LoadTerms {
    if fill.absent || fill.ttl.is_none() {
        return LoadTerms { is_absent: fill.absent, ..LoadTerms::default() };
    }
    let load = u32::try_from(millis(lease.taken.elapsed())).unwrap_or(u32::MAX).max(1);
    let load_ms = if fill.keeps_load { load } else { 0 };
    LoadTerms { stale_for_ms: millis(fill.stale_for), load_ms, is_absent: false }
}

/// Returns a stored value whose stale time is longer, as its name lasts longer.
fn longer_stale(name: &[u8], stored: &[u8], longer_ms: u64) -> Vec<u8> {
    match entry::decode(name, stored) {
        Ok(entry) if longer_ms != 0 => {
            let stale_for_ms = entry.load.stale_for_ms.saturating_add(longer_ms);
            entry::encode(name, &Entry { load: LoadTerms { stale_for_ms, ..entry.load }, ..entry })
        }
        _ => stored.to_vec(),
    }
}

fn of_prefix(version: u64) -> TagVersion {
    TagVersion { tag: PREFIX_TAG, version }
}

/// Returns the tags of a fill that were not named with the lease.
fn late_tags(lease: &LeaseData, fill: &Fill<'_>) -> Vec<u64> {
    let tags = fill.tags.iter().map(|tag| tag_hash(tag));
    tags.filter(|tag| lease.tags.iter().all(|named| named.tag != *tag)).collect()
}

/// Returns true if the fill of a lease is what is stored: its reply was lost.
fn is_filled(name: &[u8], stored: Option<&(Slice, Mark)>, token: u64) -> bool {
    stored.is_some_and(|(bytes, _)| entry::decode_any(name, bytes).is_ok_and(|entry| entry.nonce == Some(token)))
}

#[cold]
fn unsupported() -> Error {
    let text = "leases need a server that compares before it writes: on Redis, grant the command EVAL to the user (ACL SETUSER … +eval), or enable scripts; start Memcached without -C";
    Error::new(ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_prefix_is_that_of_no_tag() {
        assert_eq!(PREFIX_TAG, tag_hash(b""));
    }
}
