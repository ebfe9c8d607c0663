//! The configuration of the memory backend.

use std::time::Duration;

/// The options of the memory backend.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryConfig {
    /// Entries kept at most, up to 4,000,000,000; the least recently used go first. 0: no limit. Default 10,000.
    pub max_size: u64,
    /// Bytes kept at most, keys included; 0: no bound. Default 0.
    pub max_bytes: u64,
    /// Time between two sweeps that remove expired entries; zero: never sweeps. Default 60 s.
    pub cleanup_interval: Duration,
}
