//! Explains a key: reads what is stored under its name, and the versions of its tags. Nothing is counted or changed.

use std::borrow::Cow;
use std::time::Duration;

use super::fresh::fresh_of;
use super::tags::Standing;
use super::trailer::{Kind, Trailer};
use super::{Inspected, Remote, Store};
use crate::backend::Missing;
use crate::entry::{self, DecodeError, Entry};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::explanation::{EntryFacts, Explanation, KeyState, LeaseFacts, MissReason, TagFacts, TagState};
use crate::tag_names::TagNames;

/// The meaning of the bytes under a name.
#[derive(Debug, PartialEq)]
struct Content<'a> {
    /// `None` if there is no entry, or the reason why the bytes are not one.
    entry: std::result::Result<Option<Entry<'a>>, MissReason>,
    /// The mark of a load behind the entry or without one.
    trailer: Option<Trailer>,
}

impl<'a> Content<'a> {
    /// Decodes the bytes that are stored under the name of a key.
    fn of(name: &[u8], key: &[u8], stored: &'a [u8]) -> Self {
        let whole = entry::decode_any(name, stored);
        let (decoded, trailer) = match (whole, Trailer::split(name, stored)) {
            (Err(_), Some((&[], trailer))) => return Self { entry: Ok(None), trailer: Some(trailer) },
            (Err(_), Some((before, trailer))) => (entry::decode_any(name, before), Some(trailer)),
            (whole, _) => (whole, None),
        };
        let entry = match decoded {
            Ok(entry) if entry.key.is_none_or(|kept| kept == key) => Ok(Some(entry)),
            Ok(_) | Err(DecodeError::Name) => Err(MissReason::Foreign),
            Err(DecodeError::Version) => Err(MissReason::LaterVersion),
            Err(_) if entry::has_magic(stored) => Err(MissReason::Damaged),
            Err(_) => Err(MissReason::Foreign),
        };
        Self { entry, trailer }
    }

    /// Returns the time by which the name lasts longer than its entry, for a load.
    fn extension(&self) -> Duration {
        Duration::from_millis(self.trailer.map_or(0, |trailer| trailer.extension_ms.into()))
    }
}

impl<S: Store> Remote<S> {
    /// Reports on a key.
    pub(super) async fn explain(&self, context: CallContext, key: &[u8]) -> Result<Explanation> {
        self.unready(context, std::iter::once(key)).await.of(0)?;
        let (name, _) = self.store.entry_name(&self.prefix, key);
        let found = self.store.inspect(context, &name).await?;
        let content = found.stored.as_deref().map(|stored| Content::of(&name, key, stored));
        let content = content.unwrap_or(Content { entry: Ok(None), trailer: None });
        let facts = match &content.entry {
            Ok(Some(entry)) => Some(self.facts(context, &name, entry, content.extension()).await?),
            _ => None,
        };
        let lease = self.lease_facts(&name, &content, facts.as_ref(), &found);
        Ok(Explanation {
            backend: S::NAME,
            is_fallback: false,
            // After the read: a redirection may have taught where the name is.
            location: self.store.location(&name),
            stored_bytes: found.stored.as_ref().map(|stored| stored.len() as u64),
            state: self.key_state(&name, &content, facts.as_ref(), lease, &found),
            stored_name: Some(name),
            entry: facts,
            lease,
        })
    }

    /// Returns the properties of an entry; its tags are compared with their versions in the store.
    async fn facts(
        &self,
        context: CallContext,
        name: &[u8],
        entry: &Entry<'_>,
        extension: Duration,
    ) -> Result<EntryFacts> {
        let mut tags: Vec<u64> = entry.tags.iter().map(|tag| tag.tag).collect();
        tags.sort_unstable();
        tags.dedup();
        let versions = self.store.tag_versions(context, &self.prefix, &tags, Missing::Stays).await;
        let versions: Vec<Option<u64>> = versions.into_iter().collect::<Result<_>>()?;
        let version_of = |tag: u64| tags.binary_search(&tag).ok().and_then(|at| versions.get(at).copied().flatten());
        let standing = Standing::of(&entry.tags, version_of);
        let key = || entry.key.map(Cow::Borrowed).or_else(|| self.store.key_of(&self.prefix, name));
        let is_alive = self.stands(context, standing, key).await?;
        let states = entry.tags.iter().map(|carried| TagFacts {
            tag: carried.tag,
            state: match version_of(carried.tag) {
                Some(version) if version == carried.version || is_alive => TagState::Current,
                Some(_) => TagState::Invalidated,
                None => TagState::Lost,
            },
        });
        Ok(EntryFacts {
            version: entry.version(),
            age: self.age_of(name, entry.created_s),
            value_bytes: entry.payload.len() as u64,
            stale_for: Duration::from_millis(entry.load.stale_for_ms).saturating_sub(extension),
            tags: states.collect(),
            tag_names: TagNames::from_stored(entry.tag_names),
        })
    }

    /// Returns what a get would answer.
    fn key_state(
        &self,
        name: &[u8],
        content: &Content<'_>,
        facts: Option<&EntryFacts>,
        lease: Option<LeaseFacts>,
        found: &Inspected,
    ) -> KeyState {
        let entry = match &content.entry {
            Ok(Some(entry)) => entry,
            Ok(None) => return KeyState::Missing(lease.map_or(MissReason::NotStored, LeaseFacts::reason)),
            Err(reason) => return KeyState::Missing(*reason),
        };
        if found.is_outdated {
            return KeyState::Missing(MissReason::Outdated);
        }
        if facts.is_some_and(|facts| !facts.is_current()) {
            return KeyState::Missing(MissReason::Invalidated);
        }
        state_in(self.entry_left(name, entry, found), entry, content.extension())
    }

