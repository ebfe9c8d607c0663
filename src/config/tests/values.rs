//! Tests the values of options: times, sizes, counts and prefixes, and the notes about probable mistakes.

use super::*;

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
