//! Tests the section `memcached` and the URLs of Memcached.

use super::*;

fn memcached(text: &str) -> MemcachedConfig {
    match read(text).backend {
        BackendConfig::Memcached(memcached) => memcached,
        other => panic!("{text}: {other:?}"),
    }
}

fn section(options: &str) -> String {
    format!("{{backend: memcached, memcached: {{{options}}}}}")
}

/// Servers as `address=weight`.
fn servers(text: &str) -> Vec<String> {
    memcached(text).servers.iter().map(|server| format!("{}={}", server.address, server.weight)).collect()
}

#[test]
fn a_memcached_alone_takes_every_default() {
    let all = memcached("backend: memcached");
    assert_eq!(servers("backend: memcached"), ["localhost:11211=1"]);
    assert_eq!(
        (all.distribution, all.hash, all.failover),
        (Distribution::KetamaWeighted, KeyHash::Md5, Failover::None)
    );
    assert_eq!(
        (all.binary, all.username.is_none(), all.password.is_none(), all.tls.is_none()),
        (false, true, true, true)
    );
    let BackendConfig::Redis(redis) = read("backend: redis").backend else { panic!() };
    assert_eq!(all.connection, redis.connection);
    for same in ["memcached://localhost", "memcached://localhost:11211/", "{backend: memcached, memcached: {}}"] {
        assert_eq!(memcached(same), all, "{same}");
    }
}

#[test]
fn redis_servers_carry_its_channels() {
    let given = "redis://:secret@events.example.com:6380?raw_channels=true";
    let map = "{backend: redis, redis: {host: events.example.com, port: 6380, password: secret, raw_channels: true}}";
    let in_url = "memcached://h?events=redis%3A%2F%2F%3Asecret%40events.example.com%3A6380%3Fraw_channels%3Dtrue";
    for text in [
        section(&format!("servers: h, events: '{given}'")),
        section(&format!("servers: h, events: {map}")),
        in_url.into(),
    ] {
        let events = memcached(&text).events.unwrap();
        assert!(events.raw_channels, "{text}");
        let RedisTopology::Single(address) = &events.topology else { panic!("{text}") };
        assert_eq!(address.to_string(), "events.example.com:6380");
        let summary = super::read(&text).summary().to_string();
        assert!(summary.contains("events.example.com:6380") && !summary.contains("secret"), "{summary}");
    }
    assert!(memcached(&section("events: null")).events.is_none());
}

#[test]
fn servers_that_cannot_carry_channels_are_refused() {
    for (text, part) in [
        (section("events: memory"), "Redis servers"),
        (section("events: 'memcached://h'"), "Redis servers"),
        (section("events: 7"), "Redis servers"),
        (section("events: 'redis://h?fallback=memory'"), "Redis servers"),
        (section("events: 'redis://h?port=0'"), "port"),
        ("redis://h?events=redis%3A%2F%2Fi".to_owned(), "true"),
        ("memory://?events=redis%3A%2F%2Fi".to_owned(), "for redis and memcached"),
    ] {
        let message = refusal(&text).message().to_owned();
        assert!(message.contains("events") && message.contains(part), "{text}: {message}");
    }
}

#[test]
fn the_example_of_a_legacy_environment_is_read() {
    let text = section(
        "servers: [\"cache1.example.com:11211 3\", \"cache2.example.com:11211 1\"], \
         behaviors: { ketama: true, tcp_nodelay: true }, key_prefix: app",
    );
    assert_eq!(servers(&text), ["cache1.example.com:11211=3", "cache2.example.com:11211=1"]);
    let read = memcached(&text);
    assert_eq!(
        (read.distribution, read.hash, read.connection.nodelay),
        (Distribution::KetamaWeighted, KeyHash::Default, true)
    );
    assert_eq!(super::read(&text).key_prefix, "app");
}

