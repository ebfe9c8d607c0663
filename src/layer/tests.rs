//! Tests of the layers over memory backends that a test makes unreachable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fallback::{Fallback, Policy};
use super::replay::{Changed, Replay};
use super::replay_log::{MOST, ReplayLog};
use futures_util::FutureExt;

use crate::backend::double::{Cable, Double};
use crate::backend::{Backend, KeyFilter, NewEntry, Operation, Outcome, ScanCursor};
use crate::cache::Cache;
use crate::config::Config;
use crate::error::ErrorKind;
use crate::exec::blocking::{answer, wait};
use crate::lease::{Fill, Lease, LeaseOptions, Loaded, Wait};
use crate::operation::{Change, PatternMode};

fn record(log: &ReplayLog, change: Change) -> bool {
    wait(|_| log.record(&change)).unwrap()
}

fn keys<'a, const N: usize>(keys: [&'a [u8]; N]) -> Change<'a> {
    Change::Keys(keys.to_vec().into())
}

/// Runs an operation.
fn run(backend: &dyn Backend, operation: Operation) -> Outcome {
    answer(|context| backend.call(context, operation)).unwrap()
}

#[test]
fn each_name_is_recorded_once_and_a_flush_covers_all_before_it() {
    let log = ReplayLog::new(true);
    assert!(record(&log, keys([b"a", b"b", b"a"])) && record(&log, Change::Tags(&[b"t"])));
    assert_eq!(log.len(), 3);
    record(&log, Change::Flush);
    record(&log, Change::Patterns(&[b"a*"]));
    let missed = log.take();
    assert!(missed.flush && missed.keys.is_empty() && missed.patterns.len() == 1);
    assert_eq!(log.len(), 0);
}

#[test]
fn what_is_too_much_to_record_empties_the_backend_or_is_refused() {
    let names: Vec<Vec<u8>> = (0..=MOST).map(|at| at.to_string().into_bytes()).collect();
    let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let log = ReplayLog::new(true);
    record(&log, Change::Keys((&keys).into()));
    assert!(log.take().flush);
    let log = ReplayLog::new(false);
    let change = Change::Keys((&keys).into());
    assert_eq!(wait(|_| log.record(&change)).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(log.take().keys.len(), MOST + 1);
}

#[test]
fn the_last_changes_wait_for_those_that_must_not_be_made_twice() {
    let (log, key): (_, [&[u8]; 1]) = (ReplayLog::new(true), [b"k"]);
    let change = Change::Keys((&key).into());
    let turn = wait(|_| log.begin(&change)).unwrap();
    let mut last = Box::pin(log.take_last());
    assert!((&mut last).now_or_never().is_none());
    let mut next = Box::pin(log.begin(&change));
    assert!((&mut next).now_or_never().is_none(), "the end was announced");
    turn.end().unwrap();
    let names = wait(|_| last);
    assert_eq!(names.keys.len(), 1);
    // Not replayed: the backend serves on.
    log.resume(names);
    drop(wait(|_| next).unwrap());
    assert_eq!(log.len(), 1, "a change that was cancelled is recorded too");
    drop(wait(|_| log.take_last()));
    log.end(|| {});
    assert!(wait(|_| log.begin(&change)).is_none());
}

#[test]
fn who_changes_something_at_the_end_waits_for_it() {
    let log = ReplayLog::new(true);
    record(&log, keys([b"a"]));
    let last = wait(|_| log.take_last());
    std::thread::scope(|scope| {
        let late = scope.spawn(|| record(&log, keys([b"b"])));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!late.is_finished());
        log.resume(last);
        assert!(late.join().unwrap());
    });
    assert_eq!(wait(|_| log.take_last()).keys.len(), 2);
    std::thread::scope(|scope| {
        let late = scope.spawn(|| record(&log, Change::Flush));
        std::thread::sleep(Duration::from_millis(20));
        log.end(|| {});
        assert!(!late.join().unwrap());
    });
}

/// A backend and the switch that makes it fail.
fn store() -> (Arc<Double>, Cable) {
    let (double, cable) = Double::on_a_cable(&Config::from_text("memory://", &|_| None).unwrap());
    (Arc::new(double), cable)
}

fn set(backend: &dyn Backend, key: &str, value: &str, tags: &[&[u8]]) {
    let ttl = Some(Duration::from_secs(1000));
    answer(|context| backend.set(context, NewEntry { key: key.as_bytes(), value: value.as_bytes(), ttl, tags }))
        .unwrap();
}

fn get(backend: &dyn Backend, key: &str) -> Option<String> {
    let value = answer(|context| backend.get(context, key.as_bytes())).unwrap();
    value.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
}

