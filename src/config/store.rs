//! Which store a configuration means: two that mean the same share their entries.

use super::{Address, BackendConfig, Config, RedisTopology};

impl Config {
    /// A text that is equal for equal stores and prefixes; `None`: a store of its own.
    pub fn store(&self) -> Option<String> {
        let prefix = &self.key_prefix;
        match &self.backend {
            BackendConfig::Memory(_) => None,
            BackendConfig::Redis(redis) => {
                Some(format!("redis {} {} {prefix}", redis_servers(&redis.topology), redis.db))
            }
            BackendConfig::Memcached(memcached) => {
                // Where keys lie otherwise, entries are not shared.
                let how = (memcached.distribution, memcached.hash);
                let servers = memcached.servers.iter().map(|server| format!("{} {}", server.address, server.weight));
                Some(format!("memcached {} {how:?} {prefix}", sorted(servers)))
            }
        }
    }
}

fn redis_servers(topology: &RedisTopology) -> String {
    match topology {
        RedisTopology::Single(address) => address.to_string(),
        RedisTopology::Cluster(nodes) => sorted(nodes.iter().map(Address::to_string)),
        RedisTopology::Sentinel { sentinels, master, .. } => {
            format!("{master} of {}", sorted(sentinels.iter().map(Address::to_string)))
        }
    }
}

fn sorted(servers: impl Iterator<Item = String>) -> String {
    let mut servers: Vec<String> = servers.collect();
    servers.sort_unstable();
    servers.join(",")
}
