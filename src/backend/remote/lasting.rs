//! The lifetime of tag versions: never shorter than that of the entries that carry them, and not for ever.
//!
//! A version that expires makes its entries misses, so it has to outlive them.
//! A version is prolonged to twice the time that is needed, and its expiry is
//! remembered: a tag in steady use costs one such command in the time that its
//! entries live.

use std::time::Duration;

use super::hints::End;
use super::{Lasting, Remote, Store};
use crate::backend::NewEntry;
use crate::entry::TagVersion;
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::util::clock::coarse_millis;
use crate::util::millis;

/// The least time that a version outlives its entries.
const MARGIN: Duration = Duration::from_secs(1);
/// Half of it, in milliseconds, is for the time that passes until an entry is stored.
const MARGIN_MS: u64 = 1000;
/// An end that does not come.
const NEVER: u64 = u64::MAX;

impl Lasting {
    /// Returns the time to live that the version gets; `None`: for ever.
    pub fn lifetime(&self) -> Option<Duration> {
        self.ttl.map(|ttl| ttl.saturating_mul(2).saturating_add(MARGIN))
    }
}

/// Returns the time to live of a version that is created for entries with this time to live.
pub fn first_lifetime(ttl: Option<Duration>) -> Option<Duration> {
    ttl.map(|ttl| ttl.saturating_add(MARGIN))
}

/// The longest time to live of some entries; `None` if one never expires.
pub(super) fn longest(entries: &[NewEntry]) -> Option<Duration> {
    entries.iter().filter(|entry| !entry.tags.is_empty()).map(|entry| entry.ttl).try_fold(Duration::ZERO, longer)
}

fn longer(one: Duration, other: Option<Duration>) -> Option<Duration> {
    other.map(|other| one.max(other))
}

impl<S: Store> Remote<S> {
    /// The versions that are not known to last as long as an entry that carries them.
    pub(super) fn too_short(&self, versions: &[TagVersion], ttl: Option<Duration>) -> Vec<Lasting> {
        if !S::VERSIONS_EXPIRE {
            return Vec::new();
        }
        let (needed, changes) = (end(ttl), self.store.changes());
        let lasts = |version: &TagVersion| {
            let end = self.hints.end_of(version);
            end.changes == changes && end.at_ms >= needed
        };
        let short = versions.iter().filter(|version| !lasts(version));
        short.map(|version| Lasting { tag: version.tag, ttl }).collect()
    }

    /// The time at which versions are asked to last, for `saw_lasting`.
    pub(super) fn asked(&self) -> End {
        End { at_ms: coarse_millis(), changes: self.store.changes() }
    }

    /// Notes that the store has prolonged versions, which was asked for at that time.
    pub(super) fn saw_lasting(&self, versions: &[TagVersion], lasting: &[Lasting], asked: End) {
        for it in lasting {
            let after = |lifetime| asked.at_ms.saturating_add(millis(lifetime));
            let end = End { at_ms: it.lifetime().map_or(NEVER, after), changes: asked.changes };
            versions
                .iter()
                .filter(|version| version.tag == it.tag)
                .for_each(|version| self.hints.lasts_until(version, end));
        }
    }

    /// Makes versions last for an entry that is stored already.
    pub(super) async fn make_last(
        &self,
        context: CallContext,
        versions: &[TagVersion],
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.hints.saw_tag_versions(versions);
        let lasting = self.too_short(versions, ttl);
        if lasting.is_empty() {
            return Ok(());
        }
        let asked = self.asked();
        self.store.prolong(context, &self.prefix, &lasting).await?;
        self.saw_lasting(versions, &lasting, asked);
        Ok(())
    }
}

/// Joins what several entries need of the same versions.
pub(super) fn join(mut lasting: Vec<Lasting>) -> Vec<Lasting> {
    let rank = |ttl: Option<Duration>| ttl.unwrap_or(Duration::MAX);
    lasting.sort_unstable_by(|one, other| (one.tag, rank(other.ttl)).cmp(&(other.tag, rank(one.ttl))));
    lasting.dedup_by_key(|it| it.tag);
    lasting
}

/// When an entry ends that is stored now, with a margin for the time that storing it takes.
fn end(ttl: Option<Duration>) -> u64 {
    ttl.map_or(NEVER, |ttl| coarse_millis().saturating_add(millis(ttl)).saturating_add(MARGIN_MS / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_need_of_a_version_counts() {
        let lasting = |tag, seconds: Option<u64>| Lasting { tag, ttl: seconds.map(Duration::from_secs) };
        let all = vec![lasting(2, Some(1)), lasting(1, Some(5)), lasting(2, None), lasting(1, Some(9))];
        assert_eq!(join(all), [lasting(1, Some(9)), lasting(2, None)]);
    }

    #[test]
    fn entries_that_never_expire_want_versions_that_never_do() {
        let entry =
            |ttl: Option<u64>, tags| NewEntry { key: b"k", value: b"v", ttl: ttl.map(Duration::from_secs), tags };
        let tag: &[&[u8]] = &[b"t"];
        assert_eq!(longest(&[entry(Some(1), tag), entry(Some(3), tag)]), Some(Duration::from_secs(3)));
        assert_eq!(longest(&[entry(None, &[]), entry(Some(3), tag)]), Some(Duration::from_secs(3)));
        assert_eq!(longest(&[entry(None, tag), entry(Some(3), tag)]), None);
        assert_eq!(Lasting { tag: 1, ttl: None }.lifetime(), None);
    }
}
