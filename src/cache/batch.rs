//! Many operations in one call.

use std::time::{Duration, Instant};

use super::{Cache, Operation, Outcome, SetRequest};
use crate::caller::{self, Within};
use crate::error::{ErrorKind, Result};

impl Cache {
    /// Runs operations in their order, each with its own outcome; one that was
    /// refused before it came here keeps its error. Neighbours of one kind go
    /// to the store together: a run of gets costs one round trip. All have the
    /// time of one call; long ones, which no call limits, do not count to it.
    pub async fn batch(&self, operations: Vec<Result<Operation<'_>>>) -> Vec<Result<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut time = self.backend.call_timeout().map(Time::new);
        for run in operations.chunk_by(|one, next| kind(one).is_some_and(|it| kind(next) == Some(it))) {
            match run {
                [Ok(operation)] if operation.is_long() => outcomes.push(self.run_long(*operation, &mut time).await),
                [Ok(operation)] => outcomes.push(within(time, self.run(*operation)).await),
                [Err(refused)] => outcomes.push(Err(refused.clone())),
                many => outcomes.extend(within(time, self.run_together(many)).await),
            }
        }
        outcomes
    }

    /// Runs an operation with deadlines of its own, unless the time of the batch is over before.
    async fn run_long(&self, operation: Operation<'_>, time: &mut Option<Time>) -> Result<Outcome> {
        let begun = Instant::now();
        match time {
            None => self.run(operation).await,
            Some(time) if time.end <= begun => Err(caller::timed_out("the batch", time.limit)),
            Some(time) => {
                let outcome = self.run(operation).await;
                time.end += begun.elapsed();
                outcome
            }
        }
    }

    /// Neighbours of one of the kinds that `kind` names.
    async fn run_together(&self, operations: &[Result<Operation<'_>>]) -> Vec<Result<Outcome>> {
        let operations = || operations.iter().filter_map(|operation| operation.as_ref().ok());
        let keys: Vec<&[u8]> = operations().filter_map(Operation::key).collect();
        let sets: Vec<SetRequest> = operations().filter_map(Operation::request).collect();
        let outcomes = match kind_of(operations().next()) {
            Some(Kind::Get) => every(self.get_many(&keys).await, |it| it.map_or(Outcome::Miss, Outcome::Value)),
            Some(Kind::Delete) => every(self.delete_many(&keys).await, Outcome::hit),
            _ => every(self.set_many(&sets).await, |()| Outcome::Done),
        };
        match outcomes {
            Ok(outcomes) => outcomes,
            // One that is not allowed refuses them all: each is asked for itself.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge) => {
                let mut outcomes = Vec::new();
                for operation in operations() {
                    outcomes.push(self.run(*operation).await);
                }
                outcomes
            }
            Err(error) => operations().map(|_| Err(error.clone())).collect(),
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

/// Runs a part of a batch; calls inside of it end with the batch.
async fn within<T>(time: Option<Time>, part: impl Future<Output = T>) -> T {
    match time {
        None => part.await,
        Some(time) => Within::new(time.end, part).await,
    }
}

/// The kinds of which neighbours are run together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Get,
    Set,
    Delete,
}

fn kind(operation: &Result<Operation>) -> Option<Kind> {
    kind_of(operation.as_ref().ok())
}

fn kind_of(operation: Option<&Operation>) -> Option<Kind> {
    match operation? {
        Operation::Get { .. } => Some(Kind::Get),
        Operation::Set(_) => Some(Kind::Set),
        Operation::Delete { .. } => Some(Kind::Delete),
        _ => None,
    }
}

impl<'a> Operation<'a> {
    fn key(&self) -> Option<&'a [u8]> {
        match self {
            Self::Get { key } | Self::Delete { key } => Some(key),
            _ => None,
        }
    }

    fn request(&self) -> Option<SetRequest<'a>> {
        match self {
            Self::Set(request) => Some(*request),
            _ => None,
        }
    }
}

fn every<T>(results: Result<Vec<Result<T>>>, outcome: impl Fn(T) -> Outcome) -> Result<Vec<Result<Outcome>>> {
    results.map(|results| results.into_iter().map(|result| result.map(&outcome)).collect())
}
