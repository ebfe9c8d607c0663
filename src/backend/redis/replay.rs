//! Replays the recent removals of this process on a server that restarted or was replaced, before anything is read
//! from it.
//!
//! A server that restarts from an old snapshot, or a replica that had not received the latest writes when it was
//! promoted, has entries that were removed. A tag whose version is the one that it got keeps it: then all is there.
//! Any other version is replaced by a fresh one. A name that was deleted is deleted again, unless its entry is the one
//! that this process set afterwards. With `on_restart: renew` the whole prefix is emptied instead, once for all processes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::names;
use super::record::{Record, Snapshot};
use super::resp::{RespReader, RespValue, command};
use super::server_error::{self, ServerError};
use crate::config::OnRestart;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Handshake, Identity, protocol_error};
use crate::util::random::random;

/// The most tags, or names, that are replayed at once.
const CHUNK: usize = 500;
/// The time that the server may take to reply to the commands of one step.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time after the opening of a cache within which a server that is connected to for the first time counts as one
/// that the process began with.
const BEGINNING: Duration = Duration::from_secs(10);
/// The number of names that a marker may have: in a cluster one of them almost certainly belongs to the node.
const MARKERS: usize = 256;

/// The time to live of a tag version that replaces another, in milliseconds. One hour: storing an entry with it
/// prolongs it.
pub const REPLACED_LASTS: &[u8] = b"3600000";

/// The removals of a process, and the prefix on which they are replayed.
#[derive(Clone)]
pub struct Replay {
    pub record: Arc<Record>,
    pub prefix: Arc<str>,
    pub on_restart: OnRestart,
    /// The time at which this process opened its cache.
    pub opened: Instant,
}

/// Commands for one server, sent together.
#[derive(Default)]
struct Pipeline {
    bytes: Vec<u8>,
    count: u32,
}

impl Pipeline {
    fn push(&mut self, parts: &[&[u8]]) {
        command(&mut self.bytes, parts);
        self.count += 1;
    }

    /// Sends the commands; returns their replies, `None` for a name that another node of the cluster has.
    async fn send(self, connection: &Handshake<'_>) -> Result<Vec<Option<Vec<u8>>>> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let answered = timeout(PATIENCE, connection.ask_all(&self.bytes, self.count)).await;
        let bytes = answered.unwrap_or_else(|_| Err(silent(connection.server())))?;
        let mut rest = RespReader(&bytes);
        (0..self.count).map(|_| own_reply(connection.server(), rest.reply())).collect()
    }
}

/// Returns the text or number of a reply, empty if there is none; `None` if another server has the name.
fn own_reply(server: &str, reply: RespReader<'_>) -> Result<Option<Vec<u8>>> {
    match reply.clone().next() {
        Some(RespValue::Error(text)) => match server_error::classify(text) {
            ServerError::Moved(_) | ServerError::Ask(_) => Ok(None),
            // Neither a version nor an entry of this library.
            ServerError::WrongType => Ok(Some(b"-".to_vec())),
            _ => Err(server_error::error(server, text)),
        },
        Some(RespValue::Number(number)) => Ok(Some(number.to_string().into_bytes())),
        Some(reply) => Ok(Some(reply.bytes().unwrap_or_default().to_vec())),
        None => Err(protocol_error(server, "too few replies")),
    }
}

impl Replay {
    /// Returns whether a server that lost its latest writes would have to be changed before it is read.
    pub fn is_pending(&self) -> bool {
        self.on_restart == OnRestart::Renew || !self.record.is_empty()
    }

    /// Makes a server fit for reads that is not the one that answered `before`.
    pub async fn apply(&self, connection: &Handshake<'_>, before: Option<Identity>, identity: Identity) -> Result<()> {
        // Before the record is read: a removal that is noted later than that finds the server changed, and is repeated.
        self.record.server_changed();
        let snapshot = self.record.snapshot();
        let repeats = self.on_restart == OnRestart::Renew || !snapshot.is_empty();
        if self.on_restart == OnRestart::Renew {
            self.renew(connection, before, identity).await?;
        } else if repeats {
            self.replay(connection, snapshot).await?;
        }
        self.record.server_changed();
        if repeats && before.is_some() {
            self.record.was_repeated();
        }
        Ok(())
    }

    async fn replay(&self, connection: &Handshake<'_>, snapshot: Snapshot) -> Result<()> {
        tracing::info!(
            server = connection.server(),
            "the server restarted or was replaced: the removals of the last {} tags and {} keys are replayed{}",
            snapshot.tags.len(),
            snapshot.names.len(),
            if snapshot.all { ", as a removal of every entry" } else { "" }
        );
        if snapshot.all {
            return self.remove_all(connection).await;
        }
        for tags in snapshot.tags.chunks(CHUNK) {
            self.replace_others(connection, tags).await?;
        }
        for names in snapshot.names.chunks(CHUNK) {
            remove_others(connection, names).await?;
        }
        Ok(())
    }

