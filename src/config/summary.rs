//! What a configuration comes to, for people: every option that counts, and never a password.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::{
    Address, BackendConfig, Config, Connect, ConnectionConfig, Distribution, Failover, FallbackConfig, KeyHash,
    MemcachedConfig, MemoryConfig, OnRestart, RedisConfig, RedisTopology, TlsConfig, Verify,
};

impl Config {
    /// What would be used, as one JSON object: the backend, its servers, and the options by their names, times in
    /// milliseconds (`_ms`). Of a password it says whether there is one.
    pub fn summary(&self) -> Json {
        let common = json!({
            "key_prefix": self.key_prefix,
            "default_ttl_ms": millis(self.default_ttl),
            "ttl_jitter": self.ttl_jitter,
            "max_value_bytes": self.max_value_bytes,
        });
        let standing_in = json!({ "fallback": self.fallback.as_deref().map(fallback) });
        joined([common, backend(&self.backend), standing_in, json!({ "notes": self.notes })])
    }
}

fn backend(config: &BackendConfig) -> Json {
    match config {
        BackendConfig::Memory(config) => memory(config),
        BackendConfig::Redis(config) => joined([
            redis(config),
            topology(&config.topology),
            tls(config.tls.as_ref()),
            connection(&config.connection),
        ]),
        BackendConfig::Memcached(config) => {
            joined([memcached(config), tls(config.tls.as_ref()), connection(&config.connection)])
        }
    }
}

fn fallback(config: &FallbackConfig) -> Json {
    let own = json!({
        "key_prefix": config.key_prefix,
        "max_ttl_ms": millis(config.max_ttl),
        "writes": if config.follow { "follow" } else { "drop" },
        "probe_interval_ms": millis(config.probe_interval),
    });
    joined([own, backend(&config.backend)])
}

/// One object of the members of all.
fn joined<const N: usize>(objects: [Json; N]) -> Json {
    let members = objects.into_iter().filter_map(|object| match object {
        Json::Object(members) => Some(members),
        _ => None,
    });
    Json::Object(members.flatten().collect::<Map<_, _>>())
}

fn memory(config: &MemoryConfig) -> Json {
    json!({
        "backend": "memory",
        "servers": [],
        "max_size": config.max_size,
        "max_bytes": config.max_bytes,
        "cleanup_interval_ms": millis(config.cleanup_interval),
    })
}

fn redis(config: &RedisConfig) -> Json {
    json!({
        "backend": "redis",
        "db": config.db,
        "username": config.username,
        "password": config.password.is_some(),
        "replica_reads": config.replica_reads,
        "tag_index": config.tag_index,
        "replay_window_ms": millis(config.replay_window),
        "on_restart": match config.on_restart {
            OnRestart::Replay => "replay",
            OnRestart::Renew => "renew",
        },
        "invalidation_replicas": config.invalidation_replicas,
    })
}

fn topology(topology: &RedisTopology) -> Json {
    match topology {
        RedisTopology::Single(address) => json!({ "topology": "single", "servers": names([address]) }),
        RedisTopology::Cluster(nodes) => json!({ "topology": "cluster", "servers": names(nodes) }),
        RedisTopology::Sentinel { sentinels, master, username, password } => json!({
            "topology": "sentinel",
            "servers": names(sentinels),
            "sentinel_master": master,
            "sentinel_username": username,
            "sentinel_password": password.is_some(),
        }),
    }
}

fn memcached(config: &MemcachedConfig) -> Json {
    json!({
        "backend": "memcached",
        "servers": names(config.servers.iter().map(|server| &server.address)),
        "weights": config.servers.iter().map(|server| server.weight).collect::<Vec<_>>(),
        "distribution": match config.distribution {
            Distribution::Ketama => "ketama",
            Distribution::KetamaWeighted => "ketama_weighted",
            Distribution::Modula => "modula",
        },
        "hash": match config.hash {
            KeyHash::Default => "default",
            KeyHash::Md5 => "md5",
        },
        "failover": match config.failover {
            Failover::None => "none",
            Failover::Eject => "eject",
        },
        "binary": config.binary,
        "username": config.username,
        "password": config.password.is_some(),
    })
}

fn tls(config: Option<&TlsConfig>) -> Json {
    let Some(config) = config else { return json!({ "ssl": false }) };
    json!({
        "ssl": true,
        "ssl_ca_certs": path(config.ca_file.as_ref()),
        "ssl_certfile": path(config.cert_file.as_ref()),
        "ssl_keyfile": path(config.key_file.as_ref()),
        "ssl_cert_reqs": match config.verify {
            Verify::Required => "required",
            Verify::Optional => "optional",
            Verify::None => "none",
        },
        "ssl_check_hostname": config.check_hostname,
    })
}

fn connection(config: &ConnectionConfig) -> Json {
    json!({
        "pool_size": config.pool_size,
        "socket_timeout_ms": millis(config.timeout),
        "socket_connect_timeout_ms": millis(config.connect_timeout),
        "socket_keepalive": config.keepalive.is_some(),
        "retry_on_timeout": config.retry_on_timeout,
        "health_check_interval_ms": millis(config.health_check_interval),
        "connect": match config.connect {
            Connect::Eager => "eager",
            Connect::Lazy => "lazy",
        },
        "max_pending": config.max_pending,
        "max_pending_bytes": config.max_pending_bytes,
        "tcp_nodelay": config.nodelay,
    })
}

fn names<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Vec<String> {
    addresses.into_iter().map(ToString::to_string).collect()
}

fn path(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str) -> Json {
        Config::from_text(text, &|_| None).unwrap().summary()
    }

    #[test]
    fn it_says_what_would_be_used_defaults_included() {
        let wanted = json!({
            "backend": "memory", "servers": [], "key_prefix": "app", "default_ttl_ms": 90_000, "ttl_jitter": 10.0,
            "max_value_bytes": 8 << 20, "max_size": 10_000, "max_bytes": 0, "cleanup_interval_ms": 60_000,
            "fallback": null, "notes": [],
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
        let sentinel = summary("redis+sentinel://h:1/m?sentinel_password=c4n4ry&sentinel_username=s");
        assert_eq!((&sentinel["sentinel_password"], &sentinel["sentinel_username"]), (&json!(true), &json!("s")));
    }
}
