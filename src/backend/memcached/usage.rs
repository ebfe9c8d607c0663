//! What a prefix holds: counted by a walk over the names, or estimated from a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;

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
    let present = (0..fleet.members.len()).filter(|index| !fleet.members[*index].guards.is_away());
    let counted = join_all(present.map(|index| on_one(fleet, index))).await;
    counted.into_iter().try_fold(Usage::default(), |sum, one| {
        let one = one?;
        Ok(Usage { keys: sum.keys + one.keys, bytes: sum.bytes + one.bytes, estimated: sum.estimated | one.estimated })
    })
}

async fn on_one(fleet: &Arc<Fleet>, index: usize) -> Result<Usage> {
    let member = &fleet.members[index];
    member.server.connected().await?;
    if let Some(refusal) = listings::refusal(fleet, member) {
        return Err(refusal);
    }
    let left = caller::call_deadline().map(|end| end.saturating_duration_since(Instant::now()));
    // Some of the time is kept to ask how much was not seen.
    let (seen, whole) = sample(fleet, index, left.unwrap_or(fleet.connection.timeout) * 4 / 5).await?;
    let scale = if whole { 1.0 } else { unseen(fleet, index, seen.names.load(Relaxed)).await? };
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Estimates.
    let scaled = |number: &AtomicU64| (number.load(Relaxed) as f64 * scale) as u64;
    Ok(Usage { keys: scaled(&seen.entries), bytes: scaled(&seen.bytes), estimated: !whole })
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
