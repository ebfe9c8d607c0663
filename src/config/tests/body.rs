//! Tests documents: their body, their environments, and the names in them.

use super::*;
use crate::credentials::Renewal;
use crate::operation::PatternMode;

fn loading() -> LoadingConfig {
    LoadingConfig {
        stale_for: Duration::ZERO,
        refresh_ahead: false,
        lease: Duration::from_secs(10),
        negative_ttl: Duration::from_secs(30),
    }
}

#[test]
fn a_backend_alone_takes_every_default() {
    let expected = Config {
        near: None,
        fallback: None,
        renewal: Renewal::default(),
        notes: Vec::new(),
        key_prefix: "yokedcache".to_owned(),
        default_ttl: Duration::from_secs(300),
        ttl_jitter: 10.0,
        generations: false,
        tag_names: false,
        patterns: PatternMode::Walk,
        max_value_bytes: 8 << 20,
        loading: loading(),
        backend: BackendConfig::Memory(MemoryConfig {
            max_size: 10_000,
            max_bytes: 0,
            cleanup_interval: Duration::from_secs(60),
            eviction: Eviction::Lru,
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
                max_bytes: 64MiB\n  max_value_bytes: 1kb\n  cleanup_interval: 250ms # often\n  eviction: s3fifo\n";
    let json = "{\n\t\"backend\": \"memory\",\n\t\"memory\": {\"max_size\": 10, \"key_prefix\": \"a.b_c\\u002dD9\",\n\t\
                \"default_ttl\": 7200, \"ttl_jitter\": \"2.5%\", \"max_bytes\": 67108864,\
                \"max_value_bytes\": \"1000\", \"cleanup_interval\": 0.25, \"eviction\": \"s3fifo\"}}";
    let url = "memory://?max_size=10&key_prefix=a.b%5fc%2DD9&default_ttl=120m&ttl_jitter=2.5%25&max_bytes=64MiB\
               &max_value_bytes=1000&cleanup_interval=0.25s&eviction=s3fifo";
    let expected = Config {
        near: None,
        fallback: None,
        renewal: Renewal::default(),
        notes: Vec::new(),
        key_prefix: "a.b_c-D9".to_owned(),
        default_ttl: Duration::from_secs(7200),
        ttl_jitter: 2.5,
        generations: false,
        tag_names: false,
        patterns: PatternMode::Walk,
        max_value_bytes: 1000,
        loading: loading(),
        backend: BackendConfig::Memory(MemoryConfig {
            max_size: 10,
            max_bytes: 64 << 20,
            cleanup_interval: Duration::from_millis(250),
            eviction: Eviction::S3Fifo,
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
fn the_refusal_of_an_option_outside_its_section_names_the_section() {
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