    /// Gives tags fresh versions whose version is not the one that they got.
    async fn replace_others(&self, connection: &Handshake<'_>, tags: &[(u64, u64)]) -> Result<()> {
        let mut look = Pipeline::default();
        tags.iter().for_each(|(tag, _)| look.push(&[b"GET", &names::tag_version(&self.prefix, *tag)]));
        let mut replace = Pipeline::default();
        for ((tag, version), found) in tags.iter().zip(look.send(connection).await?) {
            // Without a version, no entry of the tag can be read.
            let Some(found) = found.filter(|found| !found.is_empty()) else { continue };
            if parse(&found) == Some(*version) {
                continue;
            }
            let fresh = random()?;
            let name = names::tag_version(&self.prefix, *tag);
            replace.push(&[b"SET", &name, fresh.to_string().as_bytes(), b"PX", REPLACED_LASTS]);
            self.record.renew_tag(*tag, *version, fresh);
        }
        match replace.send(connection).await {
            // A full server still removes: a version that is missing makes misses too.
            Err(error) if error.kind() == ErrorKind::ServerMemory => {
                let mut remove = Pipeline::default();
                tags.iter().for_each(|(tag, _)| remove.push(&[b"UNLINK", &names::tag_version(&self.prefix, *tag)]));
                remove.send(connection).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Removes everything of the prefix once after each start of a server; a marker says that it is done. Where it is
    /// missing (the option is new, or the marker was evicted), a process that has just begun has seen no restart.
    async fn renew(&self, connection: &Handshake<'_>, before: Option<Identity>, identity: Identity) -> Result<()> {
        if !identity.reported {
            return Err(nameless(connection.server()));
        }
        let mark = format!("{:016x}{:016x}", identity.process, identity.history);
        let marker = |number: usize| names::marker(&self.prefix, number);
        let mut look = Pipeline::default();
        (0..MARKERS).for_each(|number| look.push(&[b"GET", &marker(number)]));
        let found = look.send(connection).await?.into_iter().enumerate().find_map(|(number, it)| Some((number, it?)));
        // A node of a cluster that has no slots has no entries either.
        let Some((number, found)) = found else { return Ok(()) };
        if found == mark.as_bytes() {
            return Ok(());
        }
        let has_begun = before.is_none() && self.opened.elapsed() < BEGINNING;
        if !(found.is_empty() && has_begun) {
            tracing::info!(server = connection.server(), "the server restarted or was replaced: the prefix is emptied");
            self.remove_all(connection).await?;
        }
        let mut done = Pipeline::default();
        done.push(&[b"SET", &marker(number), mark.as_bytes()]);
        done.send(connection).await.map(drop)
    }

    async fn remove_all(&self, connection: &Handshake<'_>) -> Result<()> {
        let (glob, ours, mut cursor) = (names::all_glob(&self.prefix), format!("{}:", self.prefix).into_bytes(), 0);
        loop {
            let (listed, next) = scan(connection, cursor, &glob).await?;
            let mut remove = Pipeline::default();
            let removed = listed.iter().filter(|name| name.starts_with(&ours) && !names::is_kept(name));
            removed.for_each(|name| remove.push(&[b"UNLINK", name]));
            remove.send(connection).await?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

/// Removes the entries of names that are not those that were set since. A name that is gone needs no write, which the
/// server may refuse at this moment.
async fn remove_others(connection: &Handshake<'_>, names: &[(Box<[u8]>, Option<u64>)]) -> Result<()> {
    let (mut look, mut remove) = (Pipeline::default(), Pipeline::default());
    names.iter().for_each(|(name, _)| look.push(&[b"GETRANGE", name, b"-8", b"-1"]));
    for ((name, mark), found) in names.iter().zip(look.send(connection).await?) {
        // `None` if another node has the name.
        let found = found.filter(|found| !found.is_empty());
        if found.is_some_and(|found| mark.is_none_or(|mark| found != mark.to_le_bytes())) {
            remove.push(&[b"UNLINK", name]);
        }
    }
    remove.send(connection).await.map(drop)
}

/// Returns a page of names, and the cursor of the next.
async fn scan(connection: &Handshake<'_>, cursor: u64, glob: &[u8]) -> Result<(Vec<Vec<u8>>, u64)> {
    let mut request = Vec::new();
    command(&mut request, &[b"SCAN", cursor.to_string().as_bytes(), b"MATCH", glob, b"COUNT", b"1000"]);
    let server = connection.server();
    let reply = timeout(PATIENCE, connection.ask(&request)).await.unwrap_or_else(|_| Err(silent(server)))?;
    if let Some(RespValue::Error(text)) = RespReader(&reply).next() {
        return Err(server_error::error(server, text));
    }
    let mut elements = RespReader(&reply).skip(1);
    let next = elements.next().and_then(RespValue::bytes).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let next = next.ok_or_else(|| protocol_error(server, "an unexpected reply to SCAN"))?;
    Ok((elements.skip(1).filter_map(RespValue::bytes).map(<[u8]>::to_vec).collect(), next))
}

/// Reads a version of a tag.
pub fn parse(version: &[u8]) -> Option<u64> {
    std::str::from_utf8(version).ok()?.parse().ok()
}

#[cold]
fn silent(server: &str) -> Error {
    let text =
        format!("{server}: no answer within {PATIENCE:?} while removals are replayed: the server is slow or stopped");
    Error::new(ErrorKind::Connect, text)
}

#[cold]
fn nameless(server: &str) -> Error {
    let text = format!(
        "{server}: on_restart: renew needs the server's run id and replication id, which it does not report: \
         allow the user +info, or use on_restart: replay"
    );
    Error::new(ErrorKind::Denied, text)
}
