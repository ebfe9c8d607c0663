//! Repeats the operations of a migration that fail temporarily: a server fails, or reports a temporary state.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;

/// The number of retries of an operation, and the pauses between them: about three seconds in total.
pub(super) const RETRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(130);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Returns true if the same operation may succeed later: a server failed, or reported a temporary state.
fn is_temporary(error: &Error) -> bool {
    error.kind().is_outage() || error.is_retryable()
}

/// Runs an operation, and repeats it while it fails temporarily.
pub(super) async fn retried<T, F: Future<Output = Result<T>>>(
    context: CallContext,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut backoff = Backoff::between(context, FIRST_PAUSE, LONGEST_PAUSE);
    for _ in 0..RETRIES {
        match attempt().await {
            Err(error) if is_temporary(&error) => backoff.pause().await,
            done => return done,
        };
    }
    attempt().await
}

/// Runs an operation on many items, which receives their numbers. Repeats it for the items that failed temporarily, and
/// only for those: another caller may have changed the entries of the other ones since. Returns the outcome of each
/// item. Fails if a server still fails at the end.
pub(super) async fn retried_each<T, F>(
    context: CallContext,
    count: usize,
    mut attempt: impl FnMut(Vec<usize>) -> F,
) -> Result<Vec<Result<T>>>
where
    F: Future<Output = Result<Vec<Result<T>>>>,
{
    let mut backoff = Backoff::between(context, FIRST_PAUSE, LONGEST_PAUSE);
    let mut outcomes = spread(count, attempt((0..count).collect()).await)?;
    for _ in 0..RETRIES {
        let failed: Vec<usize> =
            (0..count).filter(|at| outcomes[*at].as_ref().err().is_some_and(is_temporary)).collect();
        if failed.is_empty() {
            break;
        }
        backoff.pause().await;
        let repeated = spread(failed.len(), attempt(failed.clone()).await)?;
        failed.into_iter().zip(repeated).for_each(|(at, outcome)| outcomes[at] = outcome);
    }
    match outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).find(|error| error.kind().is_outage()) {
        Some(error) => Err(error.clone()),
        None => Ok(outcomes),
    }
}

/// Converts a temporary failure of a whole operation to one failure for each item.
fn spread<T>(count: usize, outcomes: Result<Vec<Result<T>>>) -> Result<Vec<Result<T>>> {
    match outcomes {
        Err(error) if is_temporary(&error) => Ok((0..count).map(|_| Err(error.clone())).collect()),
        outcomes => outcomes,
    }
}

#[cfg(test)]
mod tests;
