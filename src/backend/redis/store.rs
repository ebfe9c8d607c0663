//! Redis as a store: bytes under names with GET and SET, with the versions of tags under names of their own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join;
use tokio::runtime::Handle;

use super::channels::Channels;
use super::commands::{Commands, Kind};
use super::events::Events;
use super::expiry::{KnownWay, millis};
use super::notices::Notices;
use super::record::Record;
use super::replay::{REPLACED_LASTS, parse};
use super::resp::{RespReader, RespValue};
use super::run::{Policy, Received, run, unexpected};
use super::scripts::ScriptSupport;
use super::topology::Topology;
use super::{health, names, scan, server_error, walk};
use crate::backend::health::ServerHealth;
use crate::backend::remote::{
    Announcement, Change, Condition, EncodedEntry, Indexed, Inspected, Lasting, Mark, MarkedEntry, Outbox, Outcomes,
    Removal, RemovedEntry, Replaceable, Sample, ScanScope, Slice, Store, StoredPart, TimeLeft, TimedEntry, Traffic,
    VersionedEntry, first_lifetime,
};
use crate::backend::{Capabilities, Missing, ScanCursor, no_events};
use crate::command::{Command, Reply};
use crate::config::RedisConfig;
use crate::entry::{self, DecodeError, Entry, MAX_KEYLESS_HEADER};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::explanation::Location;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::operation::Change as ChangedEntries;
use crate::util::byte_strings::ByteStrings;
use crate::util::clock;
use crate::util::random::random;

/// The most names one MGET has: one command must not hold the server up.
const MGET: usize = 1000;

/// The most attempts at a removal during which a server is replaced: it may be lost before it is noted for a replay.
const REPEATS: usize = 8;

/// The time for which a list of barriers that was replaced can still be read.
pub(super) const READ_LATE: Duration = Duration::from_secs(10);

/// The reply to PTTL for a name that does not exist.
const GONE: i64 = -2;

/// Redis, wherever it is.
pub struct RedisStore {
    pub(super) topology: Arc<Topology>,
    channels: Channels,
    pub(super) tag_index: bool,
    policy: Policy,
    connect_timeout: Duration,
    pub(super) way: KnownWay,
    pub(super) invalidation_replicas: u32,
    /// The deadline of a call.
    pub(super) timeout: Duration,
    /// The recent removals.
    pub(super) record: Arc<Record>,
    pub(super) scripts: Arc<ScriptSupport>,
    /// The notices of a near cache; `None` without one.
    notices: Option<Arc<Notices>>,
    /// The events; `None` without them.
    events: Option<Events>,
}

impl RedisStore {
    pub fn new(
        topology: Arc<Topology>,
        config: &RedisConfig,
        channels: Channels,
        record: Arc<Record>,
        scripts: Arc<ScriptSupport>,
        notices: Option<Arc<Notices>>,
        events: Option<Events>,
    ) -> Self {
        let connection = &config.connection;
        let policy = Policy { repeat: connection.retry_on_timeout, limit: connection.timeout };
        Self {
            topology,
            channels,
            tag_index: config.tag_index,
            policy,
            connect_timeout: connection.connect_timeout,
            way: KnownWay::default(),
            invalidation_replicas: config.invalidation_replicas,
            timeout: connection.timeout,
            record,
            scripts,
            notices,
            events,
        }
    }

    pub(super) fn commands(&self, kind: Kind) -> Commands {
        Commands::new(kind, self.topology.may_be_cluster())
    }

    /// Adds the commands that send the events of a change, if they are sent together. Returns what is left to be settled.
    fn push_events(&self, commands: &mut Commands, told: Option<Announcement>) -> Option<Sent> {
        let (events, mut announcement) = self.events.as_ref().zip(told)?;
        let are_with = events.accompany();
        if are_with {
            events.push(commands, announcement.numbered());
        }
        Some(Sent { announcement, are_with })
    }

    pub(super) async fn run(&self, context: CallContext, commands: &Commands) -> Outcomes<Received> {
        run(context, &self.topology, commands, self.policy).await
    }

    /// Returns whether a SET stored its entry: it answers nothing where NX kept it from that.
    pub(super) fn stored(&self, entry: &EncodedEntry, received: Result<Received>) -> Result<bool> {
        let stored = matches!(received?, Received::Done);
        if stored {
            self.record.saw_set(entry);
        }
        Ok(stored)
    }

