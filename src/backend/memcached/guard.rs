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
use super::fleet::{Fleet, Member};
use super::names::{self, Place};
use crate::error::{Error, ErrorKind, Result};

/// Interval of the check for servers that are down or have returned.
const ROUND: Duration = Duration::from_millis(100);

/// A guard as it is stored is counted up from a random start; an entry has room for half of it.
pub fn short(number: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // Meant.
    let short = number as u32;
    short
}

/// Returns the start of a missing epoch, which differs from the last known one.
pub fn after(known: u32) -> u64 {
    (u64::from(known) + (1 << 30)) & 0x7fff_ffff | 1
}

/// Reads or makes the guard of a server, or adds one to it.
pub async fn count(fleet: &Fleet, member: &Member, place: Place, add: u64) -> Result<u32> {
    let name = names::guard(&fleet.prefix, place);
    // Far from its end, so that it is never a number again.
    let command = Command::Count { name: &name, seed: (random_number()? >> 32) + 1, add };
    let (number, mut request) = (fleet.numbers(1), Vec::new());
    fleet.protocol.write(&mut request, number, &command);
    member.server.connected().await?;
    let replies = member.server.send(&request, 1).unwrap_or_else(|| Err(lost(member)))?.await?;
    match fleet.protocol.read(&mut &*replies.bytes, number, &command) {
        Ok(Reply::Number(number)) => {
            member.guards.learn(place, short(number));
            Ok(short(number))
        }
        Ok(_) => Err(Error::new(
            ErrorKind::Server,
            format!(
                "{}: the epoch of the server is not a number: another program writes under this key_prefix",
                member.server.name()
            ),
        )),
        Err(mismatch) => {
            let error = crate::net::protocol_error(member.server.name(), mismatch.0);
            replies.connection.kill(error.clone());
            Err(error)
        }
    }
}

/// Looks after the ring until the cache is closed.
pub async fn watch(fleet: Weak<Fleet>) {
    loop {
        sleep(ROUND).await;
        let Some(fleet) = fleet.upgrade() else { return };
        for (index, member) in fleet.members.iter().enumerate() {
            let (failure, away) = (member.server.failure(), member.guards.is_away());
            let changed = match failure {
                Some(error) if !away => eject(&fleet, index, &error).await,
                None if away => readmit(&fleet, index).await,
                _ => Ok(()),
            };
            if let Err(error) = changed {
                tracing::debug!(server = member.server.name(), "the ring cannot be changed at present: {error}");
            }
        }
    }
}

/// Invalidates entries that the remaining servers have stored for others during an earlier outage.
async fn eject(fleet: &Fleet, index: usize, error: &Error) -> Result<()> {
    if error.kind() == ErrorKind::Closed {
        return Ok(());
    }
    renew_others(fleet, index).await?;
    let member = &fleet.members[index];
    member.guards.set_away(true);
    tracing::warn!(
        server = member.server.name(),
        "removed from the ring; the other servers take over its keys: {error}"
    );
    Ok(())
}

/// Invalidates the entries of a returning server, and those that others have stored for it.
async fn readmit(fleet: &Fleet, index: usize) -> Result<()> {
    let member = &fleet.members[index];
    renew(fleet, member, Place::Home).await?;
    renew(fleet, member, Place::Away).await?;
    renew_others(fleet, index).await?;
    member.guards.set_away(false);
    tracing::warn!(server = member.server.name(), "added to the ring again, empty");
    Ok(())
}

async fn renew_others(fleet: &Fleet, index: usize) -> Result<()> {
    for (other, member) in fleet.members.iter().enumerate() {
        // One that is down gets new guards when it returns.
        if other != index && member.server.failure().is_none() {
            renew(fleet, member, Place::Away).await?;
        }
    }
    Ok(())
}

async fn renew(fleet: &Fleet, member: &Member, place: Place) -> Result<()> {
    let counted = timeout(fleet.connection.timeout, count(fleet, member, place, 1)).await;
    counted.unwrap_or_else(|_| Err(lost(member))).map(drop)
}

#[cold]
pub fn lost(member: &Member) -> Error {
    Error::new(ErrorKind::Connect, format!("{}: the connection was lost", member.server.name()))
}

/// Returns the error for an epoch that changed repeatedly during a write.
#[cold]
pub fn changing(server: &str) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{server}: servers fail and return too often for a write to succeed: check the network"),
    )
}
