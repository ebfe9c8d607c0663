//! Tests the section `redis` and the URLs of Redis.

use super::*;

fn redis(text: &str) -> RedisConfig {
    redis_with(text, &[])
}

fn redis_with(text: &str, set: &[(&str, &str)]) -> RedisConfig {
    match Config::from_text(text, &variables(set)).unwrap_or_else(|error| panic!("{text}: {error:?}")).backend {
        BackendConfig::Redis(redis) => redis,
        other => panic!("{text}: {other:?}"),
    }
}

fn section(options: &str) -> String {
    format!("{{backend: redis, redis: {{{options}}}}}")
}

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.to_owned(), port }
}

fn default() -> RedisConfig {
    RedisConfig {
        topology: RedisTopology::Single(tcp("localhost", 6379)),
        single_only: false,
        db: 0,
        username: None,
        password: None,
        password_file: None,
        tls: None,
        replica_reads: false,
        replicas: Vec::new(),
        availability_zone: None,
        tag_index: false,
        raw_channels: false,
        events: false,
        events_journal: 0,
        replay_window: Duration::from_secs(60),
        on_restart: OnRestart::Replay,
        invalidation_replicas: 0,
        connection: ConnectionConfig {
            pool_size: 2,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
            keepalive: Some(Keepalive { idle: Duration::from_secs(30), interval: Duration::from_secs(5), count: 3 }),
            retry_on_timeout: true,
            health_check_interval: Duration::from_secs(30),
            connect: Connect::Eager,
            max_pending: 1000,
            max_pending_bytes: 64 << 20,
            nodelay: true,
            renews_credentials: false,
        },
    }
}

fn tls() -> TlsConfig {
    TlsConfig {
        ca_file: None,
        ca_folder: None,
        server_name: None,
        cert_file: None,
        key_file: None,
        verify: Verify::Required,
        check_hostname: true,
    }
}

#[test]
fn a_redis_alone_takes_every_default() {
    for text in ["backend: redis", "{backend: redis, redis: {}}", "redis://localhost", "redis://localhost:6379/0"] {
        assert_eq!(redis(text), default(), "{text}");
    }
}

#[test]
fn a_cluster_that_is_ruled_out_is_refused_later() {
    assert!(redis("redis://localhost?cluster=false").single_only);
    assert!(redis("{backend: redis, redis: {cluster: false}}").single_only);
    let unsaid = redis("redis://localhost");
    assert!(!unsaid.single_only && matches!(unsaid.topology, RedisTopology::Single(_)));
    let cluster = redis("{backend: redis, redis: {cluster: true}}");
    assert!(!cluster.single_only && matches!(cluster.topology, RedisTopology::Cluster(_)));
}

#[test]
fn the_example_of_a_production_environment_is_read() {
    let text = "cache: {production: {backend: redis, redis: { url: \"rediss://user:secret@redis.example.com:6380/0\", \
                pool_size: 50, key_prefix: prod, ssl_ca_certs: /etc/ca.crt }}}";
    let config = Config::from_text(text, &variables(&[("ENVIRONMENT", "production")])).unwrap();
    assert_eq!(config.key_prefix, "prod");
    let expected = RedisConfig {
        topology: RedisTopology::Single(tcp("redis.example.com", 6380)),
        username: Some("user".to_owned()),
        password: Some(Secret::new("secret")),
        tls: Some(TlsConfig { ca_file: Some("/etc/ca.crt".into()), ..tls() }),
        connection: ConnectionConfig { pool_size: 50, ..default().connection },
        ..default()
    };
    assert_eq!(config.backend, BackendConfig::Redis(expected));
}

