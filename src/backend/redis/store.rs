//! Redis as a store: bytes under names with GET and SET, stamps beside them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::runtime::Handle;

use super::commands::{Commands, Kind};
use super::lasting::KnownWay;
use super::record::Record;
use super::resp::{RepliesOf, Reply};
use super::run::{Policy, run};
use super::topology::Topology;
use super::{health, names, refusal, scan, walk};
use crate::backend::remote::{
    EachBytes, EachDone, Indexed, Lasting, Missing, Pairing, Part, Parts, Removal, Sample, Store, Write, first_lifetime,
};
use crate::backend::{Capabilities, Position};
use crate::backoff::Backoff;
use crate::byte_strings::ByteStrings;
use crate::clock;
use crate::config::RedisConfig;
use crate::entry::{self, DecodeError, Entry, MAX_KEYLESS_HEADER};
use crate::error::{Error, ErrorKind, Result};

/// The most names one MGET has: one command must not hold the server up.
const MGET: usize = 1000;
/// The time to live of a tag version that replaces another, in milliseconds. One hour: storing an entry with it
/// prolongs it.
pub(super) const REPLACED_LASTS: &[u8] = b"3600000";

/// The most attempts at a removal during which a server is replaced: it may be lost before it is noted for a replay.
const REPEATS: usize = 8;

/// Redis, wherever it is.
pub struct RedisStore {
    pub(super) route: Topology,
    pub(super) tag_index: bool,
    policy: Policy,
    connect_timeout: Duration,
    pub(super) way: KnownWay,
    pub(super) invalidation_replicas: u32,
    /// The deadline of a call.
    pub(super) timeout: Duration,
    /// The recent removals.
    record: Arc<Record>,
}

impl RedisStore {
    pub fn new(route: Topology, config: &RedisConfig, record: Arc<Record>) -> Self {
        let connection = &config.connection;
        Self {
            route,
            tag_index: config.tag_index,
            policy: Policy { repeat: connection.retry_on_timeout, limit: connection.timeout },
            connect_timeout: connection.connect_timeout,
            way: KnownWay::default(),
            invalidation_replicas: config.invalidation_replicas,
            timeout: connection.timeout,
            record,
        }
    }

    pub(super) fn commands(&self, kind: Kind) -> Commands {
        Commands::new(kind, self.route.may_be_cluster())
    }

    pub(super) async fn run(&self, commands: &Commands, each: super::run::EachReply<'_>) {
        run(&self.route, commands, self.policy, each).await;
    }

