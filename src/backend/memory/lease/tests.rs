//! Tests of leases in memory: what must never happen to a value that is being loaded, also when threads race.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::super::*;
use crate::config::MemoryConfig;
use crate::error::ErrorKind;
use crate::exec::blocking::answer;
use crate::exec::context::CallContext;
use crate::lease::{Fill, Lease, LeaseData, LeaseOptions, LoadState, Loaded, Wait};
use crate::operation::PatternMode;
use crate::tag_names::TagNames;

const MS: Duration = Duration::from_millis(1);
const OPTIONS: LeaseOptions =
    LeaseOptions { lease: Duration::from_secs(10), wait: Wait::No, tags: &[], refresh_ahead: false, in_doubt: None };
const FILL: Fill =
    Fill { value: b"", absent: false, ttl: None, stale_for: Duration::ZERO, tags: &[], keeps_load: false };

fn open() -> Memory {
    open_with(0)
}

fn open_with(max_size: u64) -> Memory {
    Memory::new(&MemoryConfig { max_size, cleanup_interval: Duration::from_secs(60), ..MemoryConfig::default() })
}

fn load_with(memory: &Memory, key: &str, options: LeaseOptions) -> Result<Loaded> {
    match answer(|context| memory.call(context, Operation::GetOrLease { key: key.as_bytes(), options }))? {
        Outcome::Loaded(loaded) => Ok(loaded),
        _ => panic!("another outcome"),
    }
}

fn load(memory: &Memory, key: &str) -> Result<Loaded> {
    load_with(memory, key, OPTIONS)
}

fn lease(memory: &Memory, key: &str, tags: &[&[u8]]) -> Arc<Lease> {
    let loaded = load_with(memory, key, LeaseOptions { tags, ..OPTIONS }).unwrap();
    loaded.lease.unwrap()
}

fn fill_with(memory: &Memory, lease: &Arc<Lease>, fill: Fill) -> bool {
    matches!(answer(|context| memory.call(context, Operation::LeaseFill { lease, fill })).unwrap(), Outcome::Done)
}

fn fill(memory: &Memory, lease: &Arc<Lease>, value: &str, tags: &[&[u8]]) -> bool {
    fill_with(memory, lease, Fill { value: value.as_bytes(), tags, ..FILL })
}

fn abandon(memory: &Memory, lease: &Arc<Lease>, retry_after: Duration) {
    answer(|context| memory.call(context, Operation::LeaseAbandon { lease, retry_after })).unwrap();
}

fn run(memory: &Memory, operation: Operation) {
    answer(|context| memory.call(context, operation)).unwrap();
}

fn set(memory: &Memory, key: &str, value: &str, tags: &[&[u8]]) {
    let entry = NewEntry { key: key.as_bytes(), value: value.as_bytes(), ttl: None, tags };
    answer(|context| memory.set(context, entry)).unwrap();
}

fn get(memory: &Memory, key: &str) -> Option<String> {
    let value = answer(|context| memory.get(context, key.as_bytes())).unwrap();
    value.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
}

fn is_busy(loaded: &Result<Loaded>) -> bool {
    loaded.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy && error.is_retryable())
}

