//! Which server a command goes to: the only one, the primary or a replica of it, or the owner of its slot.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use super::cluster::Cluster;
use super::found::{Clustering, Found};
use super::greet::{Login, Place, Redis, Role};
use super::layout::Layout;
use super::replay::Replay;
use super::sentinel::Sentinels;
use crate::config::{Address, RedisConfig, RedisTopology};
use crate::error::{Error, Result};
use crate::net::{Server, Tls};
use crate::runtime::Runtime;

/// Where commands go.
pub enum Route {
    /// To one server, with one replica of it that reads may go to.
    Alone {
        primary: Arc<Server>,
        replica: Option<Arc<Server>>,
        /// The outcome of the check for a cluster; `None` behind sentinels, or if the configuration refuses clusters.
        found: Option<Arc<Found>>,
        is_behind_sentinels: bool,
    },
    /// To the owner of the slot.
    Cluster(Arc<Cluster>),
}

impl Route {
    /// Begins to connect.
    pub fn start(config: &RedisConfig, max_value_bytes: u64, replay: Replay, runtime: &Runtime) -> Result<Self> {
        let start = Start {
            config,
            login: Login {
                username: config.username.clone(),
                password: config.password.clone(),
                db: config.db,
                max_value_bytes,
                replay,
            },
            tls: config.tls.as_ref().map(Tls::new).transpose()?,
            handle: runtime.handle(),
        };
        Ok(match &config.topology {
            RedisTopology::Single(address) => start.single(address),
            RedisTopology::Sentinel { sentinels, master, username, password } => {
                let login =
                    Login { username: username.clone(), password: password.clone(), db: 0, ..start.login.clone() };
                start.behind_sentinels(Sentinels::new(sentinels, master, login, &config.connection, &start.tls))
            }
            RedisTopology::Cluster(seeds) => Self::Cluster(Cluster::start(
                seeds.clone(),
                start.login.clone(),
                config.connection.clone(),
                start.tls.clone(),
                config.replica_reads,
                start.handle.clone(),
            )),
        })
    }

    /// The cluster, where it is one.
    fn cluster(&self) -> Option<&Arc<Cluster>> {
        match self {
            Self::Cluster(cluster) => Some(cluster),
            Self::Alone { found, .. } => found.as_ref()?.cluster(),
        }
    }

    fn alone(&self) -> Option<(&Arc<Server>, Option<&Arc<Server>>)> {
        match self {
            Self::Alone { primary, replica, .. } if self.cluster().is_none() => Some((primary, replica.as_ref())),
            _ => None,
        }
    }

    /// The server that all commands go to, where there is one.
    pub fn only_server(&self) -> Option<&Arc<Server>> {
        self.alone().filter(|(_, replica)| replica.is_none()).map(|(primary, _)| primary)
    }

    /// Whether slots matter.
    pub fn is_cluster(&self) -> bool {
        self.cluster().is_some()
    }

    /// The same before the first handshake, when it may turn out so.
    pub fn may_be_cluster(&self) -> bool {
        match self {
            Self::Cluster(_) => true,
            Self::Alone { found, .. } => {
                found.as_ref().is_some_and(|found| !found.is_known() || found.cluster().is_some())
            }
        }
    }

    /// The server of a slot; `None` while nobody has it.
    pub fn owner(&self, slot: u16, read: bool) -> Option<Arc<Server>> {
        match self.alone() {
            Some((primary, replica)) => {
                let replica = replica.filter(|replica| read && replica.failure().is_none());
                Some(Arc::clone(replica.unwrap_or(primary)))
            }
            None => self.cluster()?.owner(slot, read),
        }
    }

    /// Why it is not known who has which slot.
    pub fn unknown(&self) -> Option<Error> {
        self.cluster()?.unknown()
    }

    /// The server a redirection names.
    pub fn redirected(&self, address: &str, asked: &Server) -> Option<Arc<Server>> {
        self.cluster()?.at(address, asked)
    }

