//! Hints from earlier calls: the tags of a name, the version of a tag. They save a round trip, and each is verified
//! against the store before it is used.

use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::entry::TagVersion;
use crate::util::lock;

/// Number of hints. A new hint replaces an older one in the same place.
const PLACES: usize = 1 << 16;

/// A table of guesses, made when the first tag is seen: a cache without tags has none.
#[derive(Default)]
pub struct Hints {
    tags_of: OnceLock<Box<[Mutex<NameTags>]>>,
    version_of: OnceLock<Box<[Mutex<KnownVersion>]>>,
}

/// A tag version, and until when the store keeps it at least.
#[derive(Clone, Copy)]
struct KnownVersion {
    version: TagVersion,
    end: End,
}

/// Returns the earliest expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Milliseconds of the coarse clock; 0 where it is not known.
    pub at_ms: u64,
    /// The number of server changes when this was learned: a server that changed since may not have it.
    pub changes: u64,
}

#[derive(Default)]
struct NameTags {
    name: u64,
    tags: Box<[u64]>,
}

impl Hints {
    /// The tags an entry had when it was seen last; none is a guess too.
    pub fn tags_of(&self, name: u64) -> Box<[u64]> {
        let Some(places) = self.tags_of.get() else { return Box::default() };
        let known = place(places, name);
        if known.name == name { known.tags.clone() } else { Box::default() }
    }

    /// Notes the tags of an entry.
    pub fn saw_entry(&self, name: u64, tags: &[TagVersion]) {
        if tags.is_empty() && self.tags_of.get().is_none() {
            return;
        }
        let places = self.tags_of.get_or_init(|| (0..PLACES).map(|_| Mutex::default()).collect());
        let mut known = place(places, name);
        let same = known.name == name && known.tags.iter().eq(tags.iter().map(|tag| &tag.tag));
        // An entry without tags takes the place of no other.
        if !same && (known.name == name || !tags.is_empty()) {
            *known = NameTags { name, tags: tags.iter().map(|tag| tag.tag).collect() };
        }
    }

    /// The versions of all these tags as they were seen last, if all were.
    pub fn tag_versions_of(&self, tags: &[u64]) -> Option<Vec<TagVersion>> {
        let places = self.version_of.get()?;
        tags.iter().map(|tag| Some(place(places, *tag).version).filter(|known| known.tag == *tag)).collect()
    }

    /// Notes tag versions as the store has them.
    pub fn saw_tag_versions(&self, versions: &[TagVersion]) {
        if versions.is_empty() {
            return;
        }
        let empty = || Mutex::new(KnownVersion { version: TagVersion { tag: 0, version: 0 }, end: End::default() });
        let places = self.version_of.get_or_init(|| (0..PLACES).map(|_| empty()).collect());
        for version in versions {
            let mut known = place(places, version.tag);
            if known.version != *version {
                *known = KnownVersion { version: *version, end: End::default() };
            }
        }
    }

    /// Returns the earliest expiry of a tag version in the store.
    pub fn end_of(&self, version: &TagVersion) -> End {
        let Some(places) = self.version_of.get() else { return End::default() };
        let known = place(places, version.tag);
        if known.version == *version { known.end } else { End::default() }
    }

    /// Notes that the store lets a tag version expire then at the earliest.
    pub fn lasts_until(&self, version: &TagVersion, end: End) {
        let Some(places) = self.version_of.get() else { return };
        let mut known = place(places, version.tag);
        let is_newer = known.end.changes < end.changes || known.end.at_ms < end.at_ms;
        if known.version == *version && is_newer && known.end.changes <= end.changes {
            known.end = end;
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // The low bits of a hash are as good as all.
fn place<T>(places: &[Mutex<T>], hash: u64) -> MutexGuard<'_, T> {
    lock(&places[hash as usize % PLACES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_remembered_until_another_takes_its_place() {
        let (hints, other) = (Hints::default(), 7 + PLACES as u64);
        let tag = |tag| TagVersion { tag, version: tag + 1 };
        assert!(hints.tags_of(7).is_empty() && hints.tag_versions_of(&[1]).is_none());
        hints.saw_entry(7, &[tag(1), tag(2)]);
        hints.saw_entry(other, &[]);
        assert_eq!(*hints.tags_of(7), [1, 2]);
        hints.saw_entry(other, &[tag(3)]);
        assert!(hints.tags_of(7).is_empty());
        hints.saw_tag_versions(&[tag(1), tag(2)]);
        assert_eq!(hints.tag_versions_of(&[1, 2]), Some(vec![tag(1), tag(2)]));
        assert_eq!(hints.tag_versions_of(&[1, 3]), None);
    }

    #[test]
    fn the_end_of_a_version_is_that_of_this_version_alone() {
        let (hints, old, new) =
            (Hints::default(), TagVersion { tag: 1, version: 2 }, TagVersion { tag: 1, version: 3 });
        let end = |at_ms, changes| End { at_ms, changes };
        hints.lasts_until(&old, end(50, 0));
        assert_eq!(hints.end_of(&old), End::default());
        hints.saw_tag_versions(&[old]);
        hints.lasts_until(&old, end(50, 0));
        hints.lasts_until(&old, end(40, 0));
        hints.saw_tag_versions(&[old]);
        assert_eq!((hints.end_of(&old), hints.end_of(&new)), (end(50, 0), End::default()));
        // A change of the server ends all that was known of it.
        hints.lasts_until(&old, end(30, 1));
        hints.lasts_until(&old, end(60, 0));
        assert_eq!(hints.end_of(&old), end(30, 1));
        hints.saw_tag_versions(&[new]);
        assert_eq!((hints.end_of(&old), hints.end_of(&new)), (End::default(), End::default()));
    }
}
