//! Tests hostile documents: too long, broken, recursive, or random.

use std::time::Instant;

use proptest::prelude::*;

use super::*;

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
fn a_bomb_next_to_a_good_environment_is_refused() {
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
