//! Events: what the caches of a prefix remove, and what happens to a cache. They are sent as messages of a channel.
//!
//! A message has a version (1 byte), the number of its origin, its own number, the time in milliseconds since 1970 and the
//! number of its first event (8 bytes each), and for each event a letter, a length (4 bytes) and so many bytes. The events of
//! a message have consecutive numbers. Numbers are little-endian.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use crate::error::{Error, ErrorKind, Result};
use crate::key::{check_pattern, check_tag};
use crate::message::DEFAULT_MAX_BYTES;
use crate::naming::Naming;
use crate::operation::Change;
use crate::util::glob::Glob;
use crate::util::millis;
use crate::util::random::random;

/// The version of the format.
const VERSION: u8 = 1;
/// The length of a message that has several events is below this one.
const FULL: usize = 64 * 1024;
/// The most tags and patterns of a filter, together.
const MAX_FILTER: usize = 1024;
/// The place of the number of a message, and behind it those of its time and of the number of its first event.
const NUMBER: usize = 9;
const FIRST_EVENT: usize = NUMBER + 16;
const HEADER: usize = FIRST_EVENT + 8;
/// The most origins whose messages are followed.
const MAX_ORIGINS: usize = 1024;
/// The number of messages that may overtake another one.
const SPAN: u64 = 1024;
/// The letter of a gap: events of the origin are lost.
const GAP: u8 = b'g';

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A tag was invalidated.
    Tag,
    /// The keys that match a pattern were removed.
    Pattern,
    /// All entries were removed.
    Flush,
    /// A key was deleted.
    Delete,
    /// The cache uses another backend.
    Switch,
    /// The fallback of the cache serves.
    FallbackBegin,
    /// The servers of the cache serve again.
    FallbackEnd,
}

/// The kinds that are sent, each with its letter.
const LETTERS: [(EventKind, u8); 4] =
    [(EventKind::Tag, b't'), (EventKind::Pattern, b'p'), (EventKind::Flush, b'f'), (EventKind::Delete, b'd')];

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: EventKind,
    /// The tag, the pattern, the key or the name of the backend; empty for a flush.
    pub name: Box<[u8]>,
    /// The number of the opened cache that it comes from.
    pub origin: u64,
    /// Its number among the events of the origin. It increases.
    pub sequence: u64,
    /// The time at the origin, in milliseconds since 1970.
    pub time_ms: u64,
    /// True if it comes from the cache that reads it.
    pub is_own: bool,
}

/// An opened cache as the origin of events.
pub struct Origin {
    /// Distinguishes it from others.
    pub number: u64,
    messages: AtomicU64,
    events: AtomicU64,
}

impl Origin {
    /// Makes an origin.
    pub fn new() -> Result<Self> {
        Ok(Self { number: random()?, messages: AtomicU64::new(0), events: AtomicU64::new(0) })
    }

    /// Returns the messages that tell of a change which removes entries, to be numbered when they are sent.
    pub fn drafts(&self, change: &Change<'_>) -> Vec<Draft> {
        match change {
            Change::Tags(tags) => self.encode(EventKind::Tag, tags),
            Change::Keys(keys) => self.encode(EventKind::Delete, keys),
            Change::Patterns(patterns) => self.encode(EventKind::Pattern, patterns),
            Change::Flush => self.encode(EventKind::Flush, &[b""]),
            // The names of the tags are not known.
            Change::Hashes(_) => vec![self.gap()],
        }
    }

    /// Returns a message without events.
    pub fn nothing(&self) -> Draft {
        let header = [self.number, 0, now_ms(), 0];
        let bytes = [VERSION].into_iter().chain(header.iter().flat_map(|it| it.to_le_bytes())).collect();
        Draft { bytes, events: 0 }
    }

    /// Returns a message that tells of lost events.
    pub fn gap(&self) -> Draft {
        let mut draft = self.nothing();
        draft.push(GAP, b"");
        draft
    }

