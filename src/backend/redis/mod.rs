//! The Redis backend: one server, a primary that sentinels know, or a cluster.

mod cluster;
mod commands;
mod details;
mod found;
mod greet;
mod index;
mod info;
mod lasting;
mod layout;
mod names;
mod nodes;
mod refusal;
mod resp;
mod route;
mod run;
mod scan;
mod sentinel;
mod slots;
mod store;
mod walk;

use self::route::Route;
use self::store::RedisStore;
use super::Backend;
use super::remote::Remote;
use crate::config::{Config, RedisConfig};
use crate::error::Result;
use crate::runtime::Runtime;

/// Begins to connect.
pub fn open(config: &Config, redis: &RedisConfig) -> Result<Box<dyn Backend>> {
    let runtime = Runtime::acquire()?;
    let route = Route::start(redis, config.max_value_bytes, &runtime)?;
    let store = RedisStore::new(route, redis);
    Ok(Box::new(Remote::new(store, &config.key_prefix, redis.connection.timeout, runtime)))
}
