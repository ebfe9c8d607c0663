//! The stored names of the keys, the tags and the patterns of a namespace, among those of its cache.
//!
//! A name of a namespace is stored as `~NAMESPACE:NAME`. A name without a namespace is stored as it is, or as `~~…` if it
//! begins with `~`. A namespace does not begin with `~` and has no `:`, so two names are never stored as one.
//!
//! With generations each entry has one more tag, `~NAMESPACE:` or `~`, which no name is stored as. A clear invalidates it.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::entry::tag_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{MAX_KEY_LEN, MAX_TAGS};
use crate::lease::{Fill, LeaseOptions};
use crate::operation::{Addition, NewEntry, Operation, PatternMode};
use crate::util::glob::Glob;

/// The byte that stored names of namespaces begin with.
const MARK: u8 = b'~';
/// The byte behind the name of a namespace.
const END: u8 = b':';

/// The stored name of the tag of a generation without a namespace.
pub const GENERATION: &[u8] = &[MARK];

/// Returns the stored name of the tag that the entry of a stored key has if its cache has generations.
pub fn generation_of(stored: &[u8]) -> &[u8] {
    match stored {
        [MARK, MARK, ..] => GENERATION,
        [MARK, ..] => stored.iter().position(|byte| *byte == END).map_or(GENERATION, |end| &stored[..=end]),
        _ => GENERATION,
    }
}

/// Returns the stored name of the tag of the generation that a stored pattern concerns.
pub fn generation_of_pattern(stored: &[u8]) -> &[u8] {
    match stored {
        // No namespace begins like this: it is the literal `~` of a pattern without one.
        [MARK, b'\\', ..] => GENERATION,
        _ => generation_of(stored),
    }
}

/// Returns true if a stored tag is that of a generation.
pub fn is_generation(stored: &[u8]) -> bool {
    stored.first() == Some(&MARK) && generation_of(stored) == stored
}

/// Returns the name that a caller gave a stored name, whatever its namespace.
pub fn given_name(stored: &[u8]) -> &[u8] {
    match stored {
        [MARK, name @ ..] if name.first() == Some(&MARK) => name,
        [MARK, ..] => &stored[generation_of(stored).len()..],
        _ => stored,
    }
}

/// A stored name on the stack, if it is short.
pub type StoredName = SmallVec<[u8; 128]>;

/// The names of a cache, or of a view of it.
#[derive(Debug, Clone)]
pub struct Naming {
    /// True without a namespace.
    is_plain: bool,
    /// True if each entry gets tags when it is stored.
    adds_tags: bool,
    /// True if the first of these is that of the generation.
    has_generations: bool,
    /// The way in which entries are invalidated by a pattern.
    patterns: PatternMode,
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    /// The bytes before each name: `~NAMESPACE:`, or `~` for names without a namespace that begin with `~`.
    lead: Box<[u8]>,
    /// Tags that each entry gets when it is stored, as they are stored.
    tags: Box<[Vec<u8>]>,
}

impl Default for Naming {
    fn default() -> Self {
        Self::new(None, &[], false, PatternMode::Walk)
    }
}

impl Naming {
    /// Makes the names of a cache or a view. Entries that it stores get these tags in addition to their own. A namespace
    /// always has generations.
    pub fn new(namespace: Option<&str>, tags: &[String], has_generations: bool, patterns: PatternMode) -> Self {
        let named = |name: &str| [&[MARK], name.as_bytes(), &[END]].concat().into();
        let lead = namespace.map_or_else(|| [MARK].into(), named);
        let plain = Parts { lead, tags: Box::default() };
        let has_generations = has_generations || namespace.is_some();
        let adds_tags = has_generations || !tags.is_empty();
        let naming =
            Self { is_plain: namespace.is_none(), adds_tags, has_generations, patterns, parts: Arc::new(plain) };
        if !adds_tags {
            return naming;
        }
        let generation = has_generations.then(|| naming.parts.lead.to_vec()).into_iter();
        let tags = generation.chain(tags.iter().map(|tag| naming.stored(tag.as_bytes()).to_vec())).collect();
        let parts = Parts { lead: naming.parts.lead.clone(), tags };
        Self { parts: Arc::new(parts), ..naming }
    }

