//! Tests the end of a queue and of a wait.

use super::*;

#[test]
fn a_close_lets_what_is_in_flight_finish() {
    let (queue, gate) = gated(0);
    let ticket = submit(&queue, 1, GET);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            gate.open(1);
        });
        assert!(close(&queue, in_ten_seconds()));
    });
    let completion = next(&queue);
    assert!(completion.ticket == ticket && completion.result.is_ok());
    assert_eq!(queue.take(1, drop).err().map(|error| error.kind()), Some(ErrorKind::Closed));
}

#[test]
fn a_close_completes_the_rest_at_its_deadline_and_takes_no_more() {
    let (queue, gate) = gated(0);
    (0..100).for_each(|data| assert_ne!(submit(&queue, data, GET), 0));
    let begun = Instant::now();
    assert!(!close(&queue, begun + Duration::from_millis(30)));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(30) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(gate.waiting(), 0, "futures are dropped when close returns");
    assert_eq!(queue.submit(1).err().map(|error| error.kind()), Some(ErrorKind::Closed));
    let user_data: HashSet<u64> = take_all(&queue)
        .into_iter()
        .map(|it| {
            assert_eq!(it.result.err().unwrap().kind(), ErrorKind::Cancelled);
            it.label.user_data
        })
        .collect();
    assert_eq!(user_data.len(), 100);
    assert!(close(&queue, Instant::now()), "closing again is fine");
    let waited = queue.wait(1, None, drop).err().map(|error| error.kind());
    assert_eq!(waited, Some(ErrorKind::Closed), "no thread waits for a completion that never comes");
}

#[test]
fn a_close_wakes_a_thread_that_waits() {
    let (queue, _gate) = gated(0);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.wait(1, None, drop));
        thread::sleep(Duration::from_millis(20));
        close(&queue, Instant::now());
        assert_eq!(waiting.join().unwrap().err().map(|error| error.kind()), Some(ErrorKind::Closed));
    });
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let (queue, _gate) = gated(0);
    submit(&queue, 1, GET);
    let begun = Instant::now();
    assert_eq!(queue.wait(1, Some(begun + Duration::from_millis(20)), drop).unwrap(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_queue_that_is_dropped_drops_what_is_in_flight_and_does_not_wait() {
    let (queue, gate) = gated(0);
    (0..100).for_each(|data| assert_ne!(submit(&queue, data, GET), 0));
    until(|| gate.waiting() == 100);
    drop(queue);
    until(|| gate.waiting() == 0);
}
