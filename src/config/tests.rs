//! Tests accepted and rejected configurations and their messages, as tables of texts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fallback;
mod memcached;
mod redis;
mod references;
mod summary;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::document::{MAX_TEXT_BYTES, Place};
use super::*;
use crate::error::{Error, ErrorKind};

const CANARY: &str = "c4n4ry-p4ss";

fn none(_: &str) -> Option<String> {
    None
}

fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn read(text: &str) -> Config {
    Config::from_text(text, &none).unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

fn memory(text: &str) -> MemoryConfig {
    memory_of(read(text))
}

fn memory_of(config: Config) -> MemoryConfig {
    match config.backend {
        BackendConfig::Memory(memory) => memory,
        other => panic!("not a memory cache: {other:?}"),
    }
}

fn refusal(text: &str) -> Error {
    match Config::from_text(text, &none) {
        Ok(config) => panic!("{text:?} was accepted: {config:?}"),
        Err(error) => error,
    }
}

/// All that anybody gets to see of a result.
fn said(result: Result<Config>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |config| format!("{config:?}"))
}

fn assert_says(error: &Error, kind: ErrorKind, wanted: &[&str], about: &str) {
    assert_eq!(error.kind(), kind, "{about:?}: {}", error.message());
    for wanted in wanted {
        assert!(error.message().contains(wanted), "{about:?}: {wanted:?} is missing in: {}", error.message());
    }
}