#[test]
fn options_and_a_url_say_the_same() {
    for (options, url) in [
        ("host: h, port: 1, db: 3", "redis://h:1/3"),
        ("host: '::1', port: 1", "redis://[::1]:1"),
        ("host: '[fe80::1]'", "redis://[fe80::1]"),
        ("host: h, username: u, password: p", "redis://u:p@h"),
        ("host: h, password: p", "REDIS://:p@h/"),
        ("host: h, username: 'ü@/', password: 'a:%b#?&'", "redis://%C3%BC%40%2F:a:%25b%23%3F&@h"),
        ("host: h, username: u, password_file: /run/p", "redis://u@h?password_file=/run/p"),
        ("host: h, ssl: true", "rediss://h"),
        ("host: h, tls: 'True'", "redis://h?ssl=1"),
        ("host: h, ssl: true, ssl_ca_path: /d, ssl_server_name: n", "rediss://h?ssl_ca_path=/d&ssl_server_name=n"),
        ("unix_socket_path: '/tmp/r 1.sock', db: 1", "redis+unix:///tmp/r%201.sock?db=1"),
        ("socket_path: /r.sock, username: u, password: p", "unix://u:p@/r.sock"),
        ("cluster: true, nodes: [a, 'b:7000']", "redis+cluster://a,b:7000"),
        ("cluster: 'true', nodes: 'a, b:7000', ssl: on", "rediss+cluster://a:6379,b:7000/0"),
        ("cluster: true, host: a", "redis+cluster://a"),
        ("sentinels: [a, 'b:1'], master_name: m, db: 2", "redis+sentinel://a,b:1/m/2"),
        (
            "sentinels: a, sentinel_master: 'm x', username: u, password: p, sentinel_password: q",
            "redis+sentinel://u:p@a:26379/m%20x?sentinel_password=q",
        ),
        ("host: h, max_connections: 7, timeout: 250ms", "redis://h?pool_size=7&socket_timeout=0.25"),
        ("host: h, read_from_replicas: false, connect: LAZY", "redis://h?replica_reads=false&connect=lazy"),
    ] {
        let options = options.replace("ssl: on", "ssl: true");
        assert_eq!(redis(&section(&options)), redis(url), "{options}\n{url}");
    }
}

#[test]
fn topologies_are_what_they_are_called() {
    let nodes = vec![tcp("a", 6379), tcp("b", 7000)];
    assert_eq!(redis("redis+cluster://a,b:7000").topology, RedisTopology::Cluster(nodes));
    assert_eq!(redis("unix:///r.sock").topology, RedisTopology::Single(Address::Unix("/r.sock".into())));
    let sentinel = RedisTopology::Sentinel {
        sentinels: vec![tcp("a", 26379), tcp("::1", 5)],
        master: "m".to_owned(),
        username: Some("s".to_owned()),
        password: Some(Secret::new("q")),
    };
    let url = "rediss+sentinel://u:p@a,[::1]:5/m?sentinel_username=s&sentinel_password=q&replica_reads=true";
    assert_eq!(redis(url).topology, sentinel);
    assert_eq!(redis(url).password, Some(Secret::new("p")));
    assert!(redis(url).replica_reads && redis(url).tls.is_some());
}

#[test]
fn addresses_are_shown_as_people_write_them() {
    let shown = [tcp("h", 1), tcp("::1", 1), Address::Unix("/a b".into())].map(|address| address.to_string());
    assert_eq!(shown, ["h:1", "[::1]:1", "/a b"]);
}

