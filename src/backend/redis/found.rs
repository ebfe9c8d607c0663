//! A server that was given alone, and what its handshake finds it to be: one server, or a node of a cluster, which is
//! then used as a whole.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::runtime::Handle;

use super::cluster::Cluster;
use super::greet::Login;
use crate::config::{Address, ConnectionConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::util::lock;
use crate::wire::{Server, Tls};

/// A server that was given alone, with what is known of it.
pub struct Found {
    seed: Address,
    login: Login,
    config: ConnectionConfig,
    tls: Option<Tls>,
    /// The cluster it is a node of; `None` in it once the cache is closed, when none is to be begun.
    cluster: OnceLock<Option<Arc<Cluster>>>,
    /// True if a handshake has found out which of the two the server is.
    is_known: AtomicBool,
    /// The server itself, which a cluster takes the place of.
    server: OnceLock<Weak<Server>>,
    /// None once it is closed: a handle keeps the runtime's descriptors open.
    handle: Mutex<Option<Handle>>,
}

impl Found {
    pub fn new(seed: Address, login: Login, config: ConnectionConfig, tls: Option<Tls>, handle: Handle) -> Arc<Self> {
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
    pub fn is_of(&self, server: &Arc<Server>) {
        let _ = self.server.set(Arc::downgrade(server));
    }

    /// The cluster, if it is a node of one.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()?.as_ref()
    }

    /// Returns whether a handshake has found out which of the two the server is.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Relaxed)
    }

    /// Records that it is one server.
    pub fn is_alone(&self) {
        self.is_known.store(true, Relaxed);
    }

    /// Records that it is a node of a cluster: the cluster is used from now on, and the connections to the node alone
    /// end.
    fn is_node(&self) {
        let Some(handle) = lock(&self.handle).clone() else { return };
        let begin = || {
            let (seeds, login, config) = (vec![self.seed.clone()], self.login.clone(), self.config.clone());
            Some(Cluster::start(seeds, login, config, self.tls.clone(), false, handle))
        };
        self.cluster.get_or_init(begin);
        self.is_known.store(true, Relaxed);
        if let Some(server) = self.server.get().and_then(Weak::upgrade) {
            server.stop();
        }
    }

    /// Prevents that a cluster is begun from now on.
    pub fn close(&self) {
        drop(lock(&self.handle).take());
        let _ = self.cluster.set(None);
    }
}

/// The reaction of a handshake to a server that is a node of a cluster.
#[derive(Clone)]
pub enum Clustering {
    /// It is expected, or cannot be.
    Expected,
    /// The cluster is used.
    Used(Arc<Found>),
    /// It is refused, as the configuration asks.
    Refused,
}

impl Clustering {
    /// Checks whether a connection to the server may be used as it is; an error if not.
    pub fn check(&self, server: &str, is_node: bool, db: u32) -> Result<()> {
        match self {
            Self::Used(found) if !is_node => found.is_alone(),
            Self::Used(_) | Self::Refused if is_node && db != 0 => return Err(no_databases(server)),
            Self::Used(found) => {
                found.is_node();
                return Err(used(server));
            }
            Self::Refused if is_node => return Err(refused(server)),
            Self::Refused | Self::Expected => {}
        }
        Ok(())
    }
}

#[cold]
fn no_databases(server: &str) -> Error {
    let text = format!("{server}: the server is a node of a cluster, which has database 0 only: remove `db`");
    Error::new(ErrorKind::Config, text)
}

#[cold]
fn refused(server: &str) -> Error {
    let text = format!(
        "{server}: the server is a node of a cluster, and `cluster: false` is set: remove it, or set `cluster: true` (redis+cluster://)"
    );
    Error::new(ErrorKind::Config, text)
}

#[cold]
fn used(server: &str) -> Error {
    let text = format!(
        "{server}: the server is a node of a cluster: all its nodes are used, as with `cluster: true` (redis+cluster://)"
    );
    Error::new(ErrorKind::Connect, text)
}
