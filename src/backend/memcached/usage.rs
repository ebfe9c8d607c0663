//! What a prefix holds: counted by a walk over the names, or estimated from a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::crawl::{Listed, crawl};
use super::details;
use super::fleet::Fleet;
use super::{listings, names};
use crate::backend::Usage;
use crate::caller;
use crate::error::{Error, ErrorKind, Result};

/// The most names that are looked at on each server.
const SAMPLED: u64 = 50_000;

/// What a walk has seen.
#[derive(Default)]
struct Seen {
    names: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// Entries of a prefix and their bytes on all servers.
pub async fn usage(fleet: &Arc<Fleet>) -> Result<Usage> {
    let mut usage = Usage::default();
    let end = caller::call_deadline().unwrap_or_else(|| Instant::now() + fleet.connection.timeout);
    for (index, member) in fleet.members.iter().enumerate().filter(|(_, member)| !member.guards.is_away()) {
        member.server.connected().await?;
        if let Some(refusal) = listings::refusal(fleet, member) {
            return Err(refusal);
        }
        // What is left of the call's time is shared by the servers that are left.
        let servers = u32::try_from(fleet.members.len() - index).unwrap_or(1);
        let share = end.saturating_duration_since(Instant::now()) / (servers + 1);
        let (seen, whole) = sample(fleet, index, share).await?;
        let scale = if whole { 1.0 } else { unseen(fleet, index, seen.names.load(Relaxed)).await? };
        usage.estimated |= !whole;
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Estimates.
        let scaled = |number: &AtomicU64| (number.load(Relaxed) as f64 * scale) as u64;
        usage.keys += scaled(&seen.entries);
        usage.bytes += scaled(&seen.bytes);
    }
    Ok(usage)
}

/// Walks for a while; what it saw, and whether that was all.
async fn sample(fleet: &Arc<Fleet>, index: usize, time: Duration) -> Result<(Arc<Seen>, bool)> {
    let (seen, prefix) = (Arc::<Seen>::default(), fleet.prefix.clone());
    let counting = Arc::clone(&seen);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let each = move |listed: &Listed<'_>| {
        if names::may_be_entry(&prefix, b"", listed.name) && (listed.expires == 0 || listed.expires > now) {
            counting.entries.fetch_add(1, Relaxed);
            counting.bytes.fetch_add(listed.size, Relaxed);
        }
        counting.names.fetch_add(1, Relaxed) < SAMPLED
    };
    let walked = caller::Until::new(Instant::now() + time, crawl(fleet, index, Box::new(each))).await;
    Ok((seen, walked.unwrap_or(Ok(false))?))
}

/// How many times as many names the server has as were seen.
#[allow(clippy::cast_precision_loss)]
async fn unseen(fleet: &Fleet, index: usize, seen: u64) -> Result<f64> {
    let statistics = details::statistics(fleet, &fleet.members[index]).await?;
    let items =
        statistics.iter().find(|(name, _)| name == "curr_items").and_then(|(_, number)| number.parse::<u64>().ok());
    match items {
        Some(items) if seen > 0 => Ok((items as f64 / seen as f64).max(1.0)),
        Some(0) => Ok(1.0),
        _ => Err(Error::new(
            ErrorKind::Timeout,
            format!("{}: its names could not be counted in time", fleet.members[index].server.name()),
        )),
    }
}
