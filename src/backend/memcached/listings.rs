//! Lists names page by page, although the crawler of a server cannot be resumed.
//!
//! A walk over a server keeps the names that are wanted, in the order of a hash
//! of them. A page is a piece of that order, and a position is a point of it:
//! a listing that continues after the names are gone walks again, and
//! continues at that point. A name that is there from the beginning to the end is
//! listed once. A walk keeps at most a million names; where a prefix has more,
//! the next walk begins where it ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::crawl::Listed;
use super::discovery::Current;
use super::names;
use super::nodes::Nodes;
use crate::backend::ScanCursor;
use crate::backend::remote::ScanScope;
use crate::entry::fingerprint;
use crate::error::{Error, Result};
use crate::exec::context::CallContext;
use crate::util::byte_strings::ByteStrings;
use crate::util::clock::coarse_millis;
use crate::util::{lock, millis};

/// The most names that a walk keeps.
const MOST: usize = 1_000_000;
/// The most bytes that the names of a walk take.
const MOST_BYTES: usize = 64 << 20;
/// The bytes that a stored name takes in addition to its own.
const NAME_BYTES: usize = size_of::<Name>() + 16;
/// The most names that are kept of all walks.
const MOST_OF_ALL: usize = 2 * MOST;
/// The most walks whose names are kept.
const LISTINGS: usize = 16;
/// The time for which unused names are kept.
const KEPT: Duration = Duration::from_secs(10);
/// The approximate limit of the bytes of a page's entries: all are read to find out which count.
const PAGE_BYTES: u64 = 4 << 20;
/// The low bits of a position are the number of its walk, the others the point in it.
const WALK_BITS: u32 = 16;

/// The listings of a cache.
pub struct Listings {
    current: Arc<Current>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    number: u16,
    listings: Vec<Arc<Listing>>,
}

/// One walk over one server, and the names it found.
struct Listing {
    number: u16,
    node: usize,
    wanted: Names,
    used_ms: AtomicU64,
    found: OnceLock<Result<Found>>,
    finished: watch::Sender<bool>,
    task: OnceLock<AbortHandle>,
}

/// The names that are wanted: those of a `ScanScope`.
#[derive(Clone, PartialEq, Eq)]
enum Names {
    Entries(Box<[u8]>),
    All,
}

/// The names of a walk, in their order.
#[derive(Default)]
struct Found {
    names: Vec<Name>,
    /// The point from which on names were not kept.
    end: Option<u64>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    order: u64,
    name: Box<[u8]>,
    size: u64,
}

impl Listings {
    pub fn new(current: Arc<Current>) -> Self {
        Self { current, known: Arc::default() }
    }

    /// Returns the error for which names are not listed, as far as it is known.
    pub fn listing_error(&self) -> Option<Error> {
        self.current.nodes().all.iter().find_map(|node| node.crawler.listing_error())
    }

    /// Returns some names from a position on, and the next position. During a walk a page may be empty, and the next
    /// position is the same.
    pub async fn page(
        &self,
        context: CallContext,
        scope: ScanScope<'_>,
        from: ScanCursor,
        limit: usize,
    ) -> Result<(ByteStrings, Option<ScanCursor>)> {
        let nodes = self.current.known(context).await?;
        let Some(node) = nodes.all.get(from.part as usize) else {
            return Ok((ByteStrings::default(), None));
        };
        if node.epochs.is_away() {
            return Ok((ByteStrings::default(), next_part(&nodes, from)));
        }
        node.server.connected().await?;
        if let Some(error) = node.crawler.listing_error() {
            return Err(error);
        }
        let listing = self.listing(&nodes, from, Names::of(scope));
        let order = from.offset >> WALK_BITS;
        let at = |order: u64| Some(ScanCursor { offset: order << WALK_BITS | u64::from(listing.number), ..from });
        if !finished(context, nodes.connection.timeout, &listing).await {
            return Ok((ByteStrings::default(), at(order)));
        }
        match listing.found.get() {
            Some(Ok(found)) => {
                let (page, next) = found.page(order, limit);
                let next = next.map_or_else(|| next_part(&nodes, from), at);
                if next.is_none_or(|next| next.part != from.part) {
                    lock(&self.known).forget(listing.number);
                }
                Ok((page, next))
            }
            Some(Err(error)) => {
                lock(&self.known).forget(listing.number);
                Err(error.clone())
            }
            None => Ok((ByteStrings::default(), at(order))),
        }
    }

