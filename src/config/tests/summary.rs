//! The summary of a configuration.

use serde_json::{Value as Json, json};

use super::*;

fn summary(text: &str) -> Json {
    Config::from_text(text, &|_| None).unwrap().summary()
}

#[test]
fn it_says_what_would_be_used_defaults_included() {
    let wanted = json!({
        "backend": "memory", "servers": [], "key_prefix": "app", "default_ttl_ms": 90_000, "ttl_jitter": 10.0,
        "max_value_bytes": 8 << 20, "lease_ms": 10_000, "stale_for_ms": 0, "refresh_ahead": false, "generations": false,
        "patterns": "walk",
            "tag_names": false,
        "negative_ttl_ms": 30_000, "max_size": 10_000, "max_bytes": 0, "cleanup_interval_ms": 60_000, "eviction": "lru",
        "near": null, "fallback": null, "notes": [],
    });
    assert_eq!(summary("memory://?key_prefix=app&default_ttl=90s"), wanted);
}

#[test]
fn servers_are_named_for_every_topology() {
    let single = summary("rediss://app@h:1/3?password=p&ssl_ca_certs=/ca.crt");
    assert_eq!(
        (&single["topology"], &single["servers"], &single["db"]),
        (&json!("single"), &json!(["h:1"]), &json!(3))
    );
    assert_eq!((&single["ssl"], &single["ssl_ca_certs"]), (&json!(true), &json!("/ca.crt")));
    assert_eq!(summary("redis+cluster://h:1,h:2")["servers"], json!(["h:1", "h:2"]));
    let sentinel = summary("redis+sentinel://h:1,h:2/name");
    assert_eq!((&sentinel["servers"], &sentinel["sentinel_master"]), (&json!(["h:1", "h:2"]), &json!("name")));
    assert_eq!(summary("unix:///a/socket")["servers"], json!(["/a/socket"]));
    let memcached = summary("memcached://h:1,h:2?weights=3,1&failover=eject");
    assert_eq!((&memcached["servers"], &memcached["weights"]), (&json!(["h:1", "h:2"]), &json!([3, 1])));
    assert_eq!((&memcached["failover"], &memcached["ssl"]), (&json!("eject"), &json!(false)));
}

#[test]
fn a_fallback_is_a_summary_of_its_own() {
    let summary = summary("{backend: redis, fallback: \"memcached://user:c4n4ry@s:1?binary=true\"}");
    assert_eq!(summary["fallback"]["backend"], "memcached");
    assert_eq!(
        (&summary["fallback"]["servers"], &summary["fallback"]["max_ttl_ms"]),
        (&json!(["s:1"]), &json!(60_000))
    );
    assert!(!summary.to_string().contains("c4n4ry"), "{summary}");
}

#[test]
fn a_password_is_there_or_not_and_never_said() {
    for text in [
        "redis://user:c4n4ry@h",
        "redis+cluster://user:c4n4ry@h:1",
        "redis+sentinel://user:c4n4ry@h:1/m?sentinel_password=c4n4ry&sentinel_username=s",
        "memcached://user:c4n4ry@h:1?binary=true",
        "{backend: redis, redis: {host: h, password: c4n4ry}}",
    ] {
        let summary = summary(text);
        assert_eq!(summary["password"], true, "{text}");
        assert!(!summary.to_string().contains("c4n4ry"), "{text}: {summary}");
    }
    assert_eq!(summary("redis://h")["password"], false);
    let file = summary("redis://h?password_file=/run/p");
    assert_eq!((&file["password"], &file["password_file"]), (&json!(false), &json!("/run/p")));
    let sentinel = summary("redis+sentinel://h:1/m?sentinel_password=c4n4ry&sentinel_username=s");
    assert_eq!((&sentinel["sentinel_password"], &sentinel["sentinel_username"]), (&json!(true), &json!("s")));
}