#[test]
fn a_hit_is_what_a_read_for_loading_returns_without_a_lease() {
    let memory = open();
    let hit =
        |key: &str, refresh_ahead| memory.hit(key.as_bytes(), refresh_ahead).map(|value| value.as_bytes().to_vec());
    set(&memory, "fresh", "f", &[b"tag"]);
    let (stale, absent, due) =
        (lease(&memory, "stale", &[]), lease(&memory, "absent", &[]), lease(&memory, "due", &[]));
    thread::sleep(5 * MS);
    assert!(fill_with(&memory, &stale, Fill { value: b"s", ttl: Some(MS), stale_for: 60_000 * MS, ..FILL }));
    assert!(fill_with(&memory, &absent, Fill { absent: true, ..FILL }));
    assert!(fill_with(&memory, &due, Fill { value: b"d", ttl: Some(60_000 * MS), keeps_load: true, ..FILL }));
    let _held = lease(&memory, "leased", &[]);
    thread::sleep(5 * MS);
    let before = memory.activity().counters;
    for missed in ["none", "stale", "absent", "leased"] {
        assert_eq!(hit(missed, false), None, "{missed}");
    }
    assert_eq!(hit("due", true), None, "only a read decides whether a refresh is due");
    assert_eq!(memory.activity().counters, before, "nothing is counted, and nothing removed");
    assert_eq!((hit("fresh", true), hit("due", false)), (Some(b"f".to_vec()), Some(b"d".to_vec())));
    assert_eq!(memory.activity().counters.hits, before.hits + 2);
    run(&memory, Operation::InvalidateTags { tags: &[b"tag"], count: false });
    assert_eq!(hit("fresh", false), None);
}

#[test]
fn one_caller_has_the_lease_and_the_others_get_its_value() {
    let memory = open();
    let held = lease(&memory, "k", &[]);
    assert!(is_busy(&load(&memory, "k")));
    assert!(fill(&memory, &held, "v", &[]));
    let loaded = load(&memory, "k").unwrap();
    assert!(loaded.state == LoadState::Fresh && loaded.lease.is_none());
    assert_eq!(loaded.value.unwrap().as_bytes(), b"v");
    assert!(!fill(&memory, &held, "again", &[]), "the lease ended with its fill");
    assert_eq!(get(&memory, "k").as_deref(), Some("v"));
}

#[test]
fn every_change_of_the_key_ends_its_lease() {
    type Change = fn(&Memory);
    let changes: [(&str, Change); 6] = [
        ("set", |memory| set(memory, "key", "set", &[])),
        ("delete", |memory| run(memory, Operation::Delete { key: b"key" })),
        ("delete_many", |memory| run(memory, Operation::DeleteMany { keys: &[b"key"] })),
        ("pattern", |memory| {
            run(memory, Operation::InvalidatePatterns { patterns: &[b"other", b"ke?"], mode: PatternMode::Walk })
        }),
        ("flush", |memory| run(memory, Operation::Flush { count: false })),
        ("import", |memory| {
            let (key, value, tags) = (b"key".to_vec(), Value::from(&b"i"[..]), vec![]);
            let entry = CopiedEntry {
                key,
                value,
                created: None,
                ends: None,
                tags,
                tag_names: TagNames::default(),
                stale_for: Duration::ZERO,
                load_time: Duration::ZERO,
            };
            let entries = [entry];
            answer(|context| memory.import(context, &entries, &[], IfPresent::Replace)).unwrap();
        }),
    ];
    for (name, change) in changes {
        let memory = open();
        let held = lease(&memory, "key", &[]);
        change(&memory);
        let before = get(&memory, "key");
        assert!(!fill(&memory, &held, "old", &[]), "{name}");
        assert_eq!(get(&memory, "key"), before, "{name}");
    }
    let memory = open();
    let held = lease(&memory, "key", &[]);
    run(&memory, Operation::InvalidatePatterns { patterns: &[b"other*"], mode: PatternMode::Walk });
    run(&memory, Operation::Delete { key: b"other" });
    assert!(fill(&memory, &held, "v", &[]), "nothing concerned the key");
}

#[test]
fn a_value_with_a_tag_that_was_invalidated_during_the_load_is_not_stored() {
    let memory = open();
    for named_before in [true, false] {
        let (before, after): (&[&[u8]], &[&[u8]]) = if named_before { (&[b"t"], &[]) } else { (&[], &[b"t"]) };
        let held = lease(&memory, "k", before);
        run(&memory, Operation::InvalidateTags { tags: &[b"u"], count: false });
        run(&memory, Operation::InvalidateTags { tags: &[b"t"], count: false });
        assert!(!fill(&memory, &held, "old", after), "{named_before}");
        let held = lease(&memory, "k", before);
        assert!(fill(&memory, &held, "new", after), "a load that began after the invalidation");
        run(&memory, Operation::InvalidateTags { tags: &[b"t"], count: true });
        assert_eq!(get(&memory, "k"), None, "the value has the tag");
    }
    let held = lease(&memory, "k", &[]);
    memory.invalidate_hashes(CallContext::task(), &[crate::entry::tag_hash(b"t")]).now_or_never().unwrap().unwrap();
    assert!(!fill(&memory, &held, "old", &[b"t"]));
}