fn holds(backend: &dyn Backend, key: &str, value: &str) -> bool {
    get(backend, key).as_deref() == Some(value)
}

fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Setting {
    primary: Arc<Double>,
    fallback: Arc<Double>,
    cable: Cable,
    cache: Fallback,
}

fn setting(changed: Changed) -> Setting {
    let ((primary, cable), (fallback, _)) = (store(), store());
    let policy = Policy { max_ttl: Duration::from_secs(60), changed, probe_interval: Duration::from_millis(10) };
    let cache = Fallback::new(primary.clone(), fallback.clone(), policy).unwrap();
    Setting { primary, fallback, cable, cache }
}

impl Setting {
    fn is_active(&self) -> bool {
        self.cache.activity().fallback.unwrap().outage.is_some()
    }

    fn goes_down(&self) {
        self.cable.fail(Some(ErrorKind::Connect));
    }

    fn comes_back(&self) {
        self.cable.fail(None);
        until(|| !self.is_active());
    }
}

#[test]
fn the_fallback_serves_from_the_first_failure_until_the_primary_is_back() {
    let it = setting(Changed::Drop);
    set(&it.cache, "a", "1", &[]);
    it.goes_down();
    assert_eq!(get(&it.cache, "a"), None);
    assert!(it.is_active());
    set(&it.cache, "b", "2", &[]);
    assert!(holds(&it.cache, "b", "2"));
    it.comes_back();
    assert!(holds(&it.cache, "a", "1"));
    // It is of no more use.
    until(|| get(&*it.fallback, "b").is_none());
}

#[test]
fn what_is_invalidated_meanwhile_is_not_read_when_the_primary_is_back() {
    for changed in [Changed::Drop, Changed::Follow] {
        let it = setting(changed);
        let keys = ["tagged", "deleted", "overwritten", "listed:1", "expired", "kept"];
        keys.iter().for_each(|key| set(&it.cache, key, "old", if *key == "tagged" { &[b"tag"] } else { &[] }));
        it.goes_down();
        let tags: &[&[u8]] = &[b"tag"];
        let removed = run(&it.cache, Operation::InvalidateTags { tags, count: true }).removed();
        assert_eq!(removed, None, "the number is unknown");
        run(&it.cache, Operation::Delete { key: b"deleted" });
        set(&it.cache, "overwritten", "new", &[b"tag"]);
        run(&it.cache, Operation::InvalidatePatterns { patterns: &[b"listed:*"], mode: PatternMode::Walk });
        run(&it.cache, Operation::Expire { key: b"expired", ttl: None });
        it.comes_back();
        let found: Vec<_> = keys.iter().map(|key| get(&it.cache, key)).collect();
        let overwritten = (changed == Changed::Follow).then(|| "new".to_owned());
        assert_eq!(found, [None, None, overwritten, None, None, Some("old".to_owned())], "{changed:?}");
        assert!(
            found[2].is_none()
                || answer(|context| it.cache.call(context, Operation::InvalidateTags { tags, count: false })).is_ok()
        );
        assert_eq!(get(&it.cache, "overwritten"), None, "its tags came with it");
    }
}

#[test]
fn a_flush_meanwhile_empties_the_primary_when_it_is_back() {
    let it = setting(Changed::Drop);
    set(&it.cache, "a", "old", &[]);
    it.goes_down();
    run(&it.cache, Operation::Flush { count: false });
    it.comes_back();
    assert_eq!(get(&it.cache, "a"), None);
}

#[test]
fn an_entry_lives_no_longer_in_the_fallback_than_its_bound() {
    let it = setting(Changed::Drop);
    it.goes_down();
    set(&it.cache, "a", "1", &[]);
    let Outcome::Remaining(Some(left)) = run(&it.cache, Operation::Ttl { key: b"a" }) else { panic!("no end") };
    assert!(left <= Duration::from_secs(60), "{left:?}");
}

#[test]
fn nothing_of_one_outage_is_served_in_the_next() {
    let it = setting(Changed::Drop);
    it.goes_down();
    set(&it.cache, "a", "old", &[]);
    it.comes_back();
    // As a call would leave it that was very late.
    set(&*it.fallback, "a", "late", &[]);
    it.goes_down();
    assert_eq!(get(&it.cache, "a"), None);
}

#[test]
fn what_is_not_the_servers_failure_opens_nothing() {
    let it = setting(Changed::Drop);
    for kind in
        [ErrorKind::TooLarge, ErrorKind::Busy, ErrorKind::Denied, ErrorKind::ServerMemory, ErrorKind::Unsupported]
    {
        it.cable.fail(Some(kind));
        assert_eq!(answer(|context| it.cache.get(context, b"a")).err().unwrap().kind(), kind);
        assert!(!it.is_active(), "{kind:?}");
    }
}

