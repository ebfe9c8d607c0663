//! The servers of a cache, and which of them has a name.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::clock::ServerClock;
use super::crawl::Crawler;
use super::handshake::Memcached;
use super::names::EpochKind;
use super::node_list::{self, NodeList};
use super::protocol::Codec;
use super::ring::Ring;
use super::server_info::ServerInfo;
use crate::config::{
    Address, Config, ConnectionConfig, Discovery, Distribution, Failover, KeyHash, MemcachedConfig, MemcachedServer,
};
use crate::credentials::CredentialSource;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::net::{Server, Tls};
use crate::util::lock;

/// All servers.
pub struct Nodes {
    pub all: Box<[Arc<Node>]>,
    ring: Ring,
    /// True if the remaining servers take over the names of a server that is down.
    pub ejects: bool,
    /// The number of the node list; 0 if there is none. Entries count only with the list that they were set with.
    pub era: u32,
    pub protocol: Codec,
    pub prefix: String,
    pub connection: ConnectionConfig,
    pub tls: Option<Tls>,
    /// None once it is closed: a handle keeps the runtime's descriptors open.
    handle: Mutex<Option<Handle>>,
    /// Numbers of requests; a reply repeats its own.
    opaque: Arc<AtomicU32>,
}

/// The settings that the servers of a cache share.
pub struct Setup {
    prefix: String,
    codec: Codec,
    credentials: Arc<CredentialSource>,
    max_value_bytes: u64,
    connection: ConnectionConfig,
    tls: Option<Tls>,
    distribution: Distribution,
    hash: KeyHash,
    ejects: bool,
    /// True if each item gets flags when it is sent.
    flagged: bool,
    opaque: Arc<AtomicU32>,
}

/// One server.
pub struct Node {
    pub server: Arc<Server>,
    pub info: Arc<ServerInfo>,
    pub clock: Arc<ServerClock>,
    pub epochs: Epochs,
    pub crawler: Arc<Crawler>,
}

/// The known epochs of a server, and whether it is out of the ring.
#[derive(Default)]
pub struct Epochs {
    away: AtomicBool,
    /// The epoch that was read last. 0: unknown.
    numbers: [AtomicU32; 2],
}

impl Epochs {
    /// True while other servers have its names.
    pub fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// Takes the server out of the ring, or back in.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Relaxed);
    }

    /// The epoch as it was read last.
    pub fn known(&self, kind: EpochKind) -> Option<u32> {
        Some(self.numbers[kind as usize].load(Relaxed)).filter(|number| *number != 0)
    }

    /// Remembers what was read.
    pub fn learn(&self, kind: EpochKind, number: u32) {
        self.numbers[kind as usize].store(number, Relaxed);
    }
}

/// The server of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub node: usize,
    pub kind: EpochKind,
}

impl Setup {
    /// Reads the configuration.
    pub fn new(config: &Config, memcached: &MemcachedConfig) -> Result<Self> {
        let credentials = match memcached.connection.renews_credentials {
            true => CredentialSource::renewed(&config.renewal),
            false => CredentialSource::new(
                memcached.username.as_ref(),
                memcached.password.as_ref(),
                memcached.password_file.as_ref(),
            ),
        };
        let ejects = memcached.failover == Failover::Eject && memcached.servers.len() > 1;
        Ok(Self {
            prefix: config.key_prefix.clone(),
            codec: if memcached.binary { Codec::Binary } else { Codec::Meta },
            credentials: Arc::new(credentials),
            max_value_bytes: config.max_value_bytes,
            connection: memcached.connection.clone(),
            tls: memcached.tls.as_ref().map(Tls::new).transpose()?,
            distribution: memcached.distribution,
            hash: memcached.hash,
            ejects,
            flagged: ejects || memcached.discovery == Discovery::Config,
            opaque: Arc::default(),
        })
    }

    /// Begins to connect to those of these servers that are not among the former ones.
    pub fn start(&self, servers: &[MemcachedServer], era: u32, former: &[Arc<Node>], handle: &Handle) -> Arc<Nodes> {
        let node = |server: &MemcachedServer| {
            let known = former.iter().find(|node| node.crawler.address == server.address);
            known.map_or_else(|| Arc::new(self.node(server, handle)), Arc::clone)
        };
        Arc::new(Nodes {
            all: servers.iter().map(node).collect(),
            ring: Ring::new(servers, self.distribution, self.hash),
            ejects: self.ejects,
            era,
            protocol: self.codec,
            prefix: self.prefix.clone(),
            connection: self.connection.clone(),
            tls: self.tls.clone(),
            handle: Mutex::new(Some(handle.clone())),
            opaque: Arc::clone(&self.opaque),
        })
    }