    /// Reads what is stored under a name, and the versions of tags.
    async fn with_tag_versions(
        &self,
        context: CallContext,
        prefix: &str,
        name: &[u8],
        tags: &[u64],
    ) -> (Result<Option<Slice>>, Vec<Result<Option<u64>>>) {
        let mut commands = self.commands(Kind::Repeatable);
        commands.push(name, &[b"GET", name]);
        push_tag_versions(&mut commands, prefix, tags);
        let mut received = self.run(context, &commands).await.into_iter();
        let stored = received.next().unwrap_or_else(|| Err(unexpected())).map(Received::string);
        (stored, received.map(tag_version).collect())
    }

    /// Runs commands that are answered with a string, one for each name.
    async fn strings(&self, context: CallContext, commands: &Commands) -> Outcomes<Option<Slice>> {
        let received = self.run(context, commands).await;
        received.into_iter().map(|received| received.map(Received::string)).collect()
    }

    /// Reads the values of names, by GET or MGET.
    async fn values(&self, context: CallContext, names: &[&[u8]], kind: Kind) -> Outcomes<Option<Slice>> {
        let mut commands = self.commands(kind);
        if names.len() == 1 || self.topology.may_be_cluster() {
            names.iter().for_each(|name| commands.push(name, &[b"GET", name]));
            return self.strings(context, &commands).await;
        }
        push_mget(&mut commands, names);
        let mut arrays = self.run(context, &commands).await.into_iter();
        self.elements(context, &mut arrays, names, kind).await
    }

    /// Returns the values in the replies to the commands of `push_mget`.
    async fn elements(
        &self,
        context: CallContext,
        arrays: &mut impl Iterator<Item = Result<Received>>,
        names: &[&[u8]],
        kind: Kind,
    ) -> Outcomes<Option<Slice>> {
        let mut values = Outcomes::with_capacity(names.len());
        for chunk in names.chunks(MGET) {
            match arrays.next().unwrap_or_else(|| Err(unexpected())) {
                Ok(array) => self.push_elements(&mut values, &array, chunk.len()),
                Err(error) if error.is_reply_too_long() => {
                    values.extend(Box::pin(self.one_by_one(context, chunk, kind)).await)
                }
                Err(error) => values.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        values
    }

    /// Reads values that are too long together for one reply: with a reply for each.
    async fn one_by_one(&self, context: CallContext, names: &[&[u8]], kind: Kind) -> Outcomes<Option<Slice>> {
        let mut commands = self.commands(kind);
        names.iter().for_each(|name| commands.push(name, &[b"GET", name]));
        self.strings(context, &commands).await
    }

    /// Adds the elements of an array, which has to have one for each name.
    fn push_elements(&self, values: &mut Outcomes<Option<Slice>>, array: &Received, names: usize) {
        let Received::Array(array) = array else { return values.extend((0..names).map(|_| Err(unexpected()))) };
        let mut elements = RespReader(array);
        let mut is_whole = elements.next() == Some(RespValue::Array(names as u64));
        for _ in 0..names {
            values.push(match elements.next().filter(|_| is_whole) {
                Some(RespValue::Bulk(value)) => Ok(value.map(|value| array.slice(value))),
                // From a proxy: MGET itself has none for a single name.
                Some(RespValue::Error(text)) => Err(server_error::error(&self.topology.name(), text)),
                _ => {
                    is_whole = false;
                    Err(unexpected())
                }
            });
        }
        if !is_whole {
            array.reject();
        }
    }
}

/// The announcement of a change whose commands are run. It is dropped, and sent, after them unless it was sent with them.
struct Sent {
    announcement: Announcement,
    are_with: bool,
}

impl Sent {
    /// Settles the announcement if the replies to its commands say that it was sent.
    fn settle(self, commands: &Commands, replies: &mut impl Iterator<Item = Result<Received>>) {
        if self.were_sent(commands, replies) {
            self.announcement.settle();
        }
    }

    /// Returns true if the events were sent with the change, and after it.
    fn were_sent(&self, commands: &Commands, replies: &mut impl Iterator<Item = Result<Received>>) -> bool {
        let mut replies = replies.peekable();
        // Otherwise the events may have come before the change, or to a server that was replaced.
        let is_in_order = self.are_with && !commands.is_reordered();
        is_in_order && replies.peek().is_some() && replies.all(|reply| reply.is_ok())
    }
}

#[cold]
fn replaced(servers: &str) -> Error {
    let text = format!("{servers}: the server was replaced {REPEATS} times during the removal; repeat the call");
    Error::new(ErrorKind::Busy, text)
}

impl Store for RedisStore {
    const NAME: &'static str = "redis";
    const DEADLINES: bool = false;
    const VERSIONS_EXPIRE: bool = true;
    const ADDS_IN_PLACE: bool = true;

    fn waits_for_replicas(&self) -> bool {
        self.invalidation_replicas > 0
    }

    async fn confirm<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        removal: Removal<'a>,
        handle: &'a Handle,
    ) -> Result<()> {
        Box::pin(self.wait_for_replicas(context, prefix, removal, handle)).await
    }

    fn changes(&self) -> u64 {
        self.record.changes()
    }

    fn was_replaced(&self) -> bool {
        self.record.has_repeated()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            count: self.tag_index,
            shared: true,
            size: false,
            compare: !self.scripts.is_refused(),
            command: true,
            publish: true,
            near: false,
            events: self.events.is_some(),
        }
    }

