//! Gives entries another time to live, without touching what another caller has stored meanwhile.
//!
//! The head of an entry is read with the mark of its bytes, and the time changes only while these bytes are stored. The
//! time of a name without that comparison could be the end of a lease, or that of a value which was loaded meanwhile.

use std::time::Duration;

use super::conditional::{Attempts, Live, Look};
use super::entries::{Head, Origin, Tagged};
use super::fresh::Checked;
use super::tags::pair;
use super::{Condition, Mark, Remote, Store};
use crate::entry::{self, Entry, LoadTerms, TagVersion};
use crate::error::{ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::value::Value;

/// The outcome of one attempt to give an entry another time to live.
enum Attempt {
    /// The time was changed, or a get would be a miss.
    Done(bool),
    /// The entry has to be stored again: a load has stored it, and its stale time moves with its time to live; or it is
    /// older than a barrier, whose list does not last longer than the time that the entry had.
    IsStoredAgain,
    /// Other bytes are stored than those that were read.
    Changed,
}

impl<S: Store> Remote<S> {
    /// Gives the entry of a key another time to live. Returns false if a get would be a miss.
    pub(super) async fn expire_one(&self, context: CallContext, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        if !self.store.capabilities().compare {
            return self.expire_uncompared(context, key, ttl).await;
        }
        match self.expire_compared(context, key, ttl).await {
            // The server has just shown that it does not compare.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                Box::pin(self.expire_uncompared(context, key, ttl)).await
            }
            done => done,
        }
    }

    async fn expire_compared(&self, context: CallContext, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let mut attempts = self.attempts(context);
        loop {
            match self.try_expire(context, key, &name, ttl).await? {
                Attempt::Done(is_there) => return Ok(is_there),
                Attempt::IsStoredAgain => return Box::pin(self.expire_loaded(context, key, ttl)).await,
                Attempt::Changed => attempts.again().await?,
            }
        }
    }

    async fn try_expire(
        &self,
        context: CallContext,
        key: &[u8],
        name: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Attempt> {
        let fingerprint = entry::fingerprint(name);
        let guessed = self.guess_tags(key, name, fingerprint);
        let read = self.store.read_marked_head(context, &self.prefix, name, &guessed).await?;
        let Some((stored, versions)) = read else { return Ok(Attempt::Changed) };
        let Some((head, mark)) = stored else { return Ok(Attempt::Done(false)) };
        let mut known = pair(&guessed, versions);
        known.sort_unstable_by_key(|version| version.tag);
        let take = |entry: &Entry| Some((entry.tags.clone(), entry.load));
        let bytes = Some(head.clone()).filter(|head| !head.is_empty());
        let found = self.found(Some(key), name, Ok(bytes), S::decode_head, take)?;
        if let Some(found) = &found {
            self.hints.saw_entry(fingerprint, &found.tags);
            if !found.what.1.are_plain() {
                return Ok(Attempt::IsStoredAgain);
            }
        }
        let Checked::Live((tags, _)) = self.checked(context, found, &known, Some(key), name).await? else {
            return Ok(Attempt::Done(false));
        };
        let is_older = |tag: &TagVersion| known.iter().any(|it| it.tag == tag.tag && it.version != tag.version);
        if tags.iter().any(is_older) {
            return Ok(Attempt::IsStoredAgain);
        }
        Box::pin(self.make_last(context, &tags, ttl)).await?;
        let is_done = self.store.expire_if(context, name, &head, mark, ttl).await?;
        Ok(if is_done { Attempt::Done(true) } else { Attempt::Changed })
    }

    /// Does the same on a server that does not compare. No lease of this process can be there, since leases need the
    /// comparison; but the time may reach a value that was set after the read, or the lease of a process whose user the
    /// server allows more.
    async fn expire_uncompared(&self, context: CallContext, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        match self.head_of(context, key).await? {
            Some(head) if !head.load.are_plain() => Box::pin(self.expire_loaded(context, key, ttl)).await,
            Some(Head { name, tags, .. }) => {
                Box::pin(self.make_last(context, &tags, ttl)).await?;
                self.store.expire(context, &name, ttl).await
            }
            None => Ok(false),
        }
    }

    /// Reads the value of a key, and gives the key another time to live.
    pub(super) async fn get_and_expire(
        &self,
        context: CallContext,
        key: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Option<Value>> {
        self.unready(context, std::iter::once(key)).await.of(0)?;
        if let Some(read) = self.expire_in_place(context, key, ttl).await? {
            self.counting.reads(u64::from(read.is_some()), u64::from(read.is_none()));
            return Ok(read);
        }
        let mut attempts = self.attempts(context);
        loop {
            let Look { name, stored, live, .. } = self.look(context, key).await?;
            let (Some((bytes, mark)), Some(live)) = (stored, live) else {
                self.counting.reads(0, 1);
                return Ok(None);
            };
            let done = if live.load.are_plain() && !live.is_older {
                Box::pin(self.make_last(context, &live.tags, ttl)).await?;
                self.store.expire_if(context, &name, &bytes, mark, ttl).await?
            } else {
                Box::pin(self.store_again(context, key, &live, mark, ttl, &attempts)).await?
            };
            if done {
                self.counting.reads(1, 0);
                return Ok(Some(live.value));
            }
            attempts.again().await?;
        }
    }

    /// Does the same in one request, for an entry without tags. `None`: nothing was changed.
    async fn expire_in_place(
        &self,
        context: CallContext,
        key: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Option<Option<Value>>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        if !self.hints.tags_of(entry::fingerprint(&name)).is_empty() {
            return Ok(None);
        }
        let Some(stored) = self.store.expire_in_place(context, &name, ttl).await? else { return Ok(None) };
        let take = |entry: &Entry| Some(Value::from(entry.payload));
        Ok(Some(self.found(Some(key), &name, Ok(stored), entry::decode, take)?.map(|found| found.what)))
    }

    /// Gives an entry another time to live by storing it again; the time in which it may be served as stale follows it.
    async fn expire_loaded(&self, context: CallContext, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let mut attempts = self.attempts(context);
        loop {
            let Look { stored, live, .. } = self.look(context, key).await?;
            let (Some((_, mark)), Some(live)) = (stored, live) else { return Ok(false) };
            if self.store_again(context, key, &live, mark, ttl, &attempts).await? {
                return Ok(true);
            }
            attempts.again().await?;
        }
    }

    /// Stores an entry that was read with another time to live; ends its lease.
    async fn store_again(
        &self,
        context: CallContext,
        key: &[u8],
        live: &Live,
        mark: Mark,
        ttl: Option<Duration>,
        attempts: &Attempts,
    ) -> Result<bool> {
        let load = if ttl.is_some() { live.load } else { LoadTerms::default() };
        let origin = Origin { nonce: live.version, created: Some(live.created_s) };
        let tags = Tagged { versions: live.tags.clone(), names: &live.tag_names };
        let mut write = self.encode_stored(key, live.value.as_bytes(), ttl, tags, origin, load);
        write.lasting = self.too_short(&live.tags, write.ttl);
        write.condition = Condition::Unchanged(mark);
        self.write_checked(context, &write, &live.tags, attempts).await
    }
}
