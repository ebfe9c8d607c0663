//! Tests the sources of a configuration: documents, variables, URLs and files.

use super::*;

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
