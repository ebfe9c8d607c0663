//! The Redis backend: one server, a primary that sentinels know, or a cluster.

mod ask;
mod channels;
mod command;
mod commands;
mod compare;
mod confirm;
mod events;
mod expiry;
mod handshake;
mod health;
mod in_place;
mod index;
mod lasting;
mod names;
mod notices;
#[cfg(test)]
mod oracle;
mod record;
mod replay;
#[doc(hidden)] // For tests/bench/instructions.
pub mod resp;
mod run;
mod scan;
mod scripts;
mod sentinel;
mod server_error;
mod server_info;
mod store;
mod topology;
mod tracking;
mod walk;
mod zones;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub use self::channels::Channels;
pub use self::events::Events;
use self::names::ChannelNames;
use self::notices::Notices;
use self::record::Record;
use self::replay::Replay;
use self::run::Policy;
use self::scripts::ScriptSupport;
use self::store::RedisStore;
use self::topology::Topology;
use super::Backend;
use super::near::{Copies, Near};
use super::remote::Remote;
use crate::config::{Config, OnRestart, RedisConfig};
use crate::credentials::CredentialSource;
use crate::error::Result;
use crate::exec::runtime::Runtime;

/// Returns a name for data of the caller, which no entry has.
pub fn data_name(prefix: &str, key: &[u8]) -> Vec<u8> {
    names::data(prefix, key)
}

/// Begins to connect to servers that carry the channels and the events of another backend.
pub fn open_channels(config: &Config, redis: &RedisConfig, runtime: &Runtime) -> Result<(Channels, Events)> {
    let replay = Replay {
        record: Arc::new(Record::new(Duration::ZERO, redis.connection.timeout)),
        prefix: config.key_prefix.as_str().into(),
        on_restart: OnRestart::Replay,
        opened: Instant::now(),
    };
    let has_channels = Arc::default();
    let record = Arc::clone(&replay.record);
    let topology = open_topology(config, redis, replay, &Arc::default(), &has_channels, runtime)?;
    let events = events(config, redis, &topology, record, Arc::clone(&has_channels), runtime)?;
    Ok((channels(config, redis, &topology, has_channels), events))
}

fn events(
    config: &Config,
    redis: &RedisConfig,
    topology: &Arc<Topology>,
    record: Arc<Record>,
    has_channels: Arc<AtomicBool>,
    runtime: &Runtime,
) -> Result<Events> {
    let names = ChannelNames::of_events(&config.key_prefix);
    let channels = Channels::new(Arc::clone(topology), names, policy(redis), has_channels);
    let (prefix, journal) = (&config.key_prefix, redis.events_journal);
    Events::new(Arc::clone(topology), channels, policy(redis), prefix, journal, record, runtime.handle())
}

fn open_topology(
    config: &Config,
    redis: &RedisConfig,
    replay: Replay,
    scripts: &Arc<ScriptSupport>,
    has_channels: &Arc<AtomicBool>,
    runtime: &Runtime,
) -> Result<Arc<Topology>> {
    let (scripts, has_channels) = (Arc::clone(scripts), Arc::clone(has_channels));
    let credentials = match redis.connection.renews_credentials {
        true => CredentialSource::renewed(&config.renewal),
        false => CredentialSource::new(redis.username.as_ref(), redis.password.as_ref(), redis.password_file.as_ref()),
    };
    Topology::open(redis, credentials, config.max_value_bytes, replay, scripts, has_channels, runtime).map(Arc::new)
}

fn channels(config: &Config, redis: &RedisConfig, topology: &Arc<Topology>, has_channels: Arc<AtomicBool>) -> Channels {
    let names = ChannelNames::new(&config.key_prefix, redis.raw_channels);
    Channels::new(Arc::clone(topology), names, policy(redis), has_channels)
}

fn policy(redis: &RedisConfig) -> Policy {
    Policy { repeat: redis.connection.retry_on_timeout, limit: redis.connection.timeout }
}

/// Begins to connect.
pub fn open(config: &Config, redis: &RedisConfig) -> Result<Box<dyn Backend>> {
    let runtime = Runtime::acquire()?;
    let replay = Replay {
        record: Arc::new(Record::new(redis.replay_window, redis.connection.timeout)),
        prefix: config.key_prefix.as_str().into(),
        on_restart: redis.on_restart,
        opened: Instant::now(),
    };
    let record = Arc::clone(&replay.record);
    let scripts = Arc::new(ScriptSupport::default());
    let needs_role: Arc<AtomicBool> = Arc::default();
    let topology = open_topology(config, redis, replay, &scripts, &needs_role, &runtime)?;
    let channels = channels(config, redis, &topology, Arc::clone(&needs_role));
    let open_events = || events(config, redis, &topology, Arc::clone(&record), Arc::clone(&needs_role), &runtime);
    let events = redis.events.then(open_events).transpose()?;
    let notices = config.near.as_ref().map(|_| notices(config, redis, &topology, needs_role)).transpose()?;
    let store = RedisStore::new(Arc::clone(&topology), redis, channels, record, scripts, notices.clone(), events);
    let handle = runtime.handle().clone();
    let remote = Remote::new(store, config, redis.connection.timeout, runtime);
    let Some((near, notices)) = config.near.as_ref().zip(notices) else { return Ok(Box::new(remote)) };
    let copies = Arc::new(Copies::new(near, true, remote.watches()));
    let source = tracking::track(topology, &config.key_prefix, Arc::clone(&copies), notices, &handle)?;
    Ok(Box::new(Near::new(remote, copies, Some(source))))
}

/// Returns the notices of a near cache, which also needs to know when a server is demoted.
fn notices(
    config: &Config,
    redis: &RedisConfig,
    topology: &Arc<Topology>,
    needs_role: Arc<AtomicBool>,
) -> Result<Arc<Notices>> {
    needs_role.store(true, Relaxed);
    let names = ChannelNames::of_changes(&config.key_prefix);
    Notices::new(Channels::new(Arc::clone(topology), names, policy(redis), needs_role)).map(Arc::new)
}
