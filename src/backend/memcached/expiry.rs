//! When entries end: exactly as they say themselves, and a little later for the server, whose clock counts seconds.

use std::time::Duration;

use super::command::{Command, Condition};
use super::run::{Commands, Received, What, run};
use super::store::{MemcachedStore, stored, unexpected};
use crate::backend::remote::Slice;
use crate::entry::{self, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::util::millis;

/// The longest time that the server reads as a time; what is more it reads as a date.
const LONGEST: u64 = 30 * 24 * 3600;
/// The last date that it can read.
const LAST_DATE: u64 = i32::MAX as u64;
/// The number of times that an entry is read again after another process changed it.
const ATTEMPTS: usize = 16;

/// A server's clock reports at most so many seconds more than its time is.
const AHEAD: u64 = 2;

/// The expiry that is sent to the server; 0 is never. A second more than whole
/// ones, since the server's clock may tick at once: the server never forgets an
/// entry too early. `now_ms` is the time by the server's clock.
pub fn expiry(ttl: Option<Duration>, now_ms: u64) -> u32 {
    let Some(ttl) = ttl else { return 0 };
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0) + 1;
    let told = if seconds <= LONGEST { seconds } else { now_ms / 1000 + AHEAD + seconds };
    // Past that date the entry itself says when it ends.
    u32::try_from(told).ok().filter(|told| u64::from(*told) <= LAST_DATE).unwrap_or(0)
}

/// The outcome of one attempt.
enum Attempt {
    Done,
    Gone,
    Again,
}

impl MemcachedStore {
    /// Gives an entry another deadline; value and tags are those of the moment it is stored.
    pub(super) async fn expire(&self, name: &[u8], ttl: Option<Duration>) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            match self.attempt(name, ttl).await? {
                Attempt::Done => return Ok(true),
                Attempt::Gone => return Ok(false),
                Attempt::Again => {}
            }
        }
        Err(Error::new(ErrorKind::Busy, "the entry is set too often for its time to live to be changed; try again"))
    }

    async fn attempt(&self, name: &[u8], ttl: Option<Duration>) -> Result<Attempt> {
        let Some((bytes, flags, version)) = self.marked(name).await? else { return Ok(Attempt::Gone) };
        let Ok(entry) = entry::decode(name, &bytes) else { return Ok(Attempt::Gone) };
        let now_ms = self.fleet.now_ms(name);
        // An entry that is over is gone, whoever read it before it was.
        if entry.deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
            return Ok(Attempt::Gone);
        }
        let deadline_ms = ttl.map(|ttl| now_ms.saturating_add(millis(ttl)));
        let bytes = entry::encode(name, &Entry { deadline_ms, ..entry });
        let condition = Condition::Unchanged(version);
        let set = Command::Set { name, bytes: &bytes, flags, expiry: expiry(ttl, now_ms), condition };
        match self.only(set).await?.what {
            What::Done => Ok(Attempt::Done),
            What::Missing => Ok(Attempt::Gone),
            What::Changed => Ok(Attempt::Again),
            _ => Err(unexpected()),
        }
    }

    /// Reads the bytes, flags and version of an entry.
    async fn marked(&self, name: &[u8]) -> Result<Option<(Slice, u32, u64)>> {
        match self.only(Command::GetMarked { name }).await?.what {
            What::Value { bytes, flags, version } => Ok(Some((bytes, flags, version))),
            What::Missing => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// Runs one command.
    async fn only(&self, command: Command<'_>) -> Result<Received> {
        run(&self.fleet, &[command]).await.into_iter().next().unwrap_or_else(|| Err(unexpected()))
    }

    /// Returns the time that is left to entries, by their own deadlines.
    pub(super) async fn remaining(&self, names: &[&[u8]]) -> Vec<Result<Option<Option<Duration>>>> {
        let commands: Commands = names.iter().map(|name| Command::Get { name }).collect();
        let received = run(&self.fleet, &commands).await;
        let left = |(name, received): (&&[u8], Result<Received>)| {
            let bytes = stored(received?)?;
            Ok(bytes.and_then(|bytes| left_to(name, &bytes, self.fleet.now_ms(name))))
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

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn the_server_is_told_a_second_more_and_a_date_of_its_own_beyond_thirty_days() {
        let told = |ttl| expiry(Some(ttl), NOW);
        assert_eq!(expiry(None, NOW), 0);
        assert_eq!(told(Duration::from_millis(1)), 2);
        assert_eq!(told(Duration::from_secs(10)), 11);
        assert_eq!(told(Duration::from_secs(LONGEST - 1)), LONGEST as u32);
        let date = u64::from(told(Duration::from_secs(LONGEST)));
        assert!((LONGEST + 2..LONGEST + 10).contains(&(date - NOW / 1000)));
        assert_eq!(told(Duration::from_secs(100 * 365 * 24 * 3600)), 0);
    }

    #[test]
    fn what_is_left_is_what_the_entry_says() {
        let entry =
            |deadline_ms| entry::encode(b"n", &Entry { deadline_ms, tags: Vec::new(), key: None, payload: b"v" });
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
