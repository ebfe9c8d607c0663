//! Backends around backends: a fallback for a backend that fails, and a replay of changes to a backend that is behind.

mod deferred;
mod fallback;
mod replay;
mod replay_log;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::fallback::{Fallback, Policy};
use self::replay::Changed;
pub use self::replay::Replay;
use crate::backend::Backend;
use crate::config::{Config, FallbackConfig};
use crate::error::Result;

/// Opens the backend of a configuration with its fallback. It may still be connecting.
pub fn open(config: &Config) -> Result<Arc<dyn Backend>> {
    let primary = Arc::from(crate::backend::open(config)?);
    match &config.fallback {
        Some(fallback) => open_fallback(config, fallback, primary),
        None => Ok(primary),
    }
}

fn open_fallback(config: &Config, fallback: &FallbackConfig, primary: Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
    let FallbackConfig { backend, key_prefix, max_ttl, follow, probe_interval } = fallback.clone();
    let fallback = Config { backend, key_prefix, fallback: None, ..config.clone() };
    let fallback = Arc::from(crate::backend::open(&fallback)?);
    let changed = if follow { Changed::Follow } else { Changed::Drop };
    Ok(Arc::new(Fallback::new(primary, fallback, Policy { max_ttl, changed, probe_interval })?))
}
