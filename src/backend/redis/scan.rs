//! Asking one server, SCAN among other things, and estimating what a prefix holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commands::Kind;
use super::names;
use super::resp::{RespReader, RespValue, command};
use super::store::RedisStore;
use crate::backend::remote::{SAMPLE, Sample};
use crate::backoff::Backoff;
use crate::byte_strings::ByteStrings;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{RawReplies, Server, protocol_error};

/// How many names SCAN looks at in one call: 1000 is four times faster than its default of 10, and holds the server up
/// for less than a millisecond.
pub const COUNT: &[u8] = b"1000";
/// The most pages an estimate looks at on each server.
const SAMPLED_PAGES: usize = 10;
/// The time within which a request to one server is retried if no call sets a deadline.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most counts of all entries that are made while slots move.
const COUNTS: u32 = 3;

async fn scan(server: &Server, cursor: u64, glob: &[u8], process: Option<u64>) -> Result<(ByteStrings, u64, u64)> {
    let mut request = Vec::new();
    command(&mut request, &[b"SCAN", cursor.to_string().as_bytes(), b"MATCH", glob, b"COUNT", COUNT]);
    let replies = replies_of(server, &request, 1, process).await?;
    let (listed, next) = names_of(server, RespReader(&replies.bytes))?;
    Ok((listed, next, replies.connection.identity().process))
}

/// The names in a reply to SCAN, and the next cursor.
pub fn names_of(server: &Server, mut reply: RespReader<'_>) -> Result<(ByteStrings, u64)> {
    if let Some(RespValue::Error(text)) = reply.next() {
        return Err(super::refusal::error(server.name(), text));
    }
    let cursor = reply.next().and_then(RespValue::bytes).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let cursor = cursor.ok_or_else(|| protocol_error(server.name(), "no answer to SCAN"))?;
    let mut listed = ByteStrings::default();
    reply.skip(1).filter_map(RespValue::bytes).for_each(|name| listed.push(name));
    Ok((listed, cursor))
}

/// The reply of one server to one command; an error in its place is one.
pub async fn ask(server: &Server, parts: &[&[u8]]) -> Result<Vec<u8>> {
    accepted(server, reply_of(server, parts).await?)
}

/// The reply of one server to one command, whatever it is.
pub async fn reply_of(server: &Server, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    command(&mut request, parts);
    replies_of(server, &request, 1, None).await.map(|replies| replies.bytes)
}

/// The replies of one server to commands that may be sent again; of this process while it is connected.
pub async fn replies_of(server: &Server, request: &[u8], replies: u32, process: Option<u64>) -> Result<RawReplies> {
    let mut backoff = Backoff::until(caller::call_deadline().unwrap_or_else(|| Instant::now() + PATIENCE));
    loop {
        server.connected().await?;
        let sent = match process {
            Some(process) => server.send_to(process, request, replies),
            None => server.send(request, replies),
        };
        let answered = match sent {
            Some(Ok(answer)) => answer.await,
            Some(Err(error)) => Err(error),
            None => Err(Error::new(ErrorKind::Connect, format!("{}: the connection was lost", server.name()))),
        };
        match answered {
            Ok(replies) => return Ok(replies),
            Err(error) if error.kind() == ErrorKind::Busy || !backoff.pause().await => return Err(error),
            Err(_) => {}
        }
    }
}

fn accepted(server: &Server, reply: Vec<u8>) -> Result<Vec<u8>> {
    match RespReader(&reply).next() {
        Some(RespValue::Error(text)) => Err(super::refusal::error(server.name(), text)),
        _ => Ok(reply),
    }
}

/// Samples names of entries on each primary: all of them if the server has only a few thousand names. A listing while
/// slots move may be incomplete.
pub async fn sample(store: &RedisStore, prefix: &str) -> Result<Vec<Sample>> {
    let mut layout = store.route.look().await?;
    for attempt in 1.. {
        let mut samples = sample_of(store, prefix, &layout.servers).await?;
        let now = if store.route.is_cluster() { store.route.look().await? } else { layout.clone() };
        let is_settled = now.hash == layout.hash && !now.is_moving;
        if is_settled || attempt == COUNTS {
            samples.iter_mut().filter(|_| !is_settled).for_each(|it| it.scale = it.scale.or(Some(1.0)));
            return Ok(samples);
        }
        layout = now;
    }
    Ok(Vec::new())
}

async fn sample_of(store: &RedisStore, prefix: &str, servers: &[Arc<Server>]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for server in servers {
        let (listed, looked_at_all) = first_entries(server, prefix).await?;
        let mut names = ByteStrings::default();
        listed.iter().take(SAMPLE).for_each(|name| names.push(name));
        let is_whole = looked_at_all && names.len() == listed.len();
        let scale = if is_whole { None } else { Some(scale(server, listed.len(), names.len(), looked_at_all).await?) };
        samples.push(Sample { sizes: sizes(store, &names).await?, names, scale });
    }
    Ok(samples)
}

/// The entries among the first names of a server, and whether these are all.
async fn first_entries(server: &Server, prefix: &str) -> Result<(ByteStrings, bool)> {
    let (glob, mut cursor, mut listed) = (names::entries_glob(prefix, b""), 0, ByteStrings::default());
    let mut process = None;
    for _ in 0..SAMPLED_PAGES {
        let (page, next, answered) = scan(server, cursor, &glob, process).await?;
        // The cursor of another process means nothing: what was listed is a part.
        if process.replace(answered).is_some_and(|before| before != answered) {
            return Ok((listed, false));
        }
        page.iter().filter(|name| names::key(prefix, name).is_some()).for_each(|name| listed.push(name));
        cursor = next;
        if cursor == 0 {
            return Ok((listed, true));
        }
    }
    Ok((listed, false))
}

/// Returns the ratio of the entries of the server to those in a sample of the ones that were listed.
#[allow(clippy::cast_precision_loss)]
async fn scale(server: &Server, listed: usize, sampled: usize, looked_at_all: bool) -> Result<f64> {
    let of_listed = listed as f64 / sampled.max(1) as f64;
    Ok(if looked_at_all { of_listed } else { of_listed * share_not_seen(server).await? })
}

/// How many times as many names the server has as were looked at.
#[allow(clippy::cast_precision_loss)]
async fn share_not_seen(server: &Server) -> Result<f64> {
    let reply = ask(server, &[b"DBSIZE"]).await?;
    let looked_at = (SAMPLED_PAGES * 1000) as f64;
    Ok(match RespReader(&reply).next() {
        Some(RespValue::Number(names)) => (names as f64 / looked_at).max(1.0),
        _ => 1.0,
    })
}

/// The lengths of name and stored form together.
async fn sizes(store: &RedisStore, names: &ByteStrings) -> Result<Vec<u64>> {
    let mut commands = store.commands(Kind::Read);
    let mut sizes = Vec::with_capacity(names.len());
    for name in names.iter() {
        commands.push(name, &[b"STRLEN", name]);
        sizes.push(name.len() as u64);
    }
    for (size, received) in sizes.iter_mut().zip(store.run(&commands).await) {
        *size += u64::try_from(received?.number()?).unwrap_or(0);
    }
    Ok(sizes)
}