    fn is_one_server(&self) -> bool {
        !self.topology.may_be_cluster()
    }

    fn server(&self) -> String {
        self.topology.name()
    }

    fn topology(&self) -> Option<&'static str> {
        Some(self.topology.topology())
    }

    fn entry_name(&self, prefix: &str, key: &[u8]) -> (Vec<u8>, bool) {
        (names::entry(prefix, key), false)
    }

    fn write_entry_name(&self, out: &mut Vec<u8>, prefix: &str, key: &[u8]) {
        names::write_entry(out, prefix, key);
    }

    fn key_of<'a>(&self, prefix: &str, name: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        names::key(prefix, name).map(Cow::Borrowed)
    }

    async fn read<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        self.values(context, names, Kind::Read).await
    }

    async fn read_with_time<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> (Outcomes<TimedEntry>, Vec<Option<u64>>) {
        let mut commands = self.commands(Kind::Repeatable);
        for name in names {
            commands.push(name, &[b"PTTL", name]);
            commands.push(name, &[b"GET", name]);
        }
        push_tag_versions(&mut commands, prefix, tags);
        let mut received = self.run(context, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        let mut entries: Outcomes<TimedEntry> = names.iter().map(|_| timed(next(), next())).collect();
        if commands.is_reordered() {
            entries.iter_mut().flatten().for_each(|entry| entry.left = None);
        }
        (entries, received.map(|version| tag_version(version).ok().flatten()).collect())
    }

    fn redirections(&self) -> u64 {
        self.topology.redirections()
    }

    fn decode_head<'a>(name: &[u8], stored: &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError> {
        // Fewer bytes than were asked for are all there are.
        if stored.len() < MAX_KEYLESS_HEADER { entry::decode(name, stored) } else { entry::head(name, stored) }
    }

    async fn read_headers<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        let mut commands = self.commands(Kind::Read);
        names.iter().for_each(|name| push_head(&mut commands, name));
        let headers = self.strings(context, &commands).await;
        headers.into_iter().map(|head| head.map(not_empty)).collect()
    }

    async fn inspect<'a>(&'a self, context: CallContext, name: &'a [u8]) -> Result<Inspected> {
        // From the primary, which knows the time that is left.
        let mut commands = self.commands(Kind::Repeatable);
        commands.push(name, &[b"GET", name]);
        commands.push(name, &[b"PTTL", name]);
        let mut received = self.run(context, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        let (stored, left) = (next()?.string(), next()?.number()?);
        Ok(Inspected {
            stored: stored.filter(|_| left != GONE),
            is_outdated: false,
            left: u64::try_from(left).ok().map(|left| clock::left(Duration::from_millis(left))),
        })
    }

    fn location(&self, name: &[u8]) -> Location {
        let slot = names::slot(name);
        let server = self.topology.owner(slot, false);
        Location {
            server: server.map_or_else(|| self.topology.name(), |server| server.name().to_owned()),
            topology: Some(self.topology.topology()),
            slot: self.topology.is_cluster().then_some(slot),
        }
    }

    async fn write<'a>(&'a self, context: CallContext, prefix: &'a str, entries: &'a [EncodedEntry]) -> Outcomes<bool> {
        let mut commands = self.commands(Kind::Repeatable);
        entries.iter().for_each(|entry| push_set(&mut commands, entry));
        if self.tag_index || entries.iter().any(|entry| !entry.lasting.is_empty()) {
            // Boxed, as what else is rare: a caller may have a small stack.
            return Box::pin(self.write_with_more(context, commands, prefix, entries)).await;
        }
        let written = self.run(context, &commands).await;
        entries.iter().zip(written).map(|(entry, received)| self.stored(entry, received)).collect()
    }

    async fn remove<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
        told: Option<Announcement>,
    ) -> Outcomes<Option<RemovedEntry>> {
        let mut commands = self.commands(Kind::Once);
        for name in names {
            commands.push(name, &[b"PTTL", name]);
            push_head(&mut commands, name);
            commands.push(name, &[b"UNLINK", name]);
        }
        let sent = self.push_events(&mut commands, told);
        let mut received = self.run(context, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        let headers: Outcomes<Option<RemovedEntry>> = names.iter().map(|_| removed(next(), next(), next())).collect();
        sent.into_iter().for_each(|sent| sent.settle(&commands, &mut received));
        let removed: Vec<&[u8]> =
            names.iter().zip(&headers).filter(|(_, head)| head.is_ok()).map(|(name, _)| *name).collect();
        // Noted when it is done: a replay on the connection that this waits for would remove what is to be counted, and
        // a removal that the server refused must not be made up for later.
        self.record.note_names(&removed);
        headers
    }

    async fn expire<'a>(&'a self, context: CallContext, name: &'a [u8], ttl: Option<Duration>) -> Result<bool> {
        let mut commands = self.commands(Kind::Repeatable);
        match ttl {
            Some(ttl) => commands.push(name, &[b"PEXPIRE", name, millis(ttl).as_bytes()]),
            None => {
                commands.push(name, &[b"PERSIST", name]);
                // Reports whether the name is there, also if it never expired before.
                commands.push(name, &[b"PTTL", name]);
            }
        }
        let received = self.run(context, &commands).await;
        let numbers: Vec<i64> = received.into_iter().map(|it| it?.number()).collect::<Result<_>>()?;
        Ok(numbers.first() == Some(&1) || numbers.get(1).is_some_and(|left| *left != -2))
    }

    async fn remaining<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
    ) -> Vec<Result<Option<Option<Duration>>>> {
        let mut commands = self.commands(Kind::Repeatable);
        names.iter().for_each(|name| commands.push(name, &[b"PTTL", name]));
        let received = self.run(context, &commands).await;
        received.into_iter().map(|received| received?.number().and_then(remaining)).collect()
    }

    /// Asks for the time before the bytes: no other bytes had it if they are the same afterwards.
    async fn time_left<'a>(&'a self, context: CallContext, parts: &'a [StoredPart]) -> Vec<Result<TimeLeft>> {
        let mut commands = self.commands(Kind::Repeatable);
        for StoredPart { name, bytes, is_end } in parts {
            let (first, last) = match is_end {
                true => (format!("-{}", bytes.len()), "-1".to_owned()),
                false => ("0".to_owned(), bytes.len().saturating_sub(1).to_string()),
            };
            commands.push(name, &[b"PTTL", name]);
            commands.push(name, &[b"GETRANGE", name, first.as_bytes(), last.as_bytes()]);
        }
        let mut received = self.run(context, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        let of = |part: &StoredPart| time_left(next(), next(), &part.bytes);
        let left: Vec<Result<TimeLeft>> = parts.iter().map(of).collect();
        if commands.is_reordered() { left.into_iter().map(|it| it.map(|_| TimeLeft::Changed)).collect() } else { left }
    }

    async fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        missing: Missing,
    ) -> Vec<Result<Option<u64>>> {
        let mut versions = self.read_tag_versions(context, prefix, tags).await;
        if let Missing::Created(ttl) = missing {
            let lifetime = first_lifetime(ttl).map(millis);
            self.set_missing(context, prefix, tags, &mut versions, lifetime.as_deref(), true).await;
            // Bytes under a tag version's name that are no tag version give way to one.
            self.set_missing(context, prefix, tags, &mut versions, lifetime.as_deref(), false).await;
        }
        versions
    }

    async fn prolong<'a>(&'a self, context: CallContext, prefix: &'a str, lasting: &'a [Lasting]) -> Result<()> {
        Box::pin(self.prolong_all(context, prefix, lasting)).await
    }

    async fn read_with_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> (Outcomes<Option<Slice>>, Vec<Result<Option<u64>>>) {
        // Versions are read from the primary, entries perhaps elsewhere.
        if self.topology.only_server().is_none() || self.topology.may_be_cluster() {
            return join(self.read(context, names), self.tag_versions(context, prefix, tags, Missing::Stays)).await;
        }
        let mut commands = self.commands(Kind::Repeatable);
        push_mget(&mut commands, names);
        push_tag_versions(&mut commands, prefix, tags);
        let mut received = self.run(context, &commands).await.into_iter();
        let values = self.elements(context, &mut received, names, Kind::Repeatable).await;
        (values, received.map(tag_version).collect())
    }

    async fn read_with_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> Result<VersionedEntry> {
        let (stored, versions) = self.with_tag_versions(context, prefix, name, tags).await;
        // The entry is guessed to have the tags. An error counts only if it has: then the version is read again.
        Ok((stored?, versions.into_iter().map(|version| version.ok().flatten()).collect()))
    }

    async fn write_with_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        entry: &'a EncodedEntry,
        tags: &'a [u64],
    ) -> Result<Vec<Option<u64>>> {
        let mut commands = self.commands(Kind::Repeatable);
        push_set(&mut commands, entry);
        push_tag_versions(&mut commands, prefix, tags);
        let written = std::slice::from_ref(entry);
        let has_more = self.tag_index || !entry.lasting.is_empty();
        let accompanying = has_more.then(|| self.push_accompanying(&mut commands, prefix, written));
        let mut received = self.run(context, &commands).await.into_iter();
        let stored = received.next().unwrap_or_else(|| Err(unexpected()));
        let stored = self.stored(entry, stored);
        let versions = take_stamps(&mut received, tags.len());
        if let Some(accompanying) = accompanying {
            let failed = Box::pin(self.finish_accompanying(context, prefix, written, accompanying, received)).await;
            failed.into_iter().flatten().next().map_or(Ok(()), Err)?;
        }
        stored.and(versions)
    }

    async fn command<'a>(&'a self, context: CallContext, command: Command<'a>) -> Result<Reply> {
        self.run_command(context, command).await
    }

    async fn publish<'a>(&'a self, context: CallContext, channel: &'a [u8], message: &'a [u8]) -> Result<Option<u64>> {
        self.channels.publish(context, channel, message).await
    }

    async fn tell(&self, context: CallContext, change: &ChangedEntries<'_>) {
        if let Some(notices) = &self.notices {
            notices.publish(context, change).await;
        }
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery, handle: &Handle) -> Result<Feed> {
        Ok(self.channels.subscribe(filter, delivery, handle))
    }

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.events.as_ref().map(Events::outbox)
    }

    fn listen(&self, delivery: Delivery, handle: &Handle) -> Result<Feed> {
        self.events.as_ref().ok_or_else(|| no_events(Self::NAME))?.listen(delivery, handle)
    }

    async fn read_marked<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> Result<MarkedEntry> {
        let (stored, versions) = self.with_tag_versions(context, prefix, name, tags).await;
        let versions = versions.into_iter().collect::<Result<_>>()?;
        Ok((stored?.map(|bytes| (bytes.clone(), Mark::end_of(&bytes))), versions))
    }

    /// Asks for the mark before the header: if the bytes change between the two, the mark is that of no stored bytes.
    async fn read_marked_head<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> Result<Option<MarkedEntry>> {
        let mut commands = self.commands(Kind::Repeatable);
        commands.push(name, &[b"GETRANGE", name, b"-8", b"-1"]);
        push_head(&mut commands, name);
        push_tag_versions(&mut commands, prefix, tags);
        let mut received = self.run(context, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected())).map(Received::string);
        let (end, head) = (next(), next());
        let versions = received.map(tag_version).collect::<Result<_>>()?;
        let (end, head) = (not_empty(end?), not_empty(head?));
        let stored = end.zip(head).map(|(end, head)| (head, Mark::end_of(&end)));
        Ok((!commands.is_reordered()).then_some((stored, versions)))
    }

    async fn mark_of<'a>(&'a self, context: CallContext, name: &'a [u8]) -> Result<Option<Mark>> {
        let mut commands = self.commands(Kind::Repeatable);
        commands.push(name, &[b"GETRANGE", name, b"-8", b"-1"]);
        let end = self.strings(context, &commands).await.into_iter().next().unwrap_or_else(|| Err(unexpected()))?;
        Ok(not_empty(end).map(|end| Mark::end_of(&end)))
    }

    async fn write_if<'a>(&'a self, context: CallContext, prefix: &'a str, entry: &'a EncodedEntry) -> Result<bool> {
        self.write_checked(context, prefix, entry).await
    }

    async fn remove_if<'a>(&'a self, context: CallContext, name: &'a [u8], mark: Mark) -> Result<bool> {
        self.remove_checked(context, name, mark).await
    }

    async fn reclaim<'a>(&'a self, context: CallContext, name: &'a [u8], mark: Mark) -> Result<bool> {
        self.expire_checked(context, name, mark, Some(Duration::from_millis(1))).await
    }

    async fn expire_if<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        _stored: &'a [u8],
        mark: Mark,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.expire_checked(context, name, mark, ttl).await
    }

    async fn add_in_place<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        change: &'a Change,
    ) -> Result<Option<i64>> {
        self.add(context, name, change).await
    }

    async fn expire_in_place<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        ttl: Option<Duration>,
    ) -> Result<Option<Option<Slice>>> {
        self.touch(context, name, ttl).await
    }

    async fn replace_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        mut told: Option<Announcement>,
    ) -> Result<()> {
        // The events of a removal that is repeated wait for its end.
        let mut unsettled = None;
        for _ in 0..REPEATS {
            let (changes, mut versions) = (self.record.changes(), Vec::with_capacity(tags.len()));
            let mut commands = self.commands(Kind::Repeatable);
            for tag in tags {
                let name = names::tag_version(prefix, *tag);
                versions.push(commands.push_with_version(&name, &[b"SET", &name], &[b"PX", REPLACED_LASTS])?);
            }
            let sent = self.push_events(&mut commands, told.take());
            let mut received = self.run(context, &commands).await.into_iter();
            let replaced = received.by_ref().take(tags.len()).try_for_each(|received| received.map(drop));
            let were_sent = sent.as_ref().is_some_and(|sent| sent.were_sent(&commands, &mut received));
            unsettled = unsettled.or(sent);
            replaced?;
            // A repeated attempt sends another version. A replay then replaces it once more, which costs misses alone.
            tags.iter().zip(versions).for_each(|(tag, version)| self.record.note_tag(*tag, version));
            if self.record.changes() == changes {
                if were_sent {
                    unsettled.into_iter().for_each(|sent| sent.announcement.settle());
                }
                return Ok(());
            }
        }
        Err(replaced(&self.topology.name()))
    }

    fn barriers_name(&self, prefix: &str, tag: u64, version: u64) -> Vec<u8> {
        names::barriers(prefix, tag, version)
    }

    async fn forget_barriers<'a>(&'a self, context: CallContext, name: &'a [u8]) -> Result<()> {
        self.expire(context, name, Some(READ_LATE)).await.map(drop)
    }

    async fn version_to_replace<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tag: u64,
    ) -> Result<Option<Replaceable>> {
        let name = names::tag_version(prefix, tag);
        let mut commands = self.commands(Kind::Repeatable);
        // In this order the time is at least that of the version that is read.
        commands.push(&name, &[b"GET", &name]);
        commands.push(&name, &[b"PTTL", &name]);
        let mut received = self.run(context, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        let (version, left) = (tag_version(next())?, remaining(next()?.number()?)?);
        let (Some(version), Some(left)) = (version, left) else { return Ok(None) };
        let next = random()?;
        Ok(Some(Replaceable { version, next, left, mark: version, number: next }))
    }

    async fn replace_version<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tag: u64,
        replaceable: &'a Replaceable,
        list: &'a EncodedEntry,
        before: Option<&'a [u8]>,
    ) -> Result<bool> {
        let name = names::tag_version(prefix, tag);
        let is_replaced = self.replace_checked(context, &name, replaceable, list, before).await?;
        if is_replaced {
            self.record.note_tag(tag, replaceable.next);
        }
        Ok(is_replaced)
    }

    async fn indexed<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        count: bool,
    ) -> Result<Option<Indexed>> {
        if !self.tag_index {
            return Ok(None);
        }
        let mut indexed = self.indexed(context, prefix, tags).await?;
        indexed.is_whole = count && indexed.is_whole && health::evicts_nothing(context, &self.topology).await?;
        Ok(Some(indexed))
    }

    async fn forget<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        indexed: &'a Indexed,
        removed: &'a [&'a [u8]],
    ) -> Result<()> {
        self.forget(context, prefix, indexed, removed).await
    }

    async fn scan<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        scope: ScanScope<'a>,
        from: ScanCursor,
        _limit: usize,
    ) -> Result<(ByteStrings, Option<ScanCursor>)> {
        walk::page(context, &self.topology, prefix, scope, from).await
    }

    async fn unlink<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Result<()> {
        let names: Vec<&[u8]> = names.iter().copied().filter(|name| !names::is_kept(name)).collect();
        let mut commands = self.commands(Kind::Repeatable);
        // A flush does not make a server one that restarted.
        names.iter().filter(|name| !names::is_marker(name)).for_each(|name| commands.push(name, &[b"UNLINK", name]));
        for _ in 0..REPEATS {
            let changes = self.record.changes();
            self.expect_ok(context, &commands).await?;
            self.record.note_names(&names);
            if self.record.changes() == changes {
                return Ok(());
            }
        }
        Err(replaced(&self.topology.name()))
    }

    async fn sample<'a>(&'a self, context: CallContext, prefix: &'a str) -> Result<Vec<Sample>> {
        scan::sample(context, &self.topology, self.policy, prefix).await
    }

    async fn ping(&self, context: CallContext) -> Result<()> {
        health::ping(context, &self.topology).await
    }

    async fn details<'a>(&'a self, context: CallContext, prefix: &'a str) -> Result<Vec<ServerHealth>> {
        health::report(context, &self.topology, prefix).await
    }

    fn traffic(&self) -> Traffic {
        Traffic::of(self.topology.servers().iter().map(|server| &**server))
    }

    /// A server that is in a state that passes, as one that loads its data, is waited for while there is time to connect.
    async fn connected(&self, context: CallContext) -> Result<()> {
        let mut backoff = Backoff::until(context, Instant::now() + self.connect_timeout);
        loop {
            match self.topology.connected().await {
                Err(error) if error.is_passing() && backoff.pause().await => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        match &self.events {
            Some(events) => events.connected(context).await,
            None => Ok(()),
        }
    }

    async fn close(&self, context: CallContext, deadline: Instant) {
        if let Some(events) = &self.events {
            events.close(context, deadline).await;
        }
        self.topology.close(context, deadline).await;
    }
}

impl RedisStore {
    /// Stores entries with the commands that accompany them.
    async fn write_with_more(
        &self,
        context: CallContext,
        mut commands: Commands,
        prefix: &str,
        entries: &[EncodedEntry],
    ) -> Outcomes<bool> {
        let accompanying = self.push_accompanying(&mut commands, prefix, entries);
        let mut received = self.run(context, &commands).await.into_iter();
        let stored: Vec<Result<bool>> =
            entries.iter().zip(received.by_ref()).map(|(entry, received)| self.stored(entry, received)).collect();
        let failures = self.finish_accompanying(context, prefix, entries, accompanying, received).await;
        let both =
            |(outcome, failure): (Result<bool>, Option<Error>)| outcome.and_then(|it| failure.map_or(Ok(it), Err));
        stored.into_iter().zip(failures).map(both).collect()
    }

    async fn read_tag_versions(&self, context: CallContext, prefix: &str, tags: &[u64]) -> Vec<Result<Option<u64>>> {
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| names::tag_version(prefix, *tag)).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        // Never from a replica, which may not have heard of an invalidation yet.
        let versions = self.values(context, &names, Kind::Repeatable).await;
        versions.into_iter().map(|version| version.map(|version| parse(&version?))).collect()
    }

    /// Makes the tag versions that are missing and reads them again: what another process makes meanwhile counts.
    async fn set_missing(
        &self,
        context: CallContext,
        prefix: &str,
        tags: &[u64],
        versions: &mut [Result<Option<u64>>],
        lifetime: Option<&str>,
        only_if_absent: bool,
    ) {
        let missing: Vec<usize> = (0..tags.len()).filter(|index| matches!(versions[*index], Ok(None))).collect();
        let lasts: &[&[u8]] = &lifetime.map_or_else(Vec::new, |lifetime| vec![&b"PX"[..], lifetime.as_bytes()]);
        let condition: &[&[u8]] = if only_if_absent { &[b"NX"] } else { &[] };
        let options = [lasts, condition].concat();
        let mut commands = self.commands(Kind::Repeatable);
        for index in &missing {
            let name = names::tag_version(prefix, tags[*index]);
            if let Err(error) = commands.push_with_version(&name, &[b"SET", &name], &options) {
                return missing.iter().for_each(|index| versions[*index] = Err(error.clone()));
            }
            commands.push(&name, &[b"GET", &name]);
        }
        let mut received = self.run(context, &commands).await.into_iter();
        for index in missing {
            let (Some(set), Some(read)) = (received.next(), received.next()) else { return };
            versions[index] = set.and(read).map(|read| parse(&read.string()?));
        }
    }

    /// Runs commands of which none may fail.
    pub(super) async fn expect_ok(&self, context: CallContext, commands: &Commands) -> Result<()> {
        self.run(context, commands).await.into_iter().try_for_each(|received| received.map(drop))
    }
}

