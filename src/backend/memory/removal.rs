//! Removes many entries: by tag, all, and dead ones, in small steps where there may be many.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::store::Store;
use super::tags::TagName;
use crate::backend::barrier::BarrierPattern;
use crate::backend::{Patterns, Usage};
use crate::naming::is_generation;
use crate::util::clock::Moment;

/// Number of entries that are examined while a lock is held: all may have to be removed, and a caller that waits for
/// the lock may lose it to the next step.
const STEP: usize = 64;

impl Store {
    /// Makes all members of the tags dead, and counts those that could be
    /// served if asked. They are removed when they are met, by the sweeper, or
    /// first when room is needed.
    #[inline(never)]
    pub(super) fn invalidate(&self, tags: &[&[u8]], count: bool) -> Option<u64> {
        let found = self.hash_tags(tags);
        match (tags, &found[..]) {
            ([name], [tag]) if !count && is_generation(name) && self.clear(*tag) => None,
            _ => self.invalidate_found(&found, count),
        }
    }

    /// Does the same for tags that were looked up.
    pub(super) fn invalidate_found(&self, tags: &[TagName], count: bool) -> Option<u64> {
        let mut counted = 0;
        self.invalidations.fetch_add(1, SeqCst);
        for tag in tags {
            for at in 0..self.shards.len() {
                counted += self.invalidate_in(at, *tag, count);
            }
        }
        count.then_some(counted as u64)
    }

    fn invalidate_in(&self, at: usize, tag: TagName, count: bool) -> usize {
        let mut shard = self.shard(at);
        let ended = shard.note_invalidation(tag);
        let counted = if count { shard.invalidate_and_count(tag) } else { 0 };
        if !count {
            shard.invalidate(tag);
        }
        drop(shard);
        drop(ended);
        counted
    }

    /// Makes dead the entries of a generation whose keys match one of the patterns.
    #[inline(never)]
    pub(super) fn bar(&self, generation: &[u8], patterns: &[&[u8]]) {
        let patterns: Vec<_> = patterns.iter().map(|pattern| Arc::new(BarrierPattern::new(pattern))).collect();
        for tag in self.hash_tags(&[generation]) {
            for at in 0..self.shards.len() {
                let mut shard = self.shard(at);
                let ended = shard.bar(tag, &patterns);
                drop(shard);
                drop(ended);
            }
        }
    }

    /// Removes all entries, and counts those that could be served if requested.
    #[inline(never)]
    pub(super) fn flush(&self, count: bool) -> Option<u64> {
        let mut removed = 0;
        for at in 0..self.shards.len() {
            let mut shard = self.shard(at);
            let taken = shard.take();
            self.room.give_places(taken.len());
            self.room.give_bytes(taken.bytes());
            drop(shard);
            removed += if count { taken.count_live() as u64 } else { 0 };
        }
        count.then_some(removed)
    }

    /// Removes the entries of a shard whose keys match, and ends the leases of such keys first: a value whose load began
    /// before is not stored. One step from a slot on: returns the number of removed entries that could be served, and the
    /// start of the next step, or `None` at the end.
    pub(super) fn remove_matching_step(&self, at: usize, from: usize, patterns: &Patterns) -> (u64, Option<usize>) {
        let (wanted, mut removed) = (|key: &[u8]| patterns.match_key(key), Vec::new());
        let mut shard = self.shard(at);
        let ended = if from == 0 { shard.end_leases(|key, _| wanted(key)) } else { Vec::new() };
        let (count, next) = shard.remove_wanted(from, STEP, wanted, &mut removed);
        self.give_back(&removed);
        drop(shard);
        drop(ended);
        (count, next)
    }

    /// Removes all dead entries, until it is asked to stop: a small step of one shard, then of the next, so that a
    /// thread that waits for a lock gets it.
    pub(super) fn sweep(&self, stop: &dyn Fn() -> bool) {
        let mut next = vec![Some(0); self.shards.len()];
        while !stop() && next.iter().any(Option::is_some) {
            for (at, from) in next.iter_mut().enumerate() {
                *from = from.and_then(|slot| self.sweep_step(at, slot));
            }
        }
    }

    /// Makes one step from a slot on. Returns the start of the next step, or `None` at the end.
    fn sweep_step(&self, at: usize, from: usize) -> Option<usize> {
        let mut removed = Vec::new();
        let mut shard = self.shard(at);
        let ended = if from == 0 { shard.end_leases(|_, lease| lease.ends.has_passed()) } else { Vec::new() };
        shard.remove_invalidated(STEP, &mut removed);
        let is_full = removed.len() == STEP;
        let next = if is_full { Some(from) } else { shard.sweep(from, STEP, Moment::now(), &mut removed) };
        self.give_back(&removed);
        drop(shard);
        drop(ended);
        next
    }

    /// Returns the size of the store. Dead entries are removed first, in small steps: those that are left are the
    /// entries that a listing returns.
    #[inline(never)]
    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for at in 0..self.shards.len() {
            let mut next = Some(0);
            while let Some(from) = next {
                next = self.sweep_step(at, from);
            }
            let shard = self.shard(at);
            let (hidden, hidden_bytes) = shard.hidden();
            usage.keys += (shard.len() - hidden) as u64;
            usage.bytes += (shard.bytes() - hidden_bytes) as u64;
        }
        usage
    }
}