    /// Returns the walk that a position belongs to, or a new one from that point on.
    fn listing(&self, nodes: &Arc<Nodes>, from: ScanCursor, wanted: Names) -> Arc<Listing> {
        let mut known = lock(&self.known);
        let number = from.offset & ((1 << WALK_BITS) - 1);
        let fits = |it: &&Arc<Listing>| {
            u64::from(it.number) == number
                && it.node == from.part as usize
                && it.wanted == wanted
                && it.reaches(from.offset >> WALK_BITS)
        };
        if let Some(listing) = known.listings.iter().find(fits) {
            listing.used_ms.store(coarse_millis(), Relaxed);
            return Arc::clone(listing);
        }
        let listing = known.add(from.part as usize, wanted);
        let walk = walk(Arc::clone(nodes), Arc::clone(&listing), from.offset >> WALK_BITS, Arc::clone(&self.known));
        if let Some(task) = nodes.spawn(walk) {
            drop(listing.task.set(task.abort_handle()));
        }
        listing
    }

    /// Ends all walks.
    pub fn close(&self) {
        for listing in std::mem::take(&mut lock(&self.known).listings) {
            listing.abort();
        }
    }
}

/// Waits for the names, for a part of the call's time.
async fn finished(context: CallContext, limit: Duration, listing: &Listing) -> bool {
    let end = Instant::now() + context.left_or(limit) / 2;
    let mut finished = listing.finished.subscribe();
    context.run_until(end, |_| finished.wait_for(|finished| *finished)).await.is_some()
}

/// Returns the position behind all names of a server; `None` behind the last one.
fn next_part(nodes: &Nodes, from: ScanCursor) -> Option<ScanCursor> {
    let part = from.part + 1;
    ((part as usize) < nodes.all.len()).then_some(ScanCursor { part, offset: 0, ..from })
}

impl Drop for Listings {
    fn drop(&mut self) {
        self.close();
    }
}

impl Known {
    fn add(&mut self, node: usize, wanted: Names) -> Arc<Listing> {
        // 0 is the position of a listing that has not begun.
        self.number = self.number.checked_add(1).unwrap_or(1);
        let listing = Arc::new(Listing {
            number: self.number,
            node,
            wanted,
            used_ms: AtomicU64::new(coarse_millis()),
            found: OnceLock::new(),
            finished: watch::Sender::new(false),
            task: OnceLock::new(),
        });
        self.listings.push(Arc::clone(&listing));
        self.make_room();
        listing
    }

    /// Drops the listings that were unused longest.
    fn make_room(&mut self) {
        while self.listings.len() > LISTINGS || self.listings.iter().map(|it| it.len()).sum::<usize>() > MOST_OF_ALL {
            let finished = self.listings.iter().enumerate().filter(|(_, listing)| listing.found.get().is_some());
            let oldest =
                finished.min_by_key(|(_, listing)| listing.used_ms.load(Relaxed)).map_or(0, |(index, _)| index);
            self.listings.remove(oldest).abort();
        }
    }

    fn forget(&mut self, number: u16) {
        self.listings.retain(|listing| listing.number != number);
    }
}

impl Listing {
    /// Returns whether its names reach a point.
    fn reaches(&self, order: u64) -> bool {
        let Some(Ok(found)) = self.found.get() else { return true };
        found.end.is_none_or(|end| order < end)
    }

    fn len(&self) -> usize {
        self.found.get().and_then(|found| found.as_ref().ok()).map_or(0, |found| found.names.len())
    }

    fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// Walks, and keeps the names until they are unused.
async fn walk(nodes: Arc<Nodes>, listing: Arc<Listing>, from: u64, known: Arc<Mutex<Known>>) {
    let found = gather(&nodes, &listing, from).await;
    drop(listing.found.set(found));
    listing.finished.send_replace(true);
    drop(nodes);
    lock(&known).make_room();
    loop {
        sleep(KEPT / 2).await;
        if coarse_millis().saturating_sub(listing.used_ms.load(Relaxed)) > millis(KEPT) {
            return lock(&known).forget(listing.number);
        }
    }
}

async fn gather(nodes: &Arc<Nodes>, listing: &Listing, from: u64) -> Result<Found> {
    let gathered = Arc::new(Mutex::new(Gathered::new(from, MOST)));
    let (sink, wanted, node, owners) = (Arc::clone(&gathered), listing.wanted.clone(), listing.node, Arc::clone(nodes));
    let each = move |listed: &Listed<'_>| {
        if wanted.have(&owners, node, listed.name) {
            lock(&sink).push(listed);
        }
        true
    };
    let spawn = |walk| drop(nodes.spawn(walk));
    nodes.all[listing.node].crawler.crawl(Box::new(each), spawn).await?;
    let gathered = std::mem::take(&mut *lock(&gathered));
    Ok(gathered.finish())
}

