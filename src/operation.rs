//! Operations on entries and their outcomes as data: the same from the header to the backend.
//!
//! A new operation is added here, as an export of `ffi`, in the memory backend and in the backend of remote stores. All
//! else that distinguishes operations (layers, queue, batch, statistics) asks the functions below.

use std::borrow::Cow;
use std::slice;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use crate::command::{Command, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::explanation::Explanation;
use crate::fuzzy::Match;
use crate::inbox::Taken;
use crate::lease::{Fill, Lease, LeaseOptions, Loaded, Wait};
use crate::naming::GENERATION;
use crate::tag_names::TagNames;
use crate::util::byte_strings::ByteStrings;
use crate::value::Value;

/// The number of removed entries; `None` if it is unknown.
pub type Removed = Option<u64>;

/// An entry to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// The user's key: 1 byte to 64 KiB of any bytes.
    pub key: &'a [u8],
    /// The user's value: any bytes, up to `max_value_bytes`.
    pub value: &'a [u8],
    /// The time to live; `None` never expires.
    pub ttl: Option<Duration>,
    /// Up to 128 tags, which replace the old ones.
    pub tags: &'a [&'a [u8]],
}

/// The condition for storing an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetCondition {
    /// The key does not exist: a get would be a miss.
    Absent,
    /// The key exists.
    Present,
    /// The key has the entry of this version.
    Version(u64),
}

impl SetCondition {
    /// Returns true if the condition holds for a key with this version; `None`: the key does not exist.
    pub fn holds(self, version: Option<u64>) -> bool {
        match self {
            Self::Absent => version.is_none(),
            Self::Present => version.is_some(),
            Self::Version(wanted) => version == Some(wanted),
        }
    }
}

/// A change of a counter: an entry whose value is a whole number in decimal digits.
#[derive(Debug, Clone, Copy)]
pub struct Addition<'a> {
    /// The user's key.
    pub key: &'a [u8],
    /// The number that is added.
    pub delta: i64,
    /// The value of a counter that does not exist, before the addition.
    pub initial: i64,
    /// The time to live of a counter that does not exist; `None` never expires.
    pub ttl: Option<Duration>,
    /// The tags of a counter that does not exist.
    pub tags: &'a [&'a [u8]],
}

impl Addition<'_> {
    /// Returns the value after the addition. Fails, and changes nothing, if the value is not a number or the sum has
    /// more than 64 bits.
    pub fn apply(&self, value: Option<&[u8]>) -> Result<i64> {
        let before = value.map_or(Ok(self.initial), |value| counter_value(value).ok_or_else(not_a_number))?;
        before.checked_add(self.delta).ok_or_else(|| overflow(before, self.delta))
    }
}

/// Returns the number that a value is: decimal digits in the form in which they are stored.
fn counter_value(value: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == value).then_some(number)
}

#[cold]
fn not_a_number() -> Error {
    let text = "the value of the key is not a counter: it must be a whole number of 64 bits in decimal digits";
    Error::new(ErrorKind::Invalid, text)
}

#[cold]
fn overflow(before: i64, delta: i64) -> Error {
    let text = format!("the counter is {before} and delta is {delta}; the sum must fit in 64 bits");
    Error::new(ErrorKind::Invalid, text)
}

/// The value of a key with its properties.
#[derive(Clone)]
pub struct EntryInfo {
    /// The user's value.
    pub value: Value,
    /// The version that conditional operations compare.
    pub version: u64,
    /// The time since the set: never too short, up to about two seconds too long; `None` if it is not known.
    pub age: Option<Duration>,
    /// The remaining time to live; `None` never expires.
    pub left: Option<Duration>,
    /// The number of tags.
    pub tags: u64,
    /// The names of the tags, if the entry stores them.
    pub tag_names: TagNames,
}

