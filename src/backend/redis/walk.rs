//! A walk through all names, server by server and page by page, which is complete even if servers change meanwhile.
//!
//! A cursor of SCAN is valid for the process that returned it: a reply of another process begins the server
//! again. In a cluster the layout is looked at before and after each pass over the servers: a pass that saw two
//! layouts begins again. While keys move one by one, a pass may miss one that goes from a server it has yet to see to
//! one it has seen. A key moves once in a layout, so that the next pass over the same layout finds it.

use std::time::Duration;

use super::ask::{COUNT, names_of, replies_of, scan};
use super::names;
use super::resp::{RespReader, RespValue, command};
use super::topology::{Layout, Topology};
use crate::backend::remote::ScanScope;
use crate::backend::{Epoch, ScanCursor};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{Server, protocol_error};
use crate::util::byte_strings::ByteStrings;

/// The most restarts of a walk or of a part of it.
const RESTARTS: u16 = 16;
/// The pause before the first restart; each that follows is longer by as much.
const PAUSE: Duration = Duration::from_millis(10);
/// The pages of a server beyond what its names take: as many as a table of a hundred million buckets without names.
const SPARE_PAGES: u64 = 10_000;
/// The pages of a server that does not report how many names it has.
const UNKNOWN_PAGES: u32 = 1 << 24;

/// Returns some names from a position on.
pub async fn page(
    context: CallContext,
    topology: &Topology,
    prefix: &str,
    scope: ScanScope<'_>,
    from: ScanCursor,
) -> Result<(ByteStrings, Option<ScanCursor>)> {
    let mut at = from;
    let layout =
        if from == ScanCursor::default() { topology.look(context).await? } else { topology.layout(context).await? };
    if from == ScanCursor::default() {
        at.epoch.layout = layout.hash;
    } else if at.epoch.layout != layout.hash {
        at = again(at, &layout, false)?;
        context.pause(PAUSE * at.epoch.restarts.into()).await;
    }
    let mut found = ByteStrings::default();
    if let Some(server) = layout.servers.get(at.part as usize) {
        let listed = step(context, server, &mut at, &glob(prefix, scope)).await?;
        // The names that a server returns are checked again: no glob of the library may reach another prefix.
        let ours =
            if matches!(scope, ScanScope::All) { format!("{prefix}:").into_bytes() } else { names::entry(prefix, b"") };
        listed.iter().filter(|name| name.starts_with(&ours)).for_each(|name| found.push(name));
    }
    if (at.part as usize) < layout.servers.len() {
        return Ok((found, Some(at)));
    }
    Ok((found, ended(context, topology, at).await?))
}

fn glob(prefix: &str, scope: ScanScope<'_>) -> Vec<u8> {
    match scope {
        ScanScope::Entries(literal) => names::entries_glob(prefix, literal),
        ScanScope::All => names::all_glob(prefix),
    }
}

/// Ends a pass: returns the begin of the next pass, or `None` at the end of the walk.
async fn ended(context: CallContext, topology: &Topology, at: ScanCursor) -> Result<Option<ScanCursor>> {
    if !topology.is_cluster() && at.epoch.layout == 0 {
        return Ok(None);
    }
    let now = topology.look(context).await?;
    let same = now.hash == at.epoch.layout;
    if same && (!now.is_moving || at.epoch.repeated) {
        return Ok(None);
    }
    let next = again(at, &now, same)?;
    context.pause(PAUSE * next.epoch.restarts.into()).await;
    Ok(Some(next))
}

/// Returns the position at which another pass begins.
fn again(at: ScanCursor, layout: &Layout, repeated: bool) -> Result<ScanCursor> {
    let epoch = Epoch { layout: layout.hash, restarts: restarted(at)?, repeated, ..Epoch::default() };
    Ok(ScanCursor { epoch, ..ScanCursor::default() })
}

fn restarted(at: ScanCursor) -> Result<u16> {
    if at.epoch.restarts >= RESTARTS {
        return Err(changing());
    }
    Ok(at.epoch.restarts + 1)
}

#[cold]
fn changing() -> Error {
    let text = format!(
        "the servers changed {RESTARTS} times while their keys were listed (restarts, failovers, slots that move): try again when they are stable"
    );
    Error::new(ErrorKind::Busy, text)
}

/// Returns the next names of a server, and moves the position behind them.
async fn step(context: CallContext, server: &Server, at: &mut ScanCursor, glob: &[u8]) -> Result<ByteStrings> {
    if at.offset != 0 {
        let (names, cursor, process) = scan(context, server, at.offset, glob, Some(at.epoch.process)).await?;
        if process == at.epoch.process {
            at.epoch.pages = at.epoch.pages.checked_sub(1).ok_or_else(|| endless(server))?;
            advance(at, cursor);
            return Ok(names);
        }
        at.epoch.restarts = restarted(*at)?;
    }
    first(context, server, at, glob).await
}

fn advance(at: &mut ScanCursor, cursor: u64) {
    at.offset = cursor;
    if cursor == 0 {
        at.part += 1;
        at.epoch.process = 0;
    }
}

/// Returns the first names of a server, and records how many pages there can be.
async fn first(context: CallContext, server: &Server, at: &mut ScanCursor, glob: &[u8]) -> Result<ByteStrings> {
    let mut request = Vec::new();
    command(&mut request, &[b"DBSIZE"]);
    command(&mut request, &[b"SCAN", b"0", b"MATCH", glob, b"COUNT", COUNT]);
    let replies = replies_of(context, server, &request, 2, None).await?;
    let mut rest = RespReader(&replies.bytes);
    let pages = match rest.reply().next() {
        Some(RespValue::Number(names)) => u32::try_from(SPARE_PAGES + u64::try_from(names).unwrap_or(0) / 250).ok(),
        _ => None,
    };
    let (names, cursor) = names_of(server, rest.reply())?;
    at.epoch.pages = pages.unwrap_or(UNKNOWN_PAGES);
    at.epoch.process = replies.connection.identity().process;
    advance(at, cursor);
    Ok(names)
}

#[cold]
fn endless(server: &Server) -> Error {
    protocol_error(server.name(), "a SCAN that does not end")
}
