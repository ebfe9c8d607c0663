//! Redis as a store: bytes under names with GET and SET, stamps beside them.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::commands::{Commands, Kind};
use super::resp::{RepliesOf, Reply};
use super::route::Route;
use super::run::run;
use super::{details, names, scan};
use crate::backend::remote::{EachBytes, EachDone, Pairing, Part, Store, Write};
use crate::backend::{Capabilities, Position, Usage};
use crate::byte_strings::ByteStrings;
use crate::clock;
use crate::config::RedisConfig;
use crate::entry::MAX_KEYLESS_HEADER;
use crate::error::{Error, ErrorKind, Result};

/// The most names one MGET has: one command must not hold the server up.
const MGET: usize = 1000;

/// Redis, wherever it is.
pub struct RedisStore {
    pub(super) route: Route,
    pub(super) tag_index: bool,
    /// Whether a command whose answer was lost or late is sent again, if that does no harm.
    repeat: bool,
}

impl RedisStore {
    pub fn new(route: Route, config: &RedisConfig) -> Self {
        Self { route, tag_index: config.tag_index, repeat: config.connection.retry_on_timeout }
    }

    pub(super) fn commands(&self, kind: Kind) -> Commands {
        Commands::new(kind, self.route.is_cluster())
    }

    pub(super) async fn run(&self, commands: &Commands, each: super::run::EachReply<'_>) {
        run(&self.route, commands, self.repeat, each).await;
    }

    /// The one reply to one command, as a number.
    async fn number(&self, kind: Kind, name: &[u8], parts: &[&[u8]]) -> Result<i64> {
        let mut commands = self.commands(kind);
        commands.push(name, parts);
        let mut number = Err(unexpected());
        let mut each = |_, reply: Result<RepliesOf>| {
            number = reply.and_then(|mut reply| match reply.next() {
                Some(Reply::Number(number)) => Ok(number),
                _ => Err(unexpected()),
            });
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        number
    }

    /// Runs commands of which each name has the same number; `each` gets the reply to the first.
    async fn firsts(&self, commands: &Commands, a_name: usize, each: EachBytes<'_>) {
        let mut each_reply = |index: usize, reply: Result<RepliesOf>| match index % a_name {
            0 => each(index / a_name, reply.map(|mut reply| reply.next().and_then(stored))),
            _ => Pairing::Right,
        };
        self.run(commands, &mut each_reply).await;
    }

    /// The values of names, by GET or MGET.
    async fn values(&self, names: &[&[u8]], kind: Kind, each: EachBytes<'_>) {
        let mut commands = self.commands(kind);
        if names.len() == 1 || self.route.is_cluster() {
            names.iter().for_each(|name| commands.push(name, &[b"GET", name]));
            return self.firsts(&commands, 1, each).await;
        }
        for chunk in names.chunks(MGET) {
            let parts: Vec<&[u8]> = [&b"MGET"[..]].into_iter().chain(chunk.iter().copied()).collect();
            commands.push(b"", &parts);
        }
        let mut each_reply = |index: usize, reply: Result<RepliesOf>| {
            let chunk = index * MGET..names.len().min((index + 1) * MGET);
            hand_out(chunk, reply, each)
        };
        self.run(&commands, &mut each_reply).await;
    }
}

/// Hands the elements of an array to their names.
fn hand_out(names: std::ops::Range<usize>, reply: Result<RepliesOf>, each: EachBytes<'_>) -> Pairing {
    let mut pairing = Pairing::Right;
    match reply {
        Err(error) => {
            for index in names {
                each(index, Err(error.clone()));
            }
        }
        Ok(mut elements) => {
            elements.next();
            for index in names {
                let value = elements.next().ok_or_else(unexpected).map(stored);
                if each(index, value) == Pairing::Wrong {
                    pairing = Pairing::Wrong;
                }
            }
        }
    }
    pairing
}

/// The bytes of a reply; what holds no string is stored, and no entry.
fn stored(reply: Reply<'_>) -> Option<&[u8]> {
    match reply {
        Reply::Error(_) => Some(b""),
        reply => reply.bytes(),
    }
}

#[cold]
fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer does not fit the command")
}

