//! The interface of a shared store: bytes under names, numbers for tags.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{Announcement, Outbox, Outcomes, Replaceable, Sample, Slice};
use crate::backend::health::ServerHealth;
use crate::backend::{Capabilities, Missing, ScanCursor, no_channels, no_commands, no_events};
use crate::command::{Command, Reply};
use crate::entry::{self, DecodeError, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::explanation::Location;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::net::Server;
use crate::operation::Change as ChangedEntries;
use crate::util::byte_strings::ByteStrings;

/// The bytes that are stored under a name, and the versions of tags.
pub type VersionedEntry = (Option<Slice>, Vec<Option<u64>>);

/// The bytes that are stored under a name, and the time that the name had left before they were read.
#[derive(Default)]
pub struct TimedEntry {
    /// `None` if nothing is stored.
    pub stored: Option<Slice>,
    /// `None` if it is not known, or if entries have their deadline.
    pub left: Option<Option<Duration>>,
    /// The mark by which the entry is known, where that costs less than to read the entry.
    pub mark: Option<Mark>,
}

/// An entry in its stored form.
#[derive(Debug, Clone)]
pub struct EncodedEntry {
    /// The stored name.
    pub name: Vec<u8>,
    /// The stored form.
    pub bytes: Vec<u8>,
    /// The expiry in the store.
    pub ttl: Option<Duration>,
    /// The hashes of its tags.
    pub tags: Vec<u64>,
    /// The one of them that all entries of its generation have; `None` if it has none. No index lists it.
    pub generation: Option<u64>,
    /// The condition for storing it.
    pub condition: Condition,
    /// True if the name keeps the expiry that it has in the store.
    pub keeps_expiry: bool,
    /// The time in ms by which that expiry moves; only where entries do not contain their deadline.
    pub moves_ms: i64,
    /// Tag versions that have to last longer than they are known to, for this entry and for those stored with it.
    pub lasting: Vec<Lasting>,
}

/// The condition for storing an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is stored under the name.
    Always,
    /// Nothing is stored under the name.
    Absent,
    /// The bytes of this mark are stored under the name.
    Unchanged(Mark),
}

/// Identifies the bytes that are stored under a name: a number of the store, or the last of the bytes, which are the
/// checksum of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    bytes: [u8; Self::LEN],
    len: usize,
}

impl Mark {
    const LEN: usize = size_of::<u64>();

    /// Returns the mark of a number.
    pub fn number(number: u64) -> Self {
        Self { bytes: number.to_be_bytes(), len: Self::LEN }
    }

    /// Returns the number of a mark.
    pub fn as_number(&self) -> u64 {
        u64::from_be_bytes(self.bytes)
    }

    /// Returns the mark of stored bytes: the last of them, or all if they are few.
    pub fn end_of(stored: &[u8]) -> Self {
        let end = &stored[stored.len().saturating_sub(Self::LEN)..];
        let mut bytes = [0; Self::LEN];
        bytes[..end.len()].copy_from_slice(end);
        Self { bytes, len: end.len() }
    }

    /// Returns the last bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An addition to a counter in place.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The number that is added.
    pub delta: i64,
    /// The value of a counter that does not exist yet; `None`: it is not created.
    pub first: Option<i64>,
    /// The time to live of a counter that does not exist yet.
    pub ttl: Option<Duration>,
    /// The version that the counter gets.
    pub nonce: u64,
}

/// The bytes that are stored under a name with their mark, and the versions of tags.
pub type MarkedEntry = (Option<(Slice, Mark)>, Vec<Option<u64>>);

/// A part of the bytes under a name, by which they are known again: it is another one after each set and each change of
/// the time to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// The stored name.
    pub name: Vec<u8>,
    /// The first or the last of the bytes.
    pub bytes: Vec<u8>,
    /// True for the last bytes.
    pub is_end: bool,
}

/// The time that a name has left while certain bytes are stored under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLeft {
    /// Nothing is stored any more.
    Gone,
    /// Other bytes are stored.
    Changed,
    /// The bytes are still there, for this time; `None`: for ever.
    Left(Option<Duration>),
}

/// An entry that was removed: at least its header, and the time that its name had left, where the entry does not have
/// its deadline.
pub type RemovedEntry = (Slice, Option<Duration>);

