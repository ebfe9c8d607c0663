//! The Memcached backend: one server, or several among which names are distributed as libmemcached does it.
//!
//! ```text
//! store (entries, stamps) → run (groups, checks, retries) → fleet (servers, ring) → net
//!   names  expiry  stamps        protocol: meta | binary        guard (failover)
//!   listings → crawl (names of a server)
//! ```

mod clock;
mod command;
mod crawl;
mod expiry;
mod fleet;
mod guard;
mod handshake;
mod health;
mod listings;
mod names;
#[cfg(test)]
mod oracle;
mod protocol;
mod received;
mod refusal;
mod ring;
mod run;
mod sample;
mod server_info;
mod stamps;
mod store;

use std::sync::Arc;

use self::fleet::Fleet;
use self::store::MemcachedStore;
use super::Backend;
use super::remote::Remote;
use crate::config::{Config, MemcachedConfig};
use crate::error::Result;
use crate::exec::runtime::Runtime;

/// Begins to connect.
pub fn open(config: &Config, memcached: &MemcachedConfig) -> Result<Box<dyn Backend>> {
    let runtime = Runtime::acquire()?;
    let fleet = Fleet::start(config, memcached, runtime.handle())?;
    runtime.handle().spawn(health::watch_clocks(Arc::downgrade(&fleet)));
    if fleet.ejects {
        runtime.handle().spawn(guard::watch(Arc::downgrade(&fleet)));
    }
    let store = MemcachedStore::new(fleet);
    Ok(Box::new(Remote::new(store, &config.key_prefix, memcached.connection.timeout, runtime)))
}
