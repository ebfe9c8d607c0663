//! Tests of the memory backend that a conformance script cannot express.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::store::Store;
use super::*;
use crate::backend::{Addition, NewEntry, Usage};
use crate::config::Eviction;
use crate::tag_names::TagNames;

const ORDERS: [Eviction; 2] = [Eviction::Lru, Eviction::S3Fifo];

fn set(store: &Store, key: &str, value: &str, tags: &[&[u8]]) {
    set_for(store, key, value, None, tags);
}

fn set_for(store: &Store, key: &str, value: &str, ttl: Option<Duration>, tags: &[&[u8]]) {
    let entry = NewEntry { key: key.as_bytes(), value: value.as_bytes(), ttl, tags };
    store.set(entry, Times::from_now(ttl)).unwrap();
}

fn get(store: &Store, key: &str) -> Option<String> {
    store.get(key.as_bytes()).map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
}

fn keys(store: &Store) -> Vec<String> {
    let mut keys = Vec::new();
    let mut from = Some(ScanCursor::default());
    while let Some(at) = from {
        let page = store.list(KeyFilter::default(), at, 7);
        keys.extend(page.keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap()));
        from = page.next;
    }
    keys.sort();
    keys
}

#[test]
fn a_store_without_a_limit_keeps_everything() {
    let store = Store::new(0, 0, Eviction::Lru);
    (0..30_000).for_each(|key| set(&store, &key.to_string(), "v", &[]));
    assert_eq!(store.usage().keys, 30_000);
    assert!((0..30_000).all(|key| store.get(key.to_string().as_bytes()).is_some()));
}

#[test]
fn without_a_limit_of_entries_the_bytes_are_the_limit() {
    let store = Store::new(0, 100_000, Eviction::Lru);
    (0..30_000).for_each(|key| set(&store, &key.to_string(), "v", &[]));
    let usage = store.usage();
    assert!(usage.bytes <= 100_000 && usage.keys > 100, "{} entries, {} bytes", usage.keys, usage.bytes);
    assert!(store.get(b"29999").is_some() && store.get(b"0").is_none());
}

#[test]
fn a_full_store_keeps_exactly_max_size_entries_whatever_shard_they_fall_in() {
    for eviction in ORDERS {
        let store = Store::new(5000, 0, eviction);
        for key in 0..20_000 {
            set(&store, &key.to_string(), "v", &[]);
            // A count looks at every entry: not each time.
            if key % 101 == 0 || key >= 19_990 {
                assert_eq!(store.usage().keys, 5000.min(key + 1));
            }
        }
        assert_eq!(store.counters().evictions, 15_000);
    }
}

#[test]
fn one_shard_evicts_in_the_exact_order_of_use() {
    let store = Store::new(100, 0, Eviction::Lru);
    let mut random = fastrand::Rng::with_seed(3);
    let mut order: Vec<String> = Vec::new();
    for _ in 0..20_000 {
        let key = random.u32(0..200).to_string();
        let known = order.iter().position(|other| *other == key);
        if random.bool() {
            set(&store, &key, "v", &[]);
            match known {
                Some(at) => drop(order.remove(at)),
                None if order.len() == 100 => drop(order.remove(0)),
                None => {}
            }
            order.push(key);
        } else {
            assert_eq!(get(&store, &key).is_some(), known.is_some());
            if let Some(at) = known {
                let used = order.remove(at);
                order.push(used);
            }
        }
        let mut expected = order.clone();
        expected.sort();
        if random.u32(0..50) == 0 {
            assert_eq!(keys(&store), expected);
        }
    }
}

#[test]
fn after_a_time_of_reading_only_entries_still_go_in_the_order_they_were_read() {
    let store = Store::new(3000, 0, Eviction::Lru);
    (0..3000).for_each(|key| set(&store, &key.to_string(), "v", &[]));
    let mut order: Vec<u32> = (0..3000).collect();
    fastrand::Rng::with_seed(9).shuffle(&mut order);
    order.iter().for_each(|key| assert!(get(&store, &key.to_string()).is_some()));
    for (gone, key) in order.iter().enumerate() {
        assert!(store.deadline(key.to_string().as_bytes()).is_some(), "{gone} were to go before {key}");
        set(&store, &format!("new{key}"), "v", &[]);
        assert!(store.deadline(key.to_string().as_bytes()).is_none(), "{key} is the next to go");
    }
}

