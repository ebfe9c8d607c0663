//! Tests of the queue over a backend whose gets wait until a test releases them.

mod closing;
mod failures;
mod lone;
mod wake;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;

use tokio::sync::Mutex as AsyncMutex;

use super::*;
use crate::backend::double::{Double, Gate, Get};
use crate::backend::memory::Memory;
use crate::cache::{Cache, CacheHandle, Cursor, Request, SearchOptions};
use crate::config::{BackendConfig, Config};
use crate::lease::{Fill, Lease, LeaseOptions, Wait};
use crate::operation::{Addition, NewEntry, Operation, PatternMode, SetCondition};

const GET: Operation = Operation::Get { key: b"key" };

fn config() -> Config {
    Config::from_text("memory://", &|_| None).unwrap()
}

/// Opens a queue over a backend with such gets.
fn over(at_once: bool, get: Get, capacity: usize) -> Queue {
    let cache = Cache::over(Arc::new(Double::new(&config(), at_once, get)), config());
    Queue::open(Arc::new(CacheHandle::new(cache)), capacity).unwrap()
}

fn over_memory(capacity: usize) -> Queue {
    let config = config();
    let BackendConfig::Memory(memory) = &config.backend else { panic!("not a memory cache") };
    let cache = Cache::over(Arc::new(Memory::new(memory)), config);
    Queue::open(Arc::new(CacheHandle::new(cache)), capacity).unwrap()
}

fn gated(capacity: usize) -> (Queue, Gate) {
    let gate = Gate::closed();
    (over(false, gate.get(), capacity), gate)
}

/// Submits one operation. Returns none if it was not accepted.
fn try_submit<'a>(queue: &Queue, user_data: u64, request: impl Into<Request<'a>>) -> Option<Ticket> {
    let (mut ticket, mut submission) = (None, queue.submit(1).unwrap());
    submission.add(Label { user_data, kind: 3 }, Ok(request.into()));
    submission.commit(|written| ticket = Some(written));
    ticket
}

fn submit<'a>(queue: &Queue, user_data: u64, request: impl Into<Request<'a>>) -> Ticket {
    try_submit(queue, user_data, request).unwrap()
}

fn in_ten_seconds() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Takes the available completions.
fn take_all(queue: &Queue) -> Vec<Completion> {
    let mut all = Vec::new();
    queue.take(usize::MAX, |completion| all.push(completion)).unwrap();
    all
}

/// Takes the next completion.
fn next(queue: &Queue) -> Completion {
    let mut came = None;
    queue.wait(1, Some(in_ten_seconds()), |completion| came = Some(completion)).unwrap();
    came.unwrap()
}

fn next_kind(queue: &Queue) -> Option<ErrorKind> {
    next(queue).result.err().map(|error| error.kind())
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "closed")
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled")
}

fn close(queue: &Queue, deadline: Instant) -> bool {
    queue.close(closed(), &cancelled(), deadline)
}