    /// Returns the time until an entry ends, its stale time included; `None` if it never ends.
    fn entry_left(&self, name: &[u8], entry: &Entry<'_>, found: &Inspected) -> Option<Duration> {
        if !S::DEADLINES {
            return found.left;
        }
        let end = entry.deadline_ms?.saturating_add(entry.load.stale_for_ms);
        Some(Duration::from_millis(end.saturating_sub(self.store.now_ms(name))))
    }

    /// Returns the lease of a key, if it has not ended. The lease of an invalidated value is over.
    fn lease_facts(
        &self,
        name: &[u8],
        content: &Content<'_>,
        facts: Option<&EntryFacts>,
        found: &Inspected,
    ) -> Option<LeaseFacts> {
        let trailer = content.trailer.filter(|_| facts.is_none_or(EntryFacts::is_current) && !found.is_outdated)?;
        let left = match found.left.filter(|_| !S::DEADLINES) {
            // A trailer alone ends with its name.
            Some(left) if facts.is_none() => left,
            Some(left) => left.saturating_sub(Duration::from_millis(trailer.deadline_ms)),
            None => Duration::from_millis(trailer.deadline_ms.saturating_sub(self.store.now_ms(name))),
        };
        (!left.is_zero()).then_some(LeaseFacts { is_held_back: trailer.kind == Kind::HeldBack, left })
    }
}

/// Returns the state of an entry whose tags are current and whose name has this time left, which is longer than the entry
/// by `extension`.
fn state_in(left: Option<Duration>, entry: &Entry<'_>, extension: Duration) -> KeyState {
    let stale_for = Duration::from_millis(entry.load.stale_for_ms);
    let over = KeyState::Missing(MissReason::Expired);
    match fresh_of(left, stale_for) {
        Some(left) if entry.load.is_absent => KeyState::Absent(left),
        Some(left) => KeyState::Fresh(left),
        None if stale_for.is_zero() || entry.load.is_absent => over,
        None => fresh_of(left, extension).map_or(over, KeyState::Stale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::LoadTerms;

    fn entry(stale_for_ms: u64, is_absent: bool) -> Entry<'static> {
        let load = LoadTerms { stale_for_ms, is_absent, ..LoadTerms::default() };
        Entry {
            deadline_ms: None,
            tags: Vec::new(),
            key: Some(b"k"),
            tag_names: &[],
            nonce: Some(7),
            created_s: Some(1),
            load,
            payload: b"v",
        }
    }

    #[test]
    fn bytes_are_an_entry_a_lease_both_or_neither() {
        let trailer = Trailer { kind: Kind::Leased, token: 7, deadline_ms: 9, extension_ms: 0 };
        let (whole, mark) = (entry::encode(b"n", &entry(0, false)), trailer.encode(b"n"));
        let content = |stored: &[u8]| {
            let content = Content::of(b"n", b"k", stored);
            (content.entry.map(|entry| entry.is_some()), content.trailer.is_some())
        };
        assert_eq!(content(&whole), (Ok(true), false));
        assert_eq!(content(&mark), (Ok(false), true));
        assert_eq!(content(&[&whole[..], &mark].concat()), (Ok(true), true));
        assert_eq!(Content::of(b"n", b"other", &whole).entry, Err(MissReason::Foreign));
        assert_eq!(Content::of(b"m", b"k", &whole).entry, Err(MissReason::Foreign));
        for foreign in [&b""[..], b"x", b"bytes of another program"] {
            assert_eq!(content(foreign), (Err(MissReason::Foreign), false));
        }
        for cut in 2..whole.len() {
            assert_eq!(content(&whole[..cut]), (Err(MissReason::Damaged), false), "{cut}");
        }
        let later = [&whole[..2], &[99], &whole[3..]].concat();
        assert_eq!(content(&later), (Err(MissReason::LaterVersion), false));
        let damaged_mark = [&mark[..31], &[1]].concat();
        assert_eq!(content(&damaged_mark), (Err(MissReason::Damaged), false));
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_over() {
        let state = |left: u64, stale_for: u64, is_absent: bool, until: u64| {
            let left = (left > 0).then(|| Duration::from_millis(left));
            state_in(left, &entry(stale_for, is_absent), Duration::from_millis(until))
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(state(0, 0, false, 0), KeyState::Fresh(None));
        assert_eq!(state(90, 0, false, 0), KeyState::Fresh(millis(90)));
        assert_eq!(state(90, 60, false, 0), KeyState::Fresh(millis(30)));
        assert_eq!(state(60, 60, false, 0), KeyState::Stale(millis(60)));
        assert_eq!(state(60, 60, false, 20), KeyState::Stale(millis(40)));
        assert_eq!(state(20, u64::MAX, false, 20), KeyState::Missing(MissReason::Expired));
        assert_eq!(state(90, 0, true, 0), KeyState::Absent(millis(90)));
        let over = state_in(Some(Duration::ZERO), &entry(0, true), Duration::ZERO);
        assert_eq!(over, KeyState::Missing(MissReason::Expired));
    }
}