    /// Notes what became of an entry that was to be stored.
    fn saw_stored(&self, entry: &Write, stored: &Result<bool>) {
        if *stored.as_ref().unwrap_or(&false) {
            self.record.saw_set(entry);
        }
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

    /// Runs commands that are answered with a string, one for each name.
    async fn strings(&self, commands: &Commands, each: EachBytes<'_>) {
        let mut each_reply = |index: usize, reply: Result<RepliesOf>| each(index, reply.map(string));
        self.run(commands, &mut each_reply).await;
    }

    /// The values of names, by GET or MGET.
    async fn values(&self, names: &[&[u8]], kind: Kind, each: EachBytes<'_>) {
        let mut commands = self.commands(kind);
        if names.len() == 1 || self.route.may_be_cluster() {
            names.iter().for_each(|name| commands.push(name, &[b"GET", name]));
            return self.strings(&commands, each).await;
        }
        for chunk in names.chunks(MGET) {
            let parts: Vec<&[u8]> = [&b"MGET"[..]].into_iter().chain(chunk.iter().copied()).collect();
            commands.push(b"", &parts);
        }
        let mut too_long = Vec::new();
        let mut each_reply = |index: usize, reply: Result<RepliesOf>| {
            let chunk = index * MGET..names.len().min((index + 1) * MGET);
            match reply {
                Err(error) if error.is_reply_too_long() => {
                    too_long.extend(chunk);
                    Pairing::Right
                }
                reply => hand_out(chunk, reply, &self.route, each),
            }
        };
        self.run(&commands, &mut each_reply).await;
        if !too_long.is_empty() {
            self.values_one_by_one(names, &too_long, kind, each).await;
        }
    }

    /// Values that are too long together for one reply: with a reply for each.
    async fn values_one_by_one(&self, names: &[&[u8]], places: &[usize], kind: Kind, each: EachBytes<'_>) {
        let mut commands = self.commands(kind);
        places.iter().for_each(|place| commands.push(names[*place], &[b"GET", names[*place]]));
        self.strings(&commands, &mut |index, value| each(places[index], value)).await;
    }
}

/// Hands the elements of an array to their names.
fn hand_out(names: std::ops::Range<usize>, reply: Result<RepliesOf>, route: &Topology, each: EachBytes<'_>) -> Pairing {
    let mut pairing = Pairing::Right;
    match reply {
        Err(error) => {
            for index in names {
                each(index, Err(error.clone()));
            }
        }
        Ok(mut elements) => {
            let mut is_whole = elements.next() == Some(Reply::Array(names.len() as u64));
            for index in names {
                let value = match elements.next().filter(|_| is_whole) {
                    Some(Reply::Bulk(value)) => Ok(value),
                    // From a proxy: MGET itself has none for a single name.
                    Some(Reply::Error(text)) => Err(refusal::error(&route.name(), text)),
                    _ => {
                        is_whole = false;
                        Err(unexpected())
                    }
                };
                if each(index, value) == Pairing::Wrong || !is_whole {
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

/// The bytes of a reply that is one string.
fn string<'a>(mut reply: RepliesOf<'a>) -> Option<&'a [u8]> {
    reply.next().and_then(stored)
}

#[cold]
fn replaced(servers: &str) -> Error {
    let text = format!("{servers}: the server was replaced {REPEATS} times during the removal; repeat the call");
    Error::new(ErrorKind::Busy, text)
}

#[cold]
fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer does not fit the command")
}

impl Store for RedisStore {
    const NAME: &'static str = "redis";
    const DEADLINES: bool = false;
    const VERSIONS_EXPIRE: bool = true;

    fn waits_for_replicas(&self) -> bool {
        self.invalidation_replicas > 0
    }

    async fn confirm<'a>(&'a self, prefix: &'a str, removal: Removal<'a>, handle: &'a Handle) -> Result<()> {
        Box::pin(self.wait_for_replicas(prefix, removal, handle)).await
    }

    fn changes(&self) -> u64 {
        self.record.changes()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { list: true, count: self.tag_index, shared: true, size: false }
    }

    fn is_one_server(&self) -> bool {
        !self.route.may_be_cluster()
    }

    fn server(&self) -> String {
        self.route.name()
    }

    fn topology(&self) -> Option<&'static str> {
        Some(self.route.topology())
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

    fn decode_head<'a>(name: &[u8], stored: &'a [u8]) -> std::result::Result<Entry<'a>, DecodeError> {
        // Fewer bytes than were asked for are all there are.
        if stored.len() < MAX_KEYLESS_HEADER { entry::decode(name, stored) } else { entry::head(name, stored) }
    }

