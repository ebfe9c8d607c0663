//! Making tag versions and indexes last: each expires, and none before the entries that need it.
//!
//! An expiry is only ever moved further away: processes with other times to live share the version. Redis does that
//! with `PEXPIRE … GT` since 7.0; an older server runs a script of one line.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::commands::{Commands, Kind};
use super::names;
use super::store::{RedisStore, millis};
use crate::backend::remote::Lasting;
use crate::error::{Error, Result};

/// The time to live of an index whose entries never expire. An index without an expiry could not be distinguished from
/// a new one.
const LONG: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Moves an expiry further away; gives one to a name that has none where the second argument says so.
const SCRIPT: &[u8] = b"local t=redis.call('PTTL',KEYS[1]) \
    if (t==-1 and ARGV[2]=='1') or (t>=0 and t<tonumber(ARGV[1])) then redis.call('PEXPIRE',KEYS[1],ARGV[1]) end return 1";

/// The ways to move an expiry further away; a later one is for servers that refuse those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `PEXPIRE … GT`, since Redis 7.0.
    Greater,
    /// A script.
    Script,
    /// None: what would need it never expires.
    Never,
}

/// The way that the server is known to take.
#[derive(Default)]
pub struct KnownWay(AtomicU8);

impl KnownWay {
    pub(super) fn get(&self) -> Way {
        match self.0.load(Relaxed) {
            0 => Way::Greater,
            1 => Way::Script,
            _ => Way::Never,
        }
    }

    /// Learns from a refusal; whether there is another way.
    fn learn(&self, tried: Way, error: &Error) -> bool {
        let (next, text) = match tried {
            Way::Greater => (1, ["wrong number of arguments", "nsupported option"]),
            Way::Script => (2, ["NOPERM", "unknown command"]),
            Way::Never => return false,
        };
        if !text.iter().any(|text| error.message().contains(text)) {
            return false;
        }
        if self.0.fetch_max(next, Relaxed) < next && tried == Way::Script {
            tracing::warn!(
                "tag versions never expire on this server, because it is older than Redis 7 and runs no scripts: {error}"
            );
        }
        true
    }
}

/// The tags whose versions do not last as long as they should, and why.
#[derive(Default)]
pub(super) struct Unprolonged(Vec<(u64, Error)>);

impl Unprolonged {
    /// Why the version of one of the tags does not last.
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
            let version = names::stamp(prefix, it.tag);
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
            (failed, way) = (retry.failed(self.run(&commands).await.into_iter()), retry.way);
        }
        Unprolonged(failed.into_iter().map(|(it, error)| (it.tag, error)).collect())
    }

    /// Makes versions last.
    pub(super) async fn prolong_all(&self, prefix: &str, lasting: &[Lasting]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        let prolonging = self.push_lasting(&mut commands, prefix, lasting);
        let received = self.run(&commands).await;
        let Unprolonged(failed) = self.finish_lasting(prefix, prolonging, received.into_iter()).await;
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}

fn push_longer(commands: &mut Commands, way: Way, name: &[u8], lifetime: Duration, from_none: bool) {
    let lifetime = millis(lifetime);
    let lifetime = lifetime.as_bytes();
    match way {
        Way::Greater => {
            if from_none {
                commands.push(name, &[b"PEXPIRE", name, lifetime, b"NX"]);
            }
            commands.push(name, &[b"PEXPIRE", name, lifetime, b"GT"]);
        }
        Way::Script => {
            let from_none: &[u8] = if from_none { b"1" } else { b"0" };
            commands.push(name, &[b"EVAL", SCRIPT, b"1", name, lifetime, from_none]);
        }
        Way::Never => commands.push(name, &[b"PERSIST", name]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_refusal_leads_to_the_next_way_once() {
        let (known, error) = (KnownWay::default(), |text: &str| Error::new(ErrorKind::Server, text));
        assert!(!known.learn(Way::Greater, &error("a:1: OOM; more memory")));
        assert_eq!(known.get(), Way::Greater);
        assert!(known.learn(Way::Greater, &error("a:1: ERR wrong number of arguments for 'pexpire' command")));
        assert_eq!(known.get(), Way::Script);
        // Another thread had tried before that was known.
        assert!(known.learn(Way::Greater, &error("a:1: ERR wrong number of arguments for 'pexpire' command")));
        assert_eq!(known.get(), Way::Script);
        assert!(known.learn(Way::Script, &error("a:1: NOPERM this user has no permissions to run the 'eval' command")));
        assert_eq!(known.get(), Way::Never);
        assert!(!known.learn(Way::Never, &error("a:1: NOPERM")));
    }
}