#[test]
fn max_bytes_holds_at_every_step_and_room_comes_back() {
    for eviction in ORDERS {
        let store = Store::new(1_000_000, 50_000, eviction);
        let mut random = fastrand::Rng::with_seed(5);
        for step in 0..20_000 {
            let key = random.u32(0..400).to_string();
            match random.u32(0..10) {
                0 => assert!(store.delete(key.as_bytes()) || get(&store, &key).is_none()),
                1 => assert!(store.invalidate(&[b"tag"], true).is_some()),
                2 if step % 500 == 0 => assert!(store.flush(false).is_none()),
                _ => set(&store, &key, &"v".repeat(random.usize(0..3000)), if random.bool() { &[b"tag"] } else { &[] }),
            }
            assert!(store.usage().bytes <= 50_000, "step {step}: {}", store.usage().bytes);
        }
        store.flush(false);
        assert_eq!((store.usage().keys, store.usage().bytes), (0, 0));
        set(&store, "large", &"v".repeat(49_000), &[]);
        assert!(get(&store, "large").is_some());
    }
}

#[test]
fn a_set_of_a_value_of_the_same_length_is_a_new_entry_to_everyone() {
    for eviction in ORDERS {
        let store = Store::new(100, 0, eviction);
        set_for(&store, "key", "one", Some(Duration::from_secs(60)), &[]);
        let (read, version) = store.get_versioned(b"key").unwrap();
        set(&store, "key", "two", &[]);
        assert_eq!(read.as_bytes(), b"one", "a reader keeps its value");
        drop(read);
        let second = store.get_versioned(b"key").unwrap().1;
        set(&store, "key", "six", &[]);
        let third = store.get_versioned(b"key").unwrap().1;
        assert!(version != second && second != third);
        assert_eq!(get(&store, "key").as_deref(), Some("six"));
        assert_eq!(store.deadline(b"key"), Some(Deadline::NEVER), "the time to live is that of the last set");
        set_for(&store, "key", "ten", Some(Duration::from_millis(1)), &[]);
        thread::sleep(Duration::from_millis(3));
        assert_eq!(get(&store, "key"), None);
        set(&store, "key", "two", &[b"tag"]);
        set(&store, "key", "one", &[]);
        store.invalidate(&[b"tag"], false);
        assert_eq!(get(&store, "key").as_deref(), Some("one"), "the tags are those of the last set");
        assert_eq!((store.usage().keys, store.tags(), store.counters().sets), (1, 0, 6));
    }
}

#[test]
fn an_entry_larger_than_max_bytes_is_refused_and_the_old_one_stays() {
    let store = Store::new(100, 1000, Eviction::Lru);
    set(&store, "a", "old", &[]);
    let entry = NewEntry { key: b"a", value: &[0; 1000], ttl: None, tags: &[] };
    assert!(store.set(entry, Times::from_now(None)).is_err());
    assert_eq!(get(&store, "a").as_deref(), Some("old"));
}

