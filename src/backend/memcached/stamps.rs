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
    pub(super) async fn read_stamps(&self, prefix: &str, tags: &[u64], create: bool) -> Vec<Result<Option<u64>>> {
        let mut stamps = self.try_stamps(prefix, tags, create).await;
        if create && stamps.iter().any(|stamp| matches!(stamp, Ok(None))) {
            self.replace_foreign(prefix, tags, &mut stamps).await;
        }
        stamps
    }

    async fn try_stamps(&self, prefix: &str, tags: &[u64], create: bool) -> Vec<Result<Option<u64>>> {
        let (names, seeds) = (stamp_names(prefix, tags), random_numbers(if create { tags.len() } else { 0 }));
        let seeds = match seeds {
            Ok(seeds) => seeds,
            Err(error) => return tags.iter().map(|_| Err(error.clone())).collect(),
        };
        let command = |(index, name)| match seeds.get(index) {
            Some(seed) => Command::Count { name, seed: *seed, add: 0 },
            None => Command::Peek { name },
        };
        let commands: Vec<Command> = names.iter().map(Vec::as_slice).enumerate().map(command).collect();
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<Reply>, guard| {
            stamps[index] = reply.and_then(|reply| stamp(reply, guard));
            Pairing::Right
        };
        run(&self.fleet, &commands, &mut each).await;
        stamps
    }

    /// Bytes under a stamp's name that are no stamp give way to one.
    async fn replace_foreign(&self, prefix: &str, tags: &[u64], stamps: &mut [Result<Option<u64>>]) {
        let foreign: Vec<usize> = (0..tags.len()).filter(|index| matches!(stamps[*index], Ok(None))).collect();
        let tags: Vec<u64> = foreign.iter().map(|index| tags[*index]).collect();
        let replaced = self.new_stamps(prefix, &tags).await;
        let again = self.try_stamps(prefix, &tags, false).await;
        for (index, stamp) in foreign.into_iter().zip(again) {
            stamps[index] = replaced.clone().and(stamp);
        }
    }

    /// Gives tags new stamps. Stored whatever is there, and not counted up: a
    /// number that was evicted meanwhile would begin anew, and nobody could
    /// tell whether it came by where an older one had been.
    pub(super) async fn new_stamps(&self, prefix: &str, tags: &[u64]) -> Result<()> {
        let names = stamp_names(prefix, tags);
        let numbers: Vec<String> = random_numbers(tags.len())?.iter().map(u64::to_string).collect();
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

/// Without the highest bit: in a number that has it Memcached looks for a minus sign, up to 1.6.18 and maybe later also
/// in the memory behind the number, and then says that it is none.
fn random_numbers(count: usize) -> Result<Vec<u64>> {
    (0..count).map(|_| random().map(|number| number >> 1)).collect()
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
        assert!(stamps.iter().all(|stamp| i64::try_from(*stamp).is_ok()));
    }
}