impl Store for RedisStore {
    const NAME: &'static str = "redis";
    const DEADLINES: bool = false;

    fn capabilities(&self) -> Capabilities {
        Capabilities { list: true, count: self.tag_index, shared: true, size: false }
    }

    fn is_one_server(&self) -> bool {
        !self.route.is_cluster()
    }

    fn server(&self) -> String {
        self.route.name()
    }

    fn entry_name(&self, prefix: &str, key: &[u8]) -> (Vec<u8>, bool) {
        (names::entry(prefix, key), false)
    }

    fn key_of<'a>(&self, prefix: &str, name: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        names::key(prefix, name).map(Cow::Borrowed)
    }

    async fn read<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        self.values(names, Kind::Read, each).await;
    }

    async fn heads<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        let mut commands = self.commands(Kind::Read);
        let end = (MAX_KEYLESS_HEADER - 1).to_string();
        names.iter().for_each(|name| commands.push(name, &[b"GETRANGE", name, b"0", end.as_bytes()]));
        self.firsts(&commands, 1, &mut |index, head| each(index, head.map(not_empty))).await;
    }

    async fn write<'a>(&'a self, prefix: &'a str, entries: &'a [Write], each: EachDone<'a>) {
        let mut commands = self.commands(Kind::Repeatable);
        entries.iter().for_each(|entry| push_set(&mut commands, entry));
        entries.iter().for_each(|entry| self.push_index(&mut commands, prefix, entry));
        let mut each_reply = |index: usize, reply: Result<RepliesOf>| {
            if index < entries.len() { each(index, reply.map(was_stored)) } else { Pairing::Right }
        };
        self.run(&commands, &mut each_reply).await;
    }

    async fn remove<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        let mut commands = self.commands(Kind::Once);
        let end = (MAX_KEYLESS_HEADER - 1).to_string();
        for name in names {
            commands.push(name, &[b"GETRANGE", name, b"0", end.as_bytes()]);
            commands.push(name, &[b"UNLINK", name]);
        }
        self.firsts(&commands, 2, &mut |index, head| each(index, head.map(not_empty))).await;
    }

    async fn expire<'a>(&'a self, name: &'a [u8], ttl: Option<Duration>) -> Result<bool> {
        match ttl {
            Some(ttl) => {
                let set = self.number(Kind::Repeatable, name, &[b"PEXPIRE", name, millis(ttl).as_bytes()]).await?;
                Ok(set == 1)
            }
            // 0: it had no end before either.
            None => self.number(Kind::Repeatable, name, &[b"PERSIST", name]).await.map(|_| true),
        }
    }

    async fn remaining<'a>(&'a self, names: &'a [&'a [u8]]) -> Vec<Result<Option<Option<Duration>>>> {
        let mut commands = self.commands(Kind::Repeatable);
        names.iter().for_each(|name| commands.push(name, &[b"PTTL", name]));
        let mut left: Vec<_> = names.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<RepliesOf>| {
            left[index] = reply.and_then(|mut reply| match reply.next() {
                Some(Reply::Number(-1)) => Ok(Some(None)),
                // 0: it ends within this millisecond. -2: it is not there.
                Some(Reply::Number(left)) => {
                    Ok(u64::try_from(left).ok().map(|left| Some(clock::left(Duration::from_millis(left)))))
                }
                _ => Err(unexpected()),
            });
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        left
    }

    async fn stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64], create: bool) -> Result<Vec<Option<u64>>> {
        let mut stamps = self.read_stamps(prefix, tags).await?;
        if create && stamps.contains(&None) {
            self.create_stamps(prefix, tags, &mut stamps).await?;
        }
        Ok(stamps)
    }

    async fn read_with_stamps<'a>(
        &'a self,
        prefix: &'a str,
        name: &'a [u8],
        tags: &'a [u64],
        each: EachBytes<'a>,
    ) -> Result<Vec<Option<u64>>> {
        let mut commands = self.commands(Kind::Repeatable);
        commands.push(name, &[b"GET", name]);
        let mut first = |reply: Result<RepliesOf>| each(0, reply.map(|mut reply| reply.next().and_then(stored)));
        self.with_stamps(commands, prefix, tags, None, &mut first).await
    }

    async fn write_with_stamps<'a>(
        &'a self,
        prefix: &'a str,
        entry: &'a Write,
        tags: &'a [u64],
    ) -> Result<Vec<Option<u64>>> {
        let mut commands = self.commands(Kind::Repeatable);
        push_set(&mut commands, entry);
        let mut written = Ok(());
        let mut first = |reply: Result<RepliesOf>| {
            written = reply.map(drop);
            Pairing::Right
        };
        let stamps = self.with_stamps(commands, prefix, tags, Some(entry), &mut first).await;
        written.and(stamps)
    }

    async fn replace_stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        for tag in tags {
            let name = names::stamp(prefix, *tag);
            commands.push(&name, &[b"SET", &name, new_stamp()?.to_string().as_bytes()]);
        }
        self.all_done(&commands).await
    }

    async fn indexed<'a>(&'a self, prefix: &'a str, tags: &'a [u64]) -> Result<Option<ByteStrings>> {
        if self.tag_index { self.index(prefix, tags).await.map(Some) } else { Ok(None) }
    }

    async fn index_is_whole(&self) -> Result<bool> {
        details::keeps_what_never_expires(&self.route).await
    }

    async fn forget<'a>(&'a self, prefix: &'a str, tags: &'a [u64], names: &'a [&'a [u8]]) -> Result<()> {
        self.unindex(prefix, tags, names).await
    }

    async fn scan<'a>(
        &'a self,
        prefix: &'a str,
        part: Part<'a>,
        from: Position,
        limit: usize,
    ) -> Result<(ByteStrings, Option<Position>)> {
        scan::page(self, prefix, part, from, limit).await
    }

    async fn unlink<'a>(&'a self, names: &'a [&'a [u8]]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        names.iter().for_each(|name| commands.push(name, &[b"UNLINK", name]));
        self.all_done(&commands).await
    }

    async fn usage<'a>(&'a self, prefix: &'a str) -> Result<Usage> {
        scan::usage(self, prefix).await
    }

    async fn ping(&self) -> Result<()> {
        details::ping(&self.route).await
    }

    async fn details<'a>(&'a self, prefix: &'a str) -> Result<Vec<Json>> {
        details::report(&self.route, prefix).await
    }

    fn in_flight(&self) -> u64 {
        self.route.servers().iter().map(|server| server.in_flight()).sum()
    }

    fn reconnects(&self) -> u64 {
        self.route.servers().iter().map(|server| server.reconnects()).sum()
    }

    fn oversized(&self) -> u64 {
        self.route.servers().iter().map(|server| server.oversized()).sum()
    }

    async fn connected(&self) -> Result<()> {
        self.route.connected().await
    }

    async fn close(&self, deadline: Instant) {
        self.route.close(deadline).await;
    }
}

