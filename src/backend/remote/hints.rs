//! Hints from earlier calls: the tags of a name, the version of a tag. They save a round trip, and each is verified
//! against the store before it is used.

use std::sync::{Mutex, MutexGuard, OnceLock};

use memchr::memrchr;

use crate::entry::{self, TagVersion};
use crate::util::lock;

/// Number of hints. A new hint replaces an older one in the same place.
const PLACES: usize = 1 << 16;

/// Number of key families that are known. A new one replaces an older one in the same place.
const FAMILIES: usize = 1 << 10;
/// The most that agreement counts: as many entries with other tags end the guesses for a family.
const TRUST: u8 = 4;

/// A table of guesses, made when the first tag is seen: a cache without tags has none.
#[derive(Default)]
pub struct Hints {
    tags_of: OnceLock<Box<[Mutex<NameTags>]>>,
    version_of: OnceLock<Box<[Mutex<KnownVersion>]>>,
    families: OnceLock<Box<[Mutex<Family>]>>,
}

/// The names that are equal up to their last colon, such as those of the keys `user:1` and `user:2`. Their entries often
/// have the same tags: a guess for a name that was not seen before.
#[derive(Default)]
struct Family {
    id: u64,
    tags: Box<[u64]>,
    /// The number of names that agreed lately.
    trust: u8,
}

impl Family {
    fn id_of(name: &[u8]) -> u64 {
        entry::fingerprint(&name[..memrchr(b':', name).unwrap_or(0)])
    }

    fn saw(&mut self, id: u64, tags: &[TagVersion]) {
        if self.id == id && self.tags.iter().eq(tags.iter().map(|tag| &tag.tag)) {
            self.trust = (self.trust + 1).min(TRUST);
        } else if self.id == id && self.trust > 0 {
            self.trust -= 1;
        } else {
            *self = Self { id, tags: tags.iter().map(|tag| tag.tag).collect(), trust: 0 };
        }
    }
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

    /// Returns the tags that an entry had when it was seen last; for one that was not seen, those of its family.
    pub fn tags_of_entry(&self, name: &[u8], fingerprint: u64) -> Box<[u64]> {
        let Some(places) = self.tags_of.get() else { return Box::default() };
        let known = place(places, fingerprint);
        if known.name == fingerprint {
            return known.tags.clone();
        }
        drop(known);
        let id = Family::id_of(name);
        let family = self.family(id).filter(|family| family.id == id && family.trust > 0);
        family.map(|family| family.tags.clone()).unwrap_or_default()
    }

    /// Notes the tags of an entry, also for its family if it was not seen before.
    pub fn saw_entry_of_family(&self, name: &[u8], fingerprint: u64, tags: &[TagVersion]) {
        if self.saw_entry(fingerprint, tags) {
            let id = Family::id_of(name);
            if let Some(mut family) = self.family(id) {
                family.saw(id, tags);
            }
        }
    }

    /// Returns the place of a family, unless another thread uses it: a guess is not worth waiting for.
    #[allow(clippy::cast_possible_truncation)] // The low bits of a hash are as good as all.
    fn family(&self, id: u64) -> Option<MutexGuard<'_, Family>> {
        let families = self.families.get_or_init(|| (0..FAMILIES).map(|_| Mutex::default()).collect());
        families[id as usize % FAMILIES].try_lock().ok()
    }

    /// Notes the tags of an entry. Returns true if it was not seen before and is noted now.
    pub fn saw_entry(&self, name: u64, tags: &[TagVersion]) -> bool {
        if tags.is_empty() && self.tags_of.get().is_none() {
            return false;
        }
        let places = self.tags_of.get_or_init(|| (0..PLACES).map(|_| Mutex::default()).collect());
        let mut known = place(places, name);
        let (is_new, is_free) = (known.name != name, known.name == 0);
        let same = !is_new && known.tags.iter().eq(tags.iter().map(|tag| &tag.tag));
        // An entry without tags takes the place of no other.
        let is_noted = !same && (!is_new || is_free || !tags.is_empty());
        if is_noted {
            *known = NameTags { name, tags: tags.iter().map(|tag| tag.tag).collect() };
        }
        is_new && is_noted
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
    fn a_name_that_was_not_seen_is_guessed_to_have_the_tags_of_its_family() {
        let (hints, tags) = (Hints::default(), [1, 2].map(|tag| TagVersion { tag, version: 9 }));
        let saw = |name: &[u8], tags: &[TagVersion]| hints.saw_entry_of_family(name, entry::fingerprint(name), tags);
        let guess = |name: &[u8]| hints.tags_of_entry(name, entry::fingerprint(name)).to_vec();
        saw(b"p:e:user:1", &tags);
        assert!(guess(b"p:e:user:2").is_empty(), "one entry is no family");
        saw(b"p:e:user:3", &tags);
        assert_eq!(guess(b"p:e:user:2"), [1, 2]);
        assert!(guess(b"p:e:order:2").is_empty());
        // Names that are known say nothing new.
        (0..9).for_each(|_| saw(b"p:e:user:1", &tags[..1]));
        assert_eq!((guess(b"p:e:user:1"), guess(b"p:e:user:2")), (vec![1], vec![1, 2]));
        (0..2).for_each(|other| saw(format!("p:e:user:9{other}").as_bytes(), &[]));
        assert!(guess(b"p:e:user:2").is_empty(), "the others have other tags");
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
