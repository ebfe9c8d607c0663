//! Operations as data: what a batch runs in order and a queue beside each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Cache, Cursor, SearchOptions, SetRequest};
use crate::backend::Removed;
use crate::byte_strings::ByteStrings;
use crate::error::Result;
use crate::fuzzy::Match;
use crate::key::{check_key, check_tag};
use crate::ttl::Ttl;
use crate::value::Value;

/// One operation.
#[derive(Clone, Copy)]
#[allow(missing_docs)] // The fields are those of the methods of the same names.
pub enum Operation<'a> {
    /// As `Cache::get`.
    Get { key: &'a [u8] },
    /// As `Cache::set`.
    Set(SetRequest<'a>),
    /// As `Cache::delete`.
    Delete { key: &'a [u8] },
    /// As `Cache::exists`.
    Exists { key: &'a [u8] },
    /// As `Cache::expire`.
    Expire { key: &'a [u8], ttl: Ttl },
    /// As `Cache::ttl`.
    Ttl { key: &'a [u8] },
    /// As `Cache::invalidate_tags`.
    InvalidateTags { tags: &'a [&'a [u8]], count: bool },
    /// As `Cache::invalidate_pattern`.
    InvalidatePattern { pattern: &'a [u8] },
    /// As `Cache::flush`.
    Flush { count: bool },
    /// As `Cache::ping`.
    Ping,
    /// As `Cache::stats`.
    Stats,
    /// As `Cache::health`.
    Health,
    /// As `Cache::metrics`.
    Metrics,
    /// As `Cache::get_many`.
    GetMany { keys: &'a [&'a [u8]] },
    /// As `Cache::set_many`, with one time to live and the same tags for all; as many values as keys.
    SetMany { keys: &'a [&'a [u8]], values: &'a [&'a [u8]], ttl: Ttl, tags: &'a [&'a [u8]] },
    /// As `Cache::delete_many`.
    DeleteMany { keys: &'a [&'a [u8]] },
    /// As `Cache::next_keys`, on a cursor that others may hold.
    NextKeys { cursor: &'a Arc<Mutex<Cursor>>, limit: usize },
    /// As `Cache::search`.
    Search { query: &'a [u8], options: SearchOptions<'a> },
}

/// What an operation came to.
pub enum Outcome {
    /// It is done.
    Done,
    /// The key is not there.
    Miss,
    /// The value of the key, or a report.
    Value(Value),
    /// What is left to the key; `None`: it never expires.
    Remaining(Option<Duration>),
    /// How many entries went.
    Removed(Removed),
    /// What each of many keys holds.
    Values(Vec<Result<Option<Value>>>),
    /// Whether each of many entries was stored.
    Stored(Vec<Result<()>>),
    /// Whether each of many keys was there.
    Deleted(Vec<Result<bool>>),
    /// A page of keys; none at the end.
    Keys(ByteStrings),
    /// The matches of a search.
    Matches(Vec<Match>),
}

impl Outcome {
    pub(super) fn hit(was_there: bool) -> Self {
        if was_there { Self::Done } else { Self::Miss }
    }

    fn report(json: &serde_json::Value) -> Self {
        Self::text(&json.to_string())
    }

    fn text(text: &str) -> Self {
        Self::Value(Value::from(text.as_bytes()))
    }
}

impl Operation<'_> {
    /// Whether it may go through the whole cache, or wait for another thread: longer than a caller that
    /// must not be held up has time for, also where the backend answers at once.
    pub fn is_long(&self) -> bool {
        matches!(
            self,
            Self::InvalidatePattern { .. } | Self::Flush { .. } | Self::NextKeys { .. } | Self::Search { .. }
        )
    }
}

impl Cache {
    /// Refuses what `run` would refuse: for those that copy the operation first.
    pub fn check(&self, operation: &Operation<'_>) -> Result<()> {
        match operation {
            Operation::Get { key }
            | Operation::Delete { key }
            | Operation::Exists { key }
            | Operation::Expire { key, .. }
            | Operation::Ttl { key } => check_key(key),
            Operation::Set(request) => self.new_entry(*request).map(drop),
            Operation::InvalidateTags { tags, .. } => tags.iter().try_for_each(|tag| check_tag(tag)),
            Operation::InvalidatePattern { pattern } => Cursor::new(pattern).map(drop),
            Operation::GetMany { keys } | Operation::DeleteMany { keys } => {
                keys.iter().try_for_each(|key| check_key(key))
            }
            Operation::SetMany { keys, values, ttl, tags } => {
                requests(keys, values, *ttl, tags).try_for_each(|request| self.new_entry(request).map(drop))
            }
            Operation::Search { query, options } => options.check(query),
            Operation::Flush { .. }
            | Operation::Ping
            | Operation::Stats
            | Operation::Health
            | Operation::Metrics
            | Operation::NextKeys { .. } => Ok(()),
        }
    }

    /// Runs one operation. The longer ones are boxed, so that the short ones, which are most, take little room.
    pub async fn run(&self, operation: Operation<'_>) -> Result<Outcome> {
        Ok(match operation {
            Operation::Get { key } => self.get(key).await?.map_or(Outcome::Miss, Outcome::Value),
            Operation::Set(request) => self.set(request).await.map(|()| Outcome::Done)?,
            Operation::Delete { key } => Outcome::hit(self.delete(key).await?),
            Operation::Exists { key } => Outcome::hit(self.exists(key).await?),
            Operation::Expire { key, ttl } => Outcome::hit(self.expire(key, ttl).await?),
            Operation::Ttl { key } => self.ttl(key).await?.map_or(Outcome::Miss, Outcome::Remaining),
            Operation::Ping => self.ping().await.map(|()| Outcome::Done)?,
            Operation::InvalidateTags { tags, count } => {
                Outcome::Removed(Box::pin(self.invalidate_tags(tags, count)).await?)
            }
            Operation::InvalidatePattern { pattern } => {
                Outcome::Removed(Box::pin(self.invalidate_pattern(pattern)).await?)
            }
            Operation::Flush { count } => Outcome::Removed(Box::pin(self.flush(count)).await?),
            Operation::Stats => Outcome::report(&Box::pin(self.stats()).await?),
            Operation::Health => Outcome::report(&Box::pin(self.health()).await),
            Operation::Metrics => Outcome::text(&Box::pin(self.metrics()).await?),
            Operation::GetMany { keys } => Outcome::Values(Box::pin(self.get_many(keys)).await?),
            Operation::SetMany { keys, values, ttl, tags } => {
                let requests: Vec<SetRequest> = requests(keys, values, ttl, tags).collect();
                Outcome::Stored(Box::pin(self.set_many(&requests)).await?)
            }
            Operation::DeleteMany { keys } => Outcome::Deleted(Box::pin(self.delete_many(keys)).await?),
            Operation::NextKeys { cursor, limit } => Outcome::Keys(Box::pin(self.next_of(cursor, limit)).await?),
            Operation::Search { query, options } => Outcome::Matches(Box::pin(self.search(query, options)).await?),
        })
    }

    /// The next keys of a listing that others may be going on with: each page goes to one of them.
    pub async fn next_of(&self, cursor: &Mutex<Cursor>, limit: usize) -> Result<ByteStrings> {
        self.next_keys(&mut *cursor.lock().await, limit).await
    }
}

fn requests<'a>(
    keys: &'a [&'a [u8]],
    values: &'a [&'a [u8]],
    ttl: Ttl,
    tags: &'a [&'a [u8]],
) -> impl Iterator<Item = SetRequest<'a>> {
    keys.iter().zip(values).map(move |(key, value)| SetRequest { key, value, ttl, tags })
}