#[test]
fn every_option_reaches_its_field() {
    let text = section(
        "ssl: true, ssl_ca_certs: /a, ssl_certfile: /b, ssl_keyfile: /c, ssl_ca_path: /d, \
         ssl_server_name: n, ssl_cert_reqs: none, ssl_check_hostname: false, \
         pool_size: 9, socket_timeout: 2s, socket_connect_timeout: 3s, retry_on_timeout: false, \
         health_check_interval: 0, connect: lazy, max_pending: 4, max_pending_bytes: 5, tcp_nodelay: false, \
         tag_index: true, raw_channels: true, events: true, events_journal: 10000, replay_window: 5m, on_restart: renew, invalidation_replicas: 2, \
         socket_keepalive_options: {tcp_keepidle: 60, TCP_KEEPCNT: '9'}",
    );
    let expected = RedisConfig {
        tls: Some(TlsConfig {
            ca_file: Some("/a".into()),
            ca_folder: Some("/d".into()),
            server_name: Some("n".into()),
            cert_file: Some("/b".into()),
            key_file: Some("/c".into()),
            verify: Verify::None,
            check_hostname: false,
        }),
        tag_index: true,
        raw_channels: true,
        events: true,
        events_journal: 10_000,
        replay_window: Duration::from_secs(300),
        on_restart: OnRestart::Renew,
        invalidation_replicas: 2,
        connection: ConnectionConfig {
            pool_size: 9,
            timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(3),
            keepalive: Some(Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(5), count: 9 }),
            retry_on_timeout: false,
            health_check_interval: Duration::ZERO,
            connect: Connect::Lazy,
            max_pending: 4,
            max_pending_bytes: 5,
            nodelay: false,
            renews_credentials: false,
        },
        ..default()
    };
    assert_eq!(redis(&text), expected);
    assert!(redis(&section("credentials: callback")).connection.renews_credentials);
    assert!(redis("rediss://h?credentials=callback").connection.renews_credentials);
    let silent = redis(&section("socket_keepalive: false, socket_keepalive_options: {interval: 1s, idle: 1m}"));
    assert_eq!(silent.connection.keepalive, None);
}

#[test]
fn the_keyword_arguments_of_a_pool_count_as_the_sections_own() {
    let group = "redis_url: 'redis://localhost:6379/0', max_connections: 100, connection_pool_kwargs: {socket_keepalive: true, \
                 socket_keepalive_options: {TCP_KEEPIDLE: 1, TCP_KEEPINTVL: 3, TCP_KEEPCNT: 5}, \
                 socket_connect_timeout: 5, socket_timeout: 5, retry_on_timeout: true, health_check_interval: 30}";
    let connection = redis(&section(group)).connection;
    assert_eq!((connection.pool_size, connection.timeout), (100, Duration::from_secs(5)));
    assert_eq!(connection.keepalive.map(|probes| (probes.idle, probes.count)), Some((Duration::from_secs(1), 5)));
    assert_eq!(redis(&section("connection_pool_kwargs: ")), default());
    refuses(&[
        (
            &section("connection_pool_kwargs: {soket_timeout: 5}"),
            &["\"soket_timeout\"", "did you mean socket_timeout?"],
        ),
        (&section("connection_pool_kwargs: 5"), &["\"connection_pool_kwargs\"", "a map"]),
        (&section("connection_pool_kwargs: {connection_pool_kwargs: {}}"), &["has no place here"]),
        (&section("pool_size: 1, connection_pool_kwargs: {max_connections: 1}"), &["given twice"]),
        ("redis://h?connection_pool_kwargs=1", &["\"connection_pool_kwargs\"", "a map"]),
    ]);
}

