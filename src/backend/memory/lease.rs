//! Loads in a memory store: a key is read or leased, a lease is filled or abandoned, and callers wait for the holder.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::loading::{self, End, Kept};
use super::shard::{Read, Shard};
use super::store::{Hash, Store};
use crate::entry::{TagVersion, tag_hash};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::lease::{Fill, Lease, LeaseData, LeaseOptions, LoadState, Loaded, held_back, new_instance, still_loading};
use crate::tag_names::TagNames;
use crate::util::clock::{Deadline, Times};
use crate::value::Value;

/// The time of a call that waits for the load of another: the default time of a call to a server.
const CALL: Duration = Duration::from_secs(1);

/// The part of a store for leases.
pub(super) struct Loads {
    /// Identifies the store: a lease of another store fills nothing here.
    instance: u64,
    /// The last number of a lease or a waiter.
    numbers: AtomicU64,
    is_closed: AtomicBool,
}

impl Default for Loads {
    fn default() -> Self {
        Self { instance: new_instance(), numbers: AtomicU64::new(0), is_closed: AtomicBool::new(false) }
    }
}

impl Loads {
    /// Returns true if the store has ever given a lease.
    pub(super) fn were_used(&self) -> bool {
        self.numbers.load(Relaxed) != 0
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }
}

/// The result of one attempt to read or lease a key.
pub(super) enum Attempt {
    Done(Loaded),
    /// No caller loads the key for this time, because a load failed.
    HeldBack(Duration),
    /// Another caller has the lease.
    Taken(Holder),
}

/// The lease of another caller.
#[derive(Clone, Copy)]
pub(super) struct Holder {
    token: u64,
    ends: Deadline,
}

/// The lease of a key, as a caller finds it.
enum Found {
    Given { lease: Arc<Lease>, took_over: bool },
    Taken(Holder),
    HeldBack(Duration),
}

impl Store {
    /// Returns the value of a key if it is fresh and not due for an early refresh.
    #[inline(always)]
    pub(super) fn hit(&self, key: &[u8], refresh_ahead: bool, until: Deadline) -> Option<Value> {
        let hash = self.hash(key);
        self.shard_of(hash).hit(hash.of_entry(), key, refresh_ahead, until).cloned()
    }

    /// Reads a key. Takes its lease if there is no value, a stale one, or one that is due for an early refresh.
    #[inline]
    pub(super) fn get_or_lease(&self, key: &[u8], options: &LeaseOptions) -> Attempt {
        let hash = self.hash(key);
        let mut shard = self.shard_of(hash);
        match shard.read(hash.of_entry(), key, options.refresh_ahead) {
            Read::Fresh(value, false) => Attempt::Done(Loaded::of(LoadState::Fresh, Some(value))),
            other => self.lease_after(shard, hash, key, options, other),
        }
    }

    #[cold]
    fn lease_after(
        &self,
        mut shard: std::sync::MutexGuard<Shard>,
        hash: Hash,
        key: &[u8],
        options: &LeaseOptions,
        read: Read,
    ) -> Attempt {
        let mut removed = None;
        let (state, value) = match read {
            Read::Fresh(value, _) => (LoadState::Fresh, Some(value)),
            Read::Stale(value) => (LoadState::Stale, Some(value)),
            Read::Absent => {
                shard.counters.misses += 1;
                return Attempt::Done(Loaded::of(LoadState::Absent, None));
            }
            Read::Vacant(dead) => {
                removed = shard.remove_dead(dead);
                self.give_back(removed.as_slice());
                (LoadState::Vacant, None)
            }
        };
        let (found, before) = self.find_lease(&mut shard, hash, key, options, state != LoadState::Vacant);
        let loaded = Loaded::of(state, value);
        let attempt = match found {
            Found::Given { lease, took_over } => {
                shard.counters.misses += u64::from(state == LoadState::Vacant);
                Attempt::Done(Loaded { lease: Some(lease), took_over, ..loaded })
            }
            Found::Taken(holder) if state == LoadState::Vacant => Attempt::Taken(holder),
            Found::HeldBack(left) if state == LoadState::Vacant => Attempt::HeldBack(left),
            Found::Taken(_) | Found::HeldBack(_) => Attempt::Done(loaded),
        };
        drop(shard);
        drop((removed, before));
        attempt
    }

    /// Gives the lease of a key to the caller if no other has it. Also returns the lease that has expired, which is to
    /// be dropped after the shard is unlocked.
    fn find_lease(
        &self,
        shard: &mut Shard,
        hash: Hash,
        key: &[u8],
        options: &LeaseOptions,
        refreshes: bool,
    ) -> (Found, Option<Box<loading::Lease>>) {
        let mut took_over = false;
        if let Some(known) = shard.lease(hash.of_entry(), key) {
            let holder = Holder { token: known.token, ends: known.ends };
            match known.ends.has_passed() {
                false if known.is_held_back => {
                    return (Found::HeldBack(known.ends.remaining().unwrap_or_default()), None);
                }
                false => return (Found::Taken(holder), None),
                true => took_over = !known.is_held_back,
            }
        }
        let token = self.loads.number();
        let ends = Deadline::after(Some(options.lease));
        let tags: Vec<u64> = options.tags.iter().map(|tag| tag_hash(tag)).collect();
        let named = tags.iter().map(|tag| TagVersion { tag: *tag, version: 0 }).collect();
        let known = loading::Lease::new(hash.of_entry(), key, token, ends, refreshes, tags.into());
        let before = shard.put_lease(known);
        let lease = Arc::new(Lease::new(LeaseData {
            key: key.to_vec(),
            token,
            instance: self.loads.instance,
            // The shard notes every invalidation with its leases.
            tags: named,
            tag_names: if self.keeps_tag_names {
                TagNames::of(options.tags.iter().copied())
            } else {
                TagNames::default()
            },
            prefix_version: None,
            taken: Instant::now(),
        }));
        (Found::Given { lease, took_over }, before)
    }

