//! A command on one name and its reply, independent of the protocol.

use std::time::Duration;

use super::server_error::ServerError;
use crate::error::Result;
use crate::util::random::random;

/// A command about a name; each has one reply.
#[derive(Debug, Clone, Copy)]
pub enum Command<'a> {
    /// The stored entry, if it is valid with its epoch.
    Get { name: &'a [u8] },
    /// The stored bytes, with any epoch.
    Peek { name: &'a [u8] },
    /// The entry, with flags and the unique number of this version of it.
    GetMarked { name: &'a [u8] },
    /// The stored bytes with any epoch, and their flags. Where the protocol can say that, this is no use of them.
    Inspect { name: &'a [u8] },
    /// The unique number of the version that is stored, without its bytes where the protocol has that.
    Mark { name: &'a [u8] },
    /// Stores bytes.
    Set { name: &'a [u8], bytes: &'a [u8], flags: u32, expiry: u32, condition: Condition },
    /// Removes a name.
    Delete { name: &'a [u8] },
    /// Removes a name if this version is there.
    DeleteIf { name: &'a [u8], version: u64 },
    /// Adds to a number, or makes it, then answers it; adding nothing reads or makes it.
    Count { name: &'a [u8], seed: u64, add: u64 },
}

/// A random number that a command may store. It has no highest bit: in a number that has it Memcached looks for a minus
/// sign, up to 1.6.18 and maybe later also in the memory behind the number, and then refuses it as not a number.
pub fn random_number() -> Result<u64> {
    Ok(random()? >> 1)
}

/// The condition for storing bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Whatever was there.
    Always,
    /// If nothing was there.
    Absent,
    /// If this version is there.
    Unchanged(u64),
}

/// The longest time that the server reads as a time; what is more it reads as a date.
const LONGEST: u64 = 30 * 24 * 3600;
/// The last date that it can read.
const LAST_DATE: u64 = i32::MAX as u64;
/// A server's clock reports at most so many seconds more than its time is.
const AHEAD: u64 = 2;
/// Largest number of bytes of a command in addition to its name and value.
const BESIDE: usize = 100;

impl<'a> Command<'a> {
    /// At most so many bytes are sent.
    pub fn size(&self) -> usize {
        let value = if let Self::Set { bytes, .. } = self { bytes.len() } else { 0 };
        BESIDE + self.name().len() + value
    }

    /// Returns true if the command reads a value.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Get { .. } | Self::Peek { .. } | Self::GetMarked { .. } | Self::Inspect { .. } | Self::Mark { .. }
        )
    }

    pub fn name(&self) -> &'a [u8] {
        match self {
            Self::Get { name }
            | Self::Peek { name }
            | Self::GetMarked { name }
            | Self::Inspect { name }
            | Self::Mark { name }
            | Self::Set { name, .. }
            | Self::Delete { name }
            | Self::DeleteIf { name, .. }
            | Self::Count { name, .. } => name,
        }
    }
}

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

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The stored bytes. Flags and version are 0 unless they were requested.
    Value { bytes: &'a [u8], flags: u32, version: u64 },
    /// The number that is stored now.
    Number(u64),
    /// The operation is done.
    Done,
    /// Nothing is stored.
    Missing,
    /// Another version is there, or nothing: it was not stored.
    Changed,
    /// The server did not do it, and said why.
    Refused(ServerError, &'a [u8]),
}

impl Reply<'_> {
    /// Returns whether this can be the reply to a command that the server carried out.
    pub fn fits(&self, command: &Command) -> bool {
        match (command, self) {
            (command, Self::Value { .. }) => command.is_read(),
            (Command::Count { .. }, Self::Number(_) | Self::Refused(ServerError::NoNumber, _)) => true,
            (Command::Set { .. } | Command::Delete { .. } | Command::DeleteIf { .. }, Self::Done) => true,
            // In the binary protocol a counter that two clients create at once is refused to one of them.
            (Command::DeleteIf { .. } | Command::Count { .. }, Self::Changed) => true,
            // Only where there is a condition may a value not be stored.
            (Command::Set { condition, .. }, Self::Changed | Self::Missing) => *condition != Condition::Always,
            (_, Self::Missing) => true,
            _ => false,
        }
    }
}

/// The reason why replies do not fit their requests: the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_a_second_more_and_a_date_of_its_own_beyond_thirty_days() {
        let now_ms = 1_800_000_000_000;
        let told = |ttl| expiry(Some(ttl), now_ms);
        assert_eq!(expiry(None, now_ms), 0);
        assert_eq!(told(Duration::from_millis(1)), 2);
        assert_eq!(told(Duration::from_secs(10)), 11);
        assert_eq!(told(Duration::from_secs(LONGEST - 1)), LONGEST as u32);
        let date = u64::from(told(Duration::from_secs(LONGEST)));
        assert!((LONGEST + 2..LONGEST + 10).contains(&(date - now_ms / 1000)));
        assert_eq!(told(Duration::from_secs(100 * 365 * 24 * 3600)), 0);
    }

    #[test]
    fn a_random_number_is_none_that_could_be_negative() {
        assert!((0..1000).all(|_| i64::try_from(random_number().unwrap()).is_ok()));
    }

    #[test]
    fn a_reply_of_another_kind_does_not_fit() {
        let (get, delete) = (Command::Get { name: b"n" }, Command::Delete { name: b"n" });
        let set = |condition| Command::Set { name: b"n", bytes: b"", flags: 0, expiry: 0, condition };
        let value = Reply::Value { bytes: b"", flags: 0, version: 0 };
        assert!(
            value.fits(&get) && Reply::Missing.fits(&get) && !Reply::Done.fits(&get) && !Reply::Number(1).fits(&get)
        );
        assert!(Reply::Done.fits(&delete) && Reply::Missing.fits(&delete) && !Reply::Changed.fits(&delete));
        assert!(Reply::Done.fits(&set(Condition::Always)) && !Reply::Changed.fits(&set(Condition::Always)));
        assert!(Reply::Changed.fits(&set(Condition::Absent)) && Reply::Missing.fits(&set(Condition::Unchanged(1))));
        assert!(!Reply::Missing.fits(&set(Condition::Always)) && !value.fits(&set(Condition::Absent)));
    }
}
