//! Tests the options of a fallback, a migration and a switch.

use super::*;

fn fallback(text: &str) -> FallbackConfig {
    *read(text).fallback.unwrap_or_else(|| panic!("{text:?} has no fallback"))
}

#[test]
fn a_fallback_is_memory_unless_it_says_otherwise() {
    let memory = fallback("backend: redis\nfallback: memory");
    assert_eq!(memory.backend, read("memory://").backend);
    assert_eq!((memory.max_ttl, memory.follow), (Duration::from_secs(60), false));
    for same in ["fallback: true", "fallback: {}", "fallback: {backend: memory}", "fallback: memory://"] {
        assert_eq!(fallback(&format!("backend: redis\n{same}")), memory, "{same}");
    }
    assert_eq!(fallback("redis://h?fallback=memory"), memory);
    assert_eq!(fallback("memcached://h:1?fallback=true"), memory);
    for none in ["backend: redis", "backend: redis\nfallback: false", "redis://h?fallback=0"] {
        assert_eq!(read(none).fallback, None, "{none}");
    }
}

#[test]
fn a_fallback_has_options_of_its_own_and_those_of_its_backend() {
    let text = "backend: redis\nfallback: {max_ttl: 5m, writes: follow, probe_interval: 1s, memory: {max_size: 7}}";
    let given = fallback(text);
    assert_eq!(given.backend, read("memory://?max_size=7").backend);
    let times = (given.max_ttl, given.follow, given.probe_interval);
    assert_eq!(times, (Duration::from_secs(300), true, Duration::from_secs(1)));
    let other = fallback("backend: redis\nredis: {key_prefix: app}\nfallback: memcached://h:1");
    assert_eq!((other.backend, &*other.key_prefix), (read("memcached://h:1").backend, "app"));
    assert_eq!(fallback("redis://a?fallback=redis://b").backend, read("redis://b").backend);
}

#[test]
fn a_fallback_that_makes_no_sense_is_refused() {
    for (text, wanted) in [
        ("memory://?fallback=memory", "does not fail"),
        ("redis://h:1?fallback=redis://h:1", "the store that it is to stand in for"),
        ("memcached://b:1,a:1?fallback=memcached://a:1,b:1", "the store that it is to stand in for"),
        ("backend: redis\nfallback: {backend: redis}", "the store that it is to stand in for"),
        ("backend: redis\nfallback: {backend: memcached, fallback: memory}", "has none of its own"),
        ("backend: redis\nfallback: memori", "did you mean memory?"),
        ("backend: redis\nfallback: 7", "write `fallback: memory`"),
        ("backend: redis\nfallback: {max_tll: 5}", "did you mean max_ttl?"),
        ("backend: redis\nfallback: {max_ttl: soon}", "max_ttl"),
        ("backend: redis\nfallback: {writes: keep}", "`drop` or `follow`"),
        ("backend: redis\nfallback: {memory: {max_size: -1}}", "max_size"),
        ("redis://h?fallback=memory&fallback=false", "given twice"),
        ("backend: redis\nfalback: memory", "did you mean fallback?"),
    ] {
        assert_says(&refusal(text), ErrorKind::Config, &[wanted], text);
    }
}

#[test]
fn another_prefix_or_database_is_another_store() {
    for (one, other) in [
        ("redis://h:1/0", "redis://h:1/1"),
        ("redis://h:1?key_prefix=a", "redis://h:1?key_prefix=b"),
        ("redis://h:1", "redis://h:2"),
        ("memcached://a:1,b:1", "memcached://a:1"),
    ] {
        assert_ne!(read(one).store(), read(other).store());
        assert!(read(one).store().is_some());
    }
    assert_eq!(read("memory://").store(), None);
    assert_eq!(read("redis://u:p@h:1").store(), read("redis://h:1?pool_size=9").store());
}

#[test]
fn the_options_of_a_migration_and_a_switch_are_checked_as_all_others() {
    let given = MigrationConfig::from_text("{pattern: 'a:*', rate: 5, dry_run: true, resume: '1.2'}").unwrap();
    assert_eq!((given.pattern.as_deref(), given.rate, given.dry_run), (Some("a:*"), 5, true));
    assert_eq!(given.resume.as_deref(), Some("1.2"));
    assert_eq!(MigrationConfig::from_text("{}").unwrap(), MigrationConfig::default());
    assert!(SwitchConfig::from_text("copy: true").unwrap().copy);
    for (text, wanted) in [
        ("{rat: 5}", "did you mean rate?"),
        ("{rate: -5}", "rate"),
        ("{rate: 5, rate: 6}", "twice"),
        ("fast", "a map"),
        ("{", "cannot be read"),
    ] {
        assert_says(&MigrationConfig::from_text(text).unwrap_err(), ErrorKind::Config, &[wanted], text);
    }
}