fn until(done: impl Fn() -> bool) {
    let deadline = in_ten_seconds();
    while !done() {
        assert!(Instant::now() < deadline, "it does not come");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_waits_completes_when_it_is_let_through_with_what_was_submitted() {
    let (queue, gate) = gated(0);
    let tickets: Vec<Ticket> = [0, u64::MAX, 7].into_iter().map(|data| submit(&queue, data, GET)).collect();
    assert!(take_all(&queue).is_empty());
    gate.open(3);
    let came: Vec<Completion> = (0..3).map(|_| next(&queue)).collect();
    // In any order.
    let labels: HashMap<Ticket, u64> = came.iter().map(|it| (it.ticket, it.label.user_data)).collect();
    assert_eq!(labels, tickets.into_iter().zip([0, u64::MAX, 7]).collect());
    assert!(came.iter().all(|it| it.label.kind == 3 && matches!(it.result, Ok(Outcome::Miss))));
    assert!(take_all(&queue).is_empty());
}

#[test]
fn what_is_asked_together_completes_each_for_itself() {
    let gate = Gate::closed();
    let mut double = Double::new(&config(), false, gate.get());
    double.one_server = true;
    let queue = Queue::open(Arc::new(CacheHandle::new(Cache::over(Arc::new(double), config()))), 0).unwrap();
    let (mut tickets, mut submission) = (Vec::new(), queue.submit(200).unwrap());
    for at in 0..100u64 {
        let (key, value) = (format!("key:{at}"), at.to_string());
        let set = NewEntry { key: key.as_bytes(), value: value.as_bytes(), ttl: None, tags: &[b"tag"] };
        assert!(submission.add(Label { user_data: at, kind: 1 }, Ok(Operation::Set(set).into())));
    }
    submission.commit(|_| {});
    (0..100).for_each(|_| assert!(next(&queue).result.is_ok()));
    let mut submission = queue.submit(100).unwrap();
    for at in 0..100u64 {
        let key = if at < 80 { format!("key:{at}") } else { format!("none:{at}") };
        assert!(submission.add(Label { user_data: at, kind: 3 }, Ok(Operation::Get { key: key.as_bytes() }.into())));
    }
    submission.commit(|ticket| tickets.push(ticket));
    until(|| gate.waiting() == 100);
    // All of the first group, and one of the second, which continues for the others.
    tickets[..65].iter().for_each(|ticket| assert!(queue.cancel(*ticket)));
    until(|| gate.waiting() == 36);
    gate.open(100);
    let came: HashMap<u64, Completion> = (0..100).map(|_| next(&queue)).map(|it| (it.label.user_data, it)).collect();
    let is_cancelled = |it: &Completion| it.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled);
    assert!((0..100).all(|at| is_cancelled(&came[&at]) == (at < 65)));
    let holds =
        |at: u64| matches!(&came[&at].result, Ok(Outcome::Value(it)) if it.as_bytes() == at.to_string().as_bytes());
    assert!((65..80).all(holds));
    assert!((80..100).all(|at| matches!(came[&at].result, Ok(Outcome::Miss))));
    assert!(take_all(&queue).is_empty());
}

#[test]
fn what_is_cancelled_completes_once_and_its_future_is_dropped() {
    let (queue, gate) = gated(0);
    let ticket = submit(&queue, 5, GET);
    until(|| gate.waiting() == 1);
    assert!(queue.cancel(ticket));
    assert!(!queue.cancel(ticket) && !queue.cancel(ticket + 1) && !queue.cancel(0) && !queue.cancel(u64::MAX));
    let completion = next(&queue);
    assert_eq!((completion.ticket, completion.label.user_data), (ticket, 5));
    assert_eq!(completion.result.err().unwrap().kind(), ErrorKind::Cancelled);
    until(|| gate.waiting() == 0);
    gate.open(1);
    submit(&queue, 6, GET);
    assert_eq!(next(&queue).label.user_data, 6);
    assert!(take_all(&queue).is_empty());
}

#[test]
fn an_old_ticket_does_not_cancel_what_has_its_slot_now() {
    let (queue, gate) = gated(1);
    let old = submit(&queue, 1, GET);
    gate.open(1);
    next(&queue);
    let new = submit(&queue, 2, GET);
    assert_ne!(old, new);
    assert!(!queue.cancel(old));
    assert!(queue.cancel(new));
}

#[test]
fn a_storm_of_cancellations_and_answers_leaves_one_completion_for_each() {
    const OPERATIONS: usize = 10_000;
    let (queue, gate) = gated(OPERATIONS);
    let (queue, gate) = (&queue, &gate);
    let mut counts: HashMap<Ticket, usize> = HashMap::new();
    thread::scope(|scope| {
        let tickets: Vec<Ticket> = (0..OPERATIONS as u64).map(|data| submit(queue, data, GET)).collect();
        let odd: Vec<Ticket> = tickets.iter().copied().skip(1).step_by(2).collect();
        let storms = [tickets.clone(), tickets.iter().rev().copied().collect(), odd];
        let cancels: Vec<_> = storms
            .into_iter()
            .map(|storm| scope.spawn(move || storm.into_iter().filter(|ticket| queue.cancel(*ticket)).count()))
            .collect();
        scope.spawn(|| (0..OPERATIONS).for_each(|_| gate.open(1)));
        (0..OPERATIONS).for_each(|_| *counts.entry(next(queue).ticket).or_default() += 1);
        let cancelled: usize = cancels.into_iter().map(|storm| storm.join().unwrap()).sum();
        assert!(cancelled <= OPERATIONS);
        assert!(tickets.iter().all(|ticket| counts[ticket] == 1));
    });
    assert!(take_all(queue).is_empty());
    until(|| gate.waiting() == 0);
}

#[test]
fn a_full_queue_takes_no_more_until_completions_are_taken() {
    let (queue, gate) = gated(3);
    let tickets: Vec<Ticket> = (0..3).map(|data| submit(&queue, data, GET)).collect();
    assert!(try_submit(&queue, 3, GET).is_none());
    gate.open(1);
    queue.cancel(tickets[2]);
    until(|| queue.shared.change(|state| state.ready()) == 2);
    assert!(try_submit(&queue, 3, GET).is_none(), "what is not taken counts");
    assert_eq!(take_all(&queue).len(), 2);
    assert!(try_submit(&queue, 3, GET).is_some() && try_submit(&queue, 4, GET).is_some());
    assert!(try_submit(&queue, 5, GET).is_none());
}

#[test]
fn a_queue_accepts_as_many_of_a_submission_as_it_has_room_for() {
    let queue = over_memory(3);
    let mut submission = queue.submit(5).unwrap();
    let accepted: Vec<bool> =
        (0..5).map(|data| submission.add(Label { user_data: data, kind: 1 }, Ok(GET.into()))).collect();
    assert_eq!(accepted, [true, true, true, false, false]);
    assert_eq!(submission.commit(drop), 3);
    assert_eq!(take_all(&queue).len(), 3);
    drop(queue.submit(3).unwrap());
    assert_eq!(queue.submit(3).unwrap().commit(drop), 0);
    assert!((0..3).all(|data| try_submit(&queue, data, GET).is_some()), "room that was not used is free");
}

#[test]
fn arguments_beyond_the_budget_are_not_accepted_until_others_are_done() {
    let (queue, gate) = gated(0);
    let value = vec![0; 8 * 1024 * 1024];
    let set = Operation::Set(NewEntry { key: b"k", value: &value, ttl: None, tags: &[] });
    let held: Vec<Ticket> = (0..2).map(|data| submit(&queue, data, GET)).collect();
    let keys = vec![&value[..65_536]; 512];
    let many = Operation::DeleteMany { keys: &keys };
    // The driver is kept busy by nothing: what it has done is given back, so this fills it at once.
    let mut submission = queue.submit(10).unwrap();
    let label = Label { user_data: 0, kind: 0 };
    let accepted = (0..10).take_while(|_| submission.add(label, Ok(set.into()))).count();
    assert_eq!(accepted, 7, "64 MiB hold seven values of 8 MiB with their keys");
    assert!(!submission.add(label, Ok(many.into())));
    submission.commit(drop);
    (0..7).for_each(|_| assert!(next(&queue).result.is_ok()));
    until(|| try_submit(&queue, 9, many).is_some());
    assert!(next(&queue).result.is_ok());
    held.into_iter().for_each(|ticket| assert!(queue.cancel(ticket)));
    drop(gate);
}

#[test]
fn memory_completes_at_once_and_without_a_thread() {
    let queue = over_memory(0);
    let set = Operation::Set(NewEntry { key: b"key", value: b"value", ttl: None, tags: &[b"tag"] });
    submit(&queue, 1, set);
    submit(&queue, 2, GET);
    submit(&queue, 3, Operation::GetMany { keys: &[b"key", b"none"] });
    let came = take_all(&queue);
    assert!(came.iter().map(|it| it.label.user_data).eq([1, 2, 3]));
    assert!(matches!(&came[1].result, Ok(Outcome::Value(value)) if value.as_bytes() == b"value"));
    assert!(matches!(&came[2].result, Ok(Outcome::Values(values)) if values.len() == 2));
    assert!(lock(&queue.runtime).is_none());
}

#[test]
fn what_may_go_through_the_whole_cache_does_not_hold_up_the_caller() {
    let queue = over_memory(0);
    submit(&queue, 1, Operation::InvalidatePatterns { patterns: &[b"*"], mode: PatternMode::Walk });
    assert!(matches!(next(&queue).result, Ok(Outcome::Removed(Some(0)))));
    let runtime = lock(&queue.runtime).as_ref().unwrap().handle().clone();
    let ((started, starts), (release, held)) = (channel(), channel::<()>());
    runtime.spawn(async move {
        started.send(()).unwrap();
        held.recv().unwrap();
    });
    starts.recv().unwrap();
    submit(&queue, 2, Operation::InvalidatePatterns { patterns: &[b"*"], mode: PatternMode::Walk });
    assert!(take_all(&queue).is_empty(), "it ran on this thread, and not on the one that is held");
    release.send(()).unwrap();
    assert!(matches!(next(&queue).result, Ok(Outcome::Removed(Some(0)))));
    assert!(close(&queue, in_ten_seconds()));
    assert!(lock(&queue.runtime).is_none(), "a closed queue needs it no more");
}

/// Returns the outcomes of operations in order as text.
fn describe(outcome: &Result<Outcome>) -> String {
    let bytes = |value: Option<&crate::value::Value>| value.map(|value| value.as_bytes().to_vec());
    match outcome {
        Ok(Outcome::Done) => "done".into(),
        Ok(Outcome::Miss) => "miss".into(),
        Ok(Outcome::Unmet) => "unmet".into(),
        Ok(Outcome::Versioned(value, _)) => format!("versioned: {:?}", value.as_bytes()),
        Ok(Outcome::Info(info)) => format!("info: {:?}", (info.value.as_bytes(), info.age, info.left, info.tags)),
        Ok(Outcome::Version(_)) => "stored".into(),
        Ok(Outcome::Number(number)) => format!("number: {number}"),
        Ok(Outcome::Value(value)) if value.as_bytes().starts_with(b"{") => "report".into(),
        Ok(Outcome::Value(value)) => format!("{:?}", value.as_bytes()),
        Ok(Outcome::Remaining(left)) => format!("left: {}", left.is_some()),
        Ok(Outcome::Removed(removed)) => format!("{removed:?}"),
        Ok(Outcome::Values(all)) => {
            format!("{:?}", all.iter().map(|it| bytes(it.as_ref().unwrap().as_ref())).collect::<Vec<_>>())
        }
        Ok(Outcome::Stored(all)) => format!("{all:?}"),
        Ok(Outcome::Deleted(all)) => format!("{all:?}"),
        // Listed in no order: a set.
        Ok(Outcome::Keys(keys)) => format!("{:?}", keys.iter().collect::<BTreeSet<_>>()),
        Ok(Outcome::Matches(all)) => format!("{all:?}"),
        Ok(Outcome::Explanation(explanation)) => format!("{explanation:?}"),
        Ok(Outcome::Usage(usage)) => format!("{usage:?}"),
        Ok(Outcome::Loaded(loaded)) => format!("{:?}", (loaded.state, bytes(loaded.value.as_ref()))),
        Ok(Outcome::Superseded) => "superseded".into(),
        Ok(Outcome::Reply(reply)) => format!("{reply:?}"),
        Ok(Outcome::Received(receivers)) => format!("received: {receivers:?}"),
        Ok(Outcome::Message(_)) => "message".into(),
        Ok(Outcome::Event(_)) => "event".into(),
        Err(error) => format!("{error:?}"),
    }
}

/// Returns the request for a lease with this wait.
fn get_or_lease(wait: Wait, tags: &'static [&'static [u8]]) -> Operation<'static> {
    let options = LeaseOptions { lease: Duration::from_secs(60), wait, tags, refresh_ahead: false, in_doubt: None };
    Operation::GetOrLease { key: b"key", options }
}

