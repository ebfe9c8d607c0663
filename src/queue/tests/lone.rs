//! Tests submissions to a queue without operations in flight, which begin on the thread of their submitter.

use super::*;
use std::sync::{Mutex as StdMutex, OnceLock, Weak};
use std::thread::ThreadId;

/// Opens a queue over one server with such gets.
fn over_one_server(get: Get) -> Queue {
    let mut double = Double::new(&config(), false, get);
    double.one_server = true;
    Queue::open(Arc::new(CacheHandle::new(Cache::over(Arc::new(double), config()))), 0).unwrap()
}

/// Submits gets of keys in one submission.
fn submit_gets(queue: &Queue, keys: &[&str]) -> Vec<Ticket> {
    let (mut tickets, mut submission) = (Vec::new(), queue.submit(keys.len()).unwrap());
    for (at, key) in keys.iter().enumerate() {
        let get = Operation::Get { key: key.as_bytes() };
        assert!(submission.add(Label { user_data: at as u64, kind: 3 }, Ok(get.into())));
    }
    submission.commit(|ticket| tickets.push(ticket));
    tickets
}

#[test]
fn gets_that_are_submitted_together_run_on_the_thread_of_their_submitter() {
    let threads = Arc::new(StdMutex::new(Vec::<ThreadId>::new()));
    let seen = threads.clone();
    let queue = over_one_server(Box::new(move |_| {
        seen.lock().unwrap().push(thread::current().id());
        Box::pin(async { None })
    }));
    submit(&queue, 9, Operation::Set(NewEntry { key: b"b", value: b"2", ttl: None, tags: &[] }));
    next(&queue);
    // A thread that was held up for longer than a moment leaves the next submissions to the driver.
    let came = (0..1000).find_map(|_| {
        threads.lock().unwrap().clear();
        let tickets = submit_gets(&queue, &["a", "b", "c"]);
        let came = take_all(&queue);
        let are_there = came.iter().map(|it| it.ticket).eq(tickets);
        (came.len()..if are_there { 0 } else { 3 }).for_each(|_| drop(next(&queue)));
        are_there.then_some(came)
    });
    let came = came.expect("all are there when the submission returns, in their order");
    assert!(matches!(&came[1].result, Ok(Outcome::Value(value)) if value.as_bytes() == b"2"));
    assert!([0, 2].iter().all(|at| matches!(came[*at].result, Ok(Outcome::Miss))));
    assert_eq!(*threads.lock().unwrap(), [thread::current().id(); 3]);
}

#[test]
fn a_submission_beside_other_operations_goes_to_the_driver() {
    let mine = thread::current().id();
    let gate = Gate::closed();
    let (waits, inline) = (gate.get(), Arc::new(AtomicUsize::new(0)));
    let count = inline.clone();
    let queue = over_one_server(Box::new(move |key| {
        count.fetch_add(usize::from(thread::current().id() == mine), SeqCst);
        waits(key)
    }));
    submit_gets(&queue, &["a"; 2]);
    assert_eq!(inline.load(SeqCst), 2);
    submit_gets(&queue, &["a"; 2]);
    until(|| gate.waiting() == 4);
    gate.open(4);
    (0..4).for_each(|_| assert_eq!(next_kind(&queue), None));
    assert_eq!(inline.load(SeqCst), 2);
}

#[test]
fn after_late_replies_in_a_row_ever_more_lone_submissions_are_not_begun() {
    let patience = Patience::default();
    for skipped in [1, 3, 7, 15, 31, 63, 63] {
        assert!(patience.begins());
        patience.was_late();
        (0..skipped).for_each(|_| assert!(!patience.begins()));
    }
    patience.was_in_time();
    patience.was_late();
    assert!(!patience.begins() && patience.begins());
}

#[test]
fn gets_that_were_begun_together_complete_once_each_and_can_be_cancelled() {
    let gate = Gate::closed();
    let queue = over_one_server(gate.get());
    let tickets = submit_gets(&queue, &["a"; 64]);
    assert_eq!(gate.waiting(), 64);
    assert!(take_all(&queue).is_empty());
    assert!(tickets[..60].iter().all(|ticket| queue.cancel(*ticket)));
    gate.open(64);
    let came: HashMap<Ticket, Option<ErrorKind>> =
        (0..64).map(|_| next(&queue)).map(|it| (it.ticket, it.result.err().map(|error| error.kind()))).collect();
    let expected = |at| (at < 60).then_some(ErrorKind::Cancelled);
    assert!(tickets.iter().enumerate().all(|(at, ticket)| came[ticket] == expected(at)));
    let again = submit_gets(&queue, &["a"; 64]);
    until(|| gate.waiting() == 64);
    assert!(again.iter().all(|ticket| queue.cancel(*ticket)));
    until(|| gate.waiting() == 0);
    assert_eq!(take_all(&queue).len(), 64);
}

#[test]
fn a_panic_of_gets_that_run_together_is_the_completion_of_each() {
    let queue = over_one_server(Box::new(|_| panic!("as a test asks")));
    submit_gets(&queue, &["a"; 3]);
    assert!((0..3).all(|_| next_kind(&queue) == Some(ErrorKind::Panic)));
    assert!(take_all(&queue).is_empty());
}

#[test]
fn gets_that_were_begun_when_the_queue_was_closed_complete_with_the_reason() {
    let (place, gate) = (Arc::new(OnceLock::<Weak<Queue>>::new()), Gate::closed());
    let (later, waits) = (place.clone(), gate.get());
    let queue = Arc::new(over_one_server(Box::new(move |key| {
        later.get().unwrap().upgrade().unwrap().close_now(closed());
        waits(key)
    })));
    place.set(Arc::downgrade(&queue)).unwrap();
    let tickets = submit_gets(&queue, &["a"; 3]);
    let came = take_all(&queue);
    assert!(came.iter().map(|it| it.ticket).eq(tickets));
    assert!(came.iter().all(|it| it.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed)));
    assert_eq!(gate.waiting(), 0);
}
