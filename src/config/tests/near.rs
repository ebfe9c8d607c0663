//! Tests the option of a near cache.

use super::*;

fn near(text: &str) -> NearConfig {
    read(text).near.unwrap_or_else(|| panic!("{text:?} has no near cache"))
}

#[test]
fn a_near_cache_has_defaults() {
    let defaults = near("redis://h?near=true");
    let mib = 1 << 20;
    let expected = NearConfig {
        max_size: 10_000,
        max_bytes: 64 * mib,
        ttl: Duration::ZERO,
        max_staleness: Duration::from_secs(2),
    };
    assert_eq!(defaults, expected);
    for same in ["near: true", "near: {}", "near:", "near: 2s", "near: {max_staleness: 2s, ttl: null}", "near: 2"] {
        let given = read(&format!("{{backend: redis, redis: {{{same}}}}}")).near;
        assert_eq!(given, if same == "near:" { None } else { Some(defaults.clone()) }, "{same}");
    }
    for none in [
        "redis://h",
        "redis://h?near=false",
        "redis://h?near=0",
        "memory://?near=false",
        "{backend: redis, redis: {near: null}}",
    ] {
        assert_eq!(read(none).near, None, "{none}");
    }
}

#[test]
fn a_near_cache_has_options() {
    let text = "{backend: memcached, memcached: {near: {max_size: 7, max_bytes: 1MiB, ttl: 1m, max_staleness: 500ms}}}";
    let expected = NearConfig {
        max_size: 7,
        max_bytes: 1 << 20,
        ttl: Duration::from_secs(60),
        max_staleness: Duration::from_millis(500),
    };
    assert_eq!(near(text), expected);
    assert_eq!(near("memcached://h?near=500ms").max_staleness, Duration::from_millis(500));
    assert_eq!(read(text).summary()["near"]["max_staleness_ms"], 500);
}

#[test]
fn a_near_cache_that_makes_no_sense_is_refused() {
    for (text, reason) in [
        ("memory://?near=true", "backend memory has its entries in the process already"),
        ("{backend: memory, memory: {near: {max_size: 5}}}", "in the process already"),
        ("memcached://h?near=true", "near: {max_staleness: 1s}"),
        ("{backend: memcached, memcached: {near: {ttl: 1m}}}", "Memcached does not tell of changes"),
        ("redis://h?near=soon", "max_staleness"),
        ("redis://h?near=1ms", "20ms"),
        ("{backend: redis, redis: {near: [1]}}", "write `near:"),
        ("{backend: redis, redis: {near: {max_stalness: 1s}}}", "did you mean max_staleness?"),
        ("{backend: redis, near: true}", "belongs in the section"),
        ("redis://h?near=true&near=1s", "given twice"),
        ("{backend: redis, fallback: 'redis://other?near=true'}", "a fallback has no near cache"),
        ("{backend: memcached, memcached: {events: 'redis://h?near=true'}}", "Redis servers"),
    ] {
        let refused = refusal(text);
        assert!(refused.message().contains(reason), "{text}: {refused:?}");
    }
}
