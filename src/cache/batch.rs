//! Many operations in one call.

use super::{Cache, Operation, Outcome, SetRequest};
use crate::error::{ErrorKind, Result};

impl Cache {
    /// Runs operations in their order, each with its own outcome; one that was
    /// refused before it came here keeps its error. Neighbours of one kind go
    /// to the store together: a run of gets costs one round trip.
    pub async fn batch(&self, operations: Vec<Result<Operation<'_>>>) -> Vec<Result<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for run in operations.chunk_by(|one, next| kind(one).is_some_and(|it| kind(next) == Some(it))) {
            match run {
                [Ok(operation)] => outcomes.push(self.run(*operation).await),
                [Err(refused)] => outcomes.push(Err(refused.clone())),
                many => outcomes.extend(self.run_together(many).await),
            }
        }
        outcomes
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