    /// Stores the result of a load. Returns false if it was not stored, because the lease has ended or a tag of the value
    /// was invalidated since the lease was taken.
    pub(super) fn fill(&self, lease: &Lease, fill: &Fill) -> Result<bool> {
        if lease.instance != self.loads.instance {
            return Ok(false);
        }
        let hash = self.hash(&lease.key).of_entry();
        let named = lease.tags.iter().map(|tag| tag.tag);
        let hashes = named.chain(fill.tags.iter().map(|tag| tag_hash(tag)));
        let tags = self.find_named(hashes, lease.tag_names.iter().chain(fill.tags.iter().copied()));
        let value = if fill.absent { &[] } else { fill.value };
        let (times, kept) = terms(lease, fill);
        let is_valid = |shard: &mut Shard| {
            let known = shard.lease(hash, &lease.key);
            known.is_some_and(|known| known.allows(lease.token, fill.tags.iter().map(|tag| tag_hash(tag))))
        };
        let stored = match self.put(&lease.key, value, &tags, times, kept.as_ref(), is_valid) {
            // A lease that has ended comes before an entry that is too large.
            Err(error) if is_valid(&mut self.shard_of(self.hash(&lease.key))) => return Err(error),
            stored => stored.unwrap_or(false),
        };
        if !stored {
            self.abandon(lease, Duration::ZERO);
        }
        Ok(stored)
    }

    /// Returns the number that identifies the store in its leases.
    pub(super) fn instance(&self) -> u64 {
        self.loads.instance
    }

    /// Ends a lease that has not ended. With a time, no caller gets another one for so long.
    pub(super) fn abandon(&self, lease: &Lease, retry_after: Duration) {
        if lease.instance != self.loads.instance {
            return;
        }
        let hash = self.hash(&lease.key);
        let mut shard = self.shard_of(hash);
        let Some(known) = shard.lease(hash.of_entry(), &lease.key).filter(|known| known.token == lease.token) else {
            return;
        };
        if retry_after.is_zero() {
            let ended = shard.end_lease(hash.of_entry(), &lease.key);
            drop(shard);
            return drop(ended);
        }
        let waiters = known.hold_back(Deadline::after(Some(retry_after)));
        drop(shard);
        waiters.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits for the load of another caller, and reads the key or takes its lease then.
    pub(super) async fn wait_for(
        &self,
        context: CallContext,
        key: &[u8],
        options: LeaseOptions<'_>,
        first: Holder,
    ) -> Result<Loaded> {
        let end = options.wait.end(CALL, context.end());
        let mut holder = first;
        loop {
            if Instant::now() >= end {
                return Err(still_loading());
            }
            let lease_end = holder.ends.remaining().map_or(end, |left| Instant::now() + left);
            context.run_until(end.min(lease_end), |_| Waiting::new(self, key, holder)).await;
            if self.loads.is_closed.load(SeqCst) {
                return Err(Error::new(ErrorKind::Closed, "the cache was closed"));
            }
            match self.get_or_lease(key, &options) {
                Attempt::Done(loaded) => return Ok(Loaded { waited: true, ..loaded }),
                Attempt::HeldBack(left) => return Err(held_back(left)),
                Attempt::Taken(another) => holder = another,
            }
        }
    }

    /// Wakes all callers that wait: the store is closed.
    pub(super) fn close_loads(&self) {
        self.loads.is_closed.store(true, SeqCst);
        for at in 0..self.shards.len() {
            let waiters = self.shard(at).waiters();
            waiters.into_iter().for_each(std::task::Waker::wake);
        }
    }
}

/// Returns the times of a filled entry, and what is kept of it in addition.
#[allow(clippy::cast_possible_truncation)] // Cut to 71 minutes before.
fn terms(lease: &Lease, fill: &Fill) -> (Times, Option<Kept>) {
    let times = Times::from_now(fill.ttl);
    let load = lease.taken.elapsed().as_micros().clamp(1, u128::from(u32::MAX)) as u32;
    let load = if fill.keeps_load { load } else { 0 };
    if fill.absent {
        let kept = Kept { end: End::Absent(times.deadline), load_micros: load };
        return (Times { deadline: Deadline::PASSED, ..times }, Some(kept));
    }
    let is_plain = fill.ttl.is_none() || fill.stale_for.is_zero() && load == 0;
    (times, (!is_plain).then_some(Kept { end: End::Stale(fill.stale_for), load_micros: load }))
}

/// A caller that waits until a lease ends in any way.
struct Waiting<'a> {
    store: &'a Store,
    key: &'a [u8],
    hash: Hash,
    token: u64,
    id: u64,
}

impl<'a> Waiting<'a> {
    fn new(store: &'a Store, key: &'a [u8], holder: Holder) -> Self {
        Self { store, key, hash: store.hash(key), token: holder.token, id: store.loads.number() }
    }

    /// Runs with the lease, unless it has ended.
    fn with_lease(&self, run: impl FnOnce(&mut loading::Lease)) -> bool {
        let mut shard = self.store.shard_of(self.hash);
        let lease = shard.lease(self.hash.of_entry(), self.key);
        let waits = lease.filter(|lease| lease.token == self.token && !lease.is_held_back && !lease.ends.has_passed());
        waits.map(run).is_some()
    }
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waits = self.with_lease(|lease| lease.wait(self.id, context.waker()));
        if waits && !self.store.loads.is_closed.load(SeqCst) { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.with_lease(|lease| lease.forget(self.id));
    }
}
