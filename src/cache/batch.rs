//! Many requests in one call.

use std::time::{Duration, Instant};

use super::{Cache, Request};
use crate::error::{ErrorKind, Result};
use crate::exec::context::CallContext;
use crate::operation::{BatchKey, NewEntry, Operation, Outcome};

impl Cache {
    /// Runs requests in their order, each with its own outcome; one that was refused before keeps its error. Neighbours
    /// of one kind run as one operation: a run of gets takes one round trip. All share the time of one call; long
    /// requests, which have no time limit, do not count to it.
    pub async fn batch(&self, context: CallContext, requests: Vec<Result<Request<'_>>>) -> Vec<Result<Outcome>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut time = self.backend.info().call_timeout.map(Time::new);
        for run in requests.chunk_by(|one, next| batch_key(one).is_some_and(|key| batch_key(next) == Some(key))) {
            match run {
                [Ok(request)] if request.is_long() => outcomes.push(self.run_long(context, request, &mut time).await),
                [Ok(request)] => outcomes.push(self.run(within(context, time), request).await),
                [Err(refused)] => outcomes.push(Err(refused.clone())),
                many => outcomes.extend(self.run_batched(within(context, time), many).await),
            }
        }
        outcomes
    }

    /// Runs a request with deadlines of its own, unless the time of the batch is over before.
    async fn run_long(&self, context: CallContext, request: &Request<'_>, time: &mut Option<Time>) -> Result<Outcome> {
        let begun = Instant::now();
        match time {
            None => self.run(context, request).await,
            Some(time) if time.end <= begun => Err(context.timed_out("the batch", time.limit)),
            Some(time) => {
                let outcome = self.run(context, request).await;
                time.end += begun.elapsed();
                outcome
            }
        }
    }

    /// Runs neighbours of one kind as one operation.
    async fn run_batched(&self, context: CallContext, requests: &[Result<Request<'_>>]) -> Vec<Result<Outcome>> {
        let (mut keys, mut entries) = (Vec::new(), Vec::new());
        requests.iter().for_each(|request| collect(request, &mut keys, &mut entries));
        let operation = match requests.first().and_then(batch_key) {
            Some(BatchKey::Get) => Operation::GetMany { keys: &keys },
            Some(BatchKey::Delete) => Operation::DeleteMany { keys: &keys },
            Some(BatchKey::Set) | None => Operation::SetMany { entries: &entries },
        };
        match self.call(context, operation).await {
            Ok(outcomes) => outcomes.each().collect(),
            // One that is not allowed refuses them all: each is run for itself.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge) => {
                let mut outcomes = Vec::with_capacity(requests.len());
                for request in requests.iter().flatten() {
                    outcomes.push(self.run(context, request).await);
                }
                outcomes
            }
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

/// The time of a batch.
#[derive(Clone, Copy)]
struct Time {
    limit: Duration,
    end: Instant,
}

impl Time {
    fn new(limit: Duration) -> Self {
        Self { limit, end: Instant::now() + limit }
    }
}

/// Returns the context of a part of a batch. Calls inside of it end with the batch.
fn within(context: CallContext, time: Option<Time>) -> CallContext {
    time.map_or(context, |time| context.until(time.end))
}

fn batch_key(request: &Result<Request>) -> Option<BatchKey> {
    request.as_ref().ok().and_then(Request::batch_key)
}

/// Adds the key or the entry of a request that has a `BatchKey`.
fn collect<'a>(request: &Result<Request<'a>>, keys: &mut Vec<&'a [u8]>, entries: &mut Vec<NewEntry<'a>>) {
    match request {
        Ok(Request::Store(Operation::Get { key } | Operation::Delete { key })) => keys.push(key),
        Ok(Request::Store(Operation::Set(entry))) => entries.push(*entry),
        _ => {}
    }
}
