//! Tags' versions: random numbers under names of their own, made where they are missing, replaced by new ones.

use super::command::{Command, Condition, random_number};
use super::names;
use super::received::{Received, What, tag_version};
use super::run::{Commands, run, run_renewed};
use super::store::{MemcachedStore, without_versions};
use crate::backend::remote::Replaceable;
use crate::error::{Error, Result};
use crate::exec::context::CallContext;

impl MemcachedStore {
    /// The versions of tags; a tag version that a process makes meanwhile is everybody's.
    pub(super) async fn read_tag_versions(
        &self,
        context: CallContext,
        prefix: &str,
        tags: &[u64],
        create: bool,
    ) -> Vec<Result<Option<u64>>> {
        let mut versions = self.try_tag_versions(context, prefix, tags, create).await;
        if create && versions.iter().any(|version| matches!(version, Ok(None))) {
            // Another process may have created them at the same time.
            self.read_again(context, prefix, tags, &mut versions).await;
        }
        if create && versions.iter().any(|version| matches!(version, Ok(None))) {
            self.replace_foreign(context, prefix, tags, &mut versions).await;
        }
        versions
    }

    /// Reads the versions that are missing.
    async fn read_again(&self, context: CallContext, prefix: &str, tags: &[u64], versions: &mut [Result<Option<u64>>]) {
        let missing: Vec<usize> = (0..tags.len()).filter(|index| matches!(versions[*index], Ok(None))).collect();
        let tags: Vec<u64> = missing.iter().map(|index| tags[*index]).collect();
        let again = self.try_tag_versions(context, prefix, &tags, false).await;
        missing.into_iter().zip(again).for_each(|(index, version)| versions[index] = version);
    }

    /// Reads the version under a name, and before that the number by which the server knows it: a version that comes
    /// between the two is not replaced.
    pub(super) async fn replaceable(&self, context: CallContext, name: &[u8]) -> Result<Option<Replaceable>> {
        let mark = match self.only(context, Command::Mark { name }).await?.what {
            What::Value { version: 0, .. } => return Err(without_versions(&self.nodes().name())),
            What::Value { version, .. } => version,
            _ => return Ok(None),
        };
        let (peeked, number) = (self.only(context, Command::Peek { name }).await?, random_number()?);
        let Some(version) = tag_version(&peeked)? else { return Ok(None) };
        let next = tag_version(&Received { what: What::Number(number), epoch: peeked.epoch })?;
        Ok(next.map(|next| Replaceable { version, next, left: None, mark, number }))
    }

    async fn try_tag_versions(
        &self,
        context: CallContext,
        prefix: &str,
        tags: &[u64],
        create: bool,
    ) -> Vec<Result<Option<u64>>> {
        let names = names::tag_versions(prefix, tags);
        if create {
            return self
                .run_numbered(context, &names, |name, number| Command::Count { name, seed: number.value, add: 0 })
                .await;
        }
        let commands: Vec<Command> = names.iter().map(|name| Command::Peek { name }).collect();
        run(context, &self.current, &commands).await.into_iter().map(|received| tag_version(&received?)).collect()
    }

    /// Runs a command with a new number for each name.
    async fn run_numbered(
        &self,
        context: CallContext,
        names: &[Vec<u8>],
        command: impl for<'c> Fn(&'c [u8], &'c Number) -> Command<'c>,
    ) -> Vec<Result<Option<u64>>> {
        let numbers: Vec<Number> = match names.iter().map(|_| random_number().map(Number::from)).collect() {
            Ok(numbers) => numbers,
            Err(error) => return names.iter().map(|_| Err(Error::clone(&error))).collect(),
        };
        let commands: Commands = names.iter().zip(&numbers).map(|(name, number)| command(name, number)).collect();
        let received = run_renewed(context, &self.current, &commands).await;
        received.into_iter().map(|received| tag_version_or_done(&received?)).collect()
    }

    /// Bytes under a tag version's name that are no tag version give way to one.
    async fn replace_foreign(
        &self,
        context: CallContext,
        prefix: &str,
        tags: &[u64],
        versions: &mut [Result<Option<u64>>],
    ) {
        let foreign: Vec<usize> = (0..tags.len()).filter(|index| matches!(versions[*index], Ok(None))).collect();
        let tags: Vec<u64> = foreign.iter().map(|index| tags[*index]).collect();
        let replaced = self.replace_tag_versions(context, prefix, &tags).await;
        let again = self.try_tag_versions(context, prefix, &tags, false).await;
        for (index, version) in foreign.into_iter().zip(again) {
            versions[index] = replaced.clone().and(version);
        }
    }

    /// Gives tags new versions. They are stored unconditionally, not incremented: an evicted number would start again
    /// and could repeat an older version.
    pub(super) async fn replace_tag_versions(&self, context: CallContext, prefix: &str, tags: &[u64]) -> Result<()> {
        let names = names::tag_versions(prefix, tags);
        let replaced = self.run_numbered(context, &names, |name, number| set_tag_version(name, &number.text)).await;
        replaced.into_iter().try_for_each(|outcome| outcome.map(drop))
    }
}

/// A random number, and as text.
struct Number {
    value: u64,
    text: String,
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self { value, text: value.to_string() }
    }
}

fn set_tag_version<'a>(name: &'a [u8], number: &'a str) -> Command<'a> {
    Command::Set { name, bytes: number.as_bytes(), flags: 0, expiry: 0, condition: Condition::Always }
}

/// The tag version that a reply is, if the command was to answer with it.
fn tag_version_or_done(received: &Received) -> Result<Option<u64>> {
    if matches!(received.what, What::Done) { Ok(None) } else { tag_version(received) }
}
