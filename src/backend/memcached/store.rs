//! Memcached as a store: bytes under names, with the versions of tags under names of their own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{Command, Condition, expiry};
use super::fleet::Fleet;
use super::listings::Listings;
use super::received::{Received, What, stamp, stored, unexpected};
use super::run::{Commands, run};
use super::{health, names, sample};
use crate::backend::health::ServerHealth;
use crate::backend::remote::{EncodedEntry, Missing, Outcomes, Part, Sample, Slice, Store, VersionedEntry};
use crate::backend::{Capabilities, ScanCursor};
use crate::entry::{self, DecodeError, Entry};
use crate::error::Result;
use crate::util::byte_strings::ByteStrings;

/// Memcached servers.
pub struct MemcachedStore {
    pub(super) fleet: Arc<Fleet>,
    listings: Listings,
}

impl MemcachedStore {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self { listings: Listings::new(Arc::clone(&fleet)), fleet }
    }

    /// Runs commands of which none may fail.
    pub(super) async fn all_done(&self, commands: &[Command<'_>]) -> Result<()> {
        run(&self.fleet, commands).await.into_iter().try_for_each(|received| received.map(drop))
    }

    /// Runs a command, and reads the stamps of tags with it.
    async fn with_stamps(
        &self,
        first: Command<'_>,
        prefix: &str,
        tags: &[u64],
    ) -> (Result<Received>, Result<Vec<Option<u64>>>) {
        let names = names::stamps(prefix, tags);
        let stamps_of = names.iter().map(|name| Command::Peek { name });
        let commands: Commands = std::iter::once(first).chain(stamps_of).collect();
        let mut received = run(&self.fleet, &commands).await.into_iter();
        let first = received.next().unwrap_or_else(|| Err(unexpected()));
        (first, received.map(|received| stamp(&received?)).collect())
    }
}

/// Returns whether an entry was stored.
fn done(received: Received) -> Result<bool> {
    match received.what {
        What::Done => Ok(true),
        What::Changed => Ok(false),
        _ => Err(unexpected()),
    }
}

/// Returns what was read just before it was removed; both commands have to be done.
fn removed(read: Result<Received>, deleted: Result<Received>) -> Result<Option<Slice>> {
    let bytes = stored(read?)?;
    Ok(if matches!(deleted?.what, What::Done) { bytes } else { None })
}

fn set<'a>(fleet: &Fleet, entry: &'a EncodedEntry) -> Command<'a> {
    let EncodedEntry { name, bytes, ttl, only_if_absent, .. } = entry;
    let condition = if *only_if_absent { Condition::Absent } else { Condition::Always };
    Command::Set { name, bytes, flags: 0, expiry: expiry(*ttl, fleet.now_ms(name)), condition }
}

impl Store for MemcachedStore {
    const NAME: &'static str = "memcached";
    const DEADLINES: bool = true;

    fn capabilities(&self) -> Capabilities {
        Capabilities { list: self.listings.refusal().is_none(), count: false, shared: true, size: false }
    }

    fn is_one_server(&self) -> bool {
        self.fleet.members.len() == 1
    }

    fn server(&self) -> String {
        self.fleet.name()
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
        self.fleet.members.iter().all(|member| member.info.are_known())
    }

