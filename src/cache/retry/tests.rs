//! Tests the repetition of operations that fail temporarily.

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
                async move { if first { Err(Error::new(kind, "a failure")) } else { Ok(at.into_iter().map(Ok).collect()) } }
            })
        });
        assert_eq!((attempts, outcomes.is_ok()), (expected, expected == 2));
    }
}