#[test]
fn a_lease_whose_holder_does_nothing_ends_by_itself() {
    let memory = open();
    let short = LeaseOptions { lease: 20 * MS, ..OPTIONS };
    let held = load_with(&memory, "k", short).unwrap().lease.unwrap();
    let waited = LeaseOptions { wait: Wait::AtMost(Duration::from_secs(10)), ..OPTIONS };
    let begun = Instant::now();
    let next = load_with(&memory, "k", waited).unwrap();
    assert!(next.took_over && next.waited && begun.elapsed() < Duration::from_secs(5));
    assert!(!fill(&memory, &held, "late", &[]));
    abandon(&memory, &held, Duration::ZERO);
    assert!(is_busy(&load(&memory, "k")), "the lease of the next holder stays");
    assert!(fill(&memory, &next.lease.unwrap(), "v", &[]));
    let held = load_with(&memory, "late", short).unwrap().lease.unwrap();
    thread::sleep(25 * MS);
    assert!(!fill(&memory, &held, "late", &[]), "also if no other caller asked");
}

#[test]
fn a_failed_load_lets_another_caller_load_at_once_or_after_a_time() {
    let memory = open();
    abandon(&memory, &lease(&memory, "k", &[]), Duration::ZERO);
    abandon(&memory, &lease(&memory, "k", &[]), 30 * MS);
    let waited = LeaseOptions { wait: Wait::AtMost(Duration::from_secs(10)), ..OPTIONS };
    let begun = Instant::now();
    assert!(is_busy(&load_with(&memory, "k", waited)) && begun.elapsed() < Duration::from_secs(5));
    thread::sleep(35 * MS);
    let next = load(&memory, "k").unwrap();
    assert!(next.lease.is_some() && !next.took_over);
    set(&memory, "k", "v", &[]);
    assert_eq!(load(&memory, "k").unwrap().state, LoadState::Fresh);
}

#[test]
fn a_stale_value_is_served_while_one_caller_loads_and_not_after_its_time() {
    let memory = open();
    let stale = Fill { value: b"v", ttl: Some(20 * MS), stale_for: 100_000 * MS, tags: &[b"t"], ..FILL };
    assert!(fill_with(&memory, &lease(&memory, "k", &[]), stale));
    thread::sleep(25 * MS);
    assert_eq!(get(&memory, "k"), None, "a plain get");
    assert!(!answer(|context| memory.call(context, Operation::Exists { key: b"k" })).unwrap().is_hit());
    assert!(!answer(|context| memory.call(context, Operation::Expire { key: b"k", ttl: None })).unwrap().is_hit());
    assert_eq!(memory.store.usage().keys, 0);
    assert_eq!(memory.store.usage().bytes, 0);
    let (first, second) = (load(&memory, "k").unwrap(), load(&memory, "k").unwrap());
    assert!(first.state == LoadState::Stale && second.state == LoadState::Stale);
    assert!(first.value.is_some() && second.value.is_some() && second.lease.is_none());
    // The load fails: the stale value is served still, and no caller loads.
    abandon(&memory, &first.lease.unwrap(), 100_000 * MS);
    let held_back = load(&memory, "k").unwrap();
    assert!(held_back.state == LoadState::Stale && held_back.lease.is_none());
    run(&memory, Operation::InvalidateTags { tags: &[b"t"], count: false });
    assert_eq!(load(&memory, "k").unwrap().state, LoadState::Vacant, "an invalidated value is no stale value");
    run(&memory, Operation::Delete { key: b"k" });
    let brief = Fill { ttl: Some(MS), stale_for: 10 * MS, tags: &[], ..stale };
    assert!(fill_with(&memory, &lease(&memory, "k", &[]), brief));
    thread::sleep(20 * MS);
    assert_eq!(load(&memory, "k").unwrap().state, LoadState::Vacant);
}

