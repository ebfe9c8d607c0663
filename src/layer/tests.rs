//! What layers promise, over memory backends that a test puts out of reach.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catchup::{Catchup, Changed};
use super::fallback::{Fallback, Policy};
use super::journal::{Change, Journal, MOST};
use crate::backend::double::{Cable, Double};
use crate::backend::{Backend, NewEntry, Position, Wanted};
use crate::config::Config;
use crate::error::ErrorKind;
use crate::wait::{answer, wait};

fn note(journal: &Journal, change: Change) -> bool {
    wait(journal.note(change)).unwrap()
}

#[test]
fn each_name_is_noted_once_and_a_flush_covers_all_before_it() {
    let journal = Journal::new(true);
    assert!(note(&journal, Change::Keys(&[b"a", b"b", b"a"])) && note(&journal, Change::Tags(&[b"t"])));
    assert_eq!(journal.len(), 3);
    note(&journal, Change::Flush);
    note(&journal, Change::Patterns(&[b"a*"]));
    let missed = journal.take();
    assert!(missed.flush && missed.keys.is_empty() && missed.patterns.len() == 1);
    assert_eq!(journal.len(), 0);
}

#[test]
fn what_is_too_much_to_note_empties_the_backend_or_is_refused() {
    let names: Vec<Vec<u8>> = (0..=MOST).map(|at| at.to_string().into_bytes()).collect();
    let keys: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let journal = Journal::new(true);
    note(&journal, Change::Keys(&keys));
    assert!(journal.take().flush);
    let journal = Journal::new(false);
    assert_eq!(wait(journal.note(Change::Keys(&keys))).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(journal.take().keys.len(), MOST + 1);
}

#[test]
fn who_changes_something_at_the_end_waits_for_it() {
    let journal = Journal::new(true);
    note(&journal, Change::Keys(&[b"a"]));
    let last = journal.take_last();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| note(&journal, Change::Keys(&[b"b"])));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!late.is_finished());
        journal.go_on(last);
        assert!(late.join().unwrap());
    });
    assert_eq!(journal.take_last().keys.len(), 2);
    std::thread::scope(|scope| {
        let late = scope.spawn(|| note(&journal, Change::Flush));
        std::thread::sleep(Duration::from_millis(20));
        journal.end(|| {});
        assert!(!late.join().unwrap());
    });
}

/// A backend and what fails it.
fn store() -> (Arc<Double>, Cable) {
    let (double, cable) = Double::on_a_cable(&Config::from_text("memory://", &|_| None).unwrap());
    (Arc::new(double), cable)
}

fn set(backend: &dyn Backend, key: &str, value: &str, tags: &[&[u8]]) {
    let ttl = Some(Duration::from_secs(1000));
    answer(backend.set(NewEntry { key: key.as_bytes(), value: value.as_bytes(), ttl, tags })).unwrap();
}

fn get(backend: &dyn Backend, key: &str) -> Option<String> {
    let value = answer(backend.get(key.as_bytes())).unwrap();
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
    stand_in: Arc<Double>,
    cable: Cable,
    cache: Fallback,
}

fn setting(changed: Changed) -> Setting {
    let ((primary, cable), (stand_in, _)) = (store(), store());
    let policy = Policy { max_ttl: Duration::from_secs(60), changed, probe_interval: Duration::from_millis(10) };
    let cache = Fallback::new(primary.clone(), stand_in.clone(), policy).unwrap();
    Setting { primary, stand_in, cable, cache }
}

