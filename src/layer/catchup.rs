//! A backend that serves while another misses what changes: it is noted, and made up for before the other serves.
//!
//! A change is made here first and noted then, so that whoever makes up for it finds it. If the other backend has
//! begun to serve in between, the change is made there as well before its caller hears of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Either};
use serde_json::Value as Json;

use super::journal::{Change, Journal, Missed};
use crate::backend::health::Health;
use crate::backend::{
    Backend, Capabilities, CopiedEntry, Counters, IfPresent, Imported, NewEntry, Page, Position, Removed, Reply, Usage,
    Wanted,
};
use crate::entry::TagStamp;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// How many keys or tags are made up for at once.
const CHUNK: usize = 256;
/// How often it is made up for what was missed before those who change more have to wait: each round is shorter.
const ROUNDS: usize = 10;

/// What becomes of entries that were changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The other backend forgets what it had under their keys.
    Drop,
    /// It gets what they hold now.
    Follow,
}

/// One backend serves, another is behind.
pub struct Catchup {
    serving: Arc<dyn Backend>,
    behind: Arc<dyn Backend>,
    journal: Journal,
    changed: Changed,
    /// The longest life of an entry here; `None`: as asked. Where there is one, `serving` has not all there is.
    max_ttl: Option<Duration>,
}

impl Catchup {
    /// `serving` has all that `behind` is to have.
    pub fn whole(serving: Arc<dyn Backend>, behind: Arc<dyn Backend>) -> Self {
        Self::new(serving, behind, Changed::Follow, None)
    }

    /// `serving` stands in, empty at first, and keeps entries no longer than `max_ttl`.
    pub fn stand_in(serving: Arc<dyn Backend>, behind: Arc<dyn Backend>, changed: Changed, max_ttl: Duration) -> Self {
        Self::new(serving, behind, changed, Some(max_ttl))
    }

    fn new(serving: Arc<dyn Backend>, behind: Arc<dyn Backend>, changed: Changed, max_ttl: Option<Duration>) -> Self {
        let journal = Journal::new(behind.capabilities().list);
        Self { serving, behind, journal, changed, max_ttl }
    }

    /// How many names wait to be made up for.
    pub fn missed(&self) -> usize {
        self.journal.len()
    }

    /// Makes up for all; `then` has the other backend serve. Who changes something meanwhile waits for the last of it.
    pub async fn finish(&self, then: impl FnOnce()) -> Result<()> {
        for _ in 0..ROUNDS {
            self.or_go_on(self.journal.take()).await?;
            if self.journal.len() <= CHUNK {
                break;
            }
        }
        let last = self.journal.take_last();
        self.or_go_on(last).await?;
        self.journal.end(then);
        Ok(())
    }

    async fn or_go_on(&self, missed: Missed) -> Result<()> {
        let mut attempt = Attempt { journal: &self.journal, missed: Some(missed) };
        let done = match &attempt.missed {
            Some(missed) => self.make_up(missed).await,
            None => Ok(()),
        };
        if done.is_ok() {
            attempt.missed = None;
        }
        done
    }

    async fn make_up(&self, missed: &Missed) -> Result<()> {
        if missed.flush {
            self.behind.flush(false).await?;
        }
        let patterns: Vec<&[u8]> = missed.patterns.iter().map(Vec::as_slice).collect();
        if !patterns.is_empty() {
            self.behind.invalidate_patterns(&patterns).await?;
        }
        let tags: Vec<&[u8]> = missed.tags.iter().map(Vec::as_slice).collect();
        for tags in tags.chunks(CHUNK) {
            self.behind.invalidate_tags(tags, false).await?;
        }
        let hashes: Vec<u64> = missed.hashes.iter().copied().collect();
        for hashes in hashes.chunks(CHUNK) {
            self.behind.invalidate_hashes(hashes).await?;
        }
        let keys: Vec<&[u8]> = missed.keys.iter().map(Vec::as_slice).collect();
        for keys in keys.chunks(CHUNK) {
            match self.changed {
                Changed::Drop => self.forget(keys).await?,
                Changed::Follow => self.bring(keys).await?,
            }
        }
        Ok(())
    }

    async fn forget(&self, keys: &[&[u8]]) -> Result<()> {
        self.behind.delete_many(keys).await?.into_iter().try_for_each(|outcome| outcome.map(drop))
    }

