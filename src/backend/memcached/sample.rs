//! A sample of a prefix's entries for a count: all names by a walk, or some of them if there are many.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::crawl::Listed;
use super::nodes::Nodes;
use super::{health, names};
use crate::backend::remote::{SAMPLE, Sample};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::util::lock;

/// The most names that are read on each server.
const SEEN: u64 = 50_000;
/// The approximate limit of the bytes of a sample's entries: all are read to find out which count.
const SAMPLE_BYTES: u64 = 4 << 20;

/// The names that a walk has seen.
#[derive(Default)]
struct Seen {
    /// The number of names of any kind.
    names: u64,
    /// The names of entries that the server has not forgotten.
    entries: u64,
    sample: Sample,
    sample_bytes: u64,
}

/// Samples names of entries on every server.
pub async fn sample(context: CallContext, nodes: &Arc<Nodes>) -> Result<Vec<Sample>> {
    let present = (0..nodes.all.len()).filter(|index| !nodes.all[*index].epochs.is_away());
    let sampled = join_all(present.map(|index| on_one(context, nodes, index))).await;
    sampled.into_iter().collect()
}

async fn on_one(context: CallContext, nodes: &Arc<Nodes>, index: usize) -> Result<Sample> {
    let node = &nodes.all[index];
    node.server.connected().await?;
    if let Some(error) = node.crawler.listing_error() {
        return Err(error);
    }
    let left = context.left_or(nodes.connection.timeout);
    // Some of the time is kept to ask how much was not seen, and to read what was.
    let (seen, whole) = walk(context, nodes, index, left * 3 / 5).await?;
    let is_all = whole && seen.sample.sizes.len() as u64 == seen.entries;
    let scale = if is_all { None } else { Some(seen.scale() * unseen(context, nodes, index, &seen, whole).await?) };
    Ok(Sample { scale, ..seen.sample })
}

impl Seen {
    fn see(&mut self, listed: &Listed, is_entry: bool) {
        self.names += 1;
        if !is_entry {
            return;
        }
        self.entries += 1;
        let has_room = self.sample.sizes.len() < SAMPLE && self.sample_bytes + listed.size <= SAMPLE_BYTES;
        if has_room || self.sample.sizes.is_empty() {
            self.sample.names.push(listed.name);
            self.sample.sizes.push(listed.size);
            self.sample_bytes += listed.size;
        }
    }

    /// Returns the ratio of the entries that were seen to those in the sample.
    #[allow(clippy::cast_precision_loss)]
    fn scale(&self) -> f64 {
        self.entries as f64 / self.sample.sizes.len().max(1) as f64
    }
}

/// Walks for a while; returns the names it saw, and whether they were all.
async fn walk(context: CallContext, nodes: &Arc<Nodes>, index: usize, time: Duration) -> Result<(Seen, bool)> {
    let (seen, owners) = (Arc::<Mutex<Seen>>::default(), Arc::clone(nodes));
    let seeing = Arc::clone(&seen);
    let now = nodes.all[index].clock.now_ms() / 1000;
    let each = move |listed: &Listed<'_>| {
        // An entry counts on the server that it is read from, as in a listing.
        let is_entry = names::may_be_entry(&owners.prefix, b"", listed.name)
            && (listed.expires == 0 || listed.expires + FORGOTTEN > now)
            && owners.owner(listed.name).is_some_and(|owner| owner.node == index);
        let mut seen = lock(&seeing);
        seen.see(listed, is_entry);
        seen.names < SEEN
    };
    let spawn = |walk| drop(nodes.spawn(walk));
    let crawling = |_| nodes.all[index].crawler.crawl(Box::new(each), spawn);
    let walked = context.run_until(Instant::now() + time, crawling).await;
    let whole = walked.unwrap_or(Ok(false))?;
    let seen = std::mem::take(&mut *lock(&seen));
    Ok((seen, whole))
}

/// The time in seconds after its expiry at which a server has surely dropped an entry.
const FORGOTTEN: u64 = 5;

/// Returns the ratio of the server's names to those that were seen.
#[allow(clippy::cast_precision_loss)]
async fn unseen(context: CallContext, nodes: &Nodes, index: usize, seen: &Seen, whole: bool) -> Result<f64> {
    if whole {
        return Ok(1.0);
    }
    let statistics = health::statistics(context, nodes, &nodes.all[index]).await?;
    let items =
        statistics.iter().find(|(name, _)| name == "curr_items").and_then(|(_, number)| number.parse::<u64>().ok());
    match items {
        Some(items) if seen.names > 0 => Ok((items as f64 / seen.names as f64).max(1.0)),
        Some(0) => Ok(1.0),
        _ => Err(Error::new(
            ErrorKind::Timeout,
            format!("{}: the keys could not be counted in time; try again later", nodes.all[index].server.name()),
        )),
    }
}