#[test]
fn a_listing_that_began_at_the_other_starts_again() {
    let it = setting(Changed::Drop);
    (0..100).for_each(|at| set(&it.cache, &format!("primary:{at}"), "1", &[]));
    let first = answer(|context| it.cache.scan(context, KeyFilter::default(), ScanCursor::default(), 10)).unwrap();
    it.goes_down();
    (0..100).for_each(|at| set(&it.cache, &format!("fallback:{at}"), "1", &[]));
    let (mut next, mut listed) = (first.next, 0);
    while let Some(from) = next {
        let page = answer(|context| it.cache.scan(context, KeyFilter::default(), from, 10)).unwrap();
        assert!(page.keys.iter().all(|key| key.starts_with(b"fallback:")));
        (next, listed) = (page.next, listed + page.keys.len());
    }
    assert_eq!(listed, 100);
}

#[test]
fn the_properties_of_an_entry_are_those_of_the_backend_that_serves() {
    let it = setting(Changed::Drop);
    let info = |key| match run(&it.cache, Operation::GetInfo { key, max_age: Some(Duration::from_secs(30)) }) {
        Outcome::Info(info) => Some(*info),
        _ => None,
    };
    set(&it.cache, "a", "1", &[b"t"]);
    let of_primary = info(b"a").unwrap();
    assert_eq!((of_primary.value.as_bytes(), of_primary.tags), (&b"1"[..], 1));
    assert!(of_primary.left > Some(Duration::from_secs(900)));
    it.goes_down();
    assert!(info(b"a").is_none());
    set(&it.cache, "b", "2", &[]);
    let of_fallback = info(b"b").unwrap();
    assert_eq!((of_fallback.value.as_bytes(), of_fallback.tags), (&b"2"[..], 0));
    assert!(of_fallback.left <= Some(Duration::from_secs(60)));
}

#[test]
fn what_a_removal_would_remove_is_unknown_while_the_fallback_serves() {
    let Setting { cable, cache, .. } = setting(Changed::Drop);
    let cache = Cache::over(Arc::new(cache), Config::from_text("memory://", &|_| None).unwrap());
    let count = || wait(|context| cache.would_remove(context, Operation::Flush { count: true })).unwrap();
    let entry = NewEntry { key: b"k", value: b"v", ttl: None, tags: &[] };
    answer(|context| cache.set(context, entry)).unwrap();
    assert_eq!(count(), Some(1));
    cable.fail(Some(ErrorKind::Connect));
    // The listing itself meets the outage, and the next one begins in it.
    assert_eq!((count(), count()), (None, None));
    cable.fail(None);
    until(|| count() == Some(1));
}

#[test]
fn a_primary_that_fails_while_it_is_brought_up_to_date_stays_away() {
    let ((primary, cable), (fallback, _)) = (store(), store());
    set(&*primary, "a", "old", &[]);
    let replay = Replay::fallback(fallback, primary.clone(), Changed::Drop, Duration::from_secs(60));
    run(&replay, Operation::Delete { key: b"a" });
    cable.fail(Some(ErrorKind::Timeout));
    assert!(wait(|context| replay.finish(context, || panic!("it is not"))).is_err());
    assert_eq!(replay.pending(), 1);
    cable.fail(None);
    let mut serves = false;
    wait(|context| replay.finish(context, || serves = true)).unwrap();
    assert!(serves && get(&*primary, "a").is_none());
    // A call that is late is made there too.
    set(&replay, "b", "late", &[]);
    assert!(holds(&*primary, "b", "late"));
}

#[test]
fn threads_that_change_entries_through_many_outages_read_nothing_old() {
    let it = setting(Changed::Follow);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let it = &it;
            scope.spawn(move || {
                let key = format!("key:{thread}");
                for at in 0..3000 {
                    set(&it.cache, &key, &at.to_string(), &[b"tag"]);
                    let found = get(&it.cache, &key);
                    // A miss is allowed, since the outage may have come or gone; what is old is not.
                    assert!(found.is_none() || found == Some(at.to_string()), "{found:?} after {at}");
                    run(&it.cache, Operation::Delete { key: key.as_bytes() });
                    assert_eq!(get(&it.cache, &key), None, "{at}");
                }
            });
        }
        for _ in 0..40 {
            it.goes_down();
            std::thread::sleep(Duration::from_millis(5));
            it.cable.fail(None);
            std::thread::sleep(Duration::from_millis(15));
        }
    });
    assert!(it.primary.activity().counters.sets > 0 && it.fallback.activity().counters.sets > 0);
}