    /// Returns true if each entry has the tag of its generation.
    pub fn has_generations(&self) -> bool {
        self.has_generations
    }

    /// Returns the way in which entries are invalidated by a pattern.
    pub fn patterns(&self) -> PatternMode {
        self.patterns
    }

    /// Returns true if a stored tag is that of the generation.
    pub fn is_generation(&self, stored: &[u8]) -> bool {
        *stored == *self.parts.lead
    }

    /// Returns true without a namespace.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> Option<&str> {
        let name = self.parts.lead.strip_prefix(&[MARK])?.strip_suffix(&[END])?;
        std::str::from_utf8(name).ok()
    }

    /// Returns true if a key, a tag or a literal pattern is stored as it is.
    #[inline(always)]
    pub fn keeps(&self, name: &[u8]) -> bool {
        self.is_plain && name.first() != Some(&MARK)
    }

    /// Returns true if an entry is stored with the key and the tags that it has.
    #[inline(always)]
    pub fn keeps_entry(&self, entry: &NewEntry<'_>) -> bool {
        self.keeps(entry.key) && !self.adds_tags && entry.tags.iter().all(|tag| self.keeps(tag))
    }

    /// Returns the stored name of a key or a tag.
    pub fn stored(&self, name: &[u8]) -> StoredName {
        let lead = if self.keeps(name) { &[][..] } else { &self.parts.lead };
        let mut stored = StoredName::with_capacity(lead.len() + name.len());
        stored.extend_from_slice(lead);
        stored.extend_from_slice(name);
        stored
    }

    /// Returns the name of a stored key or tag; `None`: it is not one of these names.
    pub fn own<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        match stored.strip_prefix(&*self.parts.lead) {
            None if self.is_plain => Some(stored),
            Some(name) if self.is_plain => (name.first() == Some(&MARK)).then_some(name),
            own => own,
        }
    }

    /// Returns the hash by which a tag is stored.
    pub fn tag_hash(&self, tag: &[u8]) -> u64 {
        if self.keeps(tag) { tag_hash(tag) } else { tag_hash(&self.stored(tag)) }
    }

    /// Returns the bytes that the stored names begin with whose names begin with these bytes.
    pub fn stored_prefix(&self, literal: &[u8]) -> Vec<u8> {
        if literal.is_empty() && self.is_plain { Vec::new() } else { self.stored(literal).to_vec() }
    }

    /// Returns a pattern for the stored keys of the keys that match a pattern. See `StoredGlob`.
    pub fn stored_pattern(&self, pattern: &[u8]) -> Vec<u8> {
        let is_marked = !self.is_plain || Glob::new(pattern).literal_prefix().first() == Some(&MARK);
        // Neither a namespace nor the bytes around it have a meaning in a pattern.
        if is_marked { [&*self.parts.lead, pattern].concat() } else { pattern.to_vec() }
    }

    /// Returns the pattern of a stored pattern; `None`: it is for other names.
    pub fn own_pattern<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        match stored.strip_prefix(&*self.parts.lead) {
            // The first byte of its literal may be written as `\~`.
            Some(pattern) if self.is_plain && pattern.first() == Some(&b'\\') => Some(pattern),
            _ => self.own(stored),
        }
    }
}

/// A pattern of stored keys.
pub struct StoredGlob {
    glob: Glob,
    /// True if it begins with the bytes of a namespace, or with those of a key that begins as one.
    is_marked: bool,
}

impl StoredGlob {
    /// Makes a glob of a pattern that `Naming::stored_pattern` returned.
    pub fn new(pattern: &[u8]) -> Self {
        let glob = Glob::new(pattern);
        Self { is_marked: glob.literal_prefix().first() == Some(&MARK), glob }
    }