fn lease_of(completion: Completion) -> Arc<Lease> {
    match completion.result {
        Ok(Outcome::Loaded(loaded)) => loaded.lease.unwrap(),
        other => panic!("{}", describe(&other)),
    }
}

#[test]
fn an_operation_that_waits_for_the_load_of_another_caller_completes_with_its_value() {
    let queue = over_memory(0);
    let wait = Wait::AtMost(Duration::from_secs(20));
    submit(&queue, 1, get_or_lease(wait, &[]));
    assert!(lock(&queue.runtime).is_none(), "a lease is given at once");
    let lease = lease_of(next(&queue));
    let waiting: Vec<Ticket> = (2..5).map(|number| submit(&queue, number, get_or_lease(wait, &[]))).collect();
    assert!(queue.cancel(waiting[0]));
    assert!(next(&queue).result.is_err_and(|error| error.kind() == ErrorKind::Cancelled));
    thread::sleep(Duration::from_millis(20));
    assert!(take_all(&queue).is_empty());
    let fill = Fill { value: b"v", absent: false, ttl: None, stale_for: Duration::ZERO, tags: &[], keeps_load: false };
    submit(&queue, 5, Operation::LeaseFill { lease: &lease, fill });
    let done: HashMap<u64, String> =
        (0..3).map(|_| next(&queue)).map(|it| (it.label.user_data, describe(&it.result))).collect();
    let value = format!("(Fresh, Some({:?}))", b"v");
    assert_eq!(done, HashMap::from([(3, value.clone()), (4, value), (5, "done".into())]));
    let brief = Wait::AtMost(Duration::from_millis(10));
    submit(&queue, 6, Operation::Delete { key: b"key" });
    submit(&queue, 7, get_or_lease(brief, &[]));
    submit(&queue, 8, get_or_lease(brief, &[]));
    // Kept: the lease of a completion that is dropped is abandoned.
    let done: Vec<Completion> = (0..3).map(|_| next(&queue)).collect();
    let late = done.iter().find(|it| it.label.user_data == 8).unwrap();
    assert!(late.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy));
}

