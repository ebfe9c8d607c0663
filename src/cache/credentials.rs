//! The credentials that the application supplies to a cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cache, CacheHandle};
use crate::credentials::Issuer;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::CallContext;

/// The time in which each server is connected to again: more than the longest pause between two attempts.
const SETTLED: Duration = Duration::from_millis(600);
/// The pause between two looks whether the servers are connected.
const PAUSE: Duration = Duration::from_millis(10);

impl CacheHandle {
    /// Has an issuer supply the credentials of the cache from now on, or none. Unless the configuration is lazy, waits until
    /// the servers are connected with them.
    pub async fn set_credentials(&self, context: CallContext, issuer: Option<Arc<dyn Issuer>>) -> Result<()> {
        let cache = self.cache()?;
        if let Some(view) = &cache.view {
            // Boxed: it is the same future again, for the root.
            return Box::pin(view.root().set_credentials(context, issuer)).await;
        }
        let limit = cache.common.renewed_within.ok_or_else(|| takes_none(&cache))?;
        let is_set = issuer.is_some();
        cache.common.renewal.set(issuer);
        // Closed meanwhile: the issuer was not kept.
        self.check_open()?;
        if !is_set || cache.common.lazy {
            return Ok(());
        }
        cache.common.renewal.get_in(context, limit).await?;
        cache.settled(context).await
    }
}

impl Cache {
    /// Waits until the cache can be used. What is known of its servers may be older than the credentials.
    async fn settled(&self, context: CallContext) -> Result<()> {
        let end = Instant::now() + SETTLED;
        loop {
            let ready = match self.ready(context) {
                futures_util::future::Either::Left(ready) => ready.into_inner(),
                futures_util::future::Either::Right(ready) => ready.await,
            };
            if ready.is_ok() || Instant::now() >= end {
                return ready;
            }
            context.pause(PAUSE).await;
        }
    }
}

#[cold]
fn takes_none(cache: &Cache) -> Error {
    let why = if cache.answers_at_once() {
        "the backend has no servers to log in to"
    } else {
        "the configuration leaves them to no callback: set `credentials: callback` in the section of the servers (redis, memcached)"
    };
    Error::new(ErrorKind::Unsupported, format!("no server of this cache takes credentials of a callback: {why}"))
}