/// The bytes that are stored under a name, for a report on its key.
pub struct Inspected {
    /// `None` if nothing is stored. A value of another type has no bytes.
    pub stored: Option<Slice>,
    /// True if an entry there does not count, because its server has left the ring or returned to it since.
    pub is_outdated: bool,
    /// The time that the name has left, if the store says how long it keeps names; `None`: it stays.
    pub left: Option<Duration>,
}

/// A tag whose version must not expire before the entries that carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting {
    /// The hash of the tag.
    pub tag: u64,
    /// The longest time to live of these entries; `None` if one never expires.
    pub ttl: Option<Duration>,
}

/// The names that a store keeps of the entries of tags, and perhaps of others.
#[derive(Debug, Default)]
pub struct Indexed {
    /// The tag, the name, and the mark by which the store knows this note; sorted by tag.
    pub notes: Vec<(u64, Vec<u8>, u64)>,
    /// True if each tag had an index that could be read and that no server evicts. Asked for by a count alone.
    pub is_whole: bool,
}

/// A removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal<'a> {
    /// Everything of the prefix.
    All,
    /// Entries with these tags.
    Tags(&'a [u64]),
    /// The entries of these names.
    Names(&'a [&'a [u8]]),
}

/// The scope of the names of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanScope<'a> {
    /// Those of entries whose keys begin with these bytes, and perhaps others.
    Entries(&'a [u8]),
    /// All: entries, tag versions, whatever else the prefix has.
    All,
}

/// Requests and connections of servers in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests in flight.
    pub in_flight: u64,
    /// Open connections.
    pub connections: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// Stored values that were too large to be entries, and were not read.
    pub oversized: u64,
}

impl Traffic {
    /// Adds up the numbers of servers.
    pub fn of<'a>(servers: impl Iterator<Item = &'a Server>) -> Self {
        servers.fold(Self::default(), |sum, server| Self {
            in_flight: sum.in_flight + server.in_flight(),
            connections: sum.connections + server.open(),
            reconnects: sum.reconnects + server.reconnects(),
            oversized: sum.oversized + server.oversized(),
        })
    }
}

