//! Leases in a shared store: a trailer under the name of the key says that a caller loads it.
//!
//! A lease is taken, filled and ended by comparing the stored bytes and then changing them. A set, a delete, a pattern or
//! a flush changes or removes the bytes, so that the fill of an earlier lease finds others and stores nothing. The
//! versions of the tags are read before the lease is given, and the value is stored with them: an invalidation during
//! the load makes it a miss, whenever it is stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conditional::Look;
use super::entries::Found;
use super::tags::pair;
use super::trailer::{Kind, Trailer};
use super::{Condition, EncodedEntry, Mark, Remote, Slice, Store, nonce};
use crate::backend::{Missing, Outcome};
use crate::entry::{self, LoadTerms, TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::lease::{Fill, LONGEST, Lease, LeaseData, LeaseOptions, LoadState, Loaded, Wait, held_back, still_loading};
use crate::util::millis;

/// The first and the longest pause between two looks at a key that another caller loads. A pause is between half of it
/// and all of it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// The hash of no tag, whose version is that of the whole prefix: each invalidation replaces it before the versions of
/// its tags.
pub(super) const PREFIX_TAG: u64 = 0x2D06_8005_38D3_94C2;

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
        let (mut backoff, mut waited) = (Backoff::between(context, FIRST_PAUSE, LONGEST_PAUSE), false);
        loop {
            let attempt = |context| self.read_or_lease(context, key, &options);
            match context.bounded(self.timeout, &self.server, attempt).await? {
                Attempt::Done(loaded) => return Ok(Loaded { waited, ..loaded }),
                Attempt::HeldBack(left) => return Err(held_back(left)),
                Attempt::Taken if options.wait == Wait::No || Instant::now() >= end => return Err(still_loading()),
                Attempt::Taken => waited = true,
            }
            let left = end.saturating_duration_since(Instant::now());
            context.pause(backoff.next_pause().min(left)).await;
        }
    }

    async fn read_or_lease(&self, context: CallContext, key: &[u8], options: &LeaseOptions<'_>) -> Result<Attempt> {
        self.unready(context, std::iter::once(key)).await.of(0)?;
        let mut attempts = self.attempts(context);
        loop {
            let look = self.look(context, key).await?;
            if let Some(value) = look.value() {
                self.counting.reads(1, 0);
                return Ok(Attempt::Done(Loaded::of(LoadState::Fresh, Some(value))));
            }
            if self.is_absent(context, key, &look).await? {
                self.counting.reads(0, 1);
                return Ok(Attempt::Done(Loaded::of(LoadState::Absent, None)));
            }
            let known = look.trailer();
            match known.filter(|known| !self.has_ended(&look.name, known)) {
                Some(Trailer { kind: Kind::Leased, .. }) => return Ok(Attempt::Taken),
                Some(Trailer { deadline_ms, .. }) => {
                    let left = deadline_ms.saturating_sub(self.store.now_ms(&look.name));
                    return Ok(Attempt::HeldBack(Duration::from_millis(left)));
                }
                None => {}
            }
            if let Some(lease) = self.take_lease(context, key, &look, options).await? {
                self.counting.reads(0, 1);
                let took_over = known.is_some_and(|known| known.kind == Kind::Leased);
                let vacant = Loaded::of(LoadState::Vacant, None);
                return Ok(Attempt::Done(Loaded { lease: Some(Arc::new(Lease::new(lease))), took_over, ..vacant }));
            }
            attempts.again().await?;
        }
    }

    /// Returns true if an earlier load of the key found nothing, which still counts.
    async fn is_absent(&self, context: CallContext, key: &[u8], look: &Look) -> Result<bool> {
        let Some(absence) = look.absence() else { return Ok(false) };
        if self.is_over(&look.name, &absence) || absence.key.is_some_and(|kept| kept != key) {
            return Ok(false);
        }
        let found = Found { tags: absence.tags, what: () };
        Ok(self.if_current(context, Some(found)).await?.is_some())
    }

    /// Takes the lease of a key; `None` if its bytes have changed since the look.
    async fn take_lease(
        &self,
        context: CallContext,
        key: &[u8],
        look: &Look,
        options: &LeaseOptions<'_>,
    ) -> Result<Option<LeaseData>> {
        let mut tags: Vec<u64> = options.tags.iter().map(|tag| tag_hash(tag)).collect();
        tags.push(PREFIX_TAG);
        let mut tags = self.versions_before_load(context, tags).await?;
        let prefix_version = tags.iter().position(|tag| tag.tag == PREFIX_TAG).map(|at| tags.swap_remove(at).version);
        let (token, taken) = (nonce::next()?, Instant::now());
        let trailer = self.trailer(&look.name, Kind::Leased, token, options.lease);
        let write = write_alone(&look.name, &trailer, options.lease, look.condition());
        match self.store.write_if(context, &self.prefix, &write).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // The reply was lost: the lease may have been given.
            Err(error) => {
                let again = self.look(context, key).await.map_err(|_| error.clone())?;
                if again.trailer().is_none_or(|there| there.token != token) {
                    return Err(error);
                }
            }
        }
        Ok(Some(LeaseData { key: key.to_vec(), token, instance: self.instance, tags, prefix_version, taken }))
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

    fn trailer(&self, name: &[u8], kind: Kind, token: u64, time: Duration) -> Trailer {
        Trailer { kind, token, deadline_ms: self.store.now_ms(name).saturating_add(millis(time)) }
    }

    /// Returns true if a trailer has ended. A store with a fine clock removes it by itself.
    fn has_ended(&self, name: &[u8], trailer: &Trailer) -> bool {
        S::DEADLINES && trailer.deadline_ms <= self.store.now_ms(name)
    }

    /// Stores the result of a load, if the lease is still held and none of the tags was invalidated.
    pub(super) async fn fill(&self, context: CallContext, lease: &LeaseData, fill: &Fill<'_>) -> Result<Outcome> {
        if !fill.absent && !fill.stale_for.is_zero() {
            let text = "stale values are not supported on servers: set stale_for to 0";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        if lease.instance != self.instance {
            return Ok(Outcome::Superseded);
        }
        self.unready(context, std::iter::once(&lease.key[..])).await.of(0)?;
        let (name, _) = self.store.entry_name(&self.prefix, &lease.key);
        let late = late_tags(lease, fill);
        let load = LoadTerms { is_absent: fill.absent, ..LoadTerms::default() };
        let value = if fill.absent { &[] } else { fill.value };
        let mut attempts = self.attempts(context);
        loop {
            let mut known = lease.tags.clone();
            let late = self.versions_before_load(context, late.clone()).await?;
            // Read after the versions of the tags: as long as it is the same, they are those from before the load.
            known.extend(lease.prefix_version.filter(|_| !late.is_empty()).map(of_prefix));
            let tags: Vec<u64> = known.iter().map(|tag| tag.tag).collect();
            let (stored, versions) = self.store.read_marked(context, &self.prefix, &name, &tags).await?;
            let Some(held) = self.held(&name, stored.as_ref(), lease.token) else {
                return Ok(if is_filled(&name, stored.as_ref(), lease.token) {
                    Outcome::Done
                } else {
                    Outcome::Superseded
                });
            };
            if pair(&tags, versions) != known {
                self.store.remove_if(context, &name, held).await?;
                return Ok(Outcome::Superseded);
            }
            known.retain(|tag| tag.tag != PREFIX_TAG);
            known.extend(late);
            let mut write = self.encode_stored(&lease.key, value, fill.ttl, known.clone(), lease.token, load);
            self.store.check_size(&write.name, write.bytes.len())?;
            write.lasting = self.too_short(&known, fill.ttl);
            write.condition = Condition::Unchanged(held);
            if self.write_checked(context, &write, &known).await? {
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
        let (name, _) = self.store.entry_name(&self.prefix, &lease.key);
        let mut attempts = self.attempts(context);
        loop {
            let (stored, _) = self.store.read_marked(context, &self.prefix, &name, &[]).await?;
            let Some(held) = self.held(&name, stored.as_ref(), lease.token) else { return Ok(Outcome::Done) };
            let ended = if retry_after.is_zero() {
                self.store.remove_if(context, &name, held).await?
            } else {
                let trailer = self.trailer(&name, Kind::HeldBack, nonce::next()?, retry_after);
                let write = write_alone(&name, &trailer, retry_after, Condition::Unchanged(held));
                self.store.write_if(context, &self.prefix, &write).await?
            };
            if ended {
                return Ok(Outcome::Done);
            }
            attempts.again().await?;
        }
    }

    /// Returns the mark of the bytes of a lease, if it is still held.
    fn held(&self, name: &[u8], stored: Option<&(Slice, Mark)>, token: u64) -> Option<Mark> {
        let (bytes, mark) = stored?;
        let (_, trailer) = Trailer::split(name, bytes)?;
        let is_held = trailer.kind == Kind::Leased && trailer.token == token && !self.has_ended(name, &trailer);
        is_held.then_some(*mark)
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

/// Returns the write of a trailer without an entry.
fn write_alone(name: &[u8], trailer: &Trailer, time: Duration, condition: Condition) -> EncodedEntry {
    EncodedEntry {
        bytes: trailer.encode(name).to_vec(),
        name: name.to_vec(),
        ttl: Some(time),
        tags: Vec::new(),
        condition,
        keeps_expiry: false,
        lasting: Vec::new(),
    }
}

#[cold]
fn unsupported() -> Error {
    let text = "leases need a server that compares before it writes: on Redis, grant the command EVAL to the user (ACL SETUSER … +eval), or enable scripts";
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