#[test]
fn an_option_beside_its_url_has_to_say_the_same() {
    for options in
        ["url: 'redis://h:1/3', db: 3, port: '1', host: h", "url: 'rediss://h?timeout=5', ssl: true, timeout: 5s"]
    {
        redis(&section(options));
    }
    for (options, first, second) in [
        ("url: 'redis://h/3', db: 4", "\"db\" (line 1", "\"db\" (in the URL)"),
        ("url: 'redis://h', host: g", "\"host\" (line 1", "\"host\" (in the URL)"),
        ("url: 'rediss://h', ssl: false", "\"ssl\" (line 1", "\"ssl\" (in the URL)"),
        ("url: 'redis://:p@h', password: q", "\"password\" (line 1", "\"password\" (in the URL)"),
        ("url: 'redis://h?timeout=5', socket_timeout: 6", "\"socket_timeout\" (line 1", "\"timeout\""),
    ] {
        let error = refusal(&section(options));
        assert_says(&error, ErrorKind::Config, &[first, second, "contradict each other"], options);
    }
    refuses(&[
        ("redis://h/3?db=4", &["\"db\" (in the URL) and \"db\" contradict"]),
        ("redis://h/3?db=4&db=4", &["contradict"]),
        (&section("url: 'redis://h', redis_url: 'redis://h'"), &["given twice"]),
        (&section("url: 'redis://h?url=redis://h'"), &["option \"url\" (line 1", "has no place inside a URL"]),
        ("redis://h?url=redis://h", &["given twice"]),
    ]);
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (options, wanted) in [
        ("socket_path: /s, host: h", ["\"socket_path\"", "\"host\"", "exclude"].as_slice()),
        ("socket_path: /s, port: 1", &["\"socket_path\"", "\"port\"", "exclude"]),
        ("socket_path: /s, ssl: true", &["socket has no TLS"]),
        ("socket_path: /s, cluster: true", &["\"cluster\"", "\"socket_path\"", "exclude"]),
        ("sentinels: a, sentinel_master: m, cluster: true", &["\"cluster\"", "\"sentinels\"", "exclude"]),
        ("sentinels: a, sentinel_master: m, host: h", &["\"sentinels\"", "\"host\"", "exclude"]),
        ("cluster: true, nodes: a, host: h", &["\"nodes\"", "\"host\"", "exclude"]),
        ("url: 'unix:///s', host: h", &["\"socket_path\" (in the URL)", "\"host\"", "exclude"]),
        ("nodes: a", &["\"nodes\"", "requires `cluster: true`"]),
        ("sentinels: a", &["the name of the master", "sentinel_master"]),
        ("sentinel_master: m", &["\"sentinel_master\"", "requires sentinels"]),
        ("sentinel_password: m", &["\"sentinel_password\"", "requires sentinels"]),
        ("replica_reads: true", &["\"replica_reads\"", "requires a cluster or sentinels"]),
        ("username: u", &["a username requires a password"]),
        ("credentials: callback, username: u", &["\"credentials\"", "\"username\"", "exclude"]),
        ("credentials: callback, password_file: /f", &["\"credentials\"", "\"password_file\"", "exclude"]),
        ("url: 'redis://:p@h', credentials: callback", &["\"credentials\"", "\"password\" (in the URL)", "exclude"]),
        ("credentials: always", &["\"credentials\"", "`configured` or `callback`"]),
        ("password: p, password_file: /f", &["\"password\"", "\"password_file\"", "exclude"]),
        ("url: 'redis://:p@h', password_file: /f", &["\"password\" (in the URL)", "\"password_file\"", "exclude"]),
        ("sentinels: a, sentinel_master: m, sentinel_username: u", &["a sentinel_username requires a password"]),
        ("ssl_ca_certs: /ca", &["\"ssl_ca_certs\"", "TLS, which is off", "`ssl: true`"]),
        ("ssl_ca_path: /ca", &["\"ssl_ca_path\"", "TLS, which is off"]),
        ("ssl_server_name: h", &["\"ssl_server_name\"", "TLS, which is off"]),
        ("ssl: false, ssl_cert_reqs: none", &["\"ssl_cert_reqs\"", "TLS, which is off"]),
        ("url: 'redis://h', ssl_check_hostname: true", &["\"ssl_check_hostname\"", "TLS, which is off"]),
        ("ssl: true, ssl_certfile: /c", &["\"ssl_certfile\"", "requires ssl_keyfile"]),
        ("ssl: true, ssl_keyfile: /k", &["\"ssl_keyfile\"", "requires ssl_certfile"]),
        ("max_size: 5", &["\"max_size\"", "unknown"]),
        ("pool_sice: 5", &["\"pool_sice\"", "did you mean pool_size?"]),
        ("url: 'memcached://h'", &["\"url\"", "a memcached URL does not do for backend redis"]),
        ("url: 'localhost:6379'", &["\"url\"", "not a URL"]),
        ("url: 5", &["\"url\"", "a number is not a URL"]),
    ] {
        assert_says(&refusal(&section(options)), ErrorKind::Config, wanted, options);
    }
    refuses(&[("redis+sentinel://h", &["the name of the master"])]);
    assert_eq!(redis("redis+cluster://h/1").db, 1);
}

