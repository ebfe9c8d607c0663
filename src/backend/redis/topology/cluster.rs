//! A cluster: the servers of its slots, learned from any node and again whenever they change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use memchr::memmem;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::slots::{Node, Range, SLOTS, ranges};
use crate::backend::redis::handshake::{ClusterPolicy, Endpoint, Login, Redis, Role};
use crate::backend::redis::resp::command;
use crate::backend::redis::server_error;
use crate::config::{Address, ConnectionConfig};
use crate::entry::fingerprint;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{Server, Tls, ask_once, protocol_error};
use crate::util::lock;

/// The time after which the map is asked for again, changed or not.
const ROUTINE: Duration = Duration::from_secs(30);
/// The shorter time while a server of the map is out of reach.
const TROUBLED: Duration = Duration::from_millis(300);
/// The least time between two requests for the map, however many redirections come.
const SPACING: Duration = Duration::from_millis(50);
/// The shard of a slot without an owner.
const UNASSIGNED: u16 = u16::MAX;

/// A primary and its replicas.
pub struct Shard {
    pub primary: Arc<Server>,
    pub replicas: Vec<Arc<Server>>,
}

/// The shards of all slots.
struct Map {
    /// A hash of the reply that it was read from.
    hash: u64,
    owners: Vec<u16>,
    shards: Vec<Shard>,
}

/// The servers that have keys.
pub struct Layout {
    /// A hash: two layouts with the same hash are the same.
    pub hash: u64,
    /// True if keys are moving between servers, one by one, or may be.
    pub is_moving: bool,
    /// The servers, in an order that is the same for the same hash.
    pub servers: Vec<Arc<Server>>,
}

impl Layout {
    /// Returns the layout of a single server.
    pub fn of_one(server: &Arc<Server>) -> Self {
        Self { hash: 0, is_moving: false, servers: vec![Arc::clone(server)] }
    }
}

/// The nodes of a cluster, and the map of its slots.
pub struct Cluster {
    pub seeds: Vec<Address>,
    pub login: Login,
    pub config: ConnectionConfig,
    pub tls: Option<Tls>,
    pub replica_reads: bool,
    /// None once the cluster is closed: a handle keeps the runtime's descriptors open.
    handle: Mutex<Option<Handle>>,
    servers: Mutex<HashMap<(Address, bool), Arc<Server>>>,
    map: ArcSwapOption<Map>,
    /// The layout that was found last.
    layout: ArcSwapOption<Layout>,
    outdated: Notify,
    redirections: AtomicU64,
    /// The number of maps that were learned.
    learned: AtomicU64,
    /// The number of requests for the slot map that began, and of those that ended, with a reply or without.
    asked: AtomicU64,
    answered: watch::Sender<u64>,
    /// The outcome of the last request for the map; `None` before the first.
    known: watch::Sender<Option<Result<()>>>,
    closed: AtomicBool,
}

impl Cluster {
    /// Spawns the task of a cluster, which asks for the map at once.
    pub fn spawn(
        seeds: Vec<Address>,
        login: Login,
        config: ConnectionConfig,
        tls: Option<Tls>,
        replica_reads: bool,
        handle: Handle,
    ) -> Arc<Self> {
        let cluster = Arc::new(Self {
            seeds,
            login,
            config,
            tls,
            replica_reads,
            handle: Mutex::new(Some(handle.clone())),
            servers: Mutex::default(),
            map: ArcSwapOption::empty(),
            layout: ArcSwapOption::empty(),
            outdated: Notify::new(),
            redirections: AtomicU64::new(0),
            learned: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            known: watch::Sender::new(None),
            closed: AtomicBool::new(false),
        });
        handle.spawn(keep_current(Arc::clone(&cluster)));
        cluster
    }

    /// Returns the server of a slot; a replica for reads, if they may be behind.
    pub fn owner(&self, slot: u16, read: bool) -> Option<Arc<Server>> {
        let map = self.map.load();
        let map = map.as_ref()?;
        let shard = map.shards.get(usize::from(*map.owners.get(usize::from(slot))?))?;
        // The commands of a slot go to one server, those of others to others.
        let chosen = || self.login.zones.choose(&shard.primary, &shard.replicas, usize::from(slot));
        Some(Arc::clone(if read { chosen() } else { &shard.primary }))
    }

