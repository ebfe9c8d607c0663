//! Frees the room of entries that barriers have made misses, in the background, where keys can be listed.
//!
//! One task of a cache walks the keys that begin as the patterns do, and removes those entries that no get returns. It
//! compares what it removes: an entry that was set meanwhile stays. After a walk it rests for ten times as long, and the
//! next walk is for all barriers of that time. What it does not reach goes when its time is over, or by eviction.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::barrier::{Barriers, list_of};
use super::tags::Standing;
use super::{ScanScope, Store};
use crate::backend::{Patterns, ScanCursor};
use crate::entry::tag_hash;
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::exec::runtime::AbortOnDrop;
use crate::naming::{GENERATION, generation_of, generation_of_pattern};
use crate::util::lock;

/// The number of names that are listed at once.
const PAGE: usize = 512;
/// The number of entries that are looked at at once.
const AT_ONCE: usize = 32;
/// The time of rest after a walk, at least.
const REST: Duration = Duration::from_secs(1);
/// The patterns that a walk compares with each key. More are those of all keys of their generations.
const MAX_PATTERNS: usize = 64;

/// The work that waits, and the task that does it. Dropping it ends the task.
#[derive(Default)]
pub(super) struct Reclaim {
    wanted: Arc<Mutex<Wanted>>,
    task: Mutex<Option<AbortOnDrop>>,
}

#[derive(Default)]
struct Wanted {
    patterns: Vec<Vec<u8>>,
    is_running: bool,
}

impl Wanted {
    fn add(&mut self, patterns: &[&[u8]]) {
        for pattern in patterns {
            if !self.patterns.iter().any(|known| known == pattern) {
                self.patterns.push(pattern.to_vec());
            }
        }
        if self.patterns.len() > MAX_PATTERNS {
            self.patterns = self.patterns.iter().map(|pattern| every_key(pattern)).collect();
            self.patterns.sort_unstable();
            self.patterns.dedup();
            self.patterns.truncate(MAX_PATTERNS);
        }
    }

    /// Takes the patterns; without one the task ends.
    fn take(&mut self) -> Option<Vec<Vec<u8>>> {
        self.is_running = !self.patterns.is_empty();
        self.is_running.then(|| std::mem::take(&mut self.patterns))
    }
}

/// Returns a pattern for all keys of the generation of a pattern.
fn every_key(pattern: &[u8]) -> Vec<u8> {
    let generation = generation_of_pattern(pattern);
    if generation == GENERATION { b"*".to_vec() } else { [generation, b"*"].concat() }
}

impl Reclaim {
    /// Has the task free the entries that match patterns and are dead.
    pub(super) fn start<S: Store + 'static>(
        &self,
        patterns: &[&[u8]],
        store: &Arc<S>,
        prefix: &str,
        barriers: &Arc<Barriers>,
        handle: &Handle,
    ) {
        let mut wanted = lock(&self.wanted);
        wanted.add(patterns);
        if std::mem::replace(&mut wanted.is_running, true) {
            return;
        }
        let walker = Walker { store: store.clone(), prefix: prefix.to_owned(), barriers: barriers.clone() };
        *lock(&self.task) = Some(AbortOnDrop::spawn(handle, walker.run(self.wanted.clone())));
    }

    /// Ends the task.
    pub(super) fn end(&self) {
        lock(&self.task).take();
    }
}

struct Walker<S> {
    store: Arc<S>,
    prefix: String,
    barriers: Arc<Barriers>,
}

impl<S: Store> Walker<S> {
    async fn run(self, wanted: Arc<Mutex<Wanted>>) {
        loop {
            let taken = lock(&wanted).take();
            let Some(patterns) = taken else { return };
            let began = Instant::now();
            let patterns: Vec<&[u8]> = patterns.iter().map(Vec::as_slice).collect();
            match self.walk(&patterns).await {
                Ok(removed) => tracing::debug!("the entries of {} patterns were reclaimed: {removed}", patterns.len()),
                Err(error) => tracing::debug!("the entries behind barriers are not reclaimed now: {error}"),
            }
            sleep(REST.max(began.elapsed() * 10)).await;
        }
    }

    /// Removes the entries that match patterns and are dead; returns their number.
    async fn walk(&self, patterns: &[&[u8]]) -> Result<u64> {
        let patterns = Patterns::new(patterns);
        let literal = patterns.literal_prefix();
        let (mut next, mut removed) = (Some(ScanCursor::default()), 0);
        while let Some(from) = next {
            let scope = ScanScope::Entries(&literal);
            let page = self.store.scan(CallContext::task(), &self.prefix, scope, from, PAGE).await?;
            next = page.1;
            let names: Vec<&[u8]> = page.0.iter().collect();
            for names in names.chunks(AT_ONCE) {
                let reclaimed = names.iter().filter_map(|name| {
                    let key = self.store.key_of(&self.prefix, name).filter(|key| patterns.match_key(key))?.into_owned();
                    Some(self.reclaim(name, key))
                });
                for reclaimed in join_all(reclaimed).await {
                    removed += u64::from(reclaimed?);
                }
            }
        }
        Ok(removed)
    }

    /// Removes the entry of a key if it is dead because of a barrier.
    async fn reclaim(&self, name: &[u8], key: Vec<u8>) -> Result<bool> {
        let (context, generation) = (CallContext::task(), tag_hash(generation_of(&key)));
        let read = self.store.read_marked_head(context, &self.prefix, name, &[generation]).await?;
        let Some((Some((head, mark)), versions)) = read else { return Ok(false) };
        let Ok(entry) = S::decode_head(name, &head) else { return Ok(false) };
        let own = entry.tags.iter().find(|tag| tag.tag == generation);
        let Some(own) = own else { return Ok(false) };
        let version = versions.first().copied().flatten();
        let Standing::Older { present, .. } = Standing::of(&[*own], |_| version) else { return Ok(false) };
        let list = list_of(context, &*self.store, &self.barriers, &self.prefix, generation, present).await?;
        if list.is_some_and(|list| list.passes(own.version, &key)) {
            return Ok(false);
        }
        self.store.reclaim(context, name, mark).await
    }
}