#[test]
fn ill_formed_values_are_refused_by_name() {
    for (options, wanted) in [
        ("host: ''", ["\"host\"", "one host name"].as_slice()),
        ("host: 'a b'", &["\"host\"", "\"a b\""]),
        ("host: 'h:6379'", &["\"host\""]),
        ("host: 'h/0'", &["\"host\""]),
        ("host: '...'", &["\"host\""]),
        ("host: 'h\\0'", &["\"host\""]),
        ("host: 5", &["\"host\"", "the number 5"]),
        ("port: 0", &["\"port\"", "from 1 to 65535"]),
        ("port: 65536", &["\"port\""]),
        ("port: -1", &["\"port\""]),
        ("port: 1.5", &["\"port\""]),
        ("db: -1", &["\"db\"", "from 0 to 2147483647"]),
        ("db: 2147483648", &["\"db\""]),
        ("password: ''", &["\"password\"", "an empty text is not accepted"]),
        ("password: 12345", &["\"password\"", "a number is not accepted", "in quotes"]),
        ("password: true", &["\"password\"", "a boolean"]),
        ("password: [a]", &["\"password\"", "a list"]),
        ("password: \"a\\0b\"", &["\"password\"", "without NUL"]),
        ("username: 5, password: p", &["\"username\"", "a number"]),
        ("socket_path: \"/a\\0\"", &["\"socket_path\""]),
        ("cluster: yes", &["\"cluster\"", "`true` or `false`"]),
        ("cluster: true, nodes: []", &["\"nodes\"", "the list is empty"]),
        ("cluster: true, nodes: ''", &["\"nodes\"", "entry 1: the host is empty"]),
        ("cluster: true, nodes: ['a:1', 'b:0']", &["entry 2: the port is not a number from 1 to 65535"]),
        ("cluster: true, nodes: ['a:1', 'A:1']", &["entries 1 and 2 are the same server"]),
        ("cluster: true, nodes: 'a,,b'", &["entry 2: the host is empty"]),
        ("cluster: true, nodes: ['::1']", &["entry 1: an IPv6 address stands in brackets"]),
        ("cluster: true, nodes: ['[::1', '[::x]:1']", &["entry 1"]),
        ("cluster: true, nodes: [/a/socket]", &["entry 1", "a path does not do here"]),
        ("cluster: true, nodes: [[a, 1]]", &["entry 1", "not a text"]),
        ("cluster: true, nodes: {a: 1}", &["\"nodes\"", "a map is not accepted"]),
        ("pool_size: 0", &["\"pool_size\"", "from 1 to 1000"]),
        ("pool_size: 1001", &["\"pool_size\""]),
        ("timeout: 0", &["\"timeout\"", "from 1ms to 1d"]),
        ("max_pending: 1000001", &["\"max_pending\""]),
        ("connect: soon", &["\"connect\"", "\"soon\"", "`eager` or `lazy`"]),
        ("ssl_cert_reqs: CERT_NONE, ssl: true", &["\"ssl_cert_reqs\"", "`required`, `optional` or `none`"]),
        (
            "socket_keepalive_options: {TCP_KEEPIDLE: 0}",
            &["\"socket_keepalive_options\"", "\"TCP_KEEPIDLE\"", "1 to 32767"],
        ),
        ("socket_keepalive_options: {idle: 1500ms}", &["\"idle\"", "whole seconds"]),
        ("socket_keepalive_options: {TCP_IDLE: 5}", &["\"TCP_IDLE\" (line 1", "unknown", "`TCP_KEEPIDLE`"]),
        ("socket_keepalive_options: {idle: 5, TCP_KEEPIDLE: 5}", &["given twice"]),
        ("socket_keepalive_options: 5", &["a map of `TCP_KEEPIDLE`"]),
    ] {
        assert_says(&refusal(&section(options)), ErrorKind::Config, wanted, options);
    }
}

