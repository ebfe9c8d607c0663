//! Memcached as a store: bytes under names, with the versions of tags under names of their own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::command::{Command, Condition, expiry};
use super::discovery::{Current, PresentNodes};
use super::listings::Listings;
use super::nodes::Nodes;
use super::protocol::Codec;
use super::received::{Received, What, stored, tag_version, unexpected};
use super::run::{Commands, run};
use super::{health, names, sample};
use crate::backend::health::ServerHealth;
use crate::backend::redis::{Channels, Events};
use crate::backend::remote::{
    self, Announcement, EncodedEntry, Inspected, Mark, MarkedEntry, Outbox, Outcomes, RemovedEntry, Replaceable,
    Sample, ScanScope, Slice, Store, TimedEntry, Traffic, VersionedEntry,
};
use crate::backend::{Capabilities, Missing, ScanCursor, no_events};
use crate::entry::{self, DecodeError, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::explanation::Location;
use crate::inbox::{Delivery, Feed};
use crate::message::Filter;
use crate::util::byte_strings::ByteStrings;

/// Memcached servers.
pub struct MemcachedStore {
    pub(super) current: Arc<Current>,
    listings: Listings,
    /// The servers that carry its channels; `None`: it has none.
    channels: Option<Channels>,
    /// The events that these carry.
    events: Option<Events>,
}

impl MemcachedStore {
    pub fn new(current: Arc<Current>, channels: Option<Channels>, events: Option<Events>) -> Self {
        Self { listings: Listings::new(Arc::clone(&current)), current, channels, events }
    }

    /// Returns the servers that there are now.
    pub(super) fn nodes(&self) -> PresentNodes {
        self.current.nodes()
    }

    fn channels(&self) -> Result<&Channels> {
        self.channels.as_ref().ok_or_else(without_channels)
    }

    /// Runs commands of which none may fail.
    pub(super) async fn expect_ok(&self, context: CallContext, commands: &[Command<'_>]) -> Result<()> {
        run(context, &self.current, commands).await.into_iter().try_for_each(|received| received.map(drop))
    }

    /// Returns true if marks can be read without entries, and say all: not with the binary protocol, and not with the failover,
    /// where an entry counts only with its epoch.
    fn has_marks(&self) -> bool {
        let nodes = self.nodes();
        matches!(nodes.protocol, Codec::Meta) && !nodes.has_marked_entries()
    }

    /// Runs commands, and reads the versions of tags with them.
    async fn with_versions_of(
        &self,
        context: CallContext,
        first: Vec<Command<'_>>,
        prefix: &str,
        tags: &[u64],
    ) -> (Vec<Result<Received>>, Vec<Result<Option<u64>>>) {
        let names = names::tag_versions(prefix, tags);
        let commands: Commands = first.into_iter().chain(names.iter().map(|name| Command::Peek { name })).collect();
        let mut received: Vec<_> = run(context, &self.current, &commands).await.into_iter().collect();
        let versions = received.split_off(received.len() - tags.len());
        (received, versions.into_iter().map(|received| tag_version(&received?)).collect())
    }

    /// Runs a command, and reads the versions of tags with it.
    async fn with_tag_versions(
        &self,
        context: CallContext,
        first: Command<'_>,
        prefix: &str,
        tags: &[u64],
    ) -> (Result<Received>, Vec<Result<Option<u64>>>) {
        let names = names::tag_versions(prefix, tags);
        let tag_versions_of = names.iter().map(|name| Command::Peek { name });
        let commands: Commands = std::iter::once(first).chain(tag_versions_of).collect();
        let mut received = run(context, &self.current, &commands).await.into_iter();
        let first = received.next().unwrap_or_else(|| Err(unexpected()));
        (first, received.map(|received| tag_version(&received?)).collect())
    }
}

/// Returns the versions that could be read.
fn known(versions: Vec<Result<Option<u64>>>) -> Vec<Option<u64>> {
    versions.into_iter().map(|version| version.ok().flatten()).collect()
}

/// Returns whether an entry was stored.
fn done(received: Received) -> Result<bool> {
    match received.what {
        What::Done => Ok(true),
        What::Changed => Ok(false),
        _ => Err(unexpected()),
    }
}

/// Returns whether a change was made whose condition may not have held.
pub(super) fn changed(received: Received) -> Result<bool> {
    match received.what {
        What::Done => Ok(true),
        What::Changed | What::Missing => Ok(false),
        _ => Err(unexpected()),
    }
}

/// Returns what was read just before it was removed; both commands have to be done.
fn removed(read: Result<Received>, deleted: Result<Received>) -> Result<Option<RemovedEntry>> {
    // The error of the delete first: it says whether the delete may have been executed.
    let deleted = deleted?;
    let bytes = stored(read?)?;
    Ok(if matches!(deleted.what, What::Done) { bytes.map(|bytes| (bytes, None)) } else { None })
}

fn set<'a>(nodes: &Nodes, entry: &'a EncodedEntry) -> Command<'a> {
    let EncodedEntry { name, bytes, ttl, condition, .. } = entry;
    let condition = match condition {
        remote::Condition::Always => Condition::Always,
        remote::Condition::Absent => Condition::Absent,
        remote::Condition::Unchanged(mark) => Condition::Unchanged(mark.as_number()),
    };
    Command::Set { name, bytes, flags: 0, expiry: expiry(*ttl, nodes.now_ms(name)), condition }
}

