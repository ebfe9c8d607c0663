//! Which server a command goes to: the only one, the primary or a replica of it, or the owner of its slot.

use std::sync::Arc;
use std::time::Instant;

use super::cluster::Cluster;
use super::greet::{Login, Place, Redis, Role};
use super::layout::Layout;
use super::sentinel::Sentinels;
use crate::config::{RedisConfig, RedisTopology};
use crate::error::Result;
use crate::runtime::Runtime;
use crate::wire::{Server, Tls};

/// Where commands go.
pub enum Route {
    /// To one server, with one replica of it that reads may go to.
    Alone { primary: Arc<Server>, replica: Option<Arc<Server>> },
    /// To the owner of the slot.
    Cluster(Arc<Cluster>),
}

impl Route {
    /// Begins to connect.
    pub fn start(config: &RedisConfig, max_value_bytes: u64, runtime: &Runtime) -> Result<Self> {
        let tls = config.tls.as_ref().map(Tls::new).transpose()?;
        let login = Login {
            username: config.username.clone(),
            password: config.password.clone(),
            db: config.db,
            max_value_bytes,
        };
        let server = |name: &str, place: Place, role: Role| {
            let dialect = Box::new(Redis { login: login.clone(), place, role });
            Server::start(name, dialect, &config.connection, tls.clone(), runtime.handle())
        };
        Ok(match &config.topology {
            RedisTopology::Single(address) => {
                let primary = server(&address.to_string(), Place::At(address.clone()), Role::Any);
                Self::Alone { primary, replica: None }
            }
            RedisTopology::Sentinel { sentinels, master, username, password } => {
                let login = Login { username: username.clone(), password: password.clone(), db: 0, ..login.clone() };
                let sentinels = Sentinels {
                    addresses: sentinels.clone(),
                    master: master.clone(),
                    login,
                    config: config.connection.clone(),
                    tls: tls.clone(),
                };
                let replica = || server(&format!("replica of {master}"), Place::By(sentinels.clone()), Role::Replica);
                let replica = config.replica_reads.then(replica);
                Self::Alone { primary: server(master, Place::By(sentinels), Role::Primary), replica }
            }
            RedisTopology::Cluster(seeds) => Self::Cluster(Cluster::start(
                seeds.clone(),
                login,
                config.connection.clone(),
                tls,
                config.replica_reads,
                runtime.handle().clone(),
            )),
        })
    }

    /// Whether slots matter.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The server of a slot; `None` while nobody has it.
    pub fn owner(&self, slot: u16, read: bool) -> Option<Arc<Server>> {
        match self {
            Self::Cluster(cluster) => cluster.owner(slot, read),
            Self::Alone { primary, replica } => {
                let replica = replica.as_ref().filter(|replica| read && replica.failure().is_none());
                Some(Arc::clone(replica.unwrap_or(primary)))
            }
        }
    }

    /// The server a redirection names.
    pub fn redirected(&self, address: &str, asked: &Server) -> Option<Arc<Server>> {
        match self {
            Self::Cluster(cluster) => cluster.at(address, asked),
            Self::Alone { .. } => None,
        }
    }

    /// What is known of the servers may be wrong: it is learned anew.
    pub fn mark_outdated(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.mark_outdated();
        }
    }

    /// The servers that have entries, once they are known; never none.
    pub async fn primaries(&self) -> Result<Vec<Arc<Server>>> {
        match self {
            Self::Alone { primary, .. } => Ok(vec![Arc::clone(primary)]),
            Self::Cluster(cluster) => {
                cluster.known().await?;
                Ok(cluster.primaries())
            }
        }
    }

    /// How entries lie on the servers at this moment.
    pub async fn look(&self) -> Result<Arc<Layout>> {
        match self {
            Self::Alone { primary, .. } => Ok(Arc::new(Layout::of_one(primary))),
            Self::Cluster(cluster) => cluster.look().await,
        }
    }

    /// The same, as it was seen last.
    pub async fn layout(&self) -> Result<Arc<Layout>> {
        match self {
            Self::Alone { .. } => self.look().await,
            Self::Cluster(cluster) => cluster.last_layout().await,
        }
    }

    /// Every server.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        match self {
            Self::Alone { primary, replica } => [primary].into_iter().chain(replica).cloned().collect(),
            Self::Cluster(cluster) => cluster.servers(),
        }
    }

    /// Waits until the servers are known and, alone, connected.
    pub async fn connected(&self) -> Result<()> {
        match self {
            Self::Alone { primary, .. } => primary.connected().await,
            Self::Cluster(cluster) => cluster.known().await,
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
        match self {
            Self::Cluster(cluster) => cluster.close(deadline).await,
            Self::Alone { .. } => {
                for server in self.servers() {
                    server.close(deadline).await;
                }
            }
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        match self {
            Self::Cluster(cluster) => cluster.stop(),
            Self::Alone { .. } => self.servers().iter().for_each(|server| server.stop()),
        }
    }
}
