//! Reads entries with their properties: value, version, age, remaining time and tags, in one request where the versions
//! of the tags are known as for a get.

use std::time::Duration;

use super::conditional::{Asked, Live, Look};
use super::fresh::{Checked, fresh_of};
use super::tags::pair;
use super::trailer::Trailer;
use super::{Remote, Store, TimedEntry, only};
use crate::entry::{self, Entry, count_tags};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::operation::EntryInfo;
use crate::tag_names::TagNames;
use crate::value::Value;

impl<S: Store> Remote<S> {
    /// Reads an entry with its properties. An entry that is older than `max_age` counts as a miss, and stays.
    pub(super) async fn read_info(
        &self,
        context: CallContext,
        key: &[u8],
        max_age: Option<Duration>,
    ) -> Result<Option<EntryInfo>> {
        let info = self.info_of(context, key).await?.filter(|info| info.is_within(max_age));
        self.counting.reads(u64::from(info.is_some()), u64::from(info.is_none()));
        Ok(info)
    }

    async fn info_of(&self, context: CallContext, key: &[u8]) -> Result<Option<EntryInfo>> {
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let fingerprint = entry::fingerprint(&name);
        let guessed = self.guess_tags(key, &name, fingerprint);
        let (entries, versions) = self.store.read_with_time(context, &self.prefix, &[&name], &guessed).await;
        let TimedEntry { stored, left, .. } = only(entries)?;
        let mut known = pair(&guessed, versions);
        known.sort_unstable_by_key(|version| version.tag);
        // The name of an entry that a caller loads lasts longer.
        let is_loading = stored.as_deref().is_some_and(|stored| Trailer::split(&name, stored).is_some());
        let left = left.filter(|_| !is_loading);
        let take = |entry: &Entry| {
            let left = if S::DEADLINES { Some(self.time_until(&name, entry.deadline_ms)) } else { left };
            // A time that says that the value is over may be that of an entry before.
            let left = left.and_then(|left| fresh_of(left, self.kept_longer(entry)));
            Some((self.described(key, &name, entry, left.flatten()), left.is_some()))
        };
        let Some(mut found) = self.found(Some(key), &name, Ok(stored), entry::decode, take)? else { return Ok(None) };
        self.hints.saw_entry_of_family(&name, fingerprint, &found.tags);
        if !found.what.1 {
            let look = Box::pin(self.look_at(context, name, Some(key), Asked::Always)).await?;
            return Ok(self.info_in(key, look));
        }
        // The time that is left is known.
        found.outlives = None;
        Ok(match self.checked(context, Some(found), &known, Some(key), &name).await? {
            Checked::Live((info, _)) => Some(info),
            Checked::Dead | Checked::Changed => None,
        })
    }

    /// Returns what was read in several requests.
    fn info_in(&self, key: &[u8], look: Look) -> Option<EntryInfo> {
        let left = if S::DEADLINES { None } else { Some(look.fresh_left()?) };
        let Live { value, version, tags, tag_names, deadline_ms, created_s, .. } = look.live?;
        let left = left.unwrap_or_else(|| self.time_until(&look.name, deadline_ms));
        let tags = count_tags(key, tags.iter().map(|tag| tag.tag));
        Some(EntryInfo { value, version, age: self.age_of(&look.name, created_s), left, tags, tag_names })
    }

    fn described(&self, key: &[u8], name: &[u8], entry: &Entry, left: Option<Duration>) -> EntryInfo {
        EntryInfo {
            value: Value::from(entry.payload),
            version: entry.version(),
            age: self.age_of(name, entry.created_s),
            left,
            tags: count_tags(key, entry.tags.iter().map(|tag| tag.tag)),
            tag_names: TagNames::from_stored(entry.tag_names),
        }
    }

    /// Returns the time until a deadline that an entry has.
    fn time_until(&self, name: &[u8], deadline_ms: Option<u64>) -> Option<Duration> {
        deadline_ms.map(|deadline| Duration::from_millis(deadline.saturating_sub(self.store.now_ms(name))))
    }

    /// Returns the time by which the name outlives the time to live of its entry.
    fn kept_longer(&self, entry: &Entry) -> Duration {
        if S::DEADLINES { Duration::ZERO } else { Duration::from_millis(entry.load.stale_for_ms) }
    }
}