    /// Returns the number of redirections so far.
    pub fn redirections(&self) -> u64 {
        self.redirections.load(Relaxed)
    }

    /// Returns the server that a redirection names, at the host of the asked one if it names none.
    pub fn at(&self, address: &str, asked: &Server) -> Option<Arc<Server>> {
        self.redirections.fetch_add(1, Relaxed);
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match host {
            "?" => return self.only_one_at(port),
            "" => asked.name().rsplit_once(':')?.0,
            host => host,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        self.server(Address::Tcp { host, port }, false)
    }

    /// Returns the only primary at this port of any host; `None` if there are several, which the map will tell apart.
    fn only_one_at(&self, wanted: u16) -> Option<Arc<Server>> {
        let servers = self.lock();
        let mut fitting = servers.iter().filter(|((address, replica), _)| {
            !replica && matches!(address, Address::Tcp { port, .. } if *port == wanted)
        });
        let (_, server) = fitting.next()?;
        fitting.next().is_none().then(|| Arc::clone(server))
    }

    /// Has the map asked for again: it is outdated.
    pub fn mark_outdated(&self) {
        self.outdated.notify_one();
    }

    /// Returns every primary, in an order that lasts as long as the map.
    pub fn primaries(&self) -> Vec<Arc<Server>> {
        let map = self.map.load();
        map.iter().flat_map(|map| map.shards.iter().map(|shard| Arc::clone(&shard.primary))).collect()
    }

    /// Waits until the map is known, or returns the error for which it is not.
    pub async fn known(&self) -> Result<()> {
        let mut known = self.known.subscribe();
        let result = known.wait_for(Option::is_some).await;
        result
            .ok()
            .and_then(|known| known.clone())
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Closed, "the cache was closed")))
    }

    /// Returns the error for which no map is known, if one was asked for in vain.
    pub fn unknown(&self) -> Option<Error> {
        self.known.borrow().as_ref()?.as_ref().err().cloned()
    }

    /// Waits until a node was asked for the map after this call, or none could be.
    pub async fn refreshed(&self) -> Result<()> {
        let next = self.asked.load(SeqCst) + 1;
        self.outdated.notify_one();
        let mut answered = self.answered.subscribe();
        let _ = answered.wait_for(|answered| *answered >= next).await;
        self.known().await
    }

    /// Waits until a node has told the map after this call; fails if none did.
    pub async fn relearned(&self) -> Result<()> {
        let before = self.learned.load(SeqCst);
        self.refreshed().await?;
        if self.learned.load(SeqCst) == before { Err(untold()) } else { Ok(()) }
    }

    /// Returns the layout that was seen last, or the present one.
    pub async fn last_layout(&self, context: CallContext) -> Result<Arc<Layout>> {
        match self.layout.load_full() {
            Some(layout) => Ok(layout),
            None => self.look(context).await,
        }
    }

    pub(super) fn keep_layout(&self, layout: Layout) -> Arc<Layout> {
        let layout = Arc::new(layout);
        let known = self.primaries();
        let is_known = |server: &Arc<Server>| known.iter().any(|known| Arc::ptr_eq(known, server));
        if !layout.servers.iter().all(is_known) {
            self.mark_outdated();
        }
        self.layout.store(Some(Arc::clone(&layout)));
        layout
    }

    /// Returns a hash of the map, if each slot has an owner.
    pub(super) fn map_hash(&self) -> Option<u64> {
        self.map.load().as_ref().filter(|map| !map.owners.contains(&UNASSIGNED)).map(|map| map.hash)
    }

    /// Returns the server that another node describes.
    pub(super) fn server_of(&self, node: &Node) -> Option<Arc<Server>> {
        let known = node.addresses().find(|address| self.lock().contains_key(&(address.clone(), false)));
        self.server(known.or_else(|| node.addresses().next())?, false)
    }

    /// Returns every server.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.lock().values().cloned().collect()
    }

    /// Closes the cluster: no map is learned and no server is connected to any more.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        self.closed.store(true, Relaxed);
        self.outdated.notify_one();
        for server in self.servers() {
            server.close(context, deadline).await;
        }
        self.stop();
    }

    /// Closes the cluster at once.
    pub fn stop(&self) {
        self.closed.store(true, Relaxed);
        drop(lock(&self.handle).take());
        self.outdated.notify_one();
        self.servers().iter().for_each(|server| server.stop());
    }

    fn handle(&self) -> Option<Handle> {
        lock(&self.handle).clone()
    }

    /// Returns the server at an address, which is connected to from now on; `None` once the cluster is closed.
    fn server(&self, address: Address, replica: bool) -> Option<Arc<Server>> {
        let handle = self.handle()?;
        let mut servers = self.lock();
        let server = servers.entry((address.clone(), replica)).or_insert_with(|| {
            let role = if replica { Role::ClusterReplica } else { Role::Any };
            let name = address.to_string();
            let protocol = Redis::new(self.login.clone(), Endpoint::Fixed(address), role, ClusterPolicy::Expected);
            Server::spawn(&name, Box::new(protocol), &self.config, self.tls.clone(), &handle)
        });
        Some(Arc::clone(server))
    }

    /// Asks one node after another for the map, those of the last map first.
    async fn learn(&self) -> Result<()> {
        let mut last = Error::new(ErrorKind::Connect, "no node of the cluster is configured: set url or nodes");
        for address in self.candidates() {
            match self.ask(&address).await {
                Ok(ranges) => {
                    self.adopt(&ranges, &address);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn candidates(&self) -> Vec<Address> {
        let servers = self.lock();
        let (up, down): (Vec<_>, Vec<_>) = servers.iter().partition(|(_, server)| server.failure().is_none());
        let known = up.into_iter().chain(down).map(|((address, _), _)| address.clone());
        let mut candidates: Vec<Address> = Vec::new();
        for address in known.chain(self.seeds.iter().cloned()) {
            if !candidates.contains(&address) {
                candidates.push(address);
            }
        }
        candidates
    }

    async fn ask(&self, address: &Address) -> Result<Vec<Range>> {
        let endpoint = Endpoint::Fixed(address.clone());
        let protocol = Redis::new(self.login.clone(), endpoint, Role::Any, ClusterPolicy::Expected);
        let mut request = Vec::new();
        command(&mut request, &[b"CLUSTER", b"SLOTS"]);
        let name = address.to_string();
        let limit = self.config.connect_timeout.min(Duration::from_secs(1));
        let asked = timeout(limit, ask_once(&name, &protocol, &self.config, self.tls.as_ref(), &request)).await;
        let reply = asked.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Connect, format!("{name}: no reply in time: check the server and the network")))
        })?;
        let ranges = match reply.first() {
            Some(b'-') if memmem::find(&reply, b"cluster support disabled").is_some() => return Err(no_cluster(&name)),
            Some(b'-') => return Err(server_error::error(&name, reply[1..].trim_ascii())),
            _ => ranges(&reply).ok_or_else(|| protocol_error(&name, "an unexpected reply to CLUSTER SLOTS"))?,
        };
        if ranges.iter().all(|range| range.nodes.is_empty()) {
            return Err(Error::new(
                ErrorKind::Server,
                format!("{name}: the cluster has no slots assigned yet: create the cluster, or try again later"),
            ));
        }
        Ok(ranges)
    }

    fn adopt(&self, ranges: &[Range], asked: &Address) {
        let address = |(host, port): &(String, u16)| match asked {
            Address::Tcp { host: known, .. } if host.is_empty() => Address::Tcp { host: known.clone(), port: *port },
            // Asked through a unix socket: the node is on this host.
            Address::Unix(_) if host.is_empty() => Address::Tcp { host: "127.0.0.1".to_owned(), port: *port },
            _ => Address::Tcp { host: host.clone(), port: *port },
        };
        let mut map = Map {
            hash: fingerprint(format!("{ranges:?}").as_bytes()),
            owners: vec![UNASSIGNED; SLOTS],
            shards: Vec::new(),
        };
        let mut used = Vec::new();
        for range in ranges {
            let Some((primary, replicas)) = range.nodes.split_first() else { continue };
            let Some(primary) = self.server(address(primary), false) else { return };
            let shard =
                map.shards.iter().position(|shard| Arc::ptr_eq(&shard.primary, &primary)).unwrap_or_else(|| {
                    let replicas = if self.replica_reads { replicas } else { &[] };
                    let replicas = replicas.iter().filter_map(|replica| self.server(address(replica), true)).collect();
                    map.shards.push(Shard { primary, replicas });
                    map.shards.len() - 1
                });
            let owner = u16::try_from(shard).unwrap_or(UNASSIGNED);
            map.owners[usize::from(range.first)..=usize::from(range.last)].fill(owner);
        }
        map.shards.iter().for_each(|shard| {
            used.push(Arc::clone(&shard.primary));
            used.extend(shard.replicas.iter().cloned());
        });
        self.keep_takers(&mut used);
        self.map.store(Some(Arc::new(map)));
        self.retire(&used);
    }

    /// Keeps servers that only take slots over, which are in no map. A server that the map has lost makes the layout
    /// outdated.
    fn keep_takers(&self, used: &mut Vec<Arc<Server>>) {
        let Some(layout) = self.layout.load_full() else { return };
        let before = self.primaries();
        let has = |servers: &[Arc<Server>], server| servers.iter().any(|it| Arc::ptr_eq(it, server));
        for server in &layout.servers {
            if !has(&before, server) {
                used.push(Arc::clone(server));
            } else if !has(used, server) {
                self.layout.store(None);
            }
        }
    }

    /// Closes servers that the cluster has no longer; requests in flight get a moment.
    fn retire(&self, used: &[Arc<Server>]) {
        let mut servers = self.lock();
        let is_used = |server: &Arc<Server>| used.iter().any(|used| Arc::ptr_eq(used, server));
        let retired: Vec<_> = servers.extract_if(|_, server| !is_used(server)).map(|(_, server)| server).collect();
        drop(servers);
        let Some(handle) = self.handle() else { return };
        for server in retired {
            handle.spawn(async move {
                server.retire(CallContext::task(), Instant::now() + Duration::from_secs(2)).await;
            });
        }
    }

    fn is_troubled(&self) -> bool {
        self.map.load().is_none() || self.primaries().iter().any(|primary| primary.failure().is_some())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Address, bool), Arc<Server>>> {
        lock(&self.servers)
    }
}