    /// Returns true if it matches a stored key: one without a namespace by its own name, unless the pattern names another.
    pub fn matches(&self, stored: &[u8]) -> bool {
        match stored {
            [MARK, rest @ ..] if !self.is_marked => rest.first() == Some(&MARK) && self.glob.matches(rest),
            _ => self.glob.matches(stored),
        }
    }

    /// Returns the bytes with which the stored keys begin that it matches, if it matches all of its generation that do.
    pub fn as_prefix(&self) -> Option<Vec<u8>> {
        self.glob.as_prefix()
    }

    /// Returns the bytes that every stored key begins with that it matches.
    pub fn literal_prefix(&self) -> Vec<u8> {
        self.glob.literal_prefix()
    }
}

// ---- Operations ----

/// The stored names of an operation.
#[derive(Default)]
pub struct StoredNames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl StoredNames {
    fn push(&mut self, name: &[u8]) -> Result<()> {
        check_len(name)?;
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Returns the names in their order.
    pub fn list(&self) -> Vec<&[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]).collect()
    }
}

impl Naming {
    /// Returns true if all names of an operation are stored as they are.
    #[inline(always)]
    pub fn keeps_all(&self, operation: &Operation<'_>) -> bool {
        match operation {
            Operation::Get { key }
            | Operation::Delete { key }
            | Operation::Exists { key }
            | Operation::Expire { key, .. }
            | Operation::Ttl { key }
            | Operation::Explain { key }
            | Operation::GetVersioned { key }
            | Operation::GetInfo { key, .. }
            | Operation::DeleteIf { key, .. }
            | Operation::GetAndExpire { key, .. } => self.keeps(key),
            Operation::CounterAdd(Addition { key, .. }) => self.keeps(key) && !self.adds_tags,
            Operation::Set(entry) | Operation::SetIf { entry, .. } => self.keeps_entry(entry),
            Operation::GetMany { keys: names }
            | Operation::DeleteMany { keys: names }
            | Operation::InvalidateTags { tags: names, .. } => names.iter().all(|name| self.keeps(name)),
            Operation::SetMany { entries } => entries.iter().all(|entry| self.keeps_entry(entry)),
            Operation::InvalidatePatterns { patterns, .. } => {
                let are_kept = || self.is_plain && !patterns.iter().any(|it| may_be_marked(it));
                self.patterns == PatternMode::Walk && are_kept()
            }
            Operation::Clear { .. } => false,
            Operation::Flush { .. } => self.is_plain,
            Operation::GetOrLease { key, options } => {
                self.keeps(key) && !self.adds_tags && options.tags.iter().all(|tag| self.keeps(tag))
            }
            Operation::LeaseFill { fill, .. } => fill.tags.iter().all(|tag| self.keeps(tag)),
            Operation::Ping
            | Operation::Usage
            | Operation::LeaseAbandon { .. }
            | Operation::Command(_)
            | Operation::Publish { .. } => true,
        }
    }

