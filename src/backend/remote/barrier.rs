//! Barriers: a pattern makes misses of the older entries of a generation that match it, in one step.
//!
//! A barrier gives the generation another version, and stores under a name of that version the list of the patterns
//! since when. An entry is alive if it has the present version, or if it has an earlier one of the list and no later
//! pattern of it matches its key. A list is stored before its version and never changes: a process that has read it keeps
//! it, while it reads the version itself with each entry. A list that is lost makes misses of the older entries.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::tags::Standing;
use super::{Condition, EncodedEntry, Remote, Removal, Store, nonce};
use crate::backend::Outcome;
use crate::backend::barrier::{self, BarrierPattern};
use crate::entry::{self, Entry, LoadTerms, TagVersion, tag_hash};
use crate::error::{ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::naming::{generation_of, generation_of_pattern};
use crate::operation::Change;
use crate::util::lock;

/// The most earlier versions in a list.
const MAX_VERSIONS: usize = 1024;
/// The time for which a list is kept, and with it the entries that are older than its last barrier.
const LASTS: Duration = Duration::from_secs(30 * 24 * 3600);
/// The most generations whose lists a process keeps.
const MAX_LISTS: usize = 1024;

/// The version of a generation that a barrier replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaceable {
    /// The version that it has.
    pub version: u64,
    /// The version that it gets.
    pub next: u64,
    /// The time that the store keeps the version for; `None`: without an end.
    pub left: Option<Duration>,
    /// The number by which the store knows it.
    pub mark: u64,
    /// The number that is stored as the next version.
    pub number: u64,
}

/// The lists that were read.
#[derive(Default)]
pub(super) struct Barriers(Mutex<HashMap<u64, Known>>);

/// The list of a version of a generation.
#[derive(Clone)]
struct Known {
    version: u64,
    /// `None`: there is none.
    list: Option<Arc<List>>,
}

impl Barriers {
    fn get(&self, generation: u64, version: u64) -> Option<Option<Arc<List>>> {
        lock(&self.0).get(&generation).filter(|known| known.version == version).map(|known| known.list.clone())
    }

    /// Forgets the list of a generation; returns its version, if there is one.
    fn take(&self, generation: u64) -> Option<u64> {
        let mut lists = lock(&self.0);
        lists.remove(&generation).filter(|known| known.list.is_some()).map(|known| known.version)
    }

    fn keep(&self, generation: u64, version: u64, list: Option<Arc<List>>) {
        let mut lists = lock(&self.0);
        if lists.len() >= MAX_LISTS && !lists.contains_key(&generation) {
            lists.clear();
        }
        lists.insert(generation, Known { version, list });
    }
}

/// The earlier versions of a generation, and the patterns since when.
#[derive(Clone, Default)]
pub(super) struct List {
    /// The oldest first.
    versions: Vec<Earlier>,
    /// In their order.
    patterns: Vec<Pattern>,
}

/// An earlier version.
#[derive(Clone, Copy)]
struct Earlier {
    version: u64,
    /// The time in seconds since 1970 after which no entry with it is alive.
    ends_s: u64,
}

/// A pattern.
#[derive(Clone)]
struct Pattern {
    /// The number of the versions that are older: the first of the list.
    older: usize,
    pattern: Arc<BarrierPattern>,
}

impl Pattern {
    fn new(older: usize, pattern: &[u8]) -> Self {
        Self { older, pattern: Arc::new(BarrierPattern::new(pattern)) }
    }
}

impl List {
    /// Returns true if no barrier came before: it is not stored.
    fn is_first(&self) -> bool {
        self.versions.is_empty() && self.patterns.is_empty()
    }

    /// Returns true if an entry with an earlier version is alive.
    pub(super) fn passes(&self, version: u64, key: &[u8]) -> bool {
        let Some(at) = self.versions.iter().rposition(|it| it.version == version) else { return false };
        !self.patterns.iter().any(|it| at < it.older && it.pattern.matches(key))
    }