    /// What cannot be brought is forgotten.
    async fn bring(&self, keys: &[&[u8]]) -> Result<()> {
        let exported = self.serving.export(keys).await?;
        let entries: Vec<CopiedEntry> = exported.into_iter().filter_map(|entry| entry.ok().flatten()).collect();
        let mut tags: Vec<u64> = entries.iter().flat_map(|entry| entry.tags.iter().copied()).collect();
        tags.sort_unstable();
        tags.dedup();
        let versions = if tags.is_empty() { Vec::new() } else { self.behind.tag_versions(&tags).await? };
        let imported = self.behind.import(&entries, &versions, IfPresent::Replace).await?;
        let mut brought: Vec<&[u8]> = Vec::with_capacity(entries.len());
        for (entry, outcome) in entries.iter().zip(imported) {
            match outcome {
                Ok(Imported::Stored) => brought.push(&entry.key),
                Ok(_) => {}
                Err(error) if error.kind().is_outage() || error.is_retryable() => return Err(error),
                Err(error) => tracing::warn!("an entry that changed is forgotten: {error}"),
            }
        }
        brought.sort_unstable();
        let others: Vec<&[u8]> = keys.iter().copied().filter(|key| brought.binary_search(key).is_err()).collect();
        if others.is_empty() { Ok(()) } else { self.forget(&others).await }
    }

    /// Notes a change that came to `done` here; where the other backend serves already, makes it there too.
    async fn noted<'a, T>(
        &'a self,
        change: Change<'_>,
        done: Result<T>,
        there: impl FnOnce(&'a dyn Backend) -> Reply<'a, T>,
    ) -> Result<T> {
        if self.journal.note(change).await? { done } else { there(&*self.behind).await }
    }

    fn bounded(&self, ttl: Option<Duration>) -> Option<Duration> {
        match (ttl, self.max_ttl) {
            (Some(ttl), Some(most)) => Some(ttl.min(most)),
            (ttl, most) => ttl.or(most),
        }
    }

    fn bounded_entry<'e>(&self, entry: &NewEntry<'e>) -> NewEntry<'e> {
        NewEntry { ttl: self.bounded(entry.ttl), ..*entry }
    }

    /// Nobody can know how many entries went, where not all are here.
    fn removed(&self, removed: Result<Removed>) -> Result<Removed> {
        removed.map(|removed| removed.filter(|_| self.max_ttl.is_none()))
    }

    /// What the other backend could not make up for is refused.
    fn check_listing(&self) -> Result<()> {
        if self.behind.capabilities().list {
            return Ok(());
        }
        let text = format!("{} does not list keys: it could not be told of this when it is back", self.behind.name());
        Err(Error::new(ErrorKind::Unsupported, text))
    }
}

/// Gives back to the journal what was not made up for, also where nobody waits for it any more.
struct Attempt<'a> {
    journal: &'a Journal,
    missed: Option<Missed>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(missed) = self.missed.take() {
            self.journal.go_on(missed);
        }
    }
}