    fn node(&self, server: &MemcachedServer, handle: &Handle) -> Node {
        let (info, clock) = (Arc::new(ServerInfo::new(self.flagged)), Arc::<ServerClock>::default());
        let protocol = Box::new(Memcached {
            address: server.address.clone(),
            codec: self.codec,
            credentials: Arc::clone(&self.credentials),
            max_value_bytes: self.max_value_bytes,
            info: Arc::clone(&info),
            clock: Arc::clone(&clock),
        });
        let name = server.address.to_string();
        let started = Server::spawn(&name, protocol, &self.connection, self.tls.clone(), handle);
        let crawler = Arc::new(Crawler {
            server: started.name().to_owned(),
            address: server.address.clone(),
            codec: self.codec,
            credentials: Arc::clone(&self.credentials),
            connection: self.connection.clone(),
            tls: self.tls.clone(),
            info: Arc::clone(&info),
            waiting: Mutex::default(),
        });
        Node { server: started, info, clock, epochs: Epochs::default(), crawler }
    }

    /// Asks a server for the node list.
    pub async fn ask_for_list(&self, address: &Address) -> Result<NodeList> {
        node_list::ask(address, &self.credentials, &self.connection, self.tls.as_ref()).await
    }
}

impl Nodes {
    /// Returns true if entries count only with a number that they carry as their flags.
    pub fn has_marked_entries(&self) -> bool {
        self.ejects || self.era != 0
    }

    /// Returns the current server of a name, or `None` if no server is available.
    pub fn owner(&self, name: &[u8]) -> Option<Owner> {
        if self.all.is_empty() {
            return None;
        }
        if !self.ejects {
            return Some(Owner { node: self.ring.owner(name), kind: EpochKind::Home });
        }
        let home = self.ring.owner(name);
        let node = self.ring.owner_among(name, |node| !self.all[node].epochs.is_away())?;
        Some(Owner { node, kind: if node == home { EpochKind::Home } else { EpochKind::Away } })
    }

    /// Waits until the limits and the clock of each name's server are known, or the server is known to be down. A
    /// server that is silent takes no more than half of a call's time from the names of the others.
    pub async fn make_ready(&self, context: CallContext, names: &[&[u8]]) -> Vec<Result<()>> {
        let left = context.left_or(self.connection.timeout);
        let end = Instant::now() + if names.len() > 1 { left / 2 } else { left };
        let mut known: Vec<Option<Result<()>>> = self.all.iter().map(|_| None).collect();
        let mut ready = Vec::with_capacity(names.len());
        for name in names {
            let Some(owner) = self.owner(name) else {
                ready.push(Err(self.all_away()));
                continue;
            };
            if known[owner.node].is_none() {
                known[owner.node] = Some(self.is_known(context, owner.node, end).await);
            }
            ready.push(known[owner.node].clone().unwrap_or(Ok(())));
        }
        ready
    }

    async fn is_known(&self, context: CallContext, node: usize, end: Instant) -> Result<()> {
        let node = &self.all[node];
        if node.info.are_known() {
            return Ok(());
        }
        let connected = context.run_until(end, |_| node.server.connected()).await;
        connected.unwrap_or_else(|| Err(context.timed_out(node.server.name(), self.connection.timeout)))
    }

    /// The time in ms since 1970 by the clock of a name's server.
    pub fn now_ms(&self, name: &[u8]) -> u64 {
        self.owner(name).map_or_else(crate::util::clock::unix_millis, |owner| self.all[owner.node].clock.now_ms())
    }

    /// Refuses the lengths of an entry that the server of a name would refuse.
    pub fn check_item(&self, name: &[u8], bytes: usize) -> Result<()> {
        let Some(owner) = self.owner(name) else { return Ok(()) };
        let node = &self.all[owner.node];
        node.info.check_item(node.server.name(), name.len(), bytes, false)
    }

    /// Numbers for so many requests.
    pub fn numbers(&self, requests: usize) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // They wrap anyway.
        self.opaque.fetch_add(requests as u32, Relaxed)
    }

    /// Waits until each server is connected or known to be down. One that is
    /// out of reach takes its share of names with it, unless all are; one that
    /// refuses this client is a fault of the configuration.
    pub async fn connected(&self) -> Result<()> {
        let mut unreached = None;
        for node in &self.all {
            match node.server.connected().await {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout) => {
                    unreached = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        match unreached {
            Some(error) if self.all.iter().all(|node| node.server.failure().is_some()) => Err(error),
            _ => Ok(()),
        }
    }

    /// Starts a background task. Returns `None` after the close.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Option<JoinHandle<T>> {
        lock(&self.handle).as_ref().map(|handle| handle.spawn(task))
    }

    /// The servers' names, for messages.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|node| node.server.name()).collect();
        names.join(", ")
    }

    /// Ends all connections; what is under way has until the deadline.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        drop(lock(&self.handle).take());
        for node in &self.all {
            node.server.close(context, deadline).await;
        }
    }

    /// Returns the error of a name that no server has.
    #[cold]
    pub fn all_away(&self) -> Error {
        let failure = self.all.iter().find_map(|node| node.server.failure());
        failure.unwrap_or_else(|| {
            Error::new(
                ErrorKind::Connect,
                format!("{}: no server is connected: check that the servers are running, and the network", self.name()),
            )
        })
    }
}

/// A node is in several lists while calls with an earlier list are in flight.
impl Drop for Node {
    fn drop(&mut self) {
        self.server.retire_at_once();
    }
}