    /// Gives a message the next numbers, with which it is sent.
    pub fn number(&self, draft: &mut Draft) {
        let number = self.messages.fetch_add(1, Relaxed) + 1;
        let first = self.events.fetch_add(draft.events, Relaxed) + 1;
        draft.bytes[NUMBER..NUMBER + 8].copy_from_slice(&number.to_le_bytes());
        draft.bytes[FIRST_EVENT..HEADER].copy_from_slice(&first.to_le_bytes());
    }

    /// Makes an event of this cache itself.
    pub fn event(&self, kind: EventKind, name: &[u8]) -> Event {
        let sequence = self.events.fetch_add(1, Relaxed) + 1;
        Event { kind, name: name.into(), origin: self.number, sequence, time_ms: now_ms(), is_own: true }
    }

    fn encode(&self, kind: EventKind, names: &[&[u8]]) -> Vec<Draft> {
        let letter = LETTERS.iter().find(|(it, _)| *it == kind).map_or(GAP, |(_, letter)| *letter);
        let mut drafts: Vec<Draft> = Vec::new();
        for name in names {
            match drafts.last_mut().filter(|draft| draft.bytes.len() + name.len() < FULL) {
                Some(draft) => draft.push(letter, name),
                None => {
                    let mut draft = self.nothing();
                    draft.push(letter, name);
                    drafts.push(draft);
                }
            }
        }
        drafts
    }
}

/// A message that is to be sent.
pub struct Draft {
    bytes: Vec<u8>,
    events: u64,
}

impl Draft {
    /// Returns the message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[allow(clippy::cast_possible_truncation)] // A name has up to 64 KiB.
    fn push(&mut self, letter: u8, name: &[u8]) {
        self.bytes.push(letter);
        self.bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.events += u64::from(letter != GAP);
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, millis)
}

/// A message of events that was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of its origin.
    pub origin: u64,
    /// Its number among the messages of the origin.
    pub number: u64,
    /// Its events; `None` stands for a gap, also in place of what is unknown.
    pub events: Vec<Option<Event>>,
}

/// Reads a message; `None` if it cannot be read. `own` is the number of the cache that reads it.
pub fn decode(message: &[u8], own: u64) -> Option<Received> {
    let rest = message.strip_prefix(&[VERSION])?;
    let (origin, rest) = number(rest)?;
    let (number_of_message, rest) = number(rest)?;
    let (time_ms, rest) = number(rest)?;
    let (mut sequence, mut rest) = number(rest)?;
    let mut events = Vec::new();
    while let Some((letter, more)) = rest.split_first() {
        let (len, more) = more.split_first_chunk()?;
        let (name, more) = more.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let kind = LETTERS.iter().find(|(_, it)| it == letter).map(|(kind, _)| *kind);
        let event = |kind| Event { kind, name: name.into(), origin, sequence, time_ms, is_own: origin == own };
        events.push(kind.map(event));
        (sequence, rest) = (sequence.wrapping_add(1), more);
    }
    Some(Received { origin, number: number_of_message, events })
}