#[test]
fn a_lease_that_nobody_took_out_of_a_queue_is_abandoned() {
    let queue = over_memory(0);
    let handle = queue.handle.clone();
    submit(&queue, 1, get_or_lease(Wait::No, &[]));
    drop(queue);
    let cache = handle.load();
    let again = crate::exec::blocking::answer(|context| cache.call(context, get_or_lease(Wait::No, &[]))).unwrap();
    assert!(matches!(&again, Outcome::Loaded(loaded) if loaded.lease.is_some()));
    drop(again);
    let again = crate::exec::blocking::answer(|context| cache.call(context, get_or_lease(Wait::No, &[]))).unwrap();
    assert!(matches!(&again, Outcome::Loaded(loaded) if loaded.lease.is_some()), "a lease that was dropped");
}

#[test]
fn an_operation_on_a_lease_owns_its_arguments() {
    let through: Get = Box::new(|_| Box::pin(async { None }));
    let queue = over(false, through, 0);
    let lease = |tags| {
        submit(&queue, 1, get_or_lease(Wait::No, tags));
        lease_of(next(&queue))
    };
    let first = lease(&[b"named"]);
    let fill =
        Fill { value: b"value", absent: false, ttl: None, stale_for: Duration::ZERO, tags: &[b"t"], keeps_load: false };
    submit(&queue, 2, Operation::LeaseFill { lease: &first, fill });
    drop(first);
    assert_eq!(describe(&next(&queue).result), "done");
    submit(&queue, 3, Operation::InvalidateTags { tags: &[b"t"], count: true });
    assert_eq!(describe(&next(&queue).result), "Some(1)");
    let second = lease(&[]);
    submit(&queue, 4, Operation::LeaseAbandon { lease: &second, retry_after: Duration::ZERO });
    assert_eq!(describe(&next(&queue).result), "done");
    submit(&queue, 5, Operation::LeaseFill { lease: &second, fill });
    assert!(next(&queue).result.is_err_and(|error| error.kind() == ErrorKind::Invalid));
    let third = lease(&[b"named"]);
    submit(&queue, 6, Operation::InvalidateTags { tags: &[b"named"], count: false });
    next(&queue);
    submit(&queue, 7, Operation::LeaseFill { lease: &third, fill });
    assert_eq!(describe(&next(&queue).result), "superseded");
}