impl Setting {
    fn is_active(&self) -> bool {
        self.cache.fallback().unwrap().reason.is_some()
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
fn the_stand_in_serves_from_the_first_failure_until_the_primary_is_back() {
    let it = setting(Changed::Drop);
    set(&it.cache, "a", "1", &[]);
    it.goes_down();
    assert_eq!(get(&it.cache, "a"), None);
    assert!(it.is_active());
    set(&it.cache, "b", "2", &[]);
    assert!(holds(&it.cache, "b", "2"));
    it.comes_back();
    assert!(holds(&it.cache, "a", "1"));
    assert_eq!(get(&*it.stand_in, "b"), None, "of no more use");
}

#[test]
fn what_is_invalidated_meanwhile_is_not_read_when_the_primary_is_back() {
    for changed in [Changed::Drop, Changed::Follow] {
        let it = setting(changed);
        let keys = ["tagged", "deleted", "overwritten", "listed:1", "expired", "kept"];
        keys.iter().for_each(|key| set(&it.cache, key, "old", if *key == "tagged" { &[b"tag"] } else { &[] }));
        it.goes_down();
        assert_eq!(answer(it.cache.invalidate_tags(&[b"tag"], true)).unwrap(), None, "nobody can count it");
        answer(it.cache.delete(b"deleted")).unwrap();
        set(&it.cache, "overwritten", "new", &[b"tag"]);
        answer(it.cache.invalidate_patterns(&[b"listed:*"])).unwrap();
        answer(it.cache.expire(b"expired", None)).unwrap();
        it.comes_back();
        let found: Vec<_> = keys.iter().map(|key| get(&it.cache, key)).collect();
        let overwritten = (changed == Changed::Follow).then(|| "new".to_owned());
        assert_eq!(found, [None, None, overwritten, None, None, Some("old".to_owned())], "{changed:?}");
        assert!(found[2].is_none() || answer(it.cache.invalidate_tags(&[b"tag"], false)).is_ok());
        assert_eq!(get(&it.cache, "overwritten"), None, "its tags came with it");
    }
}

#[test]
fn a_flush_meanwhile_empties_the_primary_when_it_is_back() {
    let it = setting(Changed::Drop);
    set(&it.cache, "a", "old", &[]);
    it.goes_down();
    answer(it.cache.flush(false)).unwrap();
    it.comes_back();
    assert_eq!(get(&it.cache, "a"), None);
}

#[test]
fn an_entry_lives_no_longer_in_the_stand_in_than_its_bound() {
    let it = setting(Changed::Drop);
    it.goes_down();
    set(&it.cache, "a", "1", &[]);
    let left = answer(it.cache.ttl(b"a")).unwrap().unwrap().unwrap();
    assert!(left <= Duration::from_secs(60), "{left:?}");
}

#[test]
fn nothing_of_one_outage_is_served_in_the_next() {
    let it = setting(Changed::Drop);
    it.goes_down();
    set(&it.cache, "a", "old", &[]);
    it.comes_back();
    // As a call would leave it that was very late.
    set(&*it.stand_in, "a", "late", &[]);
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
        assert_eq!(answer(it.cache.get(b"a")).err().unwrap().kind(), kind);
        assert!(!it.is_active(), "{kind:?}");
    }
}

#[test]
fn a_listing_that_began_at_the_other_begins_anew() {
    let it = setting(Changed::Drop);
    (0..100).for_each(|at| set(&it.cache, &format!("primary:{at}"), "1", &[]));
    let first = answer(it.cache.scan(Wanted::default(), Position::default(), 10)).unwrap();
    it.goes_down();
    (0..100).for_each(|at| set(&it.cache, &format!("stand-in:{at}"), "1", &[]));
    let (mut next, mut listed) = (first.next, 0);
    while let Some(from) = next {
        let page = answer(it.cache.scan(Wanted::default(), from, 10)).unwrap();
        assert!(page.keys.iter().all(|key| key.starts_with(b"stand-in:")));
        (next, listed) = (page.next, listed + page.keys.len());
    }
    assert_eq!(listed, 100);
}

#[test]
fn a_primary_that_fails_while_it_is_brought_up_to_date_stays_away() {
    let ((primary, cable), (stand_in, _)) = (store(), store());
    set(&*primary, "a", "old", &[]);
    let catchup = Catchup::stand_in(stand_in, primary.clone(), Changed::Drop, Duration::from_secs(60));
    answer(catchup.delete(b"a")).unwrap();
    cable.fail(Some(ErrorKind::Timeout));
    assert!(wait(catchup.finish(|| panic!("it is not"))).is_err());
    assert_eq!(catchup.missed(), 1);
    cable.fail(None);
    let mut serves = false;
    wait(catchup.finish(|| serves = true)).unwrap();
    assert!(serves && get(&*primary, "a").is_none());
    // A call that is late is made there too.
    set(&catchup, "b", "late", &[]);
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
                    answer(it.cache.delete(key.as_bytes())).unwrap();
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
    assert!(it.primary.counters().sets > 0 && it.stand_in.counters().sets > 0);
}