    /// Returns the list with one more version, which ends then, and patterns that older entries must not match.
    fn with(&self, version: Earlier, patterns: &[&[u8]], now_s: u64) -> Self {
        let mut list = self.clone();
        list.versions.push(version);
        let older = list.versions.len();
        for pattern in patterns {
            let pattern = Pattern::new(older, pattern);
            list.patterns.retain(|it| !pattern.pattern.covers(&it.pattern));
            list.patterns.push(pattern);
        }
        let over = list.versions.iter().take_while(|it| it.ends_s <= now_s).count();
        list.drop_oldest(over.max(older.saturating_sub(MAX_VERSIONS)));
        while barrier::are_too_many(list.patterns.iter().map(|it| &*it.pattern)) {
            let oldest = list.patterns.first().map_or(0, |pattern| pattern.older);
            list.drop_oldest(oldest);
        }
        list
    }

    /// Drops the oldest versions, and the patterns that no entry of the others is older than.
    fn drop_oldest(&mut self, versions: usize) {
        self.versions.drain(..versions);
        self.patterns.retain_mut(|pattern| {
            pattern.older = pattern.older.saturating_sub(versions);
            pattern.older > 0
        });
    }

    /// Returns the bytes that are stored: 4 bytes with the number of versions, each with 8 bytes and 8 of its end; then
    /// for each pattern 4 bytes with the number of older versions, 4 with its length, and the pattern. All little-endian.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(word(self.versions.len()));
        for version in &self.versions {
            out.extend(version.version.to_le_bytes());
            out.extend(version.ends_s.to_le_bytes());
        }
        for Pattern { older, pattern } in &self.patterns {
            out.extend(word(*older));
            out.extend(word(pattern.bytes.len()));
            out.extend(&pattern.bytes);
        }
        out
    }

    /// Reads a list; `None`: the bytes are none.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let count = take_word(&mut bytes)?;
        let mut list = Self::default();
        for _ in 0..count {
            let (version, ends_s) = (take_number(&mut bytes)?, take_number(&mut bytes)?);
            list.versions.push(Earlier { version, ends_s });
        }
        while !bytes.is_empty() {
            let (older, len) = (take_word(&mut bytes)?, take_word(&mut bytes)?);
            list.patterns.push(Pattern::new(older, bytes.split_off(..len)?));
        }
        Some(list)
    }
}

#[allow(clippy::cast_possible_truncation)] // A list is far smaller.
fn word(number: usize) -> [u8; 4] {
    (number as u32).to_le_bytes()
}

fn take_word(bytes: &mut &[u8]) -> Option<usize> {
    bytes.split_off(..4)?.try_into().ok().map(|it| u32::from_le_bytes(it) as usize)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    bytes.split_off(..8)?.try_into().ok().map(u64::from_le_bytes)
}

