//! Tests that no message repeats a password.

use super::*;

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