fn later<'a, T: 'a>(answer: impl Future<Output = Result<T>> + Send + 'a) -> Reply<'a, T> {
    Either::Right(Box::pin(answer))
}

impl Backend for Catchup {
    fn name(&self) -> &'static str {
        self.serving.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.serving.capabilities()
    }

    fn is_one_server(&self) -> bool {
        self.serving.is_one_server()
    }

    fn call_timeout(&self) -> Option<Duration> {
        self.serving.call_timeout()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Value>> {
        self.serving.get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<Value>>>> {
        self.serving.get_many(keys)
    }

    fn set<'a>(&'a self, entry: NewEntry<'a>) -> Reply<'a, ()> {
        later(async move {
            let done = self.serving.set(self.bounded_entry(&entry)).await;
            self.noted(Change::Keys(&[entry.key]), done, |there| there.set(entry)).await
        })
    }

    fn set_many<'a>(&'a self, entries: &'a [NewEntry<'a>]) -> Reply<'a, Vec<Result<()>>> {
        later(async move {
            let bounded: Vec<NewEntry> = entries.iter().map(|entry| self.bounded_entry(entry)).collect();
            let keys: Vec<&[u8]> = entries.iter().map(|entry| entry.key).collect();
            let done = self.serving.set_many(&bounded).await;
            self.noted(Change::Keys(&keys), done, |there| there.set_many(entries)).await
        })
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        later(async move {
            let done = self.serving.delete(key).await;
            self.noted(Change::Keys(&[key]), done, |there| there.delete(key)).await
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<bool>>> {
        later(async move {
            let done = self.serving.delete_many(keys).await;
            self.noted(Change::Keys(keys), done, |there| there.delete_many(keys)).await
        })
    }

    fn exists<'a>(&'a self, key: &'a [u8]) -> Reply<'a, bool> {
        self.serving.exists(key)
    }

    fn expire<'a>(&'a self, key: &'a [u8], ttl: Option<Duration>) -> Reply<'a, bool> {
        later(async move {
            let done = self.serving.expire(key, self.bounded(ttl)).await;
            self.noted(Change::Keys(&[key]), done, |there| there.expire(key, ttl)).await
        })
    }

    fn ttl<'a>(&'a self, key: &'a [u8]) -> Reply<'a, Option<Option<Duration>>> {
        self.serving.ttl(key)
    }

    fn invalidate_tags<'a>(&'a self, tags: &'a [&'a [u8]], count: bool) -> Reply<'a, Removed> {
        later(async move {
            let done = self.removed(self.serving.invalidate_tags(tags, count).await);
            self.noted(Change::Tags(tags), done, |there| there.invalidate_tags(tags, count)).await
        })
    }

    fn flush(&self, count: bool) -> Reply<'_, Removed> {
        later(async move {
            self.check_listing()?;
            let done = self.removed(self.serving.flush(count).await);
            self.noted(Change::Flush, done, |there| there.flush(count)).await
        })
    }

    fn invalidate_patterns<'a>(&'a self, patterns: &'a [&'a [u8]]) -> Reply<'a, Removed> {
        later(async move {
            self.check_listing()?;
            let done = self.removed(self.serving.invalidate_patterns(patterns).await);
            self.noted(Change::Patterns(patterns), done, |there| there.invalidate_patterns(patterns)).await
        })
    }

    fn scan<'a>(&'a self, wanted: Wanted<'a>, from: Position, limit: usize) -> Reply<'a, Page> {
        self.serving.scan(wanted, from, limit)
    }

    fn export<'a>(&'a self, keys: &'a [&'a [u8]]) -> Reply<'a, Vec<Result<Option<CopiedEntry>>>> {
        self.serving.export(keys)
    }

    fn tag_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<TagStamp>> {
        self.serving.tag_versions(tags)
    }

    fn known_versions<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, Vec<Option<u64>>> {
        self.serving.known_versions(tags)
    }

    fn invalidate_hashes<'a>(&'a self, tags: &'a [u64]) -> Reply<'a, ()> {
        later(async move {
            let done = self.serving.invalidate_hashes(tags).await;
            self.noted(Change::Hashes(tags), done, |there| there.invalidate_hashes(tags)).await
        })
    }

    fn import<'a>(
        &'a self,
        entries: &'a [CopiedEntry],
        versions: &'a [TagStamp],
        if_present: IfPresent,
    ) -> Reply<'a, Vec<Result<Imported>>> {
        later(async move {
            let keys: Vec<&[u8]> = entries.iter().map(|entry| &entry.key[..]).collect();
            let done = self.serving.import(entries, versions, if_present).await;
            self.noted(Change::Keys(&keys), done, |there| there.import(entries, versions, if_present)).await
        })
    }

    fn usage(&self) -> Reply<'_, Usage> {
        self.serving.usage()
    }

    fn ping(&self) -> Reply<'_, ()> {
        self.serving.ping()
    }

    fn counters(&self) -> Counters {
        self.serving.counters()
    }

    fn fallback(&self) -> Option<crate::backend::FallbackState> {
        self.serving.fallback()
    }

    fn in_flight(&self) -> u64 {
        self.serving.in_flight()
    }

    fn details(&self) -> Reply<'_, Json> {
        self.serving.details()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        self.serving.health()
    }

    fn close(&self, deadline: Instant) -> Reply<'_, ()> {
        self.serving.close(deadline)
    }
}
