//! Making tag versions and indexes last: each expires, and none before the entries that need it.
//!
//! An expiry is only ever moved further away: processes with other times to live share the version.

use std::time::Duration;

use super::commands::{Commands, Kind};
use super::expiry::{Way, push_longer};
use super::names;
use super::store::RedisStore;
use crate::backend::remote::Lasting;
use crate::error::{Error, Result};
use crate::exec::context::CallContext;

/// The time to live of an index whose entries never expire. An index without an expiry could not be distinguished from
/// a new one.
const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The tags whose versions do not last as long as they should, and why.
#[derive(Default)]
pub(super) struct Unprolonged(Vec<(u64, Error)>);

impl Unprolonged {
    /// Returns the reason why the version of one of the tags does not last.
    pub(super) fn of(&self, tags: &[u64]) -> Option<Error> {
        self.0.iter().find(|(tag, _)| tags.contains(tag)).map(|(_, error)| error.clone())
    }
}

/// Commands that make versions last: as many for each version.
pub(super) struct Prolonging<'a> {
    lasting: &'a [Lasting],
    way: Way,
    each: usize,
}

impl Prolonging<'_> {
    /// Returns the versions that were not prolonged, from the replies to the commands.
    fn failed<T>(&self, received: impl Iterator<Item = Result<T>>) -> Vec<(Lasting, Error)> {
        let of = |(index, received): (usize, Result<T>)| Some((*self.lasting.get(index / self.each)?, received.err()?));
        received.enumerate().filter_map(of).collect()
    }
}

impl RedisStore {
    /// Adds the commands that make versions last.
    pub(super) fn push_lasting<'a>(
        &self,
        commands: &mut Commands,
        prefix: &str,
        lasting: &'a [Lasting],
    ) -> Prolonging<'a> {
        let (way, begin) = (self.way.get(), commands.len());
        for it in lasting {
            let version = names::tag_version(prefix, it.tag);
            match it.lifetime() {
                None => commands.push(&version, &[b"PERSIST", &version]),
                Some(lifetime) => push_longer(commands, way, &version, lifetime, false),
            }
            if self.tag_index {
                push_longer(commands, way, &names::index(prefix, it.tag), it.lifetime().unwrap_or(LONG), true);
            }
        }
        let each = (commands.len() - begin).checked_div(lasting.len()).unwrap_or(1).max(1);
        Prolonging { lasting, way, each }
    }

    /// Reads the replies to such commands, and tries in another way what the server refused.
    pub(super) async fn finish_lasting<T>(
        &self,
        context: CallContext,
        prefix: &str,
        prolonging: Prolonging<'_>,
        received: impl Iterator<Item = Result<T>>,
    ) -> Unprolonged {
        let (mut failed, mut way) = (prolonging.failed(received), prolonging.way);
        while let Some((_, error)) = failed.first()
            && self.way.learn(way, error)
        {
            let left: Vec<Lasting> = failed.iter().map(|(it, _)| *it).collect();
            let mut commands = self.commands(Kind::Repeatable);
            let retry = self.push_lasting(&mut commands, prefix, &left);
            (failed, way) = (retry.failed(self.run(context, &commands).await.into_iter()), retry.way);
        }
        Unprolonged(failed.into_iter().map(|(it, error)| (it.tag, error)).collect())
    }

    /// Makes versions last.
    pub(super) async fn prolong_all(&self, context: CallContext, prefix: &str, lasting: &[Lasting]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        let prolonging = self.push_lasting(&mut commands, prefix, lasting);
        let received = self.run(context, &commands).await;
        let Unprolonged(failed) = self.finish_lasting(context, prefix, prolonging, received.into_iter()).await;
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}