#[test]
fn entries_and_tags_agree_with_a_model_under_random_operations() {
    for eviction in ORDERS {
        let store = Store::new(1_000_000, 0, eviction);
        let mut model: HashMap<String, (String, Vec<&'static str>)> = HashMap::new();
        let mut random = fastrand::Rng::with_seed(11);
        let names = ["red", "green", "blue"];
        for step in 0..60_000 {
            let key = random.u32(0..500).to_string();
            match random.u32(0..12) {
                0 => {
                    let tag = names[random.usize(0..3)];
                    let before = model.len();
                    model.retain(|_, (_, tags)| !tags.contains(&tag));
                    let counted = random.bool();
                    let removed = store.invalidate(&[tag.as_bytes()], counted);
                    assert_eq!(removed, counted.then_some((before - model.len()) as u64), "step {step}");
                }
                1 => {
                    let before = model.len();
                    model.retain(|_, (_, tags)| !tags.contains(&"red") && !tags.contains(&"blue"));
                    let removed = store.invalidate(&[b"red", b"blue", b"red", b"unknown"], true);
                    assert_eq!(removed, Some((before - model.len()) as u64));
                }
                2 => assert_eq!(store.delete(key.as_bytes()), model.remove(&key).is_some()),
                3..=7 => {
                    let tags: Vec<&str> = names.into_iter().filter(|_| random.bool()).collect();
                    let raw: Vec<&[u8]> = tags.iter().map(|tag| tag.as_bytes()).collect();
                    set(&store, &key, &step.to_string(), &raw);
                    model.insert(key, (step.to_string(), tags));
                }
                _ => assert_eq!(get(&store, &key).as_ref(), model.get(&key).map(|(value, _)| value), "step {step}"),
            }
            if step % 1000 == 0 {
                let mut expected: Vec<String> = model.keys().cloned().collect();
                expected.sort();
                assert_eq!(keys(&store), expected);
                assert_eq!(store.usage().keys, model.len() as u64);
            }
        }
        store.invalidate(&[b"red", b"green", b"blue"], false);
        store.flush(false);
        assert_eq!(store.usage(), Usage::default());
    }
}

#[test]
fn many_keys_at_once_are_what_they_are_one_by_one() {
    let store = Store::new(100_000, 0, Eviction::Lru);
    for key in 0..5000 {
        let ttl = (key % 3 == 0).then_some(Duration::from_millis(1));
        set_for(&store, &key.to_string(), &format!("v{key}"), ttl, &[]);
    }
    thread::sleep(Duration::from_millis(3));
    let keys: Vec<String> = (0..7000).chain(0..10).map(|key| key.to_string()).collect();
    let raw: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    for (key, value) in keys.iter().zip(store.get_many(&raw)) {
        let number: u32 = key.parse().unwrap();
        let expected = (number < 5000 && !number.is_multiple_of(3)).then(|| format!("v{number}"));
        assert_eq!(value.unwrap().map(|value| value.as_bytes().to_vec()), expected.map(String::into_bytes), "{key}");
    }
    assert_eq!(store.get_many(&[]).len(), 0);
}

#[test]
fn what_an_invalidated_tag_leaves_behind_goes_before_a_live_entry_when_room_is_needed() {
    for eviction in ORDERS {
        let store = Store::new(10, 0, eviction);
        set(&store, "live", "v", &[]);
        for key in 0..9 {
            set(&store, &format!("dead{key}"), "v", &[b"tag"]);
        }
        store.invalidate(&[b"tag"], false);
        for key in 0..9 {
            set(&store, &format!("new{key}"), "v", &[]);
        }
        assert!(get(&store, "live").is_some());
        assert_eq!(store.counters().evictions, 0);
    }
}

#[test]
fn tags_of_entries_that_are_gone_take_no_room() {
    let store = Store::new(1000, 0, Eviction::Lru);
    for key in 0..50_000_u32 {
        set(&store, "the same key", "v", &[key.to_string().as_bytes()]);
    }
    assert_eq!(store.tags(), 1);
    store.delete(b"the same key");
    assert_eq!(store.tags(), 0);
}

#[test]
fn an_entry_that_is_set_again_with_the_same_tags_lives_until_they_are_invalidated_again() {
    for eviction in ORDERS {
        let store = Store::new(100, 0, eviction);
        let (tags, kills): (&[&[u8]], [&dyn Fn(); 3]) = (
            &[b"tag", b"generation"],
            [&|| _ = store.invalidate(&[b"tag"], false), &|| _ = store.invalidate(&[b"generation"], false), &|| {
                store.bar(b"generation", &[b"k*"])
            }],
        );
        for kill in kills {
            set(&store, "key", "before", tags);
            let (read, version) = store.get_versioned(b"key").unwrap();
            for value in ["behind", "longer than that", "as long as that.", "before"] {
                set(&store, "key", value, tags);
                assert_eq!(get(&store, "key").as_deref(), Some(value));
            }
            assert_eq!(read.as_bytes(), b"before", "a reader keeps its value");
            assert_ne!(store.get_versioned(b"key").unwrap().1, version);
            store.bar(b"generation", &[b"other"]);
            assert_eq!(get(&store, "key").as_deref(), Some("before"));
            for value in ["one", "other"] {
                // A read would remove the entry.
                kill();
                set(&store, "key", value, tags);
                assert_eq!(get(&store, "key").as_deref(), Some(value));
            }
            kill();
            assert_eq!(get(&store, "key"), None);
        }
        set(&store, "key", "four", tags);
        set(&store, "key", "five", &tags[..1]);
        store.invalidate(&[b"generation"], false);
        assert_eq!(get(&store, "key").as_deref(), Some("five"), "the tags are those of the last set");
        set(&store, "key", "last", tags);
        assert_eq!(store.tags(), 2);
        store.delete(b"key");
        assert_eq!(store.tags(), 0);
    }
}

#[test]
fn an_entry_has_the_names_of_the_tags_of_its_last_set() {
    const TAGS: [&[u8]; 6] = [b"a", b"bb", b"ccc", b"~", b"~ns:d", b"e"];
    let mut store = Store::new(10_000, 0, Eviction::Lru);
    store.keeps_tag_names = true;
    let mut random = fastrand::Rng::with_seed(5);
    let mut model: HashMap<String, Vec<&[u8]>> = HashMap::new();
    for _ in 0..20_000 {
        let key = random.u32(0..50).to_string();
        match random.u32(0..10) {
            0 => {
                let tag = TAGS[random.usize(0..6)];
                store.invalidate(&[tag], false);
                model.retain(|_, tags| !tags.contains(&tag));
            }
            1 => {
                store.delete(key.as_bytes());
                model.remove(&key);
            }
            2 => store.bar(b"~", &[b"none"]),
            3 if model.contains_key(&key) => {
                let (delta, initial, ttl) = (1, 0, None);
                store
                    .counter_add(
                        &Addition { key: key.as_bytes(), delta, initial, ttl, tags: &[] },
                        Times::from_now(None),
                    )
                    .unwrap();
            }
            _ => {
                let tags: Vec<&[u8]> = (0..random.usize(0..4)).map(|_| TAGS[random.usize(0..6)]).collect();
                set(&store, &key, "7", &tags);
                model.insert(key.clone(), tags);
            }
        }
        let found = store.export(key.as_bytes()).map(|copy| copy.tag_names);
        let wanted = model.get(&key).map(|tags| TagNames::of(tags.iter().copied()));
        assert_eq!(found, wanted, "{key}");
    }
    (0..50).for_each(|key| _ = store.delete(key.to_string().as_bytes()));
    assert_eq!((store.tags(), store.tag_text_bytes()), (0, 0));
}

fn generation(number: usize) -> String {
    format!("~n{number}:")
}

#[test]
fn every_operation_finds_a_clear_that_no_shard_has_met() {
    let operations: [fn(&Store, &[u8]) -> bool; 12] = [
        |store, key| store.get(key).is_none(),
        |store, key| store.hit_into(key, &mut [MaybeUninit::uninit(); 9], Deadline::NEVER).is_none(),
        |store, key| store.get_many(&[key]).iter().all(|found| matches!(found, Ok(None))),
        |store, key| store.get_versioned(key).is_none() && store.get_info(key, None).is_none(),
        |store, key| store.deadline(key).is_none(),
        |store, key| !store.expire(key, Deadline::NEVER),
        |store, key| !store.delete(key),
        |store, key| store.export(key).is_none(),
        |store, key| {
            let addition = Addition { key, delta: 1, initial: 0, ttl: None, tags: &[] };
            store.counter_add(&addition, Times::from_now(None)).unwrap() == 1
        },
        |store, _| keys(store).is_empty(),
        |store, _| store.usage().keys == 0,
        |store, _| {
            store.sweep(&|| false);
            store.counters().evictions == 0 && (0..store.shards.len()).all(|at| store.shard(at).len() == 0)
        },
    ];
    for (at, finds) in operations.iter().enumerate() {
        let store = Store::new(10_000, 0, Eviction::Lru);
        (0..500).for_each(|key| set(&store, &key.to_string(), "7", &[b"~"]));
        store.invalidate(&[b"~"], false);
        assert!(finds(&store, b"7"), "operation {at}");
    }
}

#[test]
fn a_cleared_entry_goes_before_a_live_one_when_room_is_needed() {
    let store = Store::new(100, 0, Eviction::Lru);
    (0..50).for_each(|key| set(&store, &format!("live{key}"), "v", &[b"~live:"]));
    (0..50).for_each(|key| set(&store, &format!("cleared{key}"), "v", &[b"~"]));
    store.invalidate(&[b"~"], false);
    (0..50).for_each(|key| set(&store, &format!("new{key}"), "v", &[b"~"]));
    assert!((0..50).all(|key| get(&store, &format!("live{key}")).is_some()));
    assert_eq!(store.counters().evictions, 0);
}

#[test]
fn clears_of_more_generations_than_are_noted_agree_with_a_model() {
    let store = Store::new(100_000, 0, Eviction::Lru);
    let mut random = fastrand::Rng::with_seed(7);
    let mut model: HashMap<String, usize> = HashMap::new();
    for round in 0..60_000 {
        // Many clears between two visits of a shard, then many visits.
        let (key, number) = (random.u32(0..3000).to_string(), random.usize(0..100));
        if (round / 300) % 2 == 0 && random.u32(0..3) > 0 {
            store.invalidate(&[generation(number).as_bytes()], false);
            model.retain(|_, of| *of != number);
        } else {
            set(&store, &key, "v", &[generation(number).as_bytes(), b"other"]);
            model.insert(key, number);
        }
        let read = random.u32(0..3000).to_string();
        assert_eq!(get(&store, &read).is_some(), model.contains_key(&read), "{read} in round {round}");
    }
    assert_eq!(store.usage().keys, model.len() as u64);
    assert!(store.clears.noted() <= 64);
}

#[test]
fn an_entry_that_was_set_before_a_clear_ended_is_never_read_after_it() {
    let store = Store::new(10_000, 0, Eviction::Lru);
    let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..2 {
            let (store, begun, ended) = (&store, &begun, &ended);
            scope.spawn(move || {
                for round in 0..40_000_u64 {
                    let key = format!("{thread}{}", round % 64);
                    // The value is the number of the clears that had begun before the set.
                    let value = begun.load(SeqCst).to_string();
                    set(store, &key, &value, &[b"~"]);
                    let cleared = ended.load(SeqCst);
                    let read = get(store, &format!("{}{}", round % 2, (round * 7) % 64));
                    let read = read.map(|value| value.parse::<u64>().unwrap());
                    assert!(read.is_none_or(|read| read >= cleared), "{read:?} after {cleared}");
                }
            });
        }
        scope.spawn(|| {
            for round in 1..=20_000 {
                begun.store(round, SeqCst);
                store.invalidate(&[b"~"], false);
                ended.store(round, SeqCst);
            }
        });
    });
    set(&store, "key", "v", &[b"~"]);
    assert!(get(&store, "key").is_some());
}