/// Returns the number of the origin of a message.
pub fn origin_of(message: &[u8]) -> Option<u64> {
    number(message.strip_prefix(&[VERSION])?).map(|(origin, _)| origin)
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// The events that a reader wants.
#[derive(Default)]
pub struct EventFilter {
    /// These kinds; empty: those that the lists below leave.
    pub kinds: HashSet<EventKind>,
    /// True if the reader's own cache is an origin too.
    pub own: bool,
    /// Of invalidations of tags only those of these tags; empty: all.
    tags: HashSet<Box<[u8]>>,
    /// Of deletions only those of keys that match one of these; empty: all.
    keys: Vec<Glob>,
    max_bytes: u64,
    /// The names of the reader.
    naming: Naming,
}

impl EventFilter {
    /// Makes a filter that selects every event of others. Fails if a tag or a pattern is not allowed. With tags alone no
    /// deletions are selected, and with patterns of keys alone no invalidations of tags. `max_bytes`: the most bytes of the
    /// events that wait; 0 is the default.
    pub fn new(tags: &[&[u8]], keys: &[&[u8]], max_bytes: u64) -> Result<Self> {
        let count = tags.len() + keys.len();
        if count > MAX_FILTER {
            let text = format!("the filter has {count} tags and patterns; the limit is {MAX_FILTER}");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        keys.iter().try_for_each(|pattern| check_pattern(pattern))?;
        if keys.iter().any(|pattern| pattern.is_empty()) {
            return Err(Error::new(ErrorKind::Invalid, "a pattern of the filter is empty: it matches no key"));
        }
        Ok(Self {
            kinds: HashSet::new(),
            own: false,
            tags: tags.iter().map(|tag| Box::from(*tag)).collect(),
            keys: keys.iter().map(|pattern| Glob::new(pattern)).collect(),
            max_bytes: if max_bytes == 0 { DEFAULT_MAX_BYTES } else { max_bytes },
            naming: Naming::default(),
        })
    }

    /// Returns the filter of a reader with these names.
    #[must_use]
    pub fn of(self, naming: Naming) -> Self {
        Self { naming, ..self }
    }

    /// Returns an event with the name that the reader knows; `None`: it concerns names of others alone.
    pub fn own(&self, event: Event) -> Option<Event> {
        let name = match event.kind {
            EventKind::Tag if self.naming.is_generation(&event.name) => {
                return Some(Event { kind: EventKind::Flush, name: Box::default(), ..event });
            }
            EventKind::Tag | EventKind::Delete => self.naming.own(&event.name)?,
            EventKind::Pattern => match self.naming.own_pattern(&event.name)? {
                // So a namespace is flushed.
                b"*" if !self.naming.is_plain() => {
                    return Some(Event { kind: EventKind::Flush, name: Box::default(), ..event });
                }
                pattern => pattern,
            },
            EventKind::Flush | EventKind::Switch | EventKind::FallbackBegin | EventKind::FallbackEnd => {
                return Some(event);
            }
        };
        if name.len() == event.name.len() {
            return Some(event);
        }
        let name = name.into();
        Some(Event { name, ..event })
    }

    /// Returns the most bytes of the events that wait.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Returns true if the reader wants an event.
    pub fn selects(&self, event: &Event) -> bool {
        if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
            return false;
        }
        match event.kind {
            // What happens to the cache itself is no echo of a call.
            EventKind::Switch | EventKind::FallbackBegin | EventKind::FallbackEnd => true,
            _ if event.is_own && !self.own => false,
            EventKind::Tag if self.tags.is_empty() => self.keys.is_empty() || !self.kinds.is_empty(),
            EventKind::Tag => self.tags.contains(&event.name),
            EventKind::Delete if self.keys.is_empty() => self.tags.is_empty() || !self.kinds.is_empty(),
            EventKind::Delete => self.keys.iter().any(|glob| glob.matches(&event.name)),
            EventKind::Pattern | EventKind::Flush => true,
        }
    }
}

/// The meaning of the number of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is the first with its number.
    New,
    /// The same, and one before it will not come any more.
    NewAfterLoss,
    /// It has come before.
    Known,
}

/// The numbers of the messages that have come from each origin.
#[derive(Default)]
pub struct Sequences(HashMap<u64, Came>);

/// The numbers that have come from an origin. Messages that are sent at the same time may come in another order.
struct Came {
    /// The number of the first message that came. Those before it were not sent to this reader, or are late.
    first: u64,
    /// The highest number.
    last: u64,
    /// The numbers between them that may still come.
    missing: BTreeSet<u64>,
}

impl Sequences {
    /// Notes a message.
    pub fn note(&mut self, origin: u64, number: u64) -> Noted {
        if self.0.len() >= MAX_ORIGINS && !self.0.contains_key(&origin) {
            let other = self.0.keys().next().copied();
            other.and_then(|other| self.0.remove(&other));
        }
        match self.0.get_mut(&origin) {
            Some(came) => came.note(number),
            None => {
                self.0.insert(origin, Came { first: number, last: number, missing: BTreeSet::new() });
                Noted::New
            }
        }
    }