impl EntryInfo {
    /// Returns the value, which names its tags if the entry does.
    pub fn named_value(self) -> Value {
        match self.tag_names.as_bytes() {
            [] => self.value,
            names => Value::with_tag_names(names, self.value.as_bytes()),
        }
    }

    /// Returns true if the entry is not older than a caller allows. An age that is not known may be any.
    pub fn is_within(&self, max_age: Option<Duration>) -> bool {
        is_within(self.age, max_age)
    }
}

/// Returns true if an age is not over the maximum that a caller allows. An age that is not known may be any.
pub fn is_within(age: Option<Duration>, max_age: Option<Duration>) -> bool {
    max_age.is_none_or(|max_age| age.is_some_and(|age| age <= max_age))
}

/// The size of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The number of entries that can be read: as many as a listing returns.
    pub keys: u64,
    /// The bytes that they take.
    pub bytes: u64,
    /// True if both numbers are estimates.
    pub estimated: bool,
}

/// An operation on the entries of a store.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // The fields are those of the exports of the same names.
pub enum Operation<'a> {
    /// Reads the value of a key: `Outcome::Value` or `Miss`.
    Get { key: &'a [u8] },
    /// Stores an entry in place of any other under its key: `Outcome::Done`.
    Set(NewEntry<'a>),
    /// Removes a key: `Outcome::Done` or `Miss`.
    Delete { key: &'a [u8] },
    /// Looks for a key, which is not a use of the entry: `Outcome::Done` or `Miss`.
    Exists { key: &'a [u8] },
    /// Gives a key another time to live; value and tags stay: `Outcome::Done` or `Miss`.
    Expire { key: &'a [u8], ttl: Option<Duration> },
    /// Reads the remaining time to live of a key: `Outcome::Remaining` or `Miss`.
    Ttl { key: &'a [u8] },
    /// Reads the value of a key and its version: `Outcome::Versioned` or `Miss`.
    GetVersioned { key: &'a [u8] },
    /// Reads the value of a key and its properties; an entry that is older than `max_age` is a miss: `Outcome::Info` or
    /// `Miss`.
    GetInfo { key: &'a [u8], max_age: Option<Duration> },
    /// Stores an entry if a condition holds: `Outcome::Version` or `Unmet`.
    SetIf { entry: NewEntry<'a>, condition: SetCondition },
    /// Removes a key if it has this version: `Outcome::Done`, `Unmet` or `Miss`.
    DeleteIf { key: &'a [u8], version: u64 },
    /// Reads the value of a key and gives the key another time to live: `Outcome::Value` or `Miss`.
    GetAndExpire { key: &'a [u8], ttl: Option<Duration> },
    /// Adds to a counter, which is created if it does not exist: `Outcome::Number`.
    CounterAdd(Addition<'a>),
    /// Reads many keys: `Outcome::Values`.
    GetMany { keys: &'a [&'a [u8]] },
    /// Stores many entries, none of them if one is refused: `Outcome::Stored`.
    SetMany { entries: &'a [NewEntry<'a>] },
    /// Removes many keys: `Outcome::Deleted`.
    DeleteMany { keys: &'a [&'a [u8]] },
    /// Makes every entry that has one of the tags a miss: `Outcome::Removed`.
    InvalidateTags { tags: &'a [&'a [u8]], count: bool },
    /// Makes every key a miss that matches one of the globs: `Outcome::Removed`. A barrier reaches those that have the tag of
    /// their generation, and the patterns are of one generation.
    InvalidatePatterns { patterns: &'a [&'a [u8]], mode: PatternMode },
    /// Removes every entry: `Outcome::Removed`.
    Flush { count: bool },
    /// Makes every entry a miss that has the tag of its generation: `Outcome::Removed`. It reaches a backend as an
    /// `InvalidateTags`.
    Clear { count: bool },
    /// Asks every server for a sign of life: `Outcome::Done`.
    Ping,
    /// Measures the store: `Outcome::Usage`.
    Usage,
    /// Reports on a key, which is no use of it and changes nothing: `Outcome::Explanation`.
    Explain { key: &'a [u8] },
    /// Reads the value of a key, or gives the right to load it: `Outcome::Loaded`.
    GetOrLease { key: &'a [u8], options: LeaseOptions<'a> },
    /// Stores the result of a load: `Outcome::Done` or `Superseded`.
    LeaseFill { lease: &'a Arc<Lease>, fill: Fill<'a> },
    /// Ends a lease without a result, and keeps the key from being loaded for a time: `Outcome::Done`.
    LeaseAbandon { lease: &'a Arc<Lease>, retry_after: Duration },
    /// Runs a command of the servers: `Outcome::Reply`. It concerns no entry, and no layer repeats or records it.
    Command(Command<'a>),
    /// Sends a message to the subscribers of a channel: `Outcome::Received`. As a command, it concerns no entry.
    Publish { channel: &'a [u8], message: &'a [u8] },
}

/// The outcome of an operation that did not fail.
pub enum Outcome {
    /// The operation is done.
    Done,
    /// The key does not exist.
    Miss,
    /// The value of the key, or the text of a report.
    Value(Value),
    /// The condition does not hold; nothing changed.
    Unmet,
    /// The value of the key and its version.
    Versioned(Value, u64),
    /// The value of the key and its properties.
    Info(Box<EntryInfo>),
    /// The version of the entry that was stored.
    Version(u64),
    /// The value of a counter.
    Number(i64),
    /// The remaining time to live of the key; `None` never expires.
    Remaining(Option<Duration>),
    /// The number of removed entries.
    Removed(Removed),
    /// The value of each of many keys, in their order.
    Values(Vec<Result<Option<Value>>>),
    /// The outcome of storing each of many entries, in their order.
    Stored(Vec<Result<()>>),
    /// For each of many keys true if it existed, in their order.
    Deleted(Vec<Result<bool>>),
    /// The size of the store.
    Usage(Usage),
    /// The report on a key.
    Explanation(Box<Explanation>),
    /// A page of keys, empty at the end of the listing.
    Keys(Box<ByteStrings>),
    /// The matches of a search.
    Matches(Vec<Match>),
    /// The value of a key, or the right to load it.
    Loaded(Loaded),
    /// The result of a load was not stored: the lease had ended, or a tag was invalidated.
    Superseded,
    /// The reply to a command.
    Reply(Box<Reply>),
    /// The number of subscriptions that a message went to; `None` if it is unknown.
    Received(Option<u64>),
    /// A message of a subscription to channels.
    Message(Box<Taken>),
    /// An event.
    Event(Box<Taken>),
}

/// An outcome is moved from function to function: its size is part of the cost of every operation.
const _: () = assert!(size_of::<Result<Outcome>>() <= 32);

/// The entries that an operation may change.
#[derive(Debug, Clone)]
pub enum Change<'a> {
    /// The entries of these keys, each in any way.
    Keys(Cow<'a, [&'a [u8]]>),
    /// The entries that have one of these tags become misses.
    Tags(&'a [&'a [u8]]),
    /// The entries that have a tag with one of these hashes become misses.
    Hashes(&'a [u64]),
    /// The entries whose keys match one of these globs are removed.
    Patterns(&'a [&'a [u8]]),
    /// All entries are removed.
    Flush,
}

/// The kinds of which operations that come together are run as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchKey {
    /// Gets run as a `GetMany`.
    Get,
    /// Sets run as a `SetMany`.
    Set,
    /// Deletes run as a `DeleteMany`.
    Delete,
}

/// The way in which entries are invalidated by a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PatternMode {
    /// Lists the keys and removes those that match.
    #[default]
    Walk,
    /// Makes misses of the older entries that match, in one step.
    Barrier,
}

/// Gives an operation other arguments, such as copies of its own. The functions are called in the order of the
/// arguments, in the same order for all operations of one kind; a list comes last.
pub trait Rebind<'b> {
    /// Replaces a byte string.
    fn bytes(&mut self, bytes: &[u8]) -> &'b [u8];
    /// Replaces a list of byte strings.
    fn list(&mut self, list: &[&[u8]]) -> &'b [&'b [u8]];
    /// Replaces a list of entries.
    fn entries(&mut self, entries: &[NewEntry<'_>]) -> &'b [NewEntry<'b>];
    /// Replaces a lease by a reference to the same.
    fn lease(&mut self, lease: &Arc<Lease>) -> &'b Arc<Lease>;
}

impl Operation<'_> {
    /// Returns the entries that the operation changes; `None` if it only reads.
    pub fn change(&self) -> Option<Change<'_>> {
        match self {
            Self::Set(NewEntry { key, .. })
            | Self::Delete { key }
            | Self::Expire { key, .. }
            | Self::SetIf { entry: NewEntry { key, .. }, .. }
            | Self::DeleteIf { key, .. }
            | Self::GetAndExpire { key, .. }
            | Self::CounterAdd(Addition { key, .. }) => Some(Change::Keys(slice::from_ref(key).into())),
            Self::SetMany { entries } => Some(Change::Keys(entries.iter().map(|entry| entry.key).collect())),
            Self::DeleteMany { keys } => Some(Change::Keys((*keys).into())),
            Self::InvalidateTags { tags, .. } => Some(Change::Tags(tags)),
            Self::InvalidatePatterns { patterns, .. } => Some(Change::Patterns(patterns)),
            Self::Clear { .. } => Some(Change::Tags(&[GENERATION])),
            Self::Flush { .. } => Some(Change::Flush),
            Self::LeaseFill { lease, .. } => Some(Change::Keys(vec![&lease.key[..]].into())),
            Self::GetOrLease { .. }
            | Self::LeaseAbandon { .. }
            | Self::Get { .. }
            | Self::GetVersioned { .. }
            | Self::GetInfo { .. }
            | Self::Exists { .. }
            | Self::Ttl { .. }
            | Self::GetMany { .. }
            | Self::Ping
            | Self::Explain { .. }
            | Self::Command(_)
            | Self::Publish { .. }
            | Self::Usage => None,
        }
    }

    /// Returns true if the change depends on the entry that it finds: made twice, it does not do the same as once.
    pub fn is_conditional(&self) -> bool {
        matches!(self, Self::SetIf { .. } | Self::DeleteIf { .. } | Self::CounterAdd(_))
    }

    /// Returns true if the operation removes entries.
    #[inline(always)]
    pub fn removes(&self) -> bool {
        match self {
            Self::Delete { .. }
            | Self::DeleteIf { .. }
            | Self::DeleteMany { .. }
            | Self::InvalidateTags { .. }
            | Self::InvalidatePatterns { .. }
            | Self::Clear { .. }
            | Self::Flush { .. } => true,
            Self::Get { .. }
            | Self::GetVersioned { .. }
            | Self::GetInfo { .. }
            | Self::SetIf { .. }
            | Self::GetAndExpire { .. }
            | Self::CounterAdd(_)
            | Self::Set(_)
            | Self::Exists { .. }
            | Self::Expire { .. }
            | Self::Ttl { .. }
            | Self::GetMany { .. }
            | Self::SetMany { .. }
            | Self::GetOrLease { .. }
            | Self::LeaseFill { .. }
            | Self::LeaseAbandon { .. }
            | Self::Ping
            | Self::Explain { .. }
            | Self::Command(_)
            | Self::Publish { .. }
            | Self::Usage => false,
        }
    }

    /// Returns true if the operation invalidates by a pattern in one step.
    pub fn is_barrier(&self) -> bool {
        matches!(self, Self::InvalidatePatterns { mode: PatternMode::Barrier, .. })
    }

    /// Returns true if the operation may walk all entries: longer than a caller that must not be blocked has time for,
    /// even on a backend that answers at once.
    pub fn is_long(&self) -> bool {
        matches!(self, Self::InvalidatePatterns { mode: PatternMode::Walk, .. } | Self::Flush { .. })
    }

    /// Returns the same operation without its wait for another caller: what a backend that answers at once has done
    /// when its function returns.
    #[must_use]
    pub fn at_once(self) -> Self {
        match self {
            Self::GetOrLease { key, options } => {
                Self::GetOrLease { key, options: LeaseOptions { wait: Wait::No, ..options } }
            }
            other => other,
        }
    }

    /// Returns the same operation with a wait for another caller that is no longer than this.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        let Self::GetOrLease { key, options } = self else { return self };
        let wait = match options.wait {
            Wait::No => Wait::No,
            Wait::Call => Wait::AtMost(limit),
            Wait::AtMost(time) => Wait::AtMost(time.min(limit)),
        };
        Self::GetOrLease { key, options: LeaseOptions { wait, ..options } }
    }

    /// Returns true if the operation waits for another caller after this outcome of `at_once`.
    pub fn waits_after(&self, outcome: &Result<Outcome>) -> bool {
        let waits = matches!(self, Self::GetOrLease { options, .. } if options.wait != Wait::No);
        waits && outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy)
    }

    /// Returns the kind under which the operation is run together with others.
    pub fn batch_key(&self) -> Option<BatchKey> {
        match self {
            Self::Get { .. } => Some(BatchKey::Get),
            Self::Set(_) => Some(BatchKey::Set),
            Self::Delete { .. } => Some(BatchKey::Delete),
            _ => None,
        }
    }

    /// Returns the outcome for an operation whose call failed as a whole: one failure for each of many keys.
    pub fn spread(&self, outcome: Result<Outcome>) -> Result<Outcome> {
        fn failed<T>(keys: usize, error: &Error) -> Vec<Result<T>> {
            (0..keys).map(|_| Err(error.clone())).collect()
        }
        outcome.or_else(|error| match self {
            Self::GetMany { keys } => Ok(Outcome::Values(failed(keys.len(), &error))),
            Self::SetMany { entries } => Ok(Outcome::Stored(failed(entries.len(), &error))),
            Self::DeleteMany { keys } => Ok(Outcome::Deleted(failed(keys.len(), &error))),
            _ => Err(error),
        })
    }

    /// Returns the same operation with other arguments.
    pub fn rebind<'b>(&self, to: &mut impl Rebind<'b>) -> Operation<'b> {
        match *self {
            Self::Get { key } => Operation::Get { key: to.bytes(key) },
            Self::Set(NewEntry { key, value, ttl, tags }) => {
                let (key, value) = (to.bytes(key), to.bytes(value));
                Operation::Set(NewEntry { key, value, ttl, tags: to.list(tags) })
            }
            Self::Delete { key } => Operation::Delete { key: to.bytes(key) },
            Self::Exists { key } => Operation::Exists { key: to.bytes(key) },
            Self::Expire { key, ttl } => Operation::Expire { key: to.bytes(key), ttl },
            Self::Ttl { key } => Operation::Ttl { key: to.bytes(key) },
            Self::GetVersioned { key } => Operation::GetVersioned { key: to.bytes(key) },
            Self::GetInfo { key, max_age } => Operation::GetInfo { key: to.bytes(key), max_age },
            Self::SetIf { entry: NewEntry { key, value, ttl, tags }, condition } => {
                let (key, value) = (to.bytes(key), to.bytes(value));
                Operation::SetIf { entry: NewEntry { key, value, ttl, tags: to.list(tags) }, condition }
            }
            Self::DeleteIf { key, version } => Operation::DeleteIf { key: to.bytes(key), version },
            Self::GetAndExpire { key, ttl } => Operation::GetAndExpire { key: to.bytes(key), ttl },
            Self::CounterAdd(it) => Operation::CounterAdd(Addition {
                key: to.bytes(it.key),
                delta: it.delta,
                initial: it.initial,
                ttl: it.ttl,
                tags: to.list(it.tags),
            }),
            Self::GetMany { keys } => Operation::GetMany { keys: to.list(keys) },
            Self::SetMany { entries } => Operation::SetMany { entries: to.entries(entries) },
            Self::DeleteMany { keys } => Operation::DeleteMany { keys: to.list(keys) },
            Self::InvalidateTags { tags, count } => Operation::InvalidateTags { tags: to.list(tags), count },
            Self::InvalidatePatterns { patterns, mode } => {
                Operation::InvalidatePatterns { patterns: to.list(patterns), mode }
            }
            Self::Flush { count } => Operation::Flush { count },
            Self::Clear { count } => Operation::Clear { count },
            Self::Ping => Operation::Ping,
            Self::Usage => Operation::Usage,
            Self::Explain { key } => Operation::Explain { key: to.bytes(key) },
            Self::GetOrLease { key, options } => {
                let key = to.bytes(key);
                Operation::GetOrLease {
                    key,
                    options: LeaseOptions { tags: to.list(options.tags), in_doubt: None, ..options },
                }
            }
            Self::LeaseFill { lease, fill } => {
                let (lease, value) = (to.lease(lease), to.bytes(fill.value));
                Operation::LeaseFill { lease, fill: Fill { value, tags: to.list(fill.tags), ..fill } }
            }
            Self::LeaseAbandon { lease, retry_after } => {
                Operation::LeaseAbandon { lease: to.lease(lease), retry_after }
            }
            Self::Command(command) => Operation::Command(Command { args: to.list(command.args), ..command }),
            Self::Publish { channel, message } => {
                Operation::Publish { channel: to.bytes(channel), message: to.bytes(message) }
            }
        }
    }
}