#[test]
fn a_clear_keeps_a_copy_of_an_older_entry_out() {
    let store = Store::new(10_000, 0, Eviction::Lru);
    set(&store, "key", "v", &[b"~"]);
    let (copy, versions) = (store.export(b"key").unwrap(), store.versions(&[crate::entry::tag_hash(b"~")]));
    store.invalidate(&[b"~"], false);
    let imported = store.import(&copy, Times::from_now(None), &versions, IfPresent::Replace);
    assert_eq!(imported.unwrap(), Imported::Outdated);
    assert!(get(&store, "key").is_none());
}

#[test]
fn a_set_names_the_tags_of_an_entry_that_came_without_names() {
    let mut store = Store::new(100, 0, Eviction::Lru);
    store.keeps_tag_names = true;
    set(&store, "key", "v", &[b"a", b"b"]);
    let nameless = CopiedEntry { tag_names: TagNames::default(), ..store.export(b"key").unwrap() };
    store.delete(b"key");
    let import = |copy| store.import(copy, Times::from_now(None), &store.versions(&nameless.tags), IfPresent::Replace);
    assert_eq!(import(&nameless).unwrap(), Imported::Stored);
    assert_eq!(store.export(b"key").unwrap().tag_names, TagNames::default());
    // A value of the same length with the same tags takes the place of the value alone.
    set(&store, "key", "w", &[b"a", b"b"]);
    assert_eq!(store.export(b"key").unwrap().tag_names.iter().collect::<Vec<_>>(), [b"a", b"b"]);
}