impl<S: Store> Remote<S> {
    /// Makes misses of the entries of a generation that were set before and match one of the patterns.
    pub(super) async fn raise_barrier(&self, context: CallContext, patterns: &[&[u8]]) -> Result<Outcome> {
        let Some(first) = patterns.first() else { return Ok(Outcome::Removed(None)) };
        patterns.iter().try_for_each(|pattern| barrier::check(pattern))?;
        let generation = tag_hash(generation_of_pattern(first));
        let _told = self.announcement(&Change::Patterns(patterns));
        let mut attempts = self.attempts(context);
        loop {
            let changes = self.store.changes();
            // Without a version no entry of the generation is alive.
            let Some(present) = self.store.version_to_replace(context, &self.prefix, generation).await? else { break };
            match self.replace_with_list(context, generation, &present, patterns).await {
                Ok(true) => {
                    self.confirm(context, Removal::Tags(&[generation])).await?;
                    // A server that was replaced meanwhile may have lost it.
                    if self.store.changes() == changes {
                        break;
                    }
                }
                Ok(false) => {}
                // Made twice it does the same as once.
                Err(error) if error.kind() == ErrorKind::Connect => {
                    attempts.again().await.map_err(|_| error)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            attempts.again().await?;
        }
        self.reclaim_matching(patterns);
        Ok(Outcome::Removed(None))
    }

    /// Has the room of the entries that a barrier has made misses freed, where keys can be listed.
    fn reclaim_matching(&self, patterns: &[&[u8]]) {
        let can = self.store.capabilities();
        if let (true, Some(runtime)) = (can.list && can.compare, &*self.runtime.load()) {
            self.reclaim.start(patterns, &self.store, &self.prefix, &self.barriers, runtime.handle());
        }
    }

    /// Stores the list of the next version of a generation, and this version. Returns false if another one is there.
    async fn replace_with_list(
        &self,
        context: CallContext,
        generation: u64,
        present: &Replaceable,
        patterns: &[&[u8]],
    ) -> Result<bool> {
        let before = list_of(context, &*self.store, &self.barriers, &self.prefix, generation, present.version)
            .await?
            .unwrap_or_default();
        let name = self.store.barriers_name(&self.prefix, generation, present.next);
        let (now_s, lasts) = (self.store.now_s(&name), present.left.map_or(LASTS, |left| left.min(LASTS)));
        let earlier = Earlier { version: present.version, ends_s: now_s + lasts.as_secs() + 1 };
        let list = before.with(earlier, patterns, now_s);
        // The end of the version that is replaced is that of the others too.
        let lasts = list.versions.iter().map(|it| it.ends_s.saturating_sub(now_s)).max().unwrap_or_default();
        let stored = Entry {
            deadline_ms: None,
            tags: Vec::new(),
            key: None,
            tag_names: &[],
            nonce: Some(nonce::next()?),
            created_s: None,
            load: LoadTerms::default(),
            payload: &list.encode(),
        };
        let write = EncodedEntry {
            bytes: entry::encode(&name, &stored),
            name,
            ttl: Some(Duration::from_secs(lasts.max(1))),
            tags: Vec::new(),
            generation: None,
            condition: Condition::Always,
            keeps_expiry: false,
            moves_ms: 0,
            lasting: Vec::new(),
        };
        let over = self.store.barriers_name(&self.prefix, generation, present.version);
        let over = (!before.is_first()).then_some(&over[..]);
        let is_replaced = self.store.replace_version(context, &self.prefix, generation, present, &write, over).await?;
        if is_replaced {
            self.barriers.keep(generation, present.next, Some(Arc::new(list)));
        }
        Ok(is_replaced)
    }

    /// Removes the list of a version that is over. One that stays goes when its time is over.
    async fn forget_list(&self, context: CallContext, generation: u64, version: u64) {
        let name = self.store.barriers_name(&self.prefix, generation, version);
        if let Err(error) = self.store.forget_barriers(context, &name).await {
            tracing::debug!(server = self.server, "a list of barriers stays for its time: {error}");
        }
    }

    /// Removes the lists of generations that were cleared, as far as this process knows them.
    pub(super) async fn forget_lists(&self, context: CallContext, generations: &[u64]) {
        for generation in generations {
            if let Some(version) = self.barriers.take(*generation) {
                self.forget_list(context, *generation, version).await;
            }
        }
    }

    /// Returns true if an entry of this key is alive: its tags are current, or it is older than barriers that do not match.
    pub(super) async fn stands<'k>(
        &self,
        context: CallContext,
        standing: Standing,
        key: impl FnOnce() -> Option<Cow<'k, [u8]>>,
    ) -> Result<bool> {
        match standing {
            Standing::Current => Ok(true),
            Standing::Dead => Ok(false),
            Standing::Older { .. } => Ok(match key() {
                Some(key) => Box::pin(self.passes_barriers(context, standing, &key)).await?,
                None => false,
            }),
        }
    }

    async fn passes_barriers(&self, context: CallContext, standing: Standing, key: &[u8]) -> Result<bool> {
        let Standing::Older { set: TagVersion { tag, version }, present } = standing else { return Ok(false) };
        if tag != tag_hash(generation_of(key)) {
            return Ok(false);
        }
        let list = list_of(context, &*self.store, &self.barriers, &self.prefix, tag, present).await?;
        Ok(list.is_some_and(|list| list.passes(version, key)))
    }
}

/// Returns the list of a version of a generation, if there is one.
pub(super) async fn list_of<S: Store>(
    context: CallContext,
    store: &S,
    barriers: &Barriers,
    prefix: &str,
    generation: u64,
    version: u64,
) -> Result<Option<Arc<List>>> {
    if let Some(known) = barriers.get(generation, version) {
        return Ok(known);
    }
    let name = store.barriers_name(prefix, generation, version);
    let inspected = store.inspect(context, &name).await?;
    let stored = inspected.stored.filter(|_| !inspected.is_outdated);
    let decoded = stored.as_deref().and_then(|stored| entry::decode(&name, stored).ok());
    let list = decoded.and_then(|entry| List::decode(entry.payload)).map(Arc::new);
    barriers.keep(generation, version, list.clone());
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the list after barriers, each of which ends the version of its place.
    fn raised(barriers: &[&[&[u8]]]) -> List {
        let raise = |list: List, (at, patterns): (usize, &&[&[u8]])| list.with(ended(at as u64, 100), patterns, 1);
        barriers.iter().enumerate().fold(List::default(), raise)
    }

    fn ended(version: u64, ends_s: u64) -> Earlier {
        Earlier { version, ends_s }
    }

    fn patterns(list: &List) -> Vec<&[u8]> {
        list.patterns.iter().map(|it| &*it.pattern.bytes).collect()
    }

    #[test]
    fn an_entry_passes_the_patterns_that_came_before_it() {
        let list = raised(&[&[b"a*", b"b"], &[b"c?"]]);
        let passes = |key: &[u8]| [0, 1, 2].map(|version| list.passes(version, key));
        assert_eq!(passes(b"a1"), [false, true, false], "the present version is in no list");
        assert_eq!(passes(b"b"), [false, true, false]);
        assert_eq!(passes(b"c1"), [false, false, false]);
        assert_eq!(passes(b"d"), [true, true, false]);
        let again = List::decode(&list.encode()).unwrap();
        assert_eq!((patterns(&again), again.passes(1, b"a1")), (vec![&b"a*"[..], b"b", b"c?"], true));
    }

    #[test]
    fn a_pattern_takes_the_place_of_those_that_it_covers() {
        let list = raised(&[&[b"a:b:*"], &[b"c"], &[b"a:*"]]);
        assert_eq!(patterns(&list), [&b"c"[..], b"a:*"]);
        assert_eq!([0, 1, 2].map(|version| list.passes(version, b"a:b:1")), [false; 3]);
        let list = raised(&[&[&b"a*"[..]] as &[&[u8]]; 100]);
        assert_eq!((patterns(&list).len(), list.versions.len()), (1, 100));
        assert!(list.passes(0, b"b") && list.passes(99, b"b") && !list.passes(99, b"a"));
    }

    #[test]
    fn a_list_is_bounded() {
        let texts: Vec<Vec<u8>> = (0..70).map(|number| format!("{number:02}").into_bytes()).collect();
        let list = texts
            .iter()
            .enumerate()
            .fold(List::default(), |list, (at, text)| list.with(ended(at as u64, 100), &[text], 1));
        assert_eq!((patterns(&list).len(), list.versions.len()), (64, 64));
        assert_eq!([5, 6, 69].map(|version| list.passes(version, b"other")), [false, true, true]);
        assert!(!list.passes(68, b"69") && list.passes(69, b"68"));
        let long = [vec![b'x'; 1023], vec![b'*']].concat();
        let list = (0..70u8)
            .fold(List::default(), |list, at| list.with(ended(at.into(), 100), &[&[&[at], &long[..1000]].concat()], 1));
        assert!(list.encode().len() < 80_000);
        let list = (0..2000).fold(List::default(), |list, at| list.with(ended(at, 100), &[b"a*"], 1));
        assert_eq!(list.versions.len(), MAX_VERSIONS);
        assert!(list.passes(1999, b"b") && !list.passes(0, b"b"));
        let many: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let list = List::default().with(ended(0, 100), &many, 1);
        assert!(list.versions.is_empty() && list.patterns.is_empty() && !list.passes(0, b"other"));
    }

    #[test]
    fn a_version_whose_entries_are_over_goes_with_its_patterns() {
        let list = List::default().with(ended(0, 10), &[b"a"], 1).with(ended(1, 90), &[b"b"], 20);
        assert_eq!((patterns(&list), list.versions.len()), (vec![&b"b"[..]], 1));
        assert!(!list.passes(0, b"x") && list.passes(1, b"x") && !list.passes(1, b"b"));
    }

    #[test]
    fn damaged_bytes_are_no_list() {
        let whole = raised(&[&[b"a*", b"b"], &[b"c?"]]).encode();
        for cut in 0..whole.len() {
            let list = List::decode(&whole[..cut]);
            assert!(list.is_none_or(|list| list.patterns.len() < 3), "{cut}");
        }
        assert!(List::decode(&[0xff; 4]).is_none());
    }
}
