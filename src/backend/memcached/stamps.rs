//! Tags' stamps: random numbers under names of their own, made where they are missing, replaced by new ones.

use std::time::Instant;

use super::command::{Command, Condition};
use super::names;
use super::protocol::meta;
use super::run::{Commands, Received, What, is_passing_loss, run, run_unrepeated};
use super::store::{MemcachedStore, unexpected};
use crate::backoff::Backoff;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};

impl MemcachedStore {
    /// The stamps of tags; a stamp that a process makes meanwhile is everybody's.
    pub(super) async fn read_stamps(&self, prefix: &str, tags: &[u64], create: bool) -> Vec<Result<Option<u64>>> {
        let mut stamps = self.try_stamps(prefix, tags, create).await;
        if create && stamps.iter().any(|stamp| matches!(stamp, Ok(None))) {
            self.replace_foreign(prefix, tags, &mut stamps).await;
        }
        stamps
    }

    async fn try_stamps(&self, prefix: &str, tags: &[u64], create: bool) -> Vec<Result<Option<u64>>> {
        let names = stamp_names(prefix, tags);
        if create {
            return self.run_numbered(&names, |name, number| Command::Count { name, seed: number.value, add: 0 }).await;
        }
        let commands: Vec<Command> = names.iter().map(|name| Command::Peek { name }).collect();
        run(&self.fleet, &commands).await.into_iter().map(|received| stamp(&received?)).collect()
    }

    /// Runs a command with a new number for each name. One whose answer was lost is made again with another number: a
    /// copy that arrives late must not bring back a stamp that entries were set with meanwhile.
    async fn run_numbered(
        &self,
        names: &[Vec<u8>],
        command: impl for<'c> Fn(&'c [u8], &'c Number) -> Command<'c>,
    ) -> Vec<Result<Option<u64>>> {
        let end = caller::call_deadline().unwrap_or_else(|| Instant::now() + self.fleet.connection.timeout);
        let mut backoff = Backoff::until(end);
        let mut outcomes: Vec<Result<Option<u64>>> = names.iter().map(|_| Err(unexpected())).collect();
        let mut left: Vec<usize> = (0..names.len()).collect();
        loop {
            let numbers = match random_numbers(left.len()) {
                Ok(numbers) => numbers,
                Err(error) => return names.iter().map(|_| Err(error.clone())).collect(),
            };
            let commands: Commands =
                left.iter().zip(&numbers).map(|(index, number)| command(&names[*index], number)).collect();
            let received = run_unrepeated(&self.fleet, &commands).await;
            let mut lost = Vec::new();
            for ((index, command), received) in left.iter().zip(&commands).zip(received) {
                if let Err(error) = &received
                    && self.fleet.connection.retry_on_timeout
                    && is_passing_loss(&self.fleet, command, error)
                {
                    lost.push(*index);
                }
                outcomes[*index] = received.and_then(|received| stamp_or_done(&received));
            }
            left = lost;
            if left.is_empty() || !backoff.pause().await {
                return outcomes;
            }
        }
    }

    /// Bytes under a stamp's name that are no stamp give way to one.
    async fn replace_foreign(&self, prefix: &str, tags: &[u64], stamps: &mut [Result<Option<u64>>]) {
        let foreign: Vec<usize> = (0..tags.len()).filter(|index| matches!(stamps[*index], Ok(None))).collect();
        let tags: Vec<u64> = foreign.iter().map(|index| tags[*index]).collect();
        let replaced = self.replace_stamps(prefix, &tags).await;
        let again = self.try_stamps(prefix, &tags, false).await;
        for (index, stamp) in foreign.into_iter().zip(again) {
            stamps[index] = replaced.clone().and(stamp);
        }
    }

    /// Gives tags new stamps. Stored whatever is there, and not counted up: a
    /// number that was evicted meanwhile would begin anew, and nobody could
    /// tell whether it came by where an older one had been.
    pub(super) async fn replace_stamps(&self, prefix: &str, tags: &[u64]) -> Result<()> {
        let names = stamp_names(prefix, tags);
        let replaced = self.run_numbered(&names, |name, number| set_stamp(name, &number.text)).await;
        replaced.into_iter().try_for_each(|outcome| outcome.map(drop))
    }
}

/// A random number, and as text.
struct Number {
    value: u64,
    text: String,
}

fn set_stamp<'a>(name: &'a [u8], number: &'a str) -> Command<'a> {
    Command::Set { name, bytes: number.as_bytes(), flags: 0, expiry: 0, condition: Condition::Always }
}

/// The stamp that a reply is, if the command was to answer with it.
fn stamp_or_done(received: &Received) -> Result<Option<u64>> {
    if matches!(received.what, What::Done) { Ok(None) } else { stamp(received) }
}

/// The names of tags' stamps.
pub fn stamp_names(prefix: &str, tags: &[u64]) -> Vec<Vec<u8>> {
    tags.iter().map(|tag| names::stamp(prefix, *tag)).collect()
}

/// The stamp that a reply is; an epoch makes it another when it changes.
pub fn stamp(received: &Received) -> Result<Option<u64>> {
    let number = match &received.what {
        What::Number(number) => Some(*number),
        What::Value { bytes, .. } => meta::number(bytes),
        What::Missing | What::NoNumber => None,
        What::Done | What::Changed => return Err(unexpected()),
    };
    Ok(number.map(|number| number.wrapping_add(u64::from(received.epoch).wrapping_mul(0x9e37_79b9_7f4a_7c15))))
}

/// Without the highest bit: in a number that has it Memcached looks for a minus sign, up to 1.6.18 and maybe later also
/// in the memory behind the number, and then says that it is none.
fn random_numbers(count: usize) -> Result<Vec<Number>> {
    let number = |value: u64| Number { value, text: value.to_string() };
    (0..count).map(|_| random().map(|bits| number(bits >> 1))).collect()
}

/// 64 random bits, so that no stamp comes back.
pub fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::new(ErrorKind::Server, format!("this system has no random numbers: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_no_number_that_could_be_negative() {
        let stamps = random_numbers(1000).unwrap();
        assert!(stamps.iter().all(|stamp| i64::try_from(stamp.value).is_ok()));
    }
}
