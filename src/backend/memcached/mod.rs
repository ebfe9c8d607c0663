//! The Memcached backend: one server, or several among which names are distributed as libmemcached does it.
//!
//! ```text
//! store (entries, tag versions) → run (groups, checks, retries) → nodes (servers, ring) → net
//!   names  expiry  tag_versions  protocol: meta | binary        epoch (failover)  discovery (node lists)
//!   listings → crawl (names of a server)
//! ```

mod clock;
#[doc(hidden)] // For tests/bench/instructions, as `protocol` below.
pub mod command;
mod crawl;
mod discovery;
mod epoch;
mod expiry;
mod handshake;
mod health;
mod listings;
mod names;
mod node_list;
mod nodes;
#[cfg(test)]
mod oracle;
#[doc(hidden)]
pub mod protocol;
mod received;
mod ring;
mod run;
mod sample;
mod server_error;
mod server_info;
mod store;
mod tag_versions;

use std::sync::Arc;

use self::discovery::Current;
use self::nodes::Setup;
use self::store::MemcachedStore;
use super::near::{Copies, Near};
use super::remote::Remote;
use super::{Backend, redis};
use crate::config::{Config, Discovery, MemcachedConfig, RedisConfig};
use crate::error::Result;
use crate::exec::runtime::Runtime;

/// Begins to connect.
pub fn open(config: &Config, memcached: &MemcachedConfig) -> Result<Box<dyn Backend>> {
    let runtime = Runtime::acquire()?;
    let setup = Setup::new(config, memcached)?;
    let current = match memcached.discovery {
        Discovery::None => Arc::new(Current::fixed(setup.start(&memcached.servers, 0, &[], runtime.handle()))),
        Discovery::Config => discovery::start(setup, memcached, runtime.handle()),
    };
    runtime.handle().spawn(health::watch_clocks(Arc::downgrade(&current)));
    let nodes = current.nodes();
    if nodes.ejects {
        runtime.handle().spawn(epoch::watch(Arc::downgrade(&nodes)));
    }
    let open_channels = |events: &RedisConfig| redis::open_channels(config, events, &runtime);
    let channels = memcached.events.as_deref().map(open_channels).transpose()?;
    let (channels, events) = channels.unzip();
    let store = MemcachedStore::new(current, channels, events);
    let remote = Remote::new(store, config, memcached.connection.timeout, runtime);
    let Some(near) = &config.near else { return Ok(Box::new(remote)) };
    // No server tells of changes.
    let copies = Arc::new(Copies::new(near, false, remote.watches()));
    Ok(Box::new(Near::new(remote, copies, None)))
}