/// A shared store. Names are whole stored names; each has one owner among the
/// servers. A name whose server fails gets an error, the others their answer.
pub trait Store: Send + Sync + 'static {
    /// Returns the name for users.
    const NAME: &'static str;
    /// Returns true if entries contain their deadline because the clock of the store is too coarse.
    const DEADLINES: bool;
    /// True if tag versions expire, and have to be prolonged to outlive the entries that carry them.
    const VERSIONS_EXPIRE: bool = false;
    /// True if the store adds to counters in place: those without tags have a stored form of their own.
    const ADDS_IN_PLACE: bool = false;

    /// Returns the number of times that a server was replaced or restarted. What was known of its data before may be
    /// wrong.
    fn changes(&self) -> u64 {
        0
    }
    /// Returns true once a server has taken the place of another that may have had more.
    fn was_replaced(&self) -> bool {
        false
    }
    /// Returns the capabilities.
    fn capabilities(&self) -> Capabilities;
    /// Returns true if all names are on one server.
    fn is_one_server(&self) -> bool;
    /// The server, or servers, for messages.
    fn server(&self) -> String;
    /// Returns the topology of the servers, as far as it is known now.
    fn topology(&self) -> Option<&'static str> {
        None
    }
    /// The name an entry is stored under, and whether the key has to be kept in the entry.
    fn entry_name(&self, prefix: &str, key: &[u8]) -> (Vec<u8>, bool);
    /// Appends the name that an entry is stored under.
    fn write_entry_name(&self, out: &mut Vec<u8>, prefix: &str, key: &[u8]);
    /// The key in a name that was listed, or `None` if the entry has it.
    fn key_of<'a>(&self, prefix: &str, name: &'a [u8]) -> Option<std::borrow::Cow<'a, [u8]>>;

    /// Returns whether every server has reported what an entry depends on: the server's limits and its clock.
    fn is_ready(&self) -> bool {
        true
    }
    /// Waits until the servers of these names have reported that; an error for each name whose server did not.
    fn make_ready<'a>(
        &'a self,
        _context: CallContext,
        names: &'a [&'a [u8]],
    ) -> impl Future<Output = Vec<Result<()>>> + Send {
        async { names.iter().map(|_| Ok(())).collect() }
    }
    /// The time in ms since 1970 that all processes agree on for a name.
    fn now_ms(&self, _name: &[u8]) -> u64 {
        crate::util::clock::unix_millis()
    }
    /// The time in seconds since 1970 from which the age of an entry counts.
    fn now_s(&self, _name: &[u8]) -> u64 {
        crate::util::clock::coarse_wall_seconds()
    }
    /// The time in ms since 1970 up to which the age of an entry counts.
    fn age_clock_ms(&self, _name: &[u8]) -> u64 {
        crate::util::clock::wall_millis()
    }
    /// Refuses an entry that its server would refuse, before anything is sent.
    fn check_size(&self, _name: &[u8], _bytes: usize) -> Result<()> {
        Ok(())
    }

    /// Reads the bytes that are stored under each name.
    fn read<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
    ) -> impl Future<Output = Outcomes<Option<Slice>>> + Send;
    /// Reads the bytes that are stored under each name from its primary, and where entries do not have their deadline the
    /// time that the name had left before; then the versions of tags.
    fn read_with_time<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> impl Future<Output = (Outcomes<TimedEntry>, Vec<Option<u64>>)> + Send;
    /// Returns a number that changes before anything is read from a server that has restarted: marks of before and after say
    /// nothing about each other.
    fn connects(&self) -> u64 {
        0
    }
    /// Reads the marks of names without what is stored, and the versions of tags; only where `read_with_time` returns marks.
    fn read_marks<'a>(
        &'a self,
        _context: CallContext,
        _prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> impl Future<Output = (Outcomes<Option<Mark>>, Vec<Option<u64>>)> + Send {
        async { (names.iter().map(|_| Ok(None)).collect(), tags.iter().map(|_| None).collect()) }
    }
    /// Returns the number of times that a server sent a request elsewhere. What was read there is not followed by what tells
    /// of changes.
    fn redirections(&self) -> u64 {
        0
    }
    /// Reads what `read_headers` and `remove` hand on. Bytes that are damaged are no entry, wherever that can be seen.
    fn decode_head<'a>(name: &[u8], stored: &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError> {
        entry::head(name, stored)
    }
    /// Reads at least the header of what is stored under each name; where that can be had, without a use that counts for
    /// eviction.
    fn read_headers<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
    ) -> impl Future<Output = Outcomes<Option<Slice>>> + Send;
    /// Reads what is stored under a name, from its primary; where that can be had, without a use that counts for eviction.
    fn inspect<'a>(&'a self, context: CallContext, name: &'a [u8]) -> impl Future<Output = Result<Inspected>> + Send;
    /// Returns the server of a name as far as it is known now.
    fn location(&self, name: &[u8]) -> Location;
    /// Stores entries; returns whether each was stored.
    fn write<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        entries: &'a [EncodedEntry],
    ) -> impl Future<Output = Outcomes<bool>> + Send;
    /// Removes names; returns what was there. `told` is to be sent with that, or dropped when it is done.
    fn remove<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
        told: Option<Announcement>,
    ) -> impl Future<Output = Outcomes<Option<RemovedEntry>>> + Send;
    /// Gives a name another time to live; whether it was there.
    fn expire<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        ttl: Option<Duration>,
    ) -> impl Future<Output = Result<bool>> + Send;
    /// Returns the remaining time of each existing name. `Some(None)`: it never expires.
    fn remaining<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
    ) -> impl Future<Output = Vec<Result<Option<Option<Duration>>>>> + Send;
    /// Returns the remaining time of each name while these bytes are stored under it. Used where entries do not contain
    /// their deadline: a name that was set after its bytes were read would have the time of another entry.
    fn time_left<'a>(
        &'a self,
        _context: CallContext,
        parts: &'a [StoredPart],
    ) -> impl Future<Output = Vec<Result<TimeLeft>>> + Send {
        async { parts.iter().map(|_| Ok(TimeLeft::Changed)).collect() }
    }

    /// Runs a command of the caller's choice.
    fn command<'a>(
        &'a self,
        _context: CallContext,
        _command: Command<'a>,
    ) -> impl Future<Output = Result<Reply>> + Send {
        async { Err(no_commands(Self::NAME)) }
    }

    /// Sends a message to the subscribers of a channel; returns their number, if it is known.
    fn publish<'a>(
        &'a self,
        _context: CallContext,
        _channel: &'a [u8],
        _message: &'a [u8],
    ) -> impl Future<Output = Result<Option<u64>>> + Send {
        async { Err(no_channels(Self::NAME)) }
    }

    /// Tells the near caches of other processes of a change that was made, where the servers do not.
    fn tell(&self, _context: CallContext, _change: &ChangedEntries<'_>) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Subscribes in a task of the runtime until the feed is dropped.
    fn subscribe(&self, _filter: &Arc<Filter>, _delivery: Delivery, _handle: &Handle) -> Result<Feed> {
        Err(no_channels(Self::NAME))
    }

    /// Returns the events that wait to be sent; `None`: there are no events.
    fn outbox(&self) -> Option<&Arc<Outbox>> {
        None
    }

    /// Delivers events in a task of the runtime until the feed is dropped.
    fn listen(&self, _delivery: Delivery, _handle: &Handle) -> Result<Feed> {
        Err(no_events(Self::NAME))
    }

    /// Reads the version of each tag, and handles those that are missing. A server that fails takes only the tag versions
    /// that it has.
    fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        missing: Missing,
    ) -> impl Future<Output = Vec<Result<Option<u64>>>> + Send;
    /// Reads what is stored under many names, and the versions of tags: in one request where that can be.
    fn read_with_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> impl Future<Output = (Outcomes<Option<Slice>>, Vec<Result<Option<u64>>>)> + Send;
    /// Reads what is stored under a name, and the versions of tags, in one request.
    fn read_with_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> impl Future<Output = Result<VersionedEntry>> + Send;
    /// Stores an entry, and reads the versions of tags, in one request.
    fn write_with_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        entry: &'a EncodedEntry,
        tags: &'a [u64],
    ) -> impl Future<Output = Result<Vec<Option<u64>>>> + Send;
    /// Reads what is stored under a name with its mark, and the versions of tags, in one request to primaries.
    fn read_marked<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> impl Future<Output = Result<MarkedEntry>> + Send;
    /// Reads at least the header of what is stored under a name with its mark, and the versions of tags, in one request to
    /// primaries. `None`: the header may be that of other bytes than the mark.
    fn read_marked_head<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> impl Future<Output = Result<Option<MarkedEntry>>> + Send {
        async move { self.read_marked(context, prefix, name, tags).await.map(Some) }
    }
    /// Returns the mark of what is stored under a name, also of bytes that are too large to be read; `None` if nothing is
    /// stored, or if the store cannot tell.
    fn mark_of<'a>(&'a self, context: CallContext, name: &'a [u8])
    -> impl Future<Output = Result<Option<Mark>>> + Send;
    /// Stores an entry if its condition holds; returns whether it was stored. Is never repeated: the error of a lost
    /// reply is in doubt.
    fn write_if<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        entry: &'a EncodedEntry,
    ) -> impl Future<Output = Result<bool>> + Send;
    /// Removes a name if the bytes of this mark are stored; returns whether it was removed. Is never repeated.
    fn remove_if<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        mark: Mark,
    ) -> impl Future<Output = Result<bool>> + Send;
    /// Removes the entry of this mark, which no get returns: it is no removal that has to be repeated. Returns whether it was
    /// stored.
    fn reclaim<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        mark: Mark,
    ) -> impl Future<Output = Result<bool>> + Send {
        self.remove_if(context, name, mark)
    }
    /// Gives a name another time to live if these bytes, of this mark, are stored; returns whether they were.
    fn expire_if<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        stored: &'a [u8],
        mark: Mark,
        ttl: Option<Duration>,
    ) -> impl Future<Output = Result<bool>> + Send;
    /// Adds to a counter in the stored form of one, in one request. `None`: nothing was changed, and the counter has to be
    /// read. Is never repeated.
    fn add_in_place<'a>(
        &'a self,
        _context: CallContext,
        _name: &'a [u8],
        _change: &'a Change,
    ) -> impl Future<Output = Result<Option<i64>>> + Send {
        async { Ok(None) }
    }
    /// Reads what is stored under a name and gives it another time to live, in one request. `None`: nothing was changed,
    /// and the entry has to be read.
    fn expire_in_place<'a>(
        &'a self,
        _context: CallContext,
        _name: &'a [u8],
        _ttl: Option<Duration>,
    ) -> impl Future<Output = Result<Option<Option<Slice>>>> + Send {
        async { Ok(None) }
    }
    /// Makes the versions of tags last, where the store would let them expire earlier.
    fn prolong<'a>(
        &'a self,
        _context: CallContext,
        _prefix: &'a str,
        _lasting: &'a [Lasting],
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Gives tags new versions, never used before. `told` is to be sent with that, or dropped when it is done.
    fn replace_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        told: Option<Announcement>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The name that the list of the barriers is stored under which came with a version of a tag.
    fn barriers_name(&self, prefix: &str, tag: u64, version: u64) -> Vec<u8>;
    /// Removes a list whose version was replaced: soon, since reads that are under way may need it.
    fn forget_barriers<'a>(&'a self, context: CallContext, name: &'a [u8]) -> impl Future<Output = Result<()>> + Send;
    /// Reads the version of a tag for `replace_version`; `None`: it has none.
    fn version_to_replace<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tag: u64,
    ) -> impl Future<Output = Result<Option<Replaceable>>> + Send;
    /// Stores a list, and gives a tag the next version, which is kept as long as the one before, at least. Then the list of
    /// the version before is removed, if it has a name. Returns false if the tag has another version by now: then the new
    /// list is not kept.
    fn replace_version<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tag: u64,
        replaceable: &'a Replaceable,
        list: &'a EncodedEntry,
        before: Option<&'a [u8]>,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Returns the names that a store keeps of each tag's entries; `None`: it keeps none. Tags are sorted. `count` asks
    /// whether the names are complete.
    fn indexed<'a>(
        &'a self,
        _context: CallContext,
        _prefix: &'a str,
        _tags: &'a [u64],
        _count: bool,
    ) -> impl Future<Output = Result<Option<Indexed>>> + Send {
        async { Ok(None) }
    }
    /// Removes from the indexes the names of entries that are about to be removed, sorted, and what was read of others.
    fn forget<'a>(
        &'a self,
        _context: CallContext,
        _prefix: &'a str,
        _indexed: &'a Indexed,
        _removed: &'a [&'a [u8]],
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Returns whether a removal is done only when replicas have it: `confirm` has to be called then.
    fn waits_for_replicas(&self) -> bool {
        false
    }
    /// Waits until enough replicas have what was removed; tasks run on the handle.
    fn confirm<'a>(
        &'a self,
        _context: CallContext,
        _prefix: &'a str,
        _removal: Removal<'a>,
        _handle: &'a Handle,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Returns about `limit` names from a position on, and the next position.
    fn scan<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        scope: ScanScope<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> impl Future<Output = Result<(ByteStrings, Option<ScanCursor>)>> + Send;
    /// Removes names of any kind.
    fn unlink<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> impl Future<Output = Result<()>> + Send;

    /// Names of entries on each server: all if they are few.
    fn sample<'a>(&'a self, context: CallContext, prefix: &'a str) -> impl Future<Output = Result<Vec<Sample>>> + Send;
    /// Checks that every server replies.
    fn ping(&self, context: CallContext) -> impl Future<Output = Result<()>> + Send;
    /// Returns the health of each server; see `RollCall`.
    fn details<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
    ) -> impl Future<Output = Result<Vec<ServerHealth>>> + Send;
    /// Returns the requests and connections of all servers in numbers.
    fn traffic(&self) -> Traffic;
    /// Waits until it is connected, or tells why it is not.
    fn connected(&self, context: CallContext) -> impl Future<Output = Result<()>> + Send;
    /// Ends its connections; what is under way has until the deadline.
    fn close(&self, context: CallContext, deadline: Instant) -> impl Future<Output = ()> + Send;
}

/// A store broke its promise to answer for each name.
#[cold]
pub fn no_answer() -> Error {
    Error::new(ErrorKind::Protocol, "fewer replies than requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_number_or_the_last_bytes() {
        assert_eq!(Mark::number(7).as_number(), 7);
        assert_eq!(Mark::end_of(b"0123456789").as_bytes(), b"23456789");
        assert_eq!((Mark::end_of(b"").as_bytes(), Mark::end_of(b"abc").as_bytes()), (&b""[..], &b"abc"[..]));
        assert_ne!(Mark::end_of(b"a"), Mark::end_of(b"a\0"));
    }
}