    async fn heads<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        let mut commands = self.commands(Kind::Read);
        let end = (MAX_KEYLESS_HEADER - 1).to_string();
        names.iter().for_each(|name| commands.push(name, &[b"GETRANGE", name, b"0", end.as_bytes()]));
        self.strings(&commands, &mut |index, head| each(index, head.map(not_empty))).await;
    }

    async fn write<'a>(&'a self, prefix: &'a str, entries: &'a [Write], each: EachDone<'a>) {
        let mut commands = self.commands(Kind::Repeatable);
        entries.iter().for_each(|entry| push_set(&mut commands, entry));
        if !self.tag_index && entries.iter().all(|entry| entry.lasting.is_empty()) {
            let mut each_reply = |index: usize, reply: Result<RepliesOf>| {
                let stored = reply.map(was_stored);
                self.saw_stored(&entries[index], &stored);
                each(index, stored)
            };
            return self.run(&commands, &mut each_reply).await;
        }
        // Boxed, as what else is rare: a caller may have a small stack.
        let outcomes = Box::pin(self.write_with_more(commands, prefix, entries)).await;
        outcomes.into_iter().enumerate().for_each(|(index, outcome)| _ = each(index, outcome));
    }

    async fn remove<'a>(&'a self, names: &'a [&'a [u8]], each: EachBytes<'a>) {
        let mut commands = self.commands(Kind::Once);
        let end = (MAX_KEYLESS_HEADER - 1).to_string();
        for name in names {
            commands.push(name, &[b"GETRANGE", name, b"0", end.as_bytes()]);
            commands.push(name, &[b"UNLINK", name]);
        }
        let mut parts = Parts::new((0..commands.len()).map(|index| index / 2).collect());
        let (mut heads, mut removed) = (vec![None; names.len()], Vec::with_capacity(names.len()));
        let mut each_reply = |index: usize, reply: Result<RepliesOf>| {
            let is_there = reply.map(|mut reply| match reply.next() {
                Some(Reply::Number(removed)) => removed > 0,
                head => {
                    heads[index / 2] = head.and_then(stored).map(<[u8]>::to_vec);
                    true
                }
            });
            let Some((name, is_there)) = parts.add(index, is_there) else { return Pairing::Right };
            if is_there.is_ok() {
                removed.push(names[name]);
            }
            let head = heads[name].as_deref();
            each(name, is_there.map(|is_there| head.filter(|head| is_there && !head.is_empty())))
        };
        self.run(&commands, &mut each_reply).await;
        // Noted when it is done: a replay on the connection that this waits for would remove what is to be counted, and
        // a removal that the server refused must not be made up for later.
        self.record.note_names(&removed);
    }

    async fn expire<'a>(&'a self, name: &'a [u8], ttl: Option<Duration>) -> Result<bool> {
        match ttl {
            Some(ttl) => {
                let set = self.number(Kind::Repeatable, name, &[b"PEXPIRE", name, millis(ttl).as_bytes()]).await?;
                Ok(set == 1)
            }
            None => self.persist(name).await,
        }
    }

    async fn remaining<'a>(&'a self, names: &'a [&'a [u8]]) -> Vec<Result<Option<Option<Duration>>>> {
        let mut commands = self.commands(Kind::Repeatable);
        names.iter().for_each(|name| commands.push(name, &[b"PTTL", name]));
        let mut left: Vec<_> = names.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<RepliesOf>| {
            left[index] = reply.and_then(|mut reply| match reply.next() {
                Some(Reply::Number(-2)) => Ok(None),
                Some(Reply::Number(-1)) => Ok(Some(None)),
                // 0: the entry ends within this millisecond.
                Some(Reply::Number(left)) => {
                    let left = u64::try_from(left).map_err(|_| unexpected())?;
                    Ok(Some(Some(clock::left(Duration::from_millis(left)))))
                }
                _ => Err(unexpected()),
            });
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        left
    }

    async fn stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64], missing: Missing) -> Result<Vec<Option<u64>>> {
        self.each_stamp(prefix, tags, missing).await.into_iter().collect()
    }

    async fn each_stamp<'a>(&'a self, prefix: &'a str, tags: &'a [u64], missing: Missing) -> Vec<Result<Option<u64>>> {
        let mut stamps = self.read_stamps(prefix, tags).await;
        if let Missing::Created(ttl) = missing {
            let lifetime = first_lifetime(ttl).map(millis);
            self.set_missing(prefix, tags, &mut stamps, lifetime.as_deref(), true).await;
            // Bytes under a stamp's name that are no stamp give way to one.
            self.set_missing(prefix, tags, &mut stamps, lifetime.as_deref(), false).await;
        }
        stamps
    }

    async fn prolong<'a>(&'a self, prefix: &'a str, lasting: &'a [Lasting]) -> Result<()> {
        Box::pin(self.prolong_all(prefix, lasting)).await
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
        let mut first = |reply: Result<RepliesOf>| each(0, reply.map(string));
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
            let stored = reply.map(was_stored);
            self.saw_stored(entry, &stored);
            written = stored.map(drop);
            Pairing::Right
        };
        let stamps = self.with_stamps(commands, prefix, tags, Some(entry), &mut first).await;
        written.and(stamps)
    }

    async fn replace_stamps<'a>(&'a self, prefix: &'a str, tags: &'a [u64]) -> Result<()> {
        for _ in 0..REPEATS {
            let (changes, mut versions) = (self.record.changes(), Vec::with_capacity(tags.len()));
            let mut commands = self.commands(Kind::Repeatable);
            for tag in tags {
                let name = names::stamp(prefix, *tag);
                versions.push(commands.push_with_version(&name, &[b"SET", &name], &[b"PX", REPLACED_LASTS])?);
            }
            self.all_done(&commands).await?;
            // A repeated attempt sends another version. A replay then replaces it once more, which costs misses alone.
            tags.iter().zip(versions).for_each(|(tag, version)| self.record.note_tag(*tag, version));
            if self.record.changes() == changes {
                return Ok(());
            }
        }
        Err(replaced(&self.route.name()))
    }

    async fn indexed<'a>(&'a self, prefix: &'a str, tags: &'a [u64]) -> Result<Option<Indexed>> {
        if self.tag_index { self.index(prefix, tags).await.map(Some) } else { Ok(None) }
    }

    async fn index_is_whole(&self) -> Result<bool> {
        health::evicts_nothing(&self.route).await
    }

    async fn forget<'a>(&'a self, prefix: &'a str, indexed: &'a Indexed, removed: &'a [&'a [u8]]) -> Result<()> {
        self.unindex(prefix, indexed, removed).await
    }

    async fn scan<'a>(
        &'a self,
        prefix: &'a str,
        part: Part<'a>,
        from: Position,
        _limit: usize,
    ) -> Result<(ByteStrings, Option<Position>)> {
        walk::page(&self.route, prefix, part, from).await
    }

    async fn unlink<'a>(&'a self, names: &'a [&'a [u8]]) -> Result<()> {
        let mut commands = self.commands(Kind::Repeatable);
        // A flush does not make a server one that restarted.
        names.iter().filter(|name| !names::is_marker(name)).for_each(|name| commands.push(name, &[b"UNLINK", name]));
        for _ in 0..REPEATS {
            let changes = self.record.changes();
            self.all_done(&commands).await?;
            self.record.note_names(names);
            if self.record.changes() == changes {
                return Ok(());
            }
        }
        Err(replaced(&self.route.name()))
    }

    async fn sample<'a>(&'a self, prefix: &'a str) -> Result<Vec<Sample>> {
        scan::sample(self, prefix).await
    }

    async fn ping(&self) -> Result<()> {
        health::ping(&self.route).await
    }

    async fn details<'a>(&'a self, prefix: &'a str) -> Result<Vec<Json>> {
        health::report(&self.route, prefix).await
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

    /// A server that is in a state that passes, as one that loads its data, is waited for while there is time to connect.
    async fn connected(&self) -> Result<()> {
        let mut backoff = Backoff::until(Instant::now() + self.connect_timeout);
        loop {
            match self.route.connected().await {
                Err(error) if error.is_passing() && backoff.pause().await => {}
                connected => return connected,
            }
        }
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
        let written = indexed.map_or(&[][..], std::slice::from_ref);
        let has_more = written.iter().any(|entry| self.tag_index || !entry.lasting.is_empty());
        let mut beside = has_more.then(|| self.push_beside(&mut commands, prefix, written));
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<RepliesOf>| match index.checked_sub(1) {
            None => first(reply),
            Some(of_tag) if of_tag >= tags.len() => {
                if let Some(beside) = &mut beside {
                    beside.take(index, &reply);
                }
                Pairing::Right
            }
            Some(of_tag) => {
                stamps[of_tag] = reply.map(|reply| string(reply).and_then(parse));
                Pairing::Right
            }
        };
        self.run(&commands, &mut each).await;
        if let Some(beside) = beside {
            let failed = Box::pin(self.finish_beside(prefix, written, beside)).await.into_iter().flatten().next();
            failed.map_or(Ok(()), Err)?;
        }
        stamps.into_iter().collect()
    }

    /// Stores entries with the commands that accompany them.
    async fn write_with_more(&self, mut commands: Commands, prefix: &str, entries: &[Write]) -> Vec<Result<bool>> {
        let mut beside = self.push_beside(&mut commands, prefix, entries);
        let mut outcomes: Vec<Result<bool>> = entries.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, reply: Result<RepliesOf>| {
            match outcomes.get_mut(index) {
                Some(outcome) => {
                    *outcome = reply.map(was_stored);
                    self.saw_stored(&entries[index], outcome);
                }
                None => beside.take(index, &reply),
            }
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        let failures = self.finish_beside(prefix, entries, beside).await;
        let both =
            |(outcome, failure): (Result<bool>, Option<Error>)| outcome.and_then(|it| failure.map_or(Ok(it), Err));
        outcomes.into_iter().zip(failures).map(both).collect()
    }

    async fn read_stamps(&self, prefix: &str, tags: &[u64]) -> Vec<Result<Option<u64>>> {
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| names::stamp(prefix, *tag)).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut stamps: Vec<Result<Option<u64>>> = tags.iter().map(|_| Err(unexpected())).collect();
        let mut each = |index: usize, stamp: Result<Option<&[u8]>>| {
            stamps[index] = stamp.map(|stamp| stamp.and_then(parse));
            Pairing::Right
        };
        // Never from a replica, which may not have heard of an invalidation yet.
        self.values(&names, Kind::Repeatable, &mut each).await;
        stamps
    }

    /// Makes the stamps that are missing and reads them again: what another process makes meanwhile counts.
    async fn set_missing(
        &self,
        prefix: &str,
        tags: &[u64],
        stamps: &mut [Result<Option<u64>>],
        lifetime: Option<&str>,
        only_if_absent: bool,
    ) {
        let missing: Vec<usize> = (0..tags.len()).filter(|index| matches!(stamps[*index], Ok(None))).collect();
        let lasts: &[&[u8]] = &lifetime.map_or_else(Vec::new, |lifetime| vec![&b"PX"[..], lifetime.as_bytes()]);
        let condition: &[&[u8]] = if only_if_absent { &[b"NX"] } else { &[] };
        let options = [lasts, condition].concat();
        let mut commands = self.commands(Kind::Repeatable);
        for index in &missing {
            let name = names::stamp(prefix, tags[*index]);
            if let Err(error) = commands.push_with_version(&name, &[b"SET", &name], &options) {
                return missing.iter().for_each(|index| stamps[*index] = Err(error.clone()));
            }
            commands.push(&name, &[b"GET", &name]);
        }
        let mut each = |index: usize, reply: Result<RepliesOf>| {
            let stamp = &mut stamps[missing[index / 2]];
            match reply {
                Err(error) => *stamp = Err(error),
                Ok(reply) if index % 2 == 1 && stamp.is_ok() => *stamp = Ok(string(reply).and_then(parse)),
                Ok(_) => {}
            }
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
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

    /// Takes the end from a name; whether the name is there, also where it had no end before.
    async fn persist(&self, name: &[u8]) -> Result<bool> {
        let mut commands = self.commands(Kind::Repeatable);
        commands.push(name, &[b"PERSIST", name]);
        commands.push(name, &[b"PTTL", name]);
        let (mut failure, mut is_there) = (None, false);
        let mut each = |index: usize, reply: Result<RepliesOf>| {
            match reply.map(|mut reply| reply.next()) {
                Ok(Some(Reply::Number(number))) => is_there |= if index == 0 { number == 1 } else { number != -2 },
                Ok(_) => failure = Some(unexpected()),
                Err(error) => failure = Some(error),
            }
            Pairing::Right
        };
        self.run(&commands, &mut each).await;
        failure.map_or(Ok(is_there), Err)
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
pub(super) fn was_stored(mut reply: RepliesOf) -> bool {
    matches!(reply.next(), Some(Reply::Status(_)))
}

fn not_empty(bytes: Option<&[u8]>) -> Option<&[u8]> {
    bytes.filter(|bytes| !bytes.is_empty())
}

/// At least one: a TTL of nothing would be refused.
pub(super) fn millis(ttl: Duration) -> String {
    ttl.as_millis().max(1).to_string()
}

pub(super) fn parse(stamp: &[u8]) -> Option<u64> {
    std::str::from_utf8(stamp).ok()?.parse().ok()
}

/// 64 random bits, so that no stamp comes back.
pub fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::new(ErrorKind::Server, format!("this system has no random numbers: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}