#[test]
fn ill_formed_urls_are_refused_and_not_repeated() {
    for (url, wanted) in [
        ("redis://", "\"host\" (in the URL): nothing"),
        ("redis:///0", "\"host\" (in the URL)"),
        ("redis://:6379", "\"host\" (in the URL)"),
        ("redis://s3cret@", "\"host\" (in the URL)"),
        ("redis://h:", "\"port\" (in the URL): nothing"),
        ("redis://h:s3cret", "\"port\" (in the URL): this text is not accepted"),
        ("redis://h:0", "\"port\" (in the URL)"),
        ("redis://h:65536", "\"port\" (in the URL)"),
        ("redis://h/s3cret", "\"db\" (in the URL): this text is not accepted"),
        ("redis://h/1/2", "\"db\" (in the URL)"),
        ("redis://h/-1", "\"db\" (in the URL)"),
        ("redis://fe80::1", "\"port\" (in the URL)"),
        ("redis://[::s3cret]", "\"host\" (in the URL)"),
        ("redis://[::1]6379", "\"host\" (in the URL)"),
        ("redis://[::1", "\"host\" (in the URL)"),
        ("redis://a,b", "\"host\" (in the URL)"),
        ("redis://s3cret h", "a space"),
        ("redis://h#s3cret", "fragment"),
        ("redis://h?db=1#insecure", "fragment"),
        ("redis://u:a#s3cret@h", "`%23`"),
        ("redis://u:a/s3cret@h", "`@` too many"),
        ("redis://u:a?s3cret@h", "`@` too many"),
        ("redis://u:s3cret@h@g", "`@` too many"),
        ("redis+cluster://u:s3cret@h,u:s3cret@g", "`@` too many"),
        ("redis://u:s3cret%@h", "the URL's password: a `%`"),
        ("redis://s3cret%zz:p@h", "the URL's username: a `%`"),
        ("redis://u:%00@h", "\"password\" (in the URL)"),
        ("redis://:@h", "\"password\" (in the URL): nothing"),
        ("redis://u:@h", "\"password\" (in the URL): nothing"),
        ("redis://@h", "\"username\" (in the URL): nothing"),
        ("redis://s3cret@h", "a username requires a password"),
        ("redis+cluster://", "\"nodes\" (in the URL)"),
        ("redis+cluster://a,a", "entries 1 and 2"),
        ("redis+sentinel:///m", "\"sentinels\" (in the URL)"),
        ("redis+sentinel://a:0/m", "entry 1: the port"),
        ("redis+sentinel://a/m/s3cret", "\"db\" (in the URL)"),
        ("unix://", "\"socket_path\" (in the URL): nothing"),
        ("unix://tmp/s3cret", "has no host"),
        ("redis+unix:///s?ssl=true", "socket has no TLS"),
        ("rediss+unix:///s", "did you mean redis+unix?"),
        ("redis://h?poolsize=1", "did you mean pool_size?"),
        ("redis://h?pool_size=%", "parameter \"pool_size\""),
        ("redis://h?s3cret%=1", "parameter \"s3cret…\""),
    ] {
        let error = refusal(url);
        assert_says(&error, ErrorKind::Config, &[wanted], url);
        assert!(url.contains("s3cret%=") || !error.message().contains("s3cret"), "{}", error.message());
    }
}