    /// Forgets all: others may have been lost, which the reader knows.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Came {
    fn note(&mut self, number: u64) -> Noted {
        if number <= self.last {
            // A message that comes again is harmless, one that does not come is not.
            let is_unknown = number < self.first || self.is_too_old(number);
            return if self.missing.remove(&number) || is_unknown { Noted::New } else { Noted::Known };
        }
        let mut is_lost = number - self.last > SPAN;
        if is_lost {
            self.missing.clear();
        } else {
            self.missing.extend(self.last + 1..number);
        }
        self.last = number;
        while let Some(oldest) = self.missing.first().copied().filter(|oldest| self.is_too_old(*oldest)) {
            self.missing.remove(&oldest);
            is_lost = true;
        }
        if is_lost { Noted::NewAfterLoss } else { Noted::New }
    }

    fn is_too_old(&self, number: u64) -> bool {
        number.saturating_add(SPAN) < self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, name: &[u8], is_own: bool) -> Event {
        Event { kind, name: name.into(), origin: 1, sequence: 1, time_ms: 0, is_own }
    }

    /// Returns the messages of a change as they are sent.
    fn sent(origin: &Origin, change: &Change<'_>) -> Vec<Vec<u8>> {
        let mut drafts = origin.drafts(change);
        drafts.iter_mut().for_each(|draft| origin.number(draft));
        drafts.iter().map(|draft| draft.bytes().to_vec()).collect()
    }

    #[test]
    fn events_are_read_as_they_were_sent() {
        let origin = Origin::new().unwrap();
        let tags: &[&[u8]] = &[b"a", b"\0\xff"];
        let sent = sent(&origin, &Change::Tags(tags));
        let received = decode(&sent[0], 0).unwrap();
        assert_eq!((sent.len(), received.origin, received.number), (1, origin.number, 1));
        let events: Vec<Event> = received.events.into_iter().map(Option::unwrap).collect();
        let seen: Vec<_> = events.iter().map(|it| (it.kind, &*it.name, it.sequence, it.is_own)).collect();
        assert_eq!(seen, [(EventKind::Tag, tags[0], 1, false), (EventKind::Tag, tags[1], 2, false)]);
        assert!(events[0].time_ms > 1_700_000_000_000);
        let mut origin_flush = origin.drafts(&Change::Flush).remove(0);
        origin.number(&mut origin_flush);
        let next = decode(origin_flush.bytes(), origin.number).unwrap();
        let flush = next.events[0].clone().unwrap();
        assert_eq!((next.number, flush.kind, flush.sequence, flush.is_own), (2, EventKind::Flush, 3, true));
        assert_eq!(decode(origin.gap().bytes(), 0).unwrap().events, [None]);
        assert_eq!(decode(origin.nothing().bytes(), 0).unwrap().events, []);
        assert_eq!(decode(origin.drafts(&Change::Hashes(&[7]))[0].bytes(), 0).unwrap().events, [None]);
    }

    #[test]
    fn many_names_take_several_messages_and_none_is_missing() {
        let origin = Origin::new().unwrap();
        let names: Vec<Vec<u8>> = (0..300_u32).map(|at| vec![at as u8; 1 + at as usize * 7 % 1000]).collect();
        let long = vec![b'l'; 65536];
        let mut keys: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        keys.extend([&long[..], &long, b"last"]);
        let sent = sent(&origin, &Change::Keys((&keys[..]).into()));
        assert!(sent.len() > 3 && sent.iter().all(|message| message.len() < 2 * FULL + 1000));
        let events: Vec<Event> = sent.iter().flat_map(|it| decode(it, 0).unwrap().events).map(Option::unwrap).collect();
        assert_eq!(events.iter().map(|it| &*it.name).collect::<Vec<_>>(), keys);
        assert!(events.iter().zip(1..).all(|(it, number)| it.sequence == number && it.kind == EventKind::Delete));
        assert!(origin.drafts(&Change::Tags(&[])).is_empty());
    }

