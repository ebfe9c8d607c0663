//! Requests that walk the keys: listing by glob, fuzzy search.

use std::time::{Duration, Instant};

use super::Cache;
use crate::backend::{KeyFilter, ScanCursor, page};
use crate::cache::latency::Operation as Timed;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::yield_now;
use crate::fuzzy::{Match, Search};
use crate::key::{check_pattern, check_tag};
use crate::naming::{Naming, StoredName};
use crate::util::byte_strings::ByteStrings;
use crate::util::glob::Glob;

/// The maximum time of scoring for a backend whose calls have no deadline: memory.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of keys that the backend lists at once.
const PAGE: usize = 512;
/// The maximum length of a query.
const MAX_QUERY_LEN: usize = 1024;
/// Number of bytes of keys that are scored before the search yields to other tasks of the thread.
const SCORED: usize = 64 << 10;

/// The cursor of a listing.
pub struct Cursor {
    /// The number of the cache that `next` is a cursor of.
    cache: u64,
    glob: Glob,
    literal_prefix: Vec<u8>,
    tags: ByteStrings,
    next: Option<ScanCursor>,
    /// Keys of a page that was larger than requested, and the number of those that were returned.
    left: (ByteStrings, usize),
}

impl Cursor {
    /// Creates a cursor for the keys that match a glob.
    pub fn new(pattern: &[u8]) -> Result<Self> {
        let glob = checked_glob(pattern)?;
        Ok(Self {
            cache: 0,
            literal_prefix: glob.literal_prefix(),
            glob,
            tags: ByteStrings::default(),
            next: Some(ScanCursor::default()),
            left: Default::default(),
        })
    }

    /// Restricts the listing to entries with one of these tags; an empty list restricts nothing.
    pub fn tagged(mut self, tags: &[&[u8]]) -> Result<Self> {
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        tags.iter().for_each(|tag| self.tags.push(tag));
        Ok(self)
    }
}

impl Cursor {
    fn is_spent(&self) -> bool {
        self.left.1 >= self.left.0.len()
    }

    /// Returns some of the remaining keys. Most pages fit without a split.
    fn take(&mut self, limit: usize) -> ByteStrings {
        let (keys, given) = &mut self.left;
        if *given == 0 && keys.len() <= limit {
            return std::mem::take(keys);
        }
        let mut taken = ByteStrings::default();
        keys.iter().skip(*given).take(limit).for_each(|key| taken.push(key));
        *given += taken.len();
        taken
    }
}

pub(super) fn checked_glob(pattern: &[u8]) -> Result<Glob> {
    check_pattern(pattern).map(|()| Glob::new(pattern))
}

/// The options of a fuzzy search.
#[derive(Debug, Clone, Copy)]
pub struct SearchOptions<'a> {
    /// The lowest score of a match, 0 to 100.
    pub threshold: f64,
    /// The largest number of matches.
    pub limit: usize,
    /// Search only entries with one of these tags. No tags: all entries.
    pub tags: &'a [&'a [u8]],
}

impl Cache {
    /// Returns the next keys of a listing, at most `limit`, or none at its end. A key that exists during the whole
    /// listing is returned at least once, and more than once only if the listing of a server has to start again. A key
    /// that is added or removed during the listing may be returned.
    pub async fn next_keys(&self, context: CallContext, cursor: &mut Cursor, limit: usize) -> Result<ByteStrings> {
        if cursor.is_spent() {
            cursor.left = (self.latencies.time(Timed::List, self.matching_keys(context, cursor, limit)).await?, 0);
        }
        Ok(cursor.take(limit))
    }

    async fn matching_keys(&self, context: CallContext, cursor: &mut Cursor, limit: usize) -> Result<ByteStrings> {
        let (literal_prefix, number) = (self.naming.stored_prefix(&cursor.literal_prefix), self.number());
        let tags: Vec<StoredName> = cursor.tags.iter().map(|tag| self.naming.stored(tag)).collect();
        let tags: Vec<&[u8]> = tags.iter().map(|tag| &tag[..]).collect();
        let filter = KeyFilter { literal_prefix: &literal_prefix, tags: &tags, hidden: false };
        let mut keys = ByteStrings::default();
        if cursor.next != Some(ScanCursor::default()) && cursor.next.is_some() && cursor.cache != number {
            // Another backend serves since: its cursors differ, and keys are listed again.
            cursor.next = Some(ScanCursor::default());
        }
        cursor.cache = number;
        while let Some(from) = cursor.next.filter(|_| keys.is_empty()) {
            let page = page(context, &*self.backend, filter, from, limit).await?;
            cursor.next = page.next;
            let own = page.keys.iter().filter_map(|key| self.naming.own(key));
            own.filter(|key| cursor.glob.matches(key)).for_each(|key| keys.push(key));
            yield_now().await;
        }
        Ok(keys)
    }

