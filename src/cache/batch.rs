//! Many operations in one call.

use super::{Cache, Operation, Outcome};
use crate::error::Result;

impl Cache {
    /// Runs operations in their order, each with its own outcome; one that was
    /// refused before it came here keeps its error.
    pub async fn batch(&self, operations: Vec<Result<Operation<'_>>>) -> Vec<Result<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            outcomes.push(match operation {
                Ok(operation) => self.run(operation).await,
                Err(refused) => Err(refused),
            });
        }
        outcomes
    }
}