/// Adds commands that read the values of names, so many with each.
fn push_mget(commands: &mut Commands, names: &[&[u8]]) {
    for chunk in names.chunks(MGET) {
        let parts: Vec<&[u8]> = [&b"MGET"[..]].into_iter().chain(chunk.iter().copied()).collect();
        commands.push(b"", &parts);
    }
}

/// Adds a look at the header of an entry.
fn push_head(commands: &mut Commands, name: &[u8]) {
    let end = const { MAX_KEYLESS_HEADER - 1 }.to_string();
    commands.push(name, &[b"GETRANGE", name, b"0", end.as_bytes()]);
}

/// Adds a look at the versions of tags.
fn push_tag_versions(commands: &mut Commands, prefix: &str, tags: &[u64]) {
    for tag in tags {
        let name = names::tag_version(prefix, *tag);
        commands.push(&name, &[b"GET", &name]);
    }
}

/// Returns the tag version that a GET received.
fn tag_version(received: Result<Received>) -> Result<Option<u64>> {
    Ok(received?.string().as_deref().and_then(parse))
}

/// Takes the replies to so many GETs of tag versions; returns these, or the first error. Those behind a failure are
/// taken too: what follows belongs to other commands.
fn take_stamps(received: &mut impl Iterator<Item = Result<Received>>, tags: usize) -> Result<Vec<Option<u64>>> {
    let versions: Vec<Result<Option<u64>>> = received.take(tags).map(tag_version).collect();
    versions.into_iter().collect()
}

