//! Tests the calls that wake the host.

use super::*;

/// Counts its calls and their threads, and reports when it is dropped.
#[derive(Default)]
struct Host {
    calls: AtomicUsize,
    inline: AtomicBool,
    finalised: AtomicUsize,
}

struct Finalise(Arc<Host>);

impl Drop for Finalise {
    fn drop(&mut self) {
        self.0.finalised.fetch_add(1, SeqCst);
    }
}

fn wake_of(host: &Arc<Host>) -> Wake {
    let (data, caller) = (Finalise(host.clone()), thread::current().id());
    Arc::new(move || {
        data.0.inline.fetch_or(thread::current().id() == caller, SeqCst);
        data.0.calls.fetch_add(1, SeqCst);
    })
}

#[test]
fn the_host_is_woken_once_for_each_change_to_filled_and_never_inline() {
    let (queue, host) = (over_memory(0), Arc::<Host>::default());
    queue.wake_by(|| wake_of(&host)).unwrap();
    for turn in 1..=20 {
        let mut submission = queue.submit(32).unwrap();
        while submission.add(Label { user_data: 0, kind: 1 }, Ok(GET.into())) {}
        submission.commit(drop);
        submit(&queue, 1, GET);
        until(|| host.calls.load(SeqCst) == turn);
        queue.take(5, drop).unwrap();
        submit(&queue, 1, GET);
        take_all(&queue);
    }
    thread::sleep(Duration::from_millis(20));
    assert_eq!(host.calls.load(SeqCst), 20);
    assert!(!host.inline.load(SeqCst));
    assert_eq!(host.finalised.load(SeqCst), 0);
    submit(&queue, 1, GET);
    close(&queue, in_ten_seconds());
    assert_eq!((host.calls.load(SeqCst), host.finalised.load(SeqCst)), (21, 1), "the last call comes before the end");
    drop(queue);
    assert_eq!(host.finalised.load(SeqCst), 1);
}

#[test]
fn the_host_is_woken_for_what_a_close_completes() {
    let ((queue, _gate), host) = (gated(0), Arc::<Host>::default());
    queue.wake_by(|| wake_of(&host)).unwrap();
    submit(&queue, 1, GET);
    close(&queue, Instant::now());
    assert_eq!((host.calls.load(SeqCst), host.finalised.load(SeqCst)), (1, 1));
    assert!(!host.inline.load(SeqCst));
}

#[test]
fn a_queue_that_is_dropped_finalises_its_host() {
    let (queue, host) = (over_memory(0), Arc::<Host>::default());
    queue.wake_by(|| wake_of(&host)).unwrap();
    submit(&queue, 1, GET);
    drop(queue);
    until(|| host.finalised.load(SeqCst) == 1);
}

#[test]
fn the_host_may_close_its_queue_when_it_is_woken() {
    let ((queue, gate), finished) = (gated(0), Arc::new(AtomicBool::new(false)));
    let (queue, done) = (Arc::new(queue), finished.clone());
    let inner = Arc::downgrade(&queue);
    queue
        .wake_by(|| {
            Arc::new(move || {
                let queue = inner.upgrade().unwrap();
                take_all(&queue);
                assert!(!close(&queue, in_ten_seconds()));
                assert_eq!(take_all(&queue).len(), 1);
                done.store(true, SeqCst);
            })
        })
        .unwrap();
    submit(&queue, 1, GET);
    submit(&queue, 2, GET);
    gate.open(1);
    until(|| finished.load(SeqCst));
    until(|| gate.waiting() == 0);
}
