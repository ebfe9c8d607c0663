//! Tests `${NAME}` in documents.

use super::*;

const SET: [(&str, &str); 6] =
    [("A", "one"), ("B_2", "p@ss/${A}"), ("SIZE", "77"), ("URL", "redis://u:p@h:1"), ("NODE", "a:1"), ("EMPTY", "")];

fn prefix(text: &str) -> Result<String> {
    let text = format!("{{backend: memory, memory: {{key_prefix: \"{text}\"}}}}");
    Config::from_text(&text, &variables(&SET)).map(|config| config.key_prefix)
}

#[test]
fn a_reference_is_the_variables_value() {
    for (text, expected) in [("${A}", "one"), ("x${A}y${A}", "xoneyone"), ("a", "a"), ("${SIZE}", "77")] {
        assert_eq!(prefix(text).unwrap(), expected);
    }
    let sized = "backend: ${KIND}\nmemory:\n  max_size: ${SIZE}\n";
    let set = [("KIND", "memory"), ("SIZE", "77")];
    assert_eq!(memory_of(Config::from_text(sized, &variables(&set)).unwrap()).max_size, 77);
}

#[test]
fn references_work_in_secrets_urls_and_lists_and_are_read_once() {
    let read =
        |text: &str| Config::from_text(text, &variables(&SET)).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let password = |text: &str| match read(text).backend {
        BackendConfig::Redis(redis) => redis.password.map(|password| password.expose().to_owned()),
        BackendConfig::Memcached(memcached) => memcached.password.map(|password| password.expose().to_owned()),
        BackendConfig::Memory(_) => None,
    };
    for (given, expected) in [
        ("${B_2}", "p@ss/${A}"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ {A} $", "$A $ {A} $"),
        ("a$${b}${A}", "a${b}one"),
    ] {
        let text = format!("backend: redis\nredis: {{password: '{given}'}}");
        assert_eq!(password(&text).as_deref(), Some(expected), "{given}");
    }
    assert_eq!(read("backend: redis\nredis: {url: '${URL}/2'}"), super::read("redis://u:p@h:1/2"));
    let nodes = "backend: redis\nredis: {cluster: true, nodes: ['${NODE}', b]}";
    assert_eq!(read(nodes), super::read("redis+cluster://a:1,b"));
    let pair = "backend: memcached\nmemcached: {servers: [['${NODE}', '${SIZE}']]}";
    assert_eq!(read(pair), super::read("memcached://a:1?weights=77"));
}

#[test]
fn a_variable_in_a_url_cannot_change_the_host() {
    let set = [("PW", "s3cret@evil:1/"), ("SLASH", "a/b")];
    for url in ["redis://:${PW}@h", "redis://:${SLASH}@h"] {
        let error =
            Config::from_text(&format!("backend: redis\nredis: {{url: '{url}'}}"), &variables(&set)).unwrap_err();
        assert_says(&error, ErrorKind::Config, &["`@` too many", "`%40`"], url);
        assert!(!error.message().contains("s3cret"));
    }
}

#[test]
fn a_missing_variable_is_named_with_the_option() {
    for (text, wanted) in [
        ("${NOPE}", "the variable NOPE is not set"),
        ("${EMPTY}", "the variable EMPTY is not set, or empty"),
        ("${A", "the name of a variable and `}`"),
        ("${}", "the name of a variable"),
        ("${A:-x}", "the name of a variable"),
        ("${1}", "the name of a variable"),
        ("${A B}", "`$${`"),
    ] {
        assert_says(&prefix(text).unwrap_err(), ErrorKind::Config, &["\"key_prefix\" (line 1", wanted], text);
    }
}

#[test]
fn other_environments_and_urls_are_left_alone() {
    read("cache: {development: {backend: memory}, other: {backend: redis, redis: {password: '${NOPE}'}}}");
    let url = Config::from_text("redis://:${A}@h", &variables(&SET)).unwrap();
    let BackendConfig::Redis(redis) = url.backend else { panic!() };
    assert_eq!(redis.password, Some(Secret::new("${A}")));
}

#[test]
fn many_references_to_a_long_variable_end_within_the_limit() {
    let long = "x".repeat(100_000);
    let text = format!("backend: redis\nredis: {{password: '{}'}}", "${LONG}".repeat(30_000));
    let error = Config::from_text(&text, &variables(&[("LONG", &long)])).unwrap_err();
    assert_says(&error, ErrorKind::Config, &["longer than 256 KiB"], "long");
}