#[test]
fn every_operation_means_the_same_when_it_owns_its_arguments() {
    let through: Get = Box::new(|_| Box::pin(async { None }));
    let (direct, owning) = (over_memory(0), over(false, through, 0));
    let cursors = [(); 2].map(|()| Arc::new(AsyncMutex::new(Cursor::new(b"m*").unwrap())));
    let tags: [&[u8]; 2] = [b"t", b"u"];
    let (keys, second): ([&[u8]; 3], _) = ([b"m1", b"m2", b"\0"], Some(Duration::from_secs(60)));
    let entry = |key, value| NewEntry { key, value, ttl: None, tags: &tags[1..] };
    let entries = [entry(keys[0], b""), entry(keys[1], b"2"), entry(keys[2], b"3")];
    let refused = [entry(b"a", b""), entry(b"", b"")];
    let search = SearchOptions { threshold: 50.0, limit: 2, tags: &tags[1..] };
    for cursor in &cursors {
        let queue = if Arc::ptr_eq(cursor, &cursors[0]) { &direct } else { &owning };
        let operations: [Request; 40] = [
            Operation::Set(NewEntry { key: b"a", value: b"1", ttl: second, tags: &tags }).into(),
            Operation::Set(NewEntry { key: b"b", value: b"", ttl: None, tags: &[] }).into(),
            Operation::SetMany { entries: &entries }.into(),
            Operation::Get { key: b"a" }.into(),
            Operation::Get { key: b"b" }.into(),
            Operation::Get { key: b"none" }.into(),
            Operation::GetMany { keys: &keys }.into(),
            Operation::Exists { key: b"\0" }.into(),
            Operation::Ttl { key: b"a" }.into(),
            Operation::Expire { key: b"a", ttl: None }.into(),
            Operation::Ttl { key: b"a" }.into(),
            Request::NextKeys { cursor: cursor.clone(), limit: 512 },
            Request::NextKeys { cursor: cursor.clone(), limit: 512 },
            Request::Search { query: b"m1", options: search },
            Operation::InvalidateTags { tags: &tags[..1], count: true }.into(),
            Operation::InvalidateTags { tags: &tags[..1], count: false }.into(),
            Operation::DeleteMany { keys: &keys[1..] }.into(),
            Operation::Delete { key: b"b" }.into(),
            Operation::Delete { key: b"b" }.into(),
            Operation::InvalidatePatterns { patterns: &[b"m?"], mode: PatternMode::Walk }.into(),
            Operation::Flush { count: true }.into(),
            Operation::Ping.into(),
            Request::Stats,
            Request::Health,
            Operation::Get { key: b"" }.into(),
            Operation::InvalidateTags { tags: &[b""], count: false }.into(),
            Operation::GetMany { keys: &[b"a", b""] }.into(),
            Operation::SetMany { entries: &refused }.into(),
            Request::Search { query: b"", options: search },
            Operation::InvalidatePatterns { patterns: &[&[b'a'; 65_537]], mode: PatternMode::Walk }.into(),
            Operation::SetIf { entry: entry(b"s", b"1"), condition: SetCondition::Absent }.into(),
            Operation::SetIf { entry: entry(b"s", b"2"), condition: SetCondition::Absent }.into(),
            Operation::GetVersioned { key: b"s" }.into(),
            Operation::GetInfo { key: b"s", max_age: None }.into(),
            Operation::GetInfo { key: b"s", max_age: second }.into(),
            Request::DryRun(Operation::Flush { count: true }),
            Operation::CounterAdd(Addition { key: b"s", delta: 4, initial: 0, ttl: None, tags: &[] }).into(),
            Operation::GetAndExpire { key: b"s", ttl: second }.into(),
            Operation::InvalidateTags { tags: &tags[1..], count: true }.into(),
            Operation::DeleteIf { key: b"s", version: 1 }.into(),
        ];
        for (at, operation) in operations.into_iter().enumerate() {
            submit(queue, at as u64, operation);
            let described = describe(&next(queue).result);
            assert_eq!(described, EXPECTED[at], "operation {at}");
        }
    }
}

