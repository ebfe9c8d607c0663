//! Many operations in one call.

use std::time::Duration;

use super::{Cache, SetRequest};
use crate::backend::Removed;
use crate::error::Result;
use crate::ttl::Ttl;
use crate::value::Value;

/// One operation of a batch.
#[derive(Debug, Clone, Copy)]
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
}

/// What an operation of a batch came to.
pub enum Outcome {
    /// It is done.
    Done,
    /// The key is not there.
    Miss,
    /// The value of the key.
    Value(Value),
    /// What is left to the key; `None`: it never expires.
    Remaining(Option<Duration>),
    /// How many entries went.
    Removed(Removed),
}

impl Outcome {
    fn hit(was_there: bool) -> Self {
        if was_there { Self::Done } else { Self::Miss }
    }
}

impl Cache {
    /// Runs operations in their order, each with its own outcome; one that was
    /// refused before it came here keeps its error.
    pub async fn batch(&self, operations: Vec<Result<Operation<'_>>>) -> Vec<Result<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            outcomes.push(match operation {
                Ok(operation) => self.run(operation).await,
                Err(refused) => Err(refused),
            });
        }
        outcomes
    }

    async fn run(&self, operation: Operation<'_>) -> Result<Outcome> {
        Ok(match operation {
            Operation::Get { key } => self.get(key).await?.map_or(Outcome::Miss, Outcome::Value),
            Operation::Set(request) => self.set(request).await.map(|()| Outcome::Done)?,
            Operation::Delete { key } => Outcome::hit(self.delete(key).await?),
            Operation::Exists { key } => Outcome::hit(self.exists(key).await?),
            Operation::Expire { key, ttl } => Outcome::hit(self.expire(key, ttl).await?),
            Operation::Ttl { key } => self.ttl(key).await?.map_or(Outcome::Miss, Outcome::Remaining),
            Operation::InvalidateTags { tags, count } => Outcome::Removed(self.invalidate_tags(tags, count).await?),
            Operation::InvalidatePattern { pattern } => Outcome::Removed(self.invalidate_pattern(pattern).await?),
            Operation::Flush { count } => Outcome::Removed(self.flush(count).await?),
            Operation::Ping => self.ping().await.map(|()| Outcome::Done)?,
        })
    }
}