    /// Returns the stored names of an operation.
    pub fn names(&self, operation: &Operation<'_>) -> Result<StoredNames> {
        let mut names = StoredNames::default();
        match operation {
            Operation::Get { key }
            | Operation::Delete { key }
            | Operation::Exists { key }
            | Operation::Expire { key, .. }
            | Operation::Ttl { key }
            | Operation::Explain { key }
            | Operation::GetVersioned { key }
            | Operation::GetInfo { key, .. }
            | Operation::DeleteIf { key, .. }
            | Operation::GetAndExpire { key, .. } => names.push(&self.stored(key))?,
            Operation::CounterAdd(Addition { key, tags, .. }) => self.add(&mut names, key, tags)?,
            Operation::Set(entry) | Operation::SetIf { entry, .. } => self.add(&mut names, entry.key, entry.tags)?,
            Operation::SetMany { entries } => {
                entries.iter().try_for_each(|entry| self.add(&mut names, entry.key, entry.tags))?;
            }
            Operation::GetOrLease { key, options } => self.add(&mut names, key, options.tags)?,
            Operation::GetMany { keys: list }
            | Operation::DeleteMany { keys: list }
            | Operation::InvalidateTags { tags: list, .. }
            | Operation::LeaseFill { fill: Fill { tags: list, .. }, .. } => {
                list.iter().try_for_each(|name| names.push(&self.stored(name)))?;
            }
            Operation::InvalidatePatterns { patterns, .. } => {
                patterns.iter().try_for_each(|pattern| names.push(&self.stored_pattern(pattern)))?;
            }
            Operation::Flush { .. } if !self.is_plain => names.push(&self.stored_pattern(b"*"))?,
            Operation::Clear { .. } => names.push(&self.parts.lead)?,
            Operation::Flush { .. }
            | Operation::Ping
            | Operation::Usage
            | Operation::LeaseAbandon { .. }
            | Operation::Command(_)
            | Operation::Publish { .. } => {}
        }
        Ok(names)
    }

    /// Adds a key and the tags of its entry.
    fn add(&self, names: &mut StoredNames, key: &[u8], tags: &[&[u8]]) -> Result<()> {
        let of_view = self.parts.tags.len() - usize::from(self.has_generations);
        if tags.len() + of_view > MAX_TAGS {
            let text = format!(
                "{} tags with the {of_view} of the view; an entry may have up to {MAX_TAGS}",
                tags.len() + of_view
            );
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        names.push(&self.stored(key))?;
        tags.iter().try_for_each(|tag| names.push(&self.stored(tag)))?;
        self.parts.tags.iter().try_for_each(|tag| names.push(tag))
    }

    /// Returns the entries of an operation that stores many, with their stored names.
    pub fn entries<'b>(&self, operation: &Operation<'b>, names: &'b [&'b [u8]]) -> Vec<NewEntry<'b>> {
        let Operation::SetMany { entries } = operation else { return Vec::new() };
        let mut rest = names;
        let renamed = entries.iter().map(|entry| {
            let (own, others) = rest.split_at_checked(1 + entry.tags.len() + self.parts.tags.len()).unwrap_or_default();
            rest = others;
            renamed_entry(entry, own)
        });
        renamed.collect()
    }

    /// Returns the same operation with its stored names: those of `names`, and the entries of `entries`.
    pub fn renamed<'b>(
        &self,
        operation: &Operation<'b>,
        names: &'b [&'b [u8]],
        entries: &'b [NewEntry<'b>],
    ) -> Operation<'b> {
        let (key, tags) = names.split_first().map_or((&[][..], &[][..]), |(key, tags)| (*key, tags));
        match *operation {
            Operation::Get { .. } => Operation::Get { key },
            Operation::Delete { .. } => Operation::Delete { key },
            Operation::Exists { .. } => Operation::Exists { key },
            Operation::Expire { ttl, .. } => Operation::Expire { key, ttl },
            Operation::Ttl { .. } => Operation::Ttl { key },
            Operation::Explain { .. } => Operation::Explain { key },
            Operation::GetVersioned { .. } => Operation::GetVersioned { key },
            Operation::GetInfo { max_age, .. } => Operation::GetInfo { key, max_age },
            Operation::DeleteIf { version, .. } => Operation::DeleteIf { key, version },
            Operation::GetAndExpire { ttl, .. } => Operation::GetAndExpire { key, ttl },
            Operation::CounterAdd(addition) => Operation::CounterAdd(Addition { key, tags, ..addition }),
            Operation::Set(entry) => Operation::Set(renamed_entry(&entry, names)),
            Operation::SetIf { entry, condition } => {
                Operation::SetIf { entry: renamed_entry(&entry, names), condition }
            }
            Operation::SetMany { .. } => Operation::SetMany { entries },
            Operation::GetMany { .. } => Operation::GetMany { keys: names },
            Operation::DeleteMany { .. } => Operation::DeleteMany { keys: names },
            Operation::InvalidateTags { count, .. } => Operation::InvalidateTags { tags: names, count },
            Operation::InvalidatePatterns { .. } => {
                Operation::InvalidatePatterns { patterns: names, mode: self.patterns }
            }
            Operation::Clear { count } => Operation::InvalidateTags { tags: names, count },
            // Only the entries of the namespace.
            Operation::Flush { .. } if !self.is_plain => {
                Operation::InvalidatePatterns { patterns: names, mode: PatternMode::Walk }
            }
            Operation::GetOrLease { options, .. } => {
                Operation::GetOrLease { key, options: LeaseOptions { tags, ..options } }
            }
            Operation::LeaseFill { lease, fill } => Operation::LeaseFill { lease, fill: Fill { tags: names, ..fill } },
            Operation::Flush { .. }
            | Operation::Ping
            | Operation::Usage
            | Operation::LeaseAbandon { .. }
            | Operation::Command(_)
            | Operation::Publish { .. } => *operation,
        }
    }

    /// Refuses a clear of entries without generations.
    pub fn check_clear(&self) -> Result<()> {
        if self.has_generations {
            return Ok(());
        }
        let text = "the entries of this cache have no generations: set the option `generations: true` in every program that shares its key_prefix, open a view with a namespace, or flush the cache";
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    /// Calls a function with an entry and its stored names.
    pub fn with_stored<T>(&self, entry: &NewEntry<'_>, run: impl FnOnce(NewEntry<'_>) -> T) -> Result<T> {
        if entry.tags.is_empty() && self.parts.tags.len() <= 1 {
            let (key, tags) = (self.stored(entry.key), self.parts.tags.first().map(|tag| &tag[..]));
            check_len(&key)?;
            return Ok(run(NewEntry { key: &key, tags: tags.as_slice(), ..*entry }));
        }
        let names = self.names(&Operation::Set(*entry))?;
        Ok(run(renamed_entry(entry, &names.list())))
    }
}