#[test]
fn an_invalidation_ends_the_refresh_of_a_value_with_its_tag() {
    let memory = open();
    let stale = Fill { value: b"v", ttl: Some(MS), stale_for: 100_000 * MS, tags: &[b"t"], ..FILL };
    assert!(fill_with(&memory, &lease(&memory, "k", &[]), stale));
    thread::sleep(5 * MS);
    let refresh = load(&memory, "k").unwrap().lease.unwrap();
    run(&memory, Operation::InvalidateTags { tags: &[b"t"], count: false });
    let fresh = load(&memory, "k").unwrap();
    assert_eq!(fresh.state, LoadState::Vacant);
    assert!(!fill(&memory, &refresh, "old", &[]), "though it names no tag");
    assert!(fill(&memory, &fresh.lease.unwrap(), "new", &[]));
}

#[test]
fn an_absence_is_remembered_and_hidden_from_all_else() {
    let memory = open();
    let absent = Fill { absent: true, ttl: Some(100_000 * MS), tags: &[b"t"], ..FILL };
    assert!(fill_with(&memory, &lease(&memory, "k", &[]), absent));
    let loaded = load(&memory, "k").unwrap();
    assert!(loaded.state == LoadState::Absent && loaded.value.is_none() && loaded.lease.is_none());
    assert_eq!(get(&memory, "k"), None);
    assert_eq!(load(&memory, "k").unwrap().state, LoadState::Absent, "after a plain get");
    assert!(!answer(|context| memory.call(context, Operation::Delete { key: b"other" })).unwrap().is_hit());
    assert_eq!((memory.store.usage().keys, memory.store.usage().bytes), (0, 0));
    assert_eq!(load(&memory, "k").unwrap().state, LoadState::Absent, "after a sweep");
    assert!(answer(|context| memory.export(context, &[b"k"])).unwrap()[0].as_ref().unwrap().is_none());
    assert!(memory.store.list(KeyFilter::default(), ScanCursor::default(), 10).keys.is_empty());
    run(&memory, Operation::InvalidateTags { tags: &[b"t"], count: false });
    assert_eq!(load(&memory, "k").unwrap().state, LoadState::Vacant);
    for (operation, key) in [
        (Operation::Delete { key: b"a" }, "a"),
        (Operation::InvalidatePatterns { patterns: &[b"b*"], mode: PatternMode::Walk }, "b"),
        (Operation::Flush { count: false }, "c"),
    ] {
        assert!(fill_with(&memory, &lease(&memory, key, &[]), absent));
        run(&memory, operation);
        assert_eq!(load(&memory, key).unwrap().state, LoadState::Vacant, "{key}");
    }
    let brief = Fill { ttl: Some(10 * MS), ..absent };
    assert!(fill_with(&memory, &lease(&memory, "brief", &[]), brief));
    thread::sleep(15 * MS);
    assert_eq!(load(&memory, "brief").unwrap().state, LoadState::Vacant);
}

