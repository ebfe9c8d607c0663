//! Repeats the operations of a migration that fail temporarily: a server fails, or reports a temporary state.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::exec::backoff::Backoff;
use crate::exec::context::CallContext;

/// The number of retries of an operation, and the pauses between them.
pub(super) const RETRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
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
        let again = spread(failed.len(), attempt(failed.clone()).await)?;
        failed.into_iter().zip(again).for_each(|(at, outcome)| outcomes[at] = outcome);
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
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::exec::blocking::wait;

    #[test]
    fn a_retry_repeats_only_the_items_that_failed() {
        let mut attempts = Vec::new();
        let outcomes = wait(|context| {
            retried_each(context, 3, |at| {
                attempts.push(at.clone());
                let second = attempts.len() == 2;
                let outcome = move |at: usize| match at {
                    0 => Ok(at),
                    1 if second => Ok(at),
                    1 => Err(Error::new(ErrorKind::Timeout, "late")),
                    _ => Err(Error::new(ErrorKind::TooLarge, "large")),
                };
                async move { Ok(at.into_iter().map(outcome).collect()) }
            })
        })
        .unwrap();
        assert_eq!(attempts, [vec![0, 1, 2], vec![1]]);
        assert_eq!((outcomes[0].as_ref().ok(), outcomes[1].as_ref().ok()), (Some(&0), Some(&1)));
        assert_eq!(outcomes[2].as_ref().unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_temporary_failure_of_the_whole_is_retried_and_another_is_not() {
        for (kind, expected) in [(ErrorKind::Connect, 2), (ErrorKind::Closed, 1)] {
            let mut attempts = 0;
            let outcomes = wait(|context| {
                retried_each(context, 2, |at| {
                    attempts += 1;
                    let first = attempts == 1;
                    async move {
                        if first { Err(Error::new(kind, "a failure")) } else { Ok(at.into_iter().map(Ok).collect()) }
                    }
                })
            });
            assert_eq!((attempts, outcomes.is_ok()), (expected, expected == 2));
        }
    }
}