#[test]
fn the_variable_counts_where_nothing_names_a_server() {
    let set = [("REDIS_URL", "redis://u:p@h:1/3?timeout=5&pool_size=9"), ("REDIS_POOL_SIZE", "20")];
    let read = |options: &str| redis_with(&section(options), &set);
    assert_eq!(read(""), redis("redis://u:p@h:1/3?timeout=5&pool_size=9"));
    assert_eq!(read("db: 4, max_connections: 8"), redis("redis://u:p@h:1/4?timeout=5&pool_size=8"));
    assert_eq!(read("password: q"), redis("redis://u:q@h:1/3?timeout=5&pool_size=9"));
    assert_eq!(read("cluster: true, db: 0").topology, RedisTopology::Cluster(vec![tcp("h", 1)]));
    for named in ["host: g", "url: 'redis://g'", "port: 6379, host: g"] {
        assert_eq!(read(named), redis("redis://g?pool_size=20"), "{named}");
    }
    for named in ["port: 1", "socket_path: /s", "cluster: true, nodes: a", "sentinels: a, master_name: m"] {
        assert_eq!(read(named), redis(&section(&format!("{named}, pool_size: 20"))), "{named}");
    }
    assert_eq!(redis_with("redis://g", &set), redis("redis://g?pool_size=20"));
    assert_eq!(redis_with("redis://g?pool_size=3", &set).connection.pool_size, 3);
    assert_eq!(redis_with("backend: redis", &[("REDIS_URL", ""), ("REDIS_POOL_SIZE", "")]), default());
    assert_eq!(Config::from_text("memory://", &variables(&set)).unwrap(), super::read("memory://"));
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, wanted) in [
        ("REDIS_URL", "memory://", "a memory URL does not do for backend redis"),
        ("REDIS_URL", "redis://u:s3cret@h:0", "\"port\" (in the URL)"),
        ("REDIS_URL", "redis://h?x=1", "\"x\" is unknown"),
        ("REDIS_URL", "redis://h?url=redis://h", "has no place inside a URL"),
        ("REDIS_URL", "s3cret", "not a URL"),
        ("REDIS_POOL_SIZE", "many", "\"many\""),
    ] {
        let error = Config::from_text("backend: redis", &variables(&[(name, value)])).unwrap_err();
        assert_says(&error, ErrorKind::Config, &[&format!("variable {name}"), wanted], value);
        assert!(!error.message().contains("s3cret"));
    }
}

#[test]
fn replicas_of_one_server_and_a_zone() {
    let redis = |text: &str| match Config::from_text(text, &|_| None).map(|config| config.backend) {
        Ok(BackendConfig::Redis(redis)) => Ok(redis),
        Ok(_) => panic!("another backend"),
        Err(error) => Err(error.message().to_owned()),
    };
    let config = redis("redis://a?replicas=b:7000,c&availability_zone=z1").unwrap();
    assert_eq!(config.replicas, [tcp("b", 7000), tcp("c", 6379)]);
    assert_eq!((config.availability_zone.as_deref(), config.single_only), (Some("z1"), true));
    assert!(redis("redis://a?availability_zone=z1").unwrap_err().contains("replica_reads"));
    assert!(redis("redis+cluster://a?replicas=b").unwrap_err().contains("exclude"));
    assert!(redis("redis+cluster://a?replica_reads=true&availability_zone=z1").unwrap().availability_zone.is_some());
}

#[test]
fn the_variables_alone_give_redis_when_no_other_is_set() {
    let open = |set: &[(&str, &str)]| Config::from_variables(&variables(set));
    assert_eq!(open(&[("REDIS_URL", "redis://h"), ("YOKEDCACHE_KEY_PREFIX", "p")]).unwrap().key_prefix, "p");
    assert_eq!(open(&[("REDIS_URL", "redis://h")]).unwrap(), super::read("redis://h"));
    assert_eq!(open(&[("REDIS_URL", "redis://h"), ("YOKEDCACHE_URL", "memory://")]).unwrap(), super::read("memory://"));
    assert_says(&open(&[]).unwrap_err(), ErrorKind::Config, &["REDIS_URL"], "none");
    assert_says(&open(&[("REDIS_URL", "x")]).unwrap_err(), ErrorKind::Config, &["variable REDIS_URL: not a URL"], "x");
}