#[test]
fn a_value_that_took_long_to_load_is_refreshed_by_one_caller_before_it_expires() {
    let memory = open();
    let slow = Fill { value: b"v", ttl: Some(1000 * MS), keeps_load: true, ..FILL };
    let LeaseData { token, instance, .. } = **lease(&memory, "k", &[]);
    let (key, tags, taken) = (b"k".to_vec(), Vec::new(), Instant::now() - 100_000 * MS);
    let tag_names = TagNames::default();
    let begun_long_ago = LeaseData { key, token, instance, tags, tag_names, prefix_version: None, taken };
    assert!(fill_with(&memory, &Arc::new(Lease::new(begun_long_ago)), slow));
    let ahead = LeaseOptions { refresh_ahead: true, ..OPTIONS };
    assert!(load(&memory, "k").unwrap().lease.is_none());
    let refresh = (0..1000).find_map(|_| {
        let loaded = load_with(&memory, "k", ahead).unwrap();
        assert!(loaded.state == LoadState::Fresh && loaded.value.is_some());
        loaded.lease
    });
    let refresh = refresh.unwrap();
    assert!((0..100).all(|_| load_with(&memory, "k", ahead).unwrap().lease.is_none()));
    assert!(fill(&memory, &refresh, "new", &[]));
    assert_eq!(get(&memory, "k").as_deref(), Some("new"));
}

#[test]
fn a_lease_of_another_store_fills_nothing() {
    let (one, other) = (open(), open());
    let held = lease(&one, "k", &[]);
    lease(&other, "k", &[]);
    assert!(!fill(&other, &held, "v", &[]));
    abandon(&other, &held, Duration::ZERO);
    assert!(is_busy(&load(&other, "k")));
}

#[test]
fn waiters_get_the_value_when_it_is_filled_and_none_waits_past_its_deadline() {
    let memory = Arc::new(open());
    let held = lease(&memory, "k", &[]);
    let waiting = |limit: Duration| {
        let memory = memory.clone();
        let options = LeaseOptions { wait: Wait::AtMost(limit), ..OPTIONS };
        thread::spawn(move || (load_with(&memory, "k", options), Instant::now()))
    };
    let begun = Instant::now();
    let impatient: Vec<_> = (0..4).map(|_| waiting(20 * MS)).collect();
    let patient: Vec<_> = (0..16).map(|_| waiting(20_000 * MS)).collect();
    for waiter in impatient {
        let (loaded, ended) = waiter.join().unwrap();
        assert!(is_busy(&loaded) && ended.duration_since(begun) >= 20 * MS);
    }
    assert!(fill(&memory, &held, "v", &[]));
    for waiter in patient {
        let loaded = waiter.join().unwrap().0.unwrap();
        assert!(loaded.state == LoadState::Fresh && loaded.waited && loaded.lease.is_none());
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn waiters_are_woken_by_everything_that_ends_a_lease() {
    for case in 0..6 {
        let memory = Arc::new(open());
        let held = lease(&memory, "k", &[]);
        let options = LeaseOptions { wait: Wait::AtMost(Duration::from_secs(20)), ..OPTIONS };
        let waiting = {
            let memory = memory.clone();
            thread::spawn(move || load_with(&memory, "k", options))
        };
        let begun = Instant::now();
        while memory.store.shard_of(memory.store.hash(b"k")).waiters().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{case}: no waiter is registered");
            thread::sleep(MS);
        }
        let begun = Instant::now();
        match case {
            0 => set(&memory, "k", "v", &[]),
            1 => run(&memory, Operation::Delete { key: b"k" }),
            2 => run(&memory, Operation::Flush { count: false }),
            3 => abandon(&memory, &held, Duration::ZERO),
            4 => abandon(&memory, &held, Duration::from_secs(1000)),
            _ => answer(|context| memory.close(context, Instant::now())).unwrap(),
        }
        let waited = waiting.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "{case}");
        match case {
            0 => assert_eq!(waited.unwrap().state, LoadState::Fresh),
            4 => assert!(is_busy(&waited)),
            5 => assert!(waited.is_err_and(|error| error.kind() == ErrorKind::Closed)),
            _ => assert!(waited.unwrap().lease.is_some(), "{case}"),
        }
    }
}

