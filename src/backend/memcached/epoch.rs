//! Taking a server that is down out of the ring, and back in, without an old value coming back.
//!
//! While a server is down, the remaining servers hold its names. When it returns, its own entries may have been
//! replaced or invalidated elsewhere, and the entries that others held for it are stale in its next outage. Each server
//! therefore has two epochs for this prefix: `home` for its own names, and `away` for names that it holds for another
//! server. An entry contains the epoch that it was set with (as its flags), a tag version is valid only together with
//! its epoch, and both are read with the epoch in one request. A process that detects an outage increments `away` on
//! the remaining servers before it uses them. A process that detects the return increments both epochs of the server
//! and `away` on the others before it uses it: from then on no process reads earlier entries.
//!
//! A process that reaches a server which another process does not reach can read its entries until the other one
//! reaches it again: no process can inform another through a server that is not reachable.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::command::{Command, Reply, random_number};
use super::names::{self, EpochKind};
use super::nodes::{Node, Nodes};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;

/// Interval of the check for servers that are down or have returned.
const ROUND: Duration = Duration::from_millis(100);

/// A stored epoch is counted up from a random start; an entry has room for half of it.
pub fn short(number: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // Meant.
    let short = number as u32;
    short
}

/// Returns the start of a missing epoch, which differs from the last known one.
pub fn after(known: u32) -> u64 {
    (u64::from(known) + (1 << 30)) & 0x7fff_ffff | 1
}

/// Reads or makes the epoch of a server, or adds one to it.
pub async fn count(context: CallContext, nodes: &Nodes, node: &Node, kind: EpochKind, add: u64) -> Result<u32> {
    let name = names::epoch(&nodes.prefix, kind);
    // Far from its end, so that it is never a number again.
    let command = Command::Count { name: &name, seed: (random_number()? >> 32) + 1, add };
    let (number, mut request) = (nodes.numbers(1), Vec::new());
    nodes.protocol.write(&mut request, number, &command);
    node.server.connected().await?;
    let replies = node.server.send(context, &request, 1).unwrap_or_else(|| Err(lost(node)))?.await?;
    match nodes.protocol.read(&mut &*replies.bytes, number, &command) {
        Ok(Reply::Number(number)) => {
            node.epochs.learn(kind, short(number));
            Ok(short(number))
        }
        Ok(_) => Err(Error::new(
            ErrorKind::Server,
            format!(
                "{}: the epoch of the server is not a number: another program writes under this key_prefix",
                node.server.name()
            ),
        )),
        Err(mismatch) => {
            let error = crate::net::protocol_error(node.server.name(), mismatch.0);
            replies.connection.kill(error.clone());
            Err(error)
        }
    }
}

/// Looks after the ring until the cache is closed.
pub async fn watch(nodes: Weak<Nodes>) {
    loop {
        sleep(ROUND).await;
        let Some(nodes) = nodes.upgrade() else { return };
        for (index, node) in nodes.all.iter().enumerate() {
            let (failure, away) = (node.server.failure(), node.epochs.is_away());
            let changed = match failure {
                Some(error) if !away => eject(&nodes, index, &error).await,
                None if away => readmit(&nodes, index).await,
                _ => Ok(()),
            };
            if let Err(error) = changed {
                tracing::debug!(server = node.server.name(), "the ring cannot be changed at present: {error}");
            }
        }
    }
}

/// Invalidates entries that the remaining servers have stored for others during an earlier outage.
async fn eject(nodes: &Nodes, index: usize, error: &Error) -> Result<()> {
    if error.kind() == ErrorKind::Closed {
        return Ok(());
    }
    renew_others(nodes, index).await?;
    let node = &nodes.all[index];
    node.epochs.set_away(true);
    tracing::warn!(server = node.server.name(), "removed from the ring; the other servers take over its keys: {error}");
    Ok(())
}

/// Invalidates the entries of a returning server, and those that others have stored for it.
async fn readmit(nodes: &Nodes, index: usize) -> Result<()> {
    let node = &nodes.all[index];
    renew(nodes, node, EpochKind::Home).await?;
    renew(nodes, node, EpochKind::Away).await?;
    renew_others(nodes, index).await?;
    node.epochs.set_away(false);
    tracing::warn!(server = node.server.name(), "added to the ring again, empty");
    Ok(())
}

async fn renew_others(nodes: &Nodes, index: usize) -> Result<()> {
    for (other, node) in nodes.all.iter().enumerate() {
        // One that is down gets new epochs when it returns.
        if other != index && node.server.failure().is_none() {
            renew(nodes, node, EpochKind::Away).await?;
        }
    }
    Ok(())
}

async fn renew(nodes: &Nodes, node: &Node, kind: EpochKind) -> Result<()> {
    let counted = timeout(nodes.connection.timeout, count(CallContext::task(), nodes, node, kind, 1)).await;
    counted.unwrap_or_else(|_| Err(lost(node))).map(drop)
}

#[cold]
pub fn lost(node: &Node) -> Error {
    Error::new(ErrorKind::Connect, format!("{}: the connection was lost", node.server.name()))
}

/// Returns the error for an epoch that changed repeatedly during a write.
#[cold]
pub fn changing(server: &str) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{server}: servers fail and return too often for a write to succeed: check the network"),
    )
}
