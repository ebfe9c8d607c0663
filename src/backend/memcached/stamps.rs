//! Tags' stamps: random numbers under names of their own, made where they are missing, replaced by new ones.

use super::command::{Command, Condition, Reply};
use super::refusal::Refusal;
use super::run::run;
use super::store::{MemcachedStore, unexpected};
use super::{meta, names};
use crate::backend::remote::Pairing;
use crate::error::{Error, ErrorKind, Result};

impl MemcachedStore {
    /// The stamps of tags; a stamp that a process makes meanwhile is everybody's.
    pub(super) async fn read_stamps(&self, prefix: &str, tags: &[u64], create: bool) -> Result<Vec<Option<u64>>> {
        let names = stamp_names(prefix, tags);
        let mut commands = Vec::with_capacity(names.len());
        for name in &names {
            commands.push(if create {
                Command::Count { name, seed: random()?, add: 0 }
            } else {
                Command::Peek { name }
            });
        }
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<Reply>, guard| {
            stamps[index] = reply.and_then(|reply| stamp(reply, guard));
            Pairing::Right
        };
        run(&self.fleet, &commands, &mut each).await;
        let stamps: Vec<Option<u64>> = stamps.into_iter().collect::<Result<_>>()?;
        if create && stamps.contains(&None) {
            return self.replace_foreign(prefix, tags, &stamps).await;
        }
        Ok(stamps)
    }

    /// Bytes under a stamp's name that are no stamp give way to one.
    async fn replace_foreign(&self, prefix: &str, tags: &[u64], stamps: &[Option<u64>]) -> Result<Vec<Option<u64>>> {
        let foreign: Vec<u64> =
            tags.iter().zip(stamps).filter(|(_, stamp)| stamp.is_none()).map(|(tag, _)| *tag).collect();
        self.new_stamps(prefix, &foreign).await?;
        Box::pin(self.read_stamps(prefix, tags, false)).await
    }

    /// Gives tags new stamps. Stored whatever is there, and not counted up: a
    /// number that was evicted meanwhile would begin anew, and nobody could
    /// tell whether it came by where an older one had been.
    pub(super) async fn new_stamps(&self, prefix: &str, tags: &[u64]) -> Result<()> {
        let names = stamp_names(prefix, tags);
        let mut numbers = Vec::with_capacity(tags.len());
        for _ in tags {
            numbers.push(random()?.to_string());
        }
        let commands: Vec<Command> = names.iter().zip(&numbers).map(|(name, number)| set_stamp(name, number)).collect();
        self.all_done(&commands).await
    }
}

fn set_stamp<'a>(name: &'a [u8], number: &'a str) -> Command<'a> {
    Command::Set { name, bytes: number.as_bytes(), flags: 0, expiry: 0, condition: Condition::Always }
}

/// The names of tags' stamps.
pub fn stamp_names(prefix: &str, tags: &[u64]) -> Vec<Vec<u8>> {
    tags.iter().map(|tag| names::stamp(prefix, *tag)).collect()
}

/// The stamp that a reply is; a guard makes it another when it changes.
pub fn stamp(reply: Reply, guard: u32) -> Result<Option<u64>> {
    let number = match reply {
        Reply::Number(number) => Some(number),
        Reply::Value { bytes, .. } => meta::number(bytes),
        Reply::Missing | Reply::Refused(Refusal::NoNumber, _) => None,
        _ => return Err(unexpected()),
    };
    Ok(number.map(|number| number.wrapping_add(u64::from(guard).wrapping_mul(0x9e37_79b9_7f4a_7c15))))
}

/// 64 random bits, so that no stamp comes back.
pub fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::new(ErrorKind::Server, format!("this system has no random numbers: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}
