//! Memcached as a store: bytes under names, stamps beside them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::command::{Command, Condition, Reply};
use super::expiry::expiry;
use super::fleet::Fleet;
use super::listings::Listings;
use super::run::run;
use super::stamps::{stamp, stamp_names};
use super::{health, names, sample};
use crate::backend::remote::{EachBytes, EachDone, Missing, Pairing, Part, Parts, Sample, Store, Write};
use crate::backend::{Capabilities, Position};
use crate::byte_strings::ByteStrings;
use crate::entry::{self, DecodeError, Entry};
use crate::error::{Error, ErrorKind, Result};

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
        let mut failure = Ok(());
        let mut each = |_, reply: Result<Reply>, _| {
            if let Err(error) = reply {
                failure = Err(error);
            }
            Pairing::Right
        };
        run(&self.fleet, commands, &mut each).await;
        failure
    }

    /// A command first, and the stamps of tags with it.
    async fn with_stamps(
        &self,
        first: Command<'_>,
        prefix: &str,
        tags: &[u64],
        each_first: &mut (dyn FnMut(Result<Reply<'_>>) -> Pairing + Send),
    ) -> Result<Vec<Option<u64>>> {
        let names = stamp_names(prefix, tags);
        let stamps_of = names.iter().map(|name| Command::Peek { name });
        let commands: Vec<Command> = std::iter::once(first).chain(stamps_of).collect();
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<Reply>, guard| match index.checked_sub(1) {
            None => each_first(reply),
            Some(index) => {
                stamps[index] = reply.and_then(|reply| stamp(reply, guard));
                Pairing::Right
            }
        };
        run(&self.fleet, &commands, &mut each).await;
        stamps.into_iter().collect()
    }
}

/// The bytes of a reply to a get.
pub fn stored(reply: Reply<'_>) -> Result<Option<&[u8]>> {
    match reply {
        Reply::Value { bytes, .. } => Ok(Some(bytes)),
        Reply::Missing => Ok(None),
        _ => Err(unexpected()),
    }
}

/// Whether it was stored.
fn done(reply: Reply<'_>) -> Result<bool> {
    match reply {
        Reply::Done => Ok(true),
        Reply::Changed => Ok(false),
        _ => Err(unexpected()),
    }
}

fn set<'a>(fleet: &Fleet, entry: &'a Write) -> Command<'a> {
    let Write { name, bytes, ttl, only_if_absent, .. } = entry;
    let condition = if *only_if_absent { Condition::Absent } else { Condition::Always };
    Command::Set { name, bytes, flags: 0, expiry: expiry(*ttl, fleet.now_ms(name)), condition }
}

#[cold]
pub fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer does not fit the command")
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

    async fn read<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        let commands: Vec<Command> = names.iter().map(|name| Command::Get { name }).collect();
        run(&self.fleet, &commands, &mut |index, reply, _| each(index, reply.and_then(stored))).await;
    }

    fn decode_head<'a>(name: &[u8], stored: &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError> {
        entry::decode(name, stored)
    }

    async fn heads<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        // No part of a value can be had.
        self.read(names, each).await;
    }

    async fn write<'a>(&'a self, _prefix: &'a str, entries: &'a [Write], each: EachDone<'a>) {
        let commands: Vec<Command> = entries.iter().map(|entry| set(&self.fleet, entry)).collect();
        run(&self.fleet, &commands, &mut |index, reply, _| each(index, reply.and_then(done))).await;
    }

    async fn remove<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        // What was there is read just before it goes.
        let commands: Vec<Command> =
            names.iter().flat_map(|name| [Command::Get { name }, Command::Delete { name }]).collect();
        let mut parts = Parts::new((0..commands.len()).map(|index| index / 2).collect());
        let mut found: Vec<Option<Vec<u8>>> = vec![None; names.len()];
        let mut each_reply = |index: usize, reply: Result<Reply>, _| {
            let is_delete = index % 2 == 1;
            let is_there = match reply {
                Err(error) => Err(error),
                Ok(reply) if is_delete => Ok(reply == Reply::Done),
                Ok(reply) => stored(reply).map(|bytes| {
                    found[index / 2] = bytes.map(<[u8]>::to_vec);
                    true
                }),
            };
            let Some((name, is_there)) = parts.add(index, is_there) else { return Pairing::Right };
            let bytes = found[name].as_deref();
            each(name, is_there.map(|is_there| bytes.filter(|_| is_there)))
        };
        run(&self.fleet, &commands, &mut each_reply).await;
    }

    async fn expire<'a>(&'a self, name: &'a [u8], ttl: Option<Duration>) -> Result<bool> {
        self.change_deadline(name, ttl).await
    }

    async fn remaining<'a>(&'a self, names: &'a [&'a [u8]]) -> Vec<Result<Option<Option<Duration>>>> {
        self.time_left(names).await
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
        each: EachBytes<'a>,
    ) -> Result<Vec<Option<u64>>> {
        let mut first = |reply: Result<Reply>| each(0, reply.and_then(stored));
        self.with_stamps(Command::Get { name }, prefix, tags, &mut first).await
    }

    async fn write_with_stamps<'a>(
        &'a self,
        prefix: &'a str,
        entry: &'a Write,
        tags: &'a [u64],
    ) -> Result<Vec<Option<u64>>> {
        let mut written = Ok(());
        let mut first = |reply: Result<Reply>| {
            written = reply.and_then(done).map(drop);
            Pairing::Right
        };
        let stamps = self.with_stamps(set(&self.fleet, entry), prefix, tags, &mut first).await;
        written.and(stamps)
    }

    async fn replace_stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64]) -> Result<()> {
        self.new_stamps(prefix, tags).await
    }

    async fn scan<'a>(
        &'a self,
        _prefix: &'a str,
        part: Part<'a>,
        from: Position,
        limit: usize,
    ) -> Result<(ByteStrings, Option<Position>)> {
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

    async fn details<'a>(&'a self, _prefix: &'a str) -> Result<Vec<Json>> {
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
