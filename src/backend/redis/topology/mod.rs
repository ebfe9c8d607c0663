//! The topology of the servers: a standalone one, a primary with a replica, or a cluster. It routes commands to servers.

mod cluster;
mod slots;
mod survey;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use tokio::runtime::Handle;

use self::cluster::Cluster;
pub use self::cluster::Layout;
use super::handshake::{ClusterObserver, ClusterPolicy, Endpoint, Login, Redis, Role};
use super::replay::Replay;
use super::scripts::ScriptSupport;
use super::sentinel::Sentinels;
use super::zones::{Named, Zones};
use crate::config::{Address, ConnectionConfig, RedisConfig, RedisTopology};
use crate::credentials::CredentialSource;
use crate::error::{Error, Result};
use crate::exec::context::CallContext;
use crate::exec::runtime::Runtime;
use crate::net::{Server, Tls};
use crate::util::lock;

/// The servers, and the rule by which commands go to them.
pub enum Topology {
    /// One server, with replicas of it that reads may go to.
    Standalone {
        primary: Arc<Server>,
        replicas: Vec<Arc<Server>>,
        zones: Arc<Zones>,
        /// The number of reads that a server was chosen for.
        reads: AtomicUsize,
        /// The discovery of a cluster; `None` behind sentinels, or if the configuration refuses clusters.
        discovery: Option<Arc<Discovery>>,
        is_behind_sentinels: bool,
    },
    /// A cluster: commands go to the owner of the slot.
    Cluster(Arc<Cluster>),
}

impl Topology {
    /// Begins to connect.
    pub fn open(
        config: &RedisConfig,
        credentials: CredentialSource,
        max_value_bytes: u64,
        replay: Replay,
        scripts: Arc<ScriptSupport>,
        has_channels: Arc<AtomicBool>,
        runtime: &Runtime,
    ) -> Result<Self> {
        let builder = Builder {
            config,
            login: Login {
                credentials: Arc::new(credentials),
                db: config.db,
                max_value_bytes,
                replay,
                scripts,
                has_channels,
                zones: Arc::new(Zones::new(config.availability_zone.clone())),
            },
            tls: config.tls.as_ref().map(Tls::new).transpose()?,
            handle: runtime.handle(),
        };
        Ok(match &config.topology {
            RedisTopology::Single(address) => builder.standalone(address),
            RedisTopology::Sentinel { sentinels, master, username, password } => {
                let credentials = Arc::new(CredentialSource::new(username.as_ref(), password.as_ref(), None));
                // Sentinels run no scripts.
                let login = Login { credentials, db: 0, scripts: Arc::default(), ..builder.login.clone() };
                builder.behind_sentinels(Sentinels::new(sentinels, master, login, &config.connection, &builder.tls))
            }
            RedisTopology::Cluster(seeds) => Self::Cluster(Cluster::spawn(
                seeds.clone(),
                builder.login.clone(),
                config.connection.clone(),
                builder.tls.clone(),
                config.replica_reads,
                builder.handle.clone(),
            )),
        })
    }