#[test]
fn a_sweep_removes_what_expired_and_what_invalidated_tags_left_behind() {
    let store = Store::new(100_000, 0, Eviction::Lru);
    for key in 0..3000 {
        set_for(&store, &format!("short{key}"), "v", Some(Duration::from_millis(1)), &[]);
        set(&store, &format!("tagged{key}"), "v", &[b"tag"]);
        set_for(&store, &format!("long{key}"), "v", Some(Duration::from_secs(60)), &[]);
    }
    store.invalidate(&[b"tag"], false);
    thread::sleep(Duration::from_millis(3));
    store.sweep(&|| false);
    assert_eq!(store.usage().keys, 3000);
    assert_eq!(store.counters().expirations, 3000);
}

#[test]
fn a_sweep_finds_every_entry_whose_deadline_was_changed() {
    let (store, hour, moment) =
        (Store::new(1000, 0, Eviction::Lru), Duration::from_secs(3600), Duration::from_millis(1));
    let names: Vec<String> = (0..300).map(|key| key.to_string()).collect();
    names.iter().for_each(|key| set_for(&store, key, "v", Some(hour), &[]));
    store.sweep(&|| false);
    for key in names.iter().step_by(3) {
        assert!(store.expire(key.as_bytes(), Deadline::after(Some(moment))));
    }
    for key in names.iter().skip(1).step_by(3) {
        assert!(store.get_and_expire(key.as_bytes(), Deadline::after(Some(moment))).is_some());
        assert!(store.expire(key.as_bytes(), Deadline::after(Some(hour))) || get(&store, key).is_none());
        set_for(&store, key, "w", Some(moment), &[]);
    }
    for key in names.iter().skip(2).step_by(3) {
        set_for(&store, key, "w", Some(moment), &[]);
        set_for(&store, key, "x", None, &[]);
    }
    thread::sleep(10 * moment);
    let before = store.counters().expirations;
    store.sweep(&|| false);
    store.sweep(&|| false);
    assert_eq!(store.counters().expirations - before, 200);
    assert!(names.iter().skip(2).step_by(3).all(|key| get(&store, key).as_deref() == Some("x")));
}

