//! Requests as data: an operation on the store, or a task of the cache itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::Mutex;

use super::explain::check_explain;
use super::{Cache, Cursor, SearchOptions, Subscription};
use crate::backend::{OpFuture, pending};
use crate::error::Result;
use crate::exec::context::CallContext;
use crate::operation::{BatchKey, Operation, Outcome, Rebind};
use crate::util::byte_strings::ByteStrings;

/// A request to a cache.
#[derive(Clone)]
#[allow(missing_docs)] // The fields are those of the methods of the same names.
pub enum Request<'a> {
    /// Runs as `Cache::call`.
    Store(Operation<'a>),
    /// The same, without the copies of a near cache.
    Fresh(Operation<'a>),
    /// Runs as one of these with a time limit of its own.
    Limited { operation: Operation<'a>, is_fresh: bool, limit: Duration },
    /// Runs as `Cache::would_remove`: `Outcome::Removed`.
    DryRun(Operation<'a>),
    /// Runs as `Cache::next_keys`, on a cursor that may be shared: `Outcome::Keys`.
    NextKeys { cursor: Arc<Mutex<Cursor>>, limit: usize },
    /// Runs as `Cache::search`: `Outcome::Matches`.
    Search { query: &'a [u8], options: SearchOptions<'a> },
    /// Runs as `Subscription::next` without a deadline: `Outcome::Message` or `Event`. The cache that serves takes no part in it.
    NextMessage { subscription: Arc<Subscription> },
    /// Runs as `Cache::stats`: `Outcome::Value`.
    Stats,
    /// Runs as `Cache::health`: `Outcome::Value`.
    Health,
    /// Runs as `Cache::metrics`: `Outcome::Value`.
    Metrics,
    /// Runs as `Cache::explain`: `Outcome::Value`.
    Explain { key: &'a [u8], tags: &'a [&'a [u8]] },
}

impl<'a> From<Operation<'a>> for Request<'a> {
    fn from(operation: Operation<'a>) -> Self {
        Self::Store(operation)
    }
}

impl Request<'_> {
    /// Returns true if the request may walk all entries or wait for another thread, even on a backend that answers at
    /// once.
    pub fn is_long(&self) -> bool {
        match self {
            Self::Store(operation) | Self::Fresh(operation) | Self::Limited { operation, .. } => operation.is_long(),
            Self::DryRun(_) | Self::NextKeys { .. } | Self::Search { .. } | Self::NextMessage { .. } => true,
            Self::Stats | Self::Health | Self::Metrics | Self::Explain { .. } => false,
        }
    }

    /// Returns the kind under which the request is run together with others.
    pub fn batch_key(&self) -> Option<BatchKey> {
        if let Self::Store(operation) = self { operation.batch_key() } else { None }
    }

    /// Returns the same request without its wait for another caller.
    #[must_use]
    pub fn at_once(&self) -> Self {
        match self {
            Self::Store(operation) => Self::Store(operation.at_once()),
            Self::Fresh(operation) => Self::Fresh(operation.at_once()),
            Self::Limited { operation, is_fresh, limit } => {
                Self::Limited { operation: operation.at_once(), is_fresh: *is_fresh, limit: *limit }
            }
            other => other.clone(),
        }
    }

    /// Returns true if the request waits for another caller after this outcome of `at_once`.
    pub fn waits_after(&self, outcome: &Result<Outcome>) -> bool {
        match self {
            Self::Store(operation) | Self::Fresh(operation) | Self::Limited { operation, .. } => {
                operation.waits_after(outcome)
            }
            _ => false,
        }
    }

    /// Returns the same request with other arguments.
    pub fn rebind<'b>(&self, to: &mut impl Rebind<'b>) -> Request<'b> {
        match self {
            Self::Store(operation) => Request::Store(operation.rebind(to)),
            Self::Fresh(operation) => Request::Fresh(operation.rebind(to)),
            Self::Limited { operation, is_fresh, limit } => {
                Request::Limited { operation: operation.rebind(to), is_fresh: *is_fresh, limit: *limit }
            }
            Self::DryRun(removal) => Request::DryRun(removal.rebind(to)),
            Self::NextKeys { cursor, limit } => Request::NextKeys { cursor: cursor.clone(), limit: *limit },
            Self::Search { query, options: SearchOptions { threshold, limit, tags } } => {
                let query = to.bytes(query);
                let options = SearchOptions { threshold: *threshold, limit: *limit, tags: to.list(tags) };
                Request::Search { query, options }
            }
            Self::NextMessage { subscription } => Request::NextMessage { subscription: subscription.clone() },
            Self::Stats => Request::Stats,
            Self::Health => Request::Health,
            Self::Metrics => Request::Metrics,
            Self::Explain { key, tags } => Request::Explain { key: to.bytes(key), tags: to.list(tags) },
        }
    }
}

impl Cache {
    /// Refuses a request that `run` would refuse, for callers that copy it first.
    pub fn check(&self, request: &Request<'_>) -> Result<()> {
        match request {
            Request::Store(operation)
            | Request::Fresh(operation)
            | Request::Limited { operation, .. }
            | Request::DryRun(operation) => self.check_operation(operation),
            Request::Search { query, options } => options.check(query),
            Request::Explain { key, tags } => check_explain(key, tags),
            Request::NextKeys { .. }
            | Request::NextMessage { .. }
            | Request::Stats
            | Request::Health
            | Request::Metrics => Ok(()),
        }
    }

    /// Runs a request.
    pub fn run<'a>(&'a self, context: CallContext, request: &Request<'a>) -> OpFuture<'a, Outcome> {
        match request.clone() {
            Request::Store(operation) => self.call(context, operation),
            Request::Fresh(operation) => self.call(context.fresh(), operation),
            Request::Limited { operation, is_fresh, limit } => {
                let context = context.limited(limit);
                self.call(if is_fresh { context.fresh() } else { context }, operation.within(limit))
            }
            Request::DryRun(removal) => pending(self.would_remove(context, removal).map_ok(Outcome::Removed)),
            Request::NextKeys { cursor, limit } => {
                pending(async move { Ok(Outcome::Keys(Box::new(self.next_of(context, &cursor, limit).await?))) })
            }
            Request::Search { query, options } => {
                pending(self.search(context, query, options).map_ok(Outcome::Matches))
            }
            Request::NextMessage { subscription } => pending(async move { subscription.next_outcome(context).await }),
            Request::Stats => pending(self.stats(context).map_ok(|stats| Outcome::text(&stats.to_string()))),
            Request::Health => pending(self.health(context).map(|health| Ok(Outcome::text(&health.to_string())))),
            Request::Metrics => pending(self.metrics(context).map_ok(|metrics| Outcome::text(&metrics))),
            Request::Explain { key, tags } => {
                pending(self.explain(context, key, tags).map_ok(|report| Outcome::text(&report.to_string())))
            }
        }
    }

    /// Lists the next keys of a shared cursor: each page goes to one caller.
    pub async fn next_of(&self, context: CallContext, cursor: &Mutex<Cursor>, limit: usize) -> Result<ByteStrings> {
        self.next_keys(context, &mut *cursor.lock().await, limit).await
    }
}