const READ: LeaseOptions = LeaseOptions {
    lease: Duration::from_secs(60),
    wait: Wait::No,
    tags: &[b"tag"],
    refresh_ahead: false,
    in_doubt: None,
};

/// Reads a key for loading; `None` if another caller loads it.
fn load(backend: &dyn Backend, key: &str) -> Option<Loaded> {
    match answer(|context| backend.call(context, Operation::GetOrLease { key: key.as_bytes(), options: READ })) {
        Ok(Outcome::Loaded(loaded)) => Some(loaded),
        Err(error) if error.kind() == ErrorKind::Busy => None,
        _ => panic!("another outcome"),
    }
}

fn lease(backend: &dyn Backend, key: &str) -> Arc<Lease> {
    load(backend, key).unwrap().lease.unwrap()
}

/// Returns true if the value was stored.
fn fill(backend: &dyn Backend, lease: &Arc<Lease>, value: &str) -> bool {
    let (value, ttl, stale_for) = (value.as_bytes(), None, Duration::from_secs(1000));
    let fill = Fill { value, absent: false, ttl, stale_for, tags: &[], keeps_load: false };
    matches!(run(backend, Operation::LeaseFill { lease, fill }), Outcome::Done)
}

#[test]
fn one_caller_loads_a_key_during_an_outage_too_and_no_lease_outlives_a_change_of_the_backend() {
    let it = setting(Changed::Drop);
    let (before, kept) = (lease(&it.cache, "before"), lease(&it.cache, "kept"));
    it.goes_down();
    let during = lease(&it.cache, "before");
    assert!(load(&it.cache, "before").is_none(), "one caller at a time");
    assert!(!fill(&it.cache, &before, "old"), "a lease of the primary");
    assert!(fill(&it.cache, &during, "new") && holds(&it.cache, "before", "new"));
    let left = answer(|context| it.cache.call(context, Operation::Ttl { key: b"before" })).unwrap();
    assert!(matches!(left, Outcome::Remaining(Some(left)) if left <= Duration::from_secs(60)));
    let over = lease(&it.cache, "over");
    run(&it.cache, Operation::InvalidateTags { tags: &[b"tag"], count: false });
    it.comes_back();
    assert!(!fill(&it.cache, &over, "old"), "a lease of the fallback");
    assert!(!fill(&it.cache, &kept, "old"), "its tag was invalidated during the outage");
    assert_eq!((get(&it.cache, "over"), get(&it.cache, "kept")), (None, None));
    assert!(fill(&it.cache, &lease(&it.cache, "kept"), "new"));
}

/// Waits until a caller of a backend gets the lease of a key. It is not that of another caller, which lasts a minute.
fn until_leased(backend: &dyn Backend, key: &str) {
    until(|| load(backend, key).is_some_and(|loaded| loaded.lease.is_some()));
}

#[test]
fn a_lease_whose_reply_was_lost_is_abandoned_at_the_primary_when_it_is_back() {
    let Setting { primary, fallback: _, cable, cache } = setting(Changed::Drop);
    let cache = Cache::over(Arc::new(cache), Config::from_text("memory://", &|_| None).unwrap());
    cable.cut_at_lease();
    let read = Operation::GetOrLease { key: b"a", options: READ };
    let Ok(Outcome::Loaded(Loaded { lease: Some(during), .. })) = answer(|context| cache.call(context, read)) else {
        panic!("the fallback gives a lease");
    };
    cable.fail(None);
    until_leased(&*primary, "a");
    drop(during);
}

#[test]
fn a_lease_that_is_abandoned_during_an_outage_ends_at_its_backend() {
    let it = setting(Changed::Drop);
    let (before, kept) = (lease(&it.cache, "before"), lease(&it.cache, "kept"));
    it.goes_down();
    let during = lease(&it.cache, "during");
    for (lease, retry_after) in [(&before, 0), (&kept, 60), (&during, 0)] {
        let retry_after = Duration::from_secs(retry_after);
        run(&it.cache, Operation::LeaseAbandon { lease, retry_after });
    }
    assert!(load(&it.cache, "during").is_some(), "a lease of the fallback");
    it.comes_back();
    until_leased(&*it.primary, "before");
    // They end at the primary one after another, while it serves already.
    let read = || answer(|context| it.primary.call(context, Operation::GetOrLease { key: b"kept", options: READ }));
    let is_held_back = || read().err().unwrap().message().contains("retry_after_ms");
    let end = Instant::now() + Duration::from_secs(10);
    while !is_held_back() {
        assert!(Instant::now() < end, "it is not held back");
        std::thread::sleep(Duration::from_millis(1));
    }
}