#[test]
fn a_task_waits_without_a_thread_and_is_forgotten_when_it_is_dropped() {
    let memory = open();
    let held = lease(&memory, "k", &[]);
    let options = LeaseOptions { wait: Wait::AtMost(Duration::from_secs(20)), ..OPTIONS };
    let read = || memory.call(CallContext::task(), Operation::GetOrLease { key: b"k", options });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(async { read().now_or_never().is_none() }));
    let shard = memory.store.shard_of(memory.store.hash(b"k"));
    assert!(shard.waiters().is_empty(), "the task was dropped");
    drop(shard);
    let (first, second) = runtime.block_on(async {
        let filled = async {
            tokio::time::sleep(5 * MS).await;
            fill(&memory, &held, "v", &[])
        };
        let (first, second, filled) = tokio::join!(read(), read(), filled);
        assert!(filled);
        (first.unwrap(), second.unwrap())
    });
    for outcome in [first, second] {
        assert!(matches!(outcome, Outcome::Loaded(Loaded { state: LoadState::Fresh, waited: true, .. })));
    }
    let brief = LeaseOptions { wait: Wait::AtMost(10 * MS), ..OPTIONS };
    let _held = lease(&memory, "other", &[]);
    let late = Operation::GetOrLease { key: b"other", options: brief };
    let late = runtime.block_on(async { memory.call(CallContext::task(), late).await });
    assert!(late.is_err_and(|error| error.kind() == ErrorKind::Busy));
}