impl Names {
    fn of(scope: ScanScope) -> Self {
        match scope {
            ScanScope::Entries(literal) => Self::Entries(literal.into()),
            ScanScope::All => Self::All,
        }
    }

    /// Returns whether a name is wanted. An entry counts on the server that it would be read from: others are left over
    /// from before a change of servers.
    fn have(&self, nodes: &Nodes, node: usize, name: &[u8]) -> bool {
        match self {
            Self::All => names::is_ours(&nodes.prefix, name),
            Self::Entries(literal) => {
                names::may_be_entry(&nodes.prefix, literal, name)
                    && nodes.owner(name).is_some_and(|owner| owner.node == node)
            }
        }
    }
}

/// The names that come first in their order, of those that were seen.
#[derive(Default)]
struct Gathered {
    names: Vec<Name>,
    from: u64,
    end: Option<u64>,
    most: usize,
    bytes: usize,
}

impl Gathered {
    fn new(from: u64, most: usize) -> Self {
        Self { from, most, ..Self::default() }
    }

    fn push(&mut self, listed: &Listed) {
        let order = fingerprint(listed.name) >> WALK_BITS;
        if order >= self.from && self.end.is_none_or(|end| order < end) {
            self.names.push(Name { order, name: listed.name.into(), size: listed.size });
            self.bytes += NAME_BYTES + listed.name.len();
        }
        if self.names.len() >= 2 * self.most {
            self.shorten(self.most);
        } else if self.bytes >= 2 * MOST_BYTES {
            self.shorten(self.names.len() / 2);
        }
    }

    fn shorten(&mut self, most: usize) {
        let (_, first_left_out, _) = self.names.select_nth_unstable(most);
        let end = first_left_out.order;
        self.names.retain(|name| name.order < end);
        self.bytes = self.names.iter().map(|name| NAME_BYTES + name.name.len()).sum();
        self.end = Some(end);
    }

    fn finish(mut self) -> Found {
        if self.names.len() > self.most {
            self.shorten(self.most);
        }
        self.names.sort_unstable();
        // A server that enlarges its table may list a name twice.
        self.names.dedup_by(|second, first| second.name == first.name);
        Found { names: self.names, end: self.end }
    }
}

impl Found {
    /// Returns names from a point on, and the next point.
    fn page(&self, from: u64, limit: usize) -> (ByteStrings, Option<u64>) {
        let start = self.names.partition_point(|name| name.order < from);
        let (mut page, mut bytes, mut last) = (ByteStrings::default(), 0, None);
        for name in &self.names[start..] {
            // Names of one point stay together.
            if last.is_some_and(|last| last != name.order) && (page.len() >= limit.max(1) || bytes >= PAGE_BYTES) {
                return (page, Some(name.order));
            }
            page.push(&name.name);
            bytes += name.size;
            last = Some(name.order);
        }
        (page, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed_in_pages(count: usize, most: usize, limit: usize) -> Vec<Vec<u8>> {
        let names: Vec<Vec<u8>> = (0..count).map(|number| format!("name{number}").into_bytes()).collect();
        let (mut all, mut from) = (Vec::new(), Some(0));
        let mut walks = 0;
        while let Some(begin) = from {
            let mut gathered = Gathered::new(begin, most);
            names
                .iter()
                .chain(&names[..count / 2])
                .for_each(|name| gathered.push(&Listed { name, expires: 0, size: 100 }));
            let found = gathered.finish();
            let mut point = Some(begin);
            while let Some(at) = point.filter(|at| found.end.is_none_or(|end| *at < end)) {
                let (page, next) = found.page(at, limit);
                assert!(page.len() <= limit + 2);
                all.extend(page.iter().map(<[u8]>::to_vec));
                point = next;
            }
            from = point;
            walks += 1;
        }
        assert!(walks <= 1 + 4 * count / most, "{walks} walks");
        all
    }

    #[test]
    fn each_name_is_listed_once_however_many_walks_and_pages_there_are() {
        for (count, most, limit) in
            [(0, 10, 5), (1, 10, 1), (1000, 2000, 7), (1000, 100, 30), (1000, 64, 1), (100, 100, 1000)]
        {
            let mut all = listed_in_pages(count, most, limit);
            assert_eq!(all.len(), count, "{count} {most} {limit}");
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }

    #[test]
    fn a_page_ends_before_its_entries_are_too_many_bytes_to_read() {
        let mut gathered = Gathered::new(0, 100);
        let names: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
        names.iter().for_each(|name| gathered.push(&Listed { name: name.as_bytes(), expires: 0, size: 1 << 20 }));
        let (page, next) = gathered.finish().page(0, 1000);
        assert!((4..6).contains(&page.len()) && next.is_some());
    }
}
