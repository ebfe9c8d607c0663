//! How connections to servers are made, kept and limited.

use std::time::Duration;

/// The connections of a cache to each of its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Multiplexed connections a server, 1 to 1000; callers share them.
    pub pool_size: u32,
    /// The deadline of a call, with queueing, connecting and retries.
    pub timeout: Duration,
    /// The longest that one connection may take to be made.
    pub connect_timeout: Duration,
    /// TCP keepalive; `None`: off.
    pub keepalive: Option<Keepalive>,
    /// True if an idempotent command whose reply was lost is retried within the deadline.
    pub retry_on_timeout: bool,
    /// Time between two checks of an idle connection; zero: never.
    pub health_check_interval: Duration,
    /// When the first connection is made.
    pub connect: Connect,
    /// Calls under way a server before another is refused as busy.
    pub max_pending: u32,
    /// Bytes on their way to a server before another call is refused as busy.
    pub max_pending_bytes: u64,
    /// Sends small packets at once.
    pub nodelay: bool,
}

/// When TCP asks whether the other side is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe; whole seconds.
    pub idle: Duration,
    /// Time between two probes; whole seconds.
    pub interval: Duration,
    /// Probes without an answer until the connection counts as lost.
    pub count: u32,
}

/// When the first connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// While the cache is opened, which fails if the server does.
    Eager,
    /// At the first call.
    Lazy,
}