    #[test]
    fn a_message_that_is_none_is_refused_and_an_unknown_kind_is_a_gap() {
        let origin = Origin::new().unwrap();
        let whole = &sent(&origin, &Change::Tags(&[b"tag"]))[0];
        for bytes in [&b""[..], b"\x02", &whole[..20], &whole[..whole.len() - 1], &[&whole[..], b"t"].concat()] {
            assert_eq!(decode(bytes, 0), None, "{bytes:?}");
        }
        let mut unknown = whole.clone();
        unknown[33] = b'?';
        assert_eq!(decode(&unknown, 0).unwrap().events, [None]);
    }

    #[test]
    fn a_filter_selects_by_kind_tag_key_and_origin() {
        let kinds = [EventKind::Tag, EventKind::Pattern, EventKind::Flush, EventKind::Delete, EventKind::Switch];
        let selected = |filter: &EventFilter| kinds.map(|kind| filter.selects(&event(kind, b"a", false)));
        let all = EventFilter::new(&[], &[], 0).unwrap();
        assert_eq!(selected(&all), [true; 5]);
        assert!(!all.selects(&event(EventKind::Tag, b"a", true)) && all.selects(&event(EventKind::Switch, b"a", true)));
        let own = EventFilter { own: true, ..EventFilter::new(&[], &[], 0).unwrap() };
        assert!(own.selects(&event(EventKind::Tag, b"a", true)));
        let tags = EventFilter::new(&[b"a"], &[], 0).unwrap();
        assert_eq!(selected(&tags), [true, true, true, false, true]);
        assert!(!tags.selects(&event(EventKind::Tag, b"b", false)));
        let keys = EventFilter::new(&[], &[b"b*", b"a*"], 0).unwrap();
        assert_eq!(selected(&keys), [false, true, true, true, true]);
        assert!(!keys.selects(&event(EventKind::Delete, b"c", false)));
        let kind =
            EventFilter { kinds: HashSet::from([EventKind::Delete]), ..EventFilter::new(&[b"a"], &[], 0).unwrap() };
        assert_eq!(selected(&kind), [false, false, false, true, false]);
        let error = |tags: &[&[u8]]| EventFilter::new(tags, &[], 0).err().map(|it| it.kind());
        assert_eq!(error(&[b""]), Some(ErrorKind::Invalid));
        assert_eq!(EventFilter::new(&[], &[b""], 0).err().map(|it| it.kind()), Some(ErrorKind::Invalid));
        assert_eq!(error(&vec![&b"a"[..]; MAX_FILTER + 1]), Some(ErrorKind::TooLarge));
    }

    #[test]
    fn a_number_that_does_not_come_is_a_loss_and_one_that_comes_twice_is_known() {
        let mut sequences = Sequences::default();
        let mut note = |number| sequences.note(1, number);
        assert_eq!(
            [note(5), note(7), note(6), note(6), note(5)],
            [Noted::New, Noted::New, Noted::New, Noted::Known, Noted::Known]
        );
        assert_eq!(note(3), Noted::New, "it was late, before the first");
        // 8 does not come in time.
        for number in 9..=8 + SPAN {
            assert_eq!(note(number), Noted::New, "{number}");
        }
        assert_eq!([note(9 + SPAN), note(8), note(9 + SPAN)], [Noted::NewAfterLoss, Noted::New, Noted::Known]);
        let far = 10 * SPAN;
        assert_eq!([note(far), note(far + 2), note(far + 1)], [Noted::NewAfterLoss, Noted::New, Noted::New]);
        assert_eq!([note(u64::MAX), note(u64::MAX)], [Noted::NewAfterLoss, Noted::Known]);
        assert_eq!(sequences.note(2, 1), Noted::New);
        sequences.clear();
        assert_eq!([sequences.note(1, 900), sequences.note(1, 900)], [Noted::New, Noted::Known]);
    }

    #[test]
    fn the_origins_that_are_followed_are_limited() {
        let mut sequences = Sequences::default();
        (0..3 * MAX_ORIGINS as u64).for_each(|origin| assert_eq!(sequences.note(origin, 1), Noted::New));
        assert!(sequences.0.len() <= MAX_ORIGINS);
    }
}
