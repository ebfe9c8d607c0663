//! Tests races between migrations and the changes that they have to follow.

use std::thread;
use std::time::Duration;

use super::*;
use crate::backend::Missing;
use crate::config::Config;
use crate::exec::blocking::{answer, wait};
use crate::operation::PatternMode;
use crate::tag_names::TagNames;
use crate::value::Value;

const DELETE: Operation = Operation::Delete { key: b"key" };
const OF_TAG: Operation = Operation::InvalidateTags { tags: &[b"tag"], count: false };

fn run(cache: &Cache, operation: Operation) -> Result<Outcome> {
    answer(|context| cache.call(context, operation))
}

fn cache() -> Cache {
    Cache::open(Config::from_text("memory://", &|_| None).unwrap()).unwrap()
}

fn entry(key: &[u8], tags: &[&[u8]]) -> CopiedEntry {
    let tags = tags.iter().map(|tag| tag_hash(tag)).collect();
    CopiedEntry {
        key: key.to_vec(),
        value: Value::from(&b"v"[..]),
        created: None,
        ends: None,
        tags,
        tag_names: TagNames::default(),
        stale_for: Duration::ZERO,
        load_time: Duration::ZERO,
    }
}

#[test]
fn what_is_invalidated_at_the_target_is_copied_no_more() {
    let (source, target) = (cache(), cache());
    let running = Running::begin(Some(&source), &target);
    run(&target, DELETE).unwrap();
    run(&target, OF_TAG).unwrap();
    run(&target, Operation::InvalidatePatterns { patterns: &[b"p:*"], mode: PatternMode::Walk }).unwrap();
    let entries = [entry(b"key", &[]), entry(b"a", &[b"tag"]), entry(b"p:1", &[]), entry(b"b", &[b"other"])];
    let tags = [tag_hash(b"tag"), tag_hash(b"other")];
    let versions = answer(|context| target.backend.tag_versions(context, &tags, Missing::CREATED_FOR_IMPORT)).unwrap();
    let entries = entries.each_ref();
    let imported = wait(|context| running.run().import(context, &*target.backend, &entries, &versions)).unwrap();
    let outcomes: Vec<Imported> = imported.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(outcomes, [Imported::Refused, Imported::Refused, Imported::Refused, Imported::Stored]);
    assert!(running.run().take().is_empty(), "nothing happened at the source");
}

#[test]
fn what_is_invalidated_at_the_source_is_left_to_be_done_at_the_target() {
    let (source, target) = (cache(), cache());
    let running = Running::begin(Some(&source), &target);
    run(&source, Operation::Delete { key: b"missing" }).unwrap();
    run(&source, Operation::DeleteMany { keys: &[b"a", b"b"] }).unwrap();
    run(&source, OF_TAG).unwrap();
    assert!(!running.ends());
    let names = running.run().take();
    assert_eq!((names.keys.len(), names.tags.len(), names.all), (3, 1, false));
    run(&source, Operation::Flush { count: false }).unwrap();
    assert!(running.run().take().all);
    assert!(running.ends());
    run(&source, Operation::Delete { key: b"later" }).unwrap();
    assert!(running.run().take().is_empty());
}

#[test]
fn a_change_at_the_target_waits_for_copies_of_the_same_names() {
    let (source, target) = (cache(), cache());
    let running = Running::begin(Some(&source), &target);
    running.run().lock().in_flight.insert(b"key".to_vec());
    let on_their_way = InFlight(running.run());
    run(&target, Operation::Delete { key: b"other" }).unwrap();
    run(&target, Operation::InvalidatePatterns { patterns: &[b"o*"], mode: PatternMode::Walk }).unwrap();
    run(&target, OF_TAG).unwrap();
    thread::scope(|scope| {
        let waiting =
            [scope.spawn(|| run(&target, DELETE)), scope.spawn(|| run(&target, Operation::Flush { count: false }))];
        thread::sleep(Duration::from_millis(50));
        assert!(waiting.iter().all(|it| !it.is_finished()));
        drop(on_their_way);
        assert!(waiting.into_iter().all(|it| it.join().unwrap().is_ok()));
    });
}

#[test]
fn too_many_names_mean_all() {
    let mut names = Names::default();
    let hashes: Vec<u64> = (0..=MOST as u64).collect();
    names.add(&Change::Hashes(&hashes));
    assert!(names.all && names.have(&entry(b"any", &[])));
}

#[test]
fn names_that_could_not_be_invalidated_are_kept_for_the_next_attempt() {
    let (source, target) = (cache(), cache());
    let running = Running::begin(Some(&source), &target);
    run(&source, DELETE).unwrap();
    run(&source, Operation::InvalidatePatterns { patterns: &[b"p:*"], mode: PatternMode::Walk }).unwrap();
    let mut names = running.run().take();
    names.clear_patterns();
    run(&source, OF_TAG).unwrap();
    running.run().put_back(names);
    assert!(!running.ends());
    let names = running.run().take();
    assert_eq!((names.keys.len(), names.tags.len(), names.patterns.len()), (1, 1, 0));
}