impl Change<'_> {
    /// Returns true if the names alone do not tell which entries are meant: the keys have to be listed.
    pub fn needs_listing(&self) -> bool {
        matches!(self, Self::Patterns(_) | Self::Flush)
    }
}

impl Outcome {
    /// Returns the outcome for a key that exists or does not.
    #[inline]
    pub fn hit(exists: bool) -> Self {
        if exists { Self::Done } else { Self::Miss }
    }

    /// Returns the outcome for a value that was found or not.
    #[inline]
    pub fn found(value: Option<Value>) -> Self {
        match value {
            Some(value) => Self::Value(value),
            None => Self::Miss,
        }
    }

    /// Returns the value that was found.
    pub fn into_value(self) -> Option<Value> {
        if let Self::Value(value) = self { Some(value) } else { None }
    }

    /// Returns the outcome for a value and its version that were found or not.
    pub fn versioned(found: Option<(Value, u64)>) -> Self {
        found.map_or(Self::Miss, |(value, version)| Self::Versioned(value, version))
    }

    /// Returns the outcome for a value and its properties that were found or not.
    pub fn info(found: Option<EntryInfo>) -> Self {
        found.map_or(Self::Miss, |info| Self::Info(Box::new(info)))
    }

    /// Returns the outcome for an entry that was stored with this version; `None`: its condition does not hold.
    pub fn stored_if(version: Option<u64>) -> Self {
        version.map_or(Self::Unmet, Self::Version)
    }