/// Refuses a stored name that is too long.
fn check_len(name: &[u8]) -> Result<()> {
    if name.len() > MAX_KEY_LEN {
        let text = format!("the name has {} bytes with its namespace; the limit is 64 KiB", name.len());
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    Ok(())
}

/// Returns true if the literal part of a pattern may begin with the mark.
fn may_be_marked(pattern: &[u8]) -> bool {
    matches!(pattern, [MARK, ..] | [b'\\', ..])
}

fn renamed_entry<'b>(entry: &NewEntry<'b>, names: &'b [&'b [u8]]) -> NewEntry<'b> {
    let (key, tags) = names.split_first().map_or((&[][..], &[][..]), |(key, tags)| (*key, tags));
    NewEntry { key, tags, ..*entry }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(namespace: &str) -> Naming {
        Naming::new(Some(namespace), &[], false, PatternMode::Walk)
    }

    #[test]
    fn no_two_names_are_stored_as_one() {
        let plain = Naming::default();
        let names: [&[u8]; 12] =
            [b"a", b"~", b"~~", b"~a", b"~a:b", b"~~a:b", b":", b"a:b", b"b:c", b"~a:b:c", b"c", b"\xff~"];
        let all = [plain, naming("a"), naming("a-b"), naming("b"), naming("ab")];
        let mut stored: Vec<Vec<u8>> = Vec::new();
        for naming in &all {
            for name in names {
                let one = naming.stored(name).to_vec();
                assert_eq!(naming.own(&one), Some(name), "{}", one.escape_ascii());
                assert_eq!(all.iter().filter(|other| other.own(&one).is_some()).count(), 1);
                stored.push(one);
            }
        }
        let count = stored.len();
        stored.sort_unstable();
        stored.dedup();
        assert_eq!(stored.len(), count);
    }

    #[test]
    fn a_pattern_matches_the_same_names_in_each_namespace_and_no_others() {
        let keys: [&[u8]; 9] = [b"a", b"ab", b"~", b"~a", b"~~a", b"~a:b", b"b", b"a:b", b"\\~"];
        let patterns: [&[u8]; 12] =
            [b"*", b"?", b"a*", b"~*", b"\\~*", b"[~]a", b"[^b]*", b"~a:b", b"?a", b"*:b", b"\\\\*", b"~"];
        let all = [Naming::default(), naming("a"), naming("b")];
        for (at, naming) in all.iter().enumerate() {
            for pattern in patterns {
                let stored = naming.stored_pattern(pattern);
                assert_eq!(naming.own_pattern(&stored), Some(pattern));
                let (glob, own) = (StoredGlob::new(&stored), Glob::new(pattern));
                for (of, other) in all.iter().enumerate() {
                    assert_eq!(other.own_pattern(&stored).is_some(), of == at, "{}", stored.escape_ascii());
                    for key in keys {
                        let wanted = of == at && own.matches(key);
                        let name = other.stored(key);
                        assert_eq!(glob.matches(&name), wanted, "{} {}", pattern.escape_ascii(), name.escape_ascii());
                        assert!(
                            !wanted || name.starts_with(&glob.literal_prefix()) || !glob.is_marked && other.is_plain
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_tags_of_a_view_are_added_to_those_of_each_entry() {
        let naming = Naming::new(Some("users"), &["all".to_owned()], false, PatternMode::Walk);
        let entry = NewEntry { key: b"k", value: b"v", ttl: None, tags: &[b"t"] };
        let entries = [entry, NewEntry { key: b"~", tags: &[], ..entry }];
        let operation = Operation::SetMany { entries: &entries };
        let names = naming.names(&operation).unwrap();
        let list = names.list();
        let renamed = naming.entries(&operation, &list);
        let seen: Vec<(&[u8], &[&[u8]])> = renamed.iter().map(|it| (it.key, it.tags)).collect();
        assert_eq!(
            seen,
            [
                (&b"~users:k"[..], &[&b"~users:t"[..], b"~users:", b"~users:all"][..]),
                (&b"~users:~"[..], &[&b"~users:"[..], b"~users:all"][..]),
            ]
        );
        let many = vec![&b"t"[..]; MAX_TAGS];
        let full = Operation::Set(NewEntry { tags: &many, ..entry });
        assert_eq!(naming.names(&full).err().map(|error| error.kind()), Some(ErrorKind::TooLarge));
    }

    #[test]
    fn a_key_tells_the_tag_of_its_generation() {
        let plain = Naming::new(None, &[], true, PatternMode::Walk);
        for (naming, key) in [(&plain, &b"a:b"[..]), (&plain, b"~"), (&plain, b"~a:b"), (&naming("n"), b"~a:b")] {
            let names = naming.names(&Operation::Clear { count: false }).unwrap();
            assert_eq!(names.list(), [generation_of(&naming.stored(key))], "{}", key.escape_ascii());
            let set = Operation::Set(NewEntry { key, value: b"v", ttl: None, tags: &[] });
            assert_eq!(naming.names(&set).unwrap().list()[1..], names.list());
            assert!(!naming.keeps_all(&set) && naming.check_clear().is_ok());
            assert!(is_generation(generation_of(&naming.stored(key))) && !is_generation(&naming.stored(key)));
        }
        assert!(Naming::default().check_clear().is_err());
    }

    #[test]
    fn a_name_that_is_too_long_with_its_namespace_is_refused() {
        let key = vec![b'k'; MAX_KEY_LEN];
        let refused = |naming: &Naming| naming.names(&Operation::Get { key: &key }).err().map(|error| error.kind());
        assert_eq!((refused(&Naming::default()), refused(&naming("n"))), (None, Some(ErrorKind::TooLarge)));
    }
}