    /// Returns the cluster, if it is one.
    fn cluster(&self) -> Option<&Arc<Cluster>> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            Self::Standalone { discovery, .. } => discovery.as_ref()?.cluster(),
        }
    }

    fn standalone(&self) -> Option<(&Arc<Server>, &[Arc<Server>])> {
        match self {
            Self::Standalone { primary, replicas, .. } if self.cluster().is_none() => Some((primary, replicas)),
            _ => None,
        }
    }

    /// Returns the server that all commands go to, if there is one.
    pub fn only_server(&self) -> Option<&Arc<Server>> {
        self.standalone().filter(|(_, replicas)| replicas.is_empty()).map(|(primary, _)| primary)
    }

    /// Returns whether it is a cluster, with slots.
    pub fn is_cluster(&self) -> bool {
        self.cluster().is_some()
    }

    /// Returns whether it is a cluster, or may turn out to be one in the first handshake.
    pub fn may_be_cluster(&self) -> bool {
        match self {
            Self::Cluster(_) => true,
            Self::Standalone { discovery, .. } => {
                discovery.as_ref().is_some_and(|discovery| !discovery.is_known() || discovery.cluster().is_some())
            }
        }
    }

    /// Returns the server of a slot; `None` while no server has it.
    pub fn owner(&self, slot: u16, read: bool) -> Option<Arc<Server>> {
        match self {
            Self::Standalone { primary, replicas, zones, reads, .. } if self.cluster().is_none() => {
                let is_chosen = read && !replicas.is_empty();
                let chosen = || zones.choose(primary, replicas, reads.fetch_add(1, Relaxed));
                Some(Arc::clone(if is_chosen { chosen() } else { primary }))
            }
            _ => self.cluster()?.owner(slot, read),
        }
    }

    /// Returns the error for which the map of slots is not known.
    pub fn unknown(&self) -> Option<Error> {
        self.cluster()?.unknown()
    }

    /// Returns the server that a redirection names.
    pub fn redirected(&self, address: &str, asked: &Server) -> Option<Arc<Server>> {
        self.cluster()?.at(address, asked)
    }

    /// Returns the number of redirections so far.
    pub fn redirections(&self) -> u64 {
        self.cluster().map_or(0, |cluster| cluster.redirections())
    }

    /// Returns the servers that have entries now, and a number that changes with the owners of slots. Asks a node of a cluster.
    pub async fn survey_owners(&self) -> Result<(u64, Vec<Arc<Server>>)> {
        match self.cluster() {
            Some(cluster) => {
                cluster.relearned().await?;
                Ok((cluster.map_hash().unwrap_or(0), cluster.primaries()))
            }
            None => self.primaries().await.map(|servers| (0, servers)),
        }
    }

    /// Has the map of slots learned again: it may be wrong.
    pub fn mark_outdated(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.mark_outdated();
        }
    }

    /// Returns the servers that have entries, once they are known; at least one.
    pub async fn primaries(&self) -> Result<Vec<Arc<Server>>> {
        self.connected().await?;
        Ok(match (self.cluster(), self) {
            (Some(cluster), _) | (None, Self::Cluster(cluster)) => cluster.primaries(),
            (None, Self::Standalone { primary, .. }) => vec![Arc::clone(primary)],
        })
    }

    /// Returns the present layout of the entries on the servers.
    pub async fn look(&self, context: CallContext) -> Result<Arc<Layout>> {
        self.connected().await?;
        match (self.cluster(), self) {
            (Some(cluster), _) | (None, Self::Cluster(cluster)) => cluster.look(context).await,
            (None, Self::Standalone { primary, .. }) => Ok(Arc::new(Layout::of_one(primary))),
        }
    }

    /// Returns the layout that was seen last.
    pub async fn layout(&self, context: CallContext) -> Result<Arc<Layout>> {
        match self.cluster() {
            Some(cluster) => cluster.last_layout(context).await,
            None => self.look(context).await,
        }
    }

    /// Returns every server.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        match self.standalone() {
            Some((primary, replicas)) => [primary].into_iter().chain(replicas).cloned().collect(),
            None => self.cluster().map(|cluster| cluster.servers()).unwrap_or_default(),
        }
    }

    /// Returns the topology of the servers, as `yc_health` reports it.
    pub fn topology(&self) -> &'static str {
        match self {
            _ if self.is_cluster() => "cluster",
            Self::Standalone { is_behind_sentinels: true, .. } => "sentinel",
            _ => "single",
        }
    }

    /// Waits until the servers are known and, alone, connected.
    pub async fn connected(&self) -> Result<()> {
        let connected = match self {
            Self::Standalone { primary, .. } if self.cluster().is_none() => primary.connected().await,
            _ => Ok(()),
        };
        // Its handshake may have found a cluster meanwhile.
        match self.cluster() {
            Some(cluster) => cluster.known().await,
            None => connected,
        }
    }

    /// Returns the servers' names, for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Standalone { primary, .. } => primary.name().to_owned(),
            Self::Cluster(cluster) => {
                let seeds: Vec<String> = cluster.seeds.iter().map(ToString::to_string).collect();
                format!("cluster at {}", seeds.join(", "))
            }
        }
    }

    /// Closes all connections. Requests in flight have until the deadline.
    pub async fn close(&self, context: CallContext, deadline: Instant) {
        self.end_discovery();
        if let Some(cluster) = self.cluster() {
            cluster.close(context, deadline).await;
        }
        if let Self::Standalone { primary, replicas, .. } = self {
            for server in [primary].into_iter().chain(replicas) {
                server.close(context, deadline).await;
            }
        }
    }

    fn end_discovery(&self) {
        if let Self::Standalone { discovery: Some(discovery), .. } = self {
            discovery.close();
        }
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.end_discovery();
        if let Some(cluster) = self.cluster() {
            cluster.stop();
        }
        if let Self::Standalone { primary, replicas, .. } = self {
            [primary].into_iter().chain(replicas).for_each(|server| server.stop());
        }
    }
}

impl Named for Arc<Server> {
    fn name(&self) -> &str {
        Server::name(self)
    }

    fn is_up(&self) -> bool {
        Server::is_up(self)
    }
}

/// Starts the servers of a configuration.
struct Builder<'a> {
    config: &'a RedisConfig,
    login: Login,
    tls: Option<Tls>,
    handle: &'a Handle,
}

