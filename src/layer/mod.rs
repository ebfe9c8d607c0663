//! Backends around backends: one that stands in when another fails, and one that keeps another up to date.

mod catchup;
mod fallback;
mod journal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::catchup::Catchup;
use self::catchup::Changed;
use self::fallback::{Fallback, Policy};
pub use self::journal::Change;
use crate::backend::Backend;
use crate::config::{Config, FallbackConfig};
use crate::error::Result;

/// The backend a configuration asks for, with its fallback; it may still be connecting.
pub fn open(config: &Config) -> Result<Arc<dyn Backend>> {
    let primary = Arc::from(crate::backend::open(config)?);
    match &config.fallback {
        Some(fallback) => open_fallback(config, fallback, primary),
        None => Ok(primary),
    }
}

fn open_fallback(config: &Config, fallback: &FallbackConfig, primary: Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
    let FallbackConfig { backend, key_prefix, max_ttl, follow, probe_interval } = fallback.clone();
    let stand_in = Config { backend, key_prefix, fallback: None, ..config.clone() };
    let stand_in = Arc::from(crate::backend::open(&stand_in)?);
    let changed = if follow { Changed::Follow } else { Changed::Drop };
    Ok(Arc::new(Fallback::new(primary, stand_in, Policy { max_ttl, changed, probe_interval })?))
}