    /// Returns the outcome for the time to live of a key that exists or does not.
    #[inline]
    pub fn remaining(ttl: Option<Option<Duration>>) -> Self {
        match ttl {
            Some(ttl) => Self::Remaining(ttl),
            None => Self::Miss,
        }
    }

    /// Marks a report on a key as that of a fallback.
    #[must_use]
    pub fn of_fallback(mut self) -> Self {
        if let Self::Explanation(explanation) = &mut self {
            explanation.is_fallback = true;
        }
        self
    }

    /// Returns a text as a value.
    pub fn text(text: &str) -> Self {
        Self::Value(Value::from(text.as_bytes()))
    }

    /// Returns false if the key does not exist.
    pub fn is_hit(&self) -> bool {
        !matches!(self, Self::Miss)
    }

    /// Returns the number of removed entries, if it is known.
    pub fn removed(&self) -> Removed {
        if let Self::Removed(removed) = self { *removed } else { None }
    }

    /// Returns the outcome of each of many keys, in their order.
    pub fn each(self) -> Each {
        match self {
            Self::Values(values) => Each::Values(values.into_iter()),
            Self::Stored(entries) => Each::Stored(entries.into_iter()),
            Self::Deleted(keys) => Each::Deleted(keys.into_iter()),
            _ => Each::None,
        }
    }