/// Each text is refused in words that contain all of these.
fn refuses(table: &[(&str, &[&str])]) {
    for (text, wanted) in table {
        assert_says(&refusal(text), ErrorKind::Config, wanted, text);
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("yokedcache-{}-{name}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn file_refusal(path: &Path, environment: Option<&str>) -> Error {
    Config::from_file(path, environment, &none).unwrap_err()
}

const ENVIRONMENTS: &str = "\
cache:
  development: { backend: memory, memory: { max_size: 1000, key_prefix: dev } }
  production:
    backend: redis
    redis: { url: 'rediss://user:secret@h:6380/0', pool_size: 50 }
  testing:
    backend: memory
    memory:
      max_size: 100
";

// Documents and their environments.

#[test]
fn a_backend_alone_takes_every_default() {
    let expected = Config {
        fallback: None,
        notes: Vec::new(),
        key_prefix: "yokedcache".to_owned(),
        default_ttl: Duration::from_secs(300),
        ttl_jitter: 10.0,
        max_value_bytes: 8 << 20,
        backend: BackendConfig::Memory(MemoryConfig {
            max_size: 10_000,
            max_bytes: 0,
            cleanup_interval: Duration::from_secs(60),
        }),
    };
    for text in [
        "backend: memory",
        "{backend: memory}",
        r#"{"backend":"memory"}"#,
        "backend: memory\nmemory:\n",
        "backend: memory\nmemory: {}",
        "cache: {development: {backend: memory}}",
        "memory://",
        "memory://?",
        "  MEMORY://\n",
        "memory://?&",
        "\u{feff}backend: memory",
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

#[test]
fn the_same_configuration_in_yaml_json_and_a_url_is_equal() {
    let yaml = "backend: memory\nmemory:\n  max_size: 10\n  key_prefix: a.b_c-D9\n  default_ttl: 2h\n  ttl_jitter: 2.5\n  \
                max_bytes: 64MiB\n  max_value_bytes: 1kb\n  cleanup_interval: 250ms # often\n";
    let json = "{\n\t\"backend\": \"memory\",\n\t\"memory\": {\"max_size\": 10, \"key_prefix\": \"a.b_c\\u002dD9\",\n\t\
                \"default_ttl\": 7200, \"ttl_jitter\": \"2.5%\", \"max_bytes\": 67108864,\
                \"max_value_bytes\": \"1000\", \"cleanup_interval\": 0.25}}";
    let url = "memory://?max_size=10&key_prefix=a.b%5fc%2DD9&default_ttl=120m&ttl_jitter=2.5%25&max_bytes=64MiB\
               &max_value_bytes=1000&cleanup_interval=0.25s";
    let expected = Config {
        fallback: None,
        notes: Vec::new(),
        key_prefix: "a.b_c-D9".to_owned(),
        default_ttl: Duration::from_secs(7200),
        ttl_jitter: 2.5,
        max_value_bytes: 1000,
        backend: BackendConfig::Memory(MemoryConfig {
            max_size: 10,
            max_bytes: 64 << 20,
            cleanup_interval: Duration::from_millis(250),
        }),
    };
    for text in [yaml, json, url] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn the_environment_is_the_argument_else_the_variable_else_development() {
    let file = Scratch::new("environments.yaml", ENVIRONMENTS.as_bytes());
    let size = |asked: Option<&str>, set: &[(&str, &str)]| {
        memory_of(Config::from_file(&file.0, asked, &variables(set)).unwrap()).max_size
    };
    assert_eq!(size(None, &[]), 1000);
    assert_eq!(size(None, &[("ENVIRONMENT", "")]), 1000);
    assert_eq!(size(None, &[("ENVIRONMENT", "testing")]), 100);
    assert_eq!(size(Some("development"), &[("ENVIRONMENT", "testing")]), 1000);
    let text = Config::from_text(ENVIRONMENTS, &variables(&[("ENVIRONMENT", "testing")])).unwrap();
    assert_eq!(text, Config::from_file(&file.0, Some("testing"), &none).unwrap());
}

#[test]
fn a_missing_environment_is_named_with_those_there_are() {
    let file = Scratch::new("missing.yaml", ENVIRONMENTS.as_bytes());
    let there = r#""development", "production", "testing""#;
    let error = file_refusal(&file.0, Some("staging"));
    assert_says(&error, ErrorKind::Config, &["\"staging\"", "as asked", there, "missing.yaml"], "asked");
    let error = Config::from_text(ENVIRONMENTS, &variables(&[("ENVIRONMENT", "staging")])).unwrap_err();
    assert_says(&error, ErrorKind::Config, &["\"staging\"", "variable ENVIRONMENT", there], "variable");
    let error = refusal("cache: {production: {backend: memory}}");
    assert_says(&error, ErrorKind::Config, &["\"development\"", "default", "\"production\""], "default");
    let many: String = (0..30).map(|number| format!("  e{number}: {{}}\n")).collect();
    let error = refusal(&format!("cache:\n{many}"));
    assert_says(&error, ErrorKind::Config, &["\"e19\" and more"], "many");
}

#[test]
fn environments_that_are_not_chosen_only_have_to_be_maps() {
    read("cache: {development: {backend: memory}, other: {backend: nonsense, x: [1, {y: 2}]}}");
    refuses(&[
        (
            "cache: {development: {backend: memory}, other: 5}",
            &["\"other\"", "line 1, column 41", "not an environment"],
        ),
        ("cache: {backend: memory}", &["\"backend\"", "not an environment", "leave out `cache:`"]),
    ]);
}

#[test]
fn a_body_alone_refuses_a_named_environment() {
    let file = Scratch::new("alone.yaml", b"backend: memory");
    assert!(Config::from_file(&file.0, None, &variables(&[("ENVIRONMENT", "production")])).is_ok());
    let error = file_refusal(&file.0, Some("production"));
    assert_says(&error, ErrorKind::Config, &["\"production\"", "one body alone"], "alone");
}

#[test]
fn a_document_that_is_no_body_and_no_environments_says_what_is_accepted() {
    refuses(&[
        ("", &["empty", "memory://?max_size=1000", "{backend: memory}"]),
        (" \n\t ", &["empty"]),
        ("# only a comment", &["nothing in it"]),
        ("---\n", &["nothing in it"]),
        ("memory", &["one bare word", "memory://?max_size=1000"]),
        ("42", &["one bare word"]),
        ("[backend, memory]", &["a list"]),
        ("cache: []", &["`cache` has to be a map"]),
        ("cache:", &["`cache` has to be a map"]),
        (
            "cache: {development: {backend: memory}}\nbackend: memory",
            &["\"backend\" (line 2, column 1)", "together with `cache`"],
        ),
        ("cache: {}", &["\"development\"", "not in the document"]),
    ]);
}

// Bodies and their sections.

#[test]
fn a_body_without_a_backend_says_to_write_one() {
    refuses(&[
        ("memory: {max_size: 1}", &["no backend is named: write `backend: memory` next to section \"memory\" (line 1"]),
        (
            "{redis: {url: 'redis://h'}}",
            &["no backend is named: write `backend: redis` next to section \"redis\" (line 1"],
        ),
        ("{memcached: {}, redis: null}", &["write `backend: memcached` next to section \"memcached\""]),
        ("{memcached: {}, redis: {}}", &["write `backend: memory`; a backend is `memory`, `redis` or `memcached`"]),
        ("{backend: redis, fallback: {redis: {}, backend: null, memcached: {}}}", &["section \"redis\""]),
        ("{}", &["write `backend: memory`"]),
        (
            "backend:",
            &["no backend is named: write `backend: memory`", "a backend is `memory`, `redis` or `memcached`"],
        ),
        ("backend: [memory]", &["a list", "write `backend: memory`"]),
        ("backend: 5", &["the number 5", "write `backend: memory`"]),
    ]);
}

#[test]
fn an_unknown_backend_names_its_nearest() {
    refuses(&[
        ("backend: memroy", &["\"memroy\"", "did you mean memory?", "line 1, column 1"]),
        ("backend: Redis", &["\"Redis\"", "did you mean redis?"]),
        ("backend: memcache", &["did you mean memcached?"]),
    ]);
    refuses(&[
        ("backend: postgres", &["\"postgres\" is unknown; a backend is `memory`, `redis` or `memcached`"]),
        (
            "backend: valkey",
            &["\"valkey\" is unknown; did you mean redis?; a backend is `memory`, `redis` or `memcached`"],
        ),
        ("{backend: redis, fallback: disk}", &["\"disk\" is unknown; a backend is `memory`, `redis` or `memcached`"]),
    ]);
    assert!(!refusal("backend: postgres").message().contains("did you mean"));
}

#[test]
fn an_option_outside_its_section_is_told_where_it_belongs() {
    refuses(&[
        ("backend: memory\nmax_size: 5", &["\"max_size\" (line 2, column 1)", "write `memory: {max_size: ...}`"]),
        ("{backend: memory, key_prefix: app}", &["\"key_prefix\"", "write `memory: {key_prefix: ...}`"]),
    ]);
}

#[test]
fn a_section_of_another_backend_is_refused() {
    refuses(&[
        ("{backend: memory, redis: {}}", &["section \"redis\"", "is not used by backend memory"]),
        ("{backend: memory, memory: {}, memcached: {}}", &["section \"memcached\"", "not used by backend memory"]),
    ]);
}

#[test]
fn a_section_has_to_be_a_map() {
    refuses(&[
        ("{backend: memory, memory: 5}", &["section \"memory\"", "the number 5"]),
        ("{backend: memory, memory: [max_size]}", &["section \"memory\"", "a list"]),
    ]);
}

#[test]
fn an_unknown_name_is_named_with_its_nearest_and_its_place() {
    refuses(&[
        ("backend: memory\nmemory:\n  max_sze: 5", &["\"max_sze\" (line 3, column 3)", "did you mean max_size?"]),
        ("{backend: memory, memory: {keyPrefix: a}}", &["\"keyPrefix\"", "did you mean key_prefix?"]),
        ("{backend: memory, memroy: {}}", &["\"memroy\"", "did you mean memory?"]),
        ("{backend: memory, Backend: memory}", &["\"Backend\"", "did you mean backend?"]),
        ("{backend: memory, max-size: 4}", &["\"max-size\"", "did you mean max_size?"]),
        ("memory://?defualt_ttl=5", &["\"defualt_ttl\"", "did you mean default_ttl?"]),
    ]);
    assert!(!refusal("memory://?pool_size_of_redis=5").message().contains("did you mean"));
}

#[test]
fn a_word_of_a_name_is_enough_to_find_it() {
    refuses(&[
        ("redis://h?pool=3", &["option \"pool\" is unknown; did you mean pool_size?"]),
        ("memcached://h?pool=3", &["did you mean pool_size?"]),
        ("memory://?size=3", &["did you mean max_size?"]),
        ("memory://?ttl=3", &["did you mean default_ttl?"]),
        ("memory://?prefix=a", &["did you mean key_prefix?"]),
        ("redis://h?connect_time=3", &["did you mean connect_timeout?"]),
        ("{backend: redis, redis: {pass: x}}", &["did you mean password?"]),
    ]);
}

// Null.

#[test]
fn a_null_option_counts_as_not_given() {
    for (given, same) in [
        (
            "{backend: memory, memory: {max_size: null, default_ttl: ~, key_prefix: , ttl_jitter: null}}",
            "backend: memory",
        ),
        ("{\"backend\": \"memory\", \"memory\": null, \"redis\": null, \"max_size\": null}", "backend: memory"),
        ("{backend: redis, redis: {url: null, host: ~, password: null, ssl: null, tag_index: null}}", "backend: redis"),
        ("{backend: redis, redis: {url: 'redis://h', redis_url: null, host: null}}", "redis://h"),
        ("{backend: redis, redis: {socket_timeout: 5s, timeout: null}}", "redis://localhost?socket_timeout=5s"),
        ("{backend: redis, redis: {nodes: null, sentinels: null, cluster: null}}", "backend: redis"),
        ("{backend: redis, redis: {socket_keepalive_options: null, connection_pool_kwargs: null}}", "backend: redis"),
        (
            "{backend: redis, redis: {socket_keepalive_options: {TCP_KEEPIDLE: null, idle: 7, count: ~}}}",
            "{backend: redis, redis: {socket_keepalive_options: {idle: 7}}}",
        ),
        ("{backend: redis, redis: {connection_pool_kwargs: {pool_size: null, ssl_ca_certs: null}}}", "backend: redis"),
        (
            "{backend: memcached, memcached: {servers: null, weights: null, behaviors: {ketama: null}}}",
            "backend: memcached",
        ),
        ("{backend: redis, fallback: null}", "backend: redis"),
        (
            "{backend: redis, fallback: {backend: null, max_ttl: null, memory: null}}",
            "{backend: redis, fallback: memory}",
        ),
        ("{backend: memory, fallback: ~}", "backend: memory"),
    ] {
        assert_eq!(read(given), read(same), "{given}");
    }
    let set = variables(&[("REDIS_URL", "redis://other:7/2"), ("YOKEDCACHE_KEY_PREFIX", "set")]);
    let read = |text: &str| Config::from_text(text, &set).unwrap();
    assert_eq!(read("{backend: redis, redis: {host: null, db: null, key_prefix: null}}"), read("backend: redis"));
    assert_eq!(MigrationConfig::from_text("{rate: null, resume: ~}").unwrap(), MigrationConfig::default());
    assert_eq!(SwitchConfig::from_text("{copy: null}").unwrap(), SwitchConfig::default());
}

#[test]
fn null_is_no_excuse_for_an_unknown_name_nor_for_what_is_no_option() {
    refuses(&[
        ("{backend: memory, memory: {max_sise: null}}", &["is unknown"]),
        ("{backend: memory, memroy: null}", &["is unknown"]),
        ("{backend: redis, redis: {socket_keepalive_options: {idel: null}}}", &["is unknown"]),
        ("{backend: redis, redis: {connection_pool_kwargs: {pol_size: null}}}", &["is unknown"]),
        ("{backend: memcached, memcached: {servers: [a, null]}}", &["entry 2: not a text"]),
        ("memory://?max_size=", &["\"max_size\": nothing is not accepted"]),
        ("redis://h?fallback=memory&password=", &["\"password\": nothing is not accepted"]),
    ]);
    assert!(MigrationConfig::from_text("{rat: null}").is_err());
}

// Notes.

fn notes(text: &str) -> Vec<String> {
    read(text).notes
}

#[test]
fn a_bare_number_over_a_minute_is_seconds_and_noted() {
    for (given, option) in [
        ("redis://h?key_prefix=a&socket_timeout=5000", "socket_timeout"),
        ("redis://h?key_prefix=a&timeout=5000", "timeout"),
        ("memcached://h?key_prefix=a&socket_connect_timeout=5000", "socket_connect_timeout"),
        ("{backend: redis, redis: {key_prefix: a, connection_pool_kwargs: {socket_timeout: 5000}}}", "socket_timeout"),
        ("{backend: redis, redis: {key_prefix: a, url: 'redis://h?connect_timeout=5000'}}", "connect_timeout"),
    ] {
        let notes = notes(given);
        assert_eq!(notes.len(), 1, "{given}: {notes:?}");
        let start = format!("option \"{option}\"");
        assert!(notes[0].starts_with(&start) && notes[0].contains("5000 is 5000 seconds"), "{notes:?}");
        assert!(notes[0].contains("`5000ms`") && notes[0].contains("`5000s`"), "{notes:?}");
    }
    let BackendConfig::Redis(redis) = read("redis://h?socket_timeout=5000&socket_connect_timeout=61").backend else {
        panic!()
    };
    assert_eq!(redis.connection.timeout, Duration::from_secs(5000));
    assert_eq!(redis.connection.connect_timeout, Duration::from_secs(61));
    assert_eq!(notes("redis://h?key_prefix=a&socket_timeout=60.5&connect_timeout=61").len(), 2);
    for quiet in ["60", "60.0", "5", "0.25", "61s", "5000ms", "2m", "1h"] {
        assert_eq!(notes(&format!("redis://h?key_prefix=a&socket_timeout={quiet}")), Vec::<String>::new(), "{quiet}");
    }
    assert_eq!(notes("redis://h?key_prefix=a&health_check_interval=300&default_ttl=3600"), Vec::<String>::new());
    let fallback = notes("{backend: redis, redis: {key_prefix: a}, fallback: 'memcached://s?timeout=90'}");
    assert_eq!(fallback.len(), 1, "{fallback:?}");
    assert!(fallback[0].starts_with("fallback: option \"timeout\": 90 is 90 seconds"), "{fallback:?}");
}

#[test]
fn a_shared_server_without_a_key_prefix_is_noted() {
    for given in ["backend: redis", "memcached://h", "{backend: redis, redis: {key_prefix: null}, fallback: memory}"] {
        let notes = notes(given);
        assert_eq!(notes.len(), 1, "{given}: {notes:?}");
        assert!(notes[0].starts_with("key_prefix is not set") && notes[0].contains("`yokedcache`"), "{notes:?}");
    }
    for quiet in ["backend: memory", "redis://h?key_prefix=yokedcache", "memory://?max_size=0"] {
        assert_eq!(notes(quiet), Vec::<String>::new(), "{quiet}");
    }
    let set = [("YOKEDCACHE_KEY_PREFIX", "set")];
    assert_eq!(Config::from_text("backend: redis", &variables(&set)).unwrap().notes, Vec::<String>::new());
}

// Values.

#[test]
fn times_take_units_and_fractions() {
    for (text, milliseconds) in [
        ("300s", 300_000),
        ("5m", 300_000),
        ("250ms", 250),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("7", 7_000),
        ("0.5", 500),
        ("1.5 h", 5_400_000),
        (" 1s ", 1_000),
        ("0", 0),
        ("0.0", 0),
        ("0ms", 0),
        ("1ms", 1),
        ("0.0014s", 1),
        ("3650d", 315_360_000_000),
    ] {
        let expected = Duration::from_millis(milliseconds);
        assert_eq!(read(&format!("{{backend: memory, memory: {{default_ttl: '{text}'}}}}")).default_ttl, expected);
    }
    for (bare, seconds) in [("0.5", 0.5), ("7", 7.0), ("1e2", 100.0), ("0x10", 16.0), ("!!int '7'", 7.0)] {
        let read = read(&format!("{{backend: memory, memory: {{default_ttl: {bare}}}}}"));
        assert_eq!(read.default_ttl.as_secs_f64(), seconds);
    }
}

#[test]
fn no_time_panics_and_the_refusal_says_what_is_accepted() {
    for given in [
        ".nan",
        "nan",
        "NaN",
        ".inf",
        "-.inf",
        "inf",
        "infinity",
        "1e300",
        "1e999",
        "-1e300",
        "-1",
        "-0.5",
        "-0.0",
        "'1e3'",
        "3651d",
        "315360001",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "5 minutes",
        "5M",
        "s",
        "''",
        "'.'",
        "'5.'",
        "'.5s'",
        "1.2.3",
        "'+5'",
        "5_0",
        "0.1ms",
        "0.0000001",
        "true",
        "[]",
        "{}",
        "'５s'",
    ] {
        let error = refusal(&format!("{{backend: memory, memory: {{default_ttl: {given}}}}}"));
        let accepts = "a time from 0 to 3650d, such as `250ms`, `300s`, `5m`, `2h` or `1d` (a bare number is seconds)";
        assert_says(&error, ErrorKind::Config, &["option \"default_ttl\" (line 1", accepts], given);
    }
}

#[test]
fn a_time_too_small_to_keep_does_not_become_never() {
    let tiny = format!("memory://?default_ttl=0.{}1", "0".repeat(400));
    refuses(&[("memory://?default_ttl=0.9ms", &["not accepted"]), (&tiny, &["not accepted"])]);
}

#[test]
fn sizes_take_units_in_any_case() {
    for (text, bytes) in [
        ("0", 0),
        ("12", 12),
        ("12b", 12),
        ("64MiB", 64 << 20),
        ("64mb", 64_000_000),
        ("1GiB", 1 << 30),
        ("512kib", 512 << 10),
        ("3k", 3_000),
        ("3KB", 3_000),
        ("2m", 2_000_000),
        ("1 tib", 1 << 40),
        ("1024TiB", 1 << 50),
    ] {
        assert_eq!(memory(&format!("memory://?max_bytes={text}")).max_bytes, bytes, "{text}");
    }
}

#[test]
fn sizes_that_are_not_are_refused() {
    for given in ["-1", "1.5MiB", "64XB", "1025TiB", "99999999999999999999TiB", "18014398509481984KiB", ".inf", "1e300"]
    {
        let error = refusal(&format!("{{backend: memory, memory: {{max_bytes: {given}}}}}"));
        assert_says(&error, ErrorKind::Config, &["\"max_bytes\"", "a number of bytes from 0 to 1024TiB"], given);
    }
    for given in ["0", "513MiB"] {
        let error = refusal(&format!("memory://?max_value_bytes={given}"));
        assert_says(&error, ErrorKind::Config, &["\"max_value_bytes\"", "from 1 to 512MiB"], given);
    }
}

#[test]
fn counts_are_whole_numbers_in_range_quoted_or_not() {
    for (given, count) in
        [("0", 0), ("1", 1), ("'20'", 20), ("\"20\"", 20), ("1e3", 1000), ("4000000000", 4_000_000_000)]
    {
        assert_eq!(memory(&format!("{{backend: memory, memory: {{max_size: {given}}}}}")).max_size, count, "{given}");
    }
    for given in ["-5", "1.5", "1_000", "ten", "4000000001", "'+5'", "''", "false", "1e10", "2k", "9.3e20"] {
        let error = refusal(&format!("{{backend: memory, memory: {{max_size: {given}}}}}"));
        assert_says(&error, ErrorKind::Config, &["\"max_size\"", "a whole number from 0 to 4000000000"], given);
    }
}

#[test]
fn a_refused_value_is_repeated_as_given() {
    refuses(&[
        ("memory://?max_size=ten", &["option \"max_size\": \"ten\" is not accepted"]),
        ("memory://?max_size=", &["option \"max_size\": nothing is not accepted"]),
        ("memory://?max_size", &["option \"max_size\": nothing is not accepted"]),
        ("{backend: memory, memory: {max_size: -1}}", &["option \"max_size\" (line 1, column 28): the number -1"]),
        ("{backend: memory, memory: {max_size: yes}}", &["\"yes\""]),
        ("{backend: memory, memory: {max_size: true}}", &["the boolean true"]),
        ("{backend: memory, memory: {max_size: \"a\\nb\\e\"}}", &[r#""a\nb\u{1b}""#]),
    ]);
    let long = "9".repeat(100_000);
    assert!(refusal(&format!("memory://?max_size={long}")).message().len() < 300);
    assert!(refusal(&format!("memory://?{long}=1")).message().len() < 300);
}

#[test]
fn jitter_is_a_percentage() {
    for (given, percent) in [("10", 10.0), ("'10%'", 10.0), ("10%", 10.0), ("0", 0.0), ("100", 100.0), ("2.5 %", 2.5)] {
        assert_eq!(read(&format!("{{backend: memory, memory: {{ttl_jitter: {given}}}}}")).ttl_jitter, percent);
    }
    for given in ["101", "-1", "100.1%", ".nan", ".inf", "1e300", "ten", "5s", "'%'", "10%%"] {
        let error = refusal(&format!("{{backend: memory, memory: {{ttl_jitter: {given}}}}}"));
        assert_says(&error, ErrorKind::Config, &["\"ttl_jitter\"", "a percentage from 0 to 100"], given);
    }
}

#[test]
fn a_prefix_is_1_to_64_of_its_alphabet_and_a_text() {
    let longest = "p".repeat(64);
    for given in ["a", "A-Z_0.9", "no", "'2024'", "1_000", longest.as_str()] {
        let expected = given.trim_matches('\'');
        assert_eq!(read(&format!("{{backend: memory, memory: {{key_prefix: {given}}}}}")).key_prefix, expected);
    }
    let too_long = "p".repeat(65);
    for given in ["''", "a*", "a:b", "a b", "'a '", "é", "2024", "1.10", "true", "'[a]'", too_long.as_str()] {
        let error = refusal(&format!("{{backend: memory, memory: {{key_prefix: {given}}}}}"));
        let accepts = "1 to 64 of `A-Z a-z 0-9 _ . -`";
        assert_says(&error, ErrorKind::Config, &["option \"key_prefix\"", accepts], given);
    }
}

// The table.

#[test]
fn an_alias_is_the_option_and_giving_both_is_refused() {
    let kind = option::Kind::Count(1..=9, |options| &mut options.memory.max_size);
    let row = option::row(Scope::Redis, "pool_size max_connections", kind, "3", "", "").or_variable("POOL");
    let field = |name: &str, text: &str| Field {
        name: name.to_owned(),
        place: Place::Parameter,
        node: Node::Text(text.to_owned()),
    };
    let filled = |fields: &[Field]| {
        let mut options = Options::default();
        row.fill(&mut options, fields, &variables(&[("POOL", "")])).map(|()| options.memory.max_size)
    };
    assert_eq!(filled(&[]).unwrap(), 3);
    assert_eq!(filled(&[field("pool_size", "4")]).unwrap(), 4);
    assert_eq!(filled(&[field("max_connections", "5")]).unwrap(), 5);
    let both = filled(&[field("max_connections", "5"), field("pool_size", "5")]).unwrap_err();
    assert_says(&both, ErrorKind::Config, &["given twice: \"max_connections\" and \"pool_size\""], "both");
    assert!(reference::line(&row).starts_with("| `pool_size`, `max_connections` | redis |"));
}

#[test]
fn the_reference_has_a_line_for_every_option() {
    let reference = reference();
    for name in table::names() {
        let (first, later) = (format!("| `{name}`"), format!(", `{name}`"));
        let lines = reference.lines().filter(|line| {
            let names = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
            format!("| {names}").starts_with(&first) || names.contains(&later)
        });
        assert!(lines.count() > 0, "{name}");
    }
    let columns = reference.lines().map(|line| line.matches('|').count());
    assert!(columns.clone().all(|count| count == 7), "{reference}");
    assert!(reference.contains("| `max_size` | memory | a whole number from 0 to 4000000000 | `10000` |  | Entries"));
}

#[test]
fn every_option_is_accepted_as_its_own_default() {
    for line in reference().lines().skip(2) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let (names, sections, default) = (cells[0].trim_start_matches("| "), cells[1], cells[3].trim_matches('`'));
        if sections == "of a migration" || sections == "of a switch" {
            continue;
        }
        for section in if sections == "every" { "memory, redis, memcached" } else { sections }.split(", ") {
            for name in names.split(", ").map(|name| name.trim_matches('`')).filter(|_| !default.is_empty()) {
                let tls = if name.starts_with("ssl_") { "ssl: true" } else { "" };
                let backend = if section == "fallback" { "redis" } else { section };
                let inner = if section == "fallback" { "backend: memory" } else { tls };
                let plain = format!("backend: {backend}\n{section}:\n  {inner}\n");
                let given = format!("backend: {backend}\n{section}:\n  {name}: {default}\n  {inner}\n");
                let without_notes = |text: &str| Config { notes: Vec::new(), ..read(text) };
                assert_eq!(without_notes(&given), without_notes(&plain), "{given}");
            }
        }
    }
}

#[test]
fn every_option_is_accepted_as_its_example_which_differs_from_the_default() {
    let set = variables(&[("CACHE_PASSWORD", "p"), ("SENTINEL_PASSWORD", "p")]);
    for row in table::OPTIONS {
        let section = if row.scope == Scope::Memcached { "memcached" } else { "redis" };
        let (name, example) = (row.name(), row.example);
        if row.kind.is_opened_before() {
            read(&format!("backend: {section}\n{section}:\n  {name}: {example}\n"));
            continue;
        }
        let Node::Map(mut fields) = document::parse(&format!("{name}: {example}")).unwrap() else { panic!("{name}") };
        environment::resolve(&mut fields, &set).unwrap();
        let filled = |fields: &[Field]| {
            let mut options = Options::default();
            row.fill(&mut options, fields, &none).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            options
        };
        assert!(filled(&fields) != filled(&[]), "{name}: {example}");
    }
}

// Variables.

#[test]
fn the_document_wins_over_a_variable_and_a_variable_over_the_default() {
    let set = [("YOKEDCACHE_KEY_PREFIX", "fromvar"), ("YOKEDCACHE_DEFAULT_TTL", "7s")];
    for (text, prefix, seconds) in [
        ("backend: memory", "fromvar", 7),
        ("memory://", "fromvar", 7),
        ("{backend: memory, memory: {key_prefix: mine}}", "mine", 7),
        ("memory://?default_ttl=9", "fromvar", 9),
    ] {
        let config = Config::from_text(text, &variables(&set)).unwrap();
        assert_eq!((config.key_prefix.as_str(), config.default_ttl.as_secs()), (prefix, seconds), "{text}");
    }
    let empty = variables(&[("YOKEDCACHE_KEY_PREFIX", ""), ("YOKEDCACHE_DEFAULT_TTL", "")]);
    assert_eq!(Config::from_text("memory://", &empty).unwrap(), read("memory://"));
}

#[test]
fn a_variable_is_held_to_the_same_rules_and_named() {
    for (name, value, wanted) in [
        ("YOKEDCACHE_KEY_PREFIX", "a*", "\"a*\""),
        ("YOKEDCACHE_DEFAULT_TTL", "soon", "\"soon\""),
        ("YOKEDCACHE_DEFAULT_TTL", "1e300", "3650d"),
    ] {
        let error = Config::from_text("memory://", &variables(&[(name, value)])).unwrap_err();
        assert_says(&error, ErrorKind::Config, &[&format!("variable {name}"), wanted], value);
    }
}

#[test]
fn the_variables_alone_give_a_url_else_a_file_else_an_error_naming_both() {
    let file = Scratch::new("config.yaml", b"{backend: memory, memory: {max_size: 7}}");
    let path = file.0.to_str().unwrap();
    let size = |set: &[(&str, &str)]| memory_of(Config::from_variables(&variables(set)).unwrap()).max_size;
    assert_eq!(size(&[("YOKEDCACHE_URL", "memory://?max_size=5\n")]), 5);
    assert_eq!(size(&[("YOKEDCACHE_URL", "memory://?max_size=5"), ("YOKEDCACHE_CONFIG", path)]), 5);
    assert_eq!(size(&[("YOKEDCACHE_URL", ""), ("YOKEDCACHE_CONFIG", path)]), 7);
    for (set, wanted) in [
        (vec![], vec!["YOKEDCACHE_URL", "YOKEDCACHE_CONFIG"]),
        (vec![("YOKEDCACHE_URL", "backend: memory")], vec!["YOKEDCACHE_URL: not a URL"]),
        (vec![("YOKEDCACHE_URL", "  ")], vec!["YOKEDCACHE_URL: ", "empty"]),
        (vec![("YOKEDCACHE_URL", "memory://?x=1")], vec!["YOKEDCACHE_URL: ", "\"x\" is unknown"]),
        (vec![("YOKEDCACHE_CONFIG", "/no/such")], vec!["YOKEDCACHE_CONFIG: ", "/no/such", "No such file"]),
    ] {
        let error = Config::from_variables(&variables(&set)).unwrap_err();
        assert_says(&error, ErrorKind::Config, &wanted, &format!("{set:?}"));
    }
}

// URLs.

#[test]
fn a_memory_url_says_which_part_it_does_not_take() {
    refuses(&[
        ("memory://localhost", &["takes no host:"]),
        ("memory://localhost:80?max_size=1", &["takes no host and port"]),
        ("memory://:80", &["takes no port"]),
        ("memory://user:pw@h", &["takes no user or password"]),
        ("memory://@", &["takes no user"]),
        ("memory:///0", &["takes no path"]),
        ("memory:///", &["takes no path"]),
        ("memory://?max_size=1#top", &["takes no fragment", "%23"]),
        ("memory://#top", &["takes no fragment"]),
    ]);
}

#[test]
fn a_url_parameter_is_given_once_and_decodes() {
    refuses(&[
        ("memory://?max_size=1&max_size=1", &["given twice: \"max_size\" and"]),
        ("memory://?max_size=1&max%5fsize=2", &["given twice: \"max_size\" and"]),
        ("memory://?ttl_jitter=10%", &["parameter \"ttl_jitter\"", "`%25`"]),
        ("memory://?key_prefix=%f", &["parameter \"key_prefix\"", "hexadecimal"]),
        ("memory://?key_prefix=%zz", &["hexadecimal"]),
        ("memory://?key_prefix=%+1", &["hexadecimal"]),
        ("memory://?key_prefix=%é", &["hexadecimal"]),
        ("memory://?key_prefix=%FF", &["UTF-8"]),
        ("memory://?%=1", &["hexadecimal"]),
        ("memory://?=1", &["option \"\" is unknown"]),
        ("memory://?key_prefix=a+b", &["\"a+b\""]),
    ]);
}

#[test]
fn an_unknown_scheme_names_its_nearest() {
    refuses(&[
        ("memroy://", &["\"memroy\"", "did you mean memory?"]),
        ("redis+cluser://h", &["did you mean redis+cluster?"]),
        ("postgres://h", &["a URL starts with `memory://`, `redis://`, `rediss://`, `valkey://`"]),
        ("{backend: redis, redis: {url: 'http://h'}}", &["\"http\" is unknown; a URL starts with `memory://`"]),
    ]);
    assert!(!refusal("postgres://h").message().contains("did you mean"));
}

#[test]
fn valkey_is_a_name_of_redis_in_every_scheme() {
    for rest in ["://h:1/2?pool_size=3", "+cluster://h:1,h:2", "+sentinel://u:p@h:1/name/3"] {
        assert_eq!(read(&format!("valkey{rest}")), read(&format!("redis{rest}")), "{rest}");
        assert_eq!(read(&format!("valkeys{rest}")), read(&format!("rediss{rest}")), "{rest}");
    }
    assert_eq!(read("valkey+unix:///a/socket"), read("redis+unix:///a/socket"));
    assert_eq!(read("{backend: redis, redis: {url: 'valkey://h:5'}}"), read("redis://h:5"));
    assert_eq!(read("{backend: redis, fallback: 'valkey://h:5'}"), read("{backend: redis, fallback: 'redis://h:5'}"));
    let set = variables(&[("REDIS_URL", "valkeys://user:c4n4ry@h:7")]);
    let config = Config::from_variables(&set).unwrap();
    let BackendConfig::Redis(redis) = &config.backend else { panic!() };
    assert!(redis.tls.is_some() && redis.password.is_some());
    assert!(!format!("{config:?}").contains("c4n4ry"));
}

#[test]
fn a_text_is_a_url_only_when_it_starts_as_one() {
    for text in ["1memory://", "://x", "{a://b: c}", "mem ory://", "é://"] {
        assert!(!refusal(text).message().contains("URL scheme"), "{text}");
    }
}

// Secrets.

#[test]
fn no_message_repeats_a_password() {
    let file = Scratch::new("canary.yaml", format!("redis://u:{CANARY}@h").as_bytes());
    assert!(!file_refusal(&file.0, None).message().contains(CANARY));
    let url = format!("redis://u:{CANARY}@h");
    assert!(!file_refusal(Path::new(&url), Some(&url)).message().contains(CANARY));
    for name in ["YOKEDCACHE_URL", "YOKEDCACHE_CONFIG", "YOKEDCACHE_KEY_PREFIX", "ENVIRONMENT", "REDIS_URL"] {
        let set = [(name, url.as_str())];
        for result in [Config::from_variables(&variables(&set)), Config::from_text(ENVIRONMENTS, &variables(&set))] {
            assert!(!said(result).contains(CANARY), "{name}");
        }
    }
    for pattern in [
        "redis://u:{}@h",
        "rediss://:{}@h:1/0?x=1#y",
        "memory://u:{}@h",
        "memory://u:{}?@h",
        "memory://u:a/{}@h",
        "memory://u:{}#@h?max_size=%",
        "http://u:{}@h",
        "memroy://u:{}@h",
        "//u:{}@h",
        "redis:/u:{}@h",
        "redis:u:{}@h",
        "u:{}@h",
        "{redis://u:{}@h}",
        "{backend: memory, 'redis://u:{}@h': 1}",
        "redis://u:{}@h: {}",
        "{backend: memory, memory: {max_size: 'redis://u:{}@h'}}",
        "backend: redis://u:{}@h",
        "{a: {'redis://u:{}@h': 1, 'redis://u:{}@h': 2}}",
        "cache: {'redis://u:{}@h': 1}",
        "? redis://u:{}@h",
        "backend: redis\nredis: {password: '{}'",
        "backend: redis\nredis: {password: !x '{}'}",
        "redis: *{}",
        "{backend: redis, redis: {password: !{}}}",
        "redis: !{} x",
        "!{}",
        "redis: &{}",
        "redis: @{}",
        "redis: `{}",
        "redis: %{}",
        "backend: redis\n redis:\n  password: {}\n",
        "backend: redis\nredis: {password: \"\\q{}\"}",
        "x: |\n{}\n y",
        "rediss://u:{}@h:0",
        "rediss://u:{}@h/x",
        "redis://u:{}@h?pool_size=x",
        "redis://u:{}@h?pool_sise=1",
        "redis://u:{}",
        "redis://u:{}@",
        "redis://{}@h",
        "redis://h/{}",
        "redis://h:{}",
        "redis://u:a/{}@h",
        "redis://u:a?{}@h",
        "redis://u:a?db={}@h",
        "redis://u:a#{}@h",
        "redis://u:a@{}@h",
        "redis://u:{} @h",
        "redis://u:{}%@h",
        "redis://h?password={}&password={}",
        "redis://u:{}@h?password=other",
        "redis+cluster://u:{}@a,u:{}@b",
        "redis+sentinel://u:{}@a",
        "redis+sentinel://a/m?sentinel_username=u&sentinel_password={}&db=x",
        "unix://u:{}@h/s",
        "memcached://u:{}@h/0",
        "memcached://:{}@h",
        "memcached://u:{}@h?weights={}",
        "{backend: redis, redis: {url: 'redis://u:{}@h', port: 1}}",
        "{backend: redis, redis: {url: 'redis://u:{}@h', password: x}}",
        "{backend: redis, redis: {url: 'redis://h', password: '{}', db: x}}",
        "{backend: redis, redis: {url: 'u:{}@h'}}",
        "{backend: redis, redis: {url: '{}'}}",
        "{backend: redis, redis: {host: 'u:{}@h'}}",
        "{backend: redis, redis: {host: 'redis://u:{}@h'}}",
        "{backend: redis, redis: {port: 'u:{}@h'}}",
        "{backend: redis, redis: {socket_path: 'u:{}@h', host: h}}",
        "{backend: redis, redis: {password: ['{}']}}",
        "{backend: redis, redis: {password: {'a': '{}'}}}",
        "{backend: redis, redis: {password: \"{}\\0\"}}",
        "{backend: redis, redis: {password: '{}', redis_password: x}}",
        "{backend: redis, redis: {password:\"{}\"}}",
        "{backend: redis, redis: {password={}: 1}}",
        "{backend: redis, redis: {password: '${{}}'}}",
        "{backend: redis, redis: {password: '{}', username: 5}}",
        "{backend: redis, redis: {cluster: true, nodes: ['u:{}@h']}}",
        "{backend: redis, redis: {cluster: true, nodes: 'redis://u:{}@h'}}",
        "{backend: redis, redis: {sentinels: h, sentinel_password: '{}'}}",
        "{backend: redis, redis: {sentinels: h, sentinel_master: m, sentinel_password: '{}'}}",
        "{backend: redis, redis: {connection_pool_kwargs: {password: '{}', x: 1}}}",
        "{backend: redis, redis: {connection_pool_kwargs: '{}'}}",
        "{backend: memcached, memcached: {username: u, password: '{}', servers: []}}",
        "{backend: memcached, memcached: {username: u, password: '{}'}}",
        "{backend: memcached, memcached: {servers: ['u:{}@h']}}",
        "{backend: memcached, memcached: {servers: [[{}, {}]]}}",
        "{backend: memcached, memcached: {behaviors: '{}'}}",
    ] {
        let said = said(Config::from_text(&pattern.replace("{}", CANARY), &none));
        assert!(!said.contains(CANARY), "{pattern}: {said}");
    }
}

#[test]
fn no_broken_document_repeats_its_password() {
    for document in [
        "cache:\n  development:\n    backend: redis\n    redis: {password: \"{}\", db: 1}\n",
        "backend: redis\nredis: {url: 'rediss://u:{}@h:1/0', pool_size: 3}\n",
        "backend: memcached\nmemcached:\n  password: {}\n  username: u\n  servers: ['a:1 2', b]\n",
        "redis+sentinel://u:{}@a:1,b/m/0?sentinel_password={}&pool_size=3",
    ] {
        let document = document.replace("{}", CANARY);
        for at in 0..document.len() {
            check_broken_at(&document, at);
        }
    }
}

fn check_broken_at(document: &str, at: usize) {
    for wrong in [
        "", "\n", "\t", "{", "]", ":", ": ", "\"", "'", "&a ", "*a ", "!x ", "%", "- ", "? ", "| ", "---\n", "@", "/",
        "#", "?", "//", "://", "&", "=", ",", "0", "${", " ",
    ] {
        let broken = format!("{}{wrong}{}", &document[..at], &document[at..]);
        for text in [&broken, &broken[..at + wrong.len()]] {
            let said = said(Config::from_text(text, &none));
            assert!(!said.contains(CANARY), "{text}\n{said}");
        }
    }
}

// Files.

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let directory = std::env::temp_dir();
    for (path, reason) in [(Path::new("/no/such/file.yaml"), "No such file"), (&directory, "directory")] {
        let shown = path.display().to_string();
        assert_says(&file_refusal(path, None), ErrorKind::Config, &["cannot read", &shown, reason], &shown);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_the_place() {
    let file = Scratch::new("latin1.yaml", b"backend: m\xe9mory");
    assert_says(&file_refusal(&file.0, None), ErrorKind::Config, &["latin1.yaml: not UTF-8 text at byte 10"], "latin1");
}

#[test]
fn a_text_over_256_kib_is_refused_before_parsing() {
    let fits = format!("backend: memory{}", "\n".repeat(256 * 1024 - 15));
    read(&fits);
    let longer = format!("{fits}\n");
    let url = format!("memory://?max_size={}", "1".repeat(256 * 1024));
    refuses(&[(&longer, &["256 KiB"]), (&url, &["256 KiB"])]);
    let file = Scratch::new("long.yaml", longer.as_bytes());
    assert_says(&file_refusal(&file.0, None), ErrorKind::Config, &["long.yaml: ", "256 KiB"], "file");
    let cut_inside_a_letter = Scratch::new("letters.yaml", format!("#{}", "é".repeat(200_000)).as_bytes());
    assert_says(&file_refusal(&cut_inside_a_letter.0, None), ErrorKind::Config, &["256 KiB"], "letters");
    assert_says(&file_refusal(Path::new("/dev/zero"), None), ErrorKind::Config, &["/dev/zero: ", "256 KiB"], "endless");
}

// The parser.

#[test]
fn what_is_not_yaml_is_refused_with_line_and_column() {
    refuses(&[
        ("backend: memory\nmemory: {max_size: 1", &["cannot be read as YAML or JSON", "line 2"]),
        ("{\"backend\": \"memory\",\n \"memory\": {\"max_size\": 1]}", &["mismatched bracket"]),
        ("backend: memory\nbackend: memory", &["given twice", "line 2, column 1"]),
        ("{backend: memory, memory: {max_size: 1, max_size: 2}}", &["given twice", "line 1, column 41"]),
        ("cache: {a: {x: 1, x: 2}, development: {backend: memory}}", &["given twice"]),
        ("backend: memory\n---\nbackend: memory", &["only single YAML document", "line 3"]),
        ("backend: memory\n...\nbackend: memory", &["document"]),
        ("backend: *unknown", &["unknown value", "line 1"]),
        ("backend: !secret memory", &["tag"]),
        ("? [backend]\n: memory", &["line 1"]),
        ("backend: memory\n\tmemory: {}", &["tab", "line 1, column 10"]),
    ]);
}

#[test]
fn anchors_aliases_and_merge_keys_work_within_the_budget() {
    let text = "cache:\n  base: &base {backend: memory, memory: &options {max_size: 5}}\n  development: *base\n  \
                other:\n    <<: *base\n    memory:\n      <<: *options\n      max_bytes: 7\n";
    assert_eq!(memory(text).max_size, 5);
    let merged = memory_of(Config::from_text(text, &variables(&[("ENVIRONMENT", "other")])).unwrap());
    assert_eq!((merged.max_size, merged.max_bytes), (5, 7));
}

fn bombs() -> Vec<(&'static str, String)> {
    let laughs: String = (1..10)
        .map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(",")))
        .collect();
    let maps: String =
        (1..10).map(|level| format!("a{level}: &a{level} {{x: *a{0}, y: *a{0}, z: *a{0}}}\n", level - 1)).collect();
    let merges: String =
        (1..60).map(|level| format!("a{level}: &a{level} {{<<: [*a{0}, *a{0}], k{level}: 1}}\n", level - 1)).collect();
    let chain: String = (1..9_000).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
    let nested_anchors = format!("x: {}1{}", (0..60).map(|n| format!("&a{n} [")).collect::<String>(), "]".repeat(60));
    let many_anchors: String = (0..15_000).map(|n| format!("a{n}: &a{n} 1\n")).collect();
    let aliases: String = format!("a: &a {{x: 1}}\nb: [{}]", "*a,".repeat(80_000));
    let big_alias = format!("a: &a {}\nb: [{}]", "x".repeat(200_000), "*a,".repeat(10_000));
    let keys: String = (0..25_000).map(|n| format!("k{n}: 1\n")).collect();
    vec![
        ("billion laughs", format!("a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol,lol]\n{laughs}")),
        ("billion laughs in maps", format!("a0: &a0 {{k: v}}\n{maps}")),
        ("merge keys doubling", format!("a0: &a0 {{k: v}}\n{merges}")),
        ("a long chain of aliases", format!("a0: &a0 1\n{chain}")),
        ("deep flow lists", "[".repeat(260_000)),
        ("deep flow maps", "{a: ".repeat(60_000)),
        ("deep flow maps without values", "{".repeat(260_000)),
        ("deep block lists", "- ".repeat(130_000)),
        ("deep block maps", (0..700).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("deep complex keys", "? ".repeat(130_000)),
        ("nested anchors", nested_anchors),
        ("many anchors", many_anchors),
        ("many aliases", aliases),
        ("a huge scalar, aliased", big_alias),
        ("a huge scalar", "x".repeat(260_000)),
        ("a huge quoted scalar", format!("\"{}\"", "\\u0041".repeat(40_000))),
        ("a huge folded scalar", format!("a: >\n{}", " x\n\n".repeat(60_000))),
        ("a huge plain scalar of lines", format!("a:\n{}", " x\n".repeat(80_000))),
        ("a huge name", format!("{}: 1", "k".repeat(250_000))),
        ("a huge quoted name", format!("\"{}\": 1", "k".repeat(250_000))),
        ("a huge number", format!("{{backend: memory, memory: {{max_size: {}}}}}", "9".repeat(250_000))),
        ("many keys", keys),
        ("many flow keys", format!("{{{}}}", (0..30_000).map(|n| format!("k{n},")).collect::<String>())),
        ("many duplicate keys in lists", format!("[{}]", "{a: 1, b: 2},".repeat(18_000))),
        ("many documents", "---\n".repeat(64_000)),
        ("many comments", format!("{}backend: nonsense", "#\n".repeat(100_000))),
        ("one long comment", format!("# {}\nbackend: nonsense", "x".repeat(250_000))),
        ("many tags", "!a ".repeat(80_000)),
        ("many directives", "%FOO bar\n".repeat(28_000)),
        ("many question marks", "?\n".repeat(130_000)),
        ("many colons", ":".repeat(260_000)),
        ("many colon lines", ":\n".repeat(130_000)),
        ("many commas", format!("[{}", ",".repeat(260_000))),
        ("unclosed quotes", format!("a: \"{}", "b\n ".repeat(80_000))),
        ("many quoted lists", format!("[{}", "\"\",".repeat(80_000))),
        ("spaces", format!("a:{}b: c", " ".repeat(250_000))),
        ("tabs", format!("a:{}b: c", "\t".repeat(250_000))),
        ("many parameters", format!("memory://?{}", (0..35_000).map(|n| format!("k{n}&")).collect::<String>())),
        ("many repeated parameters", format!("memory://?{}", "max_size&".repeat(28_000))),
        ("many servers", format!("memcached://{}", "a,".repeat(125_000))),
        ("many at signs", format!("redis://{}", "@".repeat(250_000))),
        ("many brackets", format!("redis+cluster://{}", "[".repeat(250_000))),
        ("many references", format!("a: '{}'", "${A}".repeat(60_000))),
        ("many nodes", format!("{{backend: redis, redis: {{cluster: true, nodes: [{}]}}}}", "a,".repeat(9_000))),
        ("many percents", format!("memory://?key_prefix={}", "%41".repeat(80_000))),
    ]
}

#[test]
fn bombs_are_refused() {
    let mut slowest = Duration::ZERO;
    for (name, bomb) in bombs() {
        assert!(bomb.len() <= MAX_TEXT_BYTES, "{name} is {} bytes", bomb.len());
        let start = Instant::now();
        let error = Config::from_text(&bomb, &none).expect_err(name);
        let time = start.elapsed();
        slowest = slowest.max(time);
        println!("{time:>12.3?}  {name}: {}", error.message());
        assert!(error.message().len() < 600, "{name}");
    }
    println!("{slowest:>12.3?}  slowest");
}

/// Each of these would be accepted without limits: its environment is not the chosen one.
#[test]
fn a_bomb_beside_a_good_environment_is_refused() {
    let laughs = (1..5).fold("a: &a0 [1,1,1,1,1,1,1,1,1,1]".to_owned(), |text, level| {
        format!("{text}, a{level}: &a{level} [{}]", vec![format!("*a{}", level - 1); 10].join(","))
    });
    for (name, bomb) in [
        ("laughs", laughs),
        ("depth", format!("a: {}{}", "[".repeat(11), "]".repeat(11))),
        ("nodes", format!("a: [{}]", "1,".repeat(11_000))),
        ("anchors", format!("a: [{}]", (0..101).map(|n| format!("&a{n} 1,")).collect::<String>())),
        ("aliases", format!("a: &a 1, b: [{}]", "*a,".repeat(101))),
        ("merges", (0..101).map(|n| format!("a{n}: {{<<: {{x: 1}}}},")).collect()),
        ("scalars", format!("a: &a {}, b: [{}]", "x".repeat(100_000), "*a,".repeat(90))),
    ] {
        let error = refusal(&format!("cache: {{development: {{backend: memory}}, bomb: {{{bomb}}}}}"));
        let limited =
            error.message().contains("too large or too complex") || error.message().contains("recursion limit");
        assert!(limited, "{name}: {}", error.message());
    }
}

/// Go and C++ hosts call from threads with stacks as small as this.
#[test]
fn a_small_stack_is_enough() {
    let on_small_stack = |text: String| {
        let read = move || Config::from_text(&text, &none).map_err(|error| error.message().to_owned());
        std::thread::Builder::new().stack_size(64 * 1024).spawn(read).unwrap().join().unwrap()
    };
    for (name, bomb) in bombs() {
        on_small_stack(bomb).expect_err(name);
    }
    let deepest = format!("{{backend: memory, memory: {{max_size: {}{}}}}}", "[".repeat(8), "]".repeat(8));
    assert!(on_small_stack(deepest).unwrap_err().contains("a list"));
}

// Anything at all.

fn always_returns(text: &str) {
    let set = [
        ("ENVIRONMENT", "production"),
        ("YOKEDCACHE_DEFAULT_TTL", text),
        ("YOKEDCACHE_URL", text),
        ("REDIS_URL", text),
    ];
    for result in [
        Config::from_text(text, &none),
        Config::from_text("memory://", &variables(&set)),
        Config::from_text("backend: redis", &variables(&set)),
        Config::from_variables(&variables(&set)),
    ] {
        match result {
            Ok(config) => assert!((1..=64).contains(&config.key_prefix.len())),
            Err(error) => assert!(!error.message().is_empty() && error.message().len() < 2_000),
        }
    }
}

/// Replaces the bytes around a place with others, keeping the text UTF-8.
fn mutated(text: &str, edits: &[(prop::sample::Index, usize, String)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (index, length, replacement) in edits {
        let at = index.index(letters.len() + 1);
        let end = (at + length).min(letters.len());
        letters.splice(at..end, replacement.chars());
    }
    letters.into_iter().collect()
}

const SEEDS: [&str; 9] = [
    ENVIRONMENTS,
    "{\"backend\": \"memory\", \"memory\": {\"max_size\": 10, \"default_ttl\": 0.25, \"ttl_jitter\": \"10%\"}}",
    "backend: memory\nmemory:\n  max_bytes: 64MiB\n  cleanup_interval: 250ms\n  key_prefix: 'app'\n",
    "cache:\n  base: &b {backend: memory}\n  production:\n    <<: *b\n    memory: {max_size: !!int '5'}\n",
    "memory://?max_size=10&key_prefix=%41pp&default_ttl=5m&max_value_bytes=1MiB",
    "{backend: redis, redis: {url: 'rediss://u:p@h:1/0', db: 0, ssl_cert_reqs: none, connection_pool_kwargs: {socket_keepalive_options: {TCP_KEEPIDLE: 1}}}}",
    "{backend: memcached, memcached: {servers: [['h:1', 3], 'g 2', '[::1]:5', /s], behaviors: {ketama: true}, password: '${P}'}}",
    "redis+sentinel://u:p%40@a:1,[::1]:2/m/0?sentinel_password=q&replica_reads=true&pool_size=4",
    "memcached://u:p@a:1,b?weights=3,1&distribution=ketama&failover=eject",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-{}\\[\\]:,&*!|>?%@#'\"\n\t ~.]{0,3}",
        "[0-9]{0,25}",
        "(-?1e-?[0-9]{1,4}|\\.nan|\\.inf|-0\\.0|0x[0-9a-f]{1,20}|[0-9]{1,5}(ms|s|m|h|d|MiB|kb|%)?)",
        "(backend|memory|redis|cache|max_size|default_ttl|<<|---|\\.\\.\\.|null|true)(: )?",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_configuration_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        always_returns(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mutated_document_gives_a_configuration_or_an_error(
        seed in prop::sample::select(&SEEDS),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, piece()), 1..6),
    ) {
        always_returns(&mutated(seed, &edits));
    }

    #[test]
    fn any_url_gives_a_configuration_or_an_error(
        url in "(memory|redis|memcached|[a-z+]{1,9})://[a-z:@/.#0-9]{0,8}\\?((max_size|key_prefix|default_ttl|ttl_jitter|[a-z%_]{0,9})=?([0-9a-zA-Z.+-]|%[0-9a-fg]{1,2}|\\PC){0,9}&?){0,4}",
    ) {
        always_returns(&url);
    }

    #[test]
    fn any_time_written_in_whole_milliseconds_is_read_back(milliseconds in 0..=315_360_000_000_u64) {
        let text = format!("memory://?default_ttl={milliseconds}ms&cleanup_interval={}", milliseconds as f64 / 1000.0);
        let config = Config::from_text(&text, &none).unwrap();
        prop_assert_eq!(config.default_ttl, Duration::from_millis(milliseconds));
        let memory = memory_of(config);
        prop_assert_eq!(memory.cleanup_interval, Duration::from_millis(milliseconds));
    }
}