#[test]
fn a_wait_ends_with_the_deadline_of_its_caller() {
    let memory = open();
    let _held = lease(&memory, "k", &[]);
    let options = LeaseOptions { wait: Wait::AtMost(Duration::from_secs(60)), ..OPTIONS };
    let begun = Instant::now();
    let read = Operation::GetOrLease { key: b"k", options };
    let late = answer(|context| memory.call(context.until(begun + 20 * MS), read));
    assert!(late.is_err() && begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn many_threads_that_ask_for_a_cold_key_cause_one_load() {
    let memory = Arc::new(open());
    let (loads, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(32)));
    let options = LeaseOptions { wait: Wait::AtMost(Duration::from_secs(20)), ..OPTIONS };
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let (memory, loads, start) = (memory.clone(), loads.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                let loaded = load_with(&memory, "k", options).unwrap();
                if let Some(lease) = loaded.lease {
                    loads.fetch_add(1, SeqCst);
                    thread::sleep(20 * MS);
                    assert!(fill(&memory, &lease, "v", &[]));
                }
                assert_eq!(get(&memory, "k").as_deref(), Some("v"));
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(loads.load(SeqCst), 1);
}

/// A source whose row changes, as a database does, and readers that load it through the cache: after each change and its
/// invalidation no reader gets an older row.
fn race(invalidate: fn(&Memory, u64)) {
    let memory = Arc::new(open_with(100));
    let (row, known, over) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let holders = Arc::new(Mutex::new(HashSet::new()));
    let readers: Vec<_> = (0..3)
        .map(|reader| {
            let (memory, row, known) = (memory.clone(), row.clone(), known.clone());
            let (over, holders) = (over.clone(), holders.clone());
            thread::spawn(move || {
                let wait = Wait::AtMost(Duration::from_secs(20));
                let tags: &[&[u8]] = if reader == 0 { &[b"t"] } else { &[] };
                let later: &[&[u8]] = if reader == 0 { &[] } else { &[b"t"] };
                while !over.load(SeqCst) {
                    let least = known.load(SeqCst);
                    let loaded = load_with(&memory, "key", LeaseOptions { wait, tags, ..OPTIONS }).unwrap();
                    if let Some(value) = &loaded.value {
                        let seen: u64 = String::from_utf8_lossy(value.as_bytes()).parse().unwrap();
                        assert!(seen >= least, "row {seen} after row {least} was known");
                    }
                    if let Some(lease) = loaded.lease {
                        assert!(holders.lock().unwrap().insert(lease.token), "a token came twice");
                        let loaded = row.load(SeqCst);
                        thread::yield_now();
                        fill(&memory, &lease, &loaded.to_string(), later);
                    }
                }
            })
        })
        .collect();
    let end = Instant::now() + 300 * MS;
    while Instant::now() < end {
        let next = row.fetch_add(1, SeqCst) + 1;
        invalidate(&memory, next);
        known.store(next, SeqCst);
    }
    over.store(true, SeqCst);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert!(row.load(SeqCst) > 100);
}

#[test]
fn no_row_that_was_loaded_before_an_invalidation_of_its_tag_is_served() {
    race(|memory, _| run(memory, Operation::InvalidateTags { tags: &[b"t"], count: false }));
}

#[test]
fn no_row_that_was_loaded_before_a_delete_is_served() {
    race(|memory, _| run(memory, Operation::Delete { key: b"key" }));
}

#[test]
fn no_row_that_was_loaded_before_a_set_is_served() {
    race(|memory, row| set(memory, "key", &row.to_string(), &[]));
}

#[test]
fn no_row_that_was_loaded_before_a_pattern_is_served() {
    race(|memory, _| run(memory, Operation::InvalidatePatterns { patterns: &[b"k*"], mode: PatternMode::Walk }));
}

#[test]
fn no_row_that_was_loaded_before_a_flush_is_served() {
    race(|memory, _| run(memory, Operation::Flush { count: false }));
}

#[test]
fn bounds_hold_with_stale_values_and_absences() {
    let memory = Memory::new(&MemoryConfig { max_size: 1000, max_bytes: 50_000, ..MemoryConfig::default() });
    let mut random = fastrand::Rng::with_seed(7);
    for step in 0..20_000 {
        let key = random.u32(0..300).to_string();
        match random.u32(0..8) {
            0 => run(&memory, Operation::Delete { key: key.as_bytes() }),
            1 => run(&memory, Operation::InvalidateTags { tags: &[b"t"], count: false }),
            2 => set(&memory, &key, &"v".repeat(random.usize(0..500)), &[]),
            3 if step % 100 == 0 => {
                run(&memory, Operation::InvalidatePatterns { patterns: &[b"1*"], mode: PatternMode::Walk })
            }
            4 if step % 500 == 0 => run(&memory, Operation::Flush { count: false }),
            _ => {
                if let Ok(Loaded { lease: Some(lease), .. }) = load(&memory, &key) {
                    let value = "v".repeat(random.usize(0..500));
                    let (absent, ttl) = (random.bool(), random.bool().then_some(MS));
                    let (stale_for, tags): (_, &[&[u8]]) =
                        (random.u32(0..3) * MS, if random.bool() { &[b"t"] } else { &[] });
                    let fill = Fill { value: value.as_bytes(), absent, ttl, stale_for, tags, keeps_load: true };
                    assert!(fill_with(&memory, &lease, fill));
                }
            }
        }
        let bytes: usize = (0..memory.store.shards.len()).map(|at| memory.store.shard(at).bytes()).sum();
        assert!(bytes <= 50_000, "step {step}: {bytes}");
    }
    // The room that is taken is that of the entries.
    run(&memory, Operation::Flush { count: false });
    (0..600).for_each(|key| set(&memory, &key.to_string(), "v", &[]));
    assert_eq!(memory.store.usage().keys, 600);
}

#[test]
fn a_lease_that_has_ended_comes_before_a_value_that_is_too_large() {
    let memory = Memory::new(&MemoryConfig { max_size: 1000, max_bytes: 50_000, ..MemoryConfig::default() });
    let (held, ended) = (lease(&memory, "held", &[]), lease(&memory, "ended", &[]));
    let large = "v".repeat(60_000);
    run(&memory, Operation::Delete { key: b"ended" });
    assert!(!fill(&memory, &ended, &large, &[]));
    let with = Fill {
        value: large.as_bytes(),
        absent: false,
        ttl: None,
        stale_for: Duration::ZERO,
        tags: &[],
        keeps_load: false,
    };
    let filled = memory.call(CallContext::task(), Operation::LeaseFill { lease: &held, fill: with }).now_or_never();
    assert_eq!(filled.unwrap().err().map(|error| error.kind()), Some(crate::error::ErrorKind::TooLarge));
}
