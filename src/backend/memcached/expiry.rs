//! Deadlines of entries, which an entry states itself: reads the time that is left, and changes it.

use std::time::Duration;

use super::command::{Command, Condition, expiry};
use super::received::{Received, What, stored, unexpected};
use super::run::{Commands, run};
use super::store::{MemcachedStore, changed};
use crate::backend::remote::Slice;
use crate::entry::{self, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::millis;

/// The number of times that an entry is read again after another process changed it.
const ATTEMPTS: usize = 16;

/// The outcome of one attempt.
enum Attempt {
    Done,
    Gone,
    Again,
}

impl MemcachedStore {
    /// Gives an entry another deadline; value and tags are those of the moment it is stored.
    pub(super) async fn expire(&self, context: CallContext, name: &[u8], ttl: Option<Duration>) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            match self.attempt(context, name, ttl).await? {
                Attempt::Done => return Ok(true),
                Attempt::Gone => return Ok(false),
                Attempt::Again => {}
            }
        }
        Err(Error::new(ErrorKind::Busy, "the entry is set too often for its time to live to be changed; try again"))
    }

    async fn attempt(&self, context: CallContext, name: &[u8], ttl: Option<Duration>) -> Result<Attempt> {
        let Some((bytes, flags, version)) = self.marked(context, name).await? else { return Ok(Attempt::Gone) };
        let Ok(entry) = entry::decode(name, &bytes) else { return Ok(Attempt::Gone) };
        let now_ms = self.nodes().now_ms(name);
        // An entry that is over is gone, whoever read it before it was.
        if entry.deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
            return Ok(Attempt::Gone);
        }
        let deadline_ms = ttl.map(|ttl| now_ms.saturating_add(millis(ttl)));
        let bytes = entry::encode(name, &Entry { deadline_ms, ..entry });
        let condition = Condition::Unchanged(version);
        let set = Command::Set { name, bytes: &bytes, flags, expiry: expiry(ttl, now_ms), condition };
        match self.only(context, set).await?.what {
            What::Done => Ok(Attempt::Done),
            What::Missing => Ok(Attempt::Gone),
            What::Changed => Ok(Attempt::Again),
            _ => Err(unexpected()),
        }
    }

    /// Gives an entry another deadline if this version of it, with these bytes, is there.
    pub(super) async fn expire_checked(
        &self,
        context: CallContext,
        name: &[u8],
        stored: &[u8],
        version: u64,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let Ok(entry) = entry::decode(name, stored) else { return Ok(false) };
        let now_ms = self.nodes().now_ms(name);
        let deadline_ms = ttl.map(|ttl| now_ms.saturating_add(millis(ttl)));
        let bytes = entry::encode(name, &Entry { deadline_ms, ..entry });
        let condition = Condition::Unchanged(version);
        let set = Command::Set { name, bytes: &bytes, flags: 0, expiry: expiry(ttl, now_ms), condition };
        changed(self.only(context, set).await?)
    }

    /// Reads the bytes, flags and version of an entry.
    async fn marked(&self, context: CallContext, name: &[u8]) -> Result<Option<(Slice, u32, u64)>> {
        match self.only(context, Command::GetMarked { name }).await?.what {
            What::Value { bytes, flags, version } => Ok(Some((bytes, flags, version))),
            What::Missing => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// Runs one command.
    pub(super) async fn only(&self, context: CallContext, command: Command<'_>) -> Result<Received> {
        run(context, &self.current, &[command]).await.into_iter().next().unwrap_or_else(|| Err(unexpected()))
    }

    /// Returns the time that is left to entries, by their own deadlines.
    pub(super) async fn remaining(
        &self,
        context: CallContext,
        names: &[&[u8]],
    ) -> Vec<Result<Option<Option<Duration>>>> {
        let commands: Commands = names.iter().map(|name| Command::Get { name }).collect();
        let received = run(context, &self.current, &commands).await;
        let left = |(name, received): (&&[u8], Result<Received>)| {
            let bytes = stored(received?)?;
            Ok(bytes.and_then(|bytes| left_to(name, &bytes, self.nodes().now_ms(name))))
        };
        names.iter().zip(received).map(left).collect()
    }
}

fn left_to(name: &[u8], bytes: &[u8], now_ms: u64) -> Option<Option<Duration>> {
    match entry::decode(name, bytes).ok()?.deadline_ms {
        None => Some(None),
        Some(deadline) => match deadline.saturating_sub(now_ms) {
            0 => None,
            left => Some(Some(Duration::from_millis(left))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::LoadTerms;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn what_is_left_is_what_the_entry_says() {
        let entry = |deadline_ms| {
            let load = LoadTerms::default();
            entry::encode(
                b"n",
                &Entry {
                    deadline_ms,
                    tags: Vec::new(),
                    key: None,
                    tag_names: &[],
                    nonce: None,
                    created_s: None,
                    load,
                    payload: b"v",
                },
            )
        };
        let left = |deadline_ms| left_to(b"n", &entry(deadline_ms), NOW);
        assert_eq!(left(None), Some(None));
        assert_eq!((left(Some(1)), left(Some(NOW))), (None, None));
        assert_eq!(left(Some(NOW + 5000)), Some(Some(Duration::from_secs(5))));
        let mut damaged = entry(Some(NOW + 5000));
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(left_to(b"n", &damaged, NOW), None);
        assert_eq!(left_to(b"n", b"garbage", NOW), None);
    }
}
