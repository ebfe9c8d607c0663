//! Listing names with SCAN, primary by primary, and estimating what a prefix holds.

use std::time::{Duration, Instant};

use super::commands::Kind;
use super::names;
use super::resp::{RepliesOf, Reply, command};
use super::store::RedisStore;
use crate::backend::Position;
use crate::backend::remote::{Pairing, Part, SAMPLE, Sample};
use crate::backoff::Backoff;
use crate::byte_strings::ByteStrings;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::{Server, protocol};

/// How many names SCAN looks at in one call: 1000 is four times faster than its default of 10, and holds the server up
/// for less than a millisecond.
const COUNT: &[u8] = b"1000";
/// The most pages an estimate looks at on each server.
const SAMPLED_PAGES: usize = 10;

/// How long one server is asked again where no call says it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Some names from a position on.
pub async fn page(
    store: &RedisStore,
    prefix: &str,
    part: Part<'_>,
    from: Position,
    _limit: usize,
) -> Result<(ByteStrings, Option<Position>)> {
    let primaries = store.route.primaries();
    let Some(server) = primaries.get(from.part as usize) else { return Ok((ByteStrings::default(), None)) };
    let glob = match part {
        Part::Entries(literal) => names::entries_glob(prefix, literal),
        Part::All => names::all_glob(prefix),
    };
    let (listed, offset) = scan(server, from.offset, &glob).await?;
    // What a server returns is looked at again: no glob of ours may reach another prefix.
    let ours: &[u8] =
        &if matches!(part, Part::All) { format!("{prefix}:").into_bytes() } else { names::entry(prefix, b"") };
    let mut found = ByteStrings::default();
    listed.iter().filter(|name| name.starts_with(ours)).for_each(|name| found.push(name));
    let next_part = from.part + u32::from(offset == 0);
    let more = (next_part as usize) < primaries.len();
    Ok((found, more.then_some(Position { part: next_part, offset })))
}

async fn scan(server: &Server, cursor: u64, glob: &[u8]) -> Result<(ByteStrings, u64)> {
    let reply = ask(server, &[b"SCAN", cursor.to_string().as_bytes(), b"MATCH", glob, b"COUNT", COUNT]).await?;
    let mut elements = RepliesOf(&reply);
    elements.next();
    let cursor = elements.next().and_then(Reply::bytes).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let cursor = cursor.ok_or_else(|| protocol(server.name(), "no answer to SCAN"))?;
    let mut listed = ByteStrings::default();
    elements.skip(1).filter_map(Reply::bytes).for_each(|name| listed.push(name));
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
    let mut backoff = Backoff::until(caller::call_deadline().unwrap_or_else(|| Instant::now() + PATIENCE));
    loop {
        server.connected().await?;
        let sent = server.send(&request, 1);
        let answered = match sent {
            Some(Ok(answer)) => answer.await,
            Some(Err(error)) => Err(error),
            None => Err(Error::new(ErrorKind::Connect, format!("{}: the connection was lost", server.name()))),
        };
        match answered {
            Ok(replies) => return Ok(replies.bytes),
            Err(error) if error.kind() == ErrorKind::Busy || !backoff.pause().await => return Err(error),
            Err(_) => {}
        }
    }
}

fn accepted(server: &Server, reply: Vec<u8>) -> Result<Vec<u8>> {
    match RepliesOf(&reply).next() {
        Some(Reply::Error(text)) => Err(super::refusal::error(server.name(), text)),
        _ => Ok(reply),
    }
}

/// Names of entries on each primary: all where a few thousand names are all there are, else some of them.
pub async fn sample(store: &RedisStore, prefix: &str) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for server in store.route.primaries() {
        let (listed, looked_at_all) = first_entries(&server, prefix).await?;
        let mut names = ByteStrings::default();
        listed.iter().take(SAMPLE).for_each(|name| names.push(name));
        let is_whole = looked_at_all && names.len() == listed.len();
        let scale = if is_whole { None } else { Some(scale(&server, listed.len(), names.len(), looked_at_all).await?) };
        samples.push(Sample { sizes: sizes(store, &names).await?, names, scale });
    }
    Ok(samples)
}

/// The entries among the first names of a server, and whether these are all.
async fn first_entries(server: &Server, prefix: &str) -> Result<(ByteStrings, bool)> {
    let (glob, mut cursor, mut listed) = (names::entries_glob(prefix, b""), 0, ByteStrings::default());
    for _ in 0..SAMPLED_PAGES {
        let (page, next) = scan(server, cursor, &glob).await?;
        page.iter().filter(|name| names::key(prefix, name).is_some()).for_each(|name| listed.push(name));
        cursor = next;
        if cursor == 0 {
            return Ok((listed, true));
        }
    }
    Ok((listed, false))
}

/// How many times as many entries the server has as are in a sample of those that were listed.
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
    Ok(match RepliesOf(&reply).next() {
        Some(Reply::Number(names)) => (names as f64 / looked_at).max(1.0),
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
    let mut failure = None;
    let mut each = |index: usize, reply: Result<RepliesOf>| {
        match reply.map(|mut reply| reply.next()) {
            Ok(Some(Reply::Number(length))) => sizes[index] += u64::try_from(length).unwrap_or(0),
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
        Pairing::Right
    };
    store.run(&commands, &mut each).await;
    failure.map_or(Ok(sizes), Err)
}
