//! The abandonments of leases that a backend gave before another one served in its place: they wait until it is back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::backend::{Backend, Operation};
use crate::exec::context::CallContext;
use crate::lease::{Lease, LeaseData};
use crate::util::lock;

/// The most leases, and bytes of their keys. A lease beyond them ends by itself.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 4 << 20;
/// The number of leases that are abandoned at once.
const CHUNK: usize = 64;

/// A lease to abandon, with the time until which no caller is to load its key.
struct Abandonment {
    lease: Arc<Lease>,
    held_until: Instant,
}

/// The abandonments that wait; `None` once the backend is back.
pub struct Deferred(Mutex<Option<Waiting>>);

/// Leases by their tokens.
#[derive(Default)]
struct Waiting {
    leases: HashMap<u64, Abandonment>,
    bytes: usize,
}

impl Default for Deferred {
    fn default() -> Self {
        Self(Mutex::new(Some(Waiting::default())))
    }
}

impl Deferred {
    /// Defers the abandonment of a lease. Returns false if the backend is back.
    pub fn add(&self, lease: &LeaseData, retry_after: Duration) -> bool {
        let mut waiting = lock(&self.0);
        let Some(waiting) = waiting.as_mut() else { return false };
        let (bytes, held_until) = (waiting.bytes + lease.key.len(), Instant::now() + retry_after);
        if waiting.leases.len() < MOST && bytes <= MOST_BYTES && !waiting.leases.contains_key(&lease.token) {
            waiting.bytes = bytes;
            let lease = Arc::new(Lease::new(lease.clone()));
            waiting.leases.insert(lease.token, Abandonment { lease, held_until });
        }
        true
    }

    /// Abandons the leases at their backend, which is back. Those that are left when it fails again end by themselves.
    pub async fn run(&self, context: CallContext, backend: &dyn Backend) {
        let waiting = lock(&self.0).take().unwrap_or_default();
        let waiting: Vec<Abandonment> = waiting.leases.into_values().collect();
        for some in waiting.chunks(CHUNK) {
            let abandoned = some.iter().map(|Abandonment { lease, held_until }| {
                let retry_after = held_until.saturating_duration_since(Instant::now());
                backend.call(context, Operation::LeaseAbandon { lease, retry_after })
            });
            if join_all(abandoned).await.iter().any(Result::is_err) {
                return;
            }
        }
    }
}