#[test]
fn servers_are_written_in_many_ways() {
    for (given, expected) in [
        ("h", &["h:11211=1"][..]),
        ("'h:1'", &["h:1=1"]),
        ("'h:1 2'", &["h:1=2"]),
        ("'h  2'", &["h:11211=2"]),
        ("'a, b:2 ,c 3'", &["a:11211=1", "b:2=1", "c:11211=3"]),
        ("[a, 'b:2']", &["a:11211=1", "b:2=1"]),
        ("['[::1]:5 7', '[::2]']", &["[::1]:5=7", "[::2]:11211=1"]),
        ("[/tmp/m.sock, '/tmp/n.sock 2']", &["/tmp/m.sock=1", "/tmp/n.sock=2"]),
        ("[['h:1', 3], [g, '2'], ['/a b,c', 1]]", &["h:1=3", "g:11211=2", "/a b,c=1"]),
        ("[/A, /a]", &["/A=1", "/a=1"]),
        (
            "[['h:11211', 11212], 'g:1 2048', [/s, 4096], '/t 4096']",
            &["h:11211=11212", "g:1=2048", "/s=4096", "/t=4096"],
        ),
        ("[[a, 1023], [b, 65536]]", &["a:11211=1023", "b:11211=65536"]),
    ] {
        assert_eq!(servers(&section(&format!("servers: {given}"))), expected, "{given}");
    }
    for (url, expected) in [
        ("memcached://a,b:2", &["a:11211=1", "b:2=1"][..]),
        ("memcached://a,b:2?weights=3,1", &["a:11211=3", "b:2=1"]),
        ("memcached+unix:///a%20b,c", &["/a b,c=1"]),
        ("memcached://[::1]:5,[::2]/", &["[::1]:5=1", "[::2]:11211=1"]),
    ] {
        assert_eq!(servers(url), expected, "{url}");
    }
    assert_eq!(servers(&section("servers: [a, b], weights: [2, '3']")), ["a:11211=2", "b:11211=3"]);
    assert_eq!(servers(&section("url: 'memcached://a,b', weights: [2, 1]")), ["a:11211=2", "b:11211=1"]);
}

#[test]
fn servers_that_are_none_are_refused_by_their_number() {
    for (given, wanted) in [
        ("[]", "the list is empty"),
        ("''", "entry 1: the host is empty"),
        ("'a,'", "entry 2: the host is empty"),
        ("[a, 'b 0']", "entry 2: the weight is not a whole number from 1 to 1000000"),
        ("['a -1']", "entry 1: the weight"),
        ("['a 1.5']", "entry 1: the weight"),
        ("['a 1000001']", "entry 1: the weight"),
        ("['a b']", "entry 1: the weight"),
        ("[[a, 0]]", "entry 1: the weight"),
        ("[[a, -2]]", "entry 1: the weight"),
        ("[[a, []]]", "entry 1: the weight"),
        ("[[a, 11212]]", "entry 1: the weight looks like a port: write `host:port`, or `host:port weight`"),
        ("[b, [a, '11211']]", "entry 2: the weight looks like a port"),
        ("'a 11211'", "entry 1: the weight looks like a port"),
        ("[['[::1]', 1024]]", "entry 1: the weight looks like a port"),
        ("[[a, 65535]]", "entry 1: the weight looks like a port"),
        ("[[a]]", "entry 1: a list inside the list is [server, weight]"),
        ("[[a, 1, 2]]", "entry 1: a list inside"),
        ("[a, 3]", "entry 2: not a text"),
        ("11211", "entry 1: not a text"),
        ("['a:11211:3']", "entry 1: the port"),
        ("['a:0']", "entry 1: the port is not a number from 1 to 65535"),
        ("['a:99999']", "entry 1: the port"),
        ("['a:']", "entry 1: the port"),
        ("[':11211']", "entry 1: the host is empty"),
        ("['::1']", "entry 1: an IPv6 address stands in brackets"),
        ("['fe80::1:5:x']", "entry 1: the port"),
        ("['ä']", "entry 1: not a host name"),
        ("[\"a\\0\"]", "entry 1: not a host name"),
        ("[\"/a\\0\"]", "entry 1: a path holds no NUL"),
        ("[a, b, 'A:11211 2']", "entries 1 and 3 are the same server"),
        ("{a: 1}", "a map is not accepted"),
        ("true", "the boolean true"),
    ] {
        let error = refusal(&section(&format!("servers: {given}")));
        assert_says(&error, ErrorKind::Config, &["option \"servers\" (line 1", wanted], given);
    }
    let many = vec!["a"; 1001].join(",");
    refuses(&[(&section(&format!("servers: [{many}]")), &["more than the 1000 entries"])]);
}

