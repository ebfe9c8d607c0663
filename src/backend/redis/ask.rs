//! Requests to one server that may be repeated, which are retried until the deadline of the call.

use std::time::Duration;

use super::resp::{RespReader, RespValue, command};
use super::server_error;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;
use crate::net::{RawReplies, Server, protocol_error};
use crate::util::byte_strings::ByteStrings;

/// The number of names that one SCAN reads: 1000 is four times faster than its default of 10, and holds the server up
/// for less than a millisecond.
pub const COUNT: &[u8] = b"1000";
/// The time within which a request to one server is retried if no call sets a deadline.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns a page of names, the next cursor, and the process that replied.
pub async fn scan(
    context: CallContext,
    server: &Server,
    cursor: u64,
    glob: &[u8],
    process: Option<u64>,
) -> Result<(ByteStrings, u64, u64)> {
    let mut request = Vec::new();
    command(&mut request, &[b"SCAN", cursor.to_string().as_bytes(), b"MATCH", glob, b"COUNT", COUNT]);
    let replies = replies_of(context, server, &request, 1, process).await?;
    let (listed, next) = names_of(server, RespReader(&replies.bytes))?;
    Ok((listed, next, replies.connection.identity().process))
}

/// Reads the names in a reply to SCAN, and the next cursor.
pub fn names_of(server: &Server, mut reply: RespReader<'_>) -> Result<(ByteStrings, u64)> {
    if let Some(RespValue::Error(text)) = reply.next() {
        return Err(server_error::error(server.name(), text));
    }
    let cursor = reply.next().and_then(RespValue::bytes).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let cursor = cursor.ok_or_else(|| protocol_error(server.name(), "an unexpected reply to SCAN"))?;
    let mut listed = ByteStrings::default();
    reply.skip(1).filter_map(RespValue::bytes).for_each(|name| listed.push(name));
    Ok((listed, cursor))
}

/// Sends one command to one server; returns its reply, or the error of the server.
pub async fn ask(context: CallContext, server: &Server, parts: &[&[u8]]) -> Result<Vec<u8>> {
    accepted(server, reply_of(context, server, parts).await?)
}

/// Sends one command to one server; returns its reply, which may be an error of the server.
pub async fn reply_of(context: CallContext, server: &Server, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    command(&mut request, parts);
    replies_of(context, server, &request, 1, None).await.map(|replies| replies.bytes)
}

/// Sends commands that may be repeated to one server, to this process while it is connected; returns their replies.
pub async fn replies_of(
    context: CallContext,
    server: &Server,
    request: &[u8],
    replies: u32,
    process: Option<u64>,
) -> Result<RawReplies> {
    let mut backoff = Backoff::until(context, context.end_or(PATIENCE));
    loop {
        server.connected().await?;
        let sent = match process {
            Some(process) => server.send_to(context, process, request, replies),
            None => server.send(context, request, replies),
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
        Some(RespValue::Error(text)) => Err(server_error::error(server.name(), text)),
        _ => Ok(reply),
    }
}
