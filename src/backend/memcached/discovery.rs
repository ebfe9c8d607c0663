//! The node list of a managed service: `config get cluster`, asked again and again, and the servers in use by it.
//!
//! A list has a version, which grows with each change. Each version is an era: a number that every process computes from the
//! list alone. An entry contains the era that it was set in (as its flags), and a tag version is valid only together with
//! its era. A name that left a server and returned to it in a later list therefore finds no earlier entry there. A change of
//! the list empties the cache for that reason.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::node_list::NodeList;
use super::nodes::{Node, Nodes, Setup};
use crate::backend::remote::Traffic;
use crate::config::{Address, MemcachedConfig};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::util::lock;

/// The shortest time between two requests: while the list is not known, or a server of it is down.
const SHORTEST: Duration = Duration::from_millis(500);
/// The time between two checks whether a server is down.
const LOOK: Duration = Duration::from_millis(100);
/// The most time that new servers get to connect before they are used.
const PATIENCE: Duration = Duration::from_secs(5);

/// The servers as they are for one call. No counter that all threads share changes.
pub type PresentNodes = Guard<Arc<Nodes>>;

/// The servers that a cache uses now.
pub struct Current {
    nodes: ArcSwap<Nodes>,
    /// The outcome of the first requests for the list; `None` before the first.
    known: watch::Sender<Option<Result<()>>>,
    /// True once the cache is closed, after which no list is adopted.
    closed: Mutex<bool>,
    /// The counts of servers that are no longer in use.
    former: Mutex<Traffic>,
}

impl Current {
    /// Describes servers that do not change.
    pub fn fixed(nodes: Arc<Nodes>) -> Self {
        let (known, closed, former) = (watch::Sender::new(Some(Ok(()))), Mutex::default(), Mutex::default());
        Self { nodes: ArcSwap::new(nodes), known, closed, former }
    }

    /// Describes servers that are not known yet.
    fn unknown(nodes: Arc<Nodes>) -> Self {
        Self { known: watch::Sender::new(None), ..Self::fixed(nodes) }
    }

    /// Returns the servers; none before the first list is known.
    pub fn nodes(&self) -> PresentNodes {
        self.nodes.load()
    }

    /// Returns true once a list is known.
    pub fn is_known(&self) -> bool {
        !self.nodes().all.is_empty()
    }

    /// Returns the servers, once they are known.
    pub async fn known(&self, context: CallContext) -> Result<PresentNodes> {
        let nodes = self.nodes();
        if !nodes.all.is_empty() {
            return Ok(nodes);
        }
        self.wait(context).await?;
        Ok(self.nodes())
    }

    /// Waits for the first list, or for the error of the first request.
    #[cold]
    async fn wait(&self, context: CallContext) -> Result<()> {
        let limit = self.nodes().connection.timeout;
        let (end, mut known) = (context.end_or(limit), self.known.subscribe());
        let known = context.run_until(end, |_| known.wait_for(Option::is_some)).await;
        match known {
            Some(Ok(outcome)) => outcome.clone().unwrap_or(Ok(())),
            Some(Err(_)) | None => Err(context.timed_out("the discovery of the servers", limit)),
        }
    }

    /// Closes the connections to all servers. Requests in flight have until the deadline.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        *lock(&self.closed) = true;
        self.nodes().close(context, deadline).await;
    }

    /// Returns the counts of all servers. Those of servers that are no longer in use stay in them.
    pub fn traffic(&self) -> Traffic {
        let (former, present) = (lock(&self.former), traffic_of(self.nodes().all.iter()));
        let Traffic { reconnects, oversized, .. } = *former;
        Traffic { reconnects: present.reconnects + reconnects, oversized: present.oversized + oversized, ..present }
    }

    /// Replaces the servers, unless the cache is closed.
    fn replace(&self, nodes: Arc<Nodes>) {
        let (closed, mut former) = (lock(&self.closed), lock(&self.former));
        if !*closed {
            let is_former = |node: &&Arc<Node>| !nodes.all.iter().any(|other| Arc::ptr_eq(node, other));
            let gone = traffic_of(self.nodes().all.iter().filter(is_former));
            former.reconnects += gone.reconnects;
            former.oversized += gone.oversized;
            self.nodes.store(nodes);
            self.known.send_replace(Some(Ok(())));
        }
    }
}

fn traffic_of<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Traffic {
    Traffic::of(nodes.map(|node| &*node.server))
}

/// Begins to ask for the list of servers, until the cache is dropped.
pub fn start(setup: Setup, memcached: &MemcachedConfig, handle: &Handle) -> Arc<Current> {
    let current = Arc::new(Current::unknown(setup.start(&[], 0, &[], handle)));
    if let Some(endpoint) = memcached.servers.first() {
        let (address, interval) = (endpoint.address.clone(), memcached.discovery_interval);
        let follower = Follower { setup, address, interval, list: None };
        handle.spawn(follower.run(Arc::downgrade(&current)));
    }
    current
}

/// The task that keeps the servers current.
struct Follower {
    setup: Setup,
    /// The endpoint that is configured.
    address: Address,
    interval: Duration,
    /// The list that is in use.
    list: Option<NodeList>,
}

impl Follower {
    async fn run(mut self, current: Weak<Current>) {
        loop {
            let asked = self.setup.ask_for_list(&self.address).await;
            let Some(present) = current.upgrade().filter(|present| !*lock(&present.closed)) else { return };
            match asked {
                Ok(list) => self.adopt(list, &present).await,
                Err(error) if self.list.is_none() => drop(present.known.send_replace(Some(Err(error)))),
                Err(error) => tracing::warn!("the list of servers cannot be read, the last one stays in use: {error}"),
            }
            drop(present);
            if !self.pause(&current).await {
                return;
            }
        }
    }

    /// Waits for the interval, or less while servers are down or unknown. Returns false if the cache is gone.
    async fn pause(&self, current: &Weak<Current>) -> bool {
        let began = Instant::now();
        loop {
            sleep(LOOK).await;
            let Some(present) = current.upgrade() else { return false };
            let nodes = present.nodes();
            let is_troubled = nodes.all.is_empty() || nodes.all.iter().any(|node| node.server.failure().is_some());
            let patience = if is_troubled { SHORTEST.min(self.interval) } else { self.interval };
            if began.elapsed() >= patience {
                return true;
            }
        }
    }

    /// Uses the servers of a list that is later than the last one. Servers do not learn of a change at the same time: an
    /// earlier list is ignored, as long as a server of the last one is connected.
    async fn adopt(&mut self, list: NodeList, current: &Current) {
        let nodes = current.nodes();
        if let Some(last) = &self.list {
            let are_all_down = nodes.all.iter().all(|node| node.server.failure().is_some());
            if *last == list || (list.version <= last.version && !are_all_down) {
                return;
            }
        }
        let next = self.setup.start(&list.servers, list.era(), &nodes.all, &Handle::current());
        if self.list.is_some() {
            let connected = async {
                for node in next.all.iter() {
                    // One that is down is used nevertheless: its names have no other server.
                    drop(node.server.connected().await);
                }
            };
            drop(timeout(PATIENCE, connected).await);
            tracing::warn!(version = list.version, "the servers have changed: {}", next.name());
        }
        current.replace(next);
        self.list = Some(list);
    }
}