#[test]
fn the_sweeper_works_by_itself_and_ends_when_the_backend_closes() {
    let config = MemoryConfig {
        max_size: 100,
        max_bytes: 0,
        cleanup_interval: Duration::from_millis(5),
        ..MemoryConfig::default()
    };
    let memory = Memory::new(&config);
    let entry = NewEntry { key: b"a", value: b"v", ttl: Some(Duration::from_millis(1)), tags: &[] };
    assert!(crate::exec::blocking::wait(|context| memory.set(context, entry)).is_ok());
    let gone = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(5));
        memory.store.usage().keys == 0
    });
    assert!(gone);
    assert!(crate::exec::blocking::wait(|context| memory.close(context, Instant::now())).is_ok());
    assert!(crate::exec::blocking::wait(|context| memory.set(context, entry)).is_ok());
    assert_eq!(Arc::strong_count(&memory.store), 1, "the thread holds the store no more");
}

#[test]
fn a_listing_sees_every_key_that_stays_while_others_come_and_go() {
    let store = Store::new(1_000_000, 0, Eviction::Lru);
    (0..5000).for_each(|key| set(&store, &format!("stays{key}"), "v", &[]));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..40_000 {
                set(&store, &format!("comes{}", round % 5000), "v", &[]);
                store.delete(format!("comes{}", (round * 7) % 5000).as_bytes());
                set(&store, &format!("stays{}", round % 5000), "changed", &[]);
            }
        });
        while !writer.is_finished() {
            let stayed: Vec<String> = keys(&store).into_iter().filter(|key| key.starts_with("stays")).collect();
            let mut distinct = stayed.clone();
            distinct.dedup();
            assert_eq!((stayed.len(), distinct.len()), (5000, 5000));
        }
    });
}

#[test]
fn threads_that_set_invalidate_and_read_never_see_an_entry_invalidated_before_they_read() {
    let store = Store::new(10_000, 0, Eviction::Lru);
    thread::scope(|scope| {
        for thread in 0..2 {
            let store = &store;
            scope.spawn(move || {
                let (key, tag) = (format!("key{thread}"), format!("tag{thread}"));
                for round in 0..30_000 {
                    set(store, &key, &round.to_string(), &[tag.as_bytes(), b"shared"]);
                    store.invalidate(&[tag.as_bytes()], round % 2 == 0);
                    assert_eq!(get(store, &key), None);
                }
            });
        }
        scope.spawn(|| {
            for round in 0..30_000 {
                store.invalidate(&[b"shared"], round % 2 == 0);
            }
        });
        scope.spawn(|| {
            for round in 0..60_000_u32 {
                let key = format!("bulk{}", round % 20_000);
                set(&store, &key, &key, &[b"shared"]);
                assert!(get(&store, &key).is_none_or(|value| value == key));
            }
        });
    });
    assert!(store.usage().keys <= 10_000);
}

