//! Tests deadlines and timers on a thread and in a task.

use super::*;

use std::future::pending;

use crate::exec::blocking::wait;

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_part_ends_before_the_whole_and_no_later() {
    let (call, begun) = (CallContext::thread(), Instant::now());
    let whole = call.until(begun + SHORT);
    assert_eq!(whole.until(begun + SHORT * 2).end(), whole.end());
    let nested = whole.run_until(begun + SHORT * 500, |part| part.run_until(begun + SHORT / 2, |_| pending::<()>()));
    assert_eq!(wait(|_| nested), Some(None));
    assert!(begun.elapsed() < SHORT * 100);
    assert_eq!(wait(|call| call.run_until(begun, |_| async { 7 })), Some(7));
}

#[test]
fn a_thread_and_a_task_both_end_a_silent_operation_at_its_deadline() {
    let silent = |context: CallContext| context.bounded(SHORT, "s", |_| pending::<Result<()>>());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for ended in [wait(silent), runtime.block_on(async { silent(CallContext::task()).await })] {
        let error = ended.unwrap_err();
        assert!(error.kind() == ErrorKind::Timeout && error.is_outage());
    }
}

#[test]
fn an_operation_with_less_than_its_time_is_no_outage() {
    let now = Instant::now();
    for end in [now, now + SHORT] {
        let short = CallContext::thread().until(end).bounded(SHORT * 100, "s", |_| pending::<Result<()>>());
        assert!(!wait(|_| short).unwrap_err().is_outage());
    }
}

#[test]
fn a_call_inside_a_call_leaves_the_timer_of_the_outer() {
    let begun = Instant::now();
    let mut inside = false;
    let outer = CallContext::thread().run_until(begun + SHORT, |_| {
        std::future::poll_fn(|_| {
            if !std::mem::replace(&mut inside, true) {
                parker::wake_at(begun + SHORT);
                wait(|call| call.run_until(Instant::now(), |_| pending::<()>()));
            }
            Poll::<()>::Pending
        })
    });
    assert_eq!(wait(|_| outer), None);
}