/// Gets the reply to the command that stamps are read with.
type First<'a> = &'a mut (dyn FnMut(Result<RepliesOf<'_>>) -> Pairing + Send);

impl RedisStore {
    /// A command, and in the same write the stamps of tags.
    async fn with_stamps(
        &self,
        mut commands: Commands,
        prefix: &str,
        tags: &[u64],
        indexed: Option<&Write>,
        first: First<'_>,
    ) -> Result<Vec<Option<u64>>> {
        for tag in tags {
            let name = names::stamp(prefix, *tag);
            commands.push(&name, &[b"GET", &name]);
        }
        if let Some(entry) = indexed {
            self.push_index(&mut commands, prefix, entry);
        }
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<RepliesOf>| match index.checked_sub(1) {
            None => first(reply),
            // What is noted in an index has no answer that matters.
            Some(index) if index >= tags.len() => Pairing::Right,
            Some(index) => {
                stamps[index] = reply.map(|mut reply| reply.next().and_then(Reply::bytes).and_then(parse));
                Pairing::Right
            }
        };
        self.run(&commands, &mut each).await;
        stamps.into_iter().collect()
    }

    async fn read_stamps(&self, prefix: &str, tags: &[u64]) -> Result<Vec<Option<u64>>> {
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| names::stamp(prefix, *tag)).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, stamp: Result<Option<&[u8]>>| {
            stamps[index] = stamp.map(|stamp| stamp.and_then(parse));
            Pairing::Right
        };
        // Never from a replica, which may not have heard of an invalidation yet.
        self.values(&names, Kind::Repeatable, &mut each).await;
        stamps.into_iter().collect()
    }

    /// Makes the stamps that are missing; one that another process makes meanwhile stays.
    async fn create_stamps(&self, prefix: &str, tags: &[u64], stamps: &mut [Option<u64>]) -> Result<()> {
        let missing: Vec<usize> = (0..tags.len()).filter(|index| stamps[*index].is_none()).collect();
        let mut commands = self.commands(Kind::Repeatable);
        for index in &missing {
            let name = names::stamp(prefix, tags[*index]);
            commands.push(&name, &[b"SET", &name, new_stamp()?.to_string().as_bytes(), b"NX"]);
            commands.push(&name, &[b"GET", &name]);
        }
        let mut failure = None;
        let mut each = |index: usize, reply: Result<RepliesOf>| {
            match reply {
                Ok(mut reply) if index % 2 == 1 => {
                    stamps[missing[index / 2]] = reply.next().and_then(Reply::bytes).and_then(parse);
                }
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        match failure {
            Some(error) => Err(error),
            None => self.replace_foreign(prefix, tags, stamps).await,
        }
    }

    /// Bytes under a stamp's name that are no stamp give way to one.
    async fn replace_foreign(&self, prefix: &str, tags: &[u64], stamps: &mut [Option<u64>]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        for (tag, stamp) in tags.iter().zip(stamps).filter(|(_, stamp)| stamp.is_none()) {
            let (name, new) = (names::stamp(prefix, *tag), new_stamp()?);
            commands.push(&name, &[b"SET", &name, new.to_string().as_bytes()]);
            *stamp = Some(new);
        }
        self.all_done(&commands).await
    }

    /// Runs commands of which none may fail.
    pub(super) async fn all_done(&self, commands: &Commands) -> Result<()> {
        let mut failure = Ok(());
        let mut each = |_, reply: Result<RepliesOf>| {
            if let Err(error) = reply {
                failure = Err(error);
            }
            Pairing::Right
        };
        self.run(commands, &mut each).await;
        failure
    }
}

fn push_set(commands: &mut Commands, Write { name, bytes, ttl, only_if_absent, .. }: &Write) {
    let condition: &[&[u8]] = if *only_if_absent { &[b"NX"] } else { &[] };
    match ttl {
        None => commands.push(name, &[&[b"SET", &name[..], bytes], condition].concat()),
        Some(ttl) => {
            let ttl = millis(*ttl);
            commands.push(name, &[&[b"SET", &name[..], bytes, b"PX", ttl.as_bytes()], condition].concat());
        }
    }
}

/// A SET answers nothing where NX kept it from storing.
fn was_stored(mut reply: RepliesOf) -> bool {
    reply.next().is_some_and(|reply| reply.bytes().is_some())
}

fn not_empty(bytes: Option<&[u8]>) -> Option<&[u8]> {
    bytes.filter(|bytes| !bytes.is_empty())
}

/// At least one: a TTL of nothing would be refused.
fn millis(ttl: Duration) -> String {
    ttl.as_millis().max(1).to_string()
}

fn parse(stamp: &[u8]) -> Option<u64> {
    std::str::from_utf8(stamp).ok()?.parse().ok()
}

/// 64 random bits, so that no stamp comes back.
fn new_stamp() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::new(ErrorKind::Server, format!("this system has no random numbers: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}