#[test]
fn a_small_store_finds_room_for_everybody_while_it_is_flushed_and_swept() {
    for eviction in ORDERS {
        for (max_size, max_bytes) in [(1, 0), (20, 100_000), (1000, 300), (5000, 20_000)] {
            let store = Store::new(max_size, max_bytes, eviction);
            thread::scope(|scope| {
                for thread in 0..6_u32 {
                    let store = &store;
                    scope.spawn(move || {
                        for round in 0..4000_u32 {
                            let key = (round % 50).to_string();
                            let ttl = (round % 3 == 0).then_some(Duration::from_micros(10));
                            set_for(store, &key, &"v".repeat((round % 100) as usize), ttl, &[b"tag"]);
                            match (round + thread) % 8 {
                                0 => drop(store.flush(round % 2 == 0).is_some()),
                                1 => drop(store.invalidate(&[b"tag"], round % 2 == 0).is_some()),
                                2 => store.sweep(&|| false),
                                _ => drop(get(store, &key)),
                            }
                        }
                    });
                }
            });
            store.flush(false);
            (0..max_size.min(3)).for_each(|key| set(&store, &key.to_string(), "v", &[]));
            assert_eq!(store.usage().keys, max_size.min(3), "no place was lost");
        }
    }
}

#[test]
fn a_shard_that_a_panic_left_half_changed_is_emptied_and_works_again() {
    let store = Store::new(100, 10_000, Eviction::Lru);
    (0..50).for_each(|key| set(&store, &key.to_string(), "v", &[]));
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.panic_in_a_shard()));
    assert_eq!(get(&store, "1"), None);
    (0..200).for_each(|key| set(&store, &key.to_string(), "v", &[]));
    assert!(store.usage().keys <= 100 && get(&store, "199").is_some());
}

#[test]
fn an_entry_that_no_barrier_concerns_is_compared_once() {
    let store = Store::new(100, 0, Eviction::Lru);
    let (generation, bar) = ([GENERATION], |pattern: &[u8]| store.bar(GENERATION, &[pattern]));
    ["a", "b", "c"].iter().for_each(|key| set(&store, key, "v", &generation));
    bar(b"c*");
    bar(b"x");
    assert_eq!(store.tags(), 1, "the sealed record of all three");
    assert_eq!((get(&store, "a").as_deref(), store.tags()), (Some("v"), 2), "and the present one of a");
    set(&store, "d", "v", &generation);
    bar(b"d");
    assert_eq!((get(&store, "c"), get(&store, "d"), store.tags()), (None, None, 2));
    assert_eq!((get(&store, "b").as_deref(), store.tags()), (Some("v"), 2));
    assert_eq!((get(&store, "a").as_deref(), store.tags()), (Some("v"), 1), "no sealed record is left");
    bar(b"a");
    assert_eq!((get(&store, "a"), get(&store, "b").as_deref()), (None, Some("v")));
    assert_eq!(store.invalidate(&generation, true), Some(1));
    assert_eq!((get(&store, "b"), store.usage().keys), (None, 0));
}

#[test]
fn a_sweep_removes_what_barriers_have_made_dead() {
    let store = Store::new(10_000, 0, Eviction::Lru);
    for key in 0..5000 {
        set(&store, &format!("{}:{key}", key % 2), "v", &[GENERATION]);
    }
    store.bar(GENERATION, &[b"0:*"]);
    store.sweep(&|| false);
    assert_eq!((store.usage().keys, keys(&store).len()), (2500, 2500));
    // Too many patterns end the oldest entries.
    set(&store, "new", "v", &[GENERATION]);
    (0..70).for_each(|number| store.bar(GENERATION, &[format!("none{number}").as_bytes()]));
    assert_eq!((get(&store, "1:1"), get(&store, "new")), (None, None));
    assert_eq!((store.usage().keys, store.tags()), (0, 0));
}