/// Returns an entry that was removed; all three commands have to be done.
fn removed(left: Result<Received>, head: Result<Received>, unlinked: Result<Received>) -> Result<Option<RemovedEntry>> {
    let (left, head) = (remaining(left?.number()?)?, not_empty(head?.string()));
    Ok(if unlinked?.number()? > 0 { head.map(|head| (head, left.flatten())) } else { None })
}

/// Returns the time in a reply to PTTL.
fn remaining(left: i64) -> Result<Option<Option<Duration>>> {
    match left {
        GONE => Ok(None),
        -1 => Ok(Some(None)),
        // 0: the entry ends within this millisecond.
        left => {
            let left = u64::try_from(left).map_err(|_| unexpected())?;
            Ok(Some(Some(clock::left(Duration::from_millis(left)))))
        }
    }
}

/// Returns the time in a reply to PTTL, if the GETRANGE behind it received these bytes.
fn time_left(left: Result<Received>, part: Result<Received>, bytes: &[u8]) -> Result<TimeLeft> {
    let (left, part) = (remaining(left?.number()?)?, part?.string());
    Ok(match left {
        None => TimeLeft::Gone,
        Some(left) if part.as_deref() == Some(bytes) => TimeLeft::Left(left),
        Some(_) => TimeLeft::Changed,
    })
}