    /// What is known of the servers may be wrong: it is learned anew.
    pub fn mark_outdated(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.mark_outdated();
        }
    }

    /// The servers that have entries, once they are known; never none.
    pub async fn primaries(&self) -> Result<Vec<Arc<Server>>> {
        self.connected().await?;
        Ok(match (self.cluster(), self) {
            (Some(cluster), _) | (None, Self::Cluster(cluster)) => cluster.primaries(),
            (None, Self::Alone { primary, .. }) => vec![Arc::clone(primary)],
        })
    }

    /// Returns the present layout of the entries on the servers.
    pub async fn look(&self) -> Result<Arc<Layout>> {
        self.connected().await?;
        match (self.cluster(), self) {
            (Some(cluster), _) | (None, Self::Cluster(cluster)) => cluster.look().await,
            (None, Self::Alone { primary, .. }) => Ok(Arc::new(Layout::of_one(primary))),
        }
    }

    /// The same, as it was seen last.
    pub async fn layout(&self) -> Result<Arc<Layout>> {
        match self.cluster() {
            Some(cluster) => cluster.last_layout().await,
            None => self.look().await,
        }
    }

    /// Every server.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        match self.alone() {
            Some((primary, replica)) => [primary].into_iter().chain(replica).cloned().collect(),
            None => self.cluster().map(|cluster| cluster.servers()).unwrap_or_default(),
        }
    }

    /// Returns the topology of the servers, as `yc_health` reports it.
    pub fn topology(&self) -> &'static str {
        match self {
            _ if self.is_cluster() => "cluster",
            Self::Alone { is_behind_sentinels: true, .. } => "sentinel",
            _ => "single",
        }
    }

    /// Waits until the servers are known and, alone, connected.
    pub async fn connected(&self) -> Result<()> {
        let connected = match self {
            Self::Alone { primary, .. } if self.cluster().is_none() => primary.connected().await,
            _ => Ok(()),
        };
        // Its handshake may have found a cluster meanwhile.
        match self.cluster() {
            Some(cluster) => cluster.known().await,
            None => connected,
        }
    }

    /// The servers' names, for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Alone { primary, .. } => primary.name().to_owned(),
            Self::Cluster(cluster) => {
                let seeds: Vec<String> = cluster.seeds.iter().map(ToString::to_string).collect();
                format!("cluster at {}", seeds.join(", "))
            }
        }
    }

    /// Ends all connections; what is under way has until the deadline.
    pub async fn close(&self, deadline: Instant) {
        self.find_nothing();
        if let Some(cluster) = self.cluster() {
            cluster.close(deadline).await;
        }
        if let Self::Alone { primary, replica, .. } = self {
            for server in [primary].into_iter().chain(replica) {
                server.close(deadline).await;
            }
        }
    }

    fn find_nothing(&self) {
        if let Self::Alone { found: Some(found), .. } = self {
            found.close();
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.find_nothing();
        if let Some(cluster) = self.cluster() {
            cluster.stop();
        }
        if let Self::Alone { primary, replica, .. } = self {
            [primary].into_iter().chain(replica).for_each(|server| server.stop());
        }
    }
}

/// The parameters with which servers are started.
struct Start<'a> {
    config: &'a RedisConfig,
    login: Login,
    tls: Option<Tls>,
    handle: &'a Handle,
}

impl Start<'_> {
    fn server(&self, name: &str, place: Place, role: Role, clustering: Clustering) -> Arc<Server> {
        let protocol = Box::new(Redis::new(self.login.clone(), place, role, clustering));
        Server::start(name, protocol, &self.config.connection, self.tls.clone(), self.handle)
    }

    fn single(&self, address: &Address) -> Route {
        let (config, tls, handle) = (self.config.connection.clone(), self.tls.clone(), self.handle.clone());
        let may_be_found = || Found::new(address.clone(), self.login.clone(), config, tls, handle);
        let found = (!self.config.single_only).then(may_be_found);
        let clustering = found.clone().map_or(Clustering::Refused, Clustering::Used);
        let primary = self.server(&address.to_string(), Place::At(address.clone()), Role::Any, clustering);
        found.iter().for_each(|found| found.is_of(&primary));
        Route::Alone { primary, replica: None, found, is_behind_sentinels: false }
    }

    fn behind_sentinels(&self, sentinels: Sentinels) -> Route {
        let start =
            |name: &str, sentinels, role| self.server(name, Place::By(Box::new(sentinels)), role, Clustering::Expected);
        let name = sentinels.master.clone();
        let replica = || start(&format!("replica of {name}"), sentinels.another(), Role::Replica);
        let replica = self.config.replica_reads.then(replica);
        let primary = start(&name, sentinels, Role::Primary);
        Route::Alone { primary, replica, found: None, is_behind_sentinels: true }
    }
}
