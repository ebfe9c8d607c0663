//! Taking a server that is down out of the ring, and back in, without an old value coming back.
//!
//! While a server is away its names are on those left, so what it held before
//! may have been replaced or invalidated elsewhere when it returns; and what
//! was held for it elsewhere is old the next time it is away. Each server has
//! two numbers of this prefix, its guards: `home` for names of its own, `away`
//! for names it has in another's place. An entry carries the guard it was set
//! beside (as its flags), a tag's stamp counts together with it, and both are
//! read with the guard in one request. Whoever sees a server go adds one to
//! `away` on those left before it uses them, and whoever sees it return adds
//! one to both of the server's and to `away` on the others before it uses it:
//! from then on no process reads what was set before.
//!
//! A process that reaches a server which another does not can read what it
//! holds until that other one reaches it again: no process can tell another
//! through a server that it does not reach.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::command::{Command, Reply, random_number};
use super::fleet::{Fleet, Member};
use super::names::{self, Place};
use crate::error::{Error, ErrorKind, Result};

/// How often it is looked whether a server went or returned.
const ROUND: Duration = Duration::from_millis(100);

/// What is known of a server's guards, and whether it is out of the ring.
#[derive(Default)]
pub struct Guards {
    away: AtomicBool,
    /// As read last, to write beside; 0: not known.
    numbers: [AtomicU32; 2],
}

impl Guards {
    /// Whether others have its names.
    pub fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// The guard as it was read last.
    pub fn known(&self, place: Place) -> Option<u32> {
        Some(self.numbers[place as usize].load(Relaxed)).filter(|number| *number != 0)
    }

    /// Remembers what was read.
    pub fn learn(&self, place: Place, number: u32) {
        self.numbers[place as usize].store(number, Relaxed);
    }
}

/// A guard as it is stored is counted up from a random start; an entry has room for half of it.
pub fn short(number: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // Meant.
    let short = number as u32;
    short
}

/// Where a guard begins that is missing though one was known: not where it ended.
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
        Ok(_) => Err(Error::new(ErrorKind::Server, format!("{}: a guard is not a number", member.server.name()))),
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
                tracing::debug!(server = member.server.name(), "the ring stays as it is for now: {error}");
            }
        }
    }
}

/// What those left held for others in an earlier absence counts no more.
async fn eject(fleet: &Fleet, index: usize, error: &Error) -> Result<()> {
    if error.kind() == ErrorKind::Closed {
        return Ok(());
    }
    renew_others(fleet, index).await?;
    let member = &fleet.members[index];
    member.guards.away.store(true, Relaxed);
    tracing::warn!(server = member.server.name(), "out of the ring, its names are on the servers left: {error}");
    Ok(())
}

/// What it held when it went counts no more, nor what others held for it.
async fn readmit(fleet: &Fleet, index: usize) -> Result<()> {
    let member = &fleet.members[index];
    renew(fleet, member, Place::Home).await?;
    renew(fleet, member, Place::Away).await?;
    renew_others(fleet, index).await?;
    member.guards.away.store(false, Relaxed);
    tracing::warn!(server = member.server.name(), "back in the ring, empty");
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

/// A guard changed again and again while something was to be written beside it.
#[cold]
pub fn changing(server: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("{server}: servers come and go too fast to write to it: check the network"))
}