#[cold]
fn untold() -> Error {
    Error::new(ErrorKind::Connect, "no node of the cluster tells which node has which slots")
}

#[cold]
fn no_cluster(server: &str) -> Error {
    let text = format!(
        "{server}: the server is not a node of a cluster: use redis:// (or rediss://), or remove `cluster` and `nodes`"
    );
    Error::new(ErrorKind::Config, text)
}

/// Keeps the map current until the cluster is closed.
async fn keep_current(cluster: Arc<Cluster>) {
    while !cluster.closed.load(Relaxed) {
        let asked = cluster.asked.fetch_add(1, SeqCst) + 1;
        let learned = Box::pin(cluster.learn()).await;
        cluster.learned.fetch_add(u64::from(learned.is_ok()), SeqCst);
        // Once it is known, a map that cannot be had again is no reason to refuse calls.
        if learned.is_ok() || cluster.map.load().is_none() {
            cluster.known.send_replace(Some(learned));
        }
        cluster.answered.send_replace(asked);
        sleep(SPACING).await;
        let patience = if cluster.is_troubled() { TROUBLED } else { ROUTINE };
        let mut left = patience;
        // A server that fails meanwhile shortens the wait.
        while !left.is_zero() {
            let step = left.min(TROUBLED);
            if timeout(step, cluster.outdated.notified()).await.is_ok() || cluster.is_troubled() {
                break;
            }
            left -= step;
        }
    }
    cluster.stop();
    cluster.answered.send_replace(u64::MAX);
}