    async fn make_ready<'a>(&'a self, names: &'a [&'a [u8]]) -> Vec<Result<()>> {
        self.fleet.make_ready(names).await
    }

    fn now_ms(&self, name: &[u8]) -> u64 {
        self.fleet.now_ms(name)
    }

    fn check_size(&self, name: &[u8], bytes: usize) -> Result<()> {
        self.fleet.check_item(name, bytes)
    }

    async fn read<'a>(&'a self, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        let commands: Commands = names.iter().map(|name| Command::Get { name }).collect();
        let received = run(&self.fleet, &commands).await;
        received.into_iter().map(|received| stored(received?)).collect()
    }

    fn decode_head<'a>(name: &[u8], stored: &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError> {
        entry::decode(name, stored)
    }

    async fn heads<'a>(&'a self, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        // No part of a value can be had.
        self.read(names).await
    }

    async fn write<'a>(&'a self, _prefix: &'a str, entries: &'a [EncodedEntry]) -> Outcomes<bool> {
        let commands: Commands = entries.iter().map(|entry| set(&self.fleet, entry)).collect();
        let received = run(&self.fleet, &commands).await;
        received.into_iter().map(|received| done(received?)).collect()
    }

    async fn remove<'a>(&'a self, names: &'a [&'a [u8]]) -> Outcomes<Option<Slice>> {
        let commands: Commands =
            names.iter().flat_map(|name| [Command::Get { name }, Command::Delete { name }]).collect();
        let mut received = run(&self.fleet, &commands).await.into_iter();
        let mut next = || received.next().unwrap_or_else(|| Err(unexpected()));
        names.iter().map(|_| removed(next(), next())).collect()
    }

    async fn expire<'a>(&'a self, name: &'a [u8], ttl: Option<Duration>) -> Result<bool> {
        self.expire(name, ttl).await
    }

    async fn remaining<'a>(&'a self, names: &'a [&'a [u8]]) -> Vec<Result<Option<Option<Duration>>>> {
        self.remaining(names).await
    }

    async fn stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64], missing: Missing) -> Result<Vec<Option<u64>>> {
        self.read_stamps(prefix, tags, missing.is_created()).await.into_iter().collect()
    }

    async fn each_stamp<'a>(&'a self, prefix: &'a str, tags: &'a [u64], missing: Missing) -> Vec<Result<Option<u64>>> {
        self.read_stamps(prefix, tags, missing.is_created()).await
    }

    async fn read_with_stamps<'a>(
        &'a self,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
    ) -> Result<VersionedEntry> {
        let (entry, stamps) = self.with_stamps(Command::Get { name }, prefix, tags).await;
        let stamps = stamps?;
        Ok((stored(entry?)?, stamps))
    }

    async fn write_with_stamps<'a>(
        &'a self,
        prefix: &'a str,
        entry: &'a EncodedEntry,
        tags: &'a [u64],
    ) -> Result<Vec<Option<u64>>> {
        let (written, stamps) = self.with_stamps(set(&self.fleet, entry), prefix, tags).await;
        done(written?)?;
        stamps
    }

    async fn replace_stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64]) -> Result<()> {
        self.replace_stamps(prefix, tags).await
    }

    async fn scan<'a>(
        &'a self,
        _prefix: &'a str,
        part: Part<'a>,
        from: ScanCursor,
        limit: usize,
    ) -> Result<(ByteStrings, Option<ScanCursor>)> {
        self.listings.page(part, from, limit).await
    }

    async fn unlink<'a>(&'a self, names: &'a [&'a [u8]]) -> Result<()> {
        let commands: Vec<Command> = names.iter().map(|name| Command::Delete { name }).collect();
        self.all_done(&commands).await
    }

    async fn sample<'a>(&'a self, _prefix: &'a str) -> Result<Vec<Sample>> {
        sample::sample(&self.fleet).await
    }

    async fn ping(&self) -> Result<()> {
        health::ping(&self.fleet).await
    }

    async fn details<'a>(&'a self, _prefix: &'a str) -> Result<Vec<ServerHealth>> {
        Ok(health::report(&self.fleet).await)
    }

    fn in_flight(&self) -> u64 {
        self.fleet.members.iter().map(|member| member.server.in_flight()).sum()
    }

    fn reconnects(&self) -> u64 {
        self.fleet.members.iter().map(|member| member.server.reconnects()).sum()
    }

    fn oversized(&self) -> u64 {
        self.fleet.members.iter().map(|member| member.server.oversized()).sum()
    }

    async fn connected(&self) -> Result<()> {
        self.fleet.connected().await
    }

    async fn close(&self, deadline: Instant) {
        self.listings.close();
        self.fleet.close(deadline).await;
    }
}