pub(super) fn push_set(commands: &mut Commands, EncodedEntry { name, bytes, ttl, condition, .. }: &EncodedEntry) {
    let condition: &[&[u8]] = if *condition == Condition::Absent { &[b"NX"] } else { &[] };
    match ttl {
        None => commands.push(name, &[&[b"SET", &name[..], bytes], condition].concat()),
        Some(ttl) => {
            let ttl = millis(*ttl);
            commands.push(name, &[&[b"SET", &name[..], bytes, b"PX", ttl.as_bytes()], condition].concat());
        }
    }
}

/// Returns an entry from the replies to PTTL and GET. The time of a name that was not there is not known.
fn timed(left: Result<Received>, stored: Result<Received>) -> Result<TimedEntry> {
    Ok(TimedEntry { left: remaining(left?.number()?)?, stored: stored?.string(), mark: None })
}

fn not_empty(bytes: Option<Slice>) -> Option<Slice> {
    bytes.filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_behind_a_version_that_failed_stay_with_their_commands() {
        let failed = Err(Error::new(ErrorKind::Connect, "the connection was lost"));
        let mut received = vec![failed, Ok(Received::Bulk(None)), Ok(Received::Number(7))].into_iter();
        assert!(take_stamps(&mut received, 2).is_err());
        assert_eq!(received.next().unwrap().unwrap().number().unwrap(), 7);
    }
}