impl Builder<'_> {
    fn server(&self, name: &str, endpoint: Endpoint, role: Role, policy: ClusterPolicy) -> Arc<Server> {
        let protocol = Box::new(Redis::new(self.login.clone(), endpoint, role, policy));
        Server::spawn(name, protocol, &self.config.connection, self.tls.clone(), self.handle)
    }

    fn standalone(&self, address: &Address) -> Topology {
        let (config, tls, handle) = (self.config.connection.clone(), self.tls.clone(), self.handle.clone());
        let discover = || Discovery::new(address.clone(), self.login.clone(), config, tls, handle);
        let discovery = (!self.config.single_only).then(discover);
        let policy = match &discovery {
            Some(discovery) => ClusterPolicy::Detect(Arc::clone(discovery) as Arc<dyn ClusterObserver>),
            None => ClusterPolicy::Refuse,
        };
        let primary = self.server(&address.to_string(), Endpoint::Fixed(address.clone()), Role::Any, policy);
        discovery.iter().for_each(|discovery| discovery.set_server(&primary));
        let replica = |address: &Address| {
            let endpoint = Endpoint::Fixed(address.clone());
            self.server(&address.to_string(), endpoint, Role::Replica, ClusterPolicy::Refuse)
        };
        let replicas = self.config.replicas.iter().map(replica).collect();
        self.of(primary, replicas, discovery, false)
    }

    fn behind_sentinels(&self, sentinels: Sentinels) -> Topology {
        let start = |name: &str, sentinels, role| {
            self.server(name, Endpoint::Resolved(Box::new(sentinels)), role, ClusterPolicy::Expected)
        };
        let name = sentinels.master.clone();
        let replica = || start(&format!("replica of {name}"), sentinels.another(), Role::Replica);
        let replicas = self.config.replica_reads.then(replica).into_iter().collect();
        let primary = start(&name, sentinels, Role::Primary);
        self.of(primary, replicas, None, true)
    }

    fn of(
        &self,
        primary: Arc<Server>,
        replicas: Vec<Arc<Server>>,
        discovery: Option<Arc<Discovery>>,
        is_behind_sentinels: bool,
    ) -> Topology {
        let (zones, reads) = (Arc::clone(&self.login.zones), AtomicUsize::new(0));
        Topology::Standalone { primary, replicas, zones, reads, discovery, is_behind_sentinels }
    }
}

/// The discovery whether a standalone server is a node of a cluster, which is then used as a whole.
pub struct Discovery {
    seed: Address,
    login: Login,
    config: ConnectionConfig,
    tls: Option<Tls>,
    /// The cluster of the node; `None` inside once the cache is closed, when no cluster may begin.
    cluster: OnceLock<Option<Arc<Cluster>>>,
    /// True once a handshake has found out which of the two the server is.
    is_known: AtomicBool,
    /// The server itself, which a cluster replaces.
    server: OnceLock<Weak<Server>>,
    /// None once the cache is closed: a handle keeps the runtime's descriptors open.
    handle: Mutex<Option<Handle>>,
}

impl Discovery {
    fn new(seed: Address, login: Login, config: ConnectionConfig, tls: Option<Tls>, handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            seed,
            login,
            config,
            tls,
            cluster: OnceLock::new(),
            is_known: AtomicBool::new(false),
            server: OnceLock::new(),
            handle: Mutex::new(Some(handle)),
        })
    }

    /// Records the server that is connected to.
    fn set_server(&self, server: &Arc<Server>) {
        let _ = self.server.set(Arc::downgrade(server));
    }

    /// Returns the cluster, if the server is a node of one.
    fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()?.as_ref()
    }

    /// Returns whether a handshake has found out which of the two the server is.
    fn is_known(&self) -> bool {
        self.is_known.load(Relaxed)
    }

    /// Prevents that a cluster begins from now on.
    fn close(&self) {
        drop(lock(&self.handle).take());
        let _ = self.cluster.set(None);
    }
}

impl ClusterObserver for Discovery {
    fn found_standalone(&self) {
        self.is_known.store(true, Relaxed);
    }

    /// Uses the cluster from now on, and closes the connections to the node alone.
    fn found_cluster(&self) {
        let Some(handle) = lock(&self.handle).clone() else { return };
        let begin = || {
            let (seeds, login, config) = (vec![self.seed.clone()], self.login.clone(), self.config.clone());
            Some(Cluster::spawn(seeds, login, config, self.tls.clone(), false, handle))
        };
        self.cluster.get_or_init(begin);
        self.is_known.store(true, Relaxed);
        if let Some(server) = self.server.get().and_then(Weak::upgrade) {
            server.retire_at_once();
        }
    }
}