    /// Fails as the first of many keys that failed.
    pub fn expect_ok(self) -> Result<()> {
        self.each().try_for_each(|outcome| outcome.map(drop))
    }

    /// Returns the first failure of one of many keys that is wanted.
    pub fn find_error(&self, wanted: impl Fn(&Error) -> bool) -> Option<&Error> {
        fn find<T>(outcomes: &[Result<T>], wanted: impl Fn(&Error) -> bool) -> Option<&Error> {
            outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).find(|error| wanted(error))
        }
        match self {
            Self::Values(values) => find(values, wanted),
            Self::Stored(entries) => find(entries, wanted),
            Self::Deleted(keys) => find(keys, wanted),
            _ => None,
        }
    }
}

/// The outcomes of many keys, one after another.
pub enum Each {
    /// Those of a `GetMany`.
    Values(vec::IntoIter<Result<Option<Value>>>),
    /// Those of a `SetMany`.
    Stored(vec::IntoIter<Result<()>>),
    /// Those of a `DeleteMany`.
    Deleted(vec::IntoIter<Result<bool>>),
    /// The operation was none of these.
    None,
}

impl Iterator for Each {
    type Item = Result<Outcome>;

    fn next(&mut self) -> Option<Result<Outcome>> {
        match self {
            Self::Values(values) => values.next().map(|value| value.map(Outcome::found)),
            Self::Stored(entries) => entries.next().map(|stored| stored.map(|()| Outcome::Done)),
            Self::Deleted(keys) => keys.next().map(|existed| existed.map(Outcome::hit)),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_a_number_as_it_is_stored() {
        let add = |value: Option<&[u8]>, delta, initial| {
            Addition { key: b"k", delta, initial, ttl: None, tags: &[] }.apply(value).map_err(|error| error.kind())
        };
        assert_eq!((add(None, 2, 5), add(None, -2, 0)), (Ok(7), Ok(-2)));
        assert_eq!((add(Some(b"-7"), 2, 5), add(Some(b"0"), 0, 5)), (Ok(-5), Ok(0)));
        for refused in [&b""[..], b"-", b"+1", b"01", b"-0", b" 1", b"1 ", b"1.0", b"9223372036854775808", b"\xff"] {
            assert_eq!(add(Some(refused), 1, 0), Err(ErrorKind::Invalid), "{}", refused.escape_ascii());
        }
        assert_eq!(add(Some(b"9223372036854775807"), 1, 0), Err(ErrorKind::Invalid));
        assert_eq!(add(Some(b"-9223372036854775808"), -1, 0), Err(ErrorKind::Invalid));
        assert_eq!(add(None, i64::MIN, -1), Err(ErrorKind::Invalid));
        assert_eq!(add(Some(b"-9223372036854775808"), i64::MAX, 0), Ok(-1));
    }

    #[test]
    fn a_condition_holds_for_the_version_of_a_key() {
        let holds = |condition: SetCondition| [None, Some(1), Some(2)].map(|version| condition.holds(version));
        assert_eq!(holds(SetCondition::Absent), [true, false, false]);
        assert_eq!(holds(SetCondition::Present), [false, true, true]);
        assert_eq!(holds(SetCondition::Version(2)), [false, false, true]);
    }
}
