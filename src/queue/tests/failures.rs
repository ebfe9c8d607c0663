//! Tests failures: panics and errors of the backend become completions.

use super::*;

#[test]
fn a_panic_is_the_completion_of_its_operation_and_the_others_continue() {
    for at_once in [true, false] {
        let armed = Arc::new(AtomicBool::new(true));
        let switch = armed.clone();
        let queue = over(
            at_once,
            Box::new(move |key| {
                assert!(!switch.load(SeqCst) || key != b"bad", "as a test asks");
                Box::pin(async { None })
            }),
            0,
        );
        submit(&queue, 1, GET);
        submit(&queue, 2, Operation::Get { key: b"bad" });
        submit(&queue, 3, GET);
        let mut came: Vec<Completion> = (0..3).map(|_| next(&queue)).collect();
        came.sort_by_key(|it| it.label.user_data);
        let message = came[1].result.as_ref().err().unwrap().to_string();
        assert!(message.starts_with("an operation of a queue failed inside the library (as a test asks)"), "{message}");
        assert!(came[0].result.is_ok() && came[2].result.is_ok());
        armed.store(false, SeqCst);
        submit(&queue, 4, Operation::Get { key: b"bad" });
        assert!(next(&queue).result.is_ok());
    }
}

#[test]
fn a_panic_after_a_wait_is_a_completion_too() {
    let queue = over(
        false,
        Box::new(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                panic!("as a test asks")
            })
        }),
        0,
    );
    submit(&queue, 1, GET);
    assert_eq!(next_kind(&queue), Some(ErrorKind::Panic));
    submit(&queue, 2, Operation::Ping);
    assert_eq!(next_kind(&queue), None);
}

/// A future that panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(thread::panicking(), "as a test asks");
    }
}

#[test]
fn a_future_that_panics_when_it_is_dropped_harms_no_other() {
    let queue = over(
        false,
        Box::new(|_| {
            let grenade = Grenade;
            Box::pin(async move {
                pending::<()>().await;
                drop(grenade);
                None
            })
        }),
        0,
    );
    let ticket = submit(&queue, 1, GET);
    submit(&queue, 2, Operation::Ping);
    next(&queue);
    assert!(queue.cancel(ticket));
    assert_eq!(next_kind(&queue), Some(ErrorKind::Cancelled));
    submit(&queue, 3, Operation::Ping);
    assert_eq!(next_kind(&queue), None);
}

#[test]
fn an_answer_of_the_backend_such_as_its_deadline_is_the_completion() {
    let late = || Error::new(ErrorKind::Timeout, "the server did not answer");
    let queue = over(
        false,
        Box::new(move |_| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some(Err(late()))
            })
        }),
        0,
    );
    (0..10).for_each(|data| assert_ne!(submit(&queue, data, GET), 0));
    (0..10).for_each(|_| assert_eq!(next_kind(&queue), Some(ErrorKind::Timeout)));
    assert!(take_all(&queue).is_empty());
}