#[test]
fn weights_stand_in_one_place_and_count_the_servers() {
    refuses(&[
        (&section("servers: ['a 2', b], weights: [1, 2]"), &["`servers`", "`weights`", "one of them"]),
        (&section("servers: [a, b], weights: [1]"), &["`weights` has 1 entries for 2 servers"]),
        (&section("servers: [a, b], weights: [1, 0]"), &["\"weights\"", "entry 2: the weight"]),
        ("memcached://a,b?weights=1,x", &["\"weights\"", "entry 2"]),
        (&section("servers: [a, b], weights: [1, 2], distribution: modula"), &["modula knows no weights"]),
    ]);
    memcached(&section("servers: [a, b], weights: [1, 1], distribution: modula"));
    memcached(&section("servers: a, weights: 3"));
}

#[test]
fn distribution_and_hash_are_libmemcacheds() {
    use Distribution::{Ketama, KetamaWeighted, Modula};
    for (options, distribution, hash) in [
        ("", KetamaWeighted, KeyHash::Md5),
        ("hash: default", KetamaWeighted, KeyHash::Default),
        ("behaviors: {ketama: true}", Ketama, KeyHash::Default),
        ("behaviors: {ketama: 1, hash: MD5}", Ketama, KeyHash::Md5),
        ("behaviors: {ketama: true, ketama_weighted: true}", KetamaWeighted, KeyHash::Md5),
        ("behaviors: {ketama_weighted: true}", KetamaWeighted, KeyHash::Md5),
        ("behaviors: {ketama_weighted: false}", Ketama, KeyHash::Default),
        ("behaviors: {ketama: false}", Modula, KeyHash::Default),
        ("behaviors: {distribution: modula}", Modula, KeyHash::Default),
        ("distribution: ketama", Ketama, KeyHash::Default),
        ("distribution: ketama_weighted, ketama: true", KetamaWeighted, KeyHash::Md5),
        ("distribution: ketama, servers: [a 2, b]", KetamaWeighted, KeyHash::Default),
        ("distribution: ketama, servers: [a 1, b]", Ketama, KeyHash::Default),
    ] {
        let read = memcached(&section(options));
        assert_eq!((read.distribution, read.hash), (distribution, hash), "{options}");
    }
    assert_eq!(memcached("memcached://a?distribution=modula&hash=md5").hash, KeyHash::Md5);
    for options in [
        "ketama: true, distribution: modula",
        "ketama: false, distribution: ketama",
        "ketama_weighted: true, distribution: ketama",
        "ketama_weighted: false, distribution: ketama_weighted",
        "ketama: false, ketama_weighted: true",
    ] {
        assert_says(&refusal(&section(options)), ErrorKind::Config, &["contradict"], options);
    }
}

#[test]
fn behaviors_that_there_are_not_are_refused_with_those_there_are() {
    for (behavior, wanted) in [
        ("distribution: random", ["\"random\"", "`ketama_weighted`, `ketama` or `modula`"].as_slice()),
        ("distribution: virtual bucket", &["`ketama_weighted`, `ketama` or `modula`"]),
        ("hash: murmur", &["\"murmur\"", "`md5` or `default`"]),
        ("ketama_wieghted: true", &["\"ketama_wieghted\"", "did you mean ketama_weighted?"]),
        ("tcp_no_delay: true", &["did you mean tcp_nodelay?"]),
        ("connect_timeout: 200", &["\"connect_timeout\"", "unknown", "it takes ketama, ketama_weighted"]),
        ("no_block: true", &["in \"behaviors\" (line 1", "\"no_block\"", "unknown"]),
        ("servers: [a]", &["\"servers\"", "unknown"]),
        ("ketama: maybe", &["\"ketama\"", "`true` or `false`"]),
    ] {
        let error = refusal(&section(&format!("behaviors: {{{behavior}}}")));
        assert_says(&error, ErrorKind::Config, wanted, behavior);
    }
    refuses(&[
        (&section("behaviors: {hash: md5}, hash: md5"), &["given twice"]),
        (&section("behaviors: [ketama]"), &["\"behaviors\"", "a map"]),
    ]);
}