const EXPECTED: [&str; 40] = [
    "done",
    "done",
    "[Ok(()), Ok(()), Ok(())]",
    "[49]",
    "[]",
    "miss",
    "[Some([]), Some([50]), Some([51])]",
    "done",
    "left: true",
    "done",
    "left: false",
    "{[109, 49], [109, 50]}",
    "{}",
    "[Match { key: [109, 49], score: 100.0 }, Match { key: [109, 50], score: 66.66666666666667 }]",
    "Some(1)",
    "None",
    "[Ok(true), Ok(true)]",
    "done",
    "miss",
    "Some(1)",
    "Some(0)",
    "done",
    "report",
    "report",
    "Invalid: the key is empty; it must have 1 byte to 64 KiB",
    "Invalid: the tag is empty; it must have 1 byte to 64 KiB",
    "Invalid: the key is empty; it must have 1 byte to 64 KiB",
    "Invalid: the key is empty; it must have 1 byte to 64 KiB",
    "Invalid: the query is empty; it must have 1 byte to 1 KiB",
    "TooLarge: the pattern has 65537 bytes; the limit is 64 KiB",
    "stored",
    "unmet",
    "versioned: [49]",
    "info: ([49], None, None, 1)",
    "miss",
    "Some(1)",
    "number: 5",
    "[53]",
    "Some(1)",
    "miss",
];

#[test]
fn producers_and_consumers_share_a_queue() {
    const EACH: u64 = 5_000;
    let (queue, gate) = gated(256);
    gate.open(usize::MAX >> 4);
    let (queue, seen) = (&queue, &AtomicUsize::new(0));
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for producer in 0..3 {
            scope.spawn(move || {
                for data in 0..EACH {
                    let operation = if data % 2 == 0 { GET } else { Operation::Ping };
                    while try_submit(queue, producer * EACH + data, operation).is_none() {
                        thread::yield_now();
                    }
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                while seen.load(SeqCst) < 3 * EACH as usize {
                    let deadline = Instant::now() + Duration::from_millis(50);
                    let count = |it: Completion| _ = sum.fetch_add(it.label.user_data as usize, SeqCst);
                    seen.fetch_add(queue.wait(7, Some(deadline), count).unwrap(), SeqCst);
                }
            });
        }
    });
    assert_eq!(seen.load(SeqCst), 3 * EACH as usize);
    assert_eq!(sum.load(SeqCst), (0..3 * EACH as usize).sum::<usize>());
    assert!(take_all(queue).is_empty());
}