impl Store for MemcachedStore {
    const NAME: &'static str = "memcached";
    const DEADLINES: bool = true;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: self.listings.listing_error().is_none(),
            count: false,
            shared: true,
            size: false,
            compare: self.nodes().all.iter().all(|node| node.info.keeps_versions()),
            command: false,
            publish: self.channels.is_some(),
            near: false,
            events: self.events.is_some(),
        }
    }

    fn is_one_server(&self) -> bool {
        let nodes = self.nodes();
        nodes.all.len() == 1 && nodes.era == 0
    }

    fn server(&self) -> String {
        self.nodes().name()
    }

    fn entry_name(&self, prefix: &str, key: &[u8]) -> (Vec<u8>, bool) {
        names::entry(prefix, key)
    }

    fn write_entry_name(&self, out: &mut Vec<u8>, prefix: &str, key: &[u8]) {
        _ = names::write_entry(out, prefix, key);
    }

    fn key_of<'a>(&self, prefix: &str, name: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        names::key(prefix, name).map(Cow::Borrowed)
    }

    fn is_ready(&self) -> bool {
        self.current.is_known() && self.nodes().all.iter().all(|node| node.info.are_known())
    }

    async fn make_ready<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Vec<Result<()>> {
        match self.current.known(context).await {
            Ok(nodes) => nodes.make_ready(context, names).await,
            Err(error) => names.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn now_ms(&self, name: &[u8]) -> u64 {
        self.nodes().now_ms(name)
    }

    fn now_s(&self, name: &[u8]) -> u64 {
        self.nodes().now_ms(name) / 1000
    }

    fn age_clock_ms(&self, name: &[u8]) -> u64 {
        self.nodes().now_ms(name)
    }

    fn check_size(&self, name: &[u8], bytes: usize) -> Result<()> {
        self.nodes().check_item(name, bytes)
    }

    async fn read<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        let commands: Commands = names.iter().map(|name| Command::Get { name }).collect();
        let received = run(context, &self.current, &commands).await;
        received.into_iter().map(|received| stored(received?)).collect()
    }

    async fn read_with_time<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> (Outcomes<TimedEntry>, Vec<Option<u64>>) {
        let has_marks = self.has_marks();
        let get = |name| if has_marks { Command::GetMarked { name } } else { Command::Get { name } };
        let gets = names.iter().copied().map(get).collect();
        let (entries, versions) = self.with_versions_of(context, gets, prefix, tags).await;
        let timed = |received: Result<Received>| {
            let received = received?;
            let mark = received.version().filter(|_| has_marks).map(Mark::number);
            Ok(TimedEntry { stored: stored(received)?, left: None, mark })
        };
        (entries.into_iter().map(timed).collect(), known(versions))
    }

    fn connects(&self) -> u64 {
        let nodes = self.nodes();
        let connects: u64 = nodes.all.iter().map(|node| node.server.connects()).sum();
        (u64::from(nodes.era) << 32).wrapping_add(connects)
    }

    async fn read_marks<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> (Outcomes<Option<Mark>>, Vec<Option<u64>>) {
        let marks = names.iter().map(|name| Command::Mark { name }).collect();
        let (marks, versions) = self.with_versions_of(context, marks, prefix, tags).await;
        (marks.into_iter().map(|received| Ok(received?.version().map(Mark::number))).collect(), known(versions))
    }

    fn decode_head<'a>(name: &[u8], stored: &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError> {
        entry::decode(name, stored)
    }

    async fn read_headers<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        // No part of a value can be had.
        self.read(context, names).await
    }

    async fn inspect<'a>(&'a self, context: CallContext, name: &'a [u8]) -> Result<Inspected> {
        let received = self.only(context, Command::Inspect { name }).await?;
        let (stored, flags) = match received.what {
            What::Value { bytes, flags, .. } => (Some(bytes), flags),
            What::Missing => (None, 0),
            _ => return Err(unexpected()),
        };
        let is_outdated =
            self.nodes().has_marked_entries() && stored.is_some() && (received.epoch == 0 || flags != received.epoch);
        Ok(Inspected { stored, is_outdated, left: None })
    }

    fn location(&self, name: &[u8]) -> Location {
        let nodes = self.nodes();
        let owner = nodes.owner(name).map(|owner| nodes.all[owner.node].server.name().to_owned());
        Location { server: owner.unwrap_or_else(|| nodes.name()), ..Location::default() }
    }

    async fn write<'a>(
        &'a self,
        context: CallContext,
        _prefix: &'a str,
        entries: &'a [EncodedEntry],
    ) -> Outcomes<bool> {
        let nodes = self.nodes();
        let commands: Commands = entries.iter().map(|entry| set(&nodes, entry)).collect();
        let received = run(context, &self.current, &commands).await;
        received.into_iter().map(|received| done(received?)).collect()
    }

    async fn remove<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
        _told: Option<Announcement>,
    ) -> Outcomes<Option<RemovedEntry>> {
        let commands: Commands =
            names.iter().flat_map(|name| [Command::Get { name }, Command::Delete { name }]).collect();
        let mut received = run(context, &self.current, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        names.iter().map(|_| removed(next(), next())).collect()
    }

    async fn expire<'a>(&'a self, context: CallContext, name: &'a [u8], ttl: Option<Duration>) -> Result<bool> {
        self.expire(context, name, ttl).await
    }

    async fn remaining<'a>(
        &'a self,
        context: CallContext,
        names: &'a [&'a [u8]],
    ) -> Vec<Result<Option<Option<Duration>>>> {
        self.remaining(context, names).await
    }

    async fn tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        missing: Missing,
    ) -> Vec<Result<Option<u64>>> {
        self.read_tag_versions(context, prefix, tags, missing.is_created()).await
    }

    async fn read_with_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        names: &'a [&'a [u8]],
        tags: &'a [u64],
    ) -> (Outcomes<Option<Slice>>, Vec<Result<Option<u64>>>) {
        let gets = names.iter().map(|name| Command::Get { name }).collect();
        let (entries, versions) = self.with_versions_of(context, gets, prefix, tags).await;
        (entries.into_iter().map(|received| stored(received?)).collect(), versions)
    }

    async fn read_with_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> Result<VersionedEntry> {
        let (entry, versions) = self.with_tag_versions(context, Command::Get { name }, prefix, tags).await;
        // The entry is guessed to have the tags. An error counts only if it has: then the version is read again.
        Ok((stored(entry?)?, known(versions)))
    }

    async fn write_with_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        entry: &'a EncodedEntry,
        tags: &'a [u64],
    ) -> Result<Vec<Option<u64>>> {
        let (written, versions) = self.with_tag_versions(context, set(&self.nodes(), entry), prefix, tags).await;
        done(written?)?;
        versions.into_iter().collect()
    }

    async fn read_marked<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> Result<MarkedEntry> {
        let (entry, versions) = self.with_tag_versions(context, Command::GetMarked { name }, prefix, tags).await;
        let versions = versions.into_iter().collect::<Result<_>>()?;
        match entry?.what {
            What::Value { version: 0, .. } => Err(without_versions(&self.nodes().name())),
            What::Value { bytes, version, .. } => Ok((Some((bytes, Mark::number(version))), versions)),
            What::Missing => Ok((None, versions)),
            _ => Err(unexpected()),
        }
    }

    async fn mark_of<'a>(&'a self, context: CallContext, name: &'a [u8]) -> Result<Option<Mark>> {
        match self.only(context, Command::Mark { name }).await?.what {
            What::Value { version: 0, .. } | What::Missing => Ok(None),
            What::Value { version, .. } => Ok(Some(Mark::number(version))),
            _ => Err(unexpected()),
        }
    }

    async fn write_if<'a>(&'a self, context: CallContext, _prefix: &'a str, entry: &'a EncodedEntry) -> Result<bool> {
        changed(self.only(context, set(&self.nodes(), entry)).await?)
    }

    async fn remove_if<'a>(&'a self, context: CallContext, name: &'a [u8], mark: Mark) -> Result<bool> {
        changed(self.only(context, Command::DeleteIf { name, version: mark.as_number() }).await?)
    }

    async fn expire_if<'a>(
        &'a self,
        context: CallContext,
        name: &'a [u8],
        stored: &'a [u8],
        mark: Mark,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.expire_checked(context, name, stored, mark.as_number(), ttl).await
    }

    async fn replace_tag_versions<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tags: &'a [u64],
        _told: Option<Announcement>,
    ) -> Result<()> {
        self.replace_tag_versions(context, prefix, tags).await
    }

    fn barriers_name(&self, prefix: &str, tag: u64, version: u64) -> Vec<u8> {
        names::barriers(prefix, tag, version)
    }

    async fn forget_barriers<'a>(&'a self, context: CallContext, name: &'a [u8]) -> Result<()> {
        self.only(context, Command::Delete { name }).await.map(drop)
    }

    async fn version_to_replace<'a>(
        &'a self,
        context: CallContext,
        prefix: &'a str,
        tag: u64,
    ) -> Result<Option<Replaceable>> {
        self.replaceable(context, &names::tag_version(prefix, tag)).await
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
        self.check_size(&list.name, list.bytes.len())?;
        let written = self.write(context, prefix, std::slice::from_ref(list)).await;
        if !written.into_iter().next().unwrap_or_else(|| Err(unexpected()))? {
            return Err(Error::new(ErrorKind::Server, "the server did not store the list of the barriers"));
        }
        let (name, text) = (names::tag_version(prefix, tag), replaceable.number.to_string());
        let condition = Condition::Unchanged(replaceable.mark);
        let set = Command::Set { name: &name, bytes: text.as_bytes(), flags: 0, expiry: 0, condition };
        // After an error it may be replaced: the list stays.
        let is_replaced = changed(self.only(context, set).await?)?;
        if let Some(over) = if is_replaced { before } else { Some(&list.name[..]) }
            && let Err(error) = self.forget_barriers(context, over).await
        {
            tracing::debug!("a list of barriers stays for its time: {error}");
        }
        Ok(is_replaced)
    }

    async fn scan<'a>(
        &'a self,
        context: CallContext,
        _prefix: &'a str,
        scope: ScanScope<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> Result<(ByteStrings, Option<ScanCursor>)> {
        self.listings.page(context, scope, from, limit).await
    }

    async fn unlink<'a>(&'a self, context: CallContext, names: &'a [&'a [u8]]) -> Result<()> {
        let commands: Vec<Command> = names.iter().map(|name| Command::Delete { name }).collect();
        self.expect_ok(context, &commands).await
    }

    async fn sample<'a>(&'a self, context: CallContext, _prefix: &'a str) -> Result<Vec<Sample>> {
        let nodes = self.current.known(context).await?;
        sample::sample(context, &nodes).await
    }

    async fn ping(&self, context: CallContext) -> Result<()> {
        health::ping(context, &*self.current.known(context).await?).await
    }

    async fn details<'a>(&'a self, context: CallContext, _prefix: &'a str) -> Result<Vec<ServerHealth>> {
        Ok(health::report(context, &*self.current.known(context).await?).await)
    }

    fn traffic(&self) -> Traffic {
        self.current.traffic()
    }

    async fn publish<'a>(&'a self, context: CallContext, channel: &'a [u8], message: &'a [u8]) -> Result<Option<u64>> {
        self.channels()?.publish(context, channel, message).await
    }

    fn subscribe(&self, filter: &Arc<Filter>, delivery: Delivery, handle: &Handle) -> Result<Feed> {
        Ok(self.channels()?.subscribe(filter, delivery, handle))
    }

    fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.events.as_ref().map(Events::outbox)
    }

    fn listen(&self, delivery: Delivery, handle: &Handle) -> Result<Feed> {
        self.events.as_ref().ok_or_else(|| no_events(Self::NAME))?.listen(delivery, handle)
    }

    async fn connected(&self, context: CallContext) -> Result<()> {
        self.current.known(context).await?.connected().await?;
        if let Some(channels) = &self.channels {
            channels.connected().await?;
        }
        match &self.events {
            Some(events) => events.connected(context).await,
            None => Ok(()),
        }
    }

    async fn close(&self, context: CallContext, deadline: Instant) {
        self.listings.close();
        self.current.close(context, deadline).await;
        if let Some(events) = &self.events {
            events.close(context, deadline).await;
        }
        if let Some(channels) = &self.channels {
            channels.close(context, deadline).await;
        }
    }
}

#[cold]
fn without_channels() -> Error {
    let text = "Memcached has no channels: name a server that carries them with the option `events: redis://...`";
    Error::new(ErrorKind::Unsupported, text)
}

#[cold]
pub(super) fn without_versions(server: &str) -> Error {
    let text = format!(
        "{server}: the server keeps no versions of its items, which conditional writes, counters and barriers need: start it without -C"
    );
    Error::new(ErrorKind::Unsupported, text)
}