#[test]
fn every_option_reaches_its_field() {
    let options = "servers: h, failover: eject, binary: true, username: u, password: p, ssl: true, ssl_ca_certs: /ca, \
                   tcp_nodelay: false, pool_size: 4, socket_timeout: 5";
    let read = memcached(&section(options));
    assert_eq!((read.failover, read.binary, read.connection.nodelay), (Failover::Eject, true, false));
    assert_eq!((read.username.as_deref(), read.password.as_ref().map(Secret::expose)), (Some("u"), Some("p")));
    assert_eq!(read.tls.as_ref().and_then(|tls| tls.ca_file.as_deref()), Some(Path::new("/ca")));
    assert_eq!((read.connection.pool_size, read.connection.timeout), (4, Duration::from_secs(5)));
    let url = "memcacheds://u:p@h?failover=eject&binary=true&ssl_ca_certs=/ca&tcp_nodelay=0&pool_size=4&timeout=5s";
    assert_eq!(memcached(url), read);
    let read = memcached(&section("servers: h, username: u, password_file: /run/p"));
    assert_eq!(read.password_file.as_deref(), Some(Path::new("/run/p")));
    assert_eq!(memcached("memcached://u@h?password_file=/run/p"), read);
}

#[test]
fn a_list_of_servers_is_discovered_from_one_endpoint() {
    let read = memcached("memcached://h?discovery=config&discovery_interval=10s");
    assert_eq!((read.discovery, read.discovery_interval), (Discovery::Config, Duration::from_secs(10)));
    let usual = memcached("memcached://h");
    assert_eq!((usual.discovery, usual.discovery_interval), (Discovery::None, Duration::from_secs(60)));
    refuses(&[
        ("memcached://a,b?discovery=config", &["one server, the configuration endpoint"]),
        (&section("servers: [[a, 3]], discovery: config"), &["without a weight"]),
        (&section("servers: /s, discovery: config"), &["one server, the configuration endpoint"]),
        ("memcached://a?discovery=config&failover=eject", &["exclude each other"]),
    ]);
}

#[test]
fn what_does_not_go_together_is_refused() {
    refuses(&[
        (&section("username: u"), &["a username requires a password"]),
        (&section("password: p"), &["a password requires a username"]),
        (&section("password_file: /f"), &["a password requires a username"]),
        (&section("username: u, credentials: callback"), &["\"credentials\"", "\"username\"", "exclude"]),
        (&section("username: u, password: p, password_file: /f"), &["\"password\"", "\"password_file\"", "exclude"]),
        ("memcached://:p@h", &["a password requires a username"]),
        (&section("servers: /s, ssl: true"), &["socket has no TLS"]),
        (&section("servers: h, ssl_ca_certs: /ca"), &["\"ssl_ca_certs\"", "TLS, which is off"]),
        (&section("socket_path: /s"), &["\"socket_path\"", "unknown"]),
        (
            &section("url: 'memcached://a', servers: b"),
            &["\"servers\" (line 1", "\"servers\" (in the URL)", "contradict"],
        ),
        ("memcached://", &["\"servers\" (in the URL)"]),
        ("memcached://a,a", &["entries 1 and 2"]),
        ("memcached://a:11211:3", &["entry 1: the port"]),
        ("memcached://a/0", &["takes no path"]),
        ("memcached://a 3", &["a space"]),
        ("memcached://u:s/x@a", &["`@` too many"]),
        ("memcached+unix://a/b", &["has no host"]),
        ("memcached+unix://", &["\"servers\" (in the URL)", "entry 1"]),
        ("memcached://a#b", &["fragment"]),
    ]);
}

#[test]
fn the_variables_of_redis_do_not_count() {
    let set = [("REDIS_URL", "redis://h"), ("REDIS_POOL_SIZE", "many")];
    let read = Config::from_text("backend: memcached", &variables(&set)).unwrap();
    assert_eq!(read, super::read("backend: memcached"));
}