    /// Returns the keys that are most similar to the query, best first.
    pub async fn search(&self, context: CallContext, query: &[u8], options: SearchOptions<'_>) -> Result<Vec<Match>> {
        options.check(query)?;
        self.latencies.time(Timed::List, Box::pin(self.search_all(context, query, options))).await
    }

    async fn search_all(&self, context: CallContext, query: &[u8], options: SearchOptions<'_>) -> Result<Vec<Match>> {
        let literal_prefix = self.naming.stored_prefix(b"");
        let tags: Vec<StoredName> = options.tags.iter().map(|tag| self.naming.stored(tag)).collect();
        let tags: Vec<&[u8]> = tags.iter().map(|tag| &tag[..]).collect();
        let filter = KeyFilter { literal_prefix: &literal_prefix, tags: &tags, hidden: false };
        let mut search = Search::new(query, options.threshold, options.limit);
        // Each page has a deadline of its own; so has the work on all of them.
        let mut left = self.search_timeout();
        let mut next = Some(ScanCursor::default());
        while let Some(from) = next {
            let page = page(context, &*self.backend, filter, from, PAGE).await?;
            if page.next.is_some_and(|next| next.epoch.restarts != from.epoch.restarts) {
                search.begin_again();
            }
            left = score(&mut search, &self.naming, &page.keys, left).await.ok_or_else(|| self.search_timed_out())?;
            next = page.next;
        }
        Ok(search.finish())
    }

    /// Counts all keys by a listing.
    pub(super) async fn count_keys(&self, context: CallContext) -> Result<u64> {
        let (mut cursor, mut count) = (Cursor::new(b"*")?, 0);
        loop {
            let keys = self.next_keys(context, &mut cursor, PAGE).await?;
            if keys.is_empty() {
                return Ok(count);
            }
            count += keys.len() as u64;
        }
    }

    fn search_timeout(&self) -> Duration {
        self.backend.info().call_timeout.unwrap_or(SEARCH_TIMEOUT)
    }

    #[cold]
    fn search_timed_out(&self) -> Error {
        let (name, limit) = (self.backend.name(), self.search_timeout());
        let text = format!(
            "{name}: scoring the keys took longer than {limit:?}; use a shorter query, or tags to search fewer keys"
        );
        Error::new(ErrorKind::Timeout, text)
    }
}

/// Offers keys to a search within the remaining time. Returns the time that is left, or `None` if it was too short.
async fn score(search: &mut Search, naming: &Naming, keys: &ByteStrings, left: Duration) -> Option<Duration> {
    let (mut left, mut scored, mut began) = (left, 0, Instant::now());
    for key in keys.iter().filter_map(|key| naming.own(key)) {
        search.offer(key, began + left).ok()?;
        scored += key.len();
        if scored >= SCORED {
            left = left.saturating_sub(began.elapsed());
            yield_now().await;
            (scored, began) = (0, Instant::now());
        }
    }
    left = left.saturating_sub(began.elapsed());
    yield_now().await;
    (!left.is_zero()).then_some(left)
}

impl SearchOptions<'_> {
    /// Rejects invalid options of a search.
    pub(super) fn check(&self, query: &[u8]) -> Result<()> {
        self.tags.iter().try_for_each(|tag| check_tag(tag))?;
        if !(0.0..=100.0).contains(&self.threshold) {
            let text = format!("threshold is {}; it must be 0 to 100", self.threshold);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        match query.len() {
            1..=MAX_QUERY_LEN => Ok(()),
            0 => Err(Error::new(ErrorKind::Invalid, "the query is empty; it must have 1 byte to 1 KiB")),
            len => Err(Error::new(ErrorKind::TooLarge, format!("the query has {len} bytes; the limit is 1 KiB"))),
        }
    }
}
